//! The page `/metrics`, whose names are an interface: dashboards and alerts read them.

use crate::cluster::{Cluster, Node, eventually, get, put};
use detcd_wire::etcdserverpb as pb;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

/// Every family that etcd 3.7 has: name, type, labels. Taken from its sources.
const ETCD: &str = include_str!("metrics-etcd.txt");
const EXPOSED: &str = "tests/process/metrics.txt";

/// What a page says of one family.
#[derive(Default)]
struct Family {
    kind: String,
    labels: BTreeSet<String>,
    /// The bounds of a histogram, in order.
    bounds: Vec<String>,
}

/// The families, and the value of each sample.
struct Page {
    families: BTreeMap<String, Family>,
    samples: BTreeMap<String, f64>,
}

impl Page {
    fn parse(text: &str) -> Page {
        let (mut families, mut samples) = (BTreeMap::<String, Family>::new(), BTreeMap::new());
        let mut current = String::new();
        for line in text.lines() {
            if let Some(typed) = line.strip_prefix("# TYPE ") {
                let (name, kind) = typed.split_once(' ').expect("a name and a type");
                current = name.to_owned();
                let known = families.entry(current.clone()).or_default();
                assert_eq!(known.kind, "", "{name} stands twice");
                known.kind = kind.to_owned();
            }
            if line.starts_with('#') {
                continue;
            }
            let (sample, value) = line.rsplit_once(' ').expect("a sample and its value");
            let value = value.parse().expect("a number");
            assert_eq!(samples.insert(sample.to_owned(), value), None, "{sample}");
            let family = families.get_mut(&current).expect("a type comes first");
            let labels = sample.split_once('{').map_or("", |(_, labels)| labels);
            for label in labels
                .trim_end_matches('}')
                .split(',')
                .filter(|it| !it.is_empty())
            {
                let (name, value) = label.split_once('=').expect("a label and its value");
                match name {
                    "le" => {
                        let bound = value.trim_matches('"').to_owned();
                        if !family.bounds.contains(&bound) {
                            family.bounds.push(bound);
                        }
                    }
                    name => {
                        family.labels.insert(name.to_owned());
                    }
                }
            }
        }
        Page { families, samples }
    }

    fn value(&self, sample: &str) -> f64 {
        *self
            .samples
            .get(sample)
            .unwrap_or_else(|| panic!("no {sample}"))
    }

    fn sum(&self, name: &str) -> f64 {
        let of = |sample: &&String| sample.split('{').next() == Some(name);
        self.samples
            .keys()
            .filter(of)
            .map(|it| self.samples[it])
            .sum()
    }
}

async fn page(node: &Node) -> Page {
    let (status, text) = eventually("the page", || node.get("/metrics")).await;
    assert_eq!(status, 200);
    Page::parse(&text)
}

#[tokio::test]
async fn names_types_labels_and_buckets_are_etcds() {
    let cluster = Cluster::started(3, &[]).await;
    let node = &cluster.nodes[0];
    put(&mut node.kv(), "a", "1").await.unwrap();
    assert_eq!(node.get("/readyz").await.map(|it| it.0), Some(200));
    let families = page(node).await.families;

    let etcd: BTreeMap<&str, (&str, BTreeSet<&str>)> = ETCD
        .lines()
        .map(|line| {
            let mut words = line.split(' ');
            let (name, kind) = (words.next().unwrap(), words.next().unwrap());
            (name, (kind, words.collect()))
        })
        .collect();
    let mut exposed = String::new();
    for (name, family) in &families {
        let labels: BTreeSet<&str> = family.labels.iter().map(String::as_str).collect();
        if name.starts_with("etcd_") {
            let same = etcd.get(name.as_str());
            assert_eq!(
                same,
                Some(&(family.kind.as_str(), labels.clone())),
                "{name}"
            );
        }
        write!(exposed, "{name} {}", family.kind).unwrap();
        labels
            .iter()
            .for_each(|label| write!(exposed, " {label}").unwrap());
        if let [first, .., last, _] = &family.bounds[..] {
            let count = family.bounds.len();
            write!(exposed, " {count} buckets {first}..{last}").unwrap();
        }
        exposed.push('\n');
    }
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(EXPOSED);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &exposed).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        exposed, golden,
        "UPDATE=1 rewrites {EXPOSED}; review the diff"
    );
}

