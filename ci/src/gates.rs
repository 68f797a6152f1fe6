//! What each gate runs.

use crate::run::Step;

/// What makes a build the simulator's: the same as the alias `sim` in .cargo/config.toml, so that
/// lints, tests and runs share one target folder and build its dependencies once.
const SIMULATOR: [&str; 6] = [
    "--config",
    "build.rustflags=['--cfg','madsim']",
    "--target-dir",
    "target/sim",
    "--profile",
    "sim",
];

/// The other profiles in which a run is the same, and the folders of their builds.
const PROFILES: [(&str, &str); 2] = [("dev", "debug"), ("sim-release", "sim-release")];

pub fn check() -> Vec<Step> {
    let tidy = ["test", "--quiet", "--package", "detcd-ci", "--test", "tidy"];
    let clippy = ["clippy", "--quiet", "--locked", "--all-targets"];
    let deny = ["--", "--deny", "warnings"];
    Vec::from([
        Step::cargo("formatting", &["fmt", "--all", "--check"]),
        Step::cargo("tidy", &tidy).and(&["--locked"]),
        Step::cargo("lints", &clippy)
            .and(&["--workspace"])
            .and(&deny),
        Step::cargo("lints of the simulator", &clippy)
            .and(&SIMULATOR)
            .and(&["--package", "detcd-sim", "--package", "detcd-rt"])
            .and(&deny),
    ])
}

pub fn test(arguments: &[String]) -> Vec<Step> {
    let test = ["test", "--workspace", "--locked"];
    // What the second step would build, apart and quietly: so its log is the tests' alone.
    Vec::from([
        Step::cargo("build", &test).and(&["--quiet", "--no-run"]),
        Step::cargo("tests", &test)
            .and(&["--no-fail-fast"])
            .with(arguments),
    ])
}

/// What each push has to pass: once it is built, two cores need less than five minutes. `reports`
/// is the folder for a page of each run that fails.
pub fn sim(seeds: u32, reports: Option<&str>) -> Vec<Step> {
    let reports = to_folder(reports);
    let seeds = seeds.to_string();
    let run = ["--quiet", "sim", "run"];
    Vec::from([
        Step::cargo("tests under the simulator", &["test", "--quiet"])
            // Not the examples in docs: rustdoc would compile them without the simulator's cfg.
            .and(&["--locked", "--no-fail-fast", "--all-targets"])
            .and(&SIMULATOR)
            .and(&["--package", "detcd-sim", "--package", "detcd-rt"]),
        Step::cargo("smoke scenarios", &run)
            .and(&["scenarios/smoke"])
            .and(&["--seeds", &seeds, "--twice"])
            .with(&reports),
        Step::cargo("kept seeds", &["--quiet", "sim", "seeds"])
            .and(&["scenarios/seeds.txt", "--twice"])
            .with(&reports),
        Step::cargo("planted bugs", &["--quiet", "sim", "mutants"]),
        Step::cargo("bugs of history", &run)
            .and(&["scenarios/bugs"])
            .with(&reports),
        Step::cargo("each fault", &run)
            .and(&["scenarios/faults"])
            .with(&reports),
        // These seeds are known to pass: what alarms here came with the change.
        Step::cargo("known swarm", &run)
            .and(&["scenarios/swarm", "--seeds", "60"])
            .with(&reports),
    ])
}

/// What every night tries: many seeds of the scenarios in which everything is drawn, and some of
/// those of each kind of fault and of each bug of history, from one on.
pub fn swarm(seeds: u32, from: u64, reports: Option<&str>) -> Vec<Step> {
    let (seeds, from) = (seeds.to_string(), from.to_string());
    let run = |name, folder, seeds: &str| {
        Step::cargo(name, &["--quiet", "sim", "run", folder])
            .and(&["--seeds", seeds, "--from", &from])
            .with(&to_folder(reports))
    };
    Vec::from([
        run("swarm", "scenarios/swarm", &seeds),
        run("every kind of fault", "scenarios/faults", "5"),
        run("bugs of history", "scenarios/bugs", "5").and(&["--twice"]),
    ])
}

