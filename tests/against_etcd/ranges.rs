//! Limited ranges, counts and pages over many keys: the same requests to both, and equal answers.

use crate::cluster::Cluster;
use crate::tools::{self, Tool};
use detcd_wire::etcdserverpb as pb;
use pb::kv_client::KvClient;
use pb::request_op::Request as Op;
use tonic::transport::Channel;

/// Writes and reads of one run, so many that the keys take some levels of an index.
const STEPS: u64 = 500;

/// The targets of sorts in which no two keys are alike: which of them etcd puts first is chance.
const SORT_TARGETS: [pb::range_request::SortTarget; 4] = [
    pb::range_request::SortTarget::Key,
    pb::range_request::SortTarget::Create,
    pb::range_request::SortTarget::Mod,
    pb::range_request::SortTarget::Value,
];

/// The same numbers in each run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1);
        (self.0 >> 33) % limit
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// Keys of a few prefixes, some with long names.
    fn key(&mut self) -> Vec<u8> {
        let long = if self.one_in(8) {
            "x".repeat(300)
        } else {
            String::new()
        };
        format!("k{}/{:04}{long}", self.below(3), self.below(1500)).into_bytes()
    }

    fn range(&mut self) -> (Vec<u8>, Vec<u8>) {
        match self.below(4) {
            0 => (b"\0".to_vec(), b"\0".to_vec()),
            1 => (self.key(), b"\0".to_vec()),
            2 => (self.key(), self.key()),
            _ => {
                let prefix = self.below(3);
                (
                    format!("k{prefix}/").into_bytes(),
                    format!("k{prefix}0").into_bytes(),
                )
            }
        }
    }

    fn read(&mut self, revision: i64, compacted: i64) -> pb::RangeRequest {
        let (key, range_end) = self.range();
        let filter = |numbers: &mut Numbers| match numbers.one_in(8) {
            true => numbers.below(revision as u64 + 1) as i64,
            false => 0,
        };
        pb::RangeRequest {
            key: key.into(),
            range_end: range_end.into(),
            limit: if self.one_in(3) {
                0
            } else {
                self.below(60) as i64
            },
            revision: match self.below(4) {
                0 => compacted.max(1) + self.below((revision - compacted.max(1) + 2) as u64) as i64,
                1 => (revision - self.below(20) as i64).max(compacted.max(1)),
                _ => 0,
            },
            sort_order: self.below(3) as i32,
            sort_target: SORT_TARGETS[self.below(4) as usize] as i32,
            serializable: self.one_in(3),
            keys_only: self.one_in(4),
            count_only: self.one_in(4),
            min_mod_revision: filter(self),
            max_mod_revision: filter(self),
            min_create_revision: filter(self),
            max_create_revision: filter(self),
        }
    }

    fn put(&mut self) -> pb::PutRequest {
        pb::PutRequest {
            key: self.key().into(),
            value: self.below(u64::from(u32::MAX)).to_string().into(),
            ..Default::default()
        }
    }

    fn delete(&mut self) -> pb::DeleteRangeRequest {
        let (key, range_end) = match self.one_in(10) {
            true => (self.key(), self.key()),
            false => (self.key(), Vec::new()),
        };
        pb::DeleteRangeRequest {
            key: key.into(),
            range_end: range_end.into(),
            prev_kv: self.one_in(2),
        }
    }

    /// Writes between which ranges are read. One put at most: the keys of one revision are alike.
    fn txn(&mut self) -> pb::TxnRequest {
        let mut ops = vec![Op::RequestPut(self.put())];
        for _ in 0..self.below(8) {
            let (key, range_end) = self.range();
            let range = Op::RequestRange(pb::RangeRequest {
                key: key.into(),
                range_end: range_end.into(),
                limit: self.below(5) as i64,
                count_only: self.one_in(2),
                ..Default::default()
            });
            // No key may be put and deleted by one transaction.
            let delete = Op::RequestDeleteRange(pb::DeleteRangeRequest {
                key: format!("gone/{}", self.below(40)).into_bytes().into(),
                ..Default::default()
            });
            let at = self.below(ops.len() as u64 + 1) as usize;
            ops.insert(at, if self.one_in(3) { delete } else { range });
        }
        let ops = ops
            .into_iter()
            .map(|op| pb::RequestOp { request: Some(op) });
        pb::TxnRequest {
            success: ops.collect(),
            ..Default::default()
        }
    }

    /// What the transactions delete.
    fn put_gone(&mut self) -> pb::PutRequest {
        pb::PutRequest {
            key: format!("gone/{}", self.below(40)).into_bytes().into(),
            ..self.put()
        }
    }
}

/// What is the same in both answers: all but who answered, and in which term.
fn known(header: &mut Option<pb::ResponseHeader>) -> i64 {
    let revision = header.as_ref().map_or(0, |header| header.revision);
    *header = header.as_ref().map(|header| pb::ResponseHeader {
        revision: header.revision,
        ..Default::default()
    });
    revision
}

type RangeResult<T> = Result<T, (tonic::Code, String)>;

fn refused(status: tonic::Status) -> (tonic::Code, String) {
    (status.code(), status.message().to_owned())
}

async fn range(
    kv: &mut KvClient<Channel>,
    request: &pb::RangeRequest,
) -> RangeResult<pb::RangeResponse> {
    let kv = kv.range(request.clone()).await.map_err(refused);
    kv.map(|response| {
        let mut response = response.into_inner();
        known(&mut response.header);
        response
    })
}

async fn txn(kv: &mut KvClient<Channel>, request: &pb::TxnRequest) -> RangeResult<pb::TxnResponse> {
    let kv = kv.txn(request.clone()).await.map_err(refused);
    kv.map(|response| {
        let mut response = response.into_inner();
        known(&mut response.header);
        response
    })
}

