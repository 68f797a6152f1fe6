//! Frames on the peer port that no member sends. etcd's members speak another protocol, so that most
//! of this is run against detcd alone: what holds there and here is that the member lives.

use crate::cluster::{Cluster, Node, WAIT_MAX, eventually, http_get, put_eventually};
use crate::tools::{Tool, find};
use bytes::{BufMut, Bytes, BytesMut};
use detcd_peer::tonic::TonicTransport;
use detcd_peer::{Kind, Transport, TransportError};
use futures::stream::{self, StreamExt};
use std::time::Duration;
use tokio::net::TcpStream;

/// Short, so that a member that was lost would be missed at once.
const FAST: &[&str] = &["--heartbeat-interval=50", "--election-timeout=500"];

/// What anybody learns of a cluster from its client ports.
struct Known {
    cluster: u64,
    ids: Vec<u64>,
    /// The position of the leader.
    leader: usize,
    term: u64,
    last: u64,
}

async fn known(cluster: &Cluster) -> Known {
    eventually("a leader that all know", || async {
        let mut known = Known {
            cluster: 0,
            ids: Vec::new(),
            leader: 0,
            term: 0,
            last: 0,
        };
        let mut leader = 0;
        for node in &cluster.nodes {
            let status = node.status().await?;
            let header = status.header?;
            known.cluster = header.cluster_id;
            known.ids.push(header.member_id);
            leader = status.leader;
            known.term = status.raft_term;
            known.last = known.last.max(status.raft_index);
        }
        known.leader = known.ids.iter().position(|id| *id == leader)?;
        Some(known)
    })
    .await
}

/// Sends to every member under a name.
struct Forger(TonicTransport);

impl Forger {
    fn new(name: u64, cluster: &Cluster, known: &Known) -> Forger {
        let transport = TonicTransport::new(name, known.cluster);
        for (id, node) in known.ids.iter().zip(&cluster.nodes) {
            transport.set_peer(*id, vec![node.peer_url()]);
        }
        Forger(transport)
    }

    /// The refusal of what is sent.
    async fn refused(&self, to: u64, kind: Kind, body: Bytes) -> String {
        eventually(&format!("an answer of {to:x} to {kind:?}"), || {
            let call = self.0.call(to, kind, body.clone(), WAIT_MAX);
            async {
                match call.await {
                    Err(TransportError::Refused(_, reason)) => Some(reason),
                    Err(TransportError::Unreachable(..)) => None,
                    other => panic!("{kind:?} was not refused: {other:?}"),
                }
            }
        })
        .await
    }

    async fn refused_snapshot(&self, to: u64, chunks: Vec<Bytes>) -> String {
        let sent = self
            .0
            .stream(to, Kind::Snapshot, stream::iter(chunks).boxed())
            .await;
        match sent {
            Err(TransportError::Refused(_, reason)) => reason,
            other => panic!("a snapshot was not refused: {other:?}"),
        }
    }
}

fn put_vote(out: &mut BytesMut, term: u64, id: u64, is_elected: bool) {
    out.put_u64(term);
    out.put_u64(id);
    out.put_u8(u8::from(is_elected));
}

fn put_log_id(out: &mut BytesMut, term: u64, index: u64) {
    out.put_u8(1);
    out.put_u64(term);
    out.put_u64(index);
}

/// An append of member `from` as leader of `term`, after the entry at `last`.
fn append(from: u64, term: u64, last: (u64, u64), promised: u64, payloads: &[&[u8]]) -> Bytes {
    let mut out = BytesMut::new();
    out.put_u8(2);
    put_vote(&mut out, term, from, true);
    put_log_id(&mut out, last.0, last.1);
    put_log_id(&mut out, last.0, last.1);
    out.put_u64(promised);
    out.put_u32(payloads.len() as u32);
    if !payloads.is_empty() {
        out.put_u64(last.1 + 1);
    }
    for payload in payloads {
        out.put_u64(last.0);
        out.put_u32(payload.len() as u32);
        out.put_slice(payload);
    }
    out.freeze()
}

fn vote(from: u64, term: u64, last: (u64, u64)) -> Bytes {
    let mut out = BytesMut::new();
    out.put_u8(1);
    put_vote(&mut out, term, from, false);
    put_log_id(&mut out, last.0, last.1);
    out.put_u8(1);
    out.freeze()
}

fn proposal(origin: u64, command: &[u8]) -> Bytes {
    let mut out = BytesMut::new();
    out.put_u8(1);
    out.put_u32_le(1);
    out.put_u64_le(origin);
    out.put_u64_le(7);
    out.put_u32_le(command.len() as u32);
    out.put_slice(command);
    out.freeze()
}

