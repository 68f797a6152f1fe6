//! Candidates that campaign, proclaim and resign, as etcd's elections do it, and observers that
//! follow who leads.

use crate::client::Client;
use crate::evidence::Observer;
use crate::rng::Rng;
use crate::scenario::settings::settings;
use crate::scenario::units::{Count, Counts, Ratio, Times};
use crate::workload::feed::wait_for_change;
use crate::workload::ops::{self, Guarded};
use crate::workload::session::{Place, Queue, Session, guarded_by};
use crate::workload::{Stage, Until, Work, job};
use crate::{time, trace};
use bytes::Bytes;
use detcd_core::api::{DeleteRangeRequest, Op, PutRequest};
use futures::FutureExt;
use std::time::Duration;

/// What a client waits for an answer.
const TIMEOUT: Duration = Duration::from_secs(2);

/// How long an observer watches before it looks for itself.
const PATIENCE: Duration = Duration::from_secs(2);

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
        /// How long a candidate waits before it gives up.
        patience: Times = ("5s", "30s"),
        /// What a client waits between two steps.
        pause: Times = ("0ms", "300ms"),
    }
}

impl Work for Election {
    fn start(&self, name: &str, stage: &mut dyn Stage) {
        for _ in 0..self.candidates.value() {
            let (election, queue) = (self.clone(), Queue::new(name));
            let run = job(async move |client: Client| {
                let rng = client.rng("election");
                let mut candidate = Candidate {
                    election,
                    queue,
                    client,
                    rng,
                };
                for _ in 0..candidate.election.rounds.value() {
                    candidate.campaign().await;
                }
            });
            stage.start("e", run);
        }
        for _ in 0..self.observers.value() {
            let queue = Queue::new(name);
            let run = move |client, until| observe(queue, client, until).boxed();
            stage.follow("o", Box::new(run));
        }
    }
}

struct Candidate {
    election: Election,
    queue: Queue,
    client: Client,
    rng: Rng,
}

impl Candidate {
    async fn pause(&mut self) {
        time::sleep(self.election.pause.pick(&mut self.rng)).await;
    }

    async fn campaign(&mut self) {
        let ttl_s = self.rng.range(self.election.ttl_s.range());
        let session = Session::open(&mut self.client, &mut self.rng, ttl_s).await;
        let Some(session) = session else {
            return;
        };
        let until = time::now() + self.election.patience.pick(&mut self.rng);
        let name = Bytes::from(format!("{} candidate", self.client.name()));
        let entered = self.queue.enter(&mut self.client, &session, name, until);
        let Some(place) = entered.await else {
            return session.revoke(&mut self.client).await;
        };
        trace::mark("election.won");
        for number in 0..self.rng.range(self.election.proclaims.range()) {
            let what = format!("{}-{}-{number}", self.client.name(), place.token);
            let proclaimed = self.proclaim(&session, &place, &what).await;
            if !proclaimed || !self.queue.write(&mut self.client, &place, &what).await {
                trace::mark("election.lost");
                break;
            }
            self.pause().await;
        }
        self.queue.note(&self.client, &session, &place);
        if self.rng.chance(self.election.dies.value()) {
            session.abandon();
        } else {
            let delete = DeleteRangeRequest {
                range: ops::one(&place.key),
                prev_kv: false,
            };
            let txn = guarded_by(&place, Op::DeleteRange(delete));
            ops::guarded(&mut self.client, txn, TIMEOUT).await;
            session.revoke(&mut self.client).await;
        }
        self.pause().await;
    }

    /// Gives the leader's key another value. False if it leads no more.
    async fn proclaim(&mut self, session: &Session, place: &Place, what: &str) -> bool {
        let put = PutRequest {
            lease: session.id,
            ..ops::put(&place.key, what.to_owned())
        };
        let txn = guarded_by(place, Op::Put(put));
        let done = ops::guarded(&mut self.client, txn, TIMEOUT).await;
        !matches!(done, Guarded::Not(_))
    }
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
            wait_for_change(&mut client, &queue.range(), revision + 1, PATIENCE).await;
        }
    }
    client.note(|history| history.observers.push(observer));
}
