//! Many runs: a process for each, some at a time, and what they come to.

#[cfg(madsim)]
pub mod hunt;
pub mod job;
mod junit;
pub mod process;
mod progress;
pub mod replay;
pub mod seeds;
mod table;

pub use job::{Done, Expected, Job};

use crate::scenario::Scenario;
use crate::trace::difference;
use crate::verdict::Verdict;
use detcd_out::{print, println};
use process::Order;
use progress::Progress;
use std::collections::VecDeque;
use std::fs;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};
use table::Table;

/// The real time that a run may take. Beyond it hangs, without simulated time passing.
pub const LIMIT: Duration = Duration::from_secs(600);

/// A scenario and where it came from.
pub struct Named {
    pub path: PathBuf,
    /// What is run.
    pub scenario: Scenario,
    /// The planted bug that the file names; the command line may name another.
    pub own_mutant: Option<String>,
}

impl Named {
    /// The scenario as its file has it.
    pub fn new(path: PathBuf, scenario: Scenario) -> Named {
        let own_mutant = scenario.expect().mutant.clone();
        Named {
            path,
            scenario,
            own_mutant,
        }
    }
}

/// What to run, and how.
pub struct Series {
    pub scenarios: Vec<Named>,
    pub jobs: Vec<Job>,
    /// Runs everything in two processes and compares them.
    pub twice: bool,
    /// Another build of the simulator, which makes the second of two runs.
    pub second: Option<PathBuf>,
    /// See [`crate::single_run::SingleRun::leak`].
    pub leak: bool,
    /// Processes at a time.
    pub workers: usize,
    /// Where the one run writes its events.
    pub trace: Option<PathBuf>,
    pub junit: Option<PathBuf>,
    /// The folder for the pages of runs that failed.
    pub reports: Option<PathBuf>,
    /// Prints a line also for runs that end as expected.
    pub verbose: bool,
}

/// Every scenario with every seed. A planted bug is run with and without, unless one seed alone is
/// asked for.
pub fn jobs(scenarios: &[Named], seeds: &[u64]) -> Vec<Job> {
    let mut jobs = Vec::new();
    for (scenario, named) in scenarios.iter().enumerate() {
        for seed in seeds {
            let planted = &named.scenario.expect().mutant;
            if planted.is_some() {
                jobs.push(Job {
                    scenario,
                    seed: *seed,
                    mutant: planted.clone(),
                    expected: Expected::Hunt,
                });
            }
            if planted.is_none() || seeds.len() > 1 {
                jobs.push(Job::clean(scenario, *seed));
            }
        }
    }
    jobs
}

impl Series {
    /// Runs everything and prints what comes of it; gives the worst verdict.
    pub fn run(&self) -> Result<Verdict, String> {
        let single = self.jobs.len() == 1;
        let progress = Mutex::new(Progress::new(self.jobs.len(), self.verbose));
        let done = self.run_all(|done| {
            let named = &self.scenarios[done.job.scenario];
            let line = done.line(named);
            if single {
                print!("{}", done.output);
                let replay = match done.failed {
                    true => format!("\n  replay: {}", done.job.replay(named)),
                    false => String::new(),
                };
                println!("{line}{replay}");
            } else {
                let mut progress = progress.lock().expect("no worker panics");
                progress.done(done, &line, || done.job.replay(named));
            }
        });
        progress.into_inner().expect("no worker panics").finish();
        if let Some(path) = &self.junit {
            junit::write(path, &self.scenarios, &done)?;
        }
        if !single {
            print!("{}", Table::of(&self.scenarios, &done));
        }
        let verdicts = self.scenarios.iter().enumerate().map(|(index, named)| {
            let of_scenario = done.iter().filter(|done| done.job.scenario == index);
            conclude(named, &of_scenario.collect::<Vec<_>>())
        });
        Ok(verdicts.max().unwrap_or(Verdict::Usage))
    }

    /// Runs everything; gives it in the order of the jobs.
    pub fn run_all(&self, each: impl Fn(&Done) + Sync) -> Vec<Done> {
        let queue: Mutex<VecDeque<usize>> = Mutex::new((0..self.jobs.len()).collect());
        let done: Mutex<Vec<(usize, Done)>> = Mutex::default();
        std::thread::scope(|scope| {
            for _ in 0..self.workers.max(1) {
                scope.spawn(|| {
                    while let Some(index) = next(&queue) {
                        let ended = self.run_job(&self.jobs[index]);
                        each(&ended);
                        done.lock().expect("no worker panics").push((index, ended));
                    }
                });
            }
        });
        let mut done = done.into_inner().expect("no worker panics");
        done.sort_unstable_by_key(|(index, _)| *index);
        done.into_iter().map(|(_, done)| done).collect()
    }

