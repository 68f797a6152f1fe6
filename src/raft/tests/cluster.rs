//! Members that elect, replicate, restart and catch up.

use super::harness::{Cluster, put, wait_for};
use detcd_core::api::LeaseId;
use detcd_core::event::Event;

const ALL: [usize; 3] = [0, 1, 2];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_members_elect_and_apply_the_same() {
    let cluster = Cluster::found(3, 100_000).await;
    let leader = cluster.leader(&ALL).await;
    cluster.members[leader].put(0..1000);
    // The first put makes revision 2.
    cluster.converged(1001).await;
    let rows = cluster.members[leader].rows();
    assert!(
        rows.len() > 2000,
        "history and versions of 1000 puts, and the current keys"
    );
    for member in &cluster.members {
        assert!(member.rows() == rows, "members differ");
        assert_eq!(
            member.count(|event| matches!(event, Event::NotProposed { .. })),
            0
        );
    }
    let applied: usize = cluster.members[leader]
        .events
        .lock()
        .unwrap()
        .iter()
        .map(|event| match event {
            Event::Applied { entries, .. } => entries
                .iter()
                .filter(|entry| entry.origin.is_some())
                .count(),
            _ => 0,
        })
        .sum();
    assert_eq!(applied, 1000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_refuses_proposals_and_read_indexes() {
    let cluster = Cluster::found(3, 100_000).await;
    let leader = cluster.leader(&ALL).await;
    let follower = &cluster.members[(leader + 1) % 3];
    follower.put(7..9);
    let refused = || {
        let events = follower.events.lock().unwrap();
        let seqs = events.iter().filter_map(|event| match event {
            Event::NotProposed { seqs } => Some(seqs.clone()),
            _ => None,
        });
        seqs.flatten().map(|seq| seq.0).collect::<Vec<u64>>()
    };
    wait_for("both refusals", || refused() == [7, 8]).await;
    follower.node.read_index().await.unwrap_err();
    follower.node.confirm_read(3);
    let failed = |event: &Event| matches!(event, Event::ReadFailed { round: 3 });
    wait_for("the failed round", || follower.count(failed) == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoke_for_another_term_is_refused() {
    let cluster = Cluster::found(1, 100_000).await;
    let leader = &cluster.members[cluster.leader(&[0]).await];
    let id = leader.node.id().0;
    let term = leader.node.status().term;
    leader.node.revoke(term - 1, LeaseId(1), put(id, 1));
    leader.node.revoke(term + 1, LeaseId(2), put(id, 2));
    leader.node.revoke(term, LeaseId(3), put(id, 3));
    // Proposals are taken up in order: after the last put, the others had their chance.
    leader.put(4..5);
    cluster.converged(3).await;
    assert_eq!(leader.published().revision, 3);
    for lease in [LeaseId(1), LeaseId(2)] {
        let refused = |event: &Event| matches!(event, Event::RevokesRefused { leases } if leases.contains(&lease));
        wait_for("the refusal", || leader.count(refused) == 1).await;
    }
    assert_eq!(
        leader.count(|event| matches!(event, Event::NotProposed { .. })),
        0
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_index_covers_what_was_applied_and_needs_a_quorum() {
    let cluster = Cluster::found(3, 100_000).await;
    let leader = &cluster.members[cluster.leader(&ALL).await];
    leader.put(0..10);
    cluster.converged(11).await;
    let index = leader.node.read_index().await.unwrap();
    assert!(index >= leader.published().applied);
    cluster.net.cut_off(leader.node.id().0);
    leader.node.read_index().await.unwrap_err();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_leader_takes_over_from_one_that_is_cut_off() {
    let cluster = Cluster::found(3, 100_000).await;
    let old = cluster.leader(&ALL).await;
    cluster.members[old].put(0..10);
    cluster.converged(11).await;
    cluster.net.cut_off(old as u64 + 1);
    let others: Vec<usize> = ALL
        .into_iter()
        .filter(|position| *position != old)
        .collect();
    let new = cluster.leader(&others).await;
    cluster.members[new].put(10..20);
    wait_for("the others", || {
        cluster.members[new].published().revision == 21
    })
    .await;
    cluster.net.heal();
    cluster.converged(21).await;
    assert!(cluster.members[old].rows() == cluster.members[new].rows());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_keeps_everything() {
    let mut cluster = Cluster::found(3, 100_000).await;
    let leader = cluster.leader(&ALL).await;
    let term = cluster.members[leader].node.status().term;
    cluster.members[leader].put(0..300);
    cluster.converged(301).await;
    let rows = cluster.members[0].rows();
    cluster.stop().await;
    cluster.start().await;
    let leader = cluster.leader(&ALL).await;
    assert!(
        cluster.members[leader].node.status().term > term,
        "a leader led on without a vote"
    );
    cluster.members[leader].put(300..301);
    cluster.converged(302).await;
    let now = cluster.members[0].rows();
    let lost = rows
        .iter()
        .filter(|row| row.0 == detcd_core::view::Table::Events);
    assert!(lost.clone().count() >= 300 && lost.clone().all(|row| now.contains(row)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_member_shows_its_state_before_it_runs() {
    let mut cluster = Cluster::found(1, 100_000).await;
    cluster.leader(&[0]).await;
    cluster.members[0].put(0..50);
    cluster.converged(51).await;
    cluster.stop().await;
    let member = super::harness::Member::start(1, &cluster.folders[0], &cluster.net, 100_000).await;
    assert_eq!(member.published().revision, 51);
    assert!(member.events.lock().unwrap().is_empty());
    member.node.run();
    wait_for("it to lead", || member.node.status().is_leader).await;
    member.put(50..51);
    wait_for("one more", || member.published().revision == 52).await;
    member.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_lags_behind_the_log_gets_a_snapshot() {
    let cluster = Cluster::found(3, 100).await;
    let leader = cluster.leader(&ALL).await;
    let lagging = (leader + 1) % 3;
    cluster.net.cut_off(lagging as u64 + 1);
    for start in (0..2000).step_by(100) {
        cluster.members[leader].put(start..start + 100);
        let revision = start as i64 + 101;
        wait_for("the puts", || {
            cluster.members[leader].published().revision == revision
        })
        .await;
    }
    let purged = || cluster.members[leader].node.status().purged.unwrap_or(0);
    let has = cluster.members[lagging].node.status().last_log_index;
    wait_for("the log to be purged", || purged() > has).await;
    cluster.net.heal();
    cluster.converged(2001).await;
    let restored = |event: &Event| matches!(event, Event::Restored { .. });
    wait_for("the snapshot", || {
        cluster.members[lagging].count(restored) > 0
    })
    .await;
    assert!(cluster.members[lagging].rows() == cluster.members[leader].rows());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_leader_goes_on_hearing_from_its_quorum() {
    for size in [1, 3] {
        let cluster = Cluster::found(size, 100_000).await;
        let all: Vec<usize> = (0..size as usize).collect();
        let leader = &cluster.members[cluster.leader(&all).await];
        let heard = |event: &Event| matches!(event, Event::QuorumAcked { .. });
        let before = leader.count(heard);
        wait_for("five more rounds", || leader.count(heard) >= before + 5).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_that_cannot_be_read_stops_the_engine_for_good() {
    let cluster = Cluster::found(1, 100_000).await;
    cluster.leader(&[0]).await;
    let node = &cluster.members[0].node;
    assert_eq!(*node.fatal().borrow(), None);
    let mut broken = super::harness::put(1, 0);
    broken.command = bytes::Bytes::from_static(b"\xff no command");
    node.propose(vec![broken]);
    let mut fatal = node.fatal();
    let reason = fatal
        .wait_for(Option::is_some)
        .await
        .unwrap()
        .clone()
        .unwrap();
    assert!(reason.contains("log entry 2"), "{reason}");
}
