//! `cargo sim trace`: looks at the events of a run.

use super::{Usage, load};
use clap::Args;
use detcd_sim::look::Look;
use detcd_sim::verdict::Verdict;

#[derive(Args)]
pub struct Trace {
    #[command(flatten)]
    look: Look,
}

impl Trace {
    pub fn run(&self) -> Result<Verdict, Usage> {
        let look = &self.look;
        if look.is_of_scenario() {
            let mut scenario = load(&look.path)?;
            look.planting.apply(&look.path, &mut scenario)?;
            look.at_scenario(&scenario)?;
        } else {
            look.at_file()?;
        }
        Ok(Verdict::Pass)
    }
}
