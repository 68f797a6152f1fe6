//! The rules themselves: each fires on a forged violation, and not on what is allowed.

use crate::source::Source;
use crate::{Violation, inspect, manifests};

/// What is found in a forged file, as `line: first word of the message`.
fn found(path: &str, text: &str) -> Vec<String> {
    let violations = inspect(&Source::new(path, text));
    violations
        .iter()
        .map(|Violation { line, instead, .. }| {
            let word = instead.split([' ', ',']).next().unwrap_or_default();
            format!("{line}: {}", word.trim_end_matches(':'))
        })
        .collect()
}

fn assert_fires(path: &str, text: &str, expected: &str) {
    assert_eq!(found(path, text), [expected], "{path}: {text}");
}

fn assert_quiet(path: &str, text: &str) {
    assert_eq!(found(path, text), [""; 0], "{path}: {text}");
}

#[test]
fn words() {
    assert_fires(
        "src/raft/x.rs",
        "\nuse std::collections::HashMap;",
        "2: HashMap",
    );
    assert_fires("src/core/x.rs", "use hashbrown::HashSet;", "1: HashSet");
    assert_fires(
        "sim/src/x.rs",
        "use std::collections::{BTreeMap, HashMap};",
        "1: HashMap",
    );
    assert_quiet("src/server/x.rs", "use std::collections::HashMap;");
    assert_fires(
        "src/driver/x.rs",
        "use std::time::Instant;",
        "1: std::time::Instant",
    );
    assert_fires(
        "src/peer/x.rs",
        "use std::time::{Duration, Instant};",
        "1: std::time::Instant",
    );
    assert_fires(
        "src/peer/x.rs",
        "use std::{fmt, time::{self as t, Instant}};",
        "1: std::time::Instant",
    );
    assert_fires(
        "src/server/x.rs",
        "let now = std::time::Instant::now();",
        "1: std::time::Instant",
    );
    assert_fires("src/server/x.rs", "use std::time::*;", "1: std::time::*");
    assert_fires(
        "src/config/x.rs",
        "fn f(at: SystemTime) {}",
        "1: SystemTime",
    );
    assert_fires(
        "sim/src/x.rs",
        "tokio::time::timeout(a, b)",
        "1: tokio::time",
    );
    assert_quiet(
        "src/raft/x.rs",
        "use std::time::Duration; use detcd_rt::Instant;",
    );
    assert_quiet("src/rt/x.rs", "use std::time::{Instant, SystemTime};");
    assert_fires("src/bench/x.rs", "rand::rng().next()", "1: rand::rng");
    assert_fires(
        "src/raft/x.rs",
        "use rand::thread_rng;",
        "1: rand::thread_rng",
    );
    assert_quiet("src/rt/x.rs", "rand::rng().next()");
    assert_fires("src/raft/x.rs", "std::thread::spawn(f)", "1: std::thread");
    assert_fires("src/server/x.rs", "tokio::spawn(f)", "1: tokio::spawn");
    assert_quiet("src/storage/store/fjall.rs", "std::thread::spawn(f)");
    assert_fires("sim/src/x.rs", "std::thread::spawn(f)", "1: std::thread");
    assert_quiet("sim/src/series/run.rs", "std::thread::scope(f)");
    assert_quiet("src/storage/tests/log.rs", "std::thread::spawn(f)");
    assert_quiet("src/storage/examples/measure.rs", "println!()");
    assert_fires("src/driver/x.rs", "std::env::var(a)", "1: std::env");
    assert_fires("src/raft/x.rs", "use std::{fs::File, io};", "1: std::fs");
    assert_fires("src/storage/x.rs", "std::env::var(a)", "1: std::env");
    assert_fires("src/raft/x.rs", "#[cfg(madsim)] fn f() {}", "1: madsim");
    assert_fires("tests/x.rs", "if cfg!(not(madsim)) {}", "1: madsim");
    assert_quiet("src/rt/x.rs", "#[cfg(madsim)] fn f() {}");
    assert_fires("src/server/x.rs", "println!()", "1: println!");
    assert_fires("src/storage/x.rs", "\n\neprintln!()", "3: eprintln!");
    assert_fires("src/ctl/x.rs", "println!()", "1: println!");
    assert_quiet(
        "src/ctl/x.rs",
        "use detcd_out::{print, println}; println!()",
    );
    assert_fires(
        "ci/src/x.rs",
        "use detcd_out::println; print!()",
        "1: print!",
    );
    assert_quiet(
        "sim/src/x.rs",
        "#[cfg(test)] mod tests { fn f() { println!() } }",
    );
    assert_fires("src/core/x.rs", "tracing::info!()", "1: tracing");
    assert_fires("src/ctl/x.rs", "todo!()", "1: todo!");
    assert_fires("tests/x.rs", "unimplemented!()", "1: unimplemented!");
    assert_fires("ci/src/x.rs", "dbg!(1)", "1: dbg!");
    assert_fires(
        "tests/x.rs",
        "#[test]\n#[ignore]\nfn f() {}",
        "2: #[ignore]",
    );
    assert_fires(
        "tests/x.rs",
        "#[ignore = \"slow\"] fn f() {}",
        "1: #[ignore]",
    );
    assert_fires(
        "tests/x.rs",
        "std::thread::sleep(a)",
        "1: std::thread::sleep",
    );
    assert_fires(
        "src/raft/tests/x.rs",
        "tokio::time::sleep(a)",
        "1: tokio::time::sleep",
    );
}

