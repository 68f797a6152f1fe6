//! Clients that take turns in a lock, as etcd's mutex does it: whoever holds it writes what only
//! its holder may write.

use crate::client::Client;
use crate::scenario::settings::settings;
use crate::scenario::units::{Count, Counts, Ratio, Times};
use crate::workload::session::{Queue, Taker};
use crate::workload::{Stage, Work, job};
use crate::{time, trace};
use std::time::Duration;

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
                let taker = Taker::new(queue, client, "lock");
                let mut locker = Locker { lock, taker };
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
    taker: Taker,
}

impl Locker {
    async fn round(&mut self) {
        let Locker { lock, taker } = self;
        let name = taker.client.name().to_owned();
        let entered = taker.wait(&lock.ttl_s, &lock.patience, name).await;
        let Some((session, place)) = entered else {
            trace::mark("lock.given_up");
            return;
        };
        trace::mark("lock.entered");
        if taker.rng.chance(lock.oversleeps.value()) {
            session.abandon();
            let past = session.deadline() + Duration::from_secs(1);
            time::sleep(past.saturating_sub(time::now())).await;
        }
        for number in 0..taker.rng.range(lock.writes.range()) {
            let what = format!("{}-{}-{number}", taker.client.name(), place.token);
            if !taker.queue.write(&mut taker.client, &place, &what).await {
                trace::mark("lock.fenced");
                break;
            }
            taker.pause(&lock.pause).await;
        }
        taker.queue.note(&taker.client, &session, &place);
        if taker.rng.chance(lock.dies.value()) {
            session.abandon();
        } else if taker.rng.chance(0.5) {
            session.revoke(&mut taker.client).await;
        } else {
            taker.leave(&place).await;
            session.abandon();
        }
        taker.pause(&lock.pause).await;
    }
}