/// A change that adds a member.
fn add(id: u64, url: &str) -> Bytes {
    let mut row = BytesMut::new();
    row.put_slice(&[1, 0, 1, url.len() as u8]);
    row.put_slice(url.as_bytes());
    row.put_slice(&[0, 0]);
    let mut out = BytesMut::new();
    out.put_slice(&[1, 1]);
    out.put_u64_le(id);
    out.put_u32_le(row.len() as u32);
    out.put_slice(&row);
    out.freeze()
}

/// The header of a snapshot with an empty membership, far beyond any log.
fn snapshot_header(from: u64, term: u64, index: u64) -> Bytes {
    let mut body = BytesMut::new();
    put_vote(&mut body, term, from, true);
    put_log_id(&mut body, term, index);
    put_log_id(&mut body, term, index);
    body.put_u64(0);
    let mut chunk = BytesMut::new();
    chunk.put_slice(&[1, 1]);
    chunk.put_u32(crc32c(&body));
    chunk.put_slice(&body);
    chunk.freeze()
}

/// The checksum that stands before a chunk, as the transport computes it.
fn crc32c(body: &[u8]) -> u32 {
    let sealed = detcd_peer::frame::seal(body);
    u32::from_be_bytes(sealed[..4].try_into().expect("four bytes"))
}

