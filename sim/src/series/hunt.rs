//! Whether planted bugs are caught: each with its scenarios, and with those of the swarm.
//!
//! Where any check will do, a seed counts only if it passes without the planted bug.

use super::process::{self, Order};
use super::{Named, replay};
use crate::verdict::{RunResult, Verdict};
use detcd_core::mutants::Mutant;
use detcd_out::eprintln;
use std::collections::VecDeque;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// The real time of one run; beyond, it hangs.
const RUN_MAX: Duration = Duration::from_secs(300);

/// A planted bug and a scenario that is to catch it, by some seed.
pub struct Trial {
    pub mutant: Mutant,
    /// `None` if any check will do.
    pub by: Option<Vec<String>>,
    pub scenario: PathBuf,
}

/// How to hunt.
pub struct Hunt {
    /// Seeds 1 to this one are tried.
    pub seeds: u64,
    /// Trials at a time.
    pub workers: usize,
    /// The folder for a page of each planted bug that is caught by its own scenario.
    pub reports: Option<PathBuf>,
}

/// How a trial ended.
pub struct Found {
    pub trial: Trial,
    pub caught: Option<Caught>,
    pub seeds: u64,
    pub took: Duration,
}

/// The run that caught a planted bug.
pub struct Caught {
    pub seed: u64,
    /// The checks that did it, of those that count.
    pub by: Vec<String>,
    pub result: RunResult,
}

/// What is to be tried with these mutants: a trial for each scenario that is written for one, and
/// one with each scenario of the swarm. The names of mutants without a scenario are an error.
pub fn trials(
    mutants: &[Mutant],
    written: &[Named],
    swarm: &[PathBuf],
) -> Result<Vec<Trial>, String> {
    let mut trials = Vec::new();
    let mut missing = Vec::new();
    for mutant in mutants {
        let expects =
            |named: &&Named| named.scenario.expect().mutant.as_deref() == Some(mutant.name());
        let before = trials.len();
        for named in written.iter().filter(expects) {
            let by = named.scenario.expect().caught_by.iter();
            trials.push(Trial {
                mutant: *mutant,
                by: Some(by.map(ToString::to_string).collect()),
                scenario: named.path.clone(),
            });
        }
        if trials.len() == before {
            missing.push(mutant.name());
        }
        trials.extend(swarm.iter().map(|scenario| Trial {
            mutant: *mutant,
            by: None,
            scenario: scenario.clone(),
        }));
    }
    match missing.is_empty() {
        true => Ok(trials),
        false => Err(format!("no scenario is to catch {}", missing.join(", "))),
    }
}

impl Hunt {
    /// Tries seed after seed until one catches it, some trials at a time.
    pub fn run(&self, trials: Vec<Trial>) -> Vec<Found> {
        let trials = trials.into_iter().enumerate().collect::<VecDeque<_>>();
        let (queue, found) = (Mutex::new(trials), Mutex::new(Vec::new()));
        let next = || queue.lock().expect("no worker panics").pop_front();
        std::thread::scope(|scope| {
            for _ in 0..self.workers.max(1) {
                scope.spawn(|| {
                    while let Some((place, trial)) = next() {
                        let ended = self.attempt(trial);
                        eprintln!("{ended}");
                        found.lock().expect("no worker panics").push((place, ended));
                    }
                });
            }
        });
        let mut found = found.into_inner().expect("no worker panics");
        found.sort_unstable_by_key(|(place, _)| *place);
        found.into_iter().map(|(_, found)| found).collect()
    }

    fn attempt(&self, trial: Trial) -> Found {
        let begun = Instant::now();
        let mut tried = 0;
        let caught = (1..=self.seeds).find_map(|seed| {
            tried = seed;
            trial.run(seed)
        });
        let took = begun.elapsed();
        if let (Some(caught), Some(_), Some(folder)) = (&caught, &trial.by, &self.reports) {
            match trial.report(caught.seed, folder) {
                Ok(page) => eprintln!("the report of it: {}", page.display()),
                Err(why) => eprintln!("{}: {why}", trial.mutant.name()),
            }
        }
        Found {
            trial,
            caught,
            seeds: tried,
            took,
        }
    }
}

impl Trial {
    /// Runs it with this seed; gives the run if that catches it.
    fn run(&self, seed: u64) -> Option<Caught> {
        let (result, _) = process::run(self.order(seed));
        let counts = |check: &&String| self.by.as_ref().is_none_or(|by| by.contains(check));
        let by: Vec<String> = result.found_by.iter().filter(counts).cloned().collect();
        let is_caught = match self.by {
            _ if by.is_empty() => false,
            Some(_) => true,
            None => self.passes_without(seed),
        };
        is_caught.then_some(Caught { seed, by, result })
    }

    fn passes_without(&self, seed: u64) -> bool {
        let clean = Order {
            mutant: None,
            ..self.order(seed)
        };
        process::run(clean).0.verdict == Verdict::Pass
    }

    /// The planted bug that the scenario's file names.
    fn own_mutant(&self) -> Option<&'static str> {
        self.by.as_ref().map(|_| self.mutant.name())
    }

    fn order(&self, seed: u64) -> Order<'_> {
        Order {
            path: &self.scenario,
            seed,
            mutant: Some(self.mutant.name()),
            trace: None,
            leak: false,
            limit: RUN_MAX,
            program: None,
        }
    }

    /// Writes the page of the run that caught it.
    fn report(&self, seed: u64, folder: &Path) -> Result<PathBuf, String> {
        let page = folder.join(format!("{}.html", self.mutant.name()));
        fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        process::report(self.order(seed), &page).map(|()| page)
    }
}

