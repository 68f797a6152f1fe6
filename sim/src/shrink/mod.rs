//! `cargo sim shrink`: makes a failing run small, while the same check fails.
//!
//! The plan of the seed is the start. What clients did is written out, so that operations can be
//! left out one by one; then lists lose entries, numbers and times get smaller, and keys that do not
//! matter go: each by delta debugging (all at once, halves, quarters, ... single ones). A candidate
//! may fail with one of a few seeds: what is left out shifts what the others draw, and a bug that
//! needs a race should not survive for that alone. Half of a scenario is worth many seeds, and one
//! operation among hundreds only few, or a bug that some runs show would never come to an end.
//!
//! But who takes whatever fails with one of many seeds soon has a run that hardly ever fails (without
//! the partition, say, that let everybody see the bug), and of which nothing more can be left out.
//! So first only what goes on failing about as often is left out, and then the rest.
//!
//! The file is written whenever entries went, so that an interrupted run loses nothing;
//! and after a while nothing smaller is looked for.

mod document;
mod progress;
mod tries;

use crate::scenario::Scenario;
use crate::series::replay;
use detcd_out::{eprintln, println};
use document::{BOLDNESS_MAX, Document, Edit, List};
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use toml::{Table, Value};
use tries::{Failure, Tries};

/// What to shrink, and how.
pub struct ShrinkRequest {
    pub scenario: Scenario,
    /// The scenario's file, as it was named.
    pub name: PathBuf,
    /// The seed that fails.
    pub seed: u64,
    /// Where to write the small scenario.
    pub out: PathBuf,
    /// Processes at a time.
    pub jobs: usize,
    /// Seeds that a candidate is tried with at most, besides the one that failed last.
    pub other_seeds: u64,
    /// Looks for nothing more after so many runs.
    pub runs_max: usize,
    /// Looks for nothing more after this time.
    pub budget: Duration,
}

/// After so many rounds over everything that still found something, it is small enough.
const ROUNDS_MAX: usize = 6;
/// Candidates that are tried side by side share so many runs, if none fails.
const SWEEP_RUNS: usize = 32;
/// The seeds that tell how often a run fails.
const STEADY_SEEDS: usize = 5;

impl ShrinkRequest {
    /// Shrinks, and writes what came out of it.
    pub fn run(self) -> Result<(), String> {
        let plan = Document::parse(&self.scenario.resolve(self.seed).to_string())?;
        // What the run must have reached is not what is looked for; what it must find is.
        let plan = plan.expecting(expectation(None));
        let mutant = self.scenario.expect().mutant.clone();
        let mut tries = Tries::new(mutant, self.jobs, self.budget);
        let caught_by = self.scenario.expect().caught_by.iter();
        let caught_by: Vec<String> = caught_by.map(ToString::to_string).collect();
        let result = tries.first(&plan, self.seed)?;
        let failure = Failure::of(&result, &caught_by).ok_or_else(|| {
            format!(
                "seed {} of {} does not fail: {}",
                self.seed,
                self.name.display(),
                result.verdict
            )
        })?;
        eprintln!("{failure} fails; {} entries", plan.entries());
        let mut work = Shrinking {
            started: Instant::now(),
            before: plan.entries(),
            saved: plan.entries(),
            seed: self.seed,
            best: plan,
            failure,
            tries,
            least: 1,
            request: self,
        };
        work.save()?;
        work.write_operations_out()?;
        work.least = work.steadily();
        work.shrink()?;
        if work.least > 1 {
            work.least = 1;
            work.shrink()?;
        }
        work.tries.progress.finish();
        work.save()?;
        work.conclude();
        Ok(())
    }
}

/// The `[expect]` of a candidate, or of what is written in the end.
fn expectation(planted: Option<(&str, &Failure)>) -> Table {
    let mut expect = Table::new();
    let text = |text: &str| Value::String(text.to_owned());
    match planted {
        Some((mutant, Failure::Check(check))) => {
            expect.insert("result".to_owned(), text("caught"));
            expect.insert("mutant".to_owned(), text(mutant));
            expect.insert("caught_by".to_owned(), Value::Array(vec![text(check)]));
        }
        // A crash is not caught by a check, and a real bug is to fail until it is mended.
        Some((_, Failure::Crash)) | None => drop(expect.insert("result".to_owned(), text("pass"))),
    }
    expect
}

