//! Keys and values up to the limit and beyond it, and ranges that are read in pages.

use crate::client::Client;
use crate::history::Request;
use crate::rng::Rng;
use crate::scenario::settings::settings;
use crate::scenario::units::{Count, Counts, Ratio, Time, Times};
use crate::time;
use crate::workload::{ClientStarter, Work, job, ops};
use bytes::Bytes;
use detcd_core::api::{DeleteRangeRequest, Op, RangeRequest, TxnRequest};

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
        for ops in self.ops.shares(self.clients.value()) {
            let (settings, name) = (self.clone(), name.to_owned());
            let run = job(async move |client: Client| {
                let rng = client.rng("large");
                let mut large_value_client = LargeValueClient {
                    settings,
                    name,
                    client,
                    rng,
                    written: 0,
                };
                large_value_client.fill().await;
                for _ in 0..ops {
                    large_value_client.work().await;
                }
            });
            clients.start("v", run);
        }
    }
}

struct LargeValueClient {
    settings: Large,
    name: String,
    client: Client,
    rng: Rng,
    written: u64,
}

impl LargeValueClient {
    fn tag(&mut self) -> String {
        self.written += 1;
        format!("{}-{}", self.client.name(), self.written)
    }

    fn small(&self, number: u64) -> Bytes {
        Bytes::from(format!("{}/small/{number:05}", self.name))
    }

    /// Writes all the small keys.
    async fn fill(&mut self) {
        let (listed, timeout) = (
            self.settings.listed.value(),
            self.settings.timeout.duration(),
        );
        let mut first = 0;
        while first < listed {
            let tag = self.tag();
            let some = first..listed.min(first + PUTS_MAX);
            let puts = some.map(|number| Op::Put(ops::put(&self.small(number), tag.clone())));
            let txn = TxnRequest {
                success: puts.collect(),
                ..TxnRequest::default()
            };
            self.client.execute(Request::Txn(txn), timeout).await;
            first += PUTS_MAX;
        }
    }

    async fn work(&mut self) {
        let timeout = self.settings.timeout.duration();
        match self.rng.range(0..=9) {
            0..=3 => {
                let put = self.put();
                self.client.execute(put, timeout).await;
            }
            4..=6 => {
                let limit = self.rng.range(self.settings.page.range()) as i64;
                let range = ops::prefix(&format!("{}/small/", self.name));
                ops::list(&mut self.client, &range, limit, timeout).await;
            }
            7 => {
                let mut request = RangeRequest::of(ops::prefix(&format!("{}/", self.name)));
                (request.count_only, request.keys_only) = (self.rng.chance(0.5), true);
                self.client.execute(Request::Range(request), timeout).await;
            }
            8 => {
                let request = RangeRequest::of(ops::prefix(&format!("{}/large/", self.name)));
                self.client.execute(Request::Range(request), timeout).await;
            }
            _ => self.remove_some().await,
        }
        time::sleep(self.settings.pause.pick(&mut self.rng)).await;
    }

    /// A value that begins with what it is, and goes on in dots; or such a key.
    fn put(&mut self) -> Request {
        let bytes = if self.rng.chance(self.settings.too_large.value()) {
            // The limit is on the whole request: 1.5 MiB.
            self.rng.range(1_600_000..=2_000_000)
        } else {
            self.rng.range(self.settings.value_bytes.range())
        };
        let number = self.rng.range(0..=self.settings.keys.value() - 1);
        let mut key = format!("{}/large/{number}", self.name).into_bytes();
        let mut value = self.tag().into_bytes();
        let padded = match self.rng.chance(self.settings.long_key.value()) {
            true => &mut key,
            false => &mut value,
        };
        padded.resize(padded.len().max(bytes as usize), b'.');
        Request::Put(ops::put(&Bytes::from(key), value))
    }

    /// Deletes a range of small keys, and writes them again.
    async fn remove_some(&mut self) {
        let (listed, timeout) = (
            self.settings.listed.value(),
            self.settings.timeout.duration(),
        );
        let first = self.rng.range(0..=listed - 1);
        let behind = self.rng.range(first + 1..=listed.min(first + PUTS_MAX));
        let range = detcd_core::api::KeyRange::Span {
            start: self.small(first),
            end: Some(self.small(behind)),
        };
        let prev_kv = self.rng.chance(0.5);
        let delete = DeleteRangeRequest { range, prev_kv };
        self.client.execute(Request::Delete(delete), timeout).await;
        let tag = self.tag();
        let puts =
            (first..behind).map(|number| Op::Put(ops::put(&self.small(number), tag.clone())));
        let txn = TxnRequest {
            success: puts.collect(),
            ..TxnRequest::default()
        };
        self.client.execute(Request::Txn(txn), timeout).await;
    }
}
