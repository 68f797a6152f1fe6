//! `cargo sim shrink`: makes a failing run small.

use super::{Usage, load};
use clap::Args;
use detcd_sim::planted::Planting;
use detcd_sim::scenario::units;
use detcd_sim::shrink::ShrinkRequest;
use detcd_sim::verdict::Verdict;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Args)]
pub struct Shrink {
    scenario: PathBuf,
    /// The seed that fails.
    #[arg(long)]
    seed: u64,
    /// Where to write the small scenario.
    #[arg(long, default_value = "shrunk.toml")]
    out: PathBuf,
    #[command(flatten)]
    planting: Planting,
    /// Processes at a time.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Seeds that a candidate is tried with at most, besides the one that failed last: the more it
    /// leaves out, the more of them it is worth.
    #[arg(long, default_value_t = 12)]
    other_seeds: u64,
    /// Looks for nothing more after this time; what is the smallest until then is written.
    #[arg(long, default_value = "180s", value_parser = units::duration)]
    budget: Duration,
    /// Looks for nothing more after so many runs.
    #[arg(long, default_value_t = 4000)]
    runs_max: usize,
}

impl Shrink {
    pub fn run(self) -> Result<Verdict, Usage> {
        let mut scenario = load(&self.scenario)?;
        self.planting.apply(&self.scenario, &mut scenario)?;
        let request = ShrinkRequest {
            scenario,
            name: self.scenario,
            seed: self.seed,
            out: self.out,
            jobs: self.jobs,
            other_seeds: self.other_seeds,
            runs_max: self.runs_max,
            budget: self.budget,
        };
        request.run()?;
        Ok(Verdict::Pass)
    }
}
