//! The articles' `etcdctl`, which speaks v2, to three members: etcdctl 3.4.23 and detcdctl.

use crate::cluster::{Cluster, WAIT_MAX, eventually};
use crate::tools::{Tool, find};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;
use tokio::process::Command;

const FAST: &[&str] = &["--heartbeat-interval=50", "--election-timeout=500"];

struct Etcdctl<'a> {
    program: &'a Path,
    endpoints: String,
}

#[derive(Debug, PartialEq, Eq)]
struct Seen {
    out: String,
    err: String,
    code: Option<i32>,
}

impl Etcdctl<'_> {
    async fn run(&self, words: &[&str]) -> Seen {
        let mut command = Command::new(self.program);
        command
            .env("ETCDCTL_API", "2")
            .args(["--endpoints", &self.endpoints])
            .args(words)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let output = tokio::time::timeout(WAIT_MAX, command.output())
            .await
            .unwrap_or_else(|_| panic!("{words:?}: no end within {WAIT_MAX:?}"))
            .expect("the program starts");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace("detcdctl", "etcdctl");
        Seen {
            out: text(&output.stdout),
            err: text(&output.stderr),
            code: output.status.code(),
        }
    }

    async fn says(&self, words: &[&str], expected: &str) {
        let seen = self.run(words).await;
        assert_eq!(
            (&seen.out[..], seen.code),
            (expected, Some(0)),
            "{words:?}: {}",
            seen.err
        );
    }

    /// An error of the keys API, but for its index.
    async fn refuses(&self, words: &[&str], expected: &str) {
        let seen = self.run(words).await;
        let error = seen.err.rsplit_once(" [").map_or("", |(error, _)| error);
        assert_eq!(
            (error, seen.code),
            (expected, Some(4)),
            "{words:?}: {seen:?}"
        );
    }

    /// The lines of `member list`, without their ids; and the ids.
    async fn members(&self) -> (Vec<String>, Vec<String>) {
        let seen = self.run(&["member", "list"]).await;
        assert_eq!(seen.code, Some(0), "{seen:?}");
        let lines = seen.out.lines().map(|line| {
            let end = line.find([':', '[']).expect("an id");
            (line[end..].to_owned(), line[..end].to_owned())
        });
        lines.unzip()
    }
}

/// Rows 7 to 13: health, keys written on one member and read, changed and removed on another.
async fn keys(etcdctl: &Etcdctl<'_>, cluster: &Cluster) {
    let (_, ids) = etcdctl.members().await;
    let healthy: Vec<String> = cluster
        .nodes
        .iter()
        .map(|node| format!("is healthy: got healthy result from {}", node.client_url()))
        .collect();
    let seen = etcdctl.run(&["cluster-health"]).await;
    let mut lines: Vec<&str> = seen.out.lines().collect();
    assert_eq!(lines.pop(), Some("cluster is healthy"), "{seen:?}");
    let told: Vec<(&str, &str)> = lines
        .iter()
        .map(|line| line["member ".len()..].split_once(' ').expect("an id"))
        .collect();
    let told_ids: Vec<&str> = told.iter().map(|(id, _)| *id).collect();
    assert_eq!(told_ids, ids, "sorted by id");
    let told: BTreeSet<&str> = told.iter().map(|(_, verdict)| *verdict).collect();
    assert_eq!(told, healthy.iter().map(String::as_str).collect());

    etcdctl.says(&["ls"], "").await;
    etcdctl
        .says(&["mk", "key1", "test value1"], "test value1\n")
        .await;
    etcdctl
        .refuses(
            &["mk", "key1", "test value1"],
            "Error:  105: Key already exists (/key1)",
        )
        .await;
    etcdctl.says(&["mk", "key2", "value2"], "value2\n").await;
    etcdctl.says(&["set", "key3", "v3"], "v3\n").await;
    let listed = etcdctl.run(&["ls"]).await;
    let listed: BTreeSet<&str> = listed.out.lines().collect();
    assert_eq!(listed, BTreeSet::from(["/key1", "/key2", "/key3"]));
    etcdctl.says(&["get", "key1"], "test value1\n").await;
    etcdctl.says(&["get", "/key1"], "test value1\n").await;
    etcdctl
        .says(&["set", "key1", "hello world"], "hello world\n")
        .await;
    etcdctl
        .says(&["rm", "key2"], "PrevNode.Value: value2\n")
        .await;
    for node in &cluster.nodes {
        let here = Etcdctl {
            program: etcdctl.program,
            endpoints: node.client_url(),
        };
        let get = ["--no-sync", "get", "-q", "key2"];
        here.refuses(&get, "Error:  100: Key not found (/key2)")
            .await;
        let get = ["--no-sync", "get", "-q", "key1"];
        here.says(&get, "hello world\n").await;
    }
}

