//! TLS between real processes. Certificates are made when a test runs.

use crate::certificates::{Authority, Certificates, DAY};
use crate::cluster::{Cluster, Node, WAIT_MAX, eventually, put_eventually};
use detcd_net::tls::{Alpn, ClientFiles, PairFiles, TlsClient};
use detcd_net::{Address, Connector, Dialer};
use detcd_wire::etcdserverpb as pb;
use pb::kv_client::KvClient;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::SystemTime;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tonic::transport::{Channel, Endpoint};

/// A cluster whose members and clients are known to each other by certificates of one authority.
struct Secured {
    cluster: Cluster,
    certificates: Certificates,
    authority: Authority,
    _folder: TempDir,
}

fn secured(size: usize, extra: &[&str]) -> Secured {
    let folder = tempfile::tempdir().expect("a folder");
    let certificates = Certificates::in_folder(folder.path());
    let authority = Authority::new("authority");
    certificates.write("ca.pem", &authority.pem);
    for name in ["member", "client"] {
        certificates.sign(name, &authority);
    }
    let mutual = certificates.mutual("member");
    let flags: Vec<&str> = mutual.iter().map(|flag| &flag[..]).collect();
    let mut cluster = Cluster::new(size, &[&flags[..], extra].concat());
    for node in &mut cluster.nodes {
        node.scheme = "https";
    }
    Secured {
        cluster,
        certificates,
        authority,
        _folder: folder,
    }
}

impl Secured {
    fn start(&mut self) {
        (0..self.cluster.nodes.len()).for_each(|i| self.cluster.start(i));
    }

    async fn put(&self, node: &Node, key: &str, value: &str) {
        succeeds(
            node,
            &self.certificates.client("client"),
            &["put", key, value],
        )
        .await;
    }

    async fn get(&self, node: &Node, key: &str) -> String {
        let flags = self.certificates.client("client");
        succeeds(node, &flags, &["get", key, "--print-value-only"]).await
    }

    fn files(&self, name: &str) -> ClientFiles {
        ClientFiles {
            pair: Some(PairFiles {
                cert: self.certificates.path(&format!("{name}.pem")).into(),
                key: self.certificates.path(&format!("{name}.key")).into(),
            }),
            trusted_ca: Some(self.certificates.path("ca.pem").into()),
            ..ClientFiles::default()
        }
    }
}

fn detcdctl(endpoint: &str, flags: &[String], args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_detcdctl"))
        .arg(format!("--endpoints={endpoint}"))
        .args(flags)
        .args(args)
        .output()
        .expect("detcdctl starts")
}

/// The output of a command of detcdctl, once it succeeds.
async fn succeeds(node: &Node, flags: &[String], args: &[&str]) -> String {
    eventually(&format!("{args:?} through {}", node.name), || async {
        let output = detcdctl(&node.client_url(), flags, args);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        output.status.success().then_some(text)
    })
    .await
}

/// What detcdctl complains of when it cannot connect.
fn complaint(node: &Node, flags: &[String]) -> String {
    let args = ["--command-timeout=1s", "get", "k"];
    let output = detcdctl(&node.client_url(), flags, &args);
    assert!(!output.status.success(), "{flags:?}");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        text.ends_with("Error: context deadline exceeded\n"),
        "{text}"
    );
    text
}

async fn page(node: &Node, files: ClientFiles, path: &str) -> String {
    let tls = Arc::new(TlsClient::open(files).expect("good files"));
    let dialer = Dialer::within(WAIT_MAX).with_tls(Some(tls));
    let address = Address::of_url(&node.client_url()).expect("a URL");
    let dialed = dialer.speaking(Alpn::Http1).dial(&address).await;
    let mut stream = dialed.expect("a connection");
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    stream.flush().await.expect("sent");
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.expect("a reply");
    reply
}

