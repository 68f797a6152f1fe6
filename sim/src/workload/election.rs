//! Candidates that campaign, proclaim and resign, as etcd's elections do it, and observers that
//! follow who leads.

use crate::client::Client;
use crate::client_records::Observer;
use crate::scenario::settings::settings;
use crate::scenario::units::{Count, Counts, Ratio, Times};
use crate::trace;
use crate::workload::feed::wait_for_change;
use crate::workload::ops::{self, Guarded};
use crate::workload::session::{Place, Queue, QueueClient, Session, Way, guarded_by};
use crate::workload::{ClientStarter, Until, Work, job, turns_by_service};
use detcd_core::api::{Op, PutRequest};
use futures::FutureExt;
use std::time::Duration;

/// What a client waits for an answer.
const TIMEOUT: Duration = Duration::from_secs(2);

/// How long an observer watches before it looks for itself.
const WATCH_TIMEOUT: Duration = Duration::from_secs(2);

settings! {
    /// Candidates that campaign, proclaim and resign, and observers that follow who leads.
    pub struct Election {
        /// How many candidates.
        pub candidates: Count [1..=1000] = 3,
        /// How many observers.
        pub observers: Count [0..=1000] = 1,
        /// How often each candidate campaigns.
        rounds: Count = 5,
        /// Time-to-live of their leases, in seconds; drawn for each.
        ttl_s: Counts [1..=600] = (2, 4),
        /// What a leader proclaims in its time.
        proclaims: Counts [0..=1000] = (0, 4),
        /// How likely a leader goes away without a word, so that its lease has to end by itself.
        dies: Ratio = 0.2,
        /// How likely a candidate or an observer goes by the service's RPCs.
        by_service: Ratio = 0.0,
        /// How long a candidate waits before it gives up.
        turn_timeout: Times = ("5s", "30s"),
        /// What a client waits between two steps.
        pause: Times = ("0ms", "300ms"),
    }
}

impl Work for Election {
    fn start(&self, name: &str, clients: &mut dyn ClientStarter) {
        for _ in 0..self.candidates.value() {
            let (election, queue) = (self.clone(), Queue::new(name));
            let run = job(async move |client: Client| {
                let queue_client = QueueClient::new(queue, client, "election");
                let mut candidate = Candidate {
                    election,
                    queue_client,
                };
                for _ in 0..candidate.election.rounds.value() {
                    candidate.campaign().await;
                }
            });
            clients.start("e", run);
        }
        for _ in 0..self.observers.value() {
            let (queue, by_service) = (Queue::new(name), self.by_service);
            let run = move |client: Client, until| {
                let by_service = client.rng("observer").chance(by_service.value());
                match by_service {
                    true => turns_by_service::observe(queue, client, until).boxed(),
                    false => observe(queue, client, until).boxed(),
                }
            };
            clients.follow("o", Box::new(run));
        }
    }
}

struct Candidate {
    election: Election,
    queue_client: QueueClient,
}

impl Candidate {
    async fn campaign(&mut self) {
        let Candidate {
            election,
            queue_client,
        } = self;
        let name = format!("{} candidate", queue_client.client.name());
        let way = queue_client.way(&election.by_service, Way::ElectionService);
        let entered = queue_client
            .wait(way, &election.ttl_s, &election.turn_timeout, name)
            .await;
        let Some((session, place)) = entered else {
            return;
        };
        trace::mark("election.won");
        if way == Way::ElectionService {
            trace::mark("election.won-by-service");
        }
        for number in 0..queue_client.rng.range(election.proclaims.range()) {
            let what = format!("{}-{}-{number}", queue_client.client.name(), place.token);
            let proclaimed = proclaim(&mut queue_client.client, &session, &place, &what).await;
            if !proclaimed
                || !queue_client
                    .queue
                    .write(&mut queue_client.client, &place, &what)
                    .await
            {
                trace::mark("election.lost");
                break;
            }
            queue_client.pause(&election.pause).await;
        }
        queue_client
            .queue
            .note(&queue_client.client, &session, &place);
        if queue_client.rng.chance(election.dies.value()) {
            session.abandon();
        } else {
            queue_client.leave(&place).await;
            session.revoke(&mut queue_client.client).await;
        }
        queue_client.pause(&election.pause).await;
    }
}

/// Gives the leader's key another value. False if it leads no more.
async fn proclaim(client: &mut Client, session: &Session, place: &Place, what: &str) -> bool {
    let put = PutRequest {
        lease: session.id,
        ..ops::put(&place.key, what.to_owned())
    };
    let txn = guarded_by(place, Op::Put(put));
    let done = ops::guarded(client, txn, TIMEOUT).await;
    !matches!(done, Guarded::Not(_))
}

/// Looks who leads, again whenever that may have changed.
async fn observe(queue: Queue, mut client: Client, until: Until) {
    let mut observer = Observer {
        name: client.name().to_owned(),
        queue: queue.range(),
        seen: Vec::new(),
    };
    loop {
        let is_over = until.borrow().is_some();
        if let Some((revision, first)) = queue.first(&mut client).await {
            observer.seen.extend(first.map(|kv| (revision, kv)));
            if is_over {
                break;
            }
            wait_for_change(&mut client, &queue.range(), revision + 1, WATCH_TIMEOUT).await;
        }
    }
    client.note(|history| history.observers.push(observer));
}
