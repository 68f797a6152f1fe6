//! Who gets in, and where: learners, address families, names, and the URLs of members.

use crate::cluster::{Cluster, eventually, http_get, put_eventually, read};
use crate::tools::{self, Tool};
use detcd_service::{METHODS, Rpc};
use detcd_wire::etcdserverpb as pb;
use pb::cluster_client::ClusterClient;
use std::net::{IpAddr, SocketAddr, TcpListener, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic::{Code, Request};

/// detcd and, where it is, etcd.
fn programs(test: &str) -> Vec<PathBuf> {
    let detcd = Some(env!("CARGO_BIN_EXE_detcd").into());
    let programs = [detcd, tools::find(Tool::Etcd, test)];
    programs.into_iter().flatten().collect()
}

/// Adds the member at `i`, of which the cluster knows nothing yet.
async fn add(cluster: &Cluster, urls: &[&str], is_learner: bool) -> pb::Member {
    let urls: Vec<String> = urls.iter().map(|url| url.to_string()).collect();
    // A member that has just started may not count as healthy yet.
    eventually("a member is added", || async {
        let mut client = ClusterClient::new(cluster.nodes[0].channel());
        let request = pb::MemberAddRequest {
            peer_urls: urls.clone(),
            is_learner,
        };
        client.member_add(request).await.ok()?.into_inner().member
    })
    .await
}

/// A member and its learner, which serves.
async fn with_learner(program: &Path) -> Cluster {
    let mut cluster = Cluster::of(program.to_owned(), 1, &[]);
    cluster.start(0);
    cluster.wait_healthy().await;
    put_eventually(&cluster.nodes[0], "a", "1").await;
    let i = cluster.grow();
    let url = cluster.nodes[i].peer_url();
    add(&cluster, &[&url], true).await;
    cluster.join(i);
    let kv = cluster.nodes[i].kv();
    eventually("the learner has what was written", || {
        let mut kv = kv.clone();
        async move { read(&mut kv, "a", true).await.ok().flatten() }
    })
    .await;
    cluster
}

/// What a call without any content is answered: nothing, or a code and words.
async fn answer(channel: &Channel, path: &'static str, streams: bool) -> (Code, String) {
    // A message without fields, which takes any answer.
    let codec = tonic_prost::ProstCodec::<(), ()>::default();
    let mut grpc = tonic::client::Grpc::new(channel.clone());
    grpc.ready().await.expect("the member is there");
    let path = PathAndQuery::from_static(path);
    let answer = if streams {
        let none = tokio_stream::iter([()]);
        let answered = grpc.streaming(Request::new(none), path, codec).await;
        match answered {
            Ok(answers) => answers.into_inner().message().await.map(|_| ()),
            Err(status) => Err(status),
        }
    } else {
        grpc.unary(Request::new(()), path, codec).await.map(|_| ())
    };
    match answer {
        Ok(()) => (Code::Ok, String::new()),
        Err(status) => (status.code(), status.message().to_owned()),
    }
}

/// The methods of which etcd 3.5 answers a learner's clients as we do, and one that nobody has:
/// paths, and whether they stream.
fn methods() -> Vec<(&'static str, bool)> {
    let etcds = METHODS.iter().filter(|method| {
        // 3.5 does not have the first, and we do not have the second yet.
        let differs = matches!(method.rpc, Rpc::RangeStream | Rpc::Snapshot);
        !differs && !method.service.starts_with("grpc.reflection.")
    });
    let mut methods: Vec<_> = etcds.map(|it| (it.path, it.streams())).collect();
    methods.push(("/etcdserverpb.KV/Nothing", false));
    methods
}

#[tokio::test]
async fn a_learner_answers_what_etcds_answers() {
    let mut told = Vec::new();
    for program in programs("a learner answers what etcd's answers") {
        let cluster = with_learner(&program).await;
        let learner = &cluster.nodes[1];
        let mut answers = Vec::new();
        let channel = learner.channel();
        for (path, streams) in methods() {
            answers.push((path, answer(&channel, path, streams).await));
        }
        let refused = (
            Code::Unavailable,
            "etcdserver: rpc not supported for learner".to_owned(),
        );
        let served: Vec<_> = answers.iter().filter(|(_, it)| *it != refused).collect();
        let paths: Vec<&str> = served.iter().map(|(path, _)| *path).collect();
        let status = "/etcdserverpb.Maintenance/Status";
        assert_eq!(paths, [status, "/etcdserverpb.KV/Nothing"], "{served:?}");
        // A learner asks the leader, as any member does.
        let (health, _) = learner.get("/health").await.expect("an answer");
        assert_eq!(health, 200, "{program:?}");
        told.push(answers);
    }
    assert!(told.windows(2).all(|pair| pair[0] == pair[1]), "{told:?}");
}

/// A client goes on to the next endpoint when a learner refuses.
#[tokio::test]
async fn a_learner_among_the_endpoints_keeps_no_client_out() {
    let test = "a learner among the endpoints";
    let Some(etcdctl) = tools::find(Tool::Etcdctl, test) else {
        return;
    };
    for program in programs(test) {
        let cluster = with_learner(&program).await;
        let [member, learner] = &cluster.nodes[..] else {
            unreachable!("two members");
        };
        let endpoints = format!("{},{}", learner.client_url(), member.client_url());
        for _ in 0..6 {
            let output = Command::new(&etcdctl)
                .args(["--endpoints", &endpoints, "get", "a", "--print-value-only"])
                .env("ETCDCTL_API", "3")
                .output()
                .expect("etcdctl starts");
            assert_eq!(output.stdout, b"1\n", "{program:?}: {output:?}");
        }
    }
}

/// The flags of a single member, of which some are given.
fn flags(cluster: &Cluster, changed: &[(&str, String)]) -> Vec<String> {
    let mut flags = cluster.flags(0);
    for (name, value) in changed {
        flags.retain(|flag| !flag.starts_with(&format!("--{name}=")));
        flags.push(format!("--{name}={value}"));
    }
    flags
}

/// Which of a port's addresses answer, in both families.
async fn families(port: u16) -> (bool, bool) {
    let v4 = http_get(port, "/version").await.is_some();
    let v6 = SocketAddr::new(IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]), port);
    (v4, tokio::net::TcpStream::connect(v6).await.is_ok())
}