    fn run_job(&self, job: &Job) -> Done {
        let named = &self.scenarios[job.scenario];
        let started = Instant::now();
        let order = Order {
            trace: self.trace.as_deref(),
            leak: self.leak,
            ..order(named, job)
        };
        let (mut result, mut output) = process::run(order);
        let took = started.elapsed();
        if self.twice {
            let again = Order {
                trace: None,
                program: self.second.as_deref(),
                ..order
            };
            let (second, _) = process::run(again);
            if second != result {
                let difference = first_difference(order, again);
                output.push_str(&format!(
                    "two runs differ: {result:?} and {second:?}\n{difference}\n"
                ));
                result.verdict = Verdict::Nondeterministic;
            }
        }
        let failed = job.is_failed_by(named, &result);
        if let (true, Some(folder)) = (failed, &self.reports) {
            let stem = named.path.file_stem().unwrap_or_default().to_string_lossy();
            let page = folder.join(format!("{stem}-seed-{}.html", job.seed));
            let written = fs::create_dir_all(folder).map_err(|error| error.to_string());
            let written = written.and_then(|()| report(named, job, &page));
            output.push_str(&match written {
                Ok(()) => format!("the report of it: {}\n", page.display()),
                Err(why) => format!("{}: {why}\n", page.display()),
            });
        }
        Done {
            failed,
            job: job.clone(),
            result,
            output,
            took,
        }
    }
}

/// Runs a job once more, for its page.
pub fn report(named: &Named, job: &Job, page: &Path) -> Result<(), String> {
    process::report(order(named, job), page)
}

fn order<'a>(named: &'a Named, job: &'a Job) -> Order<'a> {
    Order {
        path: &named.path,
        seed: job.seed,
        mutant: job.mutant.as_deref(),
        trace: None,
        leak: false,
        limit: LIMIT,
        program: None,
    }
}

/// Runs twice more, with traces, and finds where they part.
fn first_difference(first: Order<'_>, second: Order<'_>) -> String {
    let traces = [process::scratch("trace"), process::scratch("trace")];
    for (order, trace) in [first, second].into_iter().zip(&traces) {
        process::run(Order {
            trace: Some(trace),
            ..order
        });
    }
    let open = |path: &PathBuf| fs::File::open(path).map(BufReader::new);
    let compare = || difference::first(open(&traces[0])?, open(&traces[1])?);
    let result = match compare() {
        Ok(Some(difference)) => difference.to_string(),
        Ok(None) => "two more runs, with traces, were equal".to_owned(),
        Err(error) => format!("the traces of two more runs cannot be read: {error}"),
    };
    // Leftovers in the temporary folder harm nobody.
    let _ = traces.map(fs::remove_file);
    result
}

/// What a scenario's runs come to. A planted bug must be caught by some seed.
fn conclude(named: &Named, done: &[&Done]) -> Verdict {
    let worst = done
        .iter()
        .filter(|done| done.failed)
        .map(|done| match done.result.verdict {
            // It was to fail, and did not.
            Verdict::Pass => Verdict::Unsafe,
            verdict => verdict,
        })
        .max()
        .unwrap_or(Verdict::Pass);
    let hunted: Vec<&&Done> = done
        .iter()
        .filter(|done| done.job.expected == Expected::Hunt)
        .collect();
    if hunted.is_empty() {
        return worst;
    }
    let expect = named.scenario.expect();
    let mut caught = hunted
        .iter()
        .filter(|done| done.result.is_caught_by(&expect.caught_by));
    let path = named.path.display();
    let mutant = expect.mutant.as_deref().unwrap_or_default();
    match caught.next() {
        Some(first) => {
            println!(
                "{path}: {mutant} is caught; see it: {}",
                first.job.replay(named)
            );
            worst
        }
        None => {
            println!("{path}: {mutant} is NOT CAUGHT by {} seeds", hunted.len());
            worst.max(Verdict::Unsafe)
        }
    }
}

fn next(queue: &Mutex<VecDeque<usize>>) -> Option<usize> {
    queue.lock().expect("no worker panics").pop_front()
}
