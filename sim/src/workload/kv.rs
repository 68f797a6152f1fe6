//! Clients that read, write, delete and compare a few keys that they share.

use crate::client::Client;
use crate::history::{Reply, Request};
use crate::rng::Rng;
use crate::scenario::choice::{Mix, choices};
use crate::scenario::settings::settings;
use crate::scenario::units::{Count, Counts, Ratio, Time, Times};
use crate::time;
use crate::workload::unusual::make_unusual;
use crate::workload::{ClientStarter, Work, job};
use bytes::Bytes;
use detcd_core::api::{
    Compare, CompareOp, CompareTarget, DeleteRangeRequest, KeyRange, KeyValue, LeaseId, Op,
    PutRequest, RangeRequest, SortOrder, SortTarget, TxnRequest,
};
use std::collections::BTreeMap;

settings! {
    /// Clients that read, write, delete and compare a few keys that they share.
    pub struct Kv {
        /// How many clients.
        pub clients: Count [1..=1000] = 4,
        /// How many keys they share.
        pub keys: Count [1..=100_000] = 5,
        /// Operations of all clients together.
        pub ops: Count = 500,
        /// What a client waits between two operations.
        pub pause: Times = ("0ms", "100ms"),
        /// What a client waits for an answer.
        pub timeout: Time = "3s",
        /// How long values are.
        pub value_bytes: Counts = (8, 64),
        /// How likely a put of the last key attaches it to a lease.
        pub leased: Ratio = 0.2,
        /// How likely a request is odd: with fields, ranges and comparisons that few clients use.
        pub odd: Ratio = 0.0,
        /// How often each operation is drawn.
        pub mix: Mix<Operation> = [
            (Operation::Put, 5),
            (Operation::Get, 3),
            (Operation::Txn, 1),
            (Operation::Delete, 1),
            (Operation::Touch, 0),
        ],
    }
}

choices! {
    /// What a client does next.
    pub enum Operation {
        Put = "put",
        Get = "get",
        Txn = "txn",
        Delete = "delete",
        /// A put that keeps the value, and fails if there is none.
        Touch = "touch",
    }
}

impl Kv {
    /// What one of these clients does.
    async fn run(&self, ops: u64, mut client: Client) {
        self.execute(ops, &mut client, || true).await;
    }

    /// Goes on until it is told that it is enough; asked before each operation.
    pub async fn start_load(&self, mut client: Client, goes_on: impl FnMut() -> bool) {
        self.execute(u64::MAX, &mut client, goes_on).await;
    }

    async fn execute(&self, ops: u64, client: &mut Client, mut goes_on: impl FnMut() -> bool) {
        let mut generator = Generator::new(self, client.name().to_owned(), client.rng("kv"));
        let mut unusual = client.rng("kv/odd");
        for _ in 0..ops {
            if !goes_on() {
                return;
            }
            let mut request = generator.next();
            if unusual.chance(self.odd.value()) {
                request = make_unusual(request, &mut unusual, generator.revision, &generator.all());
            }
            let done = client.execute(request, self.timeout.duration()).await;
            if let Some((request, revision, reply)) = done {
                generator.learn(&request, revision, &reply);
            }
            let pause = self.pause.pick(&mut generator.rng);
            time::sleep(pause).await;
        }
    }
}

impl Work for Kv {
    fn start(&self, _name: &str, clients: &mut dyn ClientStarter) {
        for ops in self.ops.shares(self.clients.value()) {
            let kv = self.clone();
            let run = job(async move |client| kv.run(ops, client).await);
            clients.start("c", run);
        }
    }
}

/// Makes up a client's requests. What it learned of the keys makes comparisons that may hold.
struct Generator {
    rng: Rng,
    name: String,
    keys: Vec<Bytes>,
    mix: Mix<Operation>,
    value_bytes: Counts,
    written: u64,
    leased: f64,
    lease: Lease,
    /// Each key as it was seen last.
    seen: BTreeMap<Bytes, KeyValue>,
    revision: i64,
}

/// The lease that a client attaches keys to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lease {
    None,
    /// It was asked for; whether it is there is not known yet.
    Asked(LeaseId),
    Granted(LeaseId),
}

/// Longer than any run: these leases end when they are revoked.
const LEASE_TTL_S: i64 = 100_000;

impl Generator {
    fn new(kv: &Kv, name: String, rng: Rng) -> Generator {
        Generator {
            rng,
            name,
            keys: (0..kv.keys.value())
                .map(|key| Bytes::from(format!("k/{key}")))
                .collect(),
            mix: kv.mix.clone(),
            value_bytes: kv.value_bytes,
            written: 0,
            leased: kv.leased.value(),
            lease: Lease::None,
            seen: BTreeMap::new(),
            revision: 0,
        }
    }

