//! What Kubernetes does with etcd: objects are created, changed and deleted only if they are what
//! they were thought to be; caches are lists of a range in pages and a watch from their revision
//! on; and history is compacted again and again.

use crate::client::Client;
use crate::client_records::{Informer, Seen};
use crate::history::{Request, first_number};
use crate::scenario::settings::settings;
use crate::scenario::units::{Count, Counts, Time, Times};
use crate::workload::feed::{self, Ended, Feed, WatchMessage};
use crate::workload::ops::{self, Guarded};
use crate::workload::{ClientStarter, Until, Work, Worker, share};
use crate::{time, trace};
use bytes::Bytes;
use detcd_core::api::{
    CompactRequest, CompareOp, CompareTarget, KeyRange, KeyValue, Op, OpReply, TxnReply, TxnRequest,
};
use futures::FutureExt;
use std::collections::BTreeMap;

settings! {
    /// What Kubernetes does with etcd: guarded changes, lists in pages, watches from their
    /// revision on, and compactions.
    pub struct Kubernetes {
        /// How many clients change objects.
        pub writers: Count [1..=1000] = 3,
        /// How many caches are kept.
        pub informers: Count [0..=1000] = 2,
        /// How many clients compact; each round one of them does.
        pub compactors: Count [0..=10] = 2,
        /// How many objects there may be.
        pub objects: Count [1..=10_000] = 8,
        /// Changes of all writers together.
        pub ops: Count = 200,
        /// How many objects a list asks for at a time.
        page: Counts [1..=10_000] = (1, 5),
        /// How often each compactor tries.
        compactions: Count = 5,
        /// What a compactor waits between two tries.
        every: Times = ("1s", "3s"),
        /// How long a cache waits on a silent watch.
        stream_timeout: Times = ("1s", "4s"),
        /// How long the one who keeps a cache looks elsewhere when its watch breaks.
        away: Times = ("0ms", "3s"),
        /// What a writer waits between two changes.
        pause: Times = ("0ms", "100ms"),
        /// What a client waits for an answer.
        timeout: Time = "3s",
    }
}

impl Work for Kubernetes {
    fn start(&self, name: &str, clients: &mut dyn ClientStarter) {
        let ops = self.ops.shares(self.writers.value());
        let work = async |worker, ops| {
            let (seen, written) = (BTreeMap::new(), 0);
            let mut writer = Writer {
                worker,
                seen,
                written,
            };
            for _ in 0..ops {
                writer.change().await;
            }
        };
        share(self, name, clients, ("k", "writer"), ops, work);
        let compactors = 0..self.compactors.value();
        let work = async |worker: Worker<Kubernetes>, _| worker.compact().await;
        share(self, name, clients, ("z", "compact"), compactors, work);
        for _ in 0..self.informers.value() {
            let (settings, name) = (self.clone(), name.to_owned());
            let run = move |client, until| settings.inform(name, client, until).boxed();
            clients.follow("i", Box::new(run));
        }
    }
}

fn objects(name: &str) -> KeyRange {
    ops::prefix(&format!("{name}/objects/"))
}

struct Writer {
    worker: Worker<Kubernetes>,
    /// The objects as this writer saw them last.
    seen: BTreeMap<Bytes, KeyValue>,
    written: u64,
}

impl Writer {
    async fn change(&mut self) {
        let number = self
            .worker
            .rng
            .range(0..=self.worker.settings.objects.value() - 1);
        let namespace = if number.is_multiple_of(3) {
            "kube-system"
        } else {
            "default"
        };
        let key = Bytes::from(format!(
            "{}/objects/{namespace}/{number:04}",
            self.worker.name
        ));
        let seen = self.seen.get(&key).cloned();
        let change = if seen.is_some() && self.worker.rng.chance(0.25) {
            Op::DeleteRange(ops::delete(ops::one(&key), false))
        } else {
            self.written += 1;
            let value = format!("{}-{}", self.worker.client.name(), self.written);
            Op::Put(ops::put(&key, value))
        };
        let txn = TxnRequest {
            compare: vec![ops::unchanged(&key, seen.as_ref())],
            success: vec![change.clone()],
            failure: vec![Op::Range(ops::get(&key))],
        };
        let timeout = self.worker.settings.timeout.duration();
        match ops::guarded(&mut self.worker.client, txn, timeout).await {
            Guarded::Done(revision, _) => self.did(key, change, revision),
            Guarded::Not(Some(reply)) => {
                trace::mark("kubernetes.conflict");
                self.take_stored(key, &reply);
            }
            // It sees what became of it when it tries the next change.
            Guarded::Not(None) | Guarded::Unknown => {}
        }
        self.worker.pause(self.worker.settings.pause).await;
    }

