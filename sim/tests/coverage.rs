//! What the scenarios of this repository make use of: every kind stands in the swarm's swarm, and
//! every kind of fault has a scenario of its own that proves that it happened.

use detcd_sim::fault::Kind;
use detcd_sim::scenario::Scenario;
use detcd_sim::workload::Workload;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// Kinds that no seed of the swarm has, and why.
const NOT_IN_THE_SWARM: &[(&str, &str)] = &[
    (
        "script",
        "its operations are written out, and a swarm draws them",
    ),
    (
        "lost-note",
        "leaves a member that may never start again, and the swarm replaces none",
    ),
    (
        "snapshots",
        "reads the whole store each time; smoke/snapshots.toml plays it beside writes",
    ),
    (
        "operator",
        "answers alarms for good, and `reconfigure` brings one along for each small quota",
    ),
];

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../scenarios")
        .join(name)
}

fn scenarios(name: &str) -> BTreeMap<String, Scenario> {
    let files = std::fs::read_dir(folder(name)).expect("the folder is there");
    let files = files.map(|file| file.expect("the folder can be read").path());
    let files = files.filter(|file| file.extension().is_some_and(|it| it == "toml"));
    let read = files.map(|file| {
        let scenario = Scenario::load(&file).unwrap_or_else(|problem| panic!("{problem}"));
        (file.display().to_string(), scenario)
    });
    read.collect()
}

#[test]
fn every_kind_is_used_by_the_swarm() {
    let swarm = scenarios("swarm");
    let faults = swarm.values().flat_map(|scenario| &scenario.faults);
    let workloads = swarm.values().flat_map(|scenario| &scenario.workloads);
    let mut used: BTreeSet<&str> = faults.map(|fault| fault.kind.name()).collect();
    used.extend(workloads.map(Workload::name));
    for kind in Kind::NAMES.iter().chain(Workload::NAMES) {
        let reason = NOT_IN_THE_SWARM.iter().find(|(name, _)| name == kind);
        match (used.contains(kind), reason) {
            (true, None) | (false, Some(_)) => {}
            (false, None) => panic!("no seed of the swarm has `{kind}`, and nothing says why"),
            (true, Some((_, why))) => panic!("the swarm has `{kind}`, which {why}"),
        }
    }
}

#[test]
fn every_kind_of_fault_has_a_scenario_that_shows_it_to_have_happened() {
    let scenarios = scenarios("faults");
    for kind in Kind::NAMES {
        let mark = format!("fault.{kind}");
        let shows = |scenario: &Scenario| {
            scenario
                .faults
                .iter()
                .any(|fault| fault.kind.name() == *kind)
                && scenario.expect().reached.contains(&mark)
        };
        let shown = scenarios.values().any(shows);
        assert!(
            shown,
            "no scenario in faults/ uses `{kind}` and expects {mark}"
        );
    }
}

#[test]
fn every_scenario_of_a_fault_proves_something() {
    for (file, scenario) in scenarios("faults").iter().chain(&scenarios("smoke")) {
        let reached = &scenario.expect().reached;
        assert!(!reached.is_empty(), "{file}: nothing need be reached");
    }
}
