//! Members that come and go.

use super::harness::{Cluster, Member, put, wait_for};
use detcd_core::api::{Member as ApiMember, MemberId};
use detcd_core::error::Error;
use detcd_core::membership::{ChangeError, MembershipChange, ProposalOutcome, Reconfiguration};
use std::time::Duration;
use tempfile::TempDir;

const ALL: [usize; 3] = [0, 1, 2];
const WAIT_MAX: Duration = Duration::from_secs(20);
/// The members' own.
const HEARTBEAT: Duration = Duration::from_millis(100);

fn newcomer(id: u64, is_learner: bool) -> ApiMember {
    ApiMember {
        id: MemberId(id),
        peer_urls: vec![format!("http://m{id}:2380")],
        is_learner,
        ..ApiMember::default()
    }
}

/// Asks whoever leads among `cluster`'s members; a refusal is what the caller wants to see.
async fn change(cluster: &Cluster, change: &MembershipChange) -> Result<Vec<ApiMember>, Error> {
    loop {
        let leader = cluster
            .members
            .iter()
            .find(|member| member.node.status().is_leader);
        let made = match leader {
            Some(leader) => leader.node.change_members(change, true, WAIT_MAX).await,
            None => Err(ChangeError::NotLeader),
        };
        match made {
            Ok(members) => return Ok(members),
            // A leader is healthy only once it has heard from everybody.
            Err(ChangeError::NotLeader | ChangeError::Refused(Error::Unhealthy)) => {
                detcd_rt::sleep(Duration::from_millis(5)).await;
            }
            Err(ChangeError::Refused(error)) => return Err(error),
            Err(other) => panic!("{change}: {other}"),
        }
    }
}

/// The voters by the applied membership of the member at this position.
fn voters(cluster: &Cluster, position: usize) -> Vec<u64> {
    let metrics = cluster.members[position].node.voters();
    metrics.into_iter().map(|id| id.0).collect()
}

