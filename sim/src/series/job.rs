//! One run of a series: what to run, and what is to come of it.

use super::{Named, replay};
use crate::verdict::{RunResult, Verdict};
use std::time::Duration;

/// One run (or two equal ones).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// The index of its scenario in the series.
    pub scenario: usize,
    pub seed: u64,
    /// The planted bug to switch on.
    pub mutant: Option<String>,
    pub expected: Expected,
}

/// What a run is to come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// This verdict.
    Verdict(Verdict),
    /// A planted bug is looked for: any verdict will do, and the series tells how many caught it.
    Hunt,
    /// A planted bug is caught by one of the checks that the scenario names.
    Caught,
}

/// A run and what came of it.
#[derive(Clone, Debug)]
pub struct Done {
    pub job: Job,
    pub result: RunResult,
    /// What the process printed, and why two runs differ, if they do.
    pub output: String,
    /// Real time.
    pub took: Duration,
    /// The end was not as expected.
    pub failed: bool,
}

impl Job {
    /// A clean run, which is to pass.
    pub fn clean(scenario: usize, seed: u64) -> Job {
        Job {
            scenario,
            seed,
            mutant: None,
            expected: Expected::Verdict(Verdict::Pass),
        }
    }

    /// Whether this is not what was expected.
    pub fn is_failed_by(&self, named: &Named, result: &RunResult) -> bool {
        match self.expected {
            Expected::Verdict(verdict) => result.verdict != verdict,
            Expected::Hunt => result.verdict == Verdict::Nondeterministic,
            Expected::Caught => !result.is_caught_by(&named.scenario.expect().caught_by),
        }
    }

    /// The one command that runs this again.
    pub fn replay(&self, named: &Named) -> String {
        let (own, mutant) = (named.own_mutant.as_deref(), self.mutant.as_deref());
        replay::command(&named.path, self.seed, own, mutant)
    }
}

impl Done {
    /// What came of it, on a line.
    pub fn line(&self, named: &Named) -> String {
        let Done {
            job, result, took, ..
        } = self;
        let planted = match job.mutant {
            Some(_) => " with its planted bug",
            None => "",
        };
        format!(
            "{} seed {}{planted}: {}, {:.1} s simulated in {:.1} s, {} operations ({} unknown), {} \
             events, hash {:016x}",
            named.path.display(),
            job.seed,
            result.verdict,
            result.simulated_ms as f64 / 1000.0,
            took.as_secs_f64(),
            result.operations,
            result.unknown,
            result.events,
            result.hash,
        )
    }

    /// The lines of the output that say what was wrong.
    pub fn findings(&self) -> String {
        let telling = ["violated ", "stopped by itself: ", "never reached: "];
        if self.result.verdict == Verdict::Nondeterministic {
            // How two runs differ takes more than a line.
            return self.output.clone();
        }
        let lines = self.output.lines();
        let found: Vec<&str> = lines
            .filter(|line| telling.iter().any(|start| line.starts_with(start)))
            .collect();
        match found.is_empty() {
            // A panic, or something else that nobody foresaw.
            true => self.output.clone(),
            false => found.join("\n"),
        }
    }
}
