//! Members that find each other in a registry, and those that are left over and become proxies.

use crate::cluster::{Cluster, Node, eventually, http_call, put_eventually};
use crate::tools::{self, Tool};
use std::path::PathBuf;

/// A cluster of one whose v2 tree members meet in.
struct Registry {
    cluster: Cluster,
}

impl Registry {
    async fn started(program: PathBuf) -> Registry {
        let mut cluster = Cluster::of(program, 1, &["--enable-v2=true"]);
        cluster.start(0);
        cluster.wait_healthy().await;
        Registry { cluster }
    }

    async fn call(&self, method: &str, path: &str, form: &str) -> String {
        let port = self.cluster.nodes[0].client_port;
        let path = format!("/v2/keys/_etcd/registry/{path}");
        let answer = http_call(port, method, &path, form).await;
        answer.expect("an answer of the registry").1
    }

    async fn set_size(&self, token: &str, size: &str) {
        let form = format!("value={size}");
        let path = format!("{token}/_config/size");
        let answer = self.call("PUT", &path, &form).await;
        assert!(answer.contains("\"action\":\"set\""), "{answer}");
    }

    fn url(&self, token: &str) -> String {
        let url = self.cluster.nodes[0].client_url();
        format!("{url}/v2/keys/_etcd/registry/{token}")
    }
}

fn flags(node: &Node, url: &str) -> Vec<String> {
    let mut flags = node.own_flags();
    flags.push(format!("--initial-advertise-peer-urls={}", node.peer_url()));
    flags.push(format!("--discovery={url}"));
    flags.push("--log-format=capnslog".to_owned());
    flags
}

fn etcd(test: &str) -> Option<PathBuf> {
    tools::find(Tool::Etcd, test)
}

/// Any detcd is a registry for others.
fn detcd() -> PathBuf {
    env!("CARGO_BIN_EXE_detcd").into()
}

#[tokio::test]
async fn members_find_each_other_and_who_is_left_over_is_a_proxy() {
    let Some(etcd) = etcd("members_find_each_other_and_who_is_left_over_is_a_proxy") else {
        return;
    };
    check_members_and_proxy(etcd).await;
}

#[tokio::test]
async fn members_find_each_other_in_a_registry_of_detcd() {
    check_members_and_proxy(detcd()).await;
}

async fn check_members_and_proxy(registry: PathBuf) {
    let registry = Registry::started(registry).await;
    registry.set_size("test", "3").await;
    let url = registry.url("test");
    let mut cluster = Cluster::new(4, &[]);
    for node in &mut cluster.nodes[..2] {
        let flags = flags(node, &url);
        node.spawn(&flags);
    }
    for node in &cluster.nodes[..2] {
        node.wait_for_log("N | discovery: found 2 peer(s), waiting for 1 more")
            .await;
        assert!(!node.log().contains("starting member"), "{}", node.log());
    }
    let flags_of_third = flags(&cluster.nodes[2], &url);
    cluster.nodes[2].spawn(&flags_of_third);
    let listed = registry.call("GET", "test", "").await;
    for node in &cluster.nodes[..3] {
        node.wait_healthy().await;
        let id = node.status().await.unwrap().header.unwrap().member_id;
        let log = node.log();
        assert!(
            log.contains("N | discovery: found 3 needed peer(s)"),
            "{log}"
        );
        assert!(
            log.contains(&format!("found self {id:x} in the cluster")),
            "{log}"
        );
        assert!(log.contains(&format!("discovery URL= {url}")), "{log}");
        assert!(
            listed.contains(&format!("test/{id:x}\"")) || node.name == "n3",
            "{listed}"
        );
    }
    put_eventually(&cluster.nodes[0], "a", "1").await;

    let surplus = flags(&cluster.nodes[3], &url);
    cluster.nodes[3].spawn(&surplus);
    let mut clients: Vec<String> = cluster.nodes[..3].iter().map(Node::client_url).collect();
    clients.sort();
    let known = format!("{{\"endpoints\":[\"{}\"]}}\n", clients.join("\",\""));
    proxies(&cluster.nodes[3], &known).await;
    let log = cluster.nodes[3].log();
    for line in [
        "N | etcdmain: discovery cluster full, falling back to proxy",
        "N | etcdmain: proxy: this proxy supports v2 API only!",
        "I | etcdmain: proxy: using peer urls [http://",
        "I | etcdmain: v2 proxy started listening on client requests on \"http://",
        "I | proxy/httpproxy: endpoints found [\"http://",
    ] {
        assert!(log.contains(line), "{line:?} in {log}");
    }
    let data_dir = &cluster.nodes[3].data_dir;
    assert!(!data_dir.join("member").exists() && data_dir.join("proxy/cluster").exists());

    // It is a proxy again, whatever the registry says; and a member is a member.
    drop(registry);
    assert!(cluster.nodes[3].stop().await.0.success());
    cluster.nodes[3].spawn(&surplus);
    proxies(&cluster.nodes[3], &known).await;
    let log = cluster.nodes[3].log();
    assert!(
        log.contains("the server is already initialized as proxy before"),
        "{log}"
    );
    assert!(log.contains("] from cluster file \""), "{log}");
    cluster.nodes[0].kill();
    for _ in 0..3 {
        let answer = cluster.nodes[3].get("/version").await;
        assert_eq!(answer.expect("an answer of another member").0, 200);
    }
    let flags = flags(&cluster.nodes[0], &url);
    cluster.nodes[0].spawn(&flags);
    cluster.nodes[0].wait_healthy().await;
    let log = cluster.nodes[0].log();
    assert!(
        log.contains("discovery token ignored since a cluster has already been"),
        "{log}"
    );
}

