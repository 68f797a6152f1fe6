//! `cargo sim trace`: looks at the events of a run.

use super::{Usage, load};
use clap::Args;
use detcd_sim::print_trace::PrintTrace;
use detcd_sim::verdict::Verdict;

#[derive(Args)]
pub struct Trace {
    #[command(flatten)]
    print_trace: PrintTrace,
}

impl Trace {
    pub fn run(&self) -> Result<Verdict, Usage> {
        let print_trace = &self.print_trace;
        if print_trace.is_of_scenario() {
            let mut scenario = load(&print_trace.path)?;
            print_trace
                .planting
                .apply(&print_trace.path, &mut scenario)?;
            print_trace.at_scenario(&scenario)?;
        } else {
            print_trace.at_file()?;
        }
        Ok(Verdict::Pass)
    }
}
