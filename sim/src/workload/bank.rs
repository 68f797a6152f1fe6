//! Clients that move money between accounts. None is made, and none is lost.

use crate::client::Client;
use crate::client_records::Bank as BankRecord;
use crate::history::{Request, first_number};
use crate::scenario::settings::settings;
use crate::scenario::units::{Count, Ratio, Time, Times};
use crate::trace;
use crate::workload::ops::{self, Guarded};
use crate::workload::{ClientStarter, Job, Work, Worker, job, share};
use bytes::Bytes;
use detcd_core::api::{KeyValue, Op, RangeRequest};

settings! {
    /// Clients that move money between accounts, and others that count it.
    pub struct Bank {
        /// How many clients.
        pub clients: Count [1..=1000] = 3,
        /// How many accounts.
        pub accounts: Count [2..=100] = 5,
        /// What is in each account in the beginning.
        balance: Count [1..=1_000_000] = 100,
        /// Transfers and counts of all clients together.
        pub ops: Count = 200,
        /// How many of them are counts.
        reads: Ratio = 0.3,
        /// What a client waits between two operations.
        pause: Times = ("0ms", "100ms"),
        /// What a client waits for an answer.
        timeout: Time = "3s",
    }
}

impl Work for Bank {
    fn setup(&self, name: &str) -> Option<Box<dyn FnOnce(Client) -> Job + Send>> {
        let (bank, name) = (self.clone(), name.to_owned());
        Some(job(async move |client| bank.open(&name, client).await))
    }

    fn start(&self, name: &str, clients: &mut dyn ClientStarter) {
        let ops = self.ops.shares(self.clients.value());
        let work = async |mut worker: Worker<Bank>, ops| {
            for _ in 0..ops {
                worker.work().await;
            }
        };
        share(self, name, clients, ("b", "bank"), ops, work);
    }
}

fn account(name: &str, number: u64) -> Bytes {
    Bytes::from(format!("{name}/{number:03}"))
}

impl Bank {
    /// Opens all accounts together.
    async fn open(&self, name: &str, mut client: Client) {
        let accounts = self.accounts.value();
        let puts = (0..accounts).map(|number| {
            let value = format!("{} opened", self.balance.value());
            ops::put(&account(name, number), value)
        });
        ops::create_once(&mut client, puts.collect(), self.timeout.duration()).await;
        let bank = BankRecord {
            range: ops::prefix(&format!("{name}/")),
            accounts: accounts as usize,
            total: accounts * self.balance.value(),
        };
        client.note(|history| history.banks.push(bank));
    }
}

impl Worker<Bank> {
    async fn work(&mut self) {
        if self.rng.chance(self.settings.reads.value()) {
            self.count().await;
        } else {
            self.transfer().await;
        }
        self.pause(self.settings.pause).await;
    }

    /// Reads all accounts together, now and then as they were once.
    async fn count(&mut self) {
        let mut request = RangeRequest::of(ops::prefix(&format!("{}/", self.name)));
        request.serializable = self.rng.chance(0.25);
        let timeout = self.settings.timeout.duration();
        let done = self
            .client
            .execute(Request::Range(request.clone()), timeout)
            .await;
        let Some((_, revision, _)) = done.filter(|_| self.rng.chance(0.3)) else {
            return;
        };
        // Not before the accounts: they came with the first revision that has a value.
        request.revision = self.rng.range(2..=(revision as u64).max(2)) as i64;
        self.client.execute(Request::Range(request), timeout).await;
    }

    async fn transfer(&mut self) {
        let from = self.rng.range(0..=self.settings.accounts.value() - 1);
        let step = self.rng.range(1..=self.settings.accounts.value() - 1);
        let to = (from + step) % self.settings.accounts.value();
        let keys = [account(&self.name, from), account(&self.name, to)];
        let timeout = self.settings.timeout.duration();
        let Some((_, kvs)) = ops::read_all(&mut self.client, &keys, timeout).await else {
            return;
        };
        let balance = |kv: &Option<KeyValue>| kv.as_ref().and_then(|kv| first_number(&kv.value));
        let balances = kvs.iter().map(balance).collect::<Option<Vec<u64>>>();
        let balances = balances.expect("accounts stay, and have balances");
        if balances[0] == 0 {
            return;
        }
        let amount = self.rng.range(1..=balances[0]);
        // No value is ever written twice, so that a value tells who wrote it.
        let tag = format!("{}-{:x}", self.client.name(), self.rng.next_u64());
        let after = [balances[0] - amount, balances[1] + amount];
        let guards = keys
            .iter()
            .zip(&kvs)
            .map(|(key, kv)| ops::unchanged(key, kv.as_ref()));
        let puts = keys
            .iter()
            .zip(after)
            .map(|(key, balance)| Op::Put(ops::put(key, format!("{balance} {tag}"))));
        let txn = ops::when(guards, puts);
        if let Guarded::Not(_) = ops::guarded(&mut self.client, txn, timeout).await {
            trace::mark("bank.refused");
        }
    }
}
