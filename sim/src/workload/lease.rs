//! Clients that grant leases, attach a key, keep them alive for a while, and wait for the end.

use crate::client::Client;
use crate::history::{LeaseLife, Reply, Request, TimeToLive};
use crate::rng::Rng;
use crate::scenario::settings::settings;
use crate::scenario::units::{Count, Counts, Ratio, Time};
use crate::time;
use crate::trace;
use crate::workload::keep_alives::KeepAlives;
use crate::workload::{ClientStarter, Work, job};
use bytes::Bytes;
use detcd_core::api::{KeyRange, LeaseId, PutRequest, RangeRequest};
use detcd_service::Rpc;
use detcd_wire::etcdserverpb as pb;
use std::time::Duration;

/// How long a client waits for the end of a lease that it does not renew any more. Far longer
/// than any time-to-live, elections and faults included.
pub const WAIT_MAX: Duration = Duration::from_secs(60);

settings! {
    /// Clients that grant leases, attach a key, keep them alive for a while, and wait for the end.
    pub struct Lease {
        /// How many clients.
        pub clients: Count [1..=1000] = 3,
        /// Leases of each client, one after the other.
        rounds: Count = 4,
        /// Their time to live, in seconds; drawn for each lease.
        ttl_s: Counts [1..=3600] = (2, 4),
        /// How many further keys a lease gets.
        more_keys: Counts [0..=1000] = (0, 2),
        /// How many leases a client grants beside, each time, and leaves to their end.
        spare: Counts [0..=100_000] = (0, 2),
        /// What a client waits for an answer.
        timeout: Time = "2s",
        /// How likely a client stops to renew its lease and tries once more when the lease is just
        /// about to end, or has ended.
        late: Ratio = 0.0,
        /// How likely the id of a lease is negative, which ids may be.
        negative_ids: Ratio = 0.0,
    }
}

impl Lease {
    async fn run(&self, client: Client) {
        let (rng, rare) = (client.rng("lease"), client.rng("lease/manners"));
        let mut work = Holder {
            client,
            rng,
            rare,
            late: self.late.value(),
            negative_ids: self.negative_ids.value(),
            timeout: self.timeout.duration(),
            keep_alives: KeepAlives::default(),
        };
        for round in 0..self.rounds.value() {
            let ttl = work.rng.range(self.ttl_s.range()) as i64;
            let spare = work.rng.range(self.spare.range());
            work.grant_spare(spare, ttl).await;
            if let Some((mut life, has_key)) = work.begin(round, ttl).await {
                if !has_key {
                    // Nobody can see it end, but what is told of it is judged.
                    work.ask(&mut life).await;
                    work.client.note(|history| history.leases.push(life));
                    continue;
                }
                let more = work.rng.range(self.more_keys.range());
                work.attach_more(&life, more).await;
                work.live(&mut life).await;
                work.see_the_end(&mut life).await;
                work.client.note(|history| history.leases.push(life));
            }
        }
    }
}

impl Work for Lease {
    fn start(&self, _name: &str, clients: &mut dyn ClientStarter) {
        for _ in 0..self.clients.value() {
            let lease = self.clone();
            clients.start("l", job(async move |client| lease.run(client).await));
        }
    }
}

struct Holder {
    client: Client,
    rng: Rng,
    /// For what not every scenario has, so that it does not shift the other draws.
    rare: Rng,
    timeout: Duration,
    late: f64,
    negative_ids: f64,
    keep_alives: KeepAlives,
}

impl Holder {
    /// A lease that was granted, and whether its key is known to be there.
    async fn begin(&mut self, round: u64, ttl: i64) -> Option<(LeaseLife, bool)> {
        let mut id = LeaseId((self.rng.next_u64() >> 1).max(1) as i64);
        if self.rare.chance(self.negative_ids) {
            id.0 = -id.0;
        }
        let key = Bytes::from(format!("l/{}/{round}", self.client.name()));
        let granted = time::now();
        self.execute(Request::LeaseGrant { id, ttl }).await?;
        let put = PutRequest {
            key: key.clone(),
            value: Bytes::from(format!("{}-lease-{round}", self.client.name())),
            lease: id,
            ..PutRequest::default()
        };
        let has_key = self.execute(Request::Put(put)).await.is_some();
        let mut life = LeaseLife::new(self.client.number(), id, ttl, key, granted);
        life.attached = has_key.then(time::now);
        Some((life, has_key))
    }

