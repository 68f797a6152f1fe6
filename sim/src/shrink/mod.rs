//! `cargo sim shrink`: makes a failing run small, while the same check fails.
//!
//! The plan of the seed is the start. What clients did is written out, so that operations can be
//! left out one by one; then lists lose entries (by delta debugging: halves, quarters, ... single
//! ones), numbers and times get smaller, and keys that do not matter go. A candidate may fail with
//! one of a few seeds: what is left out shifts what the others draw, and a bug that needs a race
//! should not survive for that alone.

mod document;
mod tries;

use crate::scenario::Scenario;
use document::{Document, List};
use std::fs;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use toml::{Table, Value};
use tries::{Failure, Tries};

/// What to shrink, and how.
pub struct Wish {
    pub scenario: Scenario,
    /// The scenario's file, as it was named.
    pub name: PathBuf,
    /// The seed that fails.
    pub seed: u64,
    /// Where to write the small scenario.
    pub out: PathBuf,
    pub mutant: Option<String>,
    /// Processes at a time.
    pub jobs: usize,
    /// Seeds that a candidate is tried with, besides the one that failed last.
    pub other_seeds: u64,
    /// Looks for nothing more after so many runs.
    pub runs_max: usize,
}

/// After so many rounds over everything that still found something, it is small enough.
const ROUNDS_MAX: usize = 6;

impl Wish {
    /// Shrinks, and writes what came out of it.
    pub fn fulfil(self) -> Result<(), String> {
        let plan = Document::parse(&self.scenario.resolve(self.seed).to_string())?;
        // What the run must have reached is not what is looked for; what it must find is.
        let plan = plan.expecting(expectation(None));
        let tries = Tries {
            mutant: self.mutant.clone(),
            jobs: self.jobs,
            seeds: self.other_seeds,
            count: AtomicUsize::new(0),
        };
        let caught_by = self.scenario.expect().caught_by.iter();
        let caught_by: Vec<String> = caught_by.map(ToString::to_string).collect();
        let told = tries.run(&plan, self.seed, None)?;
        let failure = Failure::of(&told, &caught_by).ok_or_else(|| {
            format!(
                "seed {} of {} does not fail: {}",
                self.seed,
                self.name.display(),
                told.verdict
            )
        })?;
        eprintln!("{failure} fails; {} entries", plan.entries());
        let mut work = Shrinking {
            started: Instant::now(),
            before: plan.entries(),
            told: plan.entries(),
            runs_max: self.runs_max,
            seed: self.seed,
            best: plan,
            failure,
            tries,
        };
        work.write_operations_out()?;
        work.shrink();
        eprintln!();
        self.write(work)
    }

    fn write(&self, work: Shrinking) -> Result<(), String> {
        let out = self.out.display();
        let command = replay(&self.out, work.seed);
        let expect = expectation(
            work.tries
                .mutant
                .as_deref()
                .map(|mutant| (mutant, &work.failure)),
        );
        let document = work.best.expecting(expect);
        let text = format!(
            "# Shrunk from seed {} of {}, {} of {} faults and operations: {} fails with\n\
             #   {command}\n{document}",
            self.seed,
            self.name.display(),
            document.entries(),
            work.before,
            work.failure,
        );
        fs::write(&self.out, text).map_err(|error| format!("{out}: {error}"))?;
        println!(
            "{out}: {} entries of {} left, after {} runs in {:.0} s\n  see it: {command}",
            document.entries(),
            work.before,
            work.tries.count.load(Ordering::Relaxed),
            work.started.elapsed().as_secs_f64(),
        );
        Ok(())
    }
}

fn replay(out: &Path, seed: u64) -> String {
    format!("cargo sim run {} --seed {seed}", out.display())
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
    started: Instant,
    before: usize,
    runs_max: usize,
    best: Document,
    /// With which `best` fails.
    seed: u64,
    failure: Failure,
    tries: Tries,
    /// Entries left as told last.
    told: usize,
}

