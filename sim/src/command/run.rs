//! `cargo sim run`: scenarios, each with one seed or many.

use super::{Usage, load};
use clap::Args;
use detcd_out::{print, println};
use detcd_sim::planted::Planting;
use detcd_sim::scenario::plan::Timeline;
use detcd_sim::series::{self, Job, Named, Series};
use detcd_sim::verdict::Verdict;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;

#[derive(Args)]
pub struct Run {
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// The one seed to run (default: the file's own, or 1).
    #[arg(long, conflicts_with_all = ["seeds", "from"])]
    seed: Option<u64>,
    /// Many seeds of each scenario: so many from --from on ("200"), or these ("201..2000", both
    /// ends included).
    #[arg(long, value_name = "N | A..B")]
    seeds: Option<Seeds>,
    /// The first of so many seeds (default: 1).
    #[arg(long, requires = "seeds")]
    from: Option<u64>,
    /// Writes every event of the (one) run to a file, as a line of JSON.
    #[arg(long)]
    trace: Option<PathBuf>,
    /// Writes the (one) run as a page of HTML, to be looked at in a browser.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Writes the plan of the (one) run to a file, as a scenario that gives the same run.
    #[arg(long)]
    save_plan: Option<PathBuf>,
    #[command(flatten)]
    planting: Planting,
    #[command(flatten)]
    how: How,
}

/// Which seeds to run.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seeds {
    Count(u64),
    These(RangeInclusive<u64>),
}

impl FromStr for Seeds {
    type Err = String;

    fn from_str(text: &str) -> Result<Seeds, String> {
        let number = |text: &str| text.parse::<u64>().ok();
        let seeds = match text.split_once("..") {
            Some((first, last)) => number(first)
                .zip(number(last))
                .map(|(a, b)| Seeds::These(a..=b)),
            None => number(text).map(Seeds::Count),
        };
        let is_empty = match &seeds {
            Some(Seeds::Count(count)) => *count == 0,
            Some(Seeds::These(these)) => these.is_empty(),
            None => true,
        };
        let wrong = "how many seeds (\"200\"), or the first and the last (\"201..2000\")";
        seeds.filter(|_| !is_empty).ok_or_else(|| wrong.to_owned())
    }
}

impl Seeds {
    /// The seeds themselves; so many begin with `first`.
    fn from(&self, first: Option<u64>) -> Result<RangeInclusive<u64>, Usage> {
        match (self, first) {
            (Seeds::Count(count), _) => {
                let first = first.unwrap_or(1);
                Ok(first..=first.saturating_add(count - 1))
            }
            (Seeds::These(these), None) => Ok(these.clone()),
            (Seeds::These(_), Some(_)) => {
                Err("--seeds A..B says where to begin; --from is for --seeds N".to_owned())
            }
        }
    }
}

/// How to run many.
#[derive(Args)]
pub struct How {
    /// Runs everything in two processes and compares their traces.
    #[arg(long)]
    twice: bool,
    /// Has another build of the simulator make the second run: its profile must not matter.
    #[arg(long, value_name = "PROGRAM", requires = "twice")]
    second: Option<PathBuf>,
    /// Plants a leak of nondeterminism, to see `--twice` find it.
    #[arg(long, hide = true)]
    leak: bool,
    /// Processes at a time.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Also writes the results as JUnit XML.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Writes a page of HTML for each run that fails into this folder.
    #[arg(long, value_name = "FOLDER")]
    reports: Option<PathBuf>,
    /// Prints a line also for runs that end as expected.
    #[arg(long, short)]
    verbose: bool,
}

impl How {
    pub fn series(&self, scenarios: Vec<Named>, jobs: Vec<Job>, trace: Option<PathBuf>) -> Series {
        Series {
            scenarios,
            jobs,
            twice: self.twice,
            second: self.second.clone(),
            leak: self.leak,
            workers: self.jobs,
            trace,
            junit: self.junit.clone(),
            reports: self.reports.clone(),
            verbose: self.verbose,
        }
    }
}

