//! Clients that read, write, delete and compare a few keys that they share.

use crate::client::Client;
use crate::history::{Reply, Request};
use crate::rng::Rng;
use crate::scenario::choice::{Mix, choices};
use crate::scenario::settings::settings;
use crate::scenario::units::{Count, Counts, Time, Times};
use crate::time;
use crate::workload::{Stage, Work, job};
use bytes::Bytes;
use detcd_core::api::{
    Compare, CompareOp, CompareTarget, DeleteRangeRequest, KeyRange, Op, PutRequest, RangeRequest,
    TxnRequest,
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
        /// How often each operation is drawn.
        mix: Mix<Operation> = [
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
    enum Operation {
        Put = "put",
        Get = "get",
        Txn = "txn",
        Delete = "delete",
        /// A put that keeps the value, and fails if there is none.
        Touch = "touch",
    }
}

impl Kv {
    /// What client `number` of these does.
    async fn run(&self, number: u64, mut client: Client) {
        let clients = self.clients.value();
        let ops = self.ops.value() / clients + u64::from(number < self.ops.value() % clients);
        let mut generator = Generator::new(self, client.name().to_owned(), client.rng("kv"));
        for _ in 0..ops {
            let request = generator.next();
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
    fn start(&self, _name: &str, stage: &mut dyn Stage) {
        for number in 0..self.clients.value() {
            let kv = self.clone();
            let run = job(async move |client| kv.run(number, client).await);
            stage.start("c", run);
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
    /// The last value seen of each key.
    seen: BTreeMap<Bytes, Bytes>,
    revision: i64,
}

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
            seen: BTreeMap::new(),
            revision: 0,
        }
    }

    fn next(&mut self) -> Request {
        match self.mix.pick(&mut self.rng) {
            Operation::Put => Request::Put(self.put()),
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
            (Request::Range(_), Reply::Range(range)) => {
                for kv in &range.kvs {
                    self.seen.insert(kv.key.clone(), kv.value.clone());
                }
            }
            (Request::Put(put), _) => drop(self.seen.insert(put.key.clone(), put.value.clone())),
            _ => {}
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
        PutRequest {
            key,
            value,
            prev_kv: self.rng.chance(0.25),
            ..PutRequest::default()
        }
    }

    fn get(&mut self) -> RangeRequest {
        let whole = self.rng.chance(0.125);
        let range = if whole {
            self.all()
        } else {
            KeyRange::One(self.key())
        };
        let mut request = RangeRequest::of(range);
        request.serializable = self.rng.chance(0.125);
        if whole && self.rng.chance(0.5) {
            request.limit = self.rng.range(1..=self.keys.len() as u64) as i64;
        }
        request.keys_only = self.rng.chance(0.03);
        request.count_only = self.rng.chance(0.03);
        if self.revision > 1 && self.rng.chance(0.06) {
            request.revision = self.rng.range(1..=self.revision as u64) as i64;
        }
        request
    }

    fn delete(&mut self) -> DeleteRangeRequest {
        let whole = self.rng.chance(0.1);
        let range = if whole {
            self.all()
        } else {
            KeyRange::One(self.key())
        };
        DeleteRangeRequest {
            range,
            prev_kv: whole || self.rng.chance(0.25),
        }
    }

    fn txn(&mut self) -> TxnRequest {
        match self.rng.range(0..=3) {
            0 => self.create(),
            1 => self.swap(),
            2 => self.pair(),
            _ => self.nested(),
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
            Some(value) => CompareTarget::Value(value.clone()),
            None => CompareTarget::Create(0),
        };
        self.put_or_get(Compare {
            range: KeyRange::One(key),
            op: CompareOp::Equal,
            target,
        })
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
