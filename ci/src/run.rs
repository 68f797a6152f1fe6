//! Running the steps of a gate, one after the other, and saying how they went.

use detcd_out::{eprintln, println};
use std::fmt;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Variables that change how everything is built: the simulator's build and ours would not be the
/// ones that are described, and each change of them rebuilds the world.
const FLAGS: &[&str] = &[
    "RUSTFLAGS",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_BUILD_RUSTFLAGS",
];

const CARGO: &str = "cargo";

/// One command of a gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub name: &'static str,
    program: &'static str,
    arguments: Vec<String>,
    variables: Vec<(&'static str, &'static str)>,
}

impl Step {
    pub fn cargo(name: &'static str, arguments: &[&str]) -> Step {
        let arguments = arguments.iter().map(ToString::to_string).collect();
        Step {
            name,
            program: CARGO,
            arguments,
            variables: Vec::new(),
        }
    }

    /// A program that is no cargo.
    pub fn program(name: &'static str, program: &'static str, arguments: &[&str]) -> Step {
        Step {
            program,
            ..Step::cargo(name, arguments)
        }
    }

    /// With more of its own arguments.
    pub fn and(mut self, arguments: &[&str]) -> Step {
        let arguments = arguments.iter().map(ToString::to_string);
        self.arguments.extend(arguments);
        self
    }

    /// With arguments of the caller's.
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
            .chain([self.program.into()])
            .chain(self.arguments.iter().cloned());
        words.collect::<Vec<String>>().join(" ")
    }

    fn command(&self) -> Command {
        // The cargo that runs us, and so the same toolchain.
        let cargo = std::env::var_os("CARGO").filter(|_| self.program == CARGO);
        let mut command = Command::new(cargo.unwrap_or(self.program.into()));
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
    let mut results: Vec<(&Step, Outcome, Tests, Duration)> = Vec::new();
    for step in steps {
        println!("==> {}: {}", step.name, step.shown());
        let started = Instant::now();
        let (outcome, tests) = run(step);
        let took = started.elapsed();
        println!(
            "==> {}: {} in {:.1} s\n",
            step.name,
            outcome.word(),
            took.as_secs_f64()
        );
        results.push((step, outcome, tests, took));
    }
    println!("summary:");
    let mut passed = true;
    for (step, outcome, tests, took) in &results {
        let took = took.as_secs_f64();
        println!(
            "  {:<8} {took:>7.1} s  {}{tests}",
            outcome.word(),
            step.name
        );
        if *outcome != Outcome::Passed {
            println!("           again: {}", step.shown());
            passed = false;
        }
    }
    passed
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

/// Runs a step, shows what it prints, and tells how many tests passed and failed meanwhile.
fn run(step: &Step) -> (Outcome, Tests) {
    let mut tests = Tests::default();
    let mut child = match step.command().stdout(Stdio::piped()).spawn() {
        Ok(child) => child,
        Err(error) => {
            eprintln!("{}: {error}", step.shown());
            return (Outcome::NotStarted, tests);
        }
    };
    let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
    for line in stdout.split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        tests.count(&line);
    }
    match child.wait() {
        Ok(status) if status.success() => (Outcome::Passed, tests),
        _ => (Outcome::Failed, tests),
    }
}

/// Sums of the lines that end each test program's output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tests {
    programs: u32,
    passed: u32,
    failed: u32,
}

impl Tests {
    fn count(&mut self, line: &str) {
        let Some(result) = line.strip_prefix("test result: ") else {
            return;
        };
        let number = |what: &str| {
            let (before, _) = result.split_once(what)?;
            before.trim_end().rsplit(' ').next()?.parse().ok()
        };
        self.programs += 1;
        self.passed += number(" passed").unwrap_or(0);
        self.failed += number(" failed").unwrap_or(0);
    }
}

impl fmt::Display for Tests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tests {
            programs,
            passed,
            failed,
        } = self;
        match programs {
            0 => Ok(()),
            _ => write!(
                f,
                ", {passed} tests passed and {failed} failed in {programs} programs"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_test_programs_are_summed() {
        let mut tests = Tests::default();
        tests.count("test result: ok. 7 passed; 0 failed; 0 ignored; 0 measured; finished in 0.1s");
        tests.count("test result: FAILED. 12 passed; 3 failed; 0 ignored; finished in 0.1s");
        tests.count("running 15 tests");
        assert_eq!(
            tests,
            Tests {
                programs: 2,
                passed: 19,
                failed: 3
            }
        );
    }

    #[test]
    fn a_step_is_shown_as_one_would_type_it() {
        let step = Step::cargo("x", &["test", "--workspace"])
            .with(&["a".into()])
            .env("UPDATE", "1");
        assert_eq!(step.shown(), "UPDATE=1 cargo test --workspace a");
    }
}