/// Builds that optimise otherwise run the same: the smoke scenarios, each run made once by profile
/// `sim` and once by another.
pub fn profiles(seeds: u32) -> Vec<Step> {
    let seeds = seeds.to_string();
    let steps = PROFILES.into_iter().flat_map(|(profile, folder)| {
        let simulator = &SIMULATOR[..SIMULATOR.len() - 1];
        let program = format!("target/sim/{folder}/detcd-sim");
        let build = Step::cargo("build", &["build", "--quiet", "--locked"])
            .and(simulator)
            .and(&[profile, "--package", "detcd-sim"]);
        let run = Step::cargo(
            "both profiles",
            &["--quiet", "sim", "run", "scenarios/smoke"],
        )
        .and(&["--seeds", &seeds, "--twice", "--second", &program]);
        [build, run]
    });
    steps.collect()
}

fn to_folder(reports: Option<&str>) -> Vec<String> {
    let folder = reports.map(|folder| ["--reports".to_owned(), folder.to_owned()]);
    folder.into_iter().flatten().collect()
}

pub fn bench(arguments: &[String]) -> Vec<Step> {
    let build = ["build", "--release", "--locked", "--bin", "detcd"];
    let run = ["run", "--release", "--locked", "--quiet", "--bin", "detcd"];
    Vec::from([
        Step::cargo("release build", &build),
        Step::cargo("bench", &run)
            .and(&["--", "bench"])
            .with(arguments),
    ])
}

/// Patroni over detcd: what takes longer than a test may, and needs a PostgreSQL.
pub fn patroni(arguments: &[String]) -> Vec<Step> {
    Vec::from([
        Step::cargo("build", &["build", "--locked", "--bin", "detcd"]),
        Step::program("patroni", "python3", &["ci/patroni.py"]).with(arguments),
    ])
}

pub fn fix() -> Vec<Step> {
    let clippy = ["clippy", "--all-targets", "--fix"];
    let dirty = ["--allow-dirty", "--allow-staged"];
    Vec::from([
        Step::cargo("lints", &clippy)
            .and(&["--workspace"])
            .and(&dirty),
        Step::cargo("lints of the simulator", &clippy)
            .and(&SIMULATOR)
            .and(&["--package", "detcd-sim", "--package", "detcd-rt"])
            .and(&dirty),
        Step::cargo("formatting", &["fmt", "--all"]),
        Step::cargo("golden outputs", &["test", "--workspace", "--no-fail-fast"])
            .env("UPDATE", "1"),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_of_failures_go_where_they_are_asked_for() {
        let shown = |steps: Vec<Step>| steps.iter().map(Step::shown).collect::<Vec<_>>();
        let swarm = shown(swarm(7, 30, Some("pages")));
        let expected = "cargo --quiet sim run scenarios/swarm --seeds 7 --from 30 --reports pages";
        assert_eq!(swarm[0], expected);
        assert!(swarm.iter().all(|step| step.contains("--reports pages")));
        assert!(
            !shown(sim(2, None))
                .iter()
                .any(|step| step.contains("--reports"))
        );
    }

    #[test]
    fn the_workflow_only_calls_the_gates() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../.github/workflows/ci.yml");
        let text = std::fs::read_to_string(path).unwrap();
        let commands = text
            .lines()
            .filter_map(|line| line.trim().trim_start_matches("- ").strip_prefix("run: "));
        let commands: Vec<&str> = commands.collect();
        // What the tests need is fetched before they are run.
        assert_eq!(commands.first(), Some(&".ci/tools"));
        assert!(commands.len() > 2);
        assert!(
            commands[1..]
                .iter()
                .all(|command| command.starts_with("cargo ci "))
        );
    }

    #[test]
    fn the_simulator_is_built_as_by_its_alias() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../.cargo/config.toml");
        let text = std::fs::read_to_string(path).unwrap();
        let config: toml::Table = text.parse().unwrap();
        let alias = config["alias"]["sim"].as_array().unwrap();
        let alias: Vec<&str> = alias.iter().filter_map(toml::Value::as_str).collect();
        let expected = ["run"]
            .iter()
            .chain(&SIMULATOR)
            .chain(&["-p", "detcd-sim", "--"]);
        assert_eq!(alias, expected.copied().collect::<Vec<_>>());
    }
}
