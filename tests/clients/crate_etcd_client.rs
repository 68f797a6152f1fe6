//! The crate etcd-client. Its build script wants a protoc, which this project must not need: so it
//! lives in a workspace of its own (`rust/`), and `protoc/` there is a stand-in made of protox.

use crate::{succeeded, three, tools};
use std::path::{Path, PathBuf};
use std::process::Command;

#[tokio::test]
async fn the_crate_etcd_client_works() {
    let Some(program) = build() else { return };
    let (_cluster, endpoints) = three().await;
    let running = tokio::process::Command::new(program)
        .arg(&endpoints)
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(crate::cluster::WAIT_MAX * 2, running).await;
    succeeded(
        "etcd-client",
        &output
            .expect("the program ends")
            .expect("the program starts"),
    );
}

/// The test program; nothing where crates.io cannot be had and tools are optional.
fn build() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = root.join("tests/clients/rust/Cargo.toml");
    let target = root.join("target/clients");
    let cargo = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO"));
        command
            .args(arguments)
            .arg("--locked")
            .arg("--manifest-path")
            .arg(&manifest);
        // The flags of whoever builds the tests are not for this workspace.
        for name in [
            "RUSTFLAGS",
            "CARGO_ENCODED_RUSTFLAGS",
            "CARGO_BUILD_RUSTFLAGS",
        ] {
            command.env_remove(name);
        }
        command.env("CARGO_TARGET_DIR", &target);
        command
    };
    let fetched = cargo(&["fetch"]).output().expect("cargo starts");
    if !fetched.status.success() {
        let why = String::from_utf8_lossy(&fetched.stderr);
        let reason = format!("crates.io cannot be had: {why}");
        tools::missing("the_crate_etcd_client_works", &reason);
        return None;
    }
    let build = ["build", "--quiet", "--package"];
    let built = cargo(&[&build[..], &["protoc"]].concat())
        .output()
        .expect("cargo starts");
    succeeded("the stand-in for protoc", &built);
    let built = cargo(&[&build[..], &["clients-rust"]].concat())
        .env("PROTOC", target.join("debug/protoc"))
        .output()
        .expect("cargo starts");
    succeeded("the program with etcd-client", &built);
    Some(target.join("debug/clients-rust"))
}
