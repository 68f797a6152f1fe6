//! Who reads what the gates print may have seen enough.

use std::io::pipe;
use std::process::{Command, Stdio};

#[test]
fn a_gate_that_nobody_reads_ends_quietly() {
    let (reader, writer) = pipe().expect("a pipe");
    drop(reader);
    let mut command = Command::new(env!("CARGO_BIN_EXE_detcd-ci"));
    // It gets no farther than to say what it is about to run.
    command.arg("check").env("CARGO", "/nonexistent/cargo");
    for variable in [
        "RUSTFLAGS",
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_BUILD_RUSTFLAGS",
    ] {
        command.env_remove(variable);
    }
    let output = command.stdin(Stdio::null()).stdout(writer).output();
    let output = output.expect("the gates start");
    assert_eq!(output.status.code(), Some(141), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
}
