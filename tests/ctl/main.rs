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

use call::{Call, Step};
use case::{Case, Script, Seen};
use detcd_wire::etcdserverpb as pb;
use prost::Message as _;
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

/// As etcdctl's library does; no recording of a fresh cluster shows it.
#[test]
fn detcdctl_signs_in_again_when_its_token_is_refused() {
    let call = |path: &str, request: Vec<u8>, answer: Step| Call {
        path: path.to_owned(),
        steps: vec![Step::Request(request.into()), answer],
    };
    let sign_in = |token: &str| {
        let request = pb::AuthenticateRequest {
            name: "a".to_owned(),
            password: "b".to_owned(),
        };
        let response = pb::AuthenticateResponse {
            header: None,
            token: token.to_owned(),
        };
        let answer = Step::Response(response.encode_to_vec().into());
        let path = "/etcdserverpb.Auth/Authenticate";
        call(path, request.encode_to_vec(), answer)
    };
    let put = |answer: Step| {
        let request = pb::PutRequest {
            key: "k".into(),
            value: "v".into(),
            ..Default::default()
        };
        call("/etcdserverpb.KV/Put", request.encode_to_vec(), answer)
    };
    let refused = Step::End(16, "etcdserver: invalid auth token".to_owned());
    let done = Step::Response(pb::PutResponse::default().encode_to_vec().into());
    let case = Case {
        line: "--user a:b put k v".to_owned(),
        calls: vec![sign_in("old"), put(refused), sign_in("new"), put(done)],
        seen: Seen {
            out: b"OK\n".to_vec(),
            err: Vec::new(),
            code: Some(0),
        },
        ..Case::default()
    };
    assert_eq!(replay::replay(&case), Vec::<String>::new());
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
