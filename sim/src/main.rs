//! `cargo sim`: runs scenarios in the deterministic simulator.

use std::process::ExitCode;

#[cfg(not(madsim))]
fn main() -> ExitCode {
    eprintln!(
        "this is not the simulator's build: it needs --cfg madsim. Use `cargo sim ...`, with no \
         RUSTFLAGS in the environment (they would override the cfg)."
    );
    ExitCode::from(2)
}

#[cfg(madsim)]
fn main() -> ExitCode {
    command::main()
}

#[cfg(madsim)]
mod command {
    use clap::{Parser, Subcommand};
    use detcd_sim::look::Look;
    use detcd_sim::one::{self, One};
    use detcd_sim::scenario::{self, Scenario};
    use detcd_sim::series::{Named, Series};
    use std::path::{Path, PathBuf};
    use std::process::ExitCode;

    /// Runs whole clusters of real nodes in a deterministic simulation.
    ///
    /// Exit codes: 0 pass, 1 safety violated (or a planted bug not caught), 2 usage (or a run that
    /// proves nothing), 3 not live, 4 not deterministic, 5 a node crashed.
    #[derive(Parser)]
    #[command(name = "cargo sim")]
    struct Arguments {
        #[command(subcommand)]
        command: Command,
    }

    #[derive(Subcommand)]
    enum Command {
        /// Runs scenarios: files, or folders of them.
        Run {
            #[arg(required = true)]
            paths: Vec<PathBuf>,
            /// The one seed to run (default: 1).
            #[arg(long, conflicts_with = "seeds")]
            seed: Option<u64>,
            /// Runs seeds 1 to this.
            #[arg(long)]
            seeds: Option<u64>,
            /// Runs everything in two processes and compares their traces.
            #[arg(long)]
            twice: bool,
            /// Writes every event of the (one) run to a file, as a line of JSON.
            #[arg(long)]
            trace: Option<PathBuf>,
            /// Processes at a time.
            #[arg(long, default_value_t = 2)]
            jobs: usize,
            /// Leaves out the planted bugs of must-fail scenarios.
            #[arg(long)]
            without_mutant: bool,
        },
        /// Prints the events of a run, or of a file that `run --trace` wrote.
        Trace(Look),
        /// Prints what a seed makes of a scenario.
        Plan {
            path: PathBuf,
            #[arg(long, default_value_t = 1)]
            seed: u64,
        },
        /// Prints the reference of scenario files, as Markdown.
        Schema,
        /// One run in this very process, as `run` starts it.
        #[command(hide = true)]
        One {
            path: PathBuf,
            #[arg(long)]
            seed: u64,
            #[arg(long)]
            tell: PathBuf,
            #[arg(long)]
            mutant: Option<String>,
            #[arg(long)]
            trace: Option<PathBuf>,
        },
    }

    pub fn main() -> ExitCode {
        if std::env::var_os("RUSTFLAGS").is_some() {
            return usage(
                "RUSTFLAGS is set: cargo would build without the simulator's cfg; unset it",
            );
        }
        match Arguments::parse().command {
            Command::Run {
                paths,
                seed,
                seeds,
                twice,
                trace,
                jobs,
                without_mutant,
            } => {
                let scenarios = match load_all(&paths, without_mutant) {
                    Ok(scenarios) => scenarios,
                    Err(problem) => return usage(&problem),
                };
                let seeds: Vec<u64> = match seeds {
                    Some(seeds) => (1..=seeds).collect(),
                    None => vec![seed.unwrap_or(1)],
                };
                if trace.is_some() && scenarios.len() * seeds.len() != 1 {
                    return usage("--trace is for one scenario and one seed");
                }
                let series = Series {
                    scenarios,
                    seeds,
                    twice,
                    jobs,
                    trace,
                };
                ExitCode::from(series.run().exit_code())
            }
            Command::Plan { path, seed } => match load(&path) {
                Ok(scenario) => {
                    print!("{}", scenario.resolve(seed));
                    ExitCode::SUCCESS
                }
                Err(problem) => usage(&problem),
            },
            Command::Schema => {
                print!("{}", scenario::schema::reference());
                ExitCode::SUCCESS
            }
            Command::Trace(look) => match show(&look) {
                Ok(()) => ExitCode::SUCCESS,
                Err(problem) => usage(&problem),
            },
            Command::One {
                path,
                seed,
                tell,
                mutant,
                trace,
            } => one(&path, seed, &tell, mutant.as_deref(), trace.as_deref()),
        }
    }

    fn one(
        path: &Path,
        seed: u64,
        tell: &Path,
        mutant: Option<&str>,
        trace: Option<&Path>,
    ) -> ExitCode {
        let scenario = match load(path) {
            Ok(scenario) => scenario,
            Err(problem) => return usage(&problem),
        };
        let told = match one::run(One {
            scenario: &scenario,
            seed,
            mutant,
            trace,
        }) {
            Ok(told) => told,
            Err(problem) => return usage(&problem),
        };
        let json = serde_json::to_vec(&told).expect("it is plain data");
        if let Err(error) = std::fs::write(tell, json) {
            return usage(&format!("{}: {error}", tell.display()));
        }
        ExitCode::from(told.verdict.exit_code())
    }

    fn show(look: &Look) -> Result<(), String> {
        if !look.is_of_scenario() {
            return look.at_file();
        }
        let mut scenario = load(&look.path)?;
        if look.without_mutant {
            scenario.head.expect.clean();
        }
        look.at_scenario(&scenario)
    }

    fn usage(problem: &str) -> ExitCode {
        eprintln!("{problem}");
        ExitCode::from(2)
    }

    fn load(path: &Path) -> Result<Scenario, String> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| format!("{name}: {error}"))?;
        Scenario::parse(&name, &text).map_err(|problem| problem.to_string())
    }

    fn load_all(paths: &[PathBuf], without_mutant: bool) -> Result<Vec<Named>, String> {
        let mut files = Vec::new();
        for path in paths {
            find(path, &mut files)?;
        }
        let scenarios = files.into_iter().map(|path| {
            let mut scenario = load(&path)?;
            if without_mutant {
                scenario.head.expect.clean();
            }
            Ok(Named { path, scenario })
        });
        let scenarios: Vec<Named> = scenarios.collect::<Result<_, String>>()?;
        if scenarios.is_empty() {
            return Err("there is no scenario (*.toml) in these folders".to_owned());
        }
        Ok(scenarios)
    }

    /// A file itself, or the scenarios of a folder and its folders, by name.
    fn find(path: &Path, files: &mut Vec<PathBuf>) -> Result<(), String> {
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
}
