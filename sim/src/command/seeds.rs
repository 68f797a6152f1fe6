//! `cargo sim seeds`: runs a list of kept seeds.

use super::run::How;
use super::{Usage, load};
use clap::Args;
use detcd_sim::series::{Job, Named, seeds};
use detcd_sim::verdict::Verdict;
use std::path::PathBuf;

#[derive(Args)]
pub struct Seeds {
    /// The list. A line is: scenario seed [expected] # comment; scenarios are looked for beside
    /// the list.
    list: PathBuf,
    #[command(flatten)]
    how: How,
}

impl Seeds {
    pub fn run(&self) -> Result<Verdict, Usage> {
        let name = self.list.display().to_string();
        let text = std::fs::read_to_string(&self.list);
        let text = text.map_err(|error| format!("{name}: {error}"))?;
        let folder = self.list.parent().unwrap_or(".".as_ref());
        let mut scenarios: Vec<Named> = Vec::new();
        let mut jobs: Vec<Job> = Vec::new();
        for kept in seeds::parse(&name, &text)? {
            let path = folder.join(&kept.path);
            let known = scenarios.iter().position(|named| named.path == path);
            let index = match known {
                Some(index) => index,
                None => {
                    let scenario = load(&path)?;
                    scenarios.push(Named::new(path, scenario));
                    scenarios.len() - 1
                }
            };
            let mutant = scenarios[index].scenario.expect().mutant.as_deref();
            jobs.push(kept.job(index, mutant));
        }
        self.how.series(scenarios, jobs, None).run()
    }
}
