//! Watches, snapshots, locks and elections of clients with and without permissions.

use super::call::{Ask, Asked, error, forbid};
use super::{Both, DENIED, refused};
use detcd_wire::{etcdserverpb as pb, v3electionpb as election, v3lockpb as lock};
use election::election_client::ElectionClient;
use lock::lock_client::LockClient;
use pb::maintenance_client::MaintenanceClient;
use pb::watch_client::WatchClient;
use pb::watch_request::RequestUnion;
use std::time::Duration;
use tokio::sync::mpsc::Sender;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

const WAIT_MAX: Duration = Duration::from_secs(20);
const WHO: [&str; 5] = ["", "not a token", "bob", "alice", "root"];

/// A stream of watches that stays open as long as this.
struct Watching {
    _requests: Sender<pb::WatchRequest>,
    responses: Streaming<pb::WatchResponse>,
}

impl Watching {
    async fn start(asked: &Asked, who: &str, key: &str, end: &str) -> Result<Watching, String> {
        let (requests, receiver) = tokio::sync::mpsc::channel(1);
        let create = pb::WatchCreateRequest {
            key: key.to_owned().into(),
            range_end: end.to_owned().into(),
            ..Default::default()
        };
        let create = pb::WatchRequest {
            request_union: Some(RequestUnion::CreateRequest(create)),
        };
        requests.send(create).await.expect("it has room");
        let request = asked.request(who, ReceiverStream::new(receiver));
        let responses = WatchClient::new(asked.channel()).watch(request).await;
        Ok(Watching {
            responses: responses.map_err(|it| error(&it))?.into_inner(),
            _requests: requests,
        })
    }

    async fn next(&mut self) -> String {
        let next = tokio::time::timeout(WAIT_MAX, self.responses.message()).await;
        match next.expect("a response in time") {
            Ok(Some(mut response)) => {
                response.header = None;
                match response.cancel_reason.as_str() {
                    "" => format!("{response:?}"),
                    reason => reason
                        .replace("rpc error: code = ", "")
                        .replace(" desc =", ""),
                }
            }
            Ok(None) => "the end".to_owned(),
            Err(status) => error(&status),
        }
    }
}

/// What one member answers to all of it.
async fn streams(asked: &mut Asked, is_etcd: bool) -> Vec<String> {
    let mut lines = Vec::new();
    for who in WHO {
        for (key, end) in [
            ("a/1", ""),
            ("a/", "a0"),
            ("a/", "b"),
            ("a/1", "\0"),
            ("b", ""),
            ("", "\0"),
            ("a/2", "a/1"),
        ] {
            let told = match Watching::start(asked, who, key, end).await {
                Ok(mut watching) => watching.next().await,
                Err(told) => told,
            };
            let told = match (is_etcd, who, key, end) {
                // A permission for a key opens no watch from it on: etcd 3.5.1 is not so strict.
                (true, "alice", "a/1", "\0") => {
                    assert!(told.contains("canceled: false"), "{told}");
                    DENIED.to_owned()
                }
                // etcd 3.5.1 has one reason for all.
                (true, ..) if told == DENIED => refused(who).to_owned(),
                _ => told,
            };
            lines.push(format!("{who:?} watches {key:?} {end:?}: {told}"));
        }
        let mut told = snapshot(asked, who).await;
        if let Some(why) = told.strip_prefix("Unknown auth: ").filter(|_| is_etcd) {
            assert!(refused(who).ends_with(why), "{told}");
            told = refused(who).to_owned();
        }
        lines.push(format!("{who:?} snapshot: {told}"));
        concurrency(asked, who, &mut lines).await;
    }
    lines
}

async fn snapshot(asked: &Asked, who: &str) -> String {
    let mut client = MaintenanceClient::new(asked.channel());
    let request = asked.request(who, pb::SnapshotRequest {});
    match client.snapshot(request).await {
        Err(status) => error(&status),
        Ok(stream) => match stream.into_inner().message().await {
            Err(status) => error(&status),
            Ok(first) => format!("bytes: {}", first.is_some()),
        },
    }
}

/// Locks and elections below a name of alice's, and one of nobody's.
async fn concurrency(asked: &Asked, who: &str, lines: &mut Vec<String>) {
    let mut locks = LockClient::new(asked.channel());
    let mut elections = ElectionClient::new(asked.channel());
    for name in ["a/lock", "lock"] {
        let request = lock::LockRequest {
            name: name.to_owned().into(),
            lease: 1,
        };
        let locked = locks.lock(asked.request(who, request)).await;
        let told = match &locked {
            Ok(reply) => format!("{:?}", reply.get_ref().key),
            Err(status) => error(status),
        };
        lines.push(format!("{who:?} locks {name}: {told}"));
        let key = format!("{name}/1").into();
        let unlocked = locks
            .unlock(asked.request(who, lock::UnlockRequest { key }))
            .await;
        let told = unlocked.map_or_else(|it| error(&it), |_| "done".to_owned());
        lines.push(format!("{who:?} unlocks {name}: {told}"));
        let request = election::CampaignRequest {
            name: format!("{name}/e").into(),
            lease: 1,
            value: "v".into(),
        };
        let elected = elections.campaign(asked.request(who, request)).await;
        let (told, leader) = match elected {
            Ok(reply) => ("elected".to_owned(), reply.into_inner().leader),
            Err(status) => (error(&status), None),
        };
        lines.push(format!("{who:?} campaigns {name}: {told}"));
        let request = election::LeaderRequest {
            name: format!("{name}/e").into(),
        };
        let found = elections.leader(asked.request(who, request)).await;
        let told = found.map_or_else(|it| error(&it), |_| "found".to_owned());
        lines.push(format!("{who:?} asks for the leader of {name}: {told}"));
        let leader = leader.or_else(|| {
            Some(election::LeaderKey {
                name: format!("{name}/e").into(),
                key: format!("{name}/e/1").into(),
                rev: 1,
                lease: 1,
            })
        });
        let request = election::ProclaimRequest {
            leader: leader.clone(),
            value: "w".into(),
        };
        let told = elections.proclaim(asked.request(who, request)).await;
        let told = told.map_or_else(|it| error(&it), |_| "done".to_owned());
        lines.push(format!("{who:?} proclaims {name}: {told}"));
        let request = election::ResignRequest { leader };
        let told = elections.resign(asked.request(who, request)).await;
        let told = told.map_or_else(|it| error(&it), |_| "done".to_owned());
        lines.push(format!("{who:?} resigns {name}: {told}"));
    }
}

#[tokio::test]
async fn watches_snapshots_locks_and_elections_are_judged_as_etcd_judges_them() {
    let test = "watches_snapshots_locks_and_elections_are_judged_as_etcd_judges_them";
    let Some(mut both) = Both::start(test).await else {
        return;
    };
    super::cases::three_users(&mut both).await;
    both.ask("root", Ask::LeaseGrant(1)).await;
    let theirs = streams(&mut both.asked[0], true).await;
    let ours = streams(&mut both.asked[1], false).await;
    for (theirs, ours) in theirs.iter().zip(&ours) {
        if theirs != ours {
            both.differences += 1;
            eprintln!(" etcd  {theirs}\n detcd {ours}");
        }
    }
    // The permission goes: in etcd the watch goes on.
    let asked = &both.asked[1];
    let mut watching = Watching::start(asked, "alice", "a/", "a0")
        .await
        .expect("a stream");
    watching.next().await;
    both.ask("root", forbid("r", "a/", "a0")).await;
    assert_eq!(watching.next().await, DENIED);
    both.end();
}
