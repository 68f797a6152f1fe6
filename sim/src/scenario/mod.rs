//! Scenarios: what to run, as a person writes it, and what a seed makes of it.
//!
//! A scenario has ranges and rules; [`Scenario::resolve`] draws them. The result, the *plan*, is a
//! scenario too, and prints as one: saved and run with the same seed it gives the same run.

pub mod reader;
pub mod target;
#[cfg(test)]
mod tests;
pub mod units;

use crate::check::{self, Check};
use crate::fault::Fault;
use crate::rng::Rng;
use crate::workload::Workload;
use reader::{Problem, Reader, Source};
use std::fmt;
use toml::de::DeTable;
use units::{Ratio, Span, Time, Times};

#[derive(Clone, Debug)]
pub struct Scenario {
    /// Simulated milliseconds; a run that takes longer is not live.
    pub budget: u64,
    pub cluster: Cluster,
    pub workloads: Vec<Workload>,
    pub faults: Vec<Fault>,
    pub checks: Vec<Check>,
    pub expect: Expect,
}

/// The cluster under test.
#[derive(Clone, Debug)]
pub struct Cluster {
    pub members: u64,
    pub election_ms: Span,
    pub heartbeat_ms: Span,
    /// Entries between snapshots.
    pub snapshot_entries: Span,
    /// Entries that are kept in the log behind a snapshot.
    pub catch_up_entries: Span,
    pub network: Network,
    pub disk: DiskTimes,
}

#[derive(Clone, Debug)]
pub struct Network {
    pub latency_ms: Span,
    pub loss: Ratio,
    pub duplicate: Ratio,
}

#[derive(Clone, Debug)]
pub struct DiskTimes {
    pub sync_ms: Span,
}

/// How the run is to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expect {
    /// The planted bug to switch on; then some seed must fail by one of `caught_by`.
    pub mutant: Option<String>,
    pub caught_by: Vec<Check>,
    /// Marks without which a run proves nothing.
    pub reached: Vec<String>,
}

impl Scenario {
    pub fn parse(file: &str, text: &str) -> Result<Scenario, Problem> {
        let source = Source { file, text };
        let table = DeTable::parse(text).map_err(|error| {
            let offset = error.span().map_or(0, |span| span.start);
            source.problem(offset, error.message())
        })?;
        Scenario::read(&Reader::new(source, "", 0, table.get_ref()))
    }

    fn read(reader: &Reader<'_>) -> Result<Scenario, Problem> {
        let cluster = Cluster::read(reader)?;
        let workloads: Vec<Workload> = reader
            .tables("workload")?
            .iter()
            .map(Workload::read)
            .collect::<Result<_, _>>()?;
        let faults: Vec<Fault> = reader
            .tables("fault")?
            .iter()
            .map(Fault::read)
            .collect::<Result<_, _>>()?;
        let scenario = Scenario {
            budget: reader.times("budget", Span::one(120_000))?.high,
            checks: check::read(reader)?,
            expect: Expect::read(reader)?,
            cluster,
            workloads,
            faults,
        };
        reader.done()?;
        if scenario.workloads.is_empty() {
            return Err(reader.problem("a scenario without a [[workload]] proves nothing"));
        }
        Ok(scenario)
    }

    /// Draws everything that is open from the seed.
    pub fn resolve(&self, seed: u64) -> Scenario {
        let mut rng = Rng::of(seed, "plan");
        let members = usize::try_from(self.cluster.members).expect("a cluster is small");
        Scenario {
            budget: self.budget,
            cluster: self.cluster.resolve(&mut rng),
            workloads: self
                .workloads
                .iter()
                .map(|workload| workload.resolve(&mut rng))
                .collect(),
            faults: self
                .faults
                .iter()
                .flat_map(|fault| fault.resolve(members, &mut rng))
                .collect(),
            checks: self.checks.clone(),
            expect: self.expect.clone(),
        }
    }
}