#[tokio::test]
async fn members_and_clients_meet_over_mutual_tls() {
    let mut secured = secured(3, &["--peer-cert-allowed-cn=member"]);
    secured.start();
    let nodes = &secured.cluster.nodes;
    for (i, node) in nodes.iter().enumerate() {
        secured.put(node, &format!("k{i}"), &format!("v{i}")).await;
    }
    for i in 0..3 {
        let found = secured.get(&nodes[2 - i], &format!("k{i}")).await;
        assert_eq!(found, format!("v{i}\n"));
    }
    let health = page(&nodes[0], secured.files("client"), "/health").await;
    assert!(
        health.contains("200 OK") && health.contains("\"health\":\"true\""),
        "{health}"
    );
    let metrics = page(&nodes[0], secured.files("client"), "/metrics").await;
    let expiry = "detcd_tls_certificate_expiry_seconds{file=\"";
    assert_eq!(metrics.matches(expiry).count(), 2, "{metrics}");
    assert!(metrics.contains("detcd_tls_reload_failures_total 0\n"));
    nodes[0]
        .wait_for_log("serving client traffic securely")
        .await;

    // One more member joins over TLS, and gets what the others have.
    let i = secured.cluster.grow();
    secured.cluster.nodes[i].scheme = "https";
    let flags = secured.certificates.client("client");
    let url = format!("--peer-urls={}", secured.cluster.nodes[i].peer_url());
    let args = ["member", "add", "n4", &url];
    succeeds(&secured.cluster.nodes[0], &flags, &args).await;
    secured.cluster.join(i);
    let found = secured.get(&secured.cluster.nodes[i], "k2").await;
    assert_eq!(found, "v2\n");

    // A member whose certificate has another common name is not heard, and is told why.
    secured.cluster.nodes[i].kill();
    secured.certificates.sign("stranger", &secured.authority);
    let mut stranger = secured.cluster.nodes[i].own_flags();
    stranger.extend(secured.certificates.mutual("stranger"));
    secured.cluster.nodes[i].spawn(&stranger);
    let nodes = &secured.cluster.nodes;
    let refusal = "the common name of the certificate \\\"stranger\\\"";
    nodes[0].wait_for_log(refusal).await;
    secured.put(&nodes[1], "k9", "v9").await;
}

#[tokio::test]
async fn clients_that_are_refused_are_told_why_and_the_log_tells_whom() {
    let folder = tempfile::tempdir().expect("a folder");
    let list = folder.path().join("list.pem").display().to_string();
    let mut secured = secured(
        1,
        &[
            &format!("--client-crl-file={list}"),
            "--client-cert-allowed-hostname=localhost",
        ],
    );
    let Secured {
        certificates,
        authority,
        ..
    } = &secured;
    fs::write(&list, authority.revoke(&[77])).expect("a list");
    let other = Authority::new("other");
    certificates.write("other.pem", &other.pem);
    certificates.sign("foreign", &other);
    certificates.sign_with("old", authority, |it| {
        it.not_after = (SystemTime::now() - DAY).into();
    });
    certificates.sign_with("revoked", authority, |it| {
        it.serial_number = Some(77.into());
    });
    certificates.sign_with("elsewhere", authority, |it| {
        it.subject_alt_names.pop();
    });
    secured.start();
    let node = &secured.cluster.nodes[0];
    secured.put(node, "k", "v").await;

    let certificates = &secured.certificates;
    let told = [
        ("foreign", "UnknownCA", "unknown authority"),
        ("old", "CertificateExpired", "has expired"),
        ("revoked", "CertificateRevoked", "list.pem"),
        (
            "elsewhere",
            "CertificateUnknown",
            "does not name the host localhost",
        ),
    ];
    for (name, alert, logged) in told {
        let text = complaint(node, &certificates.client(name));
        assert!(
            text.contains(alert) && text.contains("--cert"),
            "{name}: {text}"
        );
        node.wait_for_log(logged).await;
    }
    let nothing = vec![format!("--cacert={}", certificates.path("ca.pem"))];
    let text = complaint(node, &nothing);
    assert!(text.contains("CertificateRequired"), "{text}");
    let mut flags = certificates.client("client");
    flags[0] = format!("--cacert={}", certificates.path("other.pem"));
    let text = complaint(node, &flags);
    assert!(
        text.contains("unknown authority") && text.contains("other.pem"),
        "{text}"
    );

    // A name that the certificate of the server lacks.
    let flags = certificates.client("client");
    let elsewhere = format!("https://127.0.0.2:{}", node.client_port);
    let output = detcdctl(&elsewhere, &flags, &["--command-timeout=1s", "get", "k"]);
    // 127.0.0.2 leads nowhere: the member listens on 127.0.0.1.
    assert!(!output.status.success());

    // A plain client is told so by the server, and by detcdctl.
    let plain = format!("http://127.0.0.1:{}", node.client_port);
    let output = detcdctl(&plain, &[], &["--command-timeout=1s", "get", "k"]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("it speaks TLS: use https://"), "{text}");
    let answer = crate::cluster::http_get(node.client_port, "/health").await;
    let (status, body) = answer.expect("an answer");
    assert_eq!(
        (status, &body[..]),
        (400, "Client sent an HTTP request to an HTTPS server.\n")
    );
    let metrics = page(node, secured.files("client"), "/metrics").await;
    assert!(metrics.contains("detcd_tls_handshakes_failed_total{port=\"client\"} "));
}

