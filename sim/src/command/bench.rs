//! `cargo sim bench`: how fast the simulator is.

use super::Usage;
use clap::Args;
use detcd_sim::bench::{self, Load};
use detcd_sim::verdict::Verdict;
use std::process::Command;

/// The length of the history whose checks are timed.
const OPERATIONS: usize = 100_000;

#[derive(Args)]
pub struct Bench {
    /// Runs one load in this very process, as the bench does for each: a run has its own.
    #[arg(long, hide = true)]
    rate: Option<u64>,
    /// Only times the checks of a long history.
    #[arg(long)]
    history: bool,
}

impl Bench {
    pub fn run(&self) -> Result<Verdict, Usage> {
        let good = match self.rate {
            Some(rate) => {
                let load = Load::ALL.into_iter().find(|load| load.rate == rate);
                load.ok_or_else(|| format!("no load has {rate} operations/s"))?
                    .run()
            }
            None => {
                let runs = Load::ALL.into_iter().filter(|_| !self.history);
                let ran: Vec<bool> = runs.map(in_a_process).collect::<Result<_, _>>()?;
                bench::judge(OPERATIONS) && ran.into_iter().all(|good| good)
            }
        };
        Ok(if good { Verdict::Pass } else { Verdict::Unsafe })
    }
}

fn in_a_process(load: Load) -> Result<bool, Usage> {
    let wrong = |error: std::io::Error| error.to_string();
    let mut command = Command::new(std::env::current_exe().map_err(wrong)?);
    command.args(["bench", "--rate", &load.rate.to_string()]);
    Ok(command.status().map_err(wrong)?.success())
}