impl Cluster {
    fn read(scenario: &Reader<'_>) -> Result<Cluster, Problem> {
        let empty = DeTable::new();
        let nothing = Source { file: "", text: "" };
        let reader = match scenario.table("cluster")? {
            Some(reader) => reader,
            None => Reader::new(nothing, "cluster", 0, &empty),
        };
        let network = match reader.table("network")? {
            Some(reader) => reader,
            None => Reader::new(nothing, "cluster.network", 0, &empty),
        };
        let disk = match reader.table("disk")? {
            Some(reader) => reader,
            None => Reader::new(nothing, "cluster.disk", 0, &empty),
        };
        let none = Ratio::one(0.0);
        let cluster = Cluster {
            members: reader.number("members", 3)?,
            election_ms: reader.numbers("election_ms", Span::one(1000))?,
            heartbeat_ms: reader.numbers("heartbeat_ms", Span::one(100))?,
            snapshot_entries: reader.numbers("snapshot_entries", Span::one(10_000))?,
            catch_up_entries: reader.numbers("catch_up_entries", Span::one(5_000))?,
            network: Network {
                latency_ms: network.numbers("latency_ms", Span::of(1, 5))?,
                loss: network.ratios("loss", none, (0.0, 1.0))?,
                duplicate: network.ratios("duplicate", none, (0.0, 1.0))?,
            },
            disk: DiskTimes {
                sync_ms: disk.numbers("sync_ms", Span::of(1, 3))?,
            },
        };
        network.done()?;
        disk.done()?;
        reader.done()?;
        if !(1..=7).contains(&cluster.members) {
            return Err(reader.problem_at("members", "a cluster has 1 to 7 members"));
        }
        if cluster.heartbeat_ms.high * 2 > cluster.election_ms.low {
            let message = "an election timeout is at least twice the heartbeat's";
            return Err(reader.problem_at("election_ms", message));
        }
        Ok(cluster)
    }

    /// Latencies stay ranges: they are drawn for each packet and each sync.
    fn resolve(&self, rng: &mut Rng) -> Cluster {
        Cluster {
            members: self.members,
            election_ms: self.election_ms.draw(rng),
            heartbeat_ms: self.heartbeat_ms.draw(rng),
            snapshot_entries: self.snapshot_entries.draw(rng),
            catch_up_entries: self.catch_up_entries.draw(rng),
            network: Network {
                latency_ms: self.network.latency_ms,
                loss: self.network.loss.draw(rng),
                duplicate: self.network.duplicate.draw(rng),
            },
            disk: self.disk.clone(),
        }
    }
}

impl Expect {
    fn read(scenario: &Reader<'_>) -> Result<Expect, Problem> {
        let Some(reader) = scenario.table("expect")? else {
            return Ok(Expect {
                mutant: None,
                caught_by: Vec::new(),
                reached: Vec::new(),
            });
        };
        let passes = reader.choice("result", &[("pass", true), ("caught", false)], true)?;
        let mutant = reader.text("mutant")?.map(str::to_owned);
        let caught_by = reader
            .choices("caught_by", &check::names())?
            .unwrap_or_default();
        let reached = reader.texts("reached")?.unwrap_or_default();
        reader.done()?;
        if passes != mutant.is_none() || mutant.is_some() == caught_by.is_empty() {
            let message = "a planted bug needs result = \"caught\", its name as `mutant` and the \
                           checks that must catch it as `caught_by`; nothing else has them";
            return Err(reader.problem(message));
        }
        let reached = reached.into_iter().map(str::to_owned).collect();
        Ok(Expect {
            mutant,
            caught_by,
            reached,
        })
    }
}

/// Quoted words of a list.
pub(crate) fn word_list<T: fmt::Display>(words: &[T]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    format!("[{}]", quoted.join(", "))
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "budget = \"{}\"\n\n{}", Time(self.budget), self.cluster)?;
        for workload in &self.workloads {
            writeln!(f, "[[workload]]\n{workload}")?;
        }
        for fault in &self.faults {
            writeln!(f, "[[fault]]\n{fault}")?;
        }
        write!(f, "{}\n{}", check::Display(&self.checks), self.expect)
    }
}

impl fmt::Display for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "[cluster]")?;
        writeln!(f, "members = {}", self.members)?;
        writeln!(f, "election_ms = {}", self.election_ms)?;
        writeln!(f, "heartbeat_ms = {}", self.heartbeat_ms)?;
        writeln!(f, "snapshot_entries = {}", self.snapshot_entries)?;
        writeln!(f, "catch_up_entries = {}", self.catch_up_entries)?;
        let Network {
            latency_ms,
            loss,
            duplicate,
        } = &self.network;
        writeln!(
            f,
            "network = {{ latency_ms = {latency_ms}, loss = {loss}, duplicate = {duplicate} }}"
        )?;
        writeln!(f, "disk = {{ sync_ms = {} }}", self.disk.sync_ms)
    }
}

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "[expect]")?;
        match &self.mutant {
            None => writeln!(f, "result = \"pass\"")?,
            Some(mutant) => {
                writeln!(f, "result = \"caught\"\nmutant = \"{mutant}\"")?;
                writeln!(f, "caught_by = {}", word_list(&self.caught_by))?;
            }
        }
        writeln!(f, "reached = {}", word_list(&self.reached))
    }
}

/// `key = times`, for the parts' own displays.
pub(crate) fn time_line(f: &mut fmt::Formatter<'_>, key: &str, span: Span) -> fmt::Result {
    writeln!(f, "{key} = {}", Times(span))
}
