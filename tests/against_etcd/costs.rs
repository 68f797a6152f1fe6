//! A few bytes from a client that are to cost the member little memory and time.

use crate::cluster::{Cluster, Node, WAIT_MAX, eventually, put};
use crate::http2::{PUT, Raw, block, field, frame, headers, message, prefixed, put_head};
use crate::tools::{Tool, find};
use detcd_wire::etcdserverpb as pb;
use pb::request_op::Request as Op;
use std::time::Duration;
use tonic::metadata::AsciiMetadataValue;

const DATA: u8 = 0;
const MIB: u64 = 1024 * 1024;

/// What the member holds in memory, as it says.
async fn resident(node: &Node) -> u64 {
    let page = eventually("metrics", || node.get("/metrics")).await.1;
    let line = page
        .lines()
        .find_map(|line| line.strip_prefix("process_resident_memory_bytes "));
    let value: f64 = line.expect("it is measured").parse().expect("a number");
    value as u64
}

/// detcd's growth of memory under `attack`, and etcd's if it is there.
async fn growths(test: &str, attack: impl AsyncFn(&Node)) -> (u64, Option<u64>) {
    let mut growths = Vec::new();
    let programs = [
        Some(env!("CARGO_BIN_EXE_detcd").into()),
        find(Tool::Etcd, test),
    ];
    for program in programs.into_iter().flatten() {
        let mut cluster = Cluster::of(program, 1, &[]);
        cluster.start(0);
        cluster.wait_healthy().await;
        let node = &cluster.nodes[0];
        put(&mut node.kv(), "a", "1").await.unwrap();
        let before = resident(node).await;
        attack(node).await;
        growths.push(resident(node).await.saturating_sub(before));
        // Others are served as ever.
        let served = tokio::time::timeout(Duration::from_secs(10), async {
            put(&mut node.kv(), "a", "2").await
        });
        served.await.expect("in time").expect("it serves");
    }
    let mib: Vec<u64> = growths.iter().map(|bytes| bytes / MIB).collect();
    eprintln!("grown by {mib:?} MiB (detcd, etcd)");
    (growths[0], growths.get(1).copied())
}

/// Sends `words`, and waits until all was looked at: a call that comes last is answered.
async fn sent(node: &Node, mut words: Vec<u8>, last: u32) -> Raw {
    let mut raw = Raw::connect(node).await;
    words.extend(headers(last, &block(&put_head())));
    words.extend(message(last, PUT));
    let end = async {
        raw.send(&words).await;
        raw.end(last).await;
        raw
    };
    let end = tokio::time::timeout(WAIT_MAX, end).await;
    end.expect("the last call ends")
}

#[tokio::test]
async fn a_promised_message_takes_no_memory_before_it_comes() {
    const STREAMS: u32 = 4000;
    let test = "a_promised_message_takes_no_memory_before_it_comes";
    let attack = async |node: &Node| {
        let head = block(&put_head());
        let promise = [&[0][..], &2_000_000_u32.to_be_bytes()].concat();
        let stream = |i: u32| {
            [
                headers(2 * i + 1, &head),
                frame(DATA, 0, 2 * i + 1, &promise),
            ]
        };
        let words = (0..STREAMS).flat_map(stream).flatten().collect();
        let raw = sent(node, words, 2 * STREAMS + 1).await;
        // Before the connection ends, what it holds is measured.
        resident(node).await;
        std::mem::forget(raw);
    };
    let (detcd, etcd) = growths(test, attack).await;
    assert!(detcd < 150 * MIB, "{} MiB", detcd / MIB);
    assert!(etcd.is_none_or(|etcd| detcd <= etcd), "{detcd} {etcd:?}");
}

/// A byte of a block stands for a field of the table, so 400 kB are a list of 14 MB.
#[tokio::test]
async fn the_heads_of_a_connection_are_bounded_together() {
    const STREAMS: u32 = 40;
    const FIELDS: usize = 380_000;
    let test = "the_heads_of_a_connection_are_bounded_together";
    let attack = async |node: &Node| {
        let mut words = Vec::new();
        let begin = [block(&put_head()), field(0x40, b"a", b"b")].concat();
        let bomb = [begin, vec![0x80 | 62; FIELDS]].concat();
        for i in 0..STREAMS {
            let mut pieces = bomb.chunks(16_000).peekable();
            let mut kind = 1;
            while let Some(piece) = pieces.next() {
                let flags = if pieces.peek().is_none() { 0x4 } else { 0 };
                words.extend(frame(kind, flags, 2 * i + 1, piece));
                kind = 9;
            }
            words.extend(frame(DATA, 0, 2 * i + 1, &[0]));
        }
        let raw = sent(node, words, 2 * STREAMS + 1).await;
        resident(node).await;
        std::mem::forget(raw);
    };
    let (detcd, etcd) = growths(test, attack).await;
    assert!(detcd < 300 * MIB, "{} MiB", detcd / MIB);
    assert!(etcd.is_none_or(|etcd| detcd <= etcd), "{detcd} {etcd:?}");
}