impl Found {
    /// What the run that caught it came to, and the command that shows it.
    pub fn replay(&self) -> Option<String> {
        let Caught { seed, result, .. } = self.caught.as_ref()?;
        let (name, trial) = (self.trial.mutant.name(), &self.trial);
        let command = replay::command(&trial.scenario, *seed, trial.own_mutant(), Some(name));
        let (verdict, hash) = (result.verdict, result.hash);
        Some(format!(
            "{name}: {verdict}, hash {hash:016x}\n  replay: {command}"
        ))
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, path) = (self.trial.mutant.name(), self.trial.scenario.display());
        let (seeds, took) = (self.seeds, self.took.as_secs_f64());
        match &self.caught {
            Some(Caught { seed, by, .. }) => {
                let by = by.join(", ");
                write!(
                    f,
                    "{name}: caught by {by} with {path}, seed {seed}, in {took:.1} s"
                )
            }
            None => write!(
                f,
                "{name}: NOT CAUGHT with {path} by {seeds} seeds, in {took:.1} s"
            ),
        }
    }
}

/// All that was found, a line for each trial.
pub struct Table<'a>(pub &'a [Found]);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = ["mutant", "scenario", "seeds", "time", "caught by"].map(str::to_owned);
        let rows = self.0.iter().map(|found| {
            let by = match &found.caught {
                Some(caught) => caught.by.join(", "),
                None => "NOT CAUGHT".to_owned(),
            };
            [
                found.trial.mutant.name().to_owned(),
                found.trial.scenario.display().to_string(),
                found.seeds.to_string(),
                format!("{:.1} s", found.took.as_secs_f64()),
                by,
            ]
        });
        let rows: Vec<[String; 5]> = std::iter::once(head).chain(rows).collect();
        let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
        let [mutant, scenario, seeds, time] = [0, 1, 2, 3].map(width);
        for [a, b, c, d, e] in &rows {
            writeln!(
                f,
                "{a:mutant$}  {b:scenario$}  {c:>seeds$}  {d:>time$}  {e}"
            )?;
        }
        let caught = self.0.iter().filter(|found| found.caught.is_some()).count();
        write!(f, "{caught} of {} caught", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;
    use std::path::Path;

    fn named(path: &str, mutant: &str) -> Named {
        let text = format!(
            "[[workload]]\nkind = \"kv\"\n[expect]\nresult = \"caught\"\nmutant = \"{mutant}\"\n\
             caught_by = [\"watch\", \"durable\"]\n"
        );
        let scenario = Scenario::parse(path, &text).expect("it is right");
        let path = path.into();
        Named::new(path, scenario)
    }

    #[test]
    fn each_is_tried_with_its_own_and_with_the_swarm() {
        let written = [named("a.toml", "torn-tail"), named("b.toml", "stale-ack")];
        let swarm = ["swarm.toml".into()];
        let tried = trials(&[Mutant::StaleAck], &written, &swarm).expect("it has a scenario");
        let tried: Vec<_> = tried
            .iter()
            .map(|trial| (trial.scenario.to_str(), trial.by.as_ref().map(Vec::len)))
            .collect();
        assert_eq!(
            tried,
            [(Some("b.toml"), Some(2)), (Some("swarm.toml"), None)]
        );
        let both = [Mutant::TornTail, Mutant::ReadOwnBatch];
        let missing = trials(&both, &written, &swarm).err();
        assert_eq!(
            missing.as_deref(),
            Some("no scenario is to catch read-own-batch")
        );
    }

    /// Each has a file of its name, which takes the run of a scenario that passes without it.
    #[test]
    fn every_mutant_has_its_scenario() {
        let folder = Path::new(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../scenarios/must-fail"
        ));
        for (name, mutant) in Mutant::ALL {
            assert_eq!(mutant.name(), *name);
            let path = folder.join(format!("{name}.toml"));
            let scenario = Scenario::load(&path).expect("a scenario that can be read");
            assert_eq!(scenario.expect().mutant.as_deref(), Some(*name));
        }
        let files = std::fs::read_dir(folder).expect("a folder").count();
        assert_eq!(files, Mutant::ALL.len(), "no file is there for nothing");
    }

    #[test]
    fn the_table_says_who_caught_what() {
        let found = |mutant, caught| Found {
            trial: Trial {
                mutant,
                by: None,
                scenario: "s.toml".into(),
            },
            caught,
            seeds: 12,
            took: Duration::from_millis(3400),
        };
        let caught = Caught {
            seed: 12,
            by: vec!["alive".to_owned()],
            result: RunResult {
                hash: 0xabc,
                ..RunResult::nothing(Verdict::NodeCrash)
            },
        };
        let found = [
            found(Mutant::TornTail, Some(caught)),
            found(Mutant::StaleAck, None),
        ];
        let expected = "\
mutant     scenario  seeds   time  caught by
torn-tail  s.toml       12  3.4 s  alive
stale-ack  s.toml       12  3.4 s  NOT CAUGHT
1 of 2 caught";
        assert_eq!(Table(&found).to_string(), expected);
        let replay = found[0].replay().expect("it was caught");
        let expected = "torn-tail: NODE CRASHED, hash 0000000000000abc\n  replay: cargo sim run \
                        s.toml --seed 12 --mutant torn-tail";
        assert!(replay.starts_with(expected), "{replay}");
        assert_eq!(found[1].replay(), None);
    }
}
