//! Users, passwords and TLS together: etcdctl 3.4, etcdctl 3.5, detcdctl and PyPI's etcd3.

use crate::certificates::{Authority, Certificates};
use crate::cluster::{Cluster, WAIT_MAX, eventually};
use crate::succeeded;
use crate::tools::{Tool, find};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Three members that speak TLS alone, and users `root` and `alice`, who may read and write `a/`.
struct Secured {
    cluster: Cluster,
    certificates: Certificates,
    _folder: tempfile::TempDir,
}

impl Secured {
    async fn started() -> Secured {
        let folder = tempfile::tempdir().expect("a folder");
        let certificates = Certificates::in_folder(folder.path());
        let authority = Authority::new("authority");
        certificates.write("ca.pem", &authority.pem);
        for name in ["member", "client"] {
            certificates.sign(name, &authority);
        }
        let mut flags = certificates.mutual("member");
        flags.push("--bcrypt-cost=4".to_owned());
        let flags: Vec<&str> = flags.iter().map(|flag| &flag[..]).collect();
        let mut cluster = Cluster::new(3, &flags);
        for node in &mut cluster.nodes {
            node.scheme = "https";
        }
        (0..3).for_each(|i| cluster.start(i));
        let secured = Secured {
            cluster,
            certificates,
            _folder: folder,
        };
        let detcdctl = Path::new(env!("CARGO_BIN_EXE_detcdctl"));
        eventually("a put over TLS", || async {
            let put = secured.run(detcdctl, "put a/0 0");
            put.status.success().then_some(())
        })
        .await;
        for line in [
            "user add root:pw",
            "user add alice:pw",
            "role add a",
            "role grant-permission a readwrite a/ --prefix",
            "user grant-role alice a",
            "auth enable",
        ] {
            succeeded(line, &secured.run(detcdctl, line));
        }
        secured
    }

    fn endpoints(&self) -> String {
        let urls = self.cluster.nodes.iter().map(|node| node.client_url());
        urls.collect::<Vec<_>>().join(",")
    }

    fn run(&self, program: &Path, line: &str) -> Output {
        Command::new(program)
            .env("ETCDCTL_API", "3")
            .arg(format!("--endpoints={}", self.endpoints()))
            .args(self.certificates.client("client"))
            .args(line.split(' '))
            .output()
            .expect("the program starts")
    }

    fn says(&self, program: &Path, line: &str, expected: &str) {
        let output = self.run(program, line);
        succeeded(line, &output);
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{line}");
    }

    fn is_told(&self, program: &Path, line: &str, why: &str) {
        let output = self.run(program, line);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && said.contains(why),
            "{line}: {said}"
        );
    }
}

fn users_and_roles(secured: &Secured, program: &Path, own: &str) {
    let says = |line: &str, expected: &str| secured.says(program, line, expected);
    let is_told = |line: &str, why: &str| secured.is_told(program, line, why);
    says("--user alice:pw put a/1 x", "OK\n");
    says("--user alice:pw get a/1", "a/1\nx\n");
    is_told("--user alice:pw put b x", "etcdserver: permission denied");
    is_told("--user alice:pw user list", "etcdserver: permission denied");
    is_told(
        "--user alice:no get a/1",
        "authentication failed, invalid user ID or password",
    );
    let root = |line: &str| format!("--user root:pw {line}");
    says(
        &root(&format!("user add {own}:pw")),
        &format!("User {own} created\n"),
    );
    says(
        &root(&format!("role add {own}")),
        &format!("Role {own} created\n"),
    );
    says(
        &root(&format!("role grant-permission {own} read a/ --prefix")),
        &format!("Role {own} updated\n"),
    );
    says(
        &root(&format!("user grant-role {own} {own}")),
        &format!("Role {own} is granted to user {own}\n"),
    );
    says(
        &root(&format!("role get {own}")),
        &format!("Role {own}\nKV Read:\n\t[a/, a0) (prefix a/)\nKV Write:\n"),
    );
    says(&format!("--user {own}:pw get a/1"), "a/1\nx\n");
    is_told(
        &format!("--user {own}:pw put a/1 y"),
        "etcdserver: permission denied",
    );
    says(
        &root(&format!("user delete {own}")),
        &format!("User {own} deleted\n"),
    );
    is_told(&format!("--user {own}:pw get a/1"), "authentication failed");
    says(
        &root(&format!("role delete {own}")),
        &format!("Role {own} deleted\n"),
    );
}

#[tokio::test]
async fn etcdctls_and_pythons_etcd3_work_with_users_over_tls() {
    let test = "etcdctls_and_pythons_etcd3_work_with_users_over_tls";
    let secured = Secured::started().await;
    let mut programs: Vec<PathBuf> = vec![env!("CARGO_BIN_EXE_detcdctl").into()];
    programs.extend(find(Tool::Etcdctl, test));
    // etcdctl of 3.5.1 stands beside etcd.
    programs.extend(find(Tool::Etcd, test).map(|etcd| etcd.with_file_name("etcdctl")));
    for (i, program) in programs.iter().enumerate() {
        users_and_roles(&secured, program, &format!("user{i}"));
    }
    let Some(python) = find(Tool::Python, test) else {
        return;
    };
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/etcd3_users.py");
    let ports = secured
        .cluster
        .nodes
        .iter()
        .map(|node| node.client_port.to_string());
    let running = tokio::process::Command::new(python)
        .arg(script)
        .args(["ca.pem", "client.pem", "client.key"].map(|file| secured.certificates.path(file)))
        .args(ports)
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(WAIT_MAX, running).await;
    let output = output.expect("the script ends").expect("Python starts");
    succeeded("etcd3 with users over TLS", &output);
}
