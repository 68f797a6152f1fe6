//! `gateway start` of detcd and of etcd 3.5.1, which hand connections on: the same endpoints come and
//! go behind both.

use crate::cluster::{Cluster, WAIT_MAX, eventually, free_port};
use crate::tools::{Tool, find};
use std::fs::{self, File};
use std::io::Read as _;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

const DETCD: &str = env!("CARGO_BIN_EXE_detcd");

/// A gateway that runs.
struct Gateway {
    child: Child,
    port: u16,
    folder: TempDir,
}

impl Gateway {
    async fn start(program: &Path, endpoints: &[u16]) -> Gateway {
        let folder = tempfile::tempdir().expect("a folder");
        let log = File::create(folder.path().join("log")).expect("a log");
        let port = free_port();
        let endpoints: Vec<String> = endpoints
            .iter()
            .map(|port| format!("http://127.0.0.1:{port}"))
            .collect();
        let child = Command::new(program)
            .args(["gateway", "start", "--retry-delay=100ms"])
            .arg(format!("--listen-addr=127.0.0.1:{port}"))
            .arg(format!("--endpoints={}", endpoints.join(",")))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the program starts");
        let gateway = Gateway {
            child,
            port,
            folder,
        };
        gateway.wait_for_log("ready to proxy client requests").await;
        gateway
    }

    async fn wait_for_log(&self, text: &str) {
        eventually(text, || async {
            let log = fs::read_to_string(self.folder.path().join("log"));
            log.unwrap_or_default().contains(text).then_some(())
        })
        .await;
    }

    /// What the endpoint says to which the gateway leads; nothing if it hangs up.
    fn ask(&self) -> String {
        let stream = TcpStream::connect(("127.0.0.1", self.port));
        let mut stream = stream.expect("the gateway listens");
        stream.set_read_timeout(Some(WAIT_MAX)).expect("a timeout");
        let mut said = String::new();
        // A connection that is reset says nothing.
        let _ = stream.read_to_string(&mut said);
        said
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Says its name to whoever connects, until it is aborted.
async fn endpoint(name: &'static str, port: u16) -> tokio::task::JoinHandle<()> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await;
    let listener = listener.expect("a free port");
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            // A gateway that only looks whether somebody is here reads nothing.
            let _ = stream.write_all(name.as_bytes()).await;
        }
    })
}

/// Both programs, as far as they are there.
fn programs(test: &str) -> Vec<PathBuf> {
    let programs = [Some(PathBuf::from(DETCD)), find(Tool::Etcd, test)];
    programs.into_iter().flatten().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_take_turns_and_those_that_fail_are_left_out_until_they_are_back() {
    let test = "endpoints_take_turns_and_those_that_fail_are_left_out_until_they_are_back";
    for program in programs(test) {
        let ports = [free_port(), free_port()];
        let one = endpoint("one", ports[0]).await;
        let other = endpoint("other", ports[1]).await;
        let gateway = Gateway::start(&program, &ports).await;
        assert_eq!(
            [(); 4].map(|()| gateway.ask()),
            ["one", "other", "one", "other"]
        );
        one.abort();
        // Who is connected to it first finds out, and is led to the other one.
        let _ = one.await;
        assert_eq!([(); 3].map(|()| gateway.ask()), ["other", "other", "other"]);
        gateway.wait_for_log("deactivated endpoint").await;
        let one = endpoint("one", ports[0]).await;
        gateway.wait_for_log("\"activated\"").await;
        let mut again = [(); 2].map(|()| gateway.ask());
        again.sort();
        assert_eq!(again, ["one", "other"]);
        for endpoint in [one, other] {
            endpoint.abort();
            let _ = endpoint.await;
        }
        assert_eq!(gateway.ask(), "", "nobody is there to lead to");
    }
}

#[tokio::test]
async fn flags_that_make_no_sense_are_refused_as_etcd_refuses_them() {
    let test = "flags_that_make_no_sense_are_refused_as_etcd_refuses_them";
    let programs = programs(test);
    for flags in [
        &["--endpoints", "x"][..],
        &["--endpoints", "http://a:b"],
        &["--endpoints", "nohost.invalid:1"],
        &["--endpoints="],
        &["--listen-addr", "x", "--endpoints", "127.0.0.1:1"],
        &["--listen-addr", "nohost.invalid:1"],
        &[
            "--listen-addr",
            "127.0.0.1:27",
            "--endpoints",
            "http://127.0.0.1:27",
        ],
    ] {
        let said = programs.iter().map(|program| {
            let output = Command::new(program)
                .args(["gateway", "start"])
                .args(flags)
                .output()
                .expect("the program starts");
            assert_eq!(output.status.code(), Some(1), "{flags:?}");
            // etcd says it on standard output, and on the other one what it begins with.
            let streams = [output.stdout, output.stderr];
            let text = streams.map(|text| String::from_utf8_lossy(&text).into_owned());
            let lines = text.iter().flat_map(|text| text.lines());
            let lines = lines.filter(|line| !line.starts_with('{'));
            lines.map(str::to_owned).collect::<String>()
        });
        let said: Vec<String> = said.collect();
        assert!(said.windows(2).all(|two| two[0] == two[1]), "{said:#?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_reaches_the_cluster_by_the_gateway_while_a_member_is_down() {
    let mut cluster = Cluster::started(3, &[]).await;
    let ports: Vec<u16> = cluster.nodes.iter().map(|node| node.client_port).collect();
    let gateway = Gateway::start(Path::new(DETCD), &ports).await;
    cluster.nodes[0].kill();
    let endpoints = format!("127.0.0.1:{}", gateway.port);
    for key in 0..6 {
        // Each comes by a connection of its own.
        let put = || async {
            let ctl = env!("CARGO_BIN_EXE_detcdctl");
            let output = Command::new(ctl)
                .args(["--endpoints", &endpoints, "put", &key.to_string(), "v"])
                .output()
                .expect("the program starts");
            output.status.success().then_some(())
        };
        eventually("a put by the gateway", put).await;
    }
}
