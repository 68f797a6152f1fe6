//! Real processes: a cluster of `detcd` programs on loopback, each with its data in a folder of
//! its own. Everything waits for a condition with a deadline; nothing sleeps and hopes.

use detcd_wire::etcdserverpb as pb;
use pb::kv_client::KvClient;
use pb::maintenance_client::MaintenanceClient;
use std::fs::{self, File};
use std::future::Future;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint};

/// What anything may take. Generous: the machine is shared and the build is not optimised.
pub const WAIT_MAX: Duration = Duration::from_secs(40);
/// What "within seconds" means for a clean stop, on a busy machine too.
pub const STOP_MAX: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);

/// A port that nobody listens on, another one each time, and held until this test program ends: no
/// other test program on this machine is given it meanwhile. (Nobody listens on the port of a
/// member that is still starting, or down: programs that only looked for a listener gave a port to
/// two members, one of which then ended at once and was never healthy.) Not one of those that the
/// system takes for outgoing connections: a member that was down must find its port free.
pub fn free_port() -> u16 {
    const FIRST: u32 = 10_000;
    const COUNT: u32 = 20_000;
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    // Test programs that run at the same time begin at different places.
    let begin = std::process::id().wrapping_mul(101) % COUNT;
    (0..COUNT)
        .map(|_| FIRST + (begin + TAKEN.fetch_add(1, Relaxed)) % COUNT)
        .map(|port| u16::try_from(port).expect("it is below 30000"))
        .find(|port| hold(*port) && TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("a free port")
}

/// Takes the machine-wide lock of a port, which ends with this process.
fn hold(port: u16) -> bool {
    static HELD: Mutex<Vec<File>> = Mutex::new(Vec::new());
    let folder = std::env::temp_dir().join("detcd-test-ports");
    fs::create_dir_all(&folder).expect("a folder for locks");
    // A file of another user's cannot be opened: then the port is not ours to take.
    let lock = File::create(folder.join(port.to_string()));
    match lock {
        Ok(lock) if lock.try_lock().is_ok() => {
            HELD.lock().expect("no panic").push(lock);
            true
        }
        _ => false,
    }
}

/// Waits until `condition` gives something.
pub async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut condition: impl FnMut() -> F,
) -> T {
    let deadline = Instant::now() + WAIT_MAX;
    let mut polls = tokio::time::interval(POLL);
    loop {
        polls.tick().await;
        if let Some(value) = condition().await {
            return value;
        }
        assert!(Instant::now() < deadline, "waited {WAIT_MAX:?} for {what}");
    }
}

/// One member: its place and, while it runs, its process.
pub struct Node {
    pub name: String,
    /// That of its URLs.
    pub scheme: &'static str,
    pub client_port: u16,
    pub peer_port: u16,
    pub data_dir: PathBuf,
    program: PathBuf,
    log: PathBuf,
    child: Option<Child>,
}

impl Node {
    fn new(root: &TempDir, name: &str, program: &Path) -> Node {
        let node = Node {
            program: program.to_owned(),
            name: name.to_owned(),
            scheme: "http",
            client_port: free_port(),
            peer_port: free_port(),
            data_dir: root.path().join(format!("{name}.etcd")),
            log: root.path().join(format!("{name}.log")),
            child: None,
        };
        eprintln!(
            "{name}: clients {}, members {}",
            node.client_port, node.peer_port
        );
        node
    }

    pub fn client_url(&self) -> String {
        format!("{}://127.0.0.1:{}", self.scheme, self.client_port)
    }

    pub fn peer_url(&self) -> String {
        format!("{}://127.0.0.1:{}", self.scheme, self.peer_port)
    }

    pub fn program(&self) -> &Path {
        &self.program
    }

    /// The flags that a restart needs: none of the cluster.
    pub fn own_flags(&self) -> Vec<String> {
        vec![
            format!("--name={}", self.name),
            format!("--data-dir={}", self.data_dir.display()),
            format!("--listen-client-urls={}", self.client_url()),
            format!("--advertise-client-urls={}", self.client_url()),
            format!("--listen-peer-urls={}", self.peer_url()),
        ]
    }

    pub fn spawn(&mut self, flags: &[String]) {
        self.spawn_with(flags, &[]);
    }