#[tokio::test]
async fn listeners_serve_the_families_that_gos_serve() {
    if TcpListener::bind("[::1]:0").is_err() {
        eprintln!("NOT RUN: this machine has no IPv6");
        return;
    }
    for (host, served) in [
        ("0.0.0.0", (true, true)),
        ("[::]", (true, true)),
        ("127.0.0.1", (true, false)),
        ("[::1]", (false, true)),
        ("localhost", (true, false)),
    ] {
        for program in programs("listeners serve the families that Go's serve") {
            let mut cluster = Cluster::of(program.clone(), 1, &[]);
            let (client, peer) = {
                let node = &cluster.nodes[0];
                (node.client_port, node.peer_port)
            };
            let flags = flags(
                &cluster,
                &[
                    ("listen-client-urls", format!("http://{host}:{client}")),
                    ("listen-peer-urls", format!("http://{host}:{peer}")),
                ],
            );
            cluster.nodes[0].spawn(&flags);
            cluster.nodes[0]
                .wait_for_log("ready to serve client requests")
                .await;
            for port in [client, peer] {
                eventually("the families are served", || async {
                    (families(port).await == served).then_some(())
                })
                .await;
            }
        }
    }
}

/// A name of this machine other than localhost, and the address that it resolves to first.
fn named() -> Option<(String, IpAddr)> {
    let hosts = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
    let own = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let names = hosts
        .lines()
        .flat_map(|line| line.split_whitespace().skip(1));
    let names = std::iter::once(own.trim()).chain(names);
    let found = names
        .filter(|name| !name.contains("localhost"))
        .find_map(|name| {
            let address = (name, 0).to_socket_addrs().ok()?.next()?;
            TcpListener::bind(address).ok()?;
            Some((name.to_owned(), address.ip()))
        });
    if found.is_none() {
        eprintln!("NOT RUN: this machine has no name that resolves to itself");
    }
    found
}

fn url(ip: IpAddr, port: u16) -> String {
    format!("http://{}", SocketAddr::new(ip, port))
}

/// How a first start with these peer URLs goes: `None` if the member serves.
async fn started(program: &Path, advertised: &str, cluster_url: &str) -> Option<String> {
    let mut cluster = Cluster::of(program.to_owned(), 1, &[]);
    let port = cluster.nodes[0].peer_port.to_string();
    let fill = |text: &str| text.replace("PORT", &port);
    let members: Vec<String> = fill(cluster_url)
        .split(',')
        .map(|url| format!("n1={url}"))
        .collect();
    let flags = flags(
        &cluster,
        &[
            ("initial-advertise-peer-urls", fill(advertised)),
            ("initial-cluster", members.join(",")),
        ],
    );
    cluster.nodes[0].spawn(&flags);
    let node = &cluster.nodes[0];
    eventually("a start or its end", || async {
        let log = node.log();
        if log.contains("ready to serve client requests") {
            return Some(None);
        }
        let refusals = [
            "\"--initial-cluster has",
            "\"--initial-advertise-peer-urls has",
        ];
        let end = refusals.iter().find_map(|words| log.find(words))?;
        let words = log[end..].split("))").next()?;
        Some(Some(words.replace("\\\"", "\"").replace(&port, "PORT")))
    })
    .await
}

