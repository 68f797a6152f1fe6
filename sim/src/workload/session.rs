//! The recipes that locks and elections share, as etcd's clients have them: a session is a lease
//! that is kept alive, and a queue is keys on leases, of which the oldest has its turn.

use crate::client::Client;
use crate::client_records::Turn;
use crate::history::{Reply, Request};
use crate::rng::Rng;
use crate::scenario::units::{Counts, Ratio, Times};
use crate::time;
use crate::workload::feed;
use crate::workload::keep_alives::KeepAlives;
use crate::workload::ops::{self, Guarded};
use crate::workload::turns_by_service;
use bytes::Bytes;
use detcd_core::api::{
    KeyRange, KeyValue, LeaseId, Op, OpReply, PutRequest, RangeRequest, SortOrder, SortTarget,
    TxnRequest,
};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// How long a client waits for an answer before it asks again.
const TIMEOUT: Duration = Duration::from_secs(2);

/// How long a waiter watches the key before its own before it looks for itself.
const WATCH_TIMEOUT: Duration = Duration::from_secs(3);

/// A lease, kept alive by a task of its own until it is lost or closed.
pub struct Session {
    pub id: LeaseId,
    ttl_s: u64,
    life: Arc<Mutex<Life>>,
}

struct Life {
    /// When the last keepalive was called that was answered, or the grant.
    renewed: Duration,
    /// The cluster does not know the lease.
    lost: bool,
    closed: bool,
}

impl Session {
    /// `None` if the cluster does not answer in time.
    pub async fn open(client: &mut Client, rng: &mut Rng, ttl_s: u64) -> Option<Session> {
        let id = LeaseId((rng.next_u64() >> 1).max(1) as i64);
        let ttl = i64::try_from(ttl_s).expect("times are short");
        let renewed = time::now();
        client
            .execute(Request::LeaseGrant { id, ttl }, TIMEOUT)
            .await?;
        let life = Life {
            renewed,
            lost: false,
            closed: false,
        };
        let session = Session {
            id,
            ttl_s,
            life: Arc::new(Mutex::new(life)),
        };
        let keeper = client.fork("keeper");
        detcd_rt::spawn(keep_alive(keeper, id, ttl_s, session.life.clone()));
        Some(session)
    }

    /// Until when the lease is known to last.
    pub fn deadline(&self) -> Duration {
        self.life().renewed + Duration::from_secs(self.ttl_s)
    }

    /// Whether the lease is known to be there.
    pub fn is_alive(&self) -> bool {
        let lasts = !self.life().lost && time::now() < self.deadline();
        lasts || detcd_core::mutant!(LockAfterLease)
    }

    /// Keeps the lease alive no longer; it ends by itself.
    pub fn abandon(&self) {
        self.life().closed = true;
    }

    /// Ends the lease.
    pub async fn revoke(&self, client: &mut Client) {
        self.abandon();
        let request = Request::LeaseRevoke { id: self.id };
        client.execute(request, TIMEOUT).await;
    }

    fn life(&self) -> MutexGuard<'_, Life> {
        self.life.lock().expect("no holder panics")
    }
}

async fn keep_alive(mut client: Client, id: LeaseId, ttl_s: u64, life: Arc<Mutex<Life>>) {
    let third = Duration::from_millis(ttl_s * 1000 / 3);
    let mut keep_alives = KeepAlives::default();
    loop {
        time::sleep(third).await;
        if life.lock().expect("no holder panics").closed {
            return;
        }
        match keep_alives.renew(&client, id, third).await {
            Ok(answer) => {
                let mut life = life.lock().expect("no holder panics");
                if answer.ttl <= 0 {
                    life.lost = true;
                    return;
                }
                life.renewed = answer.called;
            }
            Err(_) => client.recover().await,
        }
    }
}

/// Keys under a prefix, each on its owner's lease: who created his first has his turn.
#[derive(Clone, Debug)]
pub struct Queue {
    prefix: String,
    /// What those who have their turn write.
    guarded: Bytes,
}

