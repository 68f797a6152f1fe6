//! What the manifests say: metadata, which crates a room depends on, and the pinned engines.

use crate::Violation;
use toml::{Table, Value};

struct Room {
    manifest: &'static str,
    /// Which of our crates it may depend on.
    ours: &'static [&'static str],
}

const ROOMS: &[Room] = &[
    Room {
        manifest: "src/core/Cargo.toml",
        ours: &[],
    },
    Room {
        manifest: "src/bolt/Cargo.toml",
        ours: &[],
    },
    Room {
        manifest: "src/out/Cargo.toml",
        ours: &[],
    },
    Room {
        manifest: "src/rt/Cargo.toml",
        ours: &[],
    },
    Room {
        manifest: "src/net/Cargo.toml",
        ours: &["detcd-rt"],
    },
    Room {
        manifest: "src/wire/Cargo.toml",
        ours: &["detcd-core"],
    },
    Room {
        manifest: "src/storage/Cargo.toml",
        ours: &["detcd-core"],
    },
    Room {
        manifest: "src/peer/Cargo.toml",
        ours: &["detcd-core", "detcd-net", "detcd-rt", "detcd-wire"],
    },
    Room {
        manifest: "src/raft/Cargo.toml",
        ours: &[
            "detcd-core",
            "detcd-rt",
            "detcd-storage",
            "detcd-wire",
            "detcd-peer",
        ],
    },
    Room {
        manifest: "src/driver/Cargo.toml",
        ours: &[
            "detcd-bolt",
            "detcd-core",
            "detcd-rt",
            "detcd-storage",
            "detcd-peer",
            "detcd-raft",
        ],
    },
    Room {
        manifest: "src/service/Cargo.toml",
        ours: &["detcd-core", "detcd-rt", "detcd-wire", "detcd-driver"],
    },
    Room {
        manifest: "Cargo.toml",
        ours: &[
            "detcd-bolt",
            "detcd-core",
            "detcd-net",
            "detcd-out",
            "detcd-rt",
            "detcd-wire",
            "detcd-storage",
            "detcd-peer",
            "detcd-driver",
            "detcd-service",
            "detcd-bench",
        ],
    },
    Room {
        manifest: "src/bench/Cargo.toml",
        ours: &["detcd-net", "detcd-out", "detcd-wire"],
    },
    Room {
        manifest: "sim/Cargo.toml",
        ours: &[
            "detcd",
            "detcd-bolt",
            "detcd-core",
            "detcd-out",
            "detcd-rt",
            "detcd-wire",
            "detcd-storage",
            "detcd-peer",
            "detcd-raft",
            "detcd-driver",
            "detcd-service",
        ],
    },
    Room {
        manifest: "ci/Cargo.toml",
        ours: &["detcd-out"],
    },
];

/// All that the core may depend on: crates that need no more than an allocator.
const CORE_MAY: &[&str] = &["bytes", "crc", "sha1", "thiserror"];

/// Engines, and who may depend on them.
const ENGINES: &[(&str, &[&str])] = &[
    ("openraft", &["src/raft/Cargo.toml"]),
    ("openraft-rt", &["src/raft/Cargo.toml"]),
    ("fjall", &["src/storage/Cargo.toml"]),
    ("lsm-tree", &["src/storage/Cargo.toml"]),
    ("madsim", &["src/rt/Cargo.toml", "sim/Cargo.toml"]),
];

/// Engines of which the exact version matters.
const PINNED: &[&str] = &["openraft", "openraft-rt", "fjall", "lsm-tree", "madsim"];

/// Where the feature of the planted bugs is declared, and where it is switched on: under the cfg
/// that no other build than the simulator's has. So no binary that anybody runs holds a mutant.
const MUTANTS: &[(&str, &str)] = &[
    ("src/core/Cargo.toml", "/features/mutants"),
    (
        "sim/Cargo.toml",
        "/target/cfg(madsim)/dependencies/detcd-core/features",
    ),
];

const METADATA: &[&str] = &[
    "name",
    "description",
    "version",
    "edition",
    "rust-version",
    "license",
    "authors",
    "repository",
    "homepage",
];

pub fn paths() -> Vec<&'static str> {
    ROOMS.iter().map(|room| room.manifest).collect()
}

