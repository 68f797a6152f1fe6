//! `cargo sim trace`: the events of a run, for a person who looks for the reason of something.

use crate::planted::{self, Planting};
use crate::run;
use crate::run_thread;
use crate::scenario::{Scenario, units};
use crate::trace::lines::{Line, Printer, Wanted};
use crate::trace::{self, Sink as _};
use clap::Args;
use detcd_out::{Output, eprintln, stdout};
use regex::Regex;
use std::fs::File;
use std::io::{BufRead as _, BufReader, BufWriter, Stdout};
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::time::Duration;

#[derive(Args)]
pub struct PrintTrace {
    /// A scenario, or a file that `run --trace` wrote.
    pub path: PathBuf,
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Only what happened up to this time, such as "5s" or "12500ms".
    #[arg(long, value_parser = units::duration)]
    until: Option<Duration>,
    /// Only what happened here: a member's number or a name such as m2, c1, net or sim.
    #[arg(long)]
    node: Option<String>,
    /// Only events whose line this regular expression finds.
    #[arg(long)]
    grep: Option<Regex>,
    #[command(flatten)]
    pub planting: Planting,
}

impl PrintTrace {
    pub fn is_of_scenario(&self) -> bool {
        self.path.extension().is_some_and(|end| end == "toml")
    }

    fn printer(&self) -> Printer<BufWriter<Output<Stdout>>> {
        let wanted = Wanted {
            until: self.until,
            node: self.node.clone(),
            grep: self.grep.clone(),
        };
        Printer::new(BufWriter::new(stdout()), wanted)
    }

    /// Runs the scenario in this process, and prints its events.
    pub fn at_scenario(&self, scenario: &Scenario) -> Result<(), String> {
        run_thread::run(|| self.at_run(scenario))
    }

    fn at_run(&self, scenario: &Scenario) -> Result<(), String> {
        if let Some(mutant) = &scenario.expect().mutant {
            planted::named(mutant)?.choose();
        }
        trace::listen(self.printer());
        let plan = scenario.resolve(self.seed);
        let ran = std::panic::catch_unwind(AssertUnwindSafe(|| run::run(&plan, self.seed)));
        trace::finish().map_err(|error| error.to_string())?;
        match ran {
            Err(_) => eprintln!("a panic ended the run"),
            Ok(report) => {
                for violation in &report.violations {
                    eprintln!("violated {violation}");
                }
            }
        }
        Ok(())
    }

    /// Prints the events of a file of JSON lines.
    pub fn at_file(&self) -> Result<(), String> {
        let wrong = |path: &Path, why: String| format!("{}: {why}", path.display());
        let file = File::open(&self.path).map_err(|error| wrong(&self.path, error.to_string()))?;
        let mut printer = self.printer();
        for (number, line) in BufReader::new(file).lines().enumerate() {
            let line = line.map_err(|error| wrong(&self.path, error.to_string()))?;
            let line = Line::parse(&line)
                .map_err(|error| wrong(&self.path, format!("line {}: {error}", number + 1)))?;
            printer.line(&line);
        }
        printer.finish().map_err(|error| error.to_string())
    }
}
