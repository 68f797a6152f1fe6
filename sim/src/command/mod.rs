//! The commands of `cargo sim`, a file each.

mod bench;
mod mutants;
mod one;
mod plan;
mod run;
mod seeds;
mod shrink;
mod trace;

use clap::{Parser, Subcommand};
use detcd_out::{eprintln, print};
use detcd_sim::scenario::{self, Scenario};
use detcd_sim::verdict::Verdict;
use std::path::Path;
use std::process::ExitCode;

/// Runs whole clusters of real nodes in a deterministic simulation.
///
/// Exit codes: 0 pass, 1 safety violated (or a planted bug not caught), 2 usage (or a run that
/// proves nothing), 3 not live, 4 not deterministic, 5 a node crashed.
#[derive(Parser)]
#[command(name = "cargo sim")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs scenarios: files, or folders of them.
    Run(run::Run),
    /// Runs a list of kept seeds, a scenario and a seed on each line.
    Seeds(seeds::Seeds),
    /// Tries whether every planted bug is caught.
    Mutants(mutants::Mutants),
    /// Prints the events of a run, or of a file that `run --trace` wrote.
    Trace(trace::Trace),
    /// Makes a failing run small: fewer faults, operations and members, while the same check fails.
    Shrink(shrink::Shrink),
    /// Prints what a seed makes of a scenario.
    Plan(plan::Plan),
    /// Prints the reference of scenario files, as Markdown.
    Schema,
    /// Prints how fast the simulator is, and where the time goes.
    Bench(bench::Bench),
    /// One run in this very process, as `run` starts it.
    #[command(hide = true)]
    One(one::One),
}

/// A command that cannot be done as it was given, in words.
type Usage = String;

pub fn main() -> ExitCode {
    if std::env::var_os("RUSTFLAGS").is_some() {
        return usage("RUSTFLAGS is set: cargo would build without the simulator's cfg; unset it");
    }
    let verdict = match Arguments::parse().command {
        Command::Run(run) => run.run(),
        Command::Seeds(seeds) => seeds.run(),
        Command::Mutants(mutants) => mutants.run(),
        Command::Trace(trace) => trace.run(),
        Command::Shrink(shrink) => shrink.run(),
        Command::Plan(plan) => plan.run(),
        Command::Schema => {
            print!("{}", scenario::schema::reference());
            Ok(Verdict::Pass)
        }
        Command::Bench(bench) => bench.run(),
        Command::One(one) => one.run(),
    };
    match verdict {
        Ok(verdict) => ExitCode::from(verdict.exit_code()),
        Err(problem) => usage(&problem),
    }
}

fn usage(problem: &str) -> ExitCode {
    eprintln!("{problem}");
    ExitCode::from(Verdict::Usage.exit_code())
}

/// Reads a scenario.
fn load(path: &Path) -> Result<Scenario, Usage> {
    Scenario::load(path)
}