    /// With these variables, too, in the folder that holds the data.
    pub fn spawn_with(&mut self, flags: &[String], variables: &[(&str, &str)]) {
        assert!(self.child.is_none(), "{} runs already", self.name);
        let log = self.open_log();
        let child = Command::new(&self.program)
            .args(flags)
            .envs(variables.iter().copied())
            .current_dir(self.data_dir.parent().expect("it is in a folder"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the program starts");
        self.child = Some(child);
    }

    /// Where the process is to tell what it does.
    pub fn open_log(&self) -> File {
        File::options()
            .create(true)
            .append(true)
            .open(&self.log)
            .expect("a log file")
    }

    fn child(&mut self) -> &mut Child {
        self.child.as_mut().expect("a running process")
    }

    /// SIGKILL, and the process is gone when this returns.
    pub fn kill(&mut self) {
        let child = self.child();
        child.kill().expect("a signal to our own child");
        child.wait().expect("our own child");
        self.child = None;
    }

    pub fn signal(&mut self, signal: rustix::process::Signal) {
        let id = rustix::process::Pid::from_child(self.child());
        rustix::process::kill_process(id, signal).expect("a signal to our own child");
    }

    /// From now on the process opens no file that needs a higher descriptor than these.
    pub fn limit_open_files(&mut self, count: u64) {
        use rustix::process::{Pid, Resource, Rlimit, prlimit};
        let id = Pid::from_child(self.child());
        let limit = Rlimit {
            current: Some(count),
            maximum: Some(count),
        };
        prlimit(Some(id), Resource::Nofile, limit).expect("a limit of our own child");
    }

    /// SIGTERM. How the process ended and how long it took.
    pub async fn stop(&mut self) -> (ExitStatus, Duration) {
        let start = Instant::now();
        self.signal(rustix::process::Signal::TERM);
        (self.wait().await, start.elapsed())
    }

    /// Waits until the process ends by itself.
    pub async fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + WAIT_MAX;
        let mut polls = tokio::time::interval(POLL);
        loop {
            polls.tick().await;
            if let Some(status) = self.child().try_wait().expect("our own child") {
                self.child = None;
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "{} does not end:\n{}",
                self.name,
                self.log()
            );
        }
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub async fn wait_for_log(&self, text: &str) {
        eventually(
            &format!("{:?} in the log of {}", text, self.name),
            || async { self.log().contains(text).then_some(()) },
        )
        .await;
    }

    /// Connected when the first request is sent.
    pub fn channel(&self) -> Channel {
        Endpoint::from_shared(self.client_url())
            .expect("a URL")
            .connect_lazy()
    }

    pub fn kv(&self) -> KvClient<Channel> {
        KvClient::new(self.channel())
    }

    /// What a plain GET answers, if anything: status and body.
    pub async fn get(&self, path: &str) -> Option<(u16, String)> {
        http_get(self.client_port, path).await
    }

    pub async fn wait_healthy(&self) {
        eventually(&format!("health of {}", self.name), || async {
            self.get("/health")
                .await
                .filter(|(status, _)| *status == 200)
        })
        .await;
    }

    pub async fn status(&self) -> Option<pb::StatusResponse> {
        let mut client = MaintenanceClient::new(self.channel());
        client
            .status(pb::StatusRequest {})
            .await
            .ok()
            .map(tonic::Response::into_inner)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It may have ended meanwhile.
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("---- log of {} ----\n{}", self.name, self.log());
        }
    }
}

/// A GET over HTTP/1.1 with nothing but a socket.
pub async fn http_get(port: u16, path: &str) -> Option<(u16, String)> {
    http_call(port, "GET", path, "").await
}

/// A request over HTTP/1.1, whose body is a form.
pub async fn http_call(port: u16, method: &str, path: &str, form: &str) -> Option<(u16, String)> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let exchange = async {
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port))
            .await
            .ok()?;
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: \
             application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
            form.len()
        );
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await.ok()?;
        let (head, body) = reply.split_once("\r\n\r\n")?;
        let status = head.split_whitespace().nth(1)?.parse().ok()?;
        Some((status, body.to_owned()))
    };
    tokio::time::timeout(Duration::from_secs(10), exchange)
        .await
        .ok()
        .flatten()
}

/// Members that start a cluster together. Stopped and removed when dropped.
pub struct Cluster {
    pub nodes: Vec<Node>,
    extra: Vec<String>,
    /// Holds the data until the end.
    root: TempDir,
}

impl Cluster {
    /// Members `n1`, `n2`, ... with `extra` flags; none runs yet.
    pub fn new(size: usize, extra: &[&str]) -> Cluster {
        Cluster::of(env!("CARGO_BIN_EXE_detcd").into(), size, extra)
    }