#[tokio::test]
async fn names_are_compared_by_what_they_resolve_to() {
    let Some((name, ip)) = named() else { return };
    let ip = match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    };
    let (by_name, by_ip) = (format!("http://{name}:PORT"), format!("http://{ip}:PORT"));
    let other = "http://127.0.0.7:PORT";
    for (advertised, cluster_url, starts) in [
        (by_name.clone(), by_ip.clone(), true),
        (by_ip.clone(), by_name.clone(), true),
        (by_name.clone(), by_name.clone(), true),
        (
            format!("{other},{by_name}"),
            format!("{by_ip},{other}"),
            true,
        ),
        (by_ip.replace("http", "HTTP"), by_ip.clone(), true),
        (by_ip.clone(), by_ip.replace("http", "HTTP"), true),
        (by_name.clone(), other.to_owned(), false),
        // It is never resolved.
        (
            "http://localhost:PORT".to_owned(),
            "http://127.0.0.1:PORT".to_owned(),
            false,
        ),
    ] {
        let mut ends = Vec::new();
        for program in programs("names are compared by what they resolve to") {
            let end = started(&program, &advertised, &cluster_url).await;
            assert_eq!(end.is_none(), starts, "{program:?}, {advertised}: {end:?}");
            ends.push(end);
        }
        assert!(ends.windows(2).all(|pair| pair[0] == pair[1]), "{ends:?}");
    }
}

/// The cluster was told addresses, and the member that joins names; what it advertises is not asked.
#[tokio::test]
async fn a_member_joins_by_names_that_resolve_to_what_the_cluster_knows() {
    let Some((name, ip)) = named() else { return };
    for program in programs("a member joins by names") {
        let mut cluster = Cluster::of(program, 1, &[]);
        let i = cluster.grow();
        let ports = [cluster.nodes[0].peer_port, cluster.nodes[i].peer_port];
        let urls = ports.map(|port| url(ip, port));
        let first = flags(
            &cluster,
            &[
                ("listen-peer-urls", urls[0].clone()),
                ("initial-advertise-peer-urls", urls[0].clone()),
                ("initial-cluster", format!("n1={}", urls[0])),
            ],
        );
        cluster.nodes[0].spawn(&first);
        cluster.nodes[0].wait_healthy().await;
        add(&cluster, &[&urls[1]], true).await;
        let named = ports.map(|port| format!("http://{name}:{port}"));
        let mut flags = cluster.nodes[i].own_flags();
        flags.retain(|flag| !flag.starts_with("--listen-peer-urls"));
        flags.extend([
            format!("--listen-peer-urls={}", urls[1]),
            "--initial-advertise-peer-urls=http://127.0.0.7:1".to_owned(),
            format!("--initial-cluster=n1={},n2={}", named[0], named[1]),
            "--initial-cluster-state=existing".to_owned(),
        ]);
        cluster.nodes[i].spawn(&flags);
        cluster.nodes[i].wait_healthy().await;
    }
}

/// etcdctl sends the URLs as they were given.
#[tokio::test]
async fn peer_urls_are_trimmed_sorted_and_shown_as_go_shows_them() {
    for program in programs("peer URLs are trimmed, sorted and shown as Go shows them") {
        let mut cluster = Cluster::of(program.clone(), 1, &[]);
        cluster.start(0);
        cluster.wait_healthy().await;
        let urls = [
            "http://a:2",
            " http://a:1\t",
            "HTTP://A:1",
            "http://a:1?x=1",
        ];
        let member = add(&cluster, &urls, true).await;
        let shown = ["http://A:1", "http://a:1", "http://a:1?x=1", "http://a:2"];
        assert_eq!(member.peer_urls, shown, "{program:?}");
        for bad in [
            "http://a:1/",
            "http://a",
            "http://a:b",
            "a:1",
            "http://a b:1",
            "http://a:1,http://a:2",
            "",
        ] {
            let mut client = ClusterClient::new(cluster.nodes[0].channel());
            let request = pb::MemberAddRequest {
                peer_urls: vec![bad.to_owned()],
                is_learner: true,
            };
            let status = client.member_add(request).await.expect_err("it is refused");
            let words = "etcdserver: given member URLs are invalid";
            let told = (status.code(), status.message());
            assert_eq!(told, (Code::InvalidArgument, words), "{program:?}: {bad}");
        }
    }
}
