//! Trying candidates: a process for each, some at a time.

use super::document::Document;
use super::progress::Progress;
use crate::series::process::{self, Order};
use crate::verdict::{RunResult, Verdict};
use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// The real time of one candidate. What is left out may make a run hang, which is no failure that
/// anybody looks for.
const CANDIDATE_MAX: Duration = Duration::from_secs(60);
/// One that takes so many times as long as the run that it was made from is no smaller one. Short
/// runs have a second more, for the machine's moods.
const SLOWER_MAX: u32 = 8;
const MOODS: Duration = Duration::from_secs(1);

/// What must go on failing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    Check(String),
    Crash,
}

impl Failure {
    /// What failed in a run; a check of `preferred` if there is one.
    pub fn of(result: &RunResult, preferred: &[String]) -> Option<Failure> {
        let found = || result.found_by.iter();
        let check = found().find(|check| preferred.contains(check));
        match check.or(found().next()) {
            Some(check) => Some(Failure::Check(check.clone())),
            None => (result.verdict == Verdict::NodeCrash).then_some(Failure::Crash),
        }
    }

    fn is_in(&self, result: &RunResult) -> bool {
        match self {
            Failure::Check(check) => result.found_by.contains(check),
            Failure::Crash => result.verdict == Verdict::NodeCrash,
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Check(check) => f.write_str(check),
            Failure::Crash => f.write_str("the crash of a node"),
        }
    }
}

/// How candidates are tried.
pub struct Tries {
    pub mutant: Option<String>,
    pub jobs: usize,
    pub progress: Progress,
    /// Candidates run so far, each seed counted.
    count: AtomicUsize,
    /// When there is no more time for any.
    ends: Instant,
    limit: Duration,
}

/// A document as a file, as long as this lives.
struct Written(PathBuf);

impl Written {
    fn new(document: &Document) -> Result<Written, String> {
        let path = process::scratch("toml");
        let wrong = |error: std::io::Error| format!("{}: {error}", path.display());
        fs::write(&path, document.to_string()).map_err(wrong)?;
        Ok(Written(path))
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        // Leftovers in the temporary folder harm nobody.
        let _ = fs::remove_file(&self.0);
    }
}

impl Tries {
    pub fn new(mutant: Option<String>, jobs: usize, budget: Duration) -> Tries {
        Tries {
            mutant,
            jobs,
            progress: Progress::new(budget),
            count: AtomicUsize::new(0),
            ends: Instant::now() + budget,
            limit: CANDIDATE_MAX,
        }
    }

    /// Runs the document that candidates are made from, and sees how long one may take.
    pub fn first(&mut self, document: &Document, seed: u64) -> Result<RunResult, String> {
        let started = Instant::now();
        let result = self.run(document, seed);
        self.limit = CANDIDATE_MAX.min(started.elapsed() * SLOWER_MAX + MOODS);
        result
    }

    pub fn runs(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    pub fn is_over(&self) -> bool {
        Instant::now() >= self.ends
    }

    fn counted(&self) {
        let before = self.count.fetch_add(1, Ordering::Relaxed);
        self.progress.ran(before + 1);
    }

    /// Runs one document.
    pub fn run(&self, document: &Document, seed: u64) -> Result<RunResult, String> {
        let file = Written::new(document)?;
        self.counted();
        let (result, _) = process::run(self.order(&file, seed));
        Ok(result)
    }

    /// What each of the workloads' clients did, as scripts; `None` for one that did nothing.
    pub fn scripts(&self, document: &Document, seed: u64) -> Result<Vec<Option<String>>, String> {
        let (file, path) = (Written::new(document)?, process::scratch("scripts"));
        self.counted();
        process::scripts(self.order(&file, seed), &path)?;
        let written = Written(path);
        let json = fs::read(&written.0).map_err(|error| error.to_string())?;
        serde_json::from_slice(&json).map_err(|error| error.to_string())
    }

    fn order<'a>(&'a self, file: &'a Written, seed: u64) -> Order<'a> {
        Order {
            path: &file.0,
            seed,
            mutant: self.mutant.as_deref(),
            trace: None,
            leak: false,
            limit: self.limit,
            program: None,
        }
    }

    /// The first of the candidates that fails with at least `least` of the seeds, and the first of
    /// those. The answer does not depend on how many run at a time, unless time is over.
    pub fn first_failing(
        &self,
        candidates: &[Document],
        failure: &Failure,
        seeds: &[u64],
        least: usize,
    ) -> Option<(usize, u64)> {
        let tasks = candidates.iter().enumerate();
        let tasks = tasks.filter(|(_, candidate)| candidate.is_scenario());
        let tasks: Vec<(usize, u64)> = tasks
            .flat_map(|(index, _)| seeds.iter().map(move |seed| (index, *seed)))
            .collect();
        let next = AtomicUsize::new(0);
        let ends = Mutex::new(vec![Ends::default(); candidates.len()]);
        let fails = |ends: &Ends| ends.failed.len() >= least;
        let is_open = |ends: &Ends| !fails(ends) && ends.passed + least <= seeds.len();
        std::thread::scope(|scope| {
            for _ in 0..self.jobs.max(1) {
                scope.spawn(|| {
                    while let Some((index, seed)) = tasks.get(next.fetch_add(1, Ordering::Relaxed))
                    {
                        let (is_late, is_open) = {
                            let ends = ends.lock().expect("no worker panics");
                            (ends[..*index].iter().any(fails), is_open(&ends[*index]))
                        };
                        if is_late || self.is_over() {
                            break;
                        }
                        if is_open {
                            let result = self.run(&candidates[*index], *seed);
                            let failed = result.is_ok_and(|result| failure.is_in(&result));
                            ends.lock().expect("no worker panics")[*index].note(*seed, failed);
                        }
                    }
                });
            }
        });
        let ends = ends.into_inner().expect("no worker panics");
        let index = ends.iter().position(fails)?;
        let seed = seeds.iter().find(|seed| ends[index].failed.contains(seed));
        Some((index, *seed?))
    }
}

/// How the runs of one candidate ended.
#[derive(Clone, Default)]
struct Ends {
    /// The seeds with which it failed.
    failed: Vec<u64>,
    passed: usize,
}

impl Ends {
    fn note(&mut self, seed: u64, failed: bool) {
        match failed {
            true => self.failed.push(seed),
            false => self.passed += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(verdict: Verdict, found_by: &[&str]) -> RunResult {
        RunResult {
            found_by: found_by.iter().map(ToString::to_string).collect(),
            ..RunResult::nothing(verdict)
        }
    }

    #[test]
    fn the_same_failure_is_known_again() {
        let run = result(Verdict::Unsafe, &["durable", "linearizable"]);
        let preferred = ["linearizable".to_owned()];
        let failure = Failure::of(&run, &preferred).expect("it failed");
        assert_eq!(failure, Failure::Check("linearizable".to_owned()));
        assert!(failure.is_in(&result(Verdict::Unsafe, &["linearizable"])));
        assert!(!failure.is_in(&result(Verdict::Unsafe, &["durable"])));
        assert!(!failure.is_in(&result(Verdict::NodeCrash, &[])));
        let crash = Failure::of(&result(Verdict::NodeCrash, &[]), &preferred);
        assert_eq!(crash, Some(Failure::Crash));
        assert_eq!(Failure::of(&result(Verdict::Pass, &[]), &preferred), None);
        assert_eq!(Failure::of(&result(Verdict::Usage, &[]), &preferred), None);
    }
}