#[tokio::test]
async fn members_make_certificates_for_themselves() {
    let mut cluster = Cluster::new(2, &["--auto-tls", "--peer-auto-tls"]);
    for node in &mut cluster.nodes {
        node.scheme = "https";
    }
    (0..2).for_each(|i| cluster.start(i));
    let believe_all = ["--insecure-skip-tls-verify".to_owned()];
    let args = ["put", "k", "v"];
    assert_eq!(
        succeeds(&cluster.nodes[0], &believe_all, &args).await,
        "OK\n"
    );
    let fixtures = cluster.nodes[1].data_dir.join("fixtures");
    let cert = fixtures.join("client/cert.pem");
    let before = fs::read(&cert).expect("a certificate");
    let mode = |path| fs::metadata(path).expect("a file").permissions().mode() & 0o777;
    assert_eq!(mode(fixtures.join("client/key.pem")), 0o600);
    assert_eq!(mode(fixtures.join("peer/key.pem")), 0o600);
    // They stay, and are their own authorities.
    cluster.nodes[1].kill();
    cluster.restart(1);
    let authority = [format!("--cacert={}", cert.display())];
    let args = ["get", "k", "--print-value-only"];
    assert_eq!(succeeds(&cluster.nodes[1], &authority, &args).await, "v\n");
    assert_eq!(fs::read(&cert).expect("a certificate"), before);
}

