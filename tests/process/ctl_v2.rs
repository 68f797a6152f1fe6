//! detcdctl's v2 commands over TLS, and users of v2 that show a certificate.

use crate::certificates::{Authority, Certificates};
use crate::cluster::{Cluster, Node, eventually};
use std::process::{Command, Output};

struct Secured {
    cluster: Cluster,
    certificates: Certificates,
    _folder: tempfile::TempDir,
}

/// A member that knows its clients by certificates of one authority.
fn secured() -> Secured {
    let folder = tempfile::tempdir().expect("a folder");
    let certificates = Certificates::in_folder(folder.path());
    let authority = Authority::new("authority");
    certificates.write("ca.pem", &authority.pem);
    certificates.write("other.pem", &Authority::new("other").pem);
    for name in ["member", "ann"] {
        certificates.sign(name, &authority);
    }
    let mutual = certificates.mutual("member");
    let flags: Vec<&str> = mutual.iter().map(|flag| &flag[..]).collect();
    let mut cluster = Cluster::new(1, &flags);
    cluster.nodes[0].scheme = "https";
    cluster.start(0);
    Secured {
        cluster,
        certificates,
        _folder: folder,
    }
}

impl Secured {
    fn run(&self, authority: &str, line: &str) -> Output {
        let path = |name: &str| self.certificates.path(name);
        Command::new(env!("CARGO_BIN_EXE_detcdctl"))
            .env("ETCDCTL_API", "2")
            .arg(format!(
                "--endpoints={}",
                self.cluster.nodes[0].client_url()
            ))
            .arg(format!("--ca-file={}", path(authority)))
            .arg(format!("--cert-file={}", path("ann.pem")))
            .arg(format!("--key-file={}", path("ann.key")))
            .args(line.split(' '))
            .output()
            .expect("detcdctl starts")
    }

    /// What a command prints.
    fn says(&self, line: &str) -> String {
        let output = self.run("ca.pem", line);
        let (out, err) = (&output.stdout, &output.stderr);
        String::from_utf8_lossy(&[&out[..], err].concat()).into_owned()
    }
}

#[tokio::test]
async fn v2_commands_speak_tls_and_a_certificate_is_a_user() {
    let secured = secured();
    eventually("a write over TLS", || async {
        (secured.says("set /a 1") == "1\n").then_some(())
    })
    .await;
    assert_eq!(secured.says("--no-sync get /a"), "1\n");
    assert!(
        secured
            .says("cluster-health")
            .ends_with("cluster is healthy\n")
    );

    let refused = secured.run("other.pem", "get /a");
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && text.contains("unknown authority"),
        "{text}"
    );
    let missing = secured.run("nothing.pem", "get /a");
    let text = String::from_utf8_lossy(&missing.stderr).into_owned();
    assert!(
        !missing.status.success() && text.contains("nothing.pem"),
        "{text}"
    );

    // The certificate's common name is the user's.
    for line in [
        "user add root:r",
        "user add ann:unused",
        "role add writers",
        "role grant writers --path /w/* --readwrite",
        "user grant ann --roles writers",
        "auth enable",
        "-u root:r role revoke guest --path /* --readwrite",
    ] {
        let output = secured.run("ca.pem", line);
        assert!(output.status.success(), "{line}: {output:?}");
    }
    assert_eq!(secured.says("set /w/x 1"), "1\n");
    let refused =
        "Error:  110: The request requires user authentication (Insufficient credentials) [0]\n";
    assert_eq!(secured.says("get /a"), refused);
    assert_eq!(secured.says("-u root:r get /a"), "1\n");
    assert_eq!(secured.says("-u root:wrong get /a"), refused);
}

fn plain(node: &Node, line: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_detcdctl"))
        .env("ETCDCTL_API", "2")
        .arg(format!("--endpoints={}", node.client_url()))
        .arg("--no-sync")
        .args(line.split(' '))
        .output()
        .expect("detcdctl starts");
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

/// Until a command prints `text`. What was done already, and not answered, is told otherwise.
async fn says(node: &Node, line: &str, text: &str) {
    eventually(&format!("{line} at {}", node.name), || async {
        plain(node, line).contains(text).then_some(())
    })
    .await;
}

#[tokio::test]
async fn users_of_v2_count_on_every_member_and_after_a_restart() {
    let mut cluster = Cluster::started(3, &[]).await;
    let nodes = &cluster.nodes;
    says(&nodes[0], "user add root:r", "User root").await;
    says(&nodes[1], "auth enable", "nabled").await;
    let revoke = "-u root:r role revoke guest --path /* --readwrite";
    says(&nodes[2], revoke, "updated").await;
    let refused = "110: The request requires user authentication";
    for node in nodes {
        says(node, "set /x 1", refused).await;
        says(node, "get /x", refused).await;
        says(node, "-u root:r set /x 1", "1\n").await;
    }
    cluster.nodes[0].kill();
    cluster.restart(0);
    let node = &cluster.nodes[0];
    says(node, "-u root:r get /x", "1\n").await;
    says(node, "get /x", refused).await;
    says(node, "-u root:wrong get /x", refused).await;
    says(&cluster.nodes[1], "-u root:r auth disable", "isabled").await;
    says(node, "get /x", "1\n").await;
}
