//! detcdctl and etcdctl with several endpoints, of which the first is of no use: both go on to the
//! next one, and answer alike.

use crate::cluster::{Cluster, Node, eventually, free_port};
use crate::tools::{Tool, find};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;

/// What a command may take that has an endpoint of use: far less than its own time limit, which it
/// would wait for otherwise.
const ANSWER_MAX: Duration = Duration::from_secs(10);
const TIME_LIMIT: &str = "--command-timeout=60s";

/// An empty SETTINGS frame, and a GOAWAY frame that names no stream and no error.
const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
const GOAWAY: [u8; 17] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Commands that ask whichever endpoint there is, and answer the same each time.
const COMMANDS: [&str; 10] = [
    "put key value",
    "get key",
    "get --prefix k --keys-only",
    "get key --consistency=s",
    "del nothing",
    "member list",
    "alarm list",
    "lease timetolive 1234abcd",
    "lease revoke 1234abcd",
    "compaction 1000000",
];

#[derive(Debug, PartialEq, Eq)]
struct Seen {
    out: String,
    err: String,
    code: Option<i32>,
}

/// Runs `program` with these endpoints; `None` if it takes too long.
async fn run(program: &Path, endpoints: &str, line: &str) -> Option<Seen> {
    let output = tokio::time::timeout(ANSWER_MAX, command(program, endpoints, line).output());
    let output = output.await.ok()?.expect("the program starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    // Go's client logs beside what it says.
    let err = text(&output.stderr);
    let err = err.lines().filter(|line| !line.starts_with('{'));
    Some(Seen {
        out: text(&output.stdout),
        err: err.map(|line| format!("{line}\n")).collect(),
        code: output.status.code(),
    })
}

fn command(program: &Path, endpoints: &str, line: &str) -> Command {
    let mut command = Command::new(program);
    command
        .env("ETCDCTL_API", "3")
        .args(["--endpoints", endpoints])
        .args(line.split(' '))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

fn detcdctl() -> PathBuf {
    env!("CARGO_BIN_EXE_detcdctl").into()
}

/// etcdctl 3.4 of Debian's, and 3.5.1 where it lies beside etcd.
fn etcdctls(test: &str) -> Option<Vec<PathBuf>> {
    let mut programs = vec![find(Tool::Etcdctl, test)?];
    let beside = find(Tool::Etcd, test)?.with_file_name("etcdctl");
    programs.extend(beside.exists().then_some(beside));
    Some(programs)
}

/// A port where every connection is handled by `handle`.
async fn port<F: Future<Output = ()> + Send + 'static>(
    handle: impl Fn(TcpStream) -> F + Send + 'static,
) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
    let listener = listener.expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(handle(stream));
        }
    });
    port
}

async fn says_nothing(stream: TcpStream) {
    let _open = stream;
    std::future::pending().await
}

async fn speaks_http_1(mut stream: TcpStream) {
    let mut request = [0; 1024];
    if let Ok(1..) = stream.read(&mut request).await {
        let answer = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
        // Whoever asked may be gone.
        let _ = stream.write_all(answer).await;
    }
}

async fn goes_away(mut stream: TcpStream) {
    let _ = stream.write_all(&[&SETTINGS[..], &GOAWAY].concat()).await;
    // Until the other side ends it.
    let _ = stream.read_to_end(&mut Vec::new()).await;
}

/// A port whose queue of connections is full: nobody gets in, and nobody is refused.
struct FullPort {
    port: u16,
    _listener: std::os::fd::OwnedFd,
    _queued: Vec<std::os::fd::OwnedFd>,
}

impl FullPort {
    fn new() -> FullPort {
        use rustix::net::{AddressFamily, SocketFlags, SocketType};
        use rustix::net::{bind, connect, getsockname, listen, socket_with};
        let socket = || {
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).expect("a socket")
        };
        let listener = socket();
        let any = std::net::SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);
        bind(&listener, &any).expect("a free port");
        listen(&listener, 0).expect("a bound socket");
        let address = getsockname(&listener).expect("a bound socket");
        let address = std::net::SocketAddrV4::try_from(address).expect("as it was bound");
        let queued = (0..4).map(|_| {
            let socket = socket();
            // It is under way, and stays so.
            let _ = connect(&socket, &address);
            socket
        });
        FullPort {
            port: address.port(),
            _queued: queued.collect(),
            _listener: listener,
        }
    }
}

fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

/// Whether every command does with `first` before a good endpoint what etcdctl does.
async fn compare(what: &str, first: &str, good: &str, etcdctls: &[PathBuf]) {
    let endpoints = format!("{first},{good}");
    for line in COMMANDS {
        let line = format!("{TIME_LIMIT} {line}");
        let ours = run(&detcdctl(), &endpoints, &line).await;
        let ours = ours.unwrap_or_else(|| panic!("{what}: {line}: no answer"));
        for etcdctl in etcdctls {
            let theirs = run(etcdctl, &endpoints, &line).await;
            let theirs = theirs.unwrap_or_else(|| panic!("{what}: {etcdctl:?} {line}: no answer"));
            assert_eq!(ours, theirs, "{what}: {line}");
        }
    }
    keeps_a_lease(what, &endpoints).await;
    watches(what, &endpoints, good).await;
}

