//! `cargo sim mutants`: tries whether every planted bug is caught.

use super::Usage;
use super::run::{find, load_all};
use clap::Args;
use detcd_core::mutants::Mutant;
use detcd_out::println;
use detcd_sim::planted::{self, Planting};
use detcd_sim::series::hunt::{self, Found, Hunt, Table};
use detcd_sim::verdict::Verdict;
use std::path::{Path, PathBuf};

/// Where the scenarios are that a mutant must fail.
const MUST_FAIL: &str = "scenarios/must-fail";
const SWARM: &str = "scenarios/swarm";

#[derive(Args)]
pub struct Mutants {
    /// How many seeds to try at most with each scenario.
    #[arg(long, default_value_t = 20)]
    seeds: u64,
    /// Only these mutants.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Tries each with the scenarios of the swarm, too, where any check may catch it.
    #[arg(long)]
    swarm: bool,
    /// Processes at a time.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Writes a page of HTML for each planted bug that its own scenario catches into this folder.
    #[arg(long, value_name = "FOLDER")]
    reports: Option<PathBuf>,
}

impl Mutants {
    pub fn run(&self) -> Result<Verdict, Usage> {
        let mutants = self.mutants()?;
        let written = load_all(&[PathBuf::from(MUST_FAIL)], &Planting::default())?;
        let mut swarm = Vec::new();
        if self.swarm {
            find(Path::new(SWARM), &mut swarm)?;
        }
        let trials = hunt::trials(&mutants, &written, &swarm)?;
        let hunt = Hunt {
            seeds: self.seeds,
            workers: self.jobs,
            reports: self.reports.clone(),
        };
        let found = hunt.run(trials);
        println!("{}", Table(&found));
        found
            .iter()
            .filter_map(Found::replay)
            .for_each(|replay| println!("{replay}"));
        Ok(match found.iter().all(|found| found.caught.is_some()) {
            true => Verdict::Pass,
            false => Verdict::Unsafe,
        })
    }

    fn mutants(&self) -> Result<Vec<Mutant>, Usage> {
        if self.only.is_empty() {
            return Ok(Mutant::ALL.iter().map(|(_, mutant)| *mutant).collect());
        }
        self.only.iter().map(|name| planted::named(name)).collect()
    }
}
