//! Keys and values up to the limit and beyond it, and ranges that are read in pages.

use crate::history::Request;
use crate::scenario::settings::settings;
use crate::scenario::units::{Count, Counts, Ratio, Time, Times};
use crate::workload::{ClientStarter, Work, Worker, ops, share};
use bytes::Bytes;
use detcd_core::api::{KeyRange, Op, RangeRequest};
use std::ops::Range;

/// Puts of one transaction: etcd takes no more than 128 operations.
const PUTS_MAX: u64 = 50;

settings! {
    /// Keys and values up to the limit and beyond it, and ranges that are read in pages.
    pub struct Large {
        /// How many clients.
        pub clients: Count [1..=100] = 2,
        /// How many keys have large values.
        pub keys: Count [1..=100] = 3,
        /// How many small keys are listed in pages.
        pub listed: Count [1..=10_000] = 60,
        /// Operations of all clients together.
        pub ops: Count = 40,
        /// How large the values are. 1.5 MiB are 1572864.
        value_bytes: Counts [1..=16_777_216] = (1_000, 1_500_000),
        /// How likely a value is larger than a member takes.
        too_large: Ratio = 0.1,
        /// How likely it is the key that is long, and not the value.
        long_key: Ratio = 0.2,
        /// How many keys a page has.
        page: Counts [1..=10_000] = (1, 25),
        /// What a client waits between two operations.
        pause: Times = ("0ms", "500ms"),
        /// What a client waits for an answer.
        timeout: Time = "10s",
    }
}

impl Work for Large {
    fn start(&self, name: &str, clients: &mut dyn ClientStarter) {
        let ops = self.ops.shares(self.clients.value());
        let work = async |worker, ops| {
            let mut large_value_client = LargeValueClient { worker, written: 0 };
            large_value_client.fill().await;
            for _ in 0..ops {
                large_value_client.work().await;
            }
        };
        share(self, name, clients, ("v", "large"), ops, work);
    }
}

struct LargeValueClient {
    worker: Worker<Large>,
    written: u64,
}

impl LargeValueClient {
    fn tag(&mut self) -> String {
        self.written += 1;
        format!("{}-{}", self.worker.client.name(), self.written)
    }

    fn small(&self, number: u64) -> Bytes {
        Bytes::from(format!("{}/small/{number:05}", self.worker.name))
    }

    /// Writes all the small keys.
    async fn fill(&mut self) {
        let listed = self.worker.settings.listed.value();
        for first in (0..listed).step_by(PUTS_MAX as usize) {
            self.put_some(first..listed.min(first + PUTS_MAX)).await;
        }
    }

    async fn put_some(&mut self, some: Range<u64>) {
        let tag = self.tag();
        let puts = some.map(|number| Op::Put(ops::put(&self.small(number), tag.clone())));
        let txn = Request::Txn(ops::when([], puts));
        let timeout = self.worker.settings.timeout.duration();
        self.worker.client.execute(txn, timeout).await;
    }

    async fn work(&mut self) {
        let timeout = self.worker.settings.timeout.duration();
        match self.worker.rng.range(0..=9) {
            0..=3 => {
                let put = self.put();
                self.worker.client.execute(put, timeout).await;
            }
            4..=6 => {
                let limit = self.worker.rng.range(self.worker.settings.page.range()) as i64;
                let range = ops::prefix(&format!("{}/small/", self.worker.name));
                ops::list(&mut self.worker.client, &range, limit, timeout).await;
            }
            7 => {
                let mut request = RangeRequest::of(ops::prefix(&format!("{}/", self.worker.name)));
                (request.count_only, request.keys_only) = (self.worker.rng.chance(0.5), true);
                self.worker
                    .client
                    .execute(Request::Range(request), timeout)
                    .await;
            }
            8 => {
                let request =
                    RangeRequest::of(ops::prefix(&format!("{}/large/", self.worker.name)));
                self.worker
                    .client
                    .execute(Request::Range(request), timeout)
                    .await;
            }
            _ => self.remove_some().await,
        }
        self.worker.pause(self.worker.settings.pause).await;
    }

    /// A value that begins with what it is, and goes on in dots; or such a key.
    fn put(&mut self) -> Request {
        let bytes = if self
            .worker
            .rng
            .chance(self.worker.settings.too_large.value())
        {
            // The limit is on the whole request: 1.5 MiB.
            self.worker.rng.range(1_600_000..=2_000_000)
        } else {
            self.worker
                .rng
                .range(self.worker.settings.value_bytes.range())
        };
        let number = self
            .worker
            .rng
            .range(0..=self.worker.settings.keys.value() - 1);
        let mut key = format!("{}/large/{number}", self.worker.name).into_bytes();
        let mut value = self.tag().into_bytes();
        let padded = match self
            .worker
            .rng
            .chance(self.worker.settings.long_key.value())
        {
            true => &mut key,
            false => &mut value,
        };
        padded.resize(padded.len().max(bytes as usize), b'.');
        Request::Put(ops::put(&Bytes::from(key), value))
    }

    /// Deletes a range of small keys, and writes them again.
    async fn remove_some(&mut self) {
        let listed = self.worker.settings.listed.value();
        let first = self.worker.rng.range(0..=listed - 1);
        let behind = self
            .worker
            .rng
            .range(first + 1..=listed.min(first + PUTS_MAX));
        let range = KeyRange::Span {
            start: self.small(first),
            end: Some(self.small(behind)),
        };
        let delete = Request::Delete(ops::delete(range, self.worker.rng.chance(0.5)));
        let timeout = self.worker.settings.timeout.duration();
        self.worker.client.execute(delete, timeout).await;
        self.put_some(first..behind).await;
    }
}