    fn next(&mut self) -> Request {
        match self.mix.pick(&mut self.rng) {
            Operation::Put => self.put_or_lease(),
            Operation::Get => Request::Range(self.get()),
            Operation::Txn => Request::Txn(self.txn()),
            Operation::Delete => Request::Delete(self.delete()),
            Operation::Touch => Request::Put(PutRequest {
                key: self.key(),
                ignore_value: true,
                ..PutRequest::default()
            }),
        }
    }

    fn learn(&mut self, request: &Request, revision: i64, reply: &Reply) {
        self.revision = self.revision.max(revision);
        match (request, reply) {
            (Request::Range(range), Reply::Range(reply)) if !range.keys_only => {
                for kv in &reply.kvs {
                    self.seen.insert(kv.key.clone(), kv.clone());
                }
            }
            (Request::Put(put), _) if !put.ignore_value => {
                let kv = KeyValue {
                    key: put.key.clone(),
                    value: put.value.clone(),
                    mod_revision: revision,
                    lease: put.lease,
                    ..KeyValue::default()
                };
                self.seen.insert(put.key.clone(), kv);
            }
            (_, Reply::LeaseGrant { id, .. }) => self.lease = Lease::Granted(*id),
            _ => {}
        }
    }

    /// The key that may be on a lease. The others are on none: the black-box search judges only
    /// keys that nothing but their own operations changes.
    fn leased_key(&self) -> Option<Bytes> {
        self.keys.last().filter(|_| self.keys.len() > 1).cloned()
    }

    /// A put, or before and after one on a lease the lease itself.
    fn put_or_lease(&mut self) -> Request {
        let put = self.put();
        if self.leased_key().as_ref() != Some(&put.key) || !self.rng.chance(self.leased) {
            return Request::Put(put);
        }
        match self.lease {
            Lease::Granted(id) if self.rng.chance(0.2) => {
                self.lease = Lease::None;
                Request::LeaseRevoke { id }
            }
            Lease::Granted(lease) => Request::Put(PutRequest { lease, ..put }),
            // A lease that may be there or not is as good as any other to be refused.
            Lease::Asked(lease) if self.rng.chance(0.5) => {
                Request::Put(PutRequest { lease, ..put })
            }
            Lease::None | Lease::Asked(_) => {
                let id = LeaseId((self.rng.next_u64() >> 1).max(1) as i64);
                self.lease = Lease::Asked(id);
                let ttl = LEASE_TTL_S;
                Request::LeaseGrant { id, ttl }
            }
        }
    }

    fn key(&mut self) -> Bytes {
        self.rng.pick(&self.keys).clone()
    }

    /// No value is ever written twice, so that a value tells who wrote it.
    fn value(&mut self) -> Bytes {
        self.written += 1;
        let mut value = format!("{}-{}", self.name, self.written);
        let length = self.rng.range(self.value_bytes.range()) as usize;
        while value.len() < length {
            value.push('.');
        }
        Bytes::from(value)
    }

    fn all(&self) -> KeyRange {
        KeyRange::Span {
            start: Bytes::from_static(b"k/"),
            end: Some(Bytes::from_static(b"k0")),
        }
    }

    fn put(&mut self) -> PutRequest {
        let (key, value) = (self.key(), self.value());
        let put = PutRequest {
            key,
            value,
            prev_kv: self.rng.chance(0.25),
            ..PutRequest::default()
        };
        // A put that keeps the value is refused if there is none; what is given must be empty.
        match self.rng.range(0..=49) {
            0 => PutRequest {
                value: Bytes::new(),
                ignore_value: true,
                ..put
            },
            1 => PutRequest {
                ignore_lease: true,
                ..put
            },
            _ => put,
        }
    }

    /// Some keys in a row.
    fn some(&mut self) -> KeyRange {
        let mut ends = [self.key(), self.key()];
        ends.sort();
        let [start, end] = ends;
        KeyRange::Span {
            start,
            end: Some(end),
        }
    }

    /// All keys, some or one.
    fn range(&mut self, whole: bool) -> KeyRange {
        if whole {
            self.all()
        } else if self.rng.chance(0.1) {
            self.some()
        } else {
            KeyRange::One(self.key())
        }
    }

    fn get(&mut self) -> RangeRequest {
        let whole = self.rng.chance(0.125);
        let range = self.range(whole);
        let mut request = RangeRequest::of(range);
        request.serializable = self.rng.chance(0.125);
        if whole && self.rng.chance(0.5) {
            request.limit = self.rng.range(1..=self.keys.len() as u64) as i64;
        }
        if whole && self.rng.chance(0.25) {
            self.sort_or_filter(&mut request);
        }
        request.keys_only = self.rng.chance(0.03);
        request.count_only = self.rng.chance(0.03);
        if self.revision > 1 && self.rng.chance(0.06) {
            request.revision = self.rng.range(1..=self.revision as u64) as i64;
        }
        request
    }

