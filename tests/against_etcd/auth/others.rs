//! Leases, members, maintenance, watches, locks and elections, of clients with and without permissions.

use super::call::{Ask, put};
use super::{ANSWERED, Both, NOBODY, refused};
use detcd_wire::etcdserverpb as pb;

const WHO: [&str; 5] = ["", "not a token", "bob", "alice", "root"];

fn time_to_live(id: i64, keys: bool) -> Ask {
    Ask::TimeToLive(pb::LeaseTimeToLiveRequest { id, keys })
}

fn attach(key: &str, lease: i64) -> Ask {
    Ask::Put(pb::PutRequest {
        lease,
        ..put(key, "leased")
    })
}

/// Leases: 1 has no keys, 2 a key of alice's, 3 one of alice's and one that is not.
async fn leases(both: &mut Both) {
    for id in 1..=3 {
        both.ask("root", Ask::LeaseGrant(id)).await;
    }
    both.ask("alice", attach("a/2", 2)).await;
    both.ask("root", attach("a/3", 3)).await;
    both.ask("root", attach("b", 3)).await;
    for who in WHO {
        for id in [1, 2, 3, 7] {
            // etcd 3.5.1 shows the keys of a lease to everybody.
            let ask = time_to_live(id, true);
            match (who, id) {
                ("bob", 1 | 7) | ("alice", 1 | 2 | 7) | ("root", _) => {
                    both.ask(who, ask).await;
                }
                _ => both.differ(who, ask, ANSWERED, refused(who)).await,
            }
            both.ask(who, attach("a/0", id)).await;
            both.ask(who, attach("c", id)).await;
            if who != "root" && id != 1 && (who, id) != ("", 7) {
                both.ask(who, Ask::LeaseRevoke(id)).await;
                both.ask("alice", attach("a/2", 2)).await;
            }
        }
    }
    // Who has no name may have leases in etcd 3.5.1, and who shows no token that is known see them.
    let none = "NotFound etcdserver: requested lease not found";
    both.differ("", Ask::LeaseRevoke(7), none, NOBODY).await;
    both.differ("", Ask::LeaseGrant(8), ANSWERED, NOBODY).await;
    both.differ("root", Ask::LeaseRevoke(8), ANSWERED, none)
        .await;
    both.ask("not a token", Ask::LeaseGrant(8)).await;
    for who in ["", "not a token"] {
        both.differ(who, time_to_live(1, false), ANSWERED, refused(who))
            .await;
        both.differ(who, Ask::Leases, ANSWERED, refused(who)).await;
    }
    both.ask("bob", Ask::Leases).await;
    both.ask("bob", Ask::LeaseGrant(9)).await;
    both.ask("bob", Ask::LeaseRevoke(9)).await;
}

async fn members(both: &mut Both) {
    for who in WHO {
        both.ask(who, Ask::MemberRemove).await;
        // etcd drops a change that comes before the last one is applied, and never answers then.
        if who != "root" {
            both.ask(who, Ask::MemberUpdate).await;
        }
        match who {
            "" | "not a token" => {
                both.differ(who, Ask::Members, ANSWERED, refused(who)).await;
            }
            _ => {
                both.ask(who, Ask::Members).await;
            }
        }
        if who == "root" {
            both.ask(who, Ask::MemberAdd).await;
            continue;
        }
        // Who may not is told so first; in etcd, that there is no such address.
        let invalid = "InvalidArgument etcdserver: given member URLs are invalid";
        both.differ(who, Ask::MemberAdd, invalid, refused(who))
            .await;
        // etcd never answers root, if there is no such member.
        both.ask(who, Ask::MemberPromote).await;
    }
}

fn alarm(action: pb::alarm_request::AlarmAction) -> Ask {
    Ask::Alarm(pb::AlarmRequest {
        action: action.into(),
        member_id: 0,
        alarm: pb::AlarmType::Nospace.into(),
    })
}

/// Maintenance calls are refused with codes of their own by etcd, and some are for everybody.
async fn maintenance(both: &mut Both) {
    use pb::alarm_request::AlarmAction::{Deactivate, Get};
    let compact = || {
        Ask::Compact(pb::CompactionRequest {
            revision: 1 << 40,
            physical: false,
        })
    };
    let all = [Ask::Hash, Ask::HashKv, Ask::Defragment];
    for who in WHO {
        both.ask(who, Ask::Status).await;
        if who == "root" {
            let others = [alarm(Get), alarm(Deactivate), Ask::MoveLeader, compact()];
            for ask in all.iter().cloned().chain(others) {
                both.ask(who, ask).await;
            }
            continue;
        }
        let ours = refused(who);
        let (_, why) = ours.split_once("etcdserver: ").expect("etcd's words");
        for ask in &all {
            let theirs = format!("Unknown auth: {why}");
            both.differ(who, ask.clone(), &theirs, ours).await;
        }
        let transferee = "FailedPrecondition etcdserver: bad leader transferee";
        both.differ(who, Ask::MoveLeader, transferee, ours).await;
        match who {
            "not a token" => {
                both.ask(who, alarm(Get)).await;
                both.ask(who, alarm(Deactivate)).await;
                both.ask(who, compact()).await;
            }
            _ => {
                let future = "OutOfRange etcdserver: mvcc: required revision is a future revision";
                both.differ(who, compact(), future, ours).await;
                both.differ(who, alarm(Deactivate), ANSWERED, ours).await;
                match who {
                    "" => both.differ(who, alarm(Get), ANSWERED, ours).await,
                    _ => drop(both.ask(who, alarm(Get)).await),
                }
            }
        }
    }
}

#[tokio::test]
async fn leases_members_and_maintenance_are_for_whom_etcd_lets() {
    let test = "leases_members_and_maintenance_are_for_whom_etcd_lets";
    let Some(mut both) = Both::start(test).await else {
        return;
    };
    super::cases::three_users(&mut both).await;
    leases(&mut both).await;
    members(&mut both).await;
    maintenance(&mut both).await;
    both.end();
}