#[test]
fn modules_of_tests() {
    let text = "fn f() {}\n#[cfg(test)]\nmod tests {\n fn f() { std::thread::spawn(f) } }";
    assert_quiet("src/raft/x.rs", text);
    let text = "fn f() {}\n#[cfg(test)]\nmod tests {\n fn f() { std::thread::sleep(a) } }";
    assert_fires("src/raft/x.rs", text, "4: std::thread::sleep");
    let text = "fn f() { std::thread::spawn(f) }\n#[cfg(test)]\nmod tests {}";
    assert_fires("src/raft/x.rs", text, "1: std::thread");
}

#[test]
fn selects() {
    assert_fires(
        "src/driver/x.rs",
        "tokio::select! {\n a = b => {} }",
        "1: select!",
    );
    assert_fires(
        "src/ctl/x.rs",
        "futures::select! { a = b => {} }",
        "1: select!",
    );
    assert_quiet(
        "src/driver/x.rs",
        "tokio::select! {\n // why\n biased;\n a = b => {} }",
    );
}

#[test]
fn imports() {
    assert_fires(
        "src/driver/x.rs",
        "use openraft::Raft;",
        "1: openraft::Raft",
    );
    assert_fires(
        "sim/src/x.rs",
        "openraft::Vote::new()",
        "1: openraft::Vote::new",
    );
    assert_fires(
        "src/storage/log/mod.rs",
        "use fjall::Database;",
        "1: fjall::Database",
    );
    assert_quiet("src/storage/store/fjall.rs", "use fjall::Database;");
    assert_fires(
        "src/server/x.rs",
        "use detcd_raft::Status;",
        "1: detcd_raft::Status",
    );
    assert_fires(
        "src/driver/handle/x.rs",
        "use detcd_raft::Status;",
        "1: detcd_raft::Status",
    );
    assert_quiet("src/driver/engine.rs", "use detcd_raft::Status;");
    assert_fires(
        "src/server/x.rs",
        "use detcd_storage::store;",
        "1: detcd_storage::store",
    );
    assert_fires(
        "src/ctl/x.rs",
        "use detcd_driver::Handle;",
        "1: detcd_driver::Handle",
    );
    assert_quiet("src/server/x.rs", "use detcd_driver::Handle;");
    assert_quiet("src/service/x.rs", "use detcd_driver::Handle;");
    assert_fires(
        "src/service/x.rs",
        "use detcd_raft::RaftStatus;",
        "1: detcd_raft::RaftStatus",
    );
    assert_fires(
        "src/service/x.rs",
        "use detcd_storage::store;",
        "1: detcd_storage::store",
    );
    assert_fires(
        "src/service/x.rs",
        "fn f() -> tonic::Status {}",
        "1: tonic::Status",
    );
    assert_fires(
        "src/service/x.rs",
        "use hyper::body::Incoming;",
        "1: hyper::body::Incoming",
    );
    assert_fires(
        "src/driver/x.rs",
        "use detcd_service::Service;",
        "1: detcd_service::Service",
    );
    assert_fires(
        "src/bin/detcd.rs",
        "use detcd_sim::plan;",
        "1: detcd_sim::plan",
    );
    assert_fires("src/raft/x.rs", "detcd_ci::x()", "1: detcd_ci::x");
    assert_fires(
        "src/ctl/x.rs",
        "use crate::server::Servers;",
        "1: crate::server::Servers",
    );
    assert_fires(
        "src/config/x.rs",
        "use crate::ctl::Flags;",
        "1: crate::ctl::Flags",
    );
    assert_fires(
        "src/config/x.rs",
        "use detcd_wire::pb;",
        "1: detcd_wire::pb",
    );
    assert_quiet(
        "src/config/x.rs",
        "use crate::config::Url; use detcd_core::member;",
    );
}

