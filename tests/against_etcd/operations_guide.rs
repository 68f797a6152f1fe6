//! The consoles of docs/operations.md, run as written beside a member of detcd and one of etcd.

use crate::cluster::Cluster;
use crate::console::commands;
use crate::tools::{self, Tool};
use std::fs;
use std::path::Path;
use tokio::process::Command;

#[tokio::test]
async fn the_consoles_of_operations_print_what_they_say() {
    let name = "the_consoles_of_operations_print_what_they_say";
    let Some(etcd) = tools::find(Tool::Etcd, name) else {
        return;
    };
    let ours = Cluster::started(1, &[]).await;
    let mut theirs = Cluster::of(etcd.clone(), 1, &[]);
    theirs.start(0);
    theirs.wait_healthy().await;
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operations.md"));
    let commands = commands(&text.expect("the page"));
    assert!(commands.len() > 10);
    let folder = tempfile::tempdir().expect("a folder");
    let own = Path::new(env!("CARGO_BIN_EXE_detcdctl")).parent();
    let (own, others) = (own.expect("a folder"), etcd.parent().expect("a folder"));
    let path = std::env::var("PATH").unwrap_or_default();
    let path = format!("{}:{}:{path}", own.display(), others.display());
    for (command, printed) in commands {
        let output = Command::new("sh")
            .args(["-c", &command])
            .current_dir(&folder)
            .env("PATH", &path)
            .env("DETCD", ours.nodes[0].client_url())
            .env("ETCD", theirs.nodes[0].client_url())
            .env("ETCDCTL_API", "3")
            .output()
            .await
            .expect("a shell");
        let out = String::from_utf8_lossy(&output.stdout);
        let complaints = String::from_utf8_lossy(&output.stderr);
        assert_eq!(out, printed, "{command}: {complaints}");
        assert!(output.status.success(), "{command}: {complaints}");
    }
}
