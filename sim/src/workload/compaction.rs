//! Clients that write, others that read as of old revisions, and others that compact the store
//! beside them.

use crate::history::{Outcome, Request};
use crate::scenario::settings::settings;
use crate::scenario::units::{Count, Ratio, Time, Times};
use crate::trace;
use crate::workload::{ClientStarter, Work, Worker, ops, share};
use bytes::Bytes;
use detcd_core::api::{CompactRequest, RangeRequest};

settings! {
    /// Clients that write and read as of old revisions, and others that compact beside them.
    pub struct Compaction {
        /// How many clients write and read.
        pub clients: Count [1..=1000] = 3,
        /// How many clients compact.
        pub compactors: Count [1..=100] = 1,
        /// How many keys are written and read.
        pub keys: Count [1..=10_000] = 4,
        /// Writes and reads of all clients together.
        pub ops: Count = 200,
        /// How many of them are reads.
        reads: Ratio = 0.6,
        /// How often each compactor compacts.
        compactions: Count = 6,
        /// What a compactor waits between two compactions.
        every: Times = ("300ms", "2s"),
        /// How likely a compaction is answered only when the rows are gone.
        physical: Ratio = 0.3,
        /// What the others wait between two operations.
        pause: Times = ("0ms", "100ms"),
        /// What a client waits for an answer.
        timeout: Time = "3s",
    }
}

impl Work for Compaction {
    fn start(&self, name: &str, clients: &mut dyn ClientStarter) {
        let ops = self.ops.shares(self.clients.value());
        let work = async |worker, ops| {
            let mut compaction_client = CompactionClient::new(worker);
            for _ in 0..ops {
                compaction_client.work().await;
            }
        };
        share(self, name, clients, ("h", "compaction"), ops, work);
        let compactors = 0..self.compactors.value();
        let work = async |worker, _| CompactionClient::new(worker).compact().await;
        share(self, name, clients, ("x", "compaction"), compactors, work);
    }
}

struct CompactionClient {
    worker: Worker<Compaction>,
    written: u64,
    /// The newest revision that this client saw.
    newest: i64,
    /// The newest one that it knows to be compacted.
    compacted: i64,
}

impl CompactionClient {
    fn new(worker: Worker<Compaction>) -> CompactionClient {
        CompactionClient {
            worker,
            written: 0,
            newest: 1,
            compacted: 0,
        }
    }

    fn key(&mut self) -> Bytes {
        let number = self
            .worker
            .rng
            .range(0..=self.worker.settings.keys.value() - 1);
        Bytes::from(format!("{}/{number}", self.worker.name))
    }

    async fn work(&mut self) {
        let request = if self.worker.rng.chance(self.worker.settings.reads.value()) {
            self.read()
        } else {
            self.write()
        };
        let timeout = self.worker.settings.timeout.duration();
        match self.worker.client.attempt(request.clone(), timeout).await {
            Outcome::Done { revision, .. } => self.newest = self.newest.max(revision),
            Outcome::Refused(why) => self.learn(&request, &why),
            Outcome::Failed(_) | Outcome::Unknown(_) => {}
        }
        self.worker.pause(self.worker.settings.pause).await;
    }

    /// Near where the border may be, most of all.
    fn read(&mut self) -> Request {
        let range = if self.worker.rng.chance(0.5) {
            ops::one(&self.key())
        } else {
            ops::prefix(&format!("{}/", self.worker.name))
        };
        let mut request = RangeRequest::of(range);
        request.serializable = self.worker.rng.chance(0.2);
        request.revision = match self.worker.rng.range(0..=9) {
            0 => 0,
            1 => self.newest + self.worker.rng.range(1..=100) as i64,
            2..=5 => self.compacted + self.worker.rng.range(0..=3) as i64 - 1,
            _ => self.worker.rng.range(1..=self.newest as u64) as i64,
        };
        request.revision = request.revision.max(0);
        Request::Range(request)
    }

    fn write(&mut self) -> Request {
        let key = self.key();
        if self.worker.rng.chance(0.25) {
            let prev_kv = self.worker.rng.chance(0.5);
            let range = ops::one(&key);
            return Request::Delete(ops::delete(range, prev_kv));
        }
        self.written += 1;
        let value = format!("{}-{}", self.worker.client.name(), self.written);
        Request::Put(ops::put(&key, value))
    }

    fn learn(&mut self, request: &Request, why: &str) {
        if let Request::Range(range) = request
            && why.contains("has been compacted")
        {
            trace::mark("compaction.refused_read");
            self.compacted = self.compacted.max(range.revision + 1);
        }
    }

    async fn compact(&mut self) {
        let timeout = self.worker.settings.timeout.duration();
        for _ in 0..self.worker.settings.compactions.value() {
            self.worker.pause(self.worker.settings.every).await;
            let key = self.key();
            if let Some((revision, _)) = ops::read(&mut self.worker.client, &key, timeout).await {
                self.newest = self.newest.max(revision);
            }
            let revision = match self.worker.rng.range(0..=9) {
                // What was compacted, and what is yet to be written, cannot be compacted.
                0 => self.compacted,
                1 => self.newest + self.worker.rng.range(1..=100) as i64,
                2..=4 => self.newest,
                _ => {
                    let low = self.compacted.min(self.newest - 1) + 1;
                    self.worker.rng.range(low as u64..=self.newest as u64) as i64
                }
            };
            let compact = CompactRequest {
                revision,
                physical: self
                    .worker
                    .rng
                    .chance(self.worker.settings.physical.value()),
            };
            let outcome = self
                .worker
                .client
                .attempt(Request::Compact(compact), timeout)
                .await;
            if let Outcome::Done { .. } = outcome {
                trace::mark("compaction.done");
                self.compacted = self.compacted.max(revision);
            }
        }
    }
}