/// detcd, and etcd beside it.
async fn both(test: &str) -> Option<(Cluster, Cluster)> {
    let etcd = tools::find(Tool::Etcd, test)?;
    let mut ours = Cluster::new(1, &[]);
    let mut theirs = Cluster::of(etcd, 1, &[]);
    ours.start(0);
    theirs.start(0);
    ours.wait_healthy().await;
    theirs.wait_healthy().await;
    Some((ours, theirs))
}

/// Sends a request of every kind to both and compares; gives the revision after it.
async fn step(
    numbers: &mut Numbers,
    (ours, theirs): (&mut KvClient<Channel>, &mut KvClient<Channel>),
    revision: i64,
) -> i64 {
    let request = match numbers.below(10) {
        0..4 => Op::RequestPut(numbers.put()),
        4 => Op::RequestPut(numbers.put_gone()),
        5..7 => Op::RequestDeleteRange(numbers.delete()),
        _ => Op::RequestTxn(numbers.txn()),
    };
    let request = match request {
        Op::RequestTxn(txn) => txn,
        op => pb::TxnRequest {
            success: vec![pb::RequestOp { request: Some(op) }],
            ..Default::default()
        },
    };
    let (own, other) = (txn(ours, &request).await, txn(theirs, &request).await);
    assert_eq!(own, other, "{request:?}");
    own.ok()
        .and_then(|mut response| response.header.take())
        .map_or(revision, |header| header.revision)
}

async fn compare_read(
    request: &pb::RangeRequest,
    ours: &mut KvClient<Channel>,
    theirs: &mut KvClient<Channel>,
) {
    let (own, other) = (range(ours, request).await, range(theirs, request).await);
    assert_eq!(own, other, "{request:?}");
}

/// Lists everything in pages, while keys come and go between them; of one revision, or of the
/// latest of each page.
async fn compare_pages(
    numbers: &mut Numbers,
    (ours, theirs): (&mut KvClient<Channel>, &mut KvClient<Channel>),
    mut revision: i64,
    is_fixed: bool,
) -> i64 {
    let mut request = pb::RangeRequest {
        key: b"k".to_vec().into(),
        range_end: b"l".to_vec().into(),
        limit: 100,
        revision: if is_fixed { revision } else { 0 },
        ..Default::default()
    };
    loop {
        let (own, other) = (range(ours, &request).await, range(theirs, &request).await);
        assert_eq!(own, other, "{request:?}");
        let reply = own.expect("the range is there");
        let Some(last) = reply.kvs.last().filter(|_| reply.more) else {
            return revision;
        };
        request.key = [&last.key[..], &[0]].concat().into();
        revision = step(numbers, (ours, theirs), revision).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ranges_counts_and_pages_are_those_of_etcd() {
    let Some((mut own, other)) = both("ranges_counts_and_pages_are_those_of_etcd").await else {
        return;
    };
    let (mut ours, mut theirs) = (own.nodes[0].kv(), other.nodes[0].kv());
    let mut numbers = Numbers(7);
    let (mut revision, mut compacted) = (1, 0);
    for round in 0..STEPS {
        revision = step(&mut numbers, (&mut ours, &mut theirs), revision).await;
        compare_read(&numbers.read(revision, compacted), &mut ours, &mut theirs).await;
        if round == STEPS / 2 {
            compacted = revision - 100;
            let request = pb::CompactionRequest {
                revision: compacted,
                physical: true,
            };
            ours.compact(request).await.expect("it is there");
            theirs.compact(request).await.expect("it is there");
        }
    }
    for is_fixed in [true, false] {
        let both = (&mut ours, &mut theirs);
        revision = compare_pages(&mut numbers, both, revision, is_fixed).await;
    }
    // A member that starts reads without its index at first, and then with it.
    own.nodes[0].stop().await;
    own.restart(0);
    own.wait_healthy().await;
    let mut ours = own.nodes[0].kv();
    for _ in 0..STEPS / 4 {
        compare_read(&numbers.read(revision, compacted), &mut ours, &mut theirs).await;
        revision = step(&mut numbers, (&mut ours, &mut theirs), revision).await;
    }
}

/// etcd 3.5 has no RangeStream: the stream is held against the range.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_streamed_range_is_the_range_in_chunks() {
    let own = Cluster::started(1, &[]).await;
    let mut kv = own.nodes[0].kv();
    for key in 0..40 {
        let put = pb::PutRequest {
            key: format!("k/{key:02}").into_bytes().into(),
            value: vec![b'v'; 100_000].into(),
            ..Default::default()
        };
        kv.put(put).await.expect("a member that serves");
    }
    for limit in [0, 1, 25, 100] {
        let request = pb::RangeRequest {
            key: b"k/".to_vec().into(),
            range_end: b"k0".to_vec().into(),
            limit,
            ..Default::default()
        };
        let mut stream = kv
            .range_stream(request.clone())
            .await
            .expect("a stream")
            .into_inner();
        let mut listed = pb::RangeResponse::default();
        while let Some(chunk) = stream.message().await.expect("a whole stream") {
            let chunk = chunk.range_response.expect("every chunk has one");
            assert!(chunk.kvs.len() < 15, "a chunk is about a mebibyte");
            listed.kvs.extend(chunk.kvs);
            (listed.count, listed.more) = (chunk.count, chunk.more);
        }
        let whole = kv.range(request).await.expect("a range").into_inner();
        assert_eq!(
            (listed.kvs, listed.count, listed.more),
            (whole.kvs, whole.count, whole.more)
        );
    }
}
