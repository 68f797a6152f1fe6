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

pub fn sim(seeds: u32) -> Vec<Step> {
    let seeds = seeds.to_string();
    let seeds = ["--seeds", seeds.as_str(), "--twice"];
    let run = ["--quiet", "sim", "run"];
    Vec::from([
        Step::cargo("tests under the simulator", &["test", "--quiet"])
            // Not the examples in docs: rustdoc would compile them without the simulator's cfg.
            .and(&["--locked", "--no-fail-fast", "--all-targets"])
            .and(&SIMULATOR)
            .and(&["--package", "detcd-sim", "--package", "detcd-rt"]),
        Step::cargo("smoke scenarios", &run)
            .and(&["scenarios/smoke"])
            .and(&seeds),
        Step::cargo("kept seeds", &["--quiet", "sim", "seeds"])
            .and(&["scenarios/seeds.txt", "--twice"]),
        Step::cargo("bugs of history", &run)
            .and(&["scenarios/bugs"])
            .and(&["--seeds", "3", "--twice"]),
        Step::cargo("planted bugs", &["--quiet", "sim", "mutants"]),
    ])
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