impl Run {
    pub fn run(&self) -> Result<Verdict, Usage> {
        let scenarios = load_all(&self.paths, &self.planting)?;
        let jobs = match &self.seeds {
            Some(seeds) => {
                let seeds: Vec<u64> = seeds.from(self.from)?.collect();
                series::jobs(&scenarios, &seeds)
            }
            None => {
                let seed = |named: &Named| self.seed.or(named.scenario.head.seed).unwrap_or(1);
                let of_each = scenarios.iter().enumerate().flat_map(|(index, named)| {
                    let mut jobs = series::jobs(std::slice::from_ref(named), &[seed(named)]);
                    jobs.iter_mut().for_each(|job| job.scenario = index);
                    jobs
                });
                of_each.collect()
            }
        };
        match (&jobs[..], &scenarios[..]) {
            ([job], [named]) => self.show_plan(named, job.seed)?,
            _ if self.trace.is_some() || self.save_plan.is_some() || self.report.is_some() => {
                let what = "--trace, --report and --save-plan are for one scenario and one seed";
                return Err(what.to_owned());
            }
            _ => {}
        }
        let series = self.how.series(scenarios, jobs, self.trace.clone());
        let verdict = series.run()?;
        if let (Some(page), [job], [named]) =
            (&self.report, &series.jobs[..], &series.scenarios[..])
        {
            series::report(named, job, page)?;
            println!("the report of it: {}", page.display());
        }
        Ok(verdict)
    }

    fn show_plan(&self, named: &Named, seed: u64) -> Result<(), Usage> {
        let plan = &named.scenario.resolve(seed);
        print!("{}", Timeline { plan, seed });
        let Some(path) = &self.save_plan else {
            return Ok(());
        };
        let from = named.path.display();
        let text = format!("# The plan of {from}, seed {seed}.\n{plan}");
        std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
    }
}

pub fn load_all(paths: &[PathBuf], planting: &Planting) -> Result<Vec<Named>, Usage> {
    let mut files = Vec::new();
    for path in paths {
        find(path, &mut files)?;
    }
    let scenarios = files.into_iter().map(|path| {
        let mut named = Named::new(path.clone(), load(&path)?);
        planting.apply(&path, &mut named.scenario)?;
        Ok(named)
    });
    let scenarios: Vec<Named> = scenarios.collect::<Result<_, Usage>>()?;
    if scenarios.is_empty() {
        return Err("there is no scenario (*.toml) in these folders".to_owned());
    }
    Ok(scenarios)
}

/// A file itself, or the scenarios of a folder and its folders, by name.
pub fn find(path: &Path, files: &mut Vec<PathBuf>) -> Result<(), Usage> {
    if !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    let wrong = |error: std::io::Error| format!("{}: {error}", path.display());
    let entries = std::fs::read_dir(path).map_err(wrong)?;
    let mut entries: Vec<PathBuf> = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()
        .map_err(wrong)?;
    entries.sort_unstable();
    for entry in entries {
        if entry.is_dir()
            || entry
                .extension()
                .is_some_and(|extension| extension == "toml")
        {
            find(&entry, files)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_counted_or_named() {
        let seeds = |text: &str, first| text.parse::<Seeds>()?.from(first);
        assert_eq!(seeds("3", None), Ok(1..=3));
        assert_eq!(seeds("3", Some(5)), Ok(5..=7));
        assert_eq!(seeds("201..2000", None), Ok(201..=2000));
        assert_eq!(seeds("7..7", None), Ok(7..=7));
        assert!(seeds("7..9", Some(5)).is_err());
        for wrong in ["0", "9..3", "..3", "many", "1..2..3", "1..=3"] {
            assert!(seeds(wrong, None).is_err(), "{wrong}");
        }
    }
}