/// Rows 43, 48, 50, 52 and 54: the members, one more of them, and one less, which leads.
async fn members(etcdctl: &Etcdctl<'_>, cluster: &mut Cluster) {
    let (lines, ids) = etcdctl.members().await;
    let number = |id: &String| u64::from_str_radix(id, 16).expect("an id");
    assert!(ids.iter().map(number).is_sorted(), "{ids:?}");
    let leads = |line: &&String| line.ends_with(" isLeader=true");
    assert_eq!(lines.iter().filter(leads).count(), 1, "{lines:?}");
    for node in &cluster.nodes {
        let (name, peer, client) = (&node.name, node.peer_url(), node.client_url());
        let line = format!(": name={name} peerURLs={peer} clientURLs={client} isLeader=");
        assert!(
            lines.iter().any(|told| told.starts_with(&line)),
            "{lines:?}"
        );
    }
    let url = cluster.nodes[1].client_url();
    let one = etcdctl.run(&["--endpoint", &url, "member", "list"]).await;
    assert_eq!(one.out.lines().count(), 3, "{one:?}");
    let (status, body) = cluster.nodes[0].get("/v2/members").await.expect("a page");
    assert_eq!(
        (status, body.matches("\"id\":").count()),
        (200, 3),
        "{body}"
    );
    assert!(
        ids.iter()
            .all(|id| body.contains(&format!("{{\"id\":\"{id}\","))),
        "{body}"
    );

    let i = cluster.grow();
    let (name, peer) = (cluster.nodes[i].name.clone(), cluster.nodes[i].peer_url());
    // The leader takes a new member once all are connected.
    let added = eventually("member add", || async {
        let seen = etcdctl.run(&["member", "add", &name, &peer]).await;
        (seen.code == Some(0)).then_some(seen.out)
    })
    .await;
    let mut told = added.lines();
    let first = told.next().expect("a line");
    let id = first
        .strip_prefix(&format!("Added member named {name} with ID "))
        .and_then(|rest| rest.strip_suffix(" to cluster"))
        .unwrap_or_else(|| panic!("{added}"));
    assert_eq!(told.next(), Some(""));
    assert_eq!(told.next(), Some(&format!("ETCD_NAME=\"{name}\"")[..]));
    let initial = told.next().expect("a line");
    assert!(initial.starts_with("ETCD_INITIAL_CLUSTER=\""), "{added}");
    for node in &cluster.nodes {
        assert!(
            initial.contains(&format!("{}={}", node.name, node.peer_url())),
            "{added}"
        );
    }
    assert_eq!(told.next(), Some("ETCD_INITIAL_CLUSTER_STATE=\"existing\""));
    let unstarted = format!("{id}[unstarted]: peerURLs={peer}");
    let seen = etcdctl.run(&["member", "list"]).await;
    assert!(seen.out.lines().any(|line| line == unstarted), "{seen:?}");
    cluster.join(i);
    cluster.nodes[i].wait_healthy().await;
    eventually("the name of the new member", || async {
        let (lines, _) = etcdctl.members().await;
        let started = format!(": name={name} peerURLs={peer} clientURLs=http");
        lines
            .iter()
            .any(|line| line.starts_with(&started))
            .then_some(())
    })
    .await;

    let (lines, ids) = etcdctl.members().await;
    let leader = lines
        .iter()
        .position(|line| leads(&line))
        .expect("a leader");
    let removed = &ids[leader];
    let expected = format!("Removed member {removed} from cluster\n");
    eventually("member remove", || async {
        let seen = etcdctl.run(&["member", "remove", removed]).await;
        (seen.out == expected).then_some(())
    })
    .await;
    eventually("a list without the removed member", || async {
        let seen = etcdctl.run(&["member", "list"]).await;
        (seen.code == Some(0) && !seen.out.contains(removed)).then_some(())
    })
    .await;
    let seen = etcdctl.run(&["member", "remove", removed]).await;
    let unknown = format!("Couldn't find a member in the cluster with an ID of {removed}.\n");
    assert_eq!((seen.err, seen.code), (unknown, Some(1)));
}

async fn walk(program: &Path) {
    let mut cluster = Cluster::started(3, FAST).await;
    let urls: Vec<String> = cluster.nodes.iter().map(|node| node.client_url()).collect();
    let etcdctl = Etcdctl {
        program,
        endpoints: urls.join(","),
    };
    keys(&etcdctl, &cluster).await;
    members(&etcdctl, &mut cluster).await;
}

#[tokio::test]
async fn etcdctl_shows_keys_and_members_of_detcd_as_in_the_articles() {
    let test = "etcdctl_shows_keys_and_members_of_detcd_as_in_the_articles";
    if let Some(program) = find(Tool::Etcdctl, test) {
        walk(&program).await;
    }
}

#[tokio::test]
async fn detcdctl_shows_keys_and_members_of_detcd_as_in_the_articles() {
    walk(Path::new(env!("CARGO_BIN_EXE_detcdctl"))).await;
}

/// Row 51.
#[tokio::test]
async fn detcdctl_helps_with_members_as_in_the_article() {
    let etcdctl = Etcdctl {
        program: Path::new(env!("CARGO_BIN_EXE_detcdctl")),
        endpoints: String::new(),
    };
    let expected = "NAME:
   etcdctl member - member add, remove and list subcommands

USAGE:
   etcdctl member command [command options] [arguments...]

COMMANDS:
   list    enumerate existing cluster members
   add     add a new member to the etcd cluster
   remove  remove an existing member from the etcd cluster
   update  update an existing member in the etcd cluster

OPTIONS:
   --help, -h  show help
   \n";
    etcdctl.says(&["member", "--help"], expected).await;
}
