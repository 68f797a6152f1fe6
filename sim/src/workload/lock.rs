//! Clients that take turns in a lock, as etcd's mutex does it: whoever holds it writes what only
//! its holder may write.

use crate::client::Client;
use crate::scenario::settings::settings;
use crate::scenario::units::{Count, Counts, Ratio, Times};
use crate::workload::session::{Queue, QueueClient, Way};
use crate::workload::{ClientStarter, Work, job, turns_by_service};
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
        /// How likely a client takes its turn by the service's RPCs, and not by transactions.
        by_service: Ratio = 0.0,
        /// How long a client waits for its turn before it gives up.
        turn_timeout: Times = ("5s", "30s"),
        /// What a client waits between two writes, and between two turns.
        pause: Times = ("0ms", "200ms"),
    }
}

impl Work for Lock {
    fn start(&self, name: &str, clients: &mut dyn ClientStarter) {
        for _ in 0..self.clients.value() {
            let (lock, queue) = (self.clone(), Queue::new(name));
            let run = job(async move |client: Client| {
                let queue_client = QueueClient::new(queue, client, "lock");
                let mut lock_client = LockClient { lock, queue_client };
                for _ in 0..lock_client.lock.rounds.value() {
                    lock_client.round().await;
                }
            });
            clients.start("m", run);
        }
    }
}

struct LockClient {
    lock: Lock,
    queue_client: QueueClient,
}

impl LockClient {
    async fn round(&mut self) {
        let LockClient { lock, queue_client } = self;
        let name = queue_client.client.name().to_owned();
        let way = queue_client.way(&lock.by_service, Way::LockService);
        let entered = queue_client
            .wait(way, &lock.ttl_s, &lock.turn_timeout, name)
            .await;
        let Some((session, place)) = entered else {
            trace::mark("lock.given_up");
            return;
        };
        trace::mark("lock.entered");
        if way == Way::LockService {
            trace::mark("lock.entered-by-service");
        }
        if queue_client.rng.chance(lock.oversleeps.value()) {
            session.abandon();
            let past = session.deadline() + Duration::from_secs(1);
            time::sleep(past.saturating_sub(time::now())).await;
        }
        for number in 0..queue_client.rng.range(lock.writes.range()) {
            let what = format!("{}-{}-{number}", queue_client.client.name(), place.token);
            if !queue_client
                .queue
                .write(&mut queue_client.client, &place, &what)
                .await
            {
                trace::mark("lock.fenced");
                break;
            }
            queue_client.pause(&lock.pause).await;
        }
        queue_client
            .queue
            .note(&queue_client.client, &session, &place);
        if queue_client.rng.chance(lock.dies.value()) {
            session.abandon();
        } else if queue_client.rng.chance(0.5) {
            session.revoke(&mut queue_client.client).await;
        } else if way == Way::LockService {
            turns_by_service::unlock(&mut queue_client.client, &place).await;
            session.abandon();
        } else {
            queue_client.leave(&place).await;
            session.abandon();
        }
        queue_client.pause(&lock.pause).await;
    }
}
