//! `cargo ci`: the gates of detcd. `check`, `test`, `sim` and `bench` never write; `fix` does.

mod gates;
mod run;
#[path = "../../tests/tools/mod.rs"]
#[allow(dead_code, reason = "tests ask for one tool at a time")]
mod tools;

use clap::{Parser, Subcommand};
use detcd_out::eprintln;
use std::process::ExitCode;

/// The gates of detcd. Only `fix` changes files.
#[derive(Parser)]
#[command(name = "cargo ci")]
struct Arguments {
    #[command(subcommand)]
    gate: Gate,
}

#[derive(Subcommand)]
enum Gate {
    /// Formatting, lints and tidy.
    Check,
    /// Every test of the workspace.
    Test {
        /// Passed on to `cargo test`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// The simulator, for each push: its tests, smoke scenarios twice over some seeds, kept seeds,
    /// and planted bugs that must be caught.
    Sim {
        /// Seeds of each smoke scenario.
        #[arg(long, default_value_t = 5)]
        seeds: u32,
        /// A folder for a page of each run that fails.
        #[arg(long)]
        reports: Option<String>,
    },
    /// The simulator, every night: many seeds of scenarios in which everything is drawn, and some
    /// of each kind of fault and each bug of history.
    Swarm {
        #[arg(long, default_value_t = 200)]
        seeds: u32,
        /// The first of the seeds.
        #[arg(long, default_value_t = 1)]
        from: u64,
        /// A folder for a page of each run that fails.
        #[arg(long)]
        reports: Option<String>,
    },
    /// The smoke scenarios, run by builds of three profiles that must agree to the last event.
    Profiles {
        /// Seeds of each scenario.
        #[arg(long, default_value_t = 3)]
        seeds: u32,
    },
    /// A release build, measured: `cargo ci bench -- --against PATH-TO-ETCD`.
    Bench {
        /// Passed on to `detcd bench`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Patroni keeps two PostgreSQL servers in three members: kills, a failover and a switchover.
    Patroni {
        /// Passed on to `ci/patroni.py`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Formats, applies what clippy suggests, and rewrites golden outputs: review the diff.
    Fix,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Err(refusal) = run::refuse_flags() {
        eprintln!("cargo ci: {refusal}");
        return ExitCode::FAILURE;
    }
    if let Gate::Test { arguments } = &arguments.gate
        && arguments.is_empty()
        && let Some(advice) = tools::advice()
    {
        eprintln!("cargo ci test: {advice}");
        return ExitCode::FAILURE;
    }
    let steps = match arguments.gate {
        Gate::Check => gates::check(),
        Gate::Test { arguments } => gates::test(&arguments),
        Gate::Sim { seeds, reports } => gates::sim(seeds, reports.as_deref()),
        Gate::Swarm {
            seeds,
            from,
            reports,
        } => gates::swarm(seeds, from, reports.as_deref()),
        Gate::Profiles { seeds } => gates::profiles(seeds),
        Gate::Bench { arguments } => gates::bench(&arguments),
        Gate::Patroni { arguments } => gates::patroni(&arguments),
        Gate::Fix => gates::fix(),
    };
    match run::all(&steps) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
