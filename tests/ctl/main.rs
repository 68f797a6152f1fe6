//! detcdctl and detcd against recordings of etcdctl 3.5.1 and etcd 3.5.1. The same command line
//! must send the same requests and, given the answers that etcd gave, print the same bytes and end
//! with the same code; and the same requests must get the same answers from detcd.
//!
//! The recordings are `tests/golden/ctl/*.txt`. To add a case, write its command line there; to
//! record, run the test with `DETCD_RECORD_ETCD` naming a directory with etcd's and etcdctl's
//! programs of 3.5.1. Cases of which we differ on purpose do not belong there.

mod call;
mod case;
#[path = "../process/cluster.rs"]
#[allow(dead_code, reason = "other tests stop and start members")]
mod cluster;
mod record;
mod replay;
mod server;

use case::Script;
use std::path::{Path, PathBuf};

#[test]
fn detcdctl_does_what_etcdctl_does() {
    let programs = std::env::var_os("DETCD_RECORD_ETCD").map(PathBuf::from);
    assert!(
        programs.is_none() || std::env::var_os("UPDATE").is_none(),
        "a recording is made on purpose: not with UPDATE, as `cargo ci fix` sets it"
    );
    let mut failures = Vec::new();
    for path in recordings() {
        let (name, mut script) = read(&path);
        if let Some(programs) = &programs {
            record::record(programs, &mut script);
            std::fs::write(&path, script.to_string()).expect("a writable recording");
        }
        for case in &script.cases {
            let differences = replay::replay(case);
            if !differences.is_empty() {
                failures.push(format!(
                    "{name}: $ {}\n{}",
                    case.line,
                    differences.join("\n")
                ));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[tokio::test]
async fn detcd_answers_what_etcd_answered() {
    let mut differences = Vec::new();
    for path in recordings() {
        let (name, script) = read(&path);
        let found = server::compare(&script).await;
        differences.extend(found.into_iter().map(|text| format!("{name}: {text}")));
    }
    assert!(differences.is_empty(), "{}", differences.join("\n\n"));
}

fn recordings() -> Vec<PathBuf> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/ctl");
    let entries = std::fs::read_dir(folder).expect("the folder of recordings");
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("a readable folder").path())
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "no recordings in {folder}");
    paths
}

fn read(path: &Path) -> (String, Script) {
    let name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let text = std::fs::read_to_string(path).expect("a readable recording");
    let script = Script::parse(&text).unwrap_or_else(|why| panic!("{name}: {why}"));
    assert!(!script.cases.is_empty(), "{name} holds no case");
    (name, script)
}
