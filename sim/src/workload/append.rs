//! Transactions that read lists and append to them. Strict serializability shows in the lists.

use crate::client_records::{End, ListAct, ListTxn};
use crate::scenario::settings::settings;
use crate::scenario::units::{Count, Counts, Ratio, Time, Times};
use crate::workload::ops::{self, Guarded};
use crate::workload::{ClientStarter, Work, Worker, share};
use crate::{check, time, trace};
use bytes::Bytes;
use detcd_core::api::{CompareOp, CompareTarget, KeyValue, Op};
use std::collections::{BTreeMap, BTreeSet};

settings! {
    /// Transactions that read lists and append to them.
    pub struct Append {
        /// How many clients.
        pub clients: Count [1..=1000] = 4,
        /// How many lists at a time.
        pub keys: Count [1..=1000] = 3,
        /// Transactions of all clients together.
        pub ops: Count = 200,
        /// Reads and appends of a transaction.
        acts: Counts [1..=16] = (1, 4),
        /// How many of them are reads.
        reads: Ratio = 0.5,
        /// A list of this length is left alone, and another begun in its place.
        length: Count [1..=1000] = 40,
        /// What a client waits between two transactions.
        pause: Times = ("0ms", "100ms"),
        /// What a client waits for an answer.
        timeout: Time = "3s",
    }
}

impl Work for Append {
    fn start(&self, name: &str, clients: &mut dyn ClientStarter) {
        let ops = self.ops.shares(self.clients.value());
        let work = async |worker, ops| Appender::new(worker).run(ops).await;
        share(self, name, clients, ("a", "append"), ops, work);
    }
}

/// One client.
struct Appender {
    worker: Worker<Append>,
    appended: u64,
    /// How many lists were filled in each place, as far as this client knows.
    filled: Vec<u64>,
}

/// What is to be done: to the list in which place, and whether to append.
type Intent = (usize, bool);

impl Appender {
    fn new(worker: Worker<Append>) -> Appender {
        Appender {
            filled: vec![0; worker.settings.keys.value() as usize],
            worker,
            appended: 0,
        }
    }

    async fn run(&mut self, ops: u64) {
        for _ in 0..ops {
            self.transact().await;
            self.worker.pause(self.worker.settings.pause).await;
        }
    }

    fn key(&self, place: usize) -> Bytes {
        Bytes::from(format!(
            "{}/{place}-{}",
            self.worker.name, self.filled[place]
        ))
    }

    /// Unique in the run.
    fn element(&mut self) -> u64 {
        self.appended += 1;
        u64::from(self.worker.client.number()) * 1_000_000 + self.appended
    }

    fn intents(&mut self) -> Vec<Intent> {
        let count = self.worker.rng.range(self.worker.settings.acts.range());
        let reads = self.worker.settings.reads.value();
        let places = self.filled.len();
        let intents = (0..count).map(|_| {
            (
                self.worker.rng.index(places),
                !self.worker.rng.chance(reads),
            )
        });
        intents.collect()
    }

    /// Reads all lists concerned, and appends if they are still the same: etcd has no transaction
    /// that computes.
    async fn transact(&mut self) {
        let intents = self.intents();
        let keys: BTreeSet<Bytes> = intents.iter().map(|(place, _)| self.key(*place)).collect();
        let keys: Vec<Bytes> = keys.into_iter().collect();
        let (called, timeout) = (time::now(), self.worker.settings.timeout.duration());
        let Some((_, kvs)) = ops::read_all(&mut self.worker.client, &keys, timeout).await else {
            return;
        };
        let before: BTreeMap<&Bytes, Option<KeyValue>> = keys.iter().zip(kvs).collect();
        let mut lists: BTreeMap<Bytes, Vec<u64>> = BTreeMap::new();
        for (key, kv) in &before {
            let list = kv
                .as_ref()
                .map_or(Some(Vec::new()), |kv| check::append::parse(&kv.value));
            lists.insert((*key).clone(), list.expect("only appenders write lists"));
        }
        let (acts, written) = self.act(&intents, &mut lists);
        let end = if written.is_empty() {
            End::Committed
        } else {
            self.write(&before, &written, &lists).await
        };
        let mut txn = ListTxn {
            client: self.worker.client.number(),
            called,
            ended: time::now(),
            acts,
            end,
        };
        if end != End::Committed {
            // What was read before need not be what the transaction would have found.
            for act in &mut txn.acts {
                if let ListAct::Read { list, .. } = act {
                    *list = None;
                }
            }
        }
        self.worker
            .client
            .note(|history| history.list_txns.push(txn));
    }

    /// What the transaction does to the lists as they were read, and to which of them.
    fn act(
        &mut self,
        intents: &[Intent],
        lists: &mut BTreeMap<Bytes, Vec<u64>>,
    ) -> (Vec<ListAct>, BTreeSet<Bytes>) {
        let mut written = BTreeSet::new();
        let mut acts = Vec::new();
        let mut full = BTreeSet::new();
        for (place, is_append) in intents {
            let key = self.key(*place);
            let list = lists.get_mut(&key).expect("every list concerned was read");
            if *is_append {
                let element = self.element();
                list.push(element);
                written.insert(key.clone());
                acts.push(ListAct::Append { key, element });
            } else {
                let list = Some(list.clone());
                acts.push(ListAct::Read { key, list });
            }
            if lists[&self.key(*place)].len() as u64 >= self.worker.settings.length.value() {
                full.insert(*place);
            }
        }
        for place in full {
            self.filled[place] += 1;
        }
        (acts, written)
    }

    async fn write(
        &mut self,
        before: &BTreeMap<&Bytes, Option<KeyValue>>,
        written: &BTreeSet<Bytes>,
        lists: &BTreeMap<Bytes, Vec<u64>>,
    ) -> End {
        // No list is ever the same again, so its value guards as well as its revision.
        let by_value = self.worker.rng.chance(0.3);
        let guards = before.iter().map(|(key, kv)| match kv {
            Some(kv) if by_value => {
                let target = CompareTarget::Value(kv.value.clone());
                ops::compare(key, CompareOp::Equal, target)
            }
            kv => ops::unchanged(key, kv.as_ref()),
        });
        let puts = written.iter().map(|key| {
            let list: Vec<String> = lists[key].iter().map(u64::to_string).collect();
            Op::Put(ops::put(key, list.join(",")))
        });
        let txn = ops::when(guards, puts);
        let timeout = self.worker.settings.timeout.duration();
        match ops::guarded(&mut self.worker.client, txn, timeout).await {
            Guarded::Done(..) => End::Committed,
            Guarded::Not(_) => {
                trace::mark("append.aborted");
                End::Aborted
            }
            Guarded::Unknown => End::Unknown,
        }
    }
}