#[tokio::test]
async fn metadata_of_a_mebibyte_is_taken_many_times() {
    let cluster = Cluster::started(1, &[]).await;
    let mut kv = cluster.nodes[0].kv();
    for _ in 0..20 {
        let mut request = tonic::Request::new(detcd_wire::etcdserverpb::PutRequest {
            key: "a".into(),
            ..Default::default()
        });
        let long = AsciiMetadataValue::try_from("x".repeat(1024 * 1024)).unwrap();
        request.metadata_mut().insert("long", long);
        kv.put(request).await.expect("an answer");
    }
}

/// A message in many pieces is one message, on many streams at once.
#[tokio::test]
async fn messages_in_pieces_are_put_together() {
    // Together they are shorter than the window that every connection begins with.
    const STREAMS: u32 = 6;
    let cluster = Cluster::started(1, &[]).await;
    let node = &cluster.nodes[0];
    let mut raw = Raw::connect(node).await;
    let head = block(&put_head());
    for i in 0..STREAMS {
        raw.send(&headers(2 * i + 1, &head)).await;
    }
    let value = vec![b'v'; 9_000];
    let put = [b"\x0a\x01k\x12\xa8\x46", &value[..]].concat();
    for (at, piece) in prefixed(&put).chunks(700).enumerate() {
        let is_last = (at + 1) * 700 >= put.len() + 5;
        for i in 0..STREAMS {
            raw.send(&frame(DATA, u8::from(is_last), 2 * i + 1, piece))
                .await;
        }
    }
    for i in 0..STREAMS {
        assert_eq!(raw.end(2 * i + 1).await, crate::http2::End::Answered);
    }
    let found = crate::cluster::get(&mut node.kv(), "k").await.unwrap();
    assert_eq!(found.map(|found| found.len()), Some(value.len()));
}

/// Streams of many rows, one read to its end and others that nobody reads on, take chunks and not
/// what they stream. (etcd 3.5 has no RangeStream.)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streamed_ranges_take_little_memory() {
    const BATCHES: u64 = 80;
    const BATCH_ROWS: u64 = 100;
    const VALUE_BYTES: usize = 5_000;
    const STREAMS: usize = 6;
    let cluster = Cluster::started(1, &[]).await;
    let node = &cluster.nodes[0];
    let mut kv = node.kv();
    for batch in 0..BATCHES {
        let put = |number| pb::PutRequest {
            key: format!("k/{:06}", batch * BATCH_ROWS + number).into(),
            value: vec![b'v'; VALUE_BYTES].into(),
            ..Default::default()
        };
        let success = (0..BATCH_ROWS).map(|number| pb::RequestOp {
            request: Some(Op::RequestPut(put(number))),
        });
        let txn = pb::TxnRequest {
            success: success.collect(),
            ..Default::default()
        };
        kv.txn(txn).await.expect("a member that serves");
    }
    let request = pb::RangeRequest {
        key: b"k/".to_vec().into(),
        range_end: b"k0".to_vec().into(),
        ..Default::default()
    };
    let open = || async {
        let stream = node.kv().range_stream(request.clone()).await;
        let mut stream = stream.expect("a stream").into_inner();
        stream.message().await.expect("a chunk").expect("a chunk");
        stream
    };
    let to_the_end = || async {
        let mut stream = open().await;
        while let Some(chunk) = stream.message().await.expect("a whole stream") {
            let count = chunk.range_response.expect("every chunk has one").count;
            assert!(count == 0 || count as u64 == BATCHES * BATCH_ROWS);
        }
    };
    // The first ones fill the cache of blocks.
    to_the_end().await;
    to_the_end().await;
    let before = resident(node).await;
    let mut unread = Vec::new();
    for _ in 0..STREAMS {
        unread.push(open().await);
    }
    to_the_end().await;
    let grown = resident(node).await.saturating_sub(before);
    eprintln!("grown by {} MiB", grown / MIB);
    assert!(grown < 4 * STREAMS as u64 * MIB, "{} MiB", grown / MIB);
    drop(unread);
}
