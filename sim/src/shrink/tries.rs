//! Trying candidates: a process for each, some at a time.

use super::document::Document;
use crate::verdict::{Told, Verdict};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What must go on failing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    Check(String),
    Crash,
}

impl Failure {
    /// What failed in a run; a check of `preferred` if there is one.
    pub fn of(told: &Told, preferred: &[String]) -> Option<Failure> {
        let found = || told.found_by.iter();
        let check = found().find(|check| preferred.contains(check));
        match check.or(found().next()) {
            Some(check) => Some(Failure::Check(check.clone())),
            None => (told.verdict == Verdict::NodeCrash).then_some(Failure::Crash),
        }
    }

    fn is_in(&self, told: &Told) -> bool {
        match self {
            Failure::Check(check) => told.found_by.contains(check),
            Failure::Crash => told.verdict == Verdict::NodeCrash,
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
    /// Seeds that a candidate may fail with, besides the last one that did.
    pub seeds: u64,
    /// Candidates run so far, each seed counted.
    pub count: AtomicUsize,
}

impl Tries {
    /// Runs one document; also writes its scripts, if asked to.
    pub fn run(
        &self,
        document: &Document,
        seed: u64,
        scripts: Option<&Path>,
    ) -> Result<Told, String> {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let path = scratch(number, "toml");
        let tell = scratch(number, "json");
        let wrong = |error: std::io::Error| format!("{}: {error}", path.display());
        fs::write(&path, document.to_string()).map_err(wrong)?;
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let mut command = Command::new(program);
        command.arg("one").arg(&path).arg("--tell").arg(&tell);
        command.arg("--seed").arg(seed.to_string());
        if let Some(mutant) = &self.mutant {
            command.arg("--mutant").arg(mutant);
        }
        if let Some(scripts) = scripts {
            command.arg("--scripts").arg(scripts);
        }
        let status = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .map_err(|error| error.to_string())?;
        let told = fs::read(&tell).ok();
        let told = told.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        // Leftovers in the temporary folder harm nobody.
        let _ = (fs::remove_file(&path), fs::remove_file(&tell));
        told.ok_or_else(|| format!("a run ended with {status} and told nothing"))
    }

    /// The first of the candidates that fails, and with which seed. The answer does not depend on
    /// how many run at a time.
    pub fn first_failing(
        &self,
        candidates: &[Document],
        failure: &Failure,
        seed: u64,
    ) -> Option<(usize, u64)> {
        let others = (1..).filter(|other| *other != seed);
        let seeds: Vec<u64> = [seed]
            .into_iter()
            .chain(others)
            .take(1 + self.seeds as usize)
            .collect();
        let tasks = candidates.iter().enumerate();
        let tasks = tasks.filter(|(_, candidate)| candidate.is_scenario());
        let tasks: Vec<(usize, u64)> = tasks
            .flat_map(|(index, _)| seeds.iter().map(move |seed| (index, *seed)))
            .collect();
        let next = AtomicUsize::new(0);
        let first: Mutex<usize> = Mutex::new(usize::MAX);
        std::thread::scope(|scope| {
            for _ in 0..self.jobs.max(1) {
                scope.spawn(|| {
                    loop {
                        let task = next.fetch_add(1, Ordering::Relaxed);
                        let found = *first.lock().expect("no worker panics");
                        if task >= tasks.len() || task > found {
                            break;
                        }
                        let (index, seed) = tasks[task];
                        let told = self.run(&candidates[index], seed, None);
                        if told.is_ok_and(|told| failure.is_in(&told)) {
                            let mut first = first.lock().expect("no worker panics");
                            *first = task.min(*first);
                        }
                    }
                });
            }
        });
        let first = first.into_inner().expect("no worker panics");
        tasks.get(first).copied()
    }
}

pub fn scratch(number: usize, end: &str) -> PathBuf {
    let name = format!("detcd-shrink-{}-{number}.{end}", std::process::id());
    std::env::temp_dir().join(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(verdict: Verdict, found_by: &[&str]) -> Told {
        Told {
            verdict,
            hash: 0,
            events: 0,
            simulated_ms: 0,
            operations: 0,
            unknown: 0,
            found_by: found_by.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn the_same_failure_is_known_again() {
        let run = told(Verdict::Unsafe, &["durable", "linearizable"]);
        let preferred = ["linearizable".to_owned()];
        let failure = Failure::of(&run, &preferred).expect("it failed");
        assert_eq!(failure, Failure::Check("linearizable".to_owned()));
        assert!(failure.is_in(&told(Verdict::Unsafe, &["linearizable"])));
        assert!(!failure.is_in(&told(Verdict::Unsafe, &["durable"])));
        assert!(!failure.is_in(&told(Verdict::NodeCrash, &[])));
        let crash = Failure::of(&told(Verdict::NodeCrash, &[]), &preferred);
        assert_eq!(crash, Some(Failure::Crash));
        assert_eq!(Failure::of(&told(Verdict::Pass, &[]), &preferred), None);
        assert_eq!(Failure::of(&told(Verdict::Usage, &[]), &preferred), None);
    }
}