pub fn violations(path: &str, text: &str) -> Vec<Violation> {
    let room = ROOMS
        .iter()
        .find(|room| room.manifest == path)
        .expect("a room of the house");
    let manifest: Table = text
        .parse()
        .unwrap_or_else(|error| panic!("{path}: {error}"));
    let mut wrong: Vec<String> = Vec::new();
    let package = manifest
        .get("package")
        .and_then(Value::as_table)
        .expect("a package");
    for key in METADATA {
        if !package.contains_key(*key) {
            wrong.push(format!(
                "[package] has no {key}: say it, or inherit it from the workspace"
            ));
        }
    }
    let lints = manifest
        .get("lints")
        .and_then(|lints| lints.get("workspace"));
    if lints.and_then(Value::as_bool) != Some(true) {
        wrong.push("[lints] workspace = true is missing: all rooms obey the same lints".into());
    }
    for name in dependencies(&manifest) {
        if name.starts_with("detcd") && !room.ours.contains(&&name[..]) {
            wrong.push(format!(
                "may not depend on {name}: move the shared part down, not across"
            ));
        }
        if path == "src/core/Cargo.toml" && !CORE_MAY.contains(&&name[..]) {
            wrong.push(format!(
                "the core does without {name}: it needs no more than an allocator"
            ));
        }
        let engine = ENGINES.iter().find(|(engine, _)| *engine == name);
        if engine.is_some_and(|(_, rooms)| !rooms.contains(&path)) {
            wrong.push(format!(
                "{name} has one room, and this is not it: use that room's traits"
            ));
        }
    }
    for place in mentions_of_mutants("", &Value::Table(manifest)) {
        if !MUTANTS.contains(&(path, &place[..])) {
            wrong.push(format!(
                "{place} switches planted bugs on: only the simulator's own build may"
            ));
        }
    }
    wrong
        .into_iter()
        .map(|instead| Violation {
            path: path.into(),
            line: 1,
            instead,
        })
        .collect()
}

/// Every place of a manifest that names the feature of the planted bugs.
fn mentions_of_mutants(place: &str, value: &Value) -> Vec<String> {
    let is_feature = |name: &str| name == "mutants" || name.ends_with("/mutants");
    match value {
        Value::String(name) if is_feature(name) => vec![place.to_owned()],
        Value::Array(values) => {
            let within = values.iter().map(|value| mentions_of_mutants(place, value));
            within.flatten().collect()
        }
        Value::Table(table) => {
            let within = table.iter().flat_map(|(key, value)| {
                let inner = format!("{place}/{key}");
                let mut found = mentions_of_mutants(&inner, value);
                found.extend(is_feature(key).then_some(inner));
                found
            });
            within.collect()
        }
        _ => Vec::new(),
    }
}

/// The names of what a package is built from, on any target; what only its tests need is free.
fn dependencies(manifest: &Table) -> Vec<String> {
    let table =
        |value: Option<&Value>| value.and_then(Value::as_table).cloned().unwrap_or_default();
    let mut names: Vec<String> = table(manifest.get("dependencies"))
        .keys()
        .cloned()
        .collect();
    for (_, target) in table(manifest.get("target")) {
        names.extend(table(target.get("dependencies")).keys().cloned());
    }
    names
}

/// Engines whose version is not pinned in the workspace's manifest and locked as pinned.
pub fn unpinned(manifest: &str, lock: &str) -> Vec<Violation> {
    let manifest: Table = manifest.parse().expect("a manifest");
    let lock: Table = lock.parse().expect("a lock file");
    let locked = |name: &str| -> Vec<String> {
        let packages = lock["package"].as_array().expect("packages");
        packages
            .iter()
            .filter(|package| package["name"].as_str() == Some(name))
            .map(|package| format!("={}", package["version"].as_str().expect("a version")))
            .collect()
    };
    let wanted = |name: &str| -> Option<String> {
        let entry = manifest.get("workspace")?.get("dependencies")?.get(name)?;
        Some(
            entry
                .as_str()
                .or_else(|| entry.get("version")?.as_str())?
                .to_string(),
        )
    };
    PINNED
        .iter()
        .filter(|name| wanted(name).is_none_or(|wanted| locked(name) != [wanted]))
        .map(|name| Violation {
            path: "Cargo.toml".into(),
            line: 1,
            instead: format!(
                "{name}: pin it as \"=x.y.z\" in [workspace.dependencies] and lock that version, \
                 once: every trace depends on it"
            ),
        })
        .collect()
}
