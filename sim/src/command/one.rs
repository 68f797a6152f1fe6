//! `cargo sim one`: the process of one run, which `run` starts.

use super::{Usage, load};
use clap::Args;
use detcd_sim::single_run;
use detcd_sim::verdict::Verdict;
use std::path::PathBuf;

#[derive(Args)]
pub struct One {
    path: PathBuf,
    #[arg(long)]
    seed: u64,
    /// Where to write what came of it.
    #[arg(long)]
    result: PathBuf,
    /// The planted bug to switch on.
    #[arg(long)]
    mutant: Option<String>,
    /// Plants a leak of nondeterminism.
    #[arg(long)]
    leak: bool,
    /// Where to write every event.
    #[arg(long)]
    trace: Option<PathBuf>,
    /// Where to write what each workload's clients did, as scripts.
    #[arg(long)]
    scripts: Option<PathBuf>,
    /// Where to write the page of the run.
    #[arg(long)]
    report: Option<PathBuf>,
}

impl One {
    pub fn run(&self) -> Result<Verdict, Usage> {
        single_run::report_panics(self.result.clone());
        let result = single_run::run(single_run::SingleRun {
            scenario: &load(&self.path)?,
            seed: self.seed,
            mutant: self.mutant.as_deref(),
            leak: self.leak,
            trace: self.trace.as_deref(),
            scripts: self.scripts.as_deref(),
            report: self.report.as_deref(),
            path: &self.path,
        })?;
        let json = serde_json::to_vec(&result).expect("it is plain data");
        let result_path = &self.result;
        std::fs::write(result_path, json)
            .map_err(|error| format!("{}: {error}", result_path.display()))?;
        Ok(result.verdict)
    }
}
