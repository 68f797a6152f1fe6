//! Running the steps of a gate, one after the other, and saying how they went.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Variables that change how everything is built: the simulator's build and ours would not be the
/// ones that are described, and each change of them rebuilds the world.
const FLAGS: &[&str] = &[
    "RUSTFLAGS",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_BUILD_RUSTFLAGS",
];

/// One command of a gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub name: &'static str,
    arguments: Vec<String>,
    variables: Vec<(&'static str, &'static str)>,
}

impl Step {
    pub fn cargo(name: &'static str, arguments: &[&str]) -> Step {
        let arguments = arguments.iter().map(ToString::to_string).collect();
        Step {
            name,
            arguments,
            variables: Vec::new(),
        }
    }

    /// With more arguments.
    pub fn with(mut self, arguments: &[String]) -> Step {
        self.arguments.extend_from_slice(arguments);
        self
    }

    pub fn env(mut self, name: &'static str, value: &'static str) -> Step {
        self.variables.push((name, value));
        self
    }

    /// As one would type it.
    pub fn shown(&self) -> String {
        let variables = self
            .variables
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        let words = variables
            .chain(["cargo".into()])
            .chain(self.arguments.iter().cloned());
        words.collect::<Vec<String>>().join(" ")
    }

    fn command(&self) -> Command {
        // The cargo that runs us, and so the same toolchain.
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
        command
            .args(&self.arguments)
            .envs(self.variables.iter().copied())
            .stdin(Stdio::null());
        for (name, _) in std::env::vars_os() {
            // What cargo told us of this package is not to be taken for what it tells the next.
            if name.to_string_lossy().starts_with("CARGO_PKG_") {
                command.env_remove(name);
            }
        }
        command.env_remove("CARGO_MANIFEST_DIR");
        command.env_remove("CARGO_MANIFEST_PATH");
        command
    }
}

/// Refuses to run under flags of the caller's.
pub fn refuse_flags() -> Result<(), String> {
    match FLAGS
        .iter()
        .find(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
    {
        Some(name) => Err(format!(
            "{name} is set, and would change what is built. Unset it; lints and cfgs stand in \
             Cargo.toml and .cargo/config.toml."
        )),
        None => Ok(()),
    }
}

/// Runs every step, also after one that failed, so that one run tells all; whether all passed.
pub fn all(steps: &[Step]) -> bool {
    let mut results: Vec<(&Step, Outcome, Duration)> = Vec::new();
    for step in steps {
        println!("==> {}: {}", step.name, step.shown());
        let started = Instant::now();
        let outcome = run(step);
        let took = started.elapsed();
        println!(
            "==> {}: {} in {:.1} s\n",
            step.name,
            outcome.word(),
            took.as_secs_f64()
        );
        results.push((step, outcome, took));
    }
    println!("summary:");
    for (step, outcome, took) in &results {
        println!(
            "  {:<8} {:>7.1} s  {}",
            outcome.word(),
            took.as_secs_f64(),
            step.name
        );
    }
    let failed: Vec<&Step> = results
        .iter()
        .filter(|(_, outcome, _)| *outcome != Outcome::Passed)
        .map(|r| r.0)
        .collect();
    for step in &failed {
        println!("  again: {}", step.shown());
    }
    failed.is_empty()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Passed,
    Failed,
    NotStarted,
}

impl Outcome {
    fn word(self) -> &'static str {
        match self {
            Outcome::Passed => "passed",
            Outcome::Failed => "FAILED",
            Outcome::NotStarted => "NO START",
        }
    }
}

fn run(step: &Step) -> Outcome {
    match step.command().status() {
        Ok(status) if status.success() => Outcome::Passed,
        Ok(_) => Outcome::Failed,
        Err(error) => {
            eprintln!("{}: {error}", step.shown());
            Outcome::NotStarted
        }
    }
}