#[test]
fn comments_and_strings_are_not_code() {
    assert_quiet(
        "src/raft/x.rs",
        "// HashMap\n/* todo!() /* dbg!() */ todo!() */ //! std::thread::x",
    );
    assert_quiet(
        "src/raft/x.rs",
        "let a = \"HashMap \\\" todo!()\"; let b = r#\"dbg!() \" \"#;",
    );
    assert_quiet(
        "src/raft/x.rs",
        "let a = b\"HashMap\"; let b = '\"'; let c = \"todo!()\";",
    );
    // Quotes of characters and lifetimes do not hide what follows.
    assert_fires(
        "src/raft/x.rs",
        "let a = '\"'; todo!(); let b = '\"';",
        "1: todo!",
    );
    assert_fires(
        "src/raft/x.rs",
        "fn f<'a>(a: &'a str) { todo!() }",
        "1: todo!",
    );
    assert_fires("src/raft/x.rs", "let a = '\\''; todo!();", "1: todo!");
    assert_fires("src/raft/x.rs", "let r#type = \"\";\ntodo!();", "2: todo!");
}

#[test]
fn whole_files() {
    assert_fires("src/ctl/x.rs", &"\n".repeat(701), "701: 701");
    assert_quiet("src/ctl/x.rs", &"\n".repeat(700));
    assert_fires("src/core/mod.rs", "// #![no_std]", "1: the");
    assert_quiet("src/core/mod.rs", "#![no_std]");
}

/// A manifest that is in order.
const MANIFEST: &str = "
    [package]
    name = 'x'
    description = 'x'
    version.workspace = true
    edition.workspace = true
    rust-version.workspace = true
    license.workspace = true
    authors.workspace = true
    repository.workspace = true
    homepage.workspace = true
    [lints]
    workspace = true
    [dependencies]
";

fn assert_manifest(path: &str, text: &str, expected: &[&str]) {
    let found = manifests::violations(path, text);
    let found: Vec<&str> = found
        .iter()
        .map(|violation| &violation.instead[..])
        .collect();
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(
            found.contains(expected),
            "{found} does not speak of {expected}"
        );
    }
}

