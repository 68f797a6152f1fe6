//! Thousands of leases at once.

use crate::client::Client;
use crate::history::{LeaseLife, Reply, Request};
use crate::rng::Rng;
use crate::scenario::settings::settings;
use crate::scenario::units::{Count, Counts, Ratio, Time, Times};
use crate::time;
use crate::trace;
use crate::workload::keep_alives::KeepAlives;
use crate::workload::lease::WAIT_MAX;
use crate::workload::{ClientStarter, Work, job, ops};
use bytes::Bytes;
use detcd_core::api::{LeaseId, PutRequest, RangeRequest};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// So many leases at once are many.
const MANY: u64 = 1000;

settings! {
    /// Clients that hold many leases at once, each with a key: some are kept alive for a while, and
    /// all of them end.
    pub struct Leases {
        /// How many clients.
        pub clients: Count [1..=1000] = 30,
        /// How many leases each client grants.
        pub leases: Count [1..=10_000] = 50,
        /// Their time to live, in seconds; drawn for each.
        ttl_s: Counts [1..=3600] = (8, 20),
        /// How many of them are kept alive.
        kept: Ratio = 0.3,
        /// For how long those are.
        keep_for: Time = "5s",
        /// What a client waits between two reads of what is left.
        look_every: Times = ("500ms", "1500ms"),
        /// What a client waits for an answer.
        timeout: Time = "3s",
    }
}

impl Work for Leases {
    fn start(&self, name: &str, clients: &mut dyn ClientStarter) {
        let alive = Arc::new(AtomicU64::new(0));
        for _ in 0..self.clients.value() {
            let (settings, alive) = (self.clone(), alive.clone());
            let prefix = format!("{name}/");
            let run = job(async move |client: Client| {
                let mut holder = Holder {
                    prefix: format!("{prefix}{}/", client.name()),
                    rng: client.rng("leases"),
                    settings,
                    client,
                    alive,
                    lives: Vec::new(),
                    keep_alives: KeepAlives::default(),
                };
                holder.grant_all().await;
                holder.keep_some().await;
                holder.see_all_end().await;
            });
            clients.start("h", run);
        }
    }
}

struct Holder {
    settings: Leases,
    client: Client,
    rng: Rng,
    prefix: String,
    /// How many of all clients' leases have a key and were not seen to end.
    alive: Arc<AtomicU64>,
    lives: Vec<LeaseLife>,
    keep_alives: KeepAlives,
}

impl Holder {
    async fn grant_all(&mut self) {
        let timeout = self.settings.timeout.duration();
        for number in 0..self.settings.leases.value() {
            let id = LeaseId((self.rng.next_u64() >> 1).max(1) as i64);
            let ttl = self.rng.range(self.settings.ttl_s.range()) as i64;
            let granted = time::now();
            let grant = Request::LeaseGrant { id, ttl };
            if self.client.execute(grant, timeout).await.is_none() {
                continue;
            }
            let key = Bytes::from(format!("{}{number:05}", self.prefix));
            let put = PutRequest {
                lease: id,
                ..ops::put(&key, format!("{}-{number}", self.client.name()))
            };
            let mut life = LeaseLife::new(self.client.number(), id, ttl, key, granted);
            let put = self.client.execute(Request::Put(put), timeout).await;
            if put.is_none() {
                // Nobody can see it end; that it may not be missed is judged all the same.
                self.client.note(|history| history.leases.push(life));
                continue;
            }
            life.attached = Some(time::now());
            if self.alive.fetch_add(1, Ordering::Relaxed) + 1 == MANY {
                trace::mark("leases.many");
            }
            self.lives.push(life);
        }
    }

    /// Keeps some alive, each whenever a third of its time is over.
    async fn keep_some(&mut self) {
        let until = time::now() + self.settings.keep_for.duration();
        let kept: Vec<usize> = (0..self.lives.len())
            .filter(|_| self.rng.chance(self.settings.kept.value()))
            .collect();
        let shortest = *self.settings.ttl_s.range().start();
        while time::now() < until {
            self.keep_alive(&kept).await;
            time::sleep(Duration::from_millis(shortest * 1000 / 3)).await;
        }
    }

    async fn keep_alive(&mut self, indices: &[usize]) {
        let ids: Vec<LeaseId> = indices.iter().map(|index| self.lives[*index].id).collect();
        let timeout = self.settings.timeout.duration();
        let renewing = self.keep_alives.renew_all(&self.client, &ids, timeout);
        let (renewed, ended) = renewing.await;
        let unanswered = indices.iter().skip(renewed.len());
        for index in unanswered {
            self.lives[*index].gave_up_renewing = Some(time::now());
        }
        for (index, keep_alive) in indices.iter().zip(renewed) {
            self.lives[*index].keep_alives.push(keep_alive);
        }
        if ended.is_err() {
            self.client.go_elsewhere();
        }
    }

    /// Lists the keys until they are gone, and tries to keep some lease alive once more.
    async fn see_all_end(&mut self) {
        let give_up = time::now() + WAIT_MAX;
        while self.lives.iter().any(|life| life.gone.is_none()) && time::now() < give_up {
            let called = time::now();
            let list = RangeRequest {
                keys_only: true,
                ..RangeRequest::of(ops::prefix(&self.prefix))
            };
            let timeout = self.settings.timeout.duration();
            let listed = self.client.execute(Request::Range(list), timeout).await;
            if let Some((_, _, Reply::Range(range))) = listed {
                let there: BTreeSet<Bytes> = range.kvs.into_iter().map(|kv| kv.key).collect();
                self.note_present(called, &there);
            }
            time::sleep(self.settings.look_every.pick(&mut self.rng)).await;
        }
        if !self.lives.is_empty() {
            let index = self.rng.index(self.lives.len());
            self.keep_alive(&[index]).await;
        }
        let lives = std::mem::take(&mut self.lives);
        self.client.note(|history| history.leases.extend(lives));
    }

    /// Notes which keys were there when they were asked for.
    fn note_present(&mut self, called: Duration, there: &BTreeSet<Bytes>) {
        let now = time::now();
        for life in self.lives.iter_mut().filter(|life| life.gone.is_none()) {
            match there.contains(&life.key) {
                true => life.seen.push(called),
                false => {
                    life.gone = Some(now);
                    self.alive.fetch_sub(1, Ordering::Relaxed);
                }
            }
        }
    }
}
