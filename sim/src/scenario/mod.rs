//! Scenarios: what to run, as a person writes it, and what a seed makes of it.
//!
//! A scenario has ranges and rules; [`Scenario::resolve`] draws them. The result, the *plan*, is a
//! scenario too, and prints as one: saved and run with the same seed it gives the same run.
//!
//! Every table is declared once, with [`settings::settings!`]; the head of that file says how a new
//! kind of fault or a new workload joins.

pub mod choice;
pub mod cluster;
pub mod each;
mod load;
pub mod plan;
pub mod reader;
pub mod schema;
pub mod settings;
pub mod swarm;
pub mod target;
#[cfg(test)]
mod tests;
pub mod units;

pub use cluster::Cluster;

use crate::check::{Check, Checks};
use crate::client::ClientSettings;
use crate::fault::Fault;
use crate::workload::Workload;
use choice::choices;
use reader::{Problem, Reader, Source};
use settings::{Draw, Settings, settings, toml};
use std::fmt;
use swarm::{Swarm, Weights};
use toml::de::DeTable;
use units::Time;

#[derive(Clone, Debug)]
pub struct Scenario {
    pub head: Head,
    pub workloads: Vec<Workload>,
    pub faults: Vec<Fault>,
    weights: Weights,
}

settings! {
    /// What a scenario has besides its `[[workload]]`s and `[[fault]]`s.
    pub struct Head {
        /// The simulated time that the run may take; one that takes longer is not live.
        pub budget: Time [1..=86_400_000] = "120s",
        /// The seed that a saved plan was drawn from, and that gives the same run; `--seed` has
        /// the last word.
        pub seed: Option<u64>,
        /// Of the workloads and faults below, each seed has only some.
        pub swarm: Option<Swarm>,
        /// The cluster under test.
        pub cluster: Cluster,
        /// How clients deal with failures.
        pub clients: ClientSettings,
        /// What is checked.
        pub check: Checks,
        /// How the run is to end.
        pub expect: Expect,
    }
}

settings! {
    /// How the run is to end.
    pub struct Expect {
        /// Whether every seed is to pass, or some seed is to catch the planted bug.
        pub result: Outcome = Outcome::Pass,
        /// The planted bug to switch on.
        pub mutant: Option<String>,
        /// The checks of which one must catch it.
        pub caught_by: Vec<Check>,
        /// Marks without which a run proves nothing, and fails.
        pub reached: Vec<String>,
    }
    verify = Expect::verify;
}

choices! {
    /// How a run is to end.
    pub enum Outcome {
        /// All is well.
        Pass = "pass",
        /// A planted bug is caught, by some seed.
        Caught = "caught",
    }
}

impl Expect {
    fn verify(&self, reader: &Reader<'_>) -> Result<(), Problem> {
        let planted = self.result == Outcome::Caught;
        if planted != self.mutant.is_some() || planted == self.caught_by.is_empty() {
            let message = "a planted bug needs result = \"caught\", its name as `mutant` and the \
                           checks that must catch it as `caught_by`; nothing else has them";
            return Err(reader.problem(message));
        }
        Ok(())
    }

    /// Without the planted bug.
    pub fn clean(&mut self) {
        self.result = Outcome::Pass;
        self.mutant = None;
        self.caught_by.clear();
    }
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
        let workloads = reader.tables("workload")?;
        let faults = reader.tables("fault")?;
        let head = <Head as Settings>::read(reader)?;
        let weights = Weights::read(&head.swarm, reader, &workloads, &faults)?;
        let scenario = Scenario {
            head,
            weights,
            workloads: workloads
                .iter()
                .map(Workload::read_whole)
                .collect::<Result<_, _>>()?,
            faults: faults.iter().map(Fault::read).collect::<Result<_, _>>()?,
        };
        reader.done()?;
        if scenario.workloads.is_empty() {
            return Err(reader.problem("a scenario without a [[workload]] proves nothing"));
        }
        Ok(scenario)
    }

    /// Draws everything that is open from the seed.
    pub fn resolve(&self, seed: u64) -> Scenario {
        // Who is meant depends on how many there are, so their number comes first.
        let draw = Draw::new(seed, self.head.cluster.draw_size(seed));
        let head = Head {
            seed: Some(seed),
            swarm: None,
            ..Settings::draw(&self.head, &draw)
        };
        let chosen = self.weights.draw(&self.head.swarm, &draw);
        let workloads = self.workloads.iter().enumerate();
        let workloads = workloads.filter(|(index, _)| chosen.workloads.contains(index));
        let faults = self.faults.iter().enumerate();
        let faults = faults.filter(|(index, _)| chosen.faults.contains(index));
        Scenario {
            head,
            weights: Weights::default(),
            workloads: workloads
                .map(|(index, workload)| workload.draw(&draw.part(format!("workload/{index}"))))
                .collect(),
            faults: faults
                .flat_map(|(index, fault)| fault.resolve(&draw.part(format!("fault/{index}"))))
                .collect(),
        }
    }

    pub fn cluster(&self) -> &Cluster {
        &self.head.cluster
    }

    pub fn expect(&self) -> &Expect {
        &self.head.expect
    }

    pub fn wants(&self, check: Check) -> bool {
        self.checks().contains(&check)
    }

    pub fn checks(&self) -> Vec<Check> {
        self.head.check.all()
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (values, tables): (Vec<_>, Vec<_>) = self
            .head
            .entries()
            .into_iter()
            .partition(|(_, written)| matches!(written, settings::Written::Value(_)));
        f.write_str(&toml(&values, ""))?;
        for (key, written) in tables {
            if let settings::Written::Table(entries) = written {
                write!(f, "\n[{key}]\n{}", toml(&entries, key))?;
            }
        }
        for workload in &self.workloads {
            write!(f, "\n[[workload]]\n{workload}")?;
        }
        for fault in &self.faults {
            write!(f, "\n[[fault]]\n{fault}")?;
        }
        Ok(())
    }
}