async fn keeps_a_lease(what: &str, endpoints: &str) {
    let line = format!("{TIME_LIMIT} lease grant 60");
    let granted = run(&detcdctl(), endpoints, &line).await;
    let granted = granted.unwrap_or_else(|| panic!("{what}: {line}: no answer"));
    let id = granted.out.split(' ').nth(1).expect("an id").to_owned();
    let line = format!("{TIME_LIMIT} lease keep-alive --once {id}");
    let kept = run(&detcdctl(), endpoints, &line).await;
    let kept = kept.unwrap_or_else(|| panic!("{what}: {line}: no answer"));
    let expected = format!("lease {id} keepalived with TTL(60)\n");
    assert_eq!(kept.out, expected, "{what}: {kept:?}");
    let mut streaming = command(&detcdctl(), endpoints, &format!("lease keep-alive {id}"));
    let mut child = streaming.spawn().expect("detcdctl starts");
    assert_eq!(first_line(what, &mut child).await, expected.trim_end());
}

/// A watch through `endpoints` shows what is put through `good`.
async fn watches(what: &str, endpoints: &str, good: &str) {
    let put = run(&detcdctl(), good, "put watched 1").await;
    assert_eq!(put.expect("a good endpoint").out, "OK\n", "{what}");
    let line = "watch watched --rev=1";
    let mut child = command(&detcdctl(), endpoints, line);
    let mut child = child.spawn().expect("detcdctl starts");
    assert_eq!(first_line(what, &mut child).await, "PUT");
}

async fn first_line(what: &str, child: &mut tokio::process::Child) -> String {
    let out = child.stdout.take().expect("a pipe");
    let mut lines = BufReader::new(out).lines();
    let line = tokio::time::timeout(ANSWER_MAX, lines.next_line()).await;
    let line = line.unwrap_or_else(|_| panic!("{what}: nothing is said"));
    line.expect("text").unwrap_or_default()
}

async fn good() -> Cluster {
    Cluster::started(1, &[]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_go_on_where_the_first_endpoint_is_no_server() {
    let Some(etcdctls) = etcdctls("commands_go_on_where_the_first_endpoint_is_no_server") else {
        return;
    };
    let cluster = good().await;
    let good = cluster.nodes[0].client_url();
    let full = FullPort::new();
    let firsts = [
        ("a closed port", free_port()),
        ("silence", port(says_nothing).await),
        ("HTTP/1", port(speaks_http_1).await),
        (
            "an end at once",
            port(|stream| async { drop(stream) }).await,
        ),
        ("GOAWAY", port(goes_away).await),
        ("a full queue", full.port),
    ];
    for (what, port) in firsts {
        compare(what, &url(port), &good, &etcdctls).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_go_on_where_the_first_endpoint_is_a_stopped_process() {
    let test = "commands_go_on_where_the_first_endpoint_is_a_stopped_process";
    let Some(etcdctls) = etcdctls(test) else {
        return;
    };
    let mut stopped = good().await;
    let cluster = good().await;
    stopped.nodes[0].signal(rustix::process::Signal::STOP);
    let first = stopped.nodes[0].client_url();
    let good = cluster.nodes[0].client_url();
    compare("a stopped process", &first, &good, &etcdctls).await;
}

/// Real etcd with a learner beside its leader.
async fn with_learner(etcd: PathBuf) -> Cluster {
    let mut cluster = Cluster::of(etcd, 1, &[]);
    cluster.start(0);
    cluster.nodes[0].wait_healthy().await;
    let new = cluster.grow();
    let (leader, learner) = (&cluster.nodes[0], &cluster.nodes[new]);
    let add = format!(
        "member add {} --learner --peer-urls={}",
        learner.name,
        learner.peer_url()
    );
    let added = run(&detcdctl(), &leader.client_url(), &add).await;
    let added = added.expect("a leader that answers");
    assert_eq!(added.code, Some(0), "{added:?}");
    cluster.join(new);
    let learner = &cluster.nodes[new];
    let is_learner = async |node: &Node| node.status().await.is_some_and(|it| it.is_learner);
    eventually("a learner that answers", || async {
        is_learner(learner).await.then_some(())
    })
    .await;
    cluster
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_go_on_where_the_first_endpoint_is_a_learner() {
    let Some(etcd) = find(
        Tool::Etcd,
        "commands_go_on_where_the_first_endpoint_is_a_learner",
    ) else {
        return;
    };
    let cluster = with_learner(etcd).await;
    let [leader, learner] = [0, 1].map(|i| cluster.nodes[i].client_url());
    // Which of the two is asked first is a matter of chance, for etcdctl too: often enough.
    for _ in 0..4 {
        // etcdctl gives up on a write that a learner refuses; detcdctl sends it to the next.
        compare("a learner", &learner, &leader, &[]).await;
    }
}

/// With no endpoint of use, commands end at their time limit, and say so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_end_at_their_time_limit_where_no_endpoint_is_of_use() {
    let test = "commands_end_at_their_time_limit_where_no_endpoint_is_of_use";
    let Some(etcdctls) = etcdctls(test) else {
        return;
    };
    let (silent, http_1) = (port(says_nothing).await, port(speaks_http_1).await);
    let endpoints = format!("{},{},{}", url(silent), url(http_1), url(free_port()));
    for line in ["put key value", "get key", "member list", "lease grant 10"] {
        let line = format!("--command-timeout=600ms {line}");
        let ours = run(&detcdctl(), &endpoints, &line).await.expect("an end");
        for etcdctl in &etcdctls {
            let theirs = run(etcdctl, &endpoints, &line).await.expect("an end");
            assert_eq!(ours, theirs, "{line}");
        }
    }
    let sign_in = "--user=a:b --dial-timeout=600ms --command-timeout=60s get key";
    let ours = run(&detcdctl(), &endpoints, sign_in).await;
    let ours = ours.expect("an end at the dial timeout");
    for etcdctl in &etcdctls {
        let theirs = run(etcdctl, &endpoints, sign_in).await;
        assert_eq!(Some(&ours), theirs.as_ref(), "{sign_in}");
    }
}