impl Shrinking {
    /// Puts scripts in the place of workloads, as far as the failure bears it.
    fn write_operations_out(&mut self) -> Result<(), String> {
        let path = tries::scratch(0, "scripts");
        self.tries.run(&self.best, self.seed, Some(&path))?;
        let scripts = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        // Leftovers in the temporary folder harm nobody.
        let _ = fs::remove_file(&path);
        let scripts: Vec<Option<String>> =
            serde_json::from_slice(&scripts).map_err(|error| error.to_string())?;
        let mut all = self.best.clone();
        for (workload, script) in scripts.iter().enumerate() {
            if let Some(script) = script {
                all = all.with_workload(workload, script)?;
            }
        }
        if self.accept(&[all], "operations written out").is_some() {
            return Ok(());
        }
        for (workload, script) in scripts.iter().enumerate() {
            if let Some(script) = script {
                let one = self.best.with_workload(workload, script)?;
                self.accept(&[one], "operations of a workload written out");
            }
        }
        Ok(())
    }

    fn shrink(&mut self) {
        for _ in 0..ROUNDS_MAX {
            let before = self.best.clone();
            for list in [List::Workloads, List::Faults] {
                self.thin_out(list);
            }
            for list in self.best.lists() {
                if matches!(list, List::Lines { .. }) {
                    self.thin_out(list);
                }
            }
            self.thin_out(List::Faults);
            self.repeat(Document::smaller_numbers, "a number");
            self.repeat(Document::plainer_lines, "plainer lines");
            self.repeat(Document::fewer_keys, "a key");
            if self.best == before || self.is_over() {
                break;
            }
        }
    }

    fn is_over(&self) -> bool {
        self.tries.count.load(Ordering::Relaxed) >= self.runs_max
    }

    /// Leaves out entries of a list: in halves, then in smaller and smaller pieces.
    fn thin_out(&mut self, list: List) {
        let mut size = self.best.list(list).len().div_ceil(2);
        while size > 0 && !self.is_over() {
            let mut from = 0;
            loop {
                let len = self.best.list(list).len();
                let places: Vec<usize> = (from..len).step_by(size).collect();
                let candidates: Vec<Document> = places
                    .iter()
                    .map(|place| self.best.without(list, *place..(place + size).min(len)))
                    .collect();
                match self.accept(&candidates, "entries") {
                    Some(index) => from = places[index],
                    None => break,
                }
            }
            size = if size == 1 { 0 } else { size.div_ceil(2) };
        }
    }

    /// Takes the first candidate that fails, again and again. Goes on behind the one that was
    /// taken, and begins anew at the end, until nothing is found.
    fn repeat(&mut self, candidates: fn(&Document) -> Vec<Document>, what: &str) {
        let mut from = 0;
        while !self.is_over() {
            let all = candidates(&self.best);
            let rest = &all[from.min(all.len())..];
            match self.accept(rest, what) {
                Some(index) => from += index,
                None if from == 0 => break,
                None => from = 0,
            }
        }
    }

    /// One line for each time that entries went; what else got smaller overwrites the last.
    fn tell(&mut self, what: &str) {
        let runs = self.tries.count.load(Ordering::Relaxed);
        let faults = self.best.list(List::Faults).len();
        let entries = self.best.entries();
        let line = format!(
            "{runs:>5} runs: {faults} faults and {} operations left, seed {} (less: {what})",
            entries - faults,
            self.seed,
        );
        let is_terminal = std::io::stderr().is_terminal();
        match (entries < self.told, is_terminal) {
            (true, true) => eprint!("\n\x1b[2K\r{line}"),
            (true, false) => eprintln!("{line}"),
            (false, true) => eprint!("\x1b[2K\r{line}"),
            (false, false) => {}
        }
        self.told = entries;
    }

    /// Takes the first of the candidates that fails.
    fn accept(&mut self, candidates: &[Document], what: &str) -> Option<usize> {
        let found = self
            .tries
            .first_failing(candidates, &self.failure, self.seed);
        let (index, seed) = found?;
        self.best = candidates[index].clone();
        self.seed = seed;
        self.tell(what);
        Some(index)
    }
}