/// Waits until the proxy knows the members and answers with what they answer.
async fn proxies(node: &Node, known: &str) {
    eventually("the endpoints of the proxy", || async {
        let (status, body) = node.get("/v2/config/local/proxy").await?;
        (status == 200 && body == known).then_some(())
    })
    .await;
    let (status, body) = node.get("/version").await.expect("an answer");
    assert!(status == 200 && body.contains("etcdserver"), "{body}");
}

#[tokio::test]
async fn what_no_cluster_can_be_found_by_ends_with_etcds_words() {
    let Some(etcd) = etcd("what_no_cluster_can_be_found_by_ends_with_etcds_words") else {
        return;
    };
    check_refusals(etcd).await;
}

#[tokio::test]
async fn what_a_registry_of_detcd_refuses_ends_with_etcds_words() {
    check_refusals(detcd()).await;
}

async fn check_refusals(registry: PathBuf) {
    let registry = Registry::started(registry).await;
    registry.set_size("bad", "abc").await;
    registry.set_size("full", "1").await;
    let taken = "value=z%3Dhttp%3A%2F%2F127.0.0.1%3A9";
    registry.call("PUT", "full/1234", taken).await;
    let mut cluster = Cluster::new(1, &[]);
    let node = &mut cluster.nodes[0];
    for (token, why) in [
        ("none", "(100: Key not found (/_etcd/registry/none)"),
        ("bad", "(discovery: size key is bad)"),
        ("full", "(discovery: cluster is full)"),
    ] {
        let url = registry.url(token);
        let mut flags = flags(node, &url);
        flags.push("--discovery-fallback=exit".to_owned());
        node.spawn(&flags);
        assert_eq!(node.wait().await.code(), Some(1));
        let log = node.log();
        let mut last = log.lines().rev().take(3).collect::<Vec<_>>();
        last.reverse();
        let wanted = [
            format!("E | etcdmain: failed to join discovery cluster {why}"),
            format!(
                "I | etcdmain: discovery token {url} was used, but failed to bootstrap the cluster."
            ),
            "I | etcdmain: please generate a new discovery token and try to bootstrap again."
                .to_owned(),
        ];
        for (line, wanted) in last.iter().zip(&wanted) {
            assert!(line.contains(wanted), "{wanted:?} in {line:?}");
        }
    }
}

/// In front of etcd.
#[tokio::test]
async fn a_proxy_sends_requests_of_the_v2_api_on() {
    let Some(etcd) = etcd("a_proxy_sends_requests_of_the_v2_api_on") else {
        return;
    };
    check_proxy(etcd).await;
}

#[tokio::test]
async fn a_proxy_sends_requests_on_to_detcd() {
    check_proxy(detcd()).await;
}

async fn check_proxy(program: PathBuf) {
    let registry = Registry::started(program).await;
    let member = &registry.cluster.nodes[0];
    let mut proxies = Cluster::new(2, &[]);
    for (node, mode) in proxies.nodes.iter_mut().zip(["on", "readonly"]) {
        let flags = [
            format!("--proxy={mode}"),
            format!("--data-dir={}", node.data_dir.display()),
            format!("--listen-client-urls={}", node.client_url()),
            format!("--initial-cluster=n1={}", member.peer_url()),
            "--proxy-failure-wait=100".to_owned(),
            "--proxy-read-timeout=30000".to_owned(),
        ];
        node.spawn(&flags);
        let known = format!("{{\"endpoints\":[\"{}\"]}}\n", member.client_url());
        self::proxies(node, &known).await;
    }
    let ports = [proxies.nodes[0].client_port, proxies.nodes[1].client_port];
    let key = "/v2/keys/pk";
    let put = http_call(ports[0], "PUT", key, "value=pv").await.unwrap();
    assert_eq!(put.0, 201, "{put:?}");
    let through = http_call(ports[1], "GET", key, "").await.unwrap();
    assert!(
        through.0 == 200 && through.1.contains("\"value\":\"pv\""),
        "{through:?}"
    );
    let refused = http_call(ports[1], "PUT", key, "value=x").await.unwrap();
    assert_eq!(refused, (501, String::new()));
    // A watcher gets its answer when there is one.
    let wait = http_call(ports[1], "GET", "/v2/keys/pk?wait=true", "");
    let wait = tokio::spawn(wait);
    let seen = eventually("an event", || async {
        let _ = http_call(ports[0], "PUT", key, "value=again").await;
        wait.is_finished().then_some(())
    });
    seen.await;
    let (status, body) = wait.await.unwrap().unwrap();
    assert!(status == 200 && body.contains("again"), "{body}");
    drop(registry);
    let gone = eventually("no member", || async {
        let (status, body) = http_call(ports[0], "GET", key, "").await?;
        [502, 503].contains(&status).then_some(body)
    });
    assert!(gone.await.starts_with("{\"message\":\"httpproxy: "));
}