/// A client's place in a queue; once it is the first, its turn.
pub struct Place {
    pub key: Bytes,
    /// The key's create revision, which nobody else ever has: the fencing token.
    pub token: i64,
    /// When it was this client's turn, and at which revision.
    entered: Duration,
    entered_at: i64,
}

impl Place {
    pub fn new(key: Bytes, token: i64, (entered, entered_at): (Duration, i64)) -> Place {
        Place {
            key,
            token,
            entered,
            entered_at,
        }
    }
}

impl Queue {
    /// The queue of the workload of this name.
    pub fn new(name: &str) -> Queue {
        Queue {
            prefix: format!("{name}/queue/"),
            guarded: Bytes::from(format!("{name}/guarded")),
        }
    }

    pub fn range(&self) -> KeyRange {
        ops::prefix(&self.prefix)
    }

    /// How the service names the queue.
    pub fn name(&self) -> Bytes {
        let name = self.prefix.strip_suffix('/').expect("it ends so");
        Bytes::copy_from_slice(name.as_bytes())
    }

    /// The key of a session.
    pub fn key(&self, session: &Session) -> Bytes {
        Bytes::from(format!("{}{:x}", self.prefix, session.id.0))
    }

    /// Stands in line and waits. `None` if the lease is lost, or the time is over; then the key
    /// may still be there, on the lease.
    pub async fn enter(
        &self,
        client: &mut Client,
        session: &Session,
        value: Bytes,
        until: Duration,
    ) -> Option<Place> {
        let key = self.key(session);
        let token = stand_in_line(client, session, &key, value, until).await?;
        while let Some(before) = self.before(client, session, token, until).await? {
            let (revision, before) = before;
            feed::wait_for_delete(client, &before.key, revision + 1, WATCH_TIMEOUT).await;
        }
        // While it waited the lease may have ended, and the key with it: then it is not the first
        // but not there at all.
        loop {
            if !session.is_alive() || time::now() > until {
                return None;
            }
            if let Some((entered_at, kv)) = ops::read(client, &key, TIMEOUT).await {
                let is_there = kv.is_some_and(|kv| kv.create_revision == token);
                if !is_there && !detcd_core::mutant!(LockAfterLease) {
                    return None;
                }
                let entered = time::now();
                return session.is_alive().then_some(Place {
                    key,
                    token,
                    entered,
                    entered_at,
                });
            }
        }
    }

    /// The last of those who came before this token, and the revision of the answer. The outer
    /// `None`: the lease is lost, or the time is over.
    async fn before(
        &self,
        client: &mut Client,
        session: &Session,
        token: i64,
        until: Duration,
    ) -> Option<Option<(i64, KeyValue)>> {
        let mut request = RangeRequest::of(self.range());
        request.max_create_revision = token - 1;
        (request.sort_order, request.sort_target) = (SortOrder::Descend, SortTarget::Create);
        request.limit = 1;
        while session.is_alive() && time::now() < until {
            let request = Request::Range(request.clone());
            if let Some((_, revision, Reply::Range(range))) = client.execute(request, TIMEOUT).await
            {
                return Some(range.kvs.into_iter().next().map(|kv| (revision, kv)));
            }
        }
        None
    }

    /// Who has his turn now, and the revision of the answer; `None` without an answer.
    pub async fn first(&self, client: &mut Client) -> Option<(i64, Option<KeyValue>)> {
        let mut request = RangeRequest::of(self.range());
        (request.sort_order, request.sort_target) = (SortOrder::Ascend, SortTarget::Create);
        request.limit = 1;
        let (_, revision, reply) = client.execute(Request::Range(request), TIMEOUT).await?;
        let Reply::Range(range) = reply else {
            unreachable!("a read is answered as one")
        };
        Some((revision, range.kvs.into_iter().next()))
    }

    /// Writes what only those may write who have their turn. False if this one has it no more.
    pub async fn write(&self, client: &mut Client, place: &Place, what: &str) -> bool {
        let value = format!("{} {what}", place.token);
        let put = ops::put(&self.guarded, value);
        let txn = guarded_by(place, Op::Put(put));
        !matches!(ops::guarded(client, txn, TIMEOUT).await, Guarded::Not(_))
    }