#[test]
fn manifest_rules() {
    let core = "src/core/Cargo.toml";
    assert_manifest(core, &format!("{MANIFEST} bytes = '1'"), &[]);
    assert_manifest(
        core,
        &format!("{MANIFEST} libc = '1'"),
        &["the core does without libc"],
    );
    assert_manifest(
        core,
        &MANIFEST.replace("description = 'x'", ""),
        &["no description"],
    );
    assert_manifest(
        core,
        &MANIFEST.replace("workspace = true\n    [dep", "[dep"),
        &["[lints]"],
    );
    let storage = "src/storage/Cargo.toml";
    assert_manifest(
        storage,
        &format!("{MANIFEST} detcd-core = '1'\nfjall = '1'"),
        &[],
    );
    let across = format!("{MANIFEST} detcd-raft = '1'");
    assert_manifest(storage, &across, &["may not depend on detcd-raft"]);
    let service = format!("{MANIFEST} detcd-driver = '1'");
    assert_manifest("src/service/Cargo.toml", &service, &[]);
    let below = format!("{MANIFEST} detcd-raft = '1'");
    assert_manifest(
        "src/service/Cargo.toml",
        &below,
        &["may not depend on detcd-raft"],
    );
    let hidden = format!("{MANIFEST} [target.'cfg(madsim)'.dependencies]\nmadsim = '1'");
    assert_manifest(storage, &hidden, &["madsim has one room"]);
    assert_manifest("src/rt/Cargo.toml", &hidden, &[]);
    let server = format!("{MANIFEST} openraft = '1'");
    assert_manifest("Cargo.toml", &server, &["openraft has one room"]);
}

#[test]
fn planted_bugs_are_switched_on_by_the_simulator_alone() {
    let core = "src/core/Cargo.toml";
    let declared = format!("{MANIFEST}\n[features]\nmutants = []");
    assert_manifest(core, &declared, &[]);
    let always = format!("{declared}\ndefault = ['mutants']");
    assert_manifest(
        core,
        &always,
        &["/features/default switches planted bugs on"],
    );
    let on = "detcd-core = { workspace = true, features = ['mutants'] }";
    let simulated = format!("{MANIFEST} [target.'cfg(madsim)'.dependencies]\n{on}");
    assert_manifest("sim/Cargo.toml", &simulated, &[]);
    assert_manifest("src/raft/Cargo.toml", &simulated, &["planted bugs"]);
    let in_every_build = format!("{MANIFEST} {on}");
    assert_manifest("sim/Cargo.toml", &in_every_build, &["planted bugs"]);
    let passed_on = format!("{MANIFEST}\n[features]\nextra = ['detcd-core/mutants']");
    assert_manifest("Cargo.toml", &passed_on, &["/features/extra"]);
}

#[test]
fn pins() {
    let manifest = |openraft: &str| {
        format!(
            "[workspace.dependencies]\nopenraft = {openraft}\nopenraft-rt = '=1.0.0'\n\
             fjall = {{ version = '=1.0.0' }}\nlsm-tree = '=1.0.0'\nmadsim = '=1.0.0'"
        )
    };
    let lock = |versions: &[&str]| {
        let mut lock = String::new();
        for name in ["openraft-rt", "fjall", "lsm-tree", "madsim"] {
            lock += &format!("[[package]]\nname = '{name}'\nversion = '1.0.0'\n");
        }
        for version in versions {
            lock += &format!("[[package]]\nname = 'openraft'\nversion = '{version}'\n");
        }
        lock
    };
    let count = |openraft: &str, locked: &[&str]| {
        manifests::unpinned(&manifest(openraft), &lock(locked)).len()
    };
    assert_eq!(count("'=1.0.0'", &["1.0.0"]), 0);
    assert_eq!(count("'1.0.0'", &["1.0.0"]), 1);
    assert_eq!(count("'=1.0.0'", &["1.0.1"]), 1);
    assert_eq!(count("'=1.0.0'", &["1.0.0", "1.0.1"]), 1);
    assert_eq!(count("{ path = 'x' }", &["1.0.0"]), 1);
}
