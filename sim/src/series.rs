//! Many runs: a process for each, some at a time, and what they come to.

use crate::scenario::Scenario;
use crate::trace::difference;
use crate::verdict::{Told, Verdict};
use std::collections::VecDeque;
use std::fs;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

/// A scenario and where it came from.
pub struct Named {
    pub path: PathBuf,
    pub scenario: Scenario,
}

/// What to run of each scenario.
pub struct Series {
    pub scenarios: Vec<Named>,
    pub seeds: Vec<u64>,
    pub twice: bool,
    pub jobs: usize,
    pub trace: Option<PathBuf>,
}

/// One run (or two equal ones).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Job {
    scenario: usize,
    seed: u64,
    /// With the planted bug of the scenario, if it has one.
    mutated: bool,
}

struct Done {
    job: Job,
    told: Told,
}

impl Series {
    /// Runs everything; gives the gravest verdict.
    pub fn run(&self) -> Verdict {
        let jobs = self.all_jobs();
        let single = jobs.len() == 1;
        let queue: Mutex<VecDeque<Job>> = Mutex::new(jobs.into());
        let done: Mutex<Vec<Done>> = Mutex::default();
        std::thread::scope(|scope| {
            for _ in 0..self.jobs.max(1) {
                scope.spawn(|| {
                    while let Some(job) = next(&queue) {
                        let told = self.run_job(job, single);
                        done.lock()
                            .expect("no worker panics")
                            .push(Done { job, told });
                    }
                });
            }
        });
        let mut done = done.into_inner().expect("no worker panics");
        done.sort_unstable_by_key(|done| done.job);
        let verdicts = (0..self.scenarios.len()).map(|index| {
            let of_scenario: Vec<&Done> = done
                .iter()
                .filter(|done| done.job.scenario == index)
                .collect();
            self.conclude(&self.scenarios[index], &of_scenario)
        });
        verdicts.max().unwrap_or(Verdict::Usage)
    }

    /// A planted bug is run with and without, unless one seed alone is asked for.
    fn all_jobs(&self) -> Vec<Job> {
        let mut jobs = Vec::new();
        for (scenario, named) in self.scenarios.iter().enumerate() {
            for seed in &self.seeds {
                let planted = named.scenario.expect().mutant.is_some();
                jobs.push(Job {
                    scenario,
                    seed: *seed,
                    mutated: planted,
                });
                if planted && self.seeds.len() > 1 {
                    jobs.push(Job {
                        scenario,
                        seed: *seed,
                        mutated: false,
                    });
                }
            }
        }
        jobs
    }

    fn run_job(&self, job: Job, single: bool) -> Told {
        let named = &self.scenarios[job.scenario];
        let (mut told, output) = self.run_process(job, 1, self.trace.as_deref());
        if self.twice {
            let (second, _) = self.run_process(job, 2, None);
            if second != told {
                let difference = self.first_difference(job);
                println!(
                    "{}\n  two runs of seed {} differ: {told:?} and {second:?}\n{difference}",
                    named.path.display(),
                    job.seed,
                );
                told.verdict = Verdict::Nondeterministic;
            }
        }
        let failed = !job.mutated && told.verdict != Verdict::Pass;
        let verdict = told.verdict;
        let line = format!(
            "{} seed {}{}: {verdict}, {:.1} s simulated, {} operations ({} unknown), {} events, \
             hash {:016x}",
            named.path.display(),
            job.seed,
            if job.mutated {
                " with its planted bug"
            } else {
                ""
            },
            told.simulated_ms as f64 / 1000.0,
            told.operations,
            told.unknown,
            told.events,
            told.hash,
        );
        let output = if single || failed {
            output
        } else {
            String::new()
        };
        // One print, so that lines of other workers do not come between.
        if failed {
            println!("{output}{line}\n  replay: {}", replay(named, job));
        } else {
            println!("{output}{line}");
        }
        told
    }