    /// Attaches further keys, and takes some away again: those stay when the lease ends.
    async fn attach_more(&mut self, life: &LeaseLife, count: u64) {
        for number in 0..count {
            let key = [&life.key[..], format!("/{number}").as_bytes()].concat();
            let value = |what: &str| Bytes::from(format!("{what} {:x}-{number}", life.id.0));
            let put = PutRequest {
                key: key.into(),
                value: value("attached"),
                lease: life.id,
                ..PutRequest::default()
            };
            self.execute(Request::Put(put.clone())).await;
            if self.rng.chance(0.3) {
                let put = PutRequest {
                    value: value("detached"),
                    lease: LeaseId::NONE,
                    ..put
                };
                self.execute(Request::Put(put)).await;
            }
        }
    }

    /// Grants leases that nobody uses; they end by themselves.
    async fn grant_spare(&mut self, count: u64, ttl: i64) {
        for _ in 0..count {
            let id = LeaseId((self.rng.next_u64() >> 1).max(1) as i64);
            self.execute(Request::LeaseGrant { id, ttl }).await;
        }
    }

    async fn ask(&mut self, life: &mut LeaseLife) {
        let called = time::now();
        let request = pb::LeaseTimeToLiveRequest {
            id: life.id.0,
            keys: self.rng.chance(0.5),
        };
        let answer = self
            .client
            .call::<pb::LeaseTimeToLiveResponse>(Rpc::LeaseTimeToLive, &request, self.timeout)
            .await;
        match answer {
            Ok(answer) => life.ttl_replies.push(TimeToLive {
                called,
                ended: time::now(),
                ttl: answer.ttl,
                granted: answer.granted_ttl,
                keys: request.keys.then(|| answer.keys.into_iter().collect()),
            }),
            Err(_) => self.client.go_elsewhere(),
        }
        // The client writes the answer down.
        let request = pb::LeaseLeasesRequest {};
        let listed = self
            .client
            .call::<pb::LeaseLeasesResponse>(Rpc::LeaseLeases, &request, self.timeout)
            .await;
        if listed.is_err() {
            self.client.go_elsewhere();
        }
    }

    async fn execute(&mut self, request: Request) -> Option<Reply> {
        let done = self.client.execute(request, self.timeout).await;
        done.map(|(_, _, reply)| reply)
    }

    /// Keeps it alive for a while, and perhaps revokes it then.
    async fn live(&mut self, life: &mut LeaseLife) {
        for _ in 0..self.rng.range(0..=6) {
            time::sleep(Duration::from_millis(life.ttl as u64 * 1000 / 3)).await;
            self.keep_alive(life).await;
            if self.rng.chance(0.3) {
                self.ask(life).await;
            }
        }
        if self.rare.chance(self.late) {
            let ttl = life.ttl as u64 * 1000;
            let wait = self.rare.range(ttl - 100..=ttl + 400);
            time::sleep(Duration::from_millis(wait)).await;
            self.keep_alive(life).await;
        }
        if self.rng.chance(0.2) {
            life.revoked = true;
            self.execute(Request::LeaseRevoke { id: life.id }).await;
        }
    }

    async fn keep_alive(&mut self, life: &mut LeaseLife) {
        let renewing = self.keep_alives.renew(&self.client, life.id, self.timeout);
        match renewing.await {
            Ok(renewed) => life.keep_alives.push(renewed),
            Err(_) => {
                life.gave_up_renewing = Some(time::now());
                self.client.go_elsewhere();
            }
        }
    }

    /// Reads the key until it is gone, and then tries to keep the lease alive once more.
    async fn see_the_end(&mut self, life: &mut LeaseLife) {
        let give_up = time::now() + WAIT_MAX;
        while time::now() < give_up {
            let called = time::now();
            let get = RangeRequest::of(KeyRange::One(life.key.clone()));
            if let Some(Reply::Range(range)) = self.execute(Request::Range(get)).await {
                if range.kvs.is_empty() {
                    life.gone = Some(time::now());
                    break;
                }
                if called >= life.last_begun() + Duration::from_millis(life.ttl as u64 * 500) {
                    trace::mark("lease.past-half");
                }
                life.seen.push(called);
            }
            time::sleep(Duration::from_millis(self.rng.range(50..=300))).await;
        }
        self.keep_alive(life).await;
    }
}