async fn assert_all_serve(cluster: &Cluster, round: &str) {
    for (i, node) in cluster.nodes.iter().enumerate() {
        put_eventually(node, &format!("{round}-{i}"), "1").await;
        let log = node.log();
        for word in ["panicked", "must be removed", "member halts"] {
            assert!(!log.contains(word), "{}: {word}\n{log}", node.name);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forged_frames_are_refused_and_every_member_lives() {
    let mut cluster = Cluster::started(3, FAST).await;
    assert_all_serve(&cluster, "before").await;
    let known = known(&cluster).await;
    let leader = known.ids[known.leader];
    let follower = known.ids[(known.leader + 1) % 3];
    let last = (known.term, known.last);
    // In the leader's name, in a follower's, and in one that nobody has.
    let as_leader = Forger::new(leader, &cluster, &known);
    let as_follower = Forger::new(follower, &cluster, &known);
    let as_stranger = Forger::new(77, &cluster, &known);

    for command in [&b"\xff garbage"[..], b"", b"\x01\x01\x00\x00\x00\x00"] {
        let body = proposal(follower, command);
        as_follower.refused(leader, Kind::Propose, body).await;
    }
    // A good command, in another member's name.
    let put = b"\x01\x01\x00\x00\x01k\x01v";
    let body = proposal(known.ids[(known.leader + 2) % 3], put);
    as_follower.refused(leader, Kind::Propose, body).await;
    for (id, url) in [(0, "x y z"), (9, "x y z"), (0, "http://127.0.0.1:1")] {
        as_follower
            .refused(leader, Kind::Members, add(id, url))
            .await;
    }
    for kind in [
        Kind::Propose,
        Kind::ReadIndex,
        Kind::Lease,
        Kind::Members,
        Kind::Greeting,
    ] {
        as_stranger.refused(leader, kind, proposal(77, put)).await;
    }
    for term in [u64::MAX, u64::MAX - 1, 1 << 62] {
        for to in &known.ids {
            let append = append(leader, term, last, 0, &[]);
            as_leader.refused(*to, Kind::AppendEntries, append).await;
            let last = (term - 1, u64::MAX);
            for kind in [Kind::Vote, Kind::PreVote] {
                as_leader.refused(*to, kind, vote(leader, term, last)).await;
            }
        }
    }
    let followers = known.ids.iter().filter(|id| **id != leader);
    for to in followers {
        let promised = append(leader, known.term, last, 1 << 40, &[]);
        as_leader.refused(*to, Kind::AppendEntries, promised).await;
        for payload in [
            &b"\xff garbage"[..],
            b"\x01 garbage",
            b"\xf1\0\0\0\0\0\0\0\0",
        ] {
            let body = append(leader, known.term, last, 0, &[payload]);
            as_leader.refused(*to, Kind::AppendEntries, body).await;
        }
        let header = snapshot_header(leader, known.term, known.last + 10);
        as_leader.refused_snapshot(*to, vec![header]).await;
    }
    // In the name of its receiver.
    let entries = append(leader, known.term, last, 0, &[b"\xf0", b"\xf0"]);
    as_leader
        .refused(leader, Kind::AppendEntries, entries.clone())
        .await;
    as_follower
        .refused(leader, Kind::AppendEntries, entries)
        .await;

    assert_all_serve(&cluster, "after").await;
    for i in 0..3 {
        let (status, _) = cluster.nodes[i].stop().await;
        assert!(status.success(), "{status}");
        cluster.restart(i);
    }
    cluster.wait_healthy().await;
    assert_all_serve(&cluster, "restarted").await;
    let log = &cluster.nodes[known.leader].log();
    let lines = log.matches("refused a message of a peer").count();
    assert!((1..10).contains(&lines), "{lines} lines\n{log}");
}

async fn resident_bytes(node: &Node) -> u64 {
    let (_, page) = http_get(node.client_port, "/metrics").await.unwrap();
    let line = page
        .lines()
        .find(|line| line.starts_with("process_resident_memory_bytes "));
    let value = line.and_then(|line| line.split(' ').nth(1));
    value.unwrap().parse::<f64>().unwrap() as u64
}

/// The head of a request to the peer port.
fn request(node: &Node, known: &Known, cluster: u64) -> http::Request<()> {
    http::Request::post(format!("{}/detcd.Peer/Calls", node.peer_url()))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("detcd-cluster-id", format!("{cluster:x}"))
        .header("detcd-from", "1")
        .header("detcd-to", format!("{:x}", known.ids[0]))
        .header(
            "detcd-protocol",
            detcd_peer::frame::PROTOCOL_VERSION.to_string(),
        )
        .body(())
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_announced_and_not_sent_costs_no_memory() {
    // The port has room for 256.
    const CONNECTIONS: usize = 200;
    let cluster = Cluster::started(1, FAST).await;
    let node = &cluster.nodes[0];
    put_eventually(node, "a", "1").await;
    let known = known(&cluster).await;
    let before = resident_bytes(node).await;
    let mut held = Vec::new();
    for _ in 0..CONNECTIONS {
        let socket = TcpStream::connect(("127.0.0.1", node.peer_port)).await;
        let (mut requests, connection) = h2::client::handshake(socket.unwrap()).await.unwrap();
        let connection = tokio::spawn(connection);
        let (response, mut body) = requests
            .send_request(request(node, &known, known.cluster), false)
            .unwrap();
        // A message of 128 MiB begins.
        let begin = Bytes::from_static(&[0, 0x08, 0, 0, 0, 1, 2, 3]);
        body.send_data(begin, false).unwrap();
        // The head of the answer says that the call is under way.
        let response = tokio::time::timeout(Duration::from_secs(20), response).await;
        response.expect("an answer").unwrap();
        held.push((requests, body, connection));
    }
    put_eventually(node, "a", "2").await;
    let grown = resident_bytes(node).await.saturating_sub(before);
    eprintln!("{CONNECTIONS} announcements: {} KiB", grown / 1024);
    assert!(grown < 100 << 20, "{grown} bytes");
    for (_, _, connection) in held {
        connection.abort();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_are_counted_and_not_written() {
    const REFUSED: usize = 5_000;
    let cluster = Cluster::started(1, FAST).await;
    let node = &cluster.nodes[0];
    let known = known(&cluster).await;
    let before = node.log().len();
    let socket = TcpStream::connect(("127.0.0.1", node.peer_port)).await;
    let (requests, connection) = h2::client::handshake(socket.unwrap()).await.unwrap();
    let connection = tokio::spawn(connection);
    let mut requests = requests;
    for _ in 0..REFUSED {
        requests = requests.ready().await.unwrap();
        let foreign = request(node, &known, known.cluster ^ 1);
        let (response, _) = requests.send_request(foreign, true).unwrap();
        let response = tokio::time::timeout(Duration::from_secs(20), response).await;
        let status = &response.unwrap().unwrap().headers()["grpc-status"].clone();
        assert_eq!(status, "9", "a failed precondition");
    }
    connection.abort();
    put_eventually(node, "a", "1").await;
    let written = node.log().len() - before;
    eprintln!("{REFUSED} refusals: {written} bytes of log");
    assert!(written < 8 * 1024, "{}", node.log());
    assert!(
        node.log().contains("refused a connection of a peer"),
        "{}",
        node.log()
    );
}

/// etcd's frames are HTTP requests: those of nobody that it knows are refused, with a line each.
#[tokio::test]
async fn etcd_writes_a_line_for_each_refused_request_of_a_peer() {
    const REFUSED: usize = 100;
    let test = "etcd_writes_a_line_for_each_refused_request_of_a_peer";
    let Some(etcd) = find(Tool::Etcd, test) else {
        return;
    };
    let mut cluster = Cluster::of(etcd, 1, FAST);
    cluster.start(0);
    cluster.wait_healthy().await;
    let node = &cluster.nodes[0];
    let before = node.log();
    // At once: it takes half a second to close each connection.
    let asked = (0..REFUSED).map(|_| http_get(node.peer_port, "/raft/stream/message/1"));
    for answer in futures::future::join_all(asked).await {
        assert_eq!(answer.map(|(status, _)| status), Some(412));
    }
    put_eventually(node, "a", "1").await;
    let written = node.log();
    let lines = written.lines().count() - before.lines().count();
    let bytes = (written.len() - before.len()) / REFUSED;
    eprintln!("{REFUSED} refusals: {lines} lines, {bytes} bytes for each");
    assert!(lines >= REFUSED, "{lines} lines");
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// The bytes with some of them changed, cut off or added.
    fn change(&mut self, bytes: &[u8]) -> Bytes {
        let mut out = bytes.to_vec();
        for _ in 0..=self.below(3) {
            let at = self.below(out.len() + 1);
            match self.below(4) {
                0 if at < out.len() => out[at] ^= 1 << self.below(8),
                1 => out.truncate(at),
                2 => out.extend_from_slice(&self.next().to_be_bytes()),
                _ => {
                    let end = out.len().min(at + 8);
                    let fill = [0, 0xff, 0x80][self.below(3)];
                    out[at..end].fill(fill);
                }
            }
        }
        out.into()
    }
}

fn number(variable: &str, default: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => text.parse().expect("a number"),
        Err(_) => default,
    }
}

/// Frames that are right but for their sender, changed at random. `DETCD_FUZZ_SEED` and
/// `DETCD_FUZZ_FRAMES` choose others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_frame_ends_a_member_or_costs_the_quorum() {
    let seed = number("DETCD_FUZZ_SEED", 1);
    let count = number("DETCD_FUZZ_FRAMES", 3_000);
    eprintln!("DETCD_FUZZ_SEED={seed} DETCD_FUZZ_FRAMES={count}");
    let cluster = Cluster::started(3, FAST).await;
    assert_all_serve(&cluster, "before").await;
    let known = known(&cluster).await;
    let before = resident_bytes(&cluster.nodes[known.leader]).await;
    let [named, follower] = [1, 2].map(|n| known.ids[(known.leader + n) % 3]);
    let forger = Forger::new(follower, &cluster, &known);
    let last = (known.term, known.last);
    let payload: &[u8] = b"\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x07\x01\x01\x00\x00\x01k\x01v";
    let frames = [
        (
            Kind::AppendEntries,
            append(named, known.term + 1, last, 0, &[payload, b"\xf0"]),
        ),
        (Kind::AppendEntries, append(named, known.term, last, 9, &[])),
        (Kind::Vote, vote(named, known.term + 1, last)),
        (Kind::PreVote, vote(named, known.term + 1, last)),
        (Kind::TransferLeader, vote(named, known.term, last)),
        (Kind::Acknowledged, vote(named, known.term, last)),
        (Kind::Propose, proposal(named, &payload[17..])),
        (Kind::Members, add(0, "x y z")),
        (Kind::ReadIndex, Bytes::new()),
        (Kind::Lease, Bytes::from_static(b"\x01\0\0\0\0\0\0\0\0\x01")),
        (Kind::Greeting, Bytes::from_static(b"\x02\0\0\0\0\0\0\0\0")),
    ];
    let mut random = Random(seed);
    let mut under_way = futures::stream::FuturesUnordered::new();
    for _ in 0..count {
        let (kind, body) = &frames[random.below(frames.len())];
        let to = known.ids[random.below(3)];
        let body = random.change(body);
        under_way.push(forger.0.call(to, *kind, body, Duration::from_secs(2)));
        while under_way.len() >= 64 {
            // Any answer will do.
            under_way.next().await;
        }
    }
    while under_way.next().await.is_some() {}
    assert_all_serve(&cluster, "after").await;
    let leader = &cluster.nodes[known.leader];
    let grown = resident_bytes(leader).await.saturating_sub(before);
    eprintln!("{count} frames: {} KiB", grown / 1024);
    assert!(grown < 100 << 20, "{grown} bytes");
    assert!(leader.log().len() < 256 * 1024, "{}", leader.log().len());
}
