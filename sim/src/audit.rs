//! Clients of the run itself: they ask members what they hold.

use crate::check::hash_equal::HashKv;
use crate::client::Client;
use crate::history::{Outcome, Request};
use crate::run_facts::LeaseKeys;
use crate::time;
use crate::timeouts::{CONVERGE_MAX, SERVE_MAX};
use crate::workload::ops;
use bytes::Bytes;
use detcd_core::api::{CompactRequest, KeyValue, LeaseId, RangeReply};
use detcd_service::Rpc;
use detcd_wire::etcdserverpb as pb;
use std::collections::BTreeMap;
use std::time::Duration;

/// How members refuse to compact what is compacted.
const COMPACTED: &str = "required revision has been compacted";
/// How often the hashes of the key space are compared while the run goes on.
const HASH_EVERY: Duration = Duration::from_secs(5);
/// A member that does not answer the auditor in time is passed over.
const ASK_MAX: Duration = Duration::from_secs(1);

/// Asks all members for the hash of one revision, again and again, and writes down the answers.
pub async fn sample_hashes(mut client: Client, members: usize) {
    loop {
        time::sleep(HASH_EVERY).await;
        ask_about_cluster(&mut client, members).await;
        // The first that answers says at which revision.
        let mut revision = 0;
        for member in 0..members {
            client.go_to(member);
            if let Some(hash) = hash(&client, member, revision, ASK_MAX).await {
                revision = hash.revision;
                client.note(|history| history.run_facts.hashes.push(hash));
            }
        }
    }
}

/// Asks all members about the cluster. The client writes the answers down; without one there is
/// nothing to judge.
async fn ask_about_cluster(client: &mut Client, members: usize) {
    for member in 0..members {
        client.go_to(member);
        for linearizable in [false, true] {
            let list = pb::MemberListRequest { linearizable };
            let asked = client.call::<pb::MemberListResponse>(Rpc::MemberList, &list, ASK_MAX);
            let _ = asked.await;
        }
        let status = pb::StatusRequest {};
        let asked = client.call::<pb::StatusResponse>(Rpc::Status, &status, ASK_MAX);
        let _ = asked.await;
        let leases = pb::LeaseLeasesRequest {};
        let asked = client.call::<pb::LeaseLeasesResponse>(Rpc::LeaseLeases, &leases, ASK_MAX);
        let _ = asked.await;
    }
}

/// A member's hash at a revision, or at its own last one if that is 0.
pub async fn hash(
    client: &Client,
    member: usize,
    revision: i64,
    timeout: Duration,
) -> Option<HashKv> {
    let request = pb::HashKvRequest { revision };
    let answer = client.call::<pb::HashKvResponse>(Rpc::HashKv, &request, timeout);
    let answer = answer.await.ok()?;
    Some(HashKv {
        member,
        revision: match revision {
            0 => answer.header.as_ref()?.revision,
            asked => asked,
        },
        compact_revision: answer.compact_revision,
        hash: answer.hash,
    })
}

/// Has the member that is asked compact everything, and waits until it says that the rows are gone. Gives the
/// revision; `None` if that does not end.
pub async fn compact(mut client: Client) -> Option<i64> {
    let member = client.member();
    let deadline = time::now() + CONVERGE_MAX;
    let key = Bytes::from(format!("audit/{}", client.name()));
    while time::now() < deadline {
        client.go_to(member);
        let put = Request::Put(ops::put(&key, "compacted next"));
        let revision = match client.execute(put, SERVE_MAX).await {
            Some((_, revision, _)) => revision,
            // A store at its quota takes no put: it is compacted as it is.
            None => match ops::read(&mut client, &key, SERVE_MAX).await {
                Some((revision, _)) => revision,
                None => continue,
            },
        };
        client.go_to(member);
        let compact = Request::Compact(CompactRequest {
            revision,
            physical: true,
        });
        let left = deadline.saturating_sub(time::now());
        match client.attempt(compact, left).await {
            Outcome::Done { .. } => return Some(revision),
            // Another member was told to, and nothing was written since.
            Outcome::Refused(why) if why.contains(COMPACTED) => return Some(revision),
            Outcome::Refused(_) | Outcome::Failed(_) | Outcome::Unknown(_) => {}
        }
    }
    None
}

/// All keys of a member at a revision.
pub async fn keys(client: &Client, revision: i64) -> Option<BTreeMap<Bytes, KeyValue>> {
    let request = pb::RangeRequest {
        key: Bytes::from_static(&[0]),
        range_end: Bytes::from_static(&[0]),
        revision,
        serializable: true,
        ..Default::default()
    };
    let answer = client.call::<pb::RangeResponse>(Rpc::Range, &request, SERVE_MAX);
    let reply = RangeReply::from(answer.await.ok()?);
    let kvs = reply.kvs.into_iter().map(|kv| (kv.key.clone(), kv));
    Some(kvs.collect())
}

/// What the cluster knows of a lease; `None` if it has moved on from this revision.
pub async fn lease(client: &Client, id: LeaseId, revision: i64) -> Option<LeaseKeys> {
    let request = pb::LeaseTimeToLiveRequest {
        id: id.0,
        keys: true,
    };
    let method = Rpc::LeaseTimeToLive;
    let answer = client.call::<pb::LeaseTimeToLiveResponse>(method, &request, SERVE_MAX);
    let answer = answer.await.ok()?;
    let is_same = answer.header.as_ref()?.revision == revision;
    is_same.then(|| LeaseKeys {
        id,
        exists: answer.granted_ttl > 0,
        keys: answer.keys.into_iter().collect(),
    })
}
