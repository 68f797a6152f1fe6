//! Debian's etcdctl, and detcdctl beside it: what both can say, both say alike.

use crate::cluster::{WAIT_MAX, eventually};
use crate::three;
use crate::tools::{Tool, find};
use std::path::Path;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::Command;

#[derive(Debug, PartialEq, Eq)]
struct Seen {
    out: String,
    err: String,
    code: Option<i32>,
}

/// One way to speak to the cluster.
struct Client<'a> {
    program: &'a Path,
    endpoints: &'a str,
}

impl Client<'_> {
    fn command(&self) -> Command {
        let mut command = Command::new(self.program);
        command
            .env("ETCDCTL_API", "3")
            .args(["--endpoints", self.endpoints])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    async fn run(&self, line: &str, input: &str) -> Seen {
        let mut command = self.command();
        let mut child = command
            .args(line.split(' '))
            .spawn()
            .expect("the program starts");
        let mut stdin = child.stdin.take().expect("a pipe");
        stdin
            .write_all(input.as_bytes())
            .await
            .expect("a pipe that is open");
        drop(stdin);
        // etcdctl 3.4 waits for ever for some answers; the child is killed when this is dropped.
        let output = tokio::time::timeout(WAIT_MAX, child.wait_with_output())
            .await
            .unwrap_or_else(|_| panic!("etcdctl {line}: no end within {WAIT_MAX:?}"))
            .expect("our own child");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        // Go's client logs beside what it says.
        let err = text(&output.stderr);
        let err = err
            .lines()
            .filter(|line| !line.starts_with('{'))
            .map(|line| format!("{line}\n"));
        Seen {
            out: text(&output.stdout),
            err: err.collect(),
            code: output.status.code(),
        }
    }

    async fn says(&self, line: &str, expected: &str) {
        let seen = self.run(line, "").await;
        assert_eq!(
            (&seen.out[..], seen.code),
            (expected, Some(0)),
            "{line}: {}",
            seen.err
        );
    }

    async fn refuses(&self, line: &str, why: &str) {
        let seen = self.run(line, "").await;
        assert_eq!(
            (&seen.out[..], seen.err, seen.code),
            ("", format!("Error: {why}\n"), Some(1))
        );
    }
}

#[tokio::test]
async fn etcdctl_puts_gets_watches_and_leases() {
    let Some(program) = find(Tool::Etcdctl, "etcdctl_puts_gets_watches_and_leases") else {
        return;
    };
    let (_cluster, endpoints) = three().await;
    let client = Client {
        program: &program,
        endpoints: &endpoints,
    };

    client.says("put foo bar", "OK\n").await;
    client.says("get foo", "foo\nbar\n").await;
    client
        .says("put foo bar2 --prev-kv", "OK\nfoo\nbar\n")
        .await;
    client
        .says("get foo --rev=2 --print-value-only", "bar\n")
        .await;
    client.says("put foo1 x", "OK\n").await;
    client
        .says("get foo --prefix --keys-only", "foo\n\nfoo1\n\n")
        .await;
    client
        .says("del foo --prefix --prev-kv", "2\nfoo\nbar2\nfoo1\nx\n")
        .await;
    client.says("get --prefix foo", "").await;
    client
        .refuses(
            "get foo --rev=999",
            "etcdserver: mvcc: required revision is a future revision",
        )
        .await;
    client.says("compaction 4", "compacted revision 4\n").await;
    client
        .refuses(
            "compaction 4",
            "etcdserver: mvcc: required revision has been compacted",
        )
        .await;
    client
        .refuses(
            "put a b --lease=4d2",
            "etcdserver: requested lease not found",
        )
        .await;

    let txn = "create(\"t\") = \"0\"\n\nput t created\nget t\n\nget t\n\n";
    let seen = client.run("txn", txn).await;
    assert_eq!(seen.out, "SUCCESS\n\nOK\n\nt\ncreated\n", "{}", seen.err);
    let seen = client.run("txn", txn).await;
    assert_eq!(seen.out, "FAILURE\n\nt\ncreated\n", "{}", seen.err);

    let granted = client.run("lease grant 600", "").await;
    let id = granted.out.split(' ').nth(1).expect("an id").to_owned();
    assert_eq!(granted.out, format!("lease {id} granted with TTL(600s)\n"));
    client
        .says(&format!("put leased v --lease={id}"), "OK\n")
        .await;
    client
        .says("lease list", &format!("found 1 leases\n{id}\n"))
        .await;
    let kept = format!("lease {id} keepalived with TTL(600)\n");
    client
        .says(&format!("lease keep-alive --once {id}"), &kept)
        .await;
    client
        .says(
            &format!("lease revoke {id}"),
            &format!("lease {id} revoked\n"),
        )
        .await;
    client.says("get leased", "").await;

    let seen = client.run("endpoint health", "").await;
    // etcdctl 3.4 tells it on the standard error, 3.5 on the standard output.
    let said = seen.out + &seen.err;
    assert_eq!(said.matches("is healthy").count(), 3, "{said}");
    let seen = client.run("member list", "").await;
    assert_eq!(seen.out.matches(", started, n").count(), 3, "{seen:?}");
}

