//! Who reads what our programs print may have seen enough.

use crate::cluster::Cluster;
use std::io::pipe;
use std::process::{Command, Stdio};

/// What a shell says of a program that ended for want of a reader.
const NOBODY_READS: i32 = 141;

/// Runs a program whose output nobody reads; gives its exit code and what it complains of.
fn unread(program: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let (reader, writer) = pipe().expect("a pipe");
    drop(reader);
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(writer);
    let output = command.output().expect("the program starts");
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), complaint)
}

#[test]
fn the_server_says_quietly_what_nobody_reads() {
    for about in ["--help", "--version"] {
        let ended = unread(env!("CARGO_BIN_EXE_detcd"), &[about]);
        assert_eq!(ended, (Some(NOBODY_READS), String::new()), "{about}");
    }
}

#[tokio::test]
async fn so_do_the_client_and_the_load() {
    let ctl = env!("CARGO_BIN_EXE_detcdctl");
    let quietly = (Some(NOBODY_READS), String::new());
    assert_eq!(unread(ctl, &["help"]), quietly);
    let cluster = Cluster::started(1, &[]).await;
    let endpoint = cluster.nodes[0].client_url();
    let status = ["--endpoints", &endpoint, "endpoint", "status"];
    assert_eq!(unread(ctl, &status), quietly);
    // Its table comes at the end; until then it says on the other output how far it is.
    let few = ["--clients", "1", "--keys", "10", "--seconds", "1"];
    let load = ["bench", "--endpoints", &endpoint, "--case", "put"];
    let load = [&load[..], &few].concat();
    let (code, complaint) = unread(env!("CARGO_BIN_EXE_detcd"), &load);
    assert_eq!(code, Some(NOBODY_READS), "{complaint}");
    assert!(!complaint.contains("panicked"), "{complaint}");
}
