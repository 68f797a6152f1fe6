//! What each gate runs.

use crate::run::Step;

pub fn check() -> Vec<Step> {
    let clippy = [
        "clippy",
        "--workspace",
        "--all-targets",
        "--locked",
        "--",
        "--deny",
        "warnings",
    ];
    let tidy = [
        "test",
        "--package",
        "detcd-ci",
        "--test",
        "tidy",
        "--locked",
        "--quiet",
    ];
    Vec::from([
        Step::cargo("formatting", &["fmt", "--all", "--check"]),
        Step::cargo("tidy", &tidy),
        Step::cargo("lints", &clippy),
    ])
}

pub fn test(arguments: &[String]) -> Vec<Step> {
    let tests = ["test", "--workspace", "--locked", "--no-fail-fast"];
    Vec::from([
        Step::cargo(
            "build",
            &["build", "--workspace", "--all-targets", "--locked"],
        ),
        Step::cargo("tests", &tests).with(arguments),
    ])
}

pub fn sim(seeds: u32) -> Vec<Step> {
    let seeds = [
        "--seeds".to_string(),
        seeds.to_string(),
        "--twice".to_string(),
    ];
    Vec::from([
        Step::cargo("smoke scenarios", &["sim", "run", "scenarios/smoke"]).with(&seeds),
        Step::cargo("mutants that must fail", &["sim", "must-fail"]),
    ])
}

pub fn bench(arguments: &[String]) -> Vec<Step> {
    let run = [
        "run",
        "--release",
        "--locked",
        "--quiet",
        "--bin",
        "detcd",
        "--",
        "bench",
    ];
    Vec::from([
        Step::cargo(
            "release build",
            &["build", "--release", "--locked", "--bin", "detcd"],
        ),
        Step::cargo("bench", &run).with(arguments),
    ])
}

pub fn fix() -> Vec<Step> {
    let clippy = [
        "clippy",
        "--workspace",
        "--all-targets",
        "--fix",
        "--allow-dirty",
        "--allow-staged",
    ];
    Vec::from([
        Step::cargo("lints", &clippy),
        Step::cargo("formatting", &["fmt", "--all"]),
        Step::cargo("golden outputs", &["test", "--workspace", "--no-fail-fast"])
            .env("UPDATE", "1"),
    ])
}