    fn did(&mut self, key: Bytes, change: Op, revision: i64) {
        match change {
            Op::Put(put) => {
                let kv = KeyValue {
                    key: key.clone(),
                    value: put.value,
                    mod_revision: revision,
                    ..KeyValue::default()
                };
                self.seen.insert(key, kv);
            }
            _ => drop(self.seen.remove(&key)),
        }
    }

    /// Takes what is there instead of what it thought.
    fn take_stored(&mut self, key: Bytes, reply: &TxnReply) {
        let [OpReply::Range(range)] = &reply.responses[..] else {
            unreachable!("a read is answered as one")
        };
        match range.kvs.first() {
            Some(kv) => drop(self.seen.insert(key, kv.clone())),
            None => drop(self.seen.remove(&key)),
        }
    }
}

impl Worker<Kubernetes> {
    /// Several compact, and agree by a key's version whose round it is. Whoever wins notes the
    /// revision of now, and compacts at the one noted the round before.
    async fn compact(mut self) {
        let key = Bytes::from(format!("{}/compact_rev_key", self.name));
        let (timeout, physical) = (self.settings.timeout.duration(), true);
        let (mut version, mut noted) = (0, 0);
        for _ in 0..self.settings.compactions.value() {
            self.pause(self.settings.every).await;
            let client = &mut self.client;
            let Some((now, _)) = ops::read(client, &key, timeout).await else {
                continue;
            };
            let target = CompareTarget::Version(version);
            let txn = TxnRequest {
                compare: vec![ops::compare(&key, CompareOp::Equal, target)],
                success: vec![Op::Put(ops::put(&key, format!("{now} {}", client.name())))],
                failure: vec![Op::Range(ops::get(&key))],
            };
            match ops::guarded(client, txn, timeout).await {
                Guarded::Done(..) => {
                    version += 1;
                    let revision = std::mem::replace(&mut noted, now);
                    if revision > 0 {
                        let compact = CompactRequest { revision, physical };
                        client.execute(Request::Compact(compact), timeout).await;
                    }
                }
                Guarded::Not(Some(reply)) => {
                    if let [OpReply::Range(range)] = &reply.responses[..]
                        && let Some(kv) = range.kvs.first()
                    {
                        noted = first_number(&kv.value).expect("only compactors write this key");
                        version = kv.version;
                    }
                }
                Guarded::Not(None) | Guarded::Unknown => {}
            }
        }
    }
}

impl Kubernetes {
    /// Keeps a cache: lists, and watches from there on; lists again if that is compacted.
    async fn inform(self, name: String, mut client: Client, until: Until) {
        let mut rng = client.rng("informer");
        let range = objects(&name);
        let mut informer = Informer {
            name: client.name().to_owned(),
            range: range.clone(),
            seen: Vec::new(),
        };
        'list: loop {
            let limit = rng.range(self.page.range()) as i64;
            let timeout = self.timeout.duration();
            let Some(listing) = ops::list(&mut client, &range, limit, timeout).await else {
                continue;
            };
            let revision = listing.revision;
            let objects = listing
                .pages
                .into_iter()
                .flat_map(|page| page.kvs)
                .collect();
            informer.seen.push(Seen::Listed { revision, objects });
            let mut create = feed::plain(range.clone(), revision + 1);
            (create.prev_kv, create.progress_notify) = (true, true);
            create.fragment = rng.chance(0.5);
            let mut feed = Feed::new(create, until.clone());
            loop {
                let note = |message| informer.note(message);
                match feed
                    .follow(&client, self.stream_timeout.pick(&mut rng), note)
                    .await
                {
                    Ended::Complete => break 'list,
                    Ended::Compacted(_) => {
                        trace::mark("kubernetes.relisted");
                        continue 'list;
                    }
                    Ended::Broken(why) => {
                        trace::event("watch.reconnect", format_args!("{} {why}", client.name()));
                        client.recover().await;
                        if until.borrow().is_none() {
                            time::sleep(self.away.pick(&mut rng)).await;
                        }
                    }
                }
            }
        }
        client.note(|history| history.informers.push(informer));
    }
}

impl Informer {
    fn note(&mut self, message: WatchMessage) {
        match message {
            WatchMessage::Created(_) => {}
            WatchMessage::Events(_, changes) => self.seen.push(Seen::Changed(changes)),
            WatchMessage::Progress(revision) => self.seen.push(Seen::Bookmark(revision)),
        }
    }
}
