//! Clients that take turns in a lock, as etcd's mutex does it: whoever holds it writes what only
//! its holder may write.

use crate::client::Client;
use crate::rng::Rng;
use crate::scenario::settings::settings;
use crate::scenario::units::{Count, Counts, Ratio, Times};
use crate::workload::session::{Queue, Session, guarded_by};
use crate::workload::{Stage, Work, job, ops};
use crate::{time, trace};
use bytes::Bytes;
use detcd_core::api::{DeleteRangeRequest, Op};
use std::time::Duration;

/// What a client waits for an answer.
const TIMEOUT: Duration = Duration::from_secs(2);

settings! {
    /// Clients that take turns in a lock, and write what only its holder may write.
    pub struct Lock {
        /// How many clients.
        pub clients: Count [1..=1000] = 3,
        /// How often each of them wants the lock.
        rounds: Count = 6,
        /// Time-to-live of their leases, in seconds; drawn for each.
        ttl_s: Counts [1..=600] = (2, 4),
        /// Guarded writes of one turn.
        writes: Counts [0..=1000] = (0, 5),
        /// How likely a holder goes away without a word, so that its lease has to end by itself.
        dies: Ratio = 0.15,
        /// How likely a holder sleeps through its lease, and writes then.
        oversleeps: Ratio = 0.1,
        /// How long a client waits for its turn before it gives up.
        patience: Times = ("5s", "30s"),
        /// What a client waits between two writes, and between two turns.
        pause: Times = ("0ms", "200ms"),
    }
}

impl Work for Lock {
    fn start(&self, name: &str, stage: &mut dyn Stage) {
        for _ in 0..self.clients.value() {
            let (lock, queue) = (self.clone(), Queue::new(name));
            let run = job(async move |client: Client| {
                let rng = client.rng("lock");
                let mut locker = Locker {
                    lock,
                    queue,
                    client,
                    rng,
                };
                for _ in 0..locker.lock.rounds.value() {
                    locker.round().await;
                }
            });
            stage.start("m", run);
        }
    }
}

struct Locker {
    lock: Lock,
    queue: Queue,
    client: Client,
    rng: Rng,
}

impl Locker {
    async fn pause(&mut self) {
        time::sleep(self.lock.pause.pick(&mut self.rng)).await;
    }

    async fn round(&mut self) {
        let ttl_s = self.rng.range(self.lock.ttl_s.range());
        let session = Session::open(&mut self.client, &mut self.rng, ttl_s).await;
        let Some(session) = session else {
            return;
        };
        let until = time::now() + self.lock.patience.pick(&mut self.rng);
        let name = Bytes::copy_from_slice(self.client.name().as_bytes());
        let entered = self.queue.enter(&mut self.client, &session, name, until);
        let Some(place) = entered.await else {
            trace::mark("lock.given_up");
            return session.revoke(&mut self.client).await;
        };
        trace::mark("lock.entered");
        if self.rng.chance(self.lock.oversleeps.value()) {
            session.abandon();
            let past = session.deadline() + Duration::from_secs(1);
            time::sleep(past.saturating_sub(time::now())).await;
        }
        for number in 0..self.rng.range(self.lock.writes.range()) {
            let what = format!("{}-{}-{number}", self.client.name(), place.token);
            if !self.queue.write(&mut self.client, &place, &what).await {
                trace::mark("lock.fenced");
                break;
            }
            self.pause().await;
        }
        self.queue.note(&self.client, &session, &place);
        if self.rng.chance(self.lock.dies.value()) {
            session.abandon();
        } else if self.rng.chance(0.5) {
            session.revoke(&mut self.client).await;
        } else {
            let delete = DeleteRangeRequest {
                range: ops::one(&place.key),
                prev_kv: false,
            };
            let txn = guarded_by(&place, Op::DeleteRange(delete));
            ops::guarded(&mut self.client, txn, TIMEOUT).await;
            session.abandon();
        }
        self.pause().await;
    }
}