    /// Writes down how it was.
    pub fn note(&self, client: &Client, session: &Session, place: &Place) {
        let turn = Turn {
            client: client.number(),
            queue: self.range(),
            guarded: self.guarded.clone(),
            key: place.key.clone(),
            token: place.token,
            entered: place.entered,
            entered_at: place.entered_at,
            left: time::now().min(session.deadline()),
            renewed: session.life().renewed,
            ttl_s: session.ttl_s,
        };
        client.note(|history| history.turns.push(turn));
    }
}

/// How a client stands in line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// By leases, transactions and watches of its own, as etcd's clients do.
    Itself,
    /// By the service of locks.
    LockService,
    /// By that of elections.
    ElectionService,
}

/// A client that takes turns in a queue.
pub struct QueueClient {
    pub queue: Queue,
    pub client: Client,
    pub rng: Rng,
    /// Draws the ways.
    ways: Rng,
}

impl QueueClient {
    /// `stream` names its draws.
    pub fn new(queue: Queue, client: Client, stream: &str) -> QueueClient {
        let rng = client.rng(stream);
        let ways = client.rng(&format!("{stream}/ways"));
        QueueClient {
            queue,
            client,
            rng,
            ways,
        }
    }

    /// How it stands in line this time.
    pub fn way(&mut self, by_service: &Ratio, service: Way) -> Way {
        match self.ways.chance(by_service.value()) {
            true => service,
            false => Way::Itself,
        }
    }

    pub async fn pause(&mut self, pause: &Times) {
        time::sleep(pause.pick(&mut self.rng)).await;
    }

    /// Opens a session and waits for its turn. `None` once the timeout is over; nothing of
    /// it is in the queue then.
    pub async fn wait(
        &mut self,
        way: Way,
        ttl_s: &Counts,
        timeout: &Times,
        name: String,
    ) -> Option<(Session, Place)> {
        let ttl_s = self.rng.range(ttl_s.range());
        let session = Session::open(&mut self.client, &mut self.rng, ttl_s).await?;
        let until = time::now() + timeout.pick(&mut self.rng);
        let name = Bytes::from(name);
        let (client, queue) = (&mut self.client, &self.queue);
        let entered = match way {
            Way::Itself => queue.enter(client, &session, name, until).await,
            Way::LockService => turns_by_service::lock(client, queue, &session, until).await,
            Way::ElectionService => {
                turns_by_service::campaign(client, queue, &session, name, until).await
            }
        };
        if entered.is_none() {
            session.revoke(&mut self.client).await;
        }
        entered.map(|place| (session, place))
    }

    /// Gives the turn up: whoever is next has it.
    pub async fn leave(&mut self, place: &Place) {
        let delete = ops::delete(ops::one(&place.key), false);
        let txn = guarded_by(place, Op::DeleteRange(delete));
        ops::guarded(&mut self.client, txn, TIMEOUT).await;
    }
}

/// An operation that is done only if the place is still there.
pub fn guarded_by(place: &Place, op: Op) -> TxnRequest {
    ops::when([ops::created_at(&place.key, place.token)], [op])
}

/// Creates the key if it is not there, and gives its create revision. What became of an attempt
/// of unknown outcome, the next one shows.
async fn stand_in_line(
    client: &mut Client,
    session: &Session,
    key: &Bytes,
    value: Bytes,
    until: Duration,
) -> Option<i64> {
    let put = PutRequest {
        lease: session.id,
        ..ops::put(key, value)
    };
    let txn = TxnRequest {
        compare: vec![ops::created_at(key, 0)],
        success: vec![Op::Put(put)],
        failure: vec![Op::Range(ops::get(key))],
    };
    while session.is_alive() && time::now() < until {
        match ops::guarded(client, txn.clone(), TIMEOUT).await {
            Guarded::Done(revision, _) => return Some(revision),
            Guarded::Not(Some(reply)) => {
                let [OpReply::Range(range)] = &reply.responses[..] else {
                    unreachable!("a read is answered as one")
                };
                return range.kvs.first().map(|kv| kv.create_revision);
            }
            Guarded::Not(None) => return None,
            Guarded::Unknown => {}
        }
    }
    None
}
