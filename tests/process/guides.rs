//! The consoles of the guides in docs/, run as written against a member.

use crate::cluster::{Cluster, put_eventually};
use crate::console::commands;
use std::fs;
use std::path::Path;
use tokio::process::Command;

#[tokio::test]
async fn the_console_of_the_guide_to_v2_prints_what_it_says() {
    runs_as_written("v2.md").await;
}

#[tokio::test]
async fn the_console_of_the_guide_to_users_prints_what_it_says() {
    runs_as_written("users.md").await;
}

async fn runs_as_written(guide: &str) {
    let cluster = Cluster::started(1, &["--bcrypt-cost=4"]).await;
    put_eventually(&cluster.nodes[0], "ready", "yes").await;
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/docs");
    let text = fs::read_to_string(Path::new(folder).join(guide));
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
        // A refusal is shown as it is told.
        let is_refused = printed.starts_with("Error: ");
        let told = match is_refused {
            true => &complaints,
            false => &out,
        };
        assert_eq!(*told, printed, "{command}: {complaints}");
        assert_eq!(
            output.status.success(),
            !is_refused,
            "{command}: {complaints}"
        );
    }
}
