//! Locks and elections by the service's own RPCs: the member that is asked stands in line for the
//! client. What it writes for the client may have happened, or not: so it is written down.

use crate::client::Client;
use crate::client_records::Observer;
use crate::framing::Broken;
use crate::history::{Reply, Request};
use crate::time;
use crate::workload::Until;
use crate::workload::ops;
use crate::workload::session::{Place, Queue, Session};
use bytes::Bytes;
use detcd_core::api::{Op, PutRequest, RangeRequest};
use detcd_service::Rpc;
use detcd_wire::{v3electionpb as election, v3lockpb as lock};
use std::time::Duration;

/// How long a client waits for an answer before it asks again.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Holds the lock once it returns. `None` without an answer in time, or if the service refused.
pub async fn lock(
    client: &mut Client,
    queue: &Queue,
    session: &Session,
    until: Duration,
) -> Option<Place> {
    let key = may_enter(client, queue, session, Bytes::new());
    let request = lock::LockRequest {
        name: queue.name(),
        lease: session.id.0,
    };
    let left = until.saturating_sub(time::now());
    let answer = client.call_until::<lock::LockResponse>(Rpc::Lock, &request, left);
    let reply = answer.await.ok()?;
    let entered = time::now();
    let entered_at = reply.header.expect("every response has a header").revision;
    assert_eq!(reply.key, key, "the key is named after the lease");
    // Who holds the lock had its key at the revision of the answer: which one, its past shows.
    let mut past = RangeRequest::of(ops::one(&key));
    past.revision = entered_at;
    while time::now() < until {
        let read = client.execute(Request::Range(past.clone()), TIMEOUT).await;
        if let Some((_, _, Reply::Range(range))) = read {
            let token = range.kvs.first().map_or(0, |kv| kv.create_revision);
            return Some(Place::new(key, token, (entered, entered_at)));
        }
        client.recover().await;
    }
    None
}

/// Gives the lock up.
pub async fn unlock(client: &mut Client, place: &Place) {
    may_delete(client, &place.key);
    let request = lock::UnlockRequest {
        key: place.key.clone(),
    };
    // Without an answer the lease ends it.
    let _ = client
        .call::<lock::UnlockResponse>(Rpc::Unlock, &request, TIMEOUT)
        .await;
}

/// Leads once it returns. `None` without an answer in time, or if the service refused.
pub async fn campaign(
    client: &mut Client,
    queue: &Queue,
    session: &Session,
    value: Bytes,
    until: Duration,
) -> Option<Place> {
    let key = may_enter(client, queue, session, value.clone());
    let request = election::CampaignRequest {
        name: queue.name(),
        lease: session.id.0,
        value,
    };
    let left = until.saturating_sub(time::now());
    let answer = client.call_until::<election::CampaignResponse>(Rpc::Campaign, &request, left);
    let leader = answer.await.ok()?.leader.expect("who leads");
    assert_eq!(leader.key, key, "the key is named after the lease");
    // The answer's revision is that of its key: whether it leads now, a read shows.
    while time::now() < until && session.is_alive() {
        if let Some((entered_at, kv)) = ops::read(client, &key, TIMEOUT).await {
            let is_there = kv.is_some_and(|kv| kv.create_revision == leader.rev);
            let entered = (time::now(), entered_at);
            return is_there.then(|| Place::new(key, leader.rev, entered));
        }
    }
    None
}

/// Writes down every leader that the service tells of.
pub async fn observe(queue: Queue, mut client: Client, mut until: Until) {
    let mut observer = Observer {
        name: client.name().to_owned(),
        queue: queue.range(),
        seen: Vec::new(),
    };
    while until.borrow().is_none() {
        let end = watch(&queue, &client, &mut observer);
        tokio::select! {
            biased;
            _ = until.wait_for(Option::is_some) => break,
            _ = end => {}
        }
        client.recover().await;
    }
    client.note(|history| history.observers.push(observer));
}

/// One stream of the service, until it ends.
async fn watch(queue: &Queue, client: &Client, observer: &mut Observer) -> Result<(), Broken> {
    let mut call = client.open(Rpc::Observe);
    let request = election::LeaderRequest { name: queue.name() };
    call.send(&request).await?;
    while let Some(told) = call.recv::<election::LeaderResponse>().await? {
        let revision = told.header.expect("every response has a header").revision;
        let leader = told.kv.expect("a leader").into();
        observer.seen.push((revision, leader));
    }
    Ok(())
}

/// Writes down what the service may write for the client; gives the key.
fn may_enter(client: &Client, queue: &Queue, session: &Session, value: Bytes) -> Bytes {
    let key = queue.key(session);
    let put = PutRequest {
        lease: session.id,
        ..ops::put(&key, value)
    };
    let enter = ops::when([ops::created_at(&key, 0)], [Op::Put(put)]);
    client.may_happen(Request::Txn(enter));
    // If the client goes away.
    may_delete(client, &key);
    key
}

fn may_delete(client: &Client, key: &Bytes) {
    let delete = ops::delete(ops::one(key), false);
    client.may_happen(Request::Delete(delete));
}