struct Shrinking {
    request: ShrinkRequest,
    started: Instant,
    before: usize,
    best: Document,
    /// With which `best` fails.
    seed: u64,
    failure: Failure,
    tries: Tries,
    /// With how many of [`STEADY_SEEDS`] a candidate must fail; with one, any other one will do.
    least: usize,
    /// Entries of what was written last.
    saved: usize,
}

/// Which seeds a candidate is tried with.
#[derive(Clone, Copy)]
enum Seeds {
    /// The one that failed last, and others, the more the fewer candidates there are.
    Several,
    /// Not many others: the file only gets prettier.
    Few,
}

impl Shrinking {
    /// Writes the smallest that is known.
    fn save(&mut self) -> Result<(), String> {
        self.saved = self.best.entries();
        let planted = self.tries.mutant.as_deref();
        let expect = expectation(planted.map(|mutant| (mutant, &self.failure)));
        let document = self.best.expecting(expect);
        let text = format!(
            "# Shrunk from seed {} of {}, {} of {} faults and operations: {} fails with\n\
             #   {}\n{document}",
            self.request.seed,
            self.request.name.display(),
            document.entries(),
            self.before,
            self.failure,
            self.replay(),
        );
        let out = &self.request.out;
        fs::write(out, text).map_err(|error| format!("{}: {error}", out.display()))
    }

    fn replay(&self) -> String {
        // What is written names the bug, if a check can catch it.
        let mutant = self.tries.mutant.as_deref();
        let own = mutant.filter(|_| self.failure != Failure::Crash);
        replay::command(&self.request.out, self.seed, own, mutant)
    }

    fn conclude(&self) {
        let end = match self.is_over() {
            true => "; there may be a smaller one, for which there was no time",
            false => "",
        };
        println!(
            "{}: {} entries of {} left, after {} runs in {:.0} s{end}\n  see it: {}",
            self.request.out.display(),
            self.best.entries(),
            self.before,
            self.tries.runs(),
            self.started.elapsed().as_secs_f64(),
            self.replay(),
        );
    }

    fn is_over(&self) -> bool {
        self.tries.runs() >= self.request.runs_max || self.tries.is_over()
    }

    /// Puts scripts in the place of workloads, as far as the failure bears it.
    fn write_operations_out(&mut self) -> Result<(), String> {
        let scripts = match self.tries.scripts(&self.best, self.seed) {
            Ok(scripts) => scripts,
            Err(why) => {
                // A run that a panic ends tells nothing of its clients, and much of itself.
                let why = why.lines().next().unwrap_or_default().trim_end_matches(':');
                eprintln!("the operations stay as they are: {why}");
                return Ok(());
            }
        };
        let mut all = self.best.clone();
        for (workload, script) in scripts.iter().enumerate() {
            if let Some(script) = script {
                all = all.with_workload(workload, script)?;
            }
        }
        if self.accept(&[all], Seeds::Several).is_some() {
            self.went("operations written out")?;
            return Ok(());
        }
        for (workload, script) in scripts.iter().enumerate() {
            if let Some(script) = script {
                let one = self.best.with_workload(workload, script)?;
                if self.accept(&[one], Seeds::Several).is_some() {
                    self.went("operations of a workload written out")?;
                }
            }
        }
        Ok(())
    }

    fn shrink(&mut self) -> Result<(), String> {
        for _ in 0..ROUNDS_MAX {
            let before = self.best.clone();
            for list in [List::Workloads, List::Faults] {
                self.thin_out(list)?;
            }
            for list in self.best.lists() {
                if matches!(list, List::Lines { .. }) {
                    self.thin_out(list)?;
                }
            }
            self.thin_out(List::Faults)?;
            self.reduce(self.best.fewer_keys(), "keys")?;
            for boldness in 0..BOLDNESS_MAX {
                self.reduce(self.best.smaller_numbers(boldness), "numbers")?;
            }
            self.make_plainer()?;
            if self.best == before || self.is_over() {
                break;
            }
        }
        Ok(())
    }