    fn sort_or_filter(&mut self, request: &mut RangeRequest) {
        let target = self.rng.pick(&[
            SortTarget::Key,
            SortTarget::Version,
            SortTarget::Create,
            SortTarget::Mod,
            SortTarget::Value,
        ]);
        let order = self.rng.pick(&[SortOrder::Ascend, SortOrder::Descend]);
        (request.sort_target, request.sort_order) = (*target, *order);
        let bound = self.rng.range(1..=self.revision.max(1) as u64) as i64;
        match self.rng.range(0..=7) {
            0 => request.min_mod_revision = bound,
            1 => request.max_mod_revision = bound,
            2 => request.min_create_revision = bound,
            3 => request.max_create_revision = bound,
            _ => {}
        }
    }

    fn delete(&mut self) -> DeleteRangeRequest {
        let whole = self.rng.chance(0.1);
        let range = self.range(whole);
        DeleteRangeRequest {
            range,
            prev_kv: whole || self.rng.chance(0.25),
        }
    }

    fn txn(&mut self) -> TxnRequest {
        match self.rng.range(0..=5) {
            0 => self.create(),
            1 => self.swap(),
            2 => self.pair(),
            3 => self.nested(),
            4 => self.compared(),
            _ => self.compared_all(),
        }
    }

    /// Puts a key that is not there, or reads it.
    fn create(&mut self) -> TxnRequest {
        let range = KeyRange::One(self.key());
        let target = CompareTarget::Version(0);
        self.put_or_get(Compare {
            range,
            op: CompareOp::Equal,
            target,
        })
    }

    /// Replaces a value that was seen, or reads the key.
    fn swap(&mut self) -> TxnRequest {
        let key = self.key();
        let target = match self.seen.get(&key) {
            Some(kv) => CompareTarget::Value(kv.value.clone()),
            None => CompareTarget::Create(0),
        };
        self.put_or_get(Compare {
            range: KeyRange::One(key),
            op: CompareOp::Equal,
            target,
        })
    }

    /// Puts a key if something about it compares in some way with what was seen.
    fn compared(&mut self) -> TxnRequest {
        let key = self.key();
        let seen = self.seen.get(&key).cloned().unwrap_or_default();
        let target = match self.rng.range(0..=4) {
            0 => CompareTarget::Version(seen.version),
            1 => CompareTarget::Create(seen.create_revision),
            2 => CompareTarget::Mod(seen.mod_revision),
            3 => CompareTarget::Lease(seen.lease),
            _ => CompareTarget::Value(seen.value),
        };
        let op = self.compare_op();
        self.put_or_get(Compare {
            range: KeyRange::One(key),
            op,
            target,
        })
    }

    fn compare_op(&mut self) -> CompareOp {
        let all = [
            CompareOp::Equal,
            CompareOp::NotEqual,
            CompareOp::Greater,
            CompareOp::Less,
        ];
        *self.rng.pick(&all)
    }

    /// Puts a key if all keys compare in some way with a revision.
    fn compared_all(&mut self) -> TxnRequest {
        let revision = self.rng.range(1..=self.revision.max(1) as u64) as i64;
        let all = Compare {
            range: self.all(),
            op: self.compare_op(),
            target: CompareTarget::Mod(revision),
        };
        let mut txn = self.create();
        txn.compare = vec![all];
        txn
    }

    fn put_or_get(&mut self, compare: Compare) -> TxnRequest {
        let KeyRange::One(key) = compare.range.clone() else {
            unreachable!("a single key is compared")
        };
        let put = PutRequest {
            key,
            value: self.value(),
            ..PutRequest::default()
        };
        let get = RangeRequest::of(compare.range.clone());
        TxnRequest {
            compare: vec![compare],
            success: vec![Op::Put(put)],
            failure: vec![Op::Range(get)],
        }
    }

    /// Deletes everything and puts one key, and reads it all back.
    fn pair(&mut self) -> TxnRequest {
        let delete = DeleteRangeRequest {
            range: KeyRange::One(self.key()),
            prev_kv: true,
        };
        let get = RangeRequest::of(self.all());
        let mut success = vec![Op::DeleteRange(delete.clone()), Op::Range(get.clone())];
        let put = self.put();
        // etcd refuses a transaction that touches a key twice.
        if !delete.range.contains(&put.key) {
            success.push(Op::Put(put));
            success.push(Op::Range(get));
        }
        TxnRequest {
            compare: Vec::new(),
            success,
            failure: Vec::new(),
        }
    }

    /// A transaction within another.
    fn nested(&mut self) -> TxnRequest {
        let (outer, inner) = (self.create(), self.swap());
        TxnRequest {
            compare: outer.compare,
            success: vec![Op::Txn(inner)],
            failure: outer.failure,
        }
    }
}
