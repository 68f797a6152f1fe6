//! Keys each of which names the next, all in one ring; transactions change places in it. Whatever
//! happens, it stays one ring.

use crate::client::Client;
use crate::client_records::Ring;
use crate::history::{Request, first_number};
use crate::scenario::settings::settings;
use crate::scenario::units::{Count, Ratio, Time, Times};
use crate::trace;
use crate::workload::ops::{self, Guarded};
use crate::workload::{ClientStarter, Job, Work, Worker, job, share};
use bytes::Bytes;
use detcd_core::api::{KeyValue, Op, RangeRequest};
use std::time::Duration;

settings! {
    /// Keys each of which names the next, all in one ring, in which transactions change places.
    pub struct Cycle {
        /// How many clients.
        pub clients: Count [1..=1000] = 3,
        /// How many keys are in the ring.
        pub nodes: Count [3..=100] = 6,
        /// Changes of places and reads of the ring, of all clients together.
        pub ops: Count = 150,
        /// How many of them are reads of the whole ring.
        reads: Ratio = 0.3,
        /// What a client waits between two operations.
        pause: Times = ("0ms", "100ms"),
        /// What a client waits for an answer.
        timeout: Time = "3s",
    }
}

impl Work for Cycle {
    fn setup(&self, name: &str) -> Option<Box<dyn FnOnce(Client) -> Job + Send>> {
        let (cycle, name) = (self.clone(), name.to_owned());
        Some(job(async move |client| cycle.close(&name, client).await))
    }

    fn start(&self, name: &str, clients: &mut dyn ClientStarter) {
        let ops = self.ops.shares(self.clients.value());
        let work = async |mut worker: Worker<Cycle>, ops| {
            for _ in 0..ops {
                worker.work().await;
            }
        };
        share(self, name, clients, ("y", "cycle"), ops, work);
    }
}

fn node(name: &str, number: u64) -> Bytes {
    Bytes::from(format!("{name}/{number:03}"))
}

impl Cycle {
    /// Makes the ring.
    async fn close(&self, name: &str, mut client: Client) {
        let nodes = self.nodes.value();
        let puts = (0..nodes).map(|number| {
            let next = (number + 1) % nodes;
            ops::put(&node(name, number), format!("{next} {number}-closed"))
        });
        ops::create_once(&mut client, puts.collect(), self.timeout.duration()).await;
        let ring = Ring {
            range: ops::prefix(&format!("{name}/")),
            nodes: nodes as usize,
        };
        client.note(|history| history.rings.push(ring));
    }
}

impl Worker<Cycle> {
    async fn work(&mut self) {
        let timeout = self.settings.timeout.duration();
        if self.rng.chance(self.settings.reads.value()) {
            let mut request = RangeRequest::of(ops::prefix(&format!("{}/", self.name)));
            request.serializable = self.rng.chance(0.25);
            self.client.execute(Request::Range(request), timeout).await;
        } else {
            self.swap(timeout).await;
        }
        self.pause(self.settings.pause).await;
    }

    /// Follows three links, one read each, and has the second and the third key change places.
    async fn swap(&mut self, timeout: Duration) {
        let mut at = self.rng.range(0..=self.settings.nodes.value() - 1);
        let mut path: Vec<(u64, Bytes, KeyValue)> = Vec::new();
        for _ in 0..3 {
            let key = node(&self.name, at);
            let Some((_, Some(kv))) = ops::read(&mut self.client, &key, timeout).await else {
                return;
            };
            let next = first_number(&kv.value).expect("only walkers write links");
            path.push((at, key, kv));
            at = next;
        }
        let last = at;
        let [(first, ..), (second, ..), (third, ..)] = &path[..] else {
            unreachable!("three links were followed")
        };
        let (first, second, third) = (*first, *second, *third);
        if first == second || second == third || first == third {
            // The ring changed under way; etcd refuses to write a key twice.
            return;
        }
        let tag = format!("{}-{:x}", self.client.name(), self.rng.next_u64());
        let links = [third, last, second];
        let guards = path
            .iter()
            .map(|(_, key, kv)| ops::unchanged(key, Some(kv)));
        let puts = path
            .iter()
            .zip(links)
            .map(|((_, key, _), next)| Op::Put(ops::put(key, format!("{next} {tag}"))));
        let txn = ops::when(guards, puts);
        if let Guarded::Not(_) = ops::guarded(&mut self.client, txn, timeout).await {
            trace::mark("cycle.refused");
        }
    }
}
