//! The whole, joined by the production transport.

use super::harness::{Member, wait_for};
use crate::RaftOptions;
use detcd_core::api::{Member as ApiMember, MemberId};
use detcd_core::event::Event;
use detcd_peer::tonic::{PeerService, TonicTransport};
use std::sync::Arc;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;

const CLUSTER: u64 = 0xc1;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_over_sockets_replicate_and_catch_up_by_snapshot() {
    let mut listeners = Vec::new();
    let mut founders = Vec::new();
    for id in 1..=3 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        founders.push(ApiMember {
            id: MemberId(id),
            peer_urls: vec![format!("http://{}", listener.local_addr().unwrap())],
            ..ApiMember::default()
        });
        listeners.push(listener);
    }
    let folders: Vec<TempDir> = (0..3).map(|_| TempDir::new().unwrap()).collect();
    let mut members = Vec::new();
    for ((id, folder), listener) in (1..).zip(&folders).zip(listeners) {
        let transport = Arc::new(TonicTransport::new(id, CLUSTER));
        let options = RaftOptions {
            snapshot_count: 100,
            catch_up_entries: 10,
            ..RaftOptions::new(MemberId(id))
        };
        let member = Member::start_with(&options, folder, transport).await;
        members.push((member, listener));
    }
    // The third does not listen yet: the other two found the cluster without it.
    let (third, third_listener) = members.pop().unwrap();
    let mut running = Vec::new();
    for (member, listener) in members {
        serve(&member, listener);
        member.node.run();
        member.node.initialize(&founders).await.unwrap();
        running.push(member);
    }
    let leads = |member: &&Member| {
        let status = member.node.status();
        status.is_leader && status.last_quorum_acked.is_some()
    };
    wait_for("a leader", || running.iter().any(|member| leads(&member))).await;
    let leader = running.iter().find(leads).unwrap();
    for start in (0..1000).step_by(100) {
        leader.put(start..start + 100);
        let revision = start as i64 + 101;
        wait_for("the puts", || leader.published().revision == revision).await;
    }
    wait_for("the log to be purged", || {
        leader.node.status().purged.is_some()
    })
    .await;

    serve(&third, third_listener);
    third.node.run();
    let restored = |event: &Event| matches!(event, Event::Restored { .. });
    wait_for("the snapshot", || third.count(restored) > 0).await;
    running.push(third);
    wait_for("all to converge", || {
        running
            .iter()
            .all(|member| member.published().revision == 1001)
    })
    .await;
    let rows = running[0].rows();
    assert!(
        running.iter().all(|member| member.rows() == rows),
        "members differ"
    );
}

fn serve(member: &Member, listener: TcpListener) {
    let receiver = Arc::new(member.node.receiver());
    let service = PeerService::new(member.node.id().0, CLUSTER, receiver);
    let incoming = TcpListenerStream::new(listener);
    detcd_rt::spawn(
        Server::builder()
            .add_service(service)
            .serve_with_incoming(incoming),
    );
}