    /// Leaves out entries of a list.
    fn thin_out(&mut self, list: List) -> Result<(), String> {
        let mut size = self.best.list(list).len();
        while size > 0 && !self.is_over() {
            let mut from = 0;
            loop {
                let len = self.best.list(list).len();
                let places: Vec<usize> = (from..len).step_by(size).collect();
                let candidates: Vec<Document> = places
                    .iter()
                    .map(|place| self.best.without(list, *place..(place + size).min(len)))
                    .collect();
                let Some(index) = self.accept(&candidates, Seeds::Several) else {
                    break;
                };
                from = places[index];
                self.went("entries")?;
            }
            size = half(size);
        }
        Ok(())
    }

    /// Makes as many of these changes as the failure bears.
    fn reduce(&mut self, mut open: Vec<Edit>, what: &str) -> Result<(), String> {
        let mut size = open.len();
        while size > 0 && !self.is_over() {
            let mut from = 0;
            loop {
                let places: Vec<usize> = (from..open.len()).step_by(size).collect();
                let chunk = |place: usize| place..(place + size).min(open.len());
                let candidates: Vec<Document> = places
                    .iter()
                    .map(|place| self.best.edited(&open[chunk(*place)]))
                    .collect();
                let Some(index) = self.accept(&candidates, Seeds::Few) else {
                    break;
                };
                from = places[index];
                let made = chunk(from);
                open.drain(made);
                self.went(what)?;
            }
            size = half(size);
        }
        Ok(())
    }

    fn make_plainer(&mut self) -> Result<(), String> {
        while !self.is_over() {
            if self
                .accept(&self.best.plainer_lines(), Seeds::Few)
                .is_none()
            {
                break;
            }
            self.went("plainer lines")?;
        }
        Ok(())
    }

    /// Tells how far it is, on a terminal in place, and writes it if faults or operations went.
    fn went(&mut self, what: &str) -> Result<(), String> {
        let faults = self.best.list(List::Faults).len();
        let line = format!(
            "{faults} faults and {} operations left, seed {} (less: {what})",
            self.best.entries() - faults,
            self.seed,
        );
        self.tries.progress.step(self.tries.runs(), &line);
        if self.best.entries() != self.saved {
            self.save()?;
        }
        Ok(())
    }

    /// The one that failed last, and so many others.
    fn seeds(&self, others: usize) -> Vec<u64> {
        let others = (1..).filter(|other| *other != self.seed).take(others);
        [self.seed].into_iter().chain(others).collect()
    }

    /// With how many of the seeds something must fail to fail about as often as what there is: half
    /// as often.
    fn steadily(&self) -> usize {
        let seeds = self.seeds(STEADY_SEEDS - 1);
        let fails = |least: &usize| {
            let best = std::slice::from_ref(&self.best);
            let found = self
                .tries
                .first_failing(best, &self.failure, &seeds, *least);
            found.is_some()
        };
        let often = (2..=STEADY_SEEDS).rev().find(fails);
        often.unwrap_or(1).div_ceil(2)
    }

    /// Takes the first of the candidates that fails.
    fn accept(&mut self, candidates: &[Document], seeds: Seeds) -> Option<usize> {
        let others = match seeds {
            _ if self.least > 1 => STEADY_SEEDS - 1,
            Seeds::Several => {
                let worth = (SWEEP_RUNS / candidates.len().max(1)).max(1);
                worth.min(self.request.other_seeds as usize)
            }
            Seeds::Few => self.request.other_seeds.min(1) as usize,
        };
        let (seeds, least) = (self.seeds(others), self.least);
        let found = self
            .tries
            .first_failing(candidates, &self.failure, &seeds, least);
        let (index, seed) = found?;
        self.best = candidates[index].clone();
        self.seed = seed;
        Some(index)
    }
}

/// The size of the next smaller pieces; 0 after single ones.
fn half(size: usize) -> usize {
    match size {
        1 => 0,
        size => size.div_ceil(2),
    }
}