#[tokio::test]
async fn a_port_that_is_listed_twice_serves_both_and_keys_are_warned_of() {
    let folder = tempfile::tempdir().expect("a folder");
    let certificates = Certificates::in_folder(folder.path());
    let authority = Authority::new("authority");
    certificates.write("ca.pem", &authority.pem);
    certificates.sign_with("member", &authority, |it| {
        it.not_after = (SystemTime::now() + 10 * DAY).into();
    });
    let key = certificates.path("member.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("our own file");
    let mut cluster = Cluster::new(1, &[]);
    let (plain, port) = (cluster.nodes[0].client_url(), cluster.nodes[0].client_port);
    let mut flags = cluster.flags(0);
    flags.retain(|flag| !flag.starts_with("--listen-client"));
    flags.extend([
        format!("--listen-client-urls={plain},https://127.0.0.1:{port}"),
        format!("--cert-file={}", certificates.path("member.pem")),
        format!("--key-file={key}"),
    ]);
    cluster.nodes[0].spawn(&flags);
    put_eventually(&cluster.nodes[0], "k", "v").await;
    cluster.nodes[0].scheme = "https";
    let authority = [format!("--cacert={}", certificates.path("ca.pem"))];
    let args = ["get", "k", "--print-value-only"];
    assert_eq!(succeeds(&cluster.nodes[0], &authority, &args).await, "v\n");
    let node = &cluster.nodes[0];
    node.wait_for_log("others than its owner may use the file of the private key")
        .await;
    node.wait_for_log("a certificate of the file ends soon: renew it")
        .await;
}

/// A channel of its own.
async fn connect(node: &Node, tls: &Arc<TlsClient>) -> Result<Channel, tonic::transport::Error> {
    let address = Address::of_url(&node.client_url()).expect("a URL");
    let endpoint = Endpoint::from_shared(format!("http://{}", address.authority()));
    let dialer = Dialer::within(WAIT_MAX).with_tls(Some(tls.clone()));
    let connector = Connector::new(dialer, address);
    let endpoint = endpoint.expect("a URL");
    endpoint.connect_with_connector(connector).await
}

fn write() -> pb::PutRequest {
    pb::PutRequest {
        key: "load".into(),
        value: "v".into(),
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_and_authorities_change_under_load_without_a_failed_call() {
    let mut secured = secured(3, &[]);
    secured.start();
    for node in &secured.cluster.nodes {
        secured.put(node, "k", "v").await;
    }
    let tls = Arc::new(TlsClient::open(secured.files("client")).expect("good files"));
    let (running, calls) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU64::new(0)));
    let mut loads = Vec::new();
    for node in &secured.cluster.nodes {
        // One connection for all calls, and then one for each.
        let kept = connect(node, &tls).await.expect("a connection");
        let (running, calls) = (running.clone(), calls.clone());
        loads.push(tokio::spawn(async move {
            while running.load(SeqCst) {
                let put = KvClient::new(kept.clone()).put(write()).await;
                put.expect("a put on a connection that stays");
                calls.fetch_add(1, SeqCst);
            }
        }));
    }
    let fresh = {
        let (running, calls, tls) = (running.clone(), calls.clone(), tls.clone());
        let nodes: Vec<String> = secured.cluster.nodes.iter().map(Node::client_url).collect();
        tokio::spawn(async move {
            for url in nodes.iter().cycle() {
                if !running.load(SeqCst) {
                    break;
                }
                let address = Address::of_url(url).expect("a URL");
                let endpoint = Endpoint::from_shared(format!("http://{}", address.authority()));
                let dialer = Dialer::within(WAIT_MAX).with_tls(Some(tls.clone()));
                let connector = Connector::new(dialer, address);
                let endpoint = endpoint.expect("a URL");
                let channel = endpoint.connect_with_connector(connector).await;
                let mut kv = KvClient::new(channel.expect("a new connection"));
                kv.put(write()).await.expect("a put on a new connection");
                calls.fetch_add(1, SeqCst);
            }
        })
    };
    loads.push(fresh);
    let more_calls = async || {
        let before = calls.load(SeqCst);
        eventually("calls after a change", || async {
            (calls.load(SeqCst) > before + 30).then_some(())
        })
        .await;
    };
    more_calls().await;

    // Both authorities are believed; then certificates are of the new one; then the old one goes.
    let renewed = Authority::new("renewed");
    let certificates = &secured.certificates;
    certificates.sign("old-client", &secured.authority);
    let both = format!("{}{}", secured.authority.pem, renewed.pem);
    certificates.write("ca.pem", &both);
    more_calls().await;
    for name in ["member", "client"] {
        certificates.sign(name, &renewed);
        more_calls().await;
    }
    certificates.write("ca.pem", &renewed.pem);
    more_calls().await;
    running.store(false, SeqCst);
    for load in loads {
        load.await.expect("no call failed");
    }
    // The old authority is not believed any more, also between members.
    let text = complaint(
        &secured.cluster.nodes[0],
        &certificates.client("old-client"),
    );
    assert!(text.contains("UnknownCA"), "{text}");
    secured.cluster.nodes[2].kill();
    secured.cluster.restart(2);
    assert_eq!(secured.get(&secured.cluster.nodes[2], "k").await, "v\n");
    let log = secured.cluster.nodes[2].log();
    assert!(!log.contains("cannot use changed TLS files"), "{log}");
}

#[tokio::test]
async fn a_plain_cluster_moves_to_tls_member_by_member() {
    let folder = tempfile::tempdir().expect("a folder");
    let certificates = Certificates::in_folder(folder.path());
    let authority = Authority::new("authority");
    certificates.write("ca.pem", &authority.pem);
    for name in ["member", "client"] {
        certificates.sign(name, &authority);
    }
    // The files are there from the start, and are not used by plain URLs.
    let mutual = certificates.mutual("member");
    let flags: Vec<&str> = mutual.iter().map(|flag| &flag[..]).collect();
    let mut cluster = Cluster::started(3, &flags).await;
    put_eventually(&cluster.nodes[0], "k", "v").await;
    let client = certificates.client("client");
    for i in 0..3 {
        let other = (i + 1) % 3;
        let members = succeeds(&cluster.nodes[other], &client, &["member", "list"]).await;
        let name = format!(" {},", cluster.nodes[i].name);
        let line = members.lines().find(|line| line.contains(&name));
        let id = line.and_then(|line| line.split(',').next());
        let id = id.expect("the member is listed").to_owned();
        cluster.nodes[i].stop().await;
        cluster.nodes[i].scheme = "https";
        let url = format!("--peer-urls={}", cluster.nodes[i].peer_url());
        succeeds(
            &cluster.nodes[other],
            &client,
            &["member", "update", &id, &url],
        )
        .await;
        cluster.restart(i);
        let key = format!("k{i}");
        succeeds(&cluster.nodes[i], &client, &["put", &key, "v"]).await;
        let args = ["get", &key, "--print-value-only"];
        assert_eq!(succeeds(&cluster.nodes[other], &client, &args).await, "v\n");
    }
    let members = succeeds(&cluster.nodes[0], &client, &["member", "list"]).await;
    assert!(!members.contains("http://"), "{members}");
    let text = complaint(&cluster.nodes[0], &client[..1]);
    assert!(text.contains("CertificateRequired"), "{text}");
}
