//! Transfers of the whole state: what goes over, and what breaks on the way.

use super::harness::{Cluster, Member, rows, wait_for};
use crate::meta::RaftRows;
use crate::snapshot::{self, Header};
use crate::types::Vote;
use bytes::Bytes;
use detcd_core::api::{KeyValue, LeaseId};
use detcd_core::codec::PutRows;
use detcd_core::event::Event;
use detcd_core::limits::SNAPSHOT_CHUNK_BYTES as CHUNK_BYTES;
use detcd_core::view::{Batch, Table};
use detcd_peer::{Kind, Receiver};
use detcd_storage::store::Store;
use futures::stream::{self, StreamExt};
use tempfile::TempDir;

/// The vote of a leader that outranks any in these tests.
fn high_vote() -> Vote {
    Vote::new_committed(1000, 9)
}

/// A store with more than a few chunks of rows, and the chunks of its snapshot.
async fn chunks() -> (Vec<Bytes>, Vec<(Table, Bytes, Bytes)>) {
    let cluster = Cluster::found(1, 100_000).await;
    cluster.leader(&[0]).await;
    let member = &cluster.members[0];
    member.put(0..500);
    cluster.converged(501).await;
    let mut batch = Batch::default();
    for n in 0..8_u8 {
        let kv = KeyValue {
            key: Bytes::from(vec![n; 100]),
            value: Bytes::from(vec![n; CHUNK_BYTES / 2]),
            create_revision: 2,
            mod_revision: 2,
            version: 1,
            lease: LeaseId(0),
        };
        let rows = PutRows::new(&kv, 0);
        batch.put(Table::Current, kv.key, rows.current);
    }
    member.store.write(batch).await.unwrap();
    let view = member.store.snapshot().unwrap();
    let header = Header {
        vote: high_vote(),
        meta: RaftRows::load(&view).unwrap().snapshot_meta(),
    };
    let all = rows(&view);
    let unreadable = |fault| panic!("{fault}");
    (
        snapshot::chunks(&header, view, CHUNK_BYTES, unreadable)
            .collect()
            .await,
        all,
    )
}

/// A member that knows nothing, and follows nobody.
async fn blank(cluster: &Cluster) -> (Member, TempDir) {
    let folder = TempDir::new().unwrap();
    let member = Member::start(7, &folder, &cluster.net, 100_000).await;
    member.node.run();
    (member, folder)
}

async fn send(member: &Member, chunks: Vec<Result<Bytes, String>>) -> Result<Bytes, String> {
    member
        .node
        .receiver()
        .stream(9, Kind::Snapshot, stream::iter(chunks).boxed())
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_transfer_leaves_the_old_state_and_a_whole_one_replaces_it() {
    let cluster = Cluster::found(1, 100_000).await;
    let (whole, sent_rows) = chunks().await;
    assert!(whole.len() > 5, "{} chunks test nothing", whole.len());
    let (member, _folder) = blank(&cluster).await;
    let before = member.rows();

    let whole = |_| {
        whole
            .iter()
            .cloned()
            .map(Ok)
            .collect::<Vec<Result<Bytes, String>>>()
    };
    let mut ends_early = whole(());
    ends_early.pop();
    let mut breaks = ends_early.clone();
    breaks.push(Err("the connection broke".to_owned()));
    let mut lacks_one = whole(());
    drop(lacks_one.remove(3));
    let mut doubles_one = whole(());
    doubles_one.insert(3, doubles_one[3].clone());
    let mut flips_a_bit = whole(());
    let mut chunk = flips_a_bit[2].clone().unwrap().to_vec();
    chunk[1000] ^= 4;
    flips_a_bit[2] = Ok(Bytes::from(chunk));
    let headless = whole(()).split_off(1);
    for broken in [
        ends_early,
        breaks,
        lacks_one,
        doubles_one,
        flips_a_bit,
        headless,
        Vec::new(),
    ] {
        send(&member, broken).await.unwrap_err();
        assert!(member.rows() == before);
    }

    send(&member, whole(())).await.unwrap();
    let restored = |event: &Event| matches!(event, Event::Restored { revision: 501, .. });
    wait_for("the event", || member.count(restored) == 1).await;
    assert!(member.rows() == sent_rows);
    assert_eq!(member.published().revision, 501);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_transfer_ends_one_that_hangs() {
    let cluster = Cluster::found(1, 100_000).await;
    let (whole, sent_rows) = chunks().await;
    let (member, _folder) = blank(&cluster).await;
    let first_two: Vec<Result<Bytes, String>> = whole[..2].iter().cloned().map(Ok).collect();
    let (hangs, has_hung) = tokio::sync::oneshot::channel();
    let hang = stream::once(async move {
        hangs.send(()).unwrap();
        futures::future::pending().await
    });
    let hanging = stream::iter(first_two).chain(hang).boxed();
    let hanging = detcd_rt::spawn(member.node.receiver().stream(9, Kind::Snapshot, hanging));
    has_hung.await.unwrap();
    send(&member, whole.into_iter().map(Ok).collect())
        .await
        .unwrap();
    assert!(member.rows() == sent_rows);
    let reason = hanging.await.unwrap().unwrap_err();
    assert!(reason.contains("newer"), "{reason}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deposed_sender_learns_of_the_newer_vote_at_once() {
    let cluster = Cluster::found(1, 100_000).await;
    cluster.leader(&[0]).await;
    let member = &cluster.members[0];
    member.put(0..1);
    cluster.converged(2).await;
    let view = member.store.snapshot().unwrap();
    let mut meta = RaftRows::load(&view).unwrap().snapshot_meta();
    // The entry that founded the cluster is the only one of term 0.
    meta.last_log_id = *meta.last_membership.log_id();
    let header = Header {
        vote: Vote::new_committed(0, 9),
        meta,
    };
    let chunks = snapshot::chunks(&header, view, CHUNK_BYTES, |fault| panic!("{fault}"));
    let header_only = chunks.take(1).map(Ok).chain(stream::pending()).boxed();
    let answer = member
        .node
        .receiver()
        .stream(9, Kind::Snapshot, header_only)
        .await
        .unwrap();
    let vote = crate::message::decode_vote(answer).unwrap();
    assert!(vote > header.vote);
}

#[test]
fn garbage_is_never_a_chunk() {
    use proptest::prelude::*;
    let config = ProptestConfig {
        failure_persistence: Some(Box::new(
            proptest::test_runner::FileFailurePersistence::Direct(
                "../../proptest-regressions/raft-snapshot.txt",
            ),
        )),
        ..ProptestConfig::default()
    };
    proptest!(config, |(bytes in proptest::collection::vec(any::<u8>(), 0..64))| {
        let mut totals = snapshot::Totals::default();
        let decoded = snapshot::decode(Bytes::from(bytes), &mut totals);
        prop_assert!(decoded.is_err());
        prop_assert_eq!(totals, snapshot::Totals::default());
    });
}