#[tokio::test]
async fn what_members_do_is_counted() {
    let cluster = Cluster::started(3, &[]).await;
    let node = &cluster.nodes[0];
    let before = page(node).await;
    let mut kv = node.kv();
    for key in ["a", "b", "c"] {
        put(&mut kv, key, "value").await.unwrap();
    }
    assert_eq!(get(&mut kv, "a").await.unwrap().as_deref(), Some("value"));
    let after = page(node).await;
    let grown = |name: &str| after.value(name) - before.value(name);
    assert_eq!(grown("etcd_mvcc_put_total"), 3.0);
    assert_eq!(grown("etcd_debugging_mvcc_total_put_size_in_bytes"), 18.0);
    assert_eq!(grown("etcd_debugging_mvcc_current_revision"), 3.0);
    assert!(grown("etcd_mvcc_range_total") >= 1.0);
    assert!(grown("etcd_disk_wal_fsync_duration_seconds_count") >= 1.0);
    assert!(grown("etcd_disk_backend_commit_duration_seconds_count") >= 1.0);
    assert!(grown("etcd_disk_wal_write_bytes_total") > 15.0);
    assert_eq!(after.value("etcd_server_proposals_pending"), 0.0);
    let (total, in_use) = (
        after.value("etcd_mvcc_db_total_size_in_bytes"),
        after.value("etcd_mvcc_db_total_size_in_use_in_bytes"),
    );
    assert!(
        0.0 < in_use && in_use <= total && total < 1e6,
        "{in_use} of {total}"
    );
    // Every member applies every entry.
    for other in &cluster.nodes[1..] {
        let puts = after.value("etcd_mvcc_put_total");
        let counted = async || {
            let page = page(other).await;
            (page.value("etcd_mvcc_put_total") == puts).then_some(())
        };
        eventually("the puts on another member", counted).await;
    }
    let mut trips = 0.0;
    for node in &cluster.nodes {
        let page = page(node).await;
        trips += page.sum("etcd_network_peer_round_trip_time_seconds_count");
        let active = page.sum("etcd_network_active_peers");
        assert!((1.0..=2.0).contains(&active), "{active} peers");
        assert!(page.sum("etcd_network_peer_received_bytes_total") > 0.0);
        assert!(page.sum("etcd_network_peer_sent_bytes_total") > 0.0);
    }
    assert!(trips > 0.0, "the leader's heartbeats are answered");
}

/// The sum over a family's samples that have all of `labels`.
fn sum_of(page: &Page, name: &str, labels: &[String]) -> f64 {
    let of = |it: &&String| {
        it.split('{').next() == Some(name) && labels.iter().all(|label| it.contains(label))
    };
    page.samples
        .keys()
        .filter(of)
        .map(|it| page.samples[it])
        .sum()
}

/// The calls of `method` that have started and were not handled yet, as dashboards count them.
fn open(page: &Page, method: &str) -> f64 {
    let labels = [format!("grpc_method=\"{method}\"")];
    sum_of(page, "grpc_server_started_total", &labels)
        - sum_of(page, "grpc_server_handled_total", &labels)
}

/// Waits until one call of `method` has ended with `code`, and none is open.
async fn wait_for_handled(node: &Node, method: &str, code: &str) {
    let labels = [
        format!("grpc_method=\"{method}\""),
        format!("grpc_code=\"{code}\""),
    ];
    eventually(&format!("{method} that ended with {code}"), || async {
        let page = page(node).await;
        let handled = sum_of(&page, "grpc_server_handled_total", &labels);
        (handled == 1.0 && open(&page, method) == 0.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn calls_are_handled_when_they_end_and_with_the_code_of_their_end() {
    let mut cluster = Cluster::started(3, &[]).await;
    let node = &cluster.nodes[0];
    let create = pb::WatchRequest {
        request_union: Some(pb::watch_request::RequestUnion::CreateRequest(
            pb::WatchCreateRequest {
                key: "a".into(),
                ..Default::default()
            },
        )),
    };
    let (sender, requests) = tokio::sync::mpsc::channel(1);
    sender.send(create).await.unwrap();
    let requests = tokio_stream::wrappers::ReceiverStream::new(requests);
    let mut client = pb::watch_client::WatchClient::new(node.channel());
    let mut stream = client.watch(requests).await.unwrap().into_inner();
    assert!(stream.message().await.unwrap().unwrap().created);
    assert_eq!(open(&page(node).await, "Watch"), 1.0);
    drop((sender, stream));
    wait_for_handled(node, "Watch", "Canceled").await;

    // Without a quorum a put waits, and its client gives up.
    cluster.nodes[1].kill();
    cluster.nodes[2].kill();
    let node = &cluster.nodes[0];
    let mut kv = node.kv();
    let waiting = tokio::time::timeout(Duration::from_millis(300), put(&mut kv, "a", "1"));
    assert!(waiting.await.is_err(), "there is no quorum");
    wait_for_handled(node, "Put", "Canceled").await;
}

#[tokio::test]
async fn a_scraper_may_ask_for_the_head_alone() {
    let cluster = Cluster::started(1, &[]).await;
    let request = "HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
    let head = crate::abuse::answer(cluster.nodes[0].client_port, request).await;
    assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
    let (_, body) = head.split_once("\r\n\r\n").expect("an end of the head");
    assert_eq!(body, "");
}
