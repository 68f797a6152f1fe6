//! `cargo sim shrink`: makes a failing run small.

use super::{Usage, load};
use clap::Args;
use detcd_sim::shrink::Wish;
use detcd_sim::verdict::Verdict;
use std::path::PathBuf;

#[derive(Args)]
pub struct Shrink {
    scenario: PathBuf,
    /// The seed that fails.
    #[arg(long)]
    seed: u64,
    /// Where to write the small scenario.
    #[arg(long, default_value = "shrunk.toml")]
    out: PathBuf,
    /// Switches this planted bug on (default: the one that the scenario names).
    #[arg(long)]
    mutant: Option<String>,
    /// Shrinks a failure without the scenario's planted bug.
    #[arg(long, conflicts_with = "mutant")]
    without_mutant: bool,
    /// Processes at a time.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Seeds that a candidate is tried with, besides the one that failed last.
    #[arg(long, default_value_t = 3)]
    other_seeds: u64,
    /// Looks for nothing more after so many runs.
    #[arg(long, default_value_t = 4000)]
    runs_max: usize,
}

impl Shrink {
    pub fn run(self) -> Result<Verdict, Usage> {
        let scenario = load(&self.scenario)?;
        let mutant = match self.without_mutant {
            true => None,
            false => self.mutant.or(scenario.expect().mutant.clone()),
        };
        let wish = Wish {
            scenario,
            name: self.scenario,
            seed: self.seed,
            out: self.out,
            mutant,
            jobs: self.jobs,
            other_seeds: self.other_seeds,
            runs_max: self.runs_max,
        };
        wish.fulfil()?;
        Ok(Verdict::Pass)
    }
}
