//! Swarms: of everything that a file might have, each seed has some.
//!
//! A run with every kind of fault at once shows less than many runs with a few kinds each: faults
//! hide each other. So a file with a `[swarm]` is a pool, and each seed draws how many of its
//! workloads and faults it takes, and which. A new kind joins the swarm by a `[[fault]]` or
//! `[[workload]]` in such a file.

use super::reader::{Problem, Reader};
use super::settings::{Draw, Setting as _, settings};
use super::units::Count;

settings! {
    /// Of the workloads and faults of the file, each seed has only some. How likely one is taken,
    /// beside the others, is its `weight` (1, if it has none).
    pub struct Swarm {
        /// How many of the workloads a seed has.
        pub workloads: Count [1..=1000] = 1,
        /// How many of the faults a seed has; one that recurs counts once.
        pub faults: Count [0..=1000] = 1,
    }
}

/// How likely each is taken.
#[derive(Clone, Debug, Default)]
pub struct Weights {
    workloads: Vec<u64>,
    faults: Vec<u64>,
}

/// What a seed takes, by index.
pub struct Chosen {
    pub workloads: Vec<usize>,
    pub faults: Vec<usize>,
}

impl Weights {
    pub fn read(
        swarm: &Option<Swarm>,
        scenario: &Reader<'_>,
        workloads: &[Reader<'_>],
        faults: &[Reader<'_>],
    ) -> Result<Weights, Problem> {
        let read = |readers: &[Reader<'_>]| -> Result<Vec<u64>, Problem> {
            let weights = readers.iter().map(|reader| weight(reader, swarm.is_some()));
            weights.collect()
        };
        if let Some(swarm) = swarm {
            for (what, takes, of) in [
                ("workloads", swarm.workloads, workloads.len()),
                ("faults", swarm.faults, faults.len()),
            ] {
                if takes.0.high > of as u64 {
                    let takes = takes.0.high;
                    let message = format!("takes up to {takes} {what}, and there are {of}");
                    return Err(scenario.problem_at("swarm", message));
                }
            }
        }
        Ok(Weights {
            workloads: read(workloads)?,
            faults: read(faults)?,
        })
    }

    /// What the seed takes of them: everything, if there is no swarm.
    pub fn draw(&self, swarm: &Option<Swarm>, draw: &Draw) -> Chosen {
        match swarm {
            None => Chosen {
                workloads: (0..self.workloads.len()).collect(),
                faults: (0..self.faults.len()).collect(),
            },
            Some(swarm) => {
                let draw = draw.part("swarm");
                Chosen {
                    workloads: take(swarm.workloads, &self.workloads, &draw.part("workload")),
                    faults: take(swarm.faults, &self.faults, &draw.part("fault")),
                }
            }
        }
    }
}

fn weight(reader: &Reader<'_>, swarms: bool) -> Result<u64, Problem> {
    match reader.get("weight") {
        None => Ok(1),
        Some(value) if swarms => u64::read(&value, Some((1..=1000).into())),
        Some(value) => Err(value.problem("only a scenario with a [swarm] has some of these")),
    }
}

/// So many indices. Each draws for itself, as often as its weight says, and the greatest are taken:
/// one more to choose from does not shift the draws of the others.
fn take(number: Count, weights: &[u64], draw: &Draw) -> Vec<usize> {
    let number = number.draw(&draw.part("number")).value();
    let mut draws: Vec<(u64, usize)> = weights
        .iter()
        .enumerate()
        .map(|(index, weight)| {
            let mut rng = draw.part(index).rng();
            let best = (0..*weight).map(|_| rng.next_u64()).max();
            (best.expect("a weight is positive"), index)
        })
        .collect();
    draws.sort_unstable_by(|a, b| b.cmp(a));
    draws.truncate(usize::try_from(number).expect("a swarm is small"));
    draws.into_iter().map(|(_, index)| index).collect()
}