async fn start(cluster: &mut Cluster, id: u64) {
    let folder = TempDir::new().unwrap();
    let member = Member::start(id, &folder, &cluster.net, 100_000).await;
    member.node.run();
    cluster.folders.push(folder);
    cluster.members.push(member);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_added_is_shown_at_once_and_votes_once_it_has_caught_up() {
    let mut cluster = Cluster::found(3, 100_000).await;
    let leader = cluster.leader(&ALL).await;
    cluster.members[leader].put(0..100);
    cluster.converged(101).await;
    let members = change(&cluster, &MembershipChange::Add(newcomer(4, false)))
        .await
        .unwrap();
    assert_eq!(members.last(), Some(&newcomer(4, false)));
    assert_eq!(voters(&cluster, leader), [1, 2, 3]);
    start(&mut cluster, 4).await;
    wait_for("the newcomer to vote", || {
        voters(&cluster, 3) == [1, 2, 3, 4]
    })
    .await;
    cluster.converged(101).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_learner_stays_one_until_it_is_promoted() {
    let mut cluster = Cluster::found(3, 100_000).await;
    cluster.leader(&ALL).await;
    change(&cluster, &MembershipChange::Add(newcomer(4, true)))
        .await
        .unwrap();
    let promote = MembershipChange::Promote(MemberId(4));
    assert_eq!(
        change(&cluster, &promote).await,
        Err(Error::LearnerNotReady)
    );
    start(&mut cluster, 4).await;
    wait_for("the learner to hear of its cluster", || {
        cluster.members[3].published().roster.members.len() == 4
    })
    .await;
    assert!(cluster.members[3].published().roster.is_learner());
    wait_for("the learner to go by its membership", || {
        cluster.members[3].node.status().is_learner
    })
    .await;
    while change(&cluster, &promote).await == Err(Error::LearnerNotReady) {
        detcd_rt::sleep(Duration::from_millis(5)).await;
    }
    wait_for("the learner to vote", || {
        voters(&cluster, 3) == [1, 2, 3, 4]
    })
    .await;
    assert_eq!(
        change(&cluster, &promote).await,
        Err(Error::MemberNotLearner)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_may_be_removed_and_knows_it() {
    let cluster = Cluster::found(3, 100_000).await;
    let leader = cluster.leader(&ALL).await;
    let id = MemberId(leader as u64 + 1);
    let members = change(&cluster, &MembershipChange::Remove(id))
        .await
        .unwrap();
    assert_eq!(members.len(), 2);
    let rest: Vec<usize> = ALL
        .into_iter()
        .filter(|position| *position != leader)
        .collect();
    assert!(cluster.members[leader].published().roster.is_removed());
    let next = cluster.leader(&rest).await;
    cluster.members[next].node.propose(vec![put(1, 7)]);
    wait_for("the rest to go on", || {
        rest.iter()
            .all(|position| cluster.members[*position].published().revision == 2)
    })
    .await;
    let again = MembershipChange::Add(newcomer(id.0, false));
    assert_eq!(change(&cluster, &again).await, Err(Error::MemberNotFound));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_that_meet_are_made_one_after_the_other() {
    let cluster = Cluster::found(3, 100_000).await;
    let leader = cluster.leader(&ALL).await;
    let moved = |id: u64| MembershipChange::Update {
        id: MemberId(id),
        peer_urls: vec![format!("http://moved{id}:2380")],
    };
    let node = &cluster.members[leader].node;
    let changes = [moved(1), moved(2), moved(3)];
    let made = changes
        .iter()
        .map(|change| node.change_members(change, true, WAIT_MAX));
    for made in futures::future::join_all(made).await {
        assert_eq!(made.unwrap().len(), 3);
    }
    let members = cluster.members[leader].node.status().members;
    let urls: Vec<&str> = members
        .iter()
        .map(|member| &member.peer_urls[0][..])
        .collect();
    assert_eq!(
        urls,
        [
            "http://moved1:2380",
            "http://moved2:2380",
            "http://moved3:2380"
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_without_a_quorum_is_given_up_and_stands_in_no_ones_way() {
    let cluster = Cluster::found(3, 100_000).await;
    let leader = cluster.leader(&ALL).await;
    let node = &cluster.members[leader].node;
    let judged = *node.metrics().membership_config.log_id();
    cluster.net.cut_off(node.id().0);
    let other = MemberId(node.id().0 % 3 + 1);
    let removal = Reconfiguration::Requested(MembershipChange::Remove(other));
    let made = detcd_rt::timeout(HEARTBEAT, node.reconfigure(&removal, judged)).await;
    assert!(made.is_err(), "{made:?}");
    // The first step is in the log.
    let again = node.reconfigure(&removal, judged).await;
    let is_refused = matches!(
        again,
        ProposalOutcome::Superseded | ProposalOutcome::NotReady
    );
    assert!(is_refused, "{again:?}");
    cluster.net.heal();
    let moved = MembershipChange::Update {
        id: node.id(),
        peer_urls: vec!["http://moved:2380".to_owned()],
    };
    change(&cluster, &moved).await.unwrap();
}

/// It waited for a read index, which no quorum confirms any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_without_a_quorum_refuses_at_once_what_costs_one() {
    let cluster = Cluster::found(3, 100_000).await;
    let leader = cluster.leader(&ALL).await;
    let node = &cluster.members[leader].node;
    cluster.net.cut_off(node.id().0);
    let refused = Err(ChangeError::Refused(Error::Unhealthy));
    for change in [
        MembershipChange::Add(newcomer(4, false)),
        MembershipChange::Add(newcomer(5, true)),
        MembershipChange::Remove(node.id()),
        MembershipChange::Remove(MemberId(node.id().0 % 3 + 1)),
    ] {
        loop {
            let wait_max = Duration::from_millis(1);
            match node.change_members(&change, true, wait_max).await {
                // Until an election timeout is over, it may only have missed an answer.
                Err(ChangeError::NotLeader | ChangeError::Busy) => {
                    assert!(node.status().is_leader, "it cannot hear of another one");
                    detcd_rt::sleep(Duration::from_millis(5)).await;
                }
                made => break assert_eq!(made, refused, "{change}"),
            }
        }
    }
}

/// A newcomer that lags was counted among those who keep the quorum, and the change waited for a
/// majority that was not there; with the leader's fall the cluster was stuck for good.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newcomer_that_lags_does_not_replace_a_voter() {
    let mut cluster = Cluster::found(3, 100_000).await;
    let leader = cluster.leader(&ALL).await;
    let id = |position: usize| MemberId(position as u64 + 1);
    let (down, other) = ((leader + 1) % 3, (leader + 2) % 3);
    change(&cluster, &MembershipChange::Add(newcomer(4, false)))
        .await
        .unwrap();
    // The newcomer has yet to start, and does not vote.
    cluster.net.cut_off(id(down).0);
    let node = &cluster.members[leader].node;
    wait_for("the leader to miss the lost member", || {
        !node.replication().is_ready(id(down))
    })
    .await;
    let remove = MembershipChange::Remove(id(other));
    let refused = node.change_members(&remove, true, WAIT_MAX).await;
    assert_eq!(refused, Err(ChangeError::Refused(Error::Unhealthy)));
    cluster.net.heal();
    start(&mut cluster, 4).await;
    wait_for("the newcomer to vote", || {
        voters(&cluster, leader) == [1, 2, 3, 4]
    })
    .await;
    cluster.net.cut_off(id(down).0);
    let node = &cluster.members[leader].node;
    let made = node.change_members(&remove, true, WAIT_MAX).await;
    assert_eq!(made.map(|members| members.len()), Ok(3));
}
