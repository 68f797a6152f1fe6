//! `cargo sim plan`: what a seed makes of a scenario, as a scenario.

use super::{Usage, load};
use clap::Args;
use detcd_out::print;
use detcd_sim::verdict::Verdict;
use std::path::PathBuf;

#[derive(Args)]
pub struct Plan {
    path: PathBuf,
    /// The seed (default: the file's own, or 1).
    #[arg(long)]
    seed: Option<u64>,
}

impl Plan {
    pub fn run(&self) -> Result<Verdict, Usage> {
        let scenario = load(&self.path)?;
        let seed = self.seed.or(scenario.head.seed).unwrap_or(1);
        print!("{}", scenario.resolve(seed));
        Ok(Verdict::Pass)
    }
}