/// A short lease ends by itself and takes its key along.
#[tokio::test]
async fn etcdctl_sees_a_lease_expire() {
    let Some(program) = find(Tool::Etcdctl, "etcdctl_sees_a_lease_expire") else {
        return;
    };
    let (_cluster, endpoints) = three().await;
    let client = Client {
        program: &program,
        endpoints: &endpoints,
    };
    let granted = client.run("lease grant 2", "").await;
    let id = granted.out.split(' ').nth(1).expect("an id").to_owned();
    client
        .says(&format!("put leased v --lease={id}"), "OK\n")
        .await;
    let expired = format!("lease {id} already expired\n");
    eventually("the end of the lease", || async {
        (client.run("get leased", "").await.out.is_empty()).then_some(())
    })
    .await;
    client
        .says(&format!("lease timetolive {id}"), &expired)
        .await;
}

/// A watch through one member sees what was written through another.
#[tokio::test]
async fn etcdctl_watches_through_another_member() {
    let Some(program) = find(Tool::Etcdctl, "etcdctl_watches_through_another_member") else {
        return;
    };
    let (_cluster, endpoints) = three().await;
    let (first, last) = endpoints.split_once(',').expect("three endpoints");
    let writer = Client {
        program: &program,
        endpoints: first,
    };
    let watcher = Client {
        program: &program,
        endpoints: last,
    };
    writer.says("put k 1", "OK\n").await;

    let line = "watch k --prefix --rev=2 --prev-kv";
    let mut watching = watcher
        .command()
        .args(line.split(' '))
        .spawn()
        .expect("the program starts");
    let mut lines = BufReader::new(watching.stdout.take().expect("a pipe")).lines();
    let mut seen = Vec::new();
    writer.says("put k2 2", "OK\n").await;
    writer.says("del k", "1\n").await;
    let expected = [
        "PUT", "k", "1", "PUT", "k2", "2", "DELETE", "k", "1", "k", "",
    ];
    let reading = async {
        while seen.len() < expected.len() {
            seen.push(
                lines
                    .next_line()
                    .await
                    .expect("text")
                    .expect("the watch goes on"),
            );
        }
    };
    tokio::time::timeout(WAIT_MAX, reading)
        .await
        .expect("the changes arrive");
    assert_eq!(seen, expected);
}

/// The same lines, byte for byte, from detcdctl and from Debian's etcdctl.
#[tokio::test]
async fn detcdctl_says_what_etcdctl_says() {
    let Some(program) = find(Tool::Etcdctl, "detcdctl_says_what_etcdctl_says") else {
        return;
    };
    let (_cluster, endpoints) = three().await;
    // One member only: its id stands in every header.
    let endpoints = endpoints.split(',').next().expect("an endpoint");
    let theirs = Client {
        program: &program,
        endpoints,
    };
    let ours = Client {
        program: Path::new(env!("CARGO_BIN_EXE_detcdctl")),
        endpoints,
    };
    for line in ["put a 1", "put b 2", "put a 3", "put c 4"] {
        theirs.says(line, "OK\n").await;
    }
    let lines = [
        "get a",
        "get a --hex",
        "get a -w json",
        "get a -w fields",
        "get a -w protobuf",
        "get a -w table",
        "get a c",
        "get a --from-key --limit=2 -w json",
        "get a --from-key --order=DESCEND",
        "get a --from-key --sort-by=CREATE --order=DESCEND --keys-only",
        "get a --rev=2",
        "get a --rev=1",
        "get a --rev=99",
        "get a --consistency=s",
        "get nothing -w json",
        "del nothing",
        "del nothing -w json",
        "put a b --lease=4d2",
        "put nothing --ignore-value",
        "compaction 99",
        "lease revoke 4d2",
        "lease timetolive 4d2",
        "lease timetolive 4d2 -w json",
        "lease list",
        "lease list -w json",
        "member list",
        "member list -w json",
        "member list -w table",
        "member list -w fields",
        "endpoint hashkv",
        "endpoint hashkv --rev=3",
    ];
    let mut differences = Vec::new();
    for line in lines {
        let (ours, theirs) = (ours.run(line, "").await, theirs.run(line, "").await);
        if ours != theirs {
            differences.push(format!("{line}\nours: {ours:?}\ntheirs: {theirs:?}"));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
