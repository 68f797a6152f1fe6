//! Runs etcdctl against etcd through a proxy that writes down what they say.

use crate::call::{Answers, Backend, Call, Raw, Step, raise, serve};
use crate::case::{Before, Script, split};
use crate::cluster::eventually;
use crate::replay;
use bytes::Bytes;
use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio_stream::StreamExt as _;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Response, Status, Streaming};

/// The version whose behaviour is recorded.
const VERSION: &str = "3.5.1";
/// How long a command that does not end is listened to.
const HOLD: Duration = Duration::from_secs(1);

/// Records every case of `script`, in order, against a fresh etcd.
pub fn record(programs: &Path, script: &mut Script) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    runtime
        .expect("a runtime")
        .block_on(record_all(programs, script));
}

async fn record_all(programs: &Path, script: &mut Script) {
    let etcdctl = programs.join("etcdctl");
    let version = Command::new(&etcdctl)
        .arg("version")
        .output()
        .expect("etcdctl starts");
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    assert!(
        version.contains(VERSION),
        "recordings are of {VERSION}, not of {version}"
    );

    let etcd = Etcd::start(&programs.join("etcd")).await;
    let proxy = Arc::new(Proxy {
        server: etcd.channel(),
        calls: Mutex::default(),
    });
    let address = serve(proxy.clone()).await;
    for case in &mut script.cases {
        for before in &case.before {
            if let Before::Raise(member, kind) = before {
                raise(etcd.channel(), *member, kind).await;
            }
            if let Before::Prepare(line) = before {
                let words = split(line)
                    .into_iter()
                    .map(|word| String::from_utf8(word).unwrap());
                let prepared = Command::new(&etcdctl)
                    .args(words)
                    .env("ETCDCTL_ENDPOINTS", etcd.address.to_string())
                    .stdin(Stdio::null())
                    .output()
                    .expect("etcdctl starts");
                assert!(prepared.status.success(), "{line}: {prepared:?}");
            }
        }
        proxy.calls.lock().expect("no panic").clear();
        let wait_max = if case.hold { HOLD } else { replay::WAIT_MAX };
        case.seen = replay::run(&etcdctl, case, address, wait_max, |_| false).await;
        case.calls = proxy.calls.lock().expect("no panic").clone();
    }
}

/// A real etcd with ids that are the same each time.
struct Etcd {
    child: Child,
    address: SocketAddr,
    _data: tempfile::TempDir,
}

impl Etcd {
    async fn start(program: &Path) -> Etcd {
        let data = tempfile::tempdir().expect("a folder");
        let free = || {
            let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
            socket.local_addr().expect("an address")
        };
        let (address, peers) = (free(), free());
        let child = Command::new(program)
            .args(["--name", "n1", "--data-dir"])
            .arg(data.path())
            .arg(format!("--listen-client-urls=http://{address}"))
            .arg(format!("--listen-peer-urls=http://{peers}"))
            // Ids come from these, so they must not change from day to day.
            .arg("--advertise-client-urls=http://127.0.0.1:2379")
            .arg("--initial-advertise-peer-urls=http://127.0.0.1:2380")
            .arg("--initial-cluster=n1=http://127.0.0.1:2380")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("etcd starts");
        let etcd = Etcd {
            child,
            address,
            _data: data,
        };
        eventually("etcd", || async {
            Endpoint::from(etcd.uri()).connect().await.ok()
        })
        .await;
        etcd
    }

    fn uri(&self) -> tonic::transport::Uri {
        format!("http://{}", self.address).parse().expect("a URI")
    }

    fn channel(&self) -> Channel {
        Endpoint::from(self.uri()).connect_lazy()
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Passes calls on and writes them down.
struct Proxy {
    server: Channel,
    calls: Mutex<Vec<Call>>,
}

impl Proxy {
    fn note(&self, call: usize, step: Step) {
        // A call of an earlier case may still be ending.
        if let Some(call) = self.calls.lock().expect("no panic").get_mut(call) {
            call.steps.push(step);
        }
    }
}

impl Backend for Proxy {
    fn answer(
        self: Arc<Self>,
        path: String,
        requests: Streaming<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Answers>, Status>> + Send>> {
        Box::pin(async move {
            let call = {
                let mut calls = self.calls.lock().expect("no panic");
                calls.push(Call {
                    path: path.clone(),
                    steps: Vec::new(),
                });
                calls.len() - 1
            };
            let proxy = self.clone();
            let requests = requests.map_while(Result::ok).map(move |request| {
                proxy.note(call, Step::Request(request.clone()));
                request
            });
            let mut grpc =
                tonic::client::Grpc::new(self.server.clone()).max_decoding_message_size(usize::MAX);
            grpc.ready()
                .await
                .map_err(|error| Status::internal(error.to_string()))?;
            let path = PathAndQuery::try_from(path).expect("a path");
            let end = move |proxy: &Proxy, status: &Status| {
                let text = status.message().to_owned();
                proxy.note(call, Step::End(status.code().into(), text));
            };
            let request = tonic::Request::new(requests);
            let answers = match grpc.streaming(request, path, Raw).await {
                Ok(answers) => answers.into_inner(),
                Err(status) => {
                    end(&self, &status);
                    return Err(status);
                }
            };
            let proxy = self.clone();
            let answers = answers.map(move |answer| {
                match &answer {
                    Ok(bytes) => proxy.note(call, Step::Response(bytes.clone())),
                    Err(status) => end(&proxy, status),
                }
                answer
            });
            Ok(Response::new(Box::pin(answers) as Answers))
        })
    }
}
