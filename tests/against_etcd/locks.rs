//! Locks and elections by the service: the same calls to detcd and to etcd, and equal answers.

use crate::cluster::{Cluster, Node, WAIT_MAX, eventually};
use crate::tools::{self, Tool};
use detcd_wire::v3electionpb::election_client::ElectionClient;
use detcd_wire::v3lockpb::lock_client::LockClient;
use detcd_wire::{etcdserverpb as pb, mvccpb, v3electionpb as election, v3lockpb as lock};
use pb::lease_client::LeaseClient;
use tokio::task::JoinHandle;
use tonic::transport::Channel;
use tonic::{Response, Status};

/// A member, and what it answered.
struct Asked<'a> {
    node: &'a Node,
    locks: LockClient<Channel>,
    elections: ElectionClient<Channel>,
    leases: LeaseClient<Channel>,
    lines: Vec<String>,
}

fn error(status: &Status) -> String {
    format!("{:?} {}", status.code(), status.message())
}

fn revision(header: Option<&pb::ResponseHeader>) -> i64 {
    header.expect("a header").revision
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn locked(answer: Result<Response<lock::LockResponse>, Status>) -> String {
    match answer {
        Ok(reply) => {
            let reply = reply.into_inner();
            let at = revision(reply.header.as_ref());
            format!("{} at {at}", text(&reply.key))
        }
        Err(status) => error(&status),
    }
}

fn elected(answer: Result<Response<election::CampaignResponse>, Status>) -> String {
    match answer {
        Ok(reply) => {
            let reply = reply.into_inner();
            let at = revision(reply.header.as_ref());
            format!("{:?} at {at}", reply.leader)
        }
        Err(status) => error(&status),
    }
}

fn shown(reply: &election::LeaderResponse) -> String {
    let at = revision(reply.header.as_ref());
    format!("{:?} at {at}", reply.kv)
}

fn done<T>(
    answer: Result<Response<T>, Status>,
    header: impl FnOnce(T) -> Option<pb::ResponseHeader>,
) -> String {
    match answer {
        Ok(reply) => format!("done at {}", revision(header(reply.into_inner()).as_ref())),
        Err(status) => error(&status),
    }
}

fn lock_request(name: &str, lease: i64) -> lock::LockRequest {
    lock::LockRequest {
        name: name.to_owned().into(),
        lease,
    }
}

fn candidate(name: &str, lease: i64, value: &str) -> election::CampaignRequest {
    election::CampaignRequest {
        name: name.to_owned().into(),
        lease,
        value: value.to_owned().into(),
    }
}

fn leader_key(name: &str, key: &str, rev: i64, lease: i64) -> Option<election::LeaderKey> {
    Some(election::LeaderKey {
        name: name.to_owned().into(),
        key: key.to_owned().into(),
        rev,
        lease,
    })
}

impl<'a> Asked<'a> {
    fn new(node: &'a Node) -> Asked<'a> {
        Asked {
            node,
            locks: LockClient::new(node.channel()),
            elections: ElectionClient::new(node.channel()),
            leases: LeaseClient::new(node.channel()),
            lines: Vec::new(),
        }
    }

    fn note(&mut self, line: impl Into<String>) {
        self.lines.push(line.into());
    }

    async fn grant(&mut self, id: i64) {
        let request = pb::LeaseGrantRequest { ttl: 600, id };
        self.leases.lease_grant(request).await.expect("a lease");
    }

    async fn lock(&mut self, name: &str, lease: i64) {
        let answer = self.locks.lock(lock_request(name, lease)).await;
        self.note(format!("lock {name} {lease}: {}", locked(answer)));
    }

    async fn unlock(&mut self, key: &str) {
        let key = key.to_owned();
        let request = lock::UnlockRequest {
            key: key.clone().into(),
        };
        let answer = self.locks.unlock(request).await;
        self.note(format!("unlock {key}: {}", done(answer, |it| it.header)));
    }

    /// A lock that is asked for beside the others, once its key is in the queue.
    async fn wait_for_lock(&self, name: &str, lease: i64) -> JoinHandle<String> {
        let mut locks = self.locks.clone();
        let request = lock_request(name, lease);
        let waiting = tokio::spawn(async move { locked(locks.lock(request).await) });
        self.queued(&format!("{name}/{lease:x}"), true).await;
        waiting
    }

    /// Waits until the key is there, or is not.
    async fn queued(&self, key: &str, present: bool) {
        let what = format!("{key} present: {present}");
        eventually(&what, || async {
            let found = crate::cluster::get(&mut self.node.kv(), key).await;
            (found.expect("a read").is_some() == present).then_some(())
        })
        .await;
    }

    async fn end(&mut self, what: &str, waiting: JoinHandle<String>) {
        let end = tokio::time::timeout(WAIT_MAX, waiting).await;
        let end = end.unwrap_or_else(|_| panic!("{what} waits"));
        self.note(format!("{what}: {}", end.expect("no panic")));
    }

    async fn campaign(&mut self, name: &str, lease: i64, value: &str) {
        let answer = self.elections.campaign(candidate(name, lease, value)).await;
        self.note(format!(
            "campaign {name} {lease} {value}: {}",
            elected(answer)
        ));
    }

    async fn leader(&mut self, name: &str) {
        let request = election::LeaderRequest {
            name: name.to_owned().into(),
        };
        let answer = self.elections.leader(request).await;
        let answer = answer.map_or_else(|it| error(&it), |it| shown(&it.into_inner()));
        self.note(format!("leader {name}: {answer}"));
    }

    async fn proclaim(&mut self, leader: Option<election::LeaderKey>, value: &str) {
        let request = election::ProclaimRequest {
            leader,
            value: value.to_owned().into(),
        };
        let answer = self.elections.proclaim(request).await;
        self.note(format!(
            "proclaim {value}: {}",
            done(answer, |it| it.header)
        ));
    }

    async fn resign(&mut self, leader: Option<election::LeaderKey>) {
        let request = election::ResignRequest { leader };
        let answer = self.elections.resign(request).await;
        self.note(format!("resign: {}", done(answer, |it| it.header)));
    }
}

async fn locks(asked: &mut Asked<'_>) {
    for id in [0x1b, 0x2b, 0x3b, 0x4b, -255] {
        asked.grant(id).await;
    }
    asked.lock("a", 0x1b).await;
    asked.lock("a", 0x1b).await;
    asked.lock("a", 0x77).await;
    asked.lock("a", -1).await;
    asked.lock("", 0x1b).await;
    asked.lock("n", -255).await;
    asked.unlock("").await;
    asked.unlock("a/nobody").await;
    // In the order of their keys, not of their leases.
    let third = asked.wait_for_lock("a", 0x3b).await;
    let second = asked.wait_for_lock("a", 0x2b).await;
    let fourth = asked.wait_for_lock("a", 0x4b).await;
    asked.unlock("a/1b").await;
    asked.end("third", third).await;
    assert!(!second.is_finished() && !fourth.is_finished());
    // Whoever goes away leaves nothing behind, and wakes nobody before his time.
    second.abort();
    asked.queued("a/2b", false).await;
    assert!(!fourth.is_finished());
    asked.unlock("a/3b").await;
    asked.end("fourth", fourth).await;
    // A lease that ends while its owner waits.
    let expired = asked.wait_for_lock("a", 0x2b).await;
    let revoke = pb::LeaseRevokeRequest { id: 0x2b };
    asked.leases.lease_revoke(revoke).await.expect("revoked");
    asked.unlock("a/4b").await;
    asked.end("expired", expired).await;
    sessions(asked).await;
}

/// Who brings no lease gets one of a minute.
async fn sessions(asked: &mut Asked<'_>) {
    let answer = asked.locks.lock(lock_request("own", 0)).await;
    let key = text(&answer.expect("a lock").into_inner().key);
    let lease = key.strip_prefix("own/").expect("the name first");
    let request = pb::LeaseTimeToLiveRequest {
        id: i64::from_str_radix(lease, 16).expect("a lease"),
        keys: true,
    };
    let left = asked.leases.lease_time_to_live(request).await;
    let left = left.expect("an answer").into_inner();
    asked.note(format!(
        "granted {} to {} keys",
        left.granted_ttl,
        left.keys.len()
    ));
}

async fn elections(asked: &mut Asked<'_>) {
    asked.leader("e").await;
    asked.campaign("e", 0x77, "nobody").await;
    asked.proclaim(None, "v").await;
    asked.resign(None).await;
    asked.proclaim(Some(Default::default()), "v").await;
    asked.resign(Some(Default::default())).await;
    // etcd's answer begins with the first leader.
    let mut elections = asked.elections.clone();
    let request = election::LeaderRequest { name: "e".into() };
    let observing = tokio::spawn(async move { elections.observe(request).await });
    asked.campaign("e", 0x1b, "one").await;
    let observing = tokio::time::timeout(WAIT_MAX, observing).await;
    let observing = observing.expect("in time").expect("no panic");
    let mut observed = observing.expect("a stream").into_inner();
    let first = observed.message().await.expect("a leader").expect("open");
    let created = first
        .kv
        .as_ref()
        .map_or(0, |kv: &mvccpb::KeyValue| kv.create_revision);
    asked.note(format!("observed {}", shown(&first)));
    asked.campaign("e", 0x1b, "one again").await;
    asked.leader("e").await;
    let leader = leader_key("e", "e/1b", created, 0x1b);
    asked.proclaim(leader.clone(), "two").await;
    asked
        .proclaim(leader_key("e", "e/1b", created + 1, 0x1b), "not")
        .await;
    asked
        .resign(leader_key("e", "e/1b", created + 1, 0x1b))
        .await;
    let mut elections = asked.elections.clone();
    let request = candidate("e", 0x3b, "next");
    let next = tokio::spawn(async move { elected(elections.campaign(request).await) });
    asked.queued("e/3b", true).await;
    let mut elections = asked.elections.clone();
    let request = candidate("e", 0x4b, "gone");
    let gone = tokio::spawn(async move { elections.campaign(request).await });
    asked.queued("e/4b", true).await;
    gone.abort();
    asked.queued("e/4b", false).await;
    assert!(!next.is_finished());
    asked.resign(leader).await;
    asked.end("next", next).await;
    asked.leader("e").await;
    for _ in 0..3 {
        let seen = tokio::time::timeout(WAIT_MAX, observed.message()).await;
        let seen = seen.expect("in time").expect("a leader").expect("open");
        asked.note(format!("observed {}", shown(&seen)));
    }
}

/// What a single member of `program` answers to all of it.
async fn answers(mut cluster: Cluster) -> Vec<String> {
    cluster.start(0);
    cluster.wait_healthy().await;
    let mut asked = Asked::new(&cluster.nodes[0]);
    locks(&mut asked).await;
    elections(&mut asked).await;
    asked.lines
}

#[tokio::test]
async fn locks_and_elections_answer_as_etcds() {
    let Some(etcd) = tools::find(Tool::Etcd, "locks_and_elections_answer_as_etcds") else {
        return;
    };
    let theirs = answers(Cluster::of(etcd, 1, &[])).await;
    let ours = answers(Cluster::new(1, &[])).await;
    assert_eq!(ours.join("\n"), theirs.join("\n"));
}

/// A member that stops does not wait for those who wait for a lock, and a lock outlives its member.
#[tokio::test]
async fn a_member_stops_while_others_wait_for_a_lock() {
    let mut cluster = Cluster::started(1, &[]).await;
    let waiting = {
        let mut asked = Asked::new(&cluster.nodes[0]);
        asked.grant(0x1b).await;
        asked.grant(0x2b).await;
        asked.lock("a", 0x1b).await;
        asked.wait_for_lock("a", 0x2b).await
    };
    let (status, took) = cluster.nodes[0].stop().await;
    assert!(status.success(), "{status}");
    assert!(took < crate::cluster::STOP_MAX, "{took:?}");
    let end = tokio::time::timeout(WAIT_MAX, waiting).await;
    let end = end.expect("an end").expect("no panic");
    assert!(end.starts_with("Un"), "{end}");
    cluster.restart(0);
    cluster.wait_healthy().await;
    let mut asked = Asked::new(&cluster.nodes[0]);
    asked.queued("a/1b", true).await;
    asked.lock("a", 0x1b).await;
    assert!(
        asked.lines[0].starts_with("lock a 27: a/1b at "),
        "{:?}",
        asked.lines
    );
}