    /// As [`Cluster::new`], of another program with etcd's flags.
    pub fn of(program: PathBuf, size: usize, extra: &[&str]) -> Cluster {
        let root = tempfile::tempdir().expect("a folder");
        let nodes = (1..=size)
            .map(|i| Node::new(&root, &format!("n{i}"), &program))
            .collect();
        let extra = extra.iter().map(|flag| flag.to_string()).collect();
        Cluster { nodes, extra, root }
    }

    /// All of them, serving.
    pub async fn started(size: usize, extra: &[&str]) -> Cluster {
        let mut cluster = Cluster::new(size, extra);
        (0..size).for_each(|i| cluster.start(i));
        cluster.wait_healthy().await;
        cluster
    }

    pub fn initial_cluster(&self) -> String {
        let members: Vec<String> = self
            .nodes
            .iter()
            .map(|node| format!("{}={}", node.name, node.peer_url()))
            .collect();
        members.join(",")
    }

    /// What the first start of member `i` needs.
    pub fn flags(&self, i: usize) -> Vec<String> {
        let mut flags = self.nodes[i].own_flags();
        flags.push(format!(
            "--initial-advertise-peer-urls={}",
            self.nodes[i].peer_url()
        ));
        flags.push(format!("--initial-cluster={}", self.initial_cluster()));
        flags.extend(self.extra.iter().cloned());
        flags
    }

    pub fn start(&mut self, i: usize) {
        let flags = self.flags(i);
        self.nodes[i].spawn(&flags);
    }

    /// A place for one more member, which the flags name from now on; it was not added yet.
    pub fn grow(&mut self) -> usize {
        let name = format!("n{}", self.nodes.len() + 1);
        let program = self.nodes[0].program.clone();
        self.nodes.push(Node::new(&self.root, &name, &program));
        self.nodes.len() - 1
    }

    /// Starts member `i`, which was added to the running cluster.
    pub fn join(&mut self, i: usize) {
        let mut flags = self.flags(i);
        flags.push("--initial-cluster-state=existing".to_owned());
        self.nodes[i].spawn(&flags);
    }

    /// Starts member `i` with no word about its cluster.
    pub fn restart(&mut self, i: usize) {
        let mut flags = self.nodes[i].own_flags();
        flags.extend(self.extra.iter().cloned());
        self.nodes[i].spawn(&flags);
    }

    pub async fn wait_healthy(&self) {
        for node in &self.nodes {
            node.wait_healthy().await;
        }
    }
}

pub async fn put(kv: &mut KvClient<Channel>, key: &str, value: &str) -> Result<i64, tonic::Status> {
    let request = pb::PutRequest {
        key: key.to_owned().into(),
        value: value.to_owned().into(),
        ..Default::default()
    };
    let response = kv.put(request).await?.into_inner();
    Ok(response.header.expect("a header").revision)
}

/// Puts until it is acknowledged: an election may be under way.
pub async fn put_eventually(node: &Node, key: &str, value: &str) {
    let kv = node.kv();
    eventually(&format!("a put of {key} through {}", node.name), || {
        let mut kv = kv.clone();
        let (key, value) = (key.to_owned(), value.to_owned());
        async move { put(&mut kv, &key, &value).await.ok() }
    })
    .await;
}

/// The value of `key`, read linearizably once that works: an election may be under way.
pub async fn get_eventually(node: &Node, key: &str) -> Option<String> {
    let kv = node.kv();
    eventually(&format!("a read of {key} through {}", node.name), || {
        let mut kv = kv.clone();
        async move { get(&mut kv, key).await.ok() }
    })
    .await
}

/// The value of `key`, read linearizably.
pub async fn get(kv: &mut KvClient<Channel>, key: &str) -> Result<Option<String>, tonic::Status> {
    read(kv, key, false).await
}

/// The value of `key`; `serializable` asks for what the member itself has.
pub async fn read(
    kv: &mut KvClient<Channel>,
    key: &str,
    serializable: bool,
) -> Result<Option<String>, tonic::Status> {
    let request = pb::RangeRequest {
        key: key.to_owned().into(),
        serializable,
        ..Default::default()
    };
    let response = kv.range(request).await?.into_inner();
    let value = response.kvs.into_iter().next().map(|kv| kv.value);
    Ok(value.map(|value| String::from_utf8(value.to_vec()).expect("text")))
}
