//! The console of docs/v2.md, run as written against a member.

use crate::cluster::{Cluster, put_eventually};
use crate::console::commands;
use std::fs;
use std::path::Path;
use tokio::process::Command;

#[tokio::test]
async fn the_console_of_the_guide_prints_what_it_says() {
    let cluster = Cluster::started(1, &[]).await;
    put_eventually(&cluster.nodes[0], "ready", "yes").await;
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/v2.md"));
    let commands = commands(&text.expect("the guide"));
    assert!(commands.len() > 5);
    let programs = Path::new(env!("CARGO_BIN_EXE_detcdctl")).parent();
    let path = std::env::var("PATH").unwrap_or_default();
    let path = format!("{}:{path}", programs.expect("a folder").display());
    for (command, printed) in commands {
        let output = Command::new("sh")
            .args(["-c", &command])
            .env("PATH", &path)
            .env("ETCDCTL_ENDPOINTS", cluster.nodes[0].client_url())
            .env_remove("ETCDCTL_API")
            .output()
            .await
            .expect("a shell");
        let out = String::from_utf8_lossy(&output.stdout);
        let complaints = String::from_utf8_lossy(&output.stderr);
        assert_eq!(out, printed, "{command}: {complaints}");
        assert!(output.status.success(), "{command}: {complaints}");
    }
}