    /// One fresh process; gives what it told and what it printed.
    fn run_process(&self, job: Job, number: u32, trace: Option<&Path>) -> (Told, String) {
        let named = &self.scenarios[job.scenario];
        let told_at = scratch(job, &format!("{number}.json"));
        let program = std::env::current_exe().expect("this program has a path");
        let mut command = Command::new(program);
        command.arg("one").arg(&named.path);
        command
            .arg("--seed")
            .arg(job.seed.to_string())
            .arg("--tell")
            .arg(&told_at);
        if let (true, Some(mutant)) = (job.mutated, &named.scenario.expect().mutant) {
            command.arg("--mutant").arg(mutant);
        }
        if let Some(trace) = trace {
            command.arg("--trace").arg(trace);
        }
        let output = command.output().expect("this program starts");
        let mut printed = String::from_utf8_lossy(&output.stdout).into_owned();
        printed.push_str(&String::from_utf8_lossy(&output.stderr));
        let told = fs::read(&told_at)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok());
        // The file is missing if the process died; that is told by the verdict.
        let _ = fs::remove_file(&told_at);
        let died = Told {
            verdict: Verdict::NodeCrash,
            hash: 0,
            events: 0,
            simulated_ms: 0,
            operations: 0,
            unknown: 0,
            found_by: Vec::new(),
        };
        (told.unwrap_or(died), printed)
    }

    /// Runs twice more, with traces, and finds where they part.
    fn first_difference(&self, job: Job) -> String {
        let traces = [scratch(job, "1.trace"), scratch(job, "2.trace")];
        self.run_process(job, 3, Some(&traces[0]));
        self.run_process(job, 4, Some(&traces[1]));
        let open = |path: &PathBuf| fs::File::open(path).map(BufReader::new);
        let compare = || difference::first(open(&traces[0])?, open(&traces[1])?);
        let told = match compare() {
            Ok(Some(difference)) => difference.to_string(),
            Ok(None) => "two more runs, with traces, were equal".to_owned(),
            Err(error) => format!("the traces of two more runs cannot be read: {error}"),
        };
        // Leftovers in the temporary folder harm nobody.
        let _ = traces.map(fs::remove_file);
        told
    }

    fn conclude(&self, named: &Named, done: &[&Done]) -> Verdict {
        let clean = done.iter().filter(|done| !done.job.mutated);
        let gravest = clean
            .clone()
            .map(|done| done.told.verdict)
            .max()
            .unwrap_or(Verdict::Pass);
        let mutated: Vec<&&Done> = done.iter().filter(|done| done.job.mutated).collect();
        let unequal = mutated
            .iter()
            .any(|done| done.told.verdict == Verdict::Nondeterministic);
        let expect = named.scenario.expect();
        let caught: Vec<&&&Done> = mutated
            .iter()
            .filter(|done| done.told.is_caught_by(&expect.caught_by))
            .collect();
        let path = named.path.display();
        if mutated.is_empty() {
            let passed = clean
                .filter(|done| done.told.verdict == Verdict::Pass)
                .count();
            println!("{path}: {passed} of {} seeds pass", done.len());
            return gravest;
        }
        let mutant = expect.mutant.as_deref().unwrap_or_default();
        println!(
            "{path}: {mutant} caught in {} of {} seeds",
            caught.len(),
            mutated.len()
        );
        if let Some(first) = caught.first() {
            println!("  see it: {}", replay(named, first.job));
        }
        match (caught.is_empty(), unequal) {
            (_, true) => gravest.max(Verdict::Nondeterministic),
            (true, false) => gravest.max(Verdict::Unsafe),
            (false, false) => gravest,
        }
    }
}

fn next(queue: &Mutex<VecDeque<Job>>) -> Option<Job> {
    queue.lock().expect("no worker panics").pop_front()
}

/// The one command that runs this again.
fn replay(named: &Named, job: Job) -> String {
    let commit = Command::new("git")
        .args(["describe", "--always", "--dirty"])
        .output();
    let commit = commit.ok().filter(|output| output.status.success());
    let commit = commit.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    let commit = commit.map_or(String::new(), |commit| format!("   # at {commit}"));
    let clean = job.mutated || named.scenario.expect().mutant.is_none();
    let clean = if clean { "" } else { " --without-mutant" };
    format!(
        "cargo sim run {} --seed {}{clean}{commit}",
        named.path.display(),
        job.seed
    )
}

fn scratch(job: Job, end: &str) -> PathBuf {
    let Job {
        scenario,
        seed,
        mutated,
    } = job;
    let name = format!(
        "detcd-sim-{}-{scenario}-{seed}-{mutated}.{end}",
        std::process::id()
    );
    std::env::temp_dir().join(name)
}
