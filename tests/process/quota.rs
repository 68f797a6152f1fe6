//! The quota of stored bytes: a full member stops the cluster from growing, and what an operator
//! does about it helps.

use crate::cluster::{Cluster, Node, WAIT_MAX, eventually, http_call, put, put_eventually};
use detcd_wire::etcdserverpb as pb;
use pb::alarm_request::AlarmAction;
use pb::kv_client::KvClient;
use pb::lease_client::LeaseClient;
use pb::maintenance_client::MaintenanceClient;
use std::time::Instant;
use tonic::transport::Channel;
use tonic::{Code, Status};

const QUOTA: &str = "--quota-backend-bytes=6000000";
/// Bigger than everything that is written.
const AMPLE: &str = "--quota-backend-bytes=600000000";

fn assert_no_space<T: std::fmt::Debug>(result: Result<T, Status>) {
    let status = result.expect_err("there is no space");
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(
        status.message(),
        "etcdserver: mvcc: database space exceeded"
    );
}

/// Text that does not compress, since the files are compressed.
fn noise(salt: u32) -> String {
    let mut state = u64::from(salt) + 1;
    let mut letter = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        char::from(b' ' + (state >> 58) as u8)
    };
    (0..64 * 1024).map(|_| letter()).collect()
}

/// Writes over a few keys until the member refuses.
async fn fill(kv: &mut KvClient<Channel>) -> Status {
    let deadline = Instant::now() + WAIT_MAX;
    for i in 0.. {
        assert!(Instant::now() < deadline, "{i} puts and no end");
        let refused = put(kv, &format!("big{}", i % 4), &noise(i)).await.err();
        // Of any other error the outcome is unknown: an election may be under way.
        if let Some(status) = refused.filter(|status| status.code() == Code::ResourceExhausted) {
            return status;
        }
    }
    unreachable!("the range has no end")
}

async fn alarms(node: &Node) -> Vec<pb::AlarmMember> {
    let mut client = MaintenanceClient::new(node.channel());
    let response = client.alarm(pb::AlarmRequest::default()).await;
    response.expect("the alarms").into_inner().alarms
}

async fn disarm(node: &Node, alarm: pb::AlarmMember) {
    let request = pb::AlarmRequest {
        action: AlarmAction::Deactivate.into(),
        member_id: alarm.member_id,
        alarm: alarm.alarm,
    };
    let mut client = MaintenanceClient::new(node.channel());
    let response = client.alarm(request).await.expect("it was raised");
    assert_eq!(response.into_inner().alarms, [alarm]);
}

async fn compact(kv: &mut KvClient<Channel>, revision: i64) {
    let request = pb::CompactionRequest {
        revision,
        physical: true,
    };
    kv.compact(request).await.expect("compacting is allowed");
}

#[tokio::test]
async fn a_full_cluster_deletes_compacts_and_writes_again() {
    let cluster = Cluster::started(3, &[QUOTA]).await;
    let [one, two, _] = &cluster.nodes[..] else {
        panic!("three members")
    };
    let (mut kv, mut other) = (one.kv(), two.kv());
    assert_no_space(Err::<(), _>(fill(&mut kv).await));

    // Whoever said so first, every member refuses what grows and allows what does not.
    assert!(!alarms(two).await.is_empty());
    assert_no_space(put(&mut other, "a", "small").await);
    let lease = LeaseClient::new(two.channel())
        .lease_grant(pb::LeaseGrantRequest { ttl: 60, id: 0 })
        .await;
    assert_no_space(lease);
    let v2 = async |method, form| http_call(two.client_port, method, "/v2/keys/a", form).await;
    let no_space = "{\"errorCode\":300,\"message\":\"Raft Internal Error\",\"cause\":\"etcdserver: \
                    mvcc: database space exceeded\",\"index\":0}\n";
    let refused = v2("PUT", "value=1").await.expect("a reply");
    assert_eq!((refused.0, &refused.1[..]), (500, no_space));
    let allowed = v2("DELETE", "").await.expect("a reply");
    assert!(allowed.1.contains("\"errorCode\":100,"), "{allowed:?}");
    let deleted = other
        .delete_range(pb::DeleteRangeRequest {
            key: "big0".into(),
            ..Default::default()
        })
        .await
        .expect("deleting is allowed")
        .into_inner();
    assert_eq!(deleted.deleted, 1);

    let (status, body) = two.get("/health").await.expect("an answer");
    assert_eq!(status, 503);
    assert_eq!(
        body,
        "{\"health\":\"false\",\"reason\":\"ALARM NOSPACE\"}\n"
    );
    let (status, _) = two.get("/health?exclude=NOSPACE").await.expect("an answer");
    assert_eq!(status, 200);
    let told = two.status().await.expect("a status");
    assert!(told.errors[0].ends_with("alarm:NOSPACE "), "{told:?}");

    // Old versions are what fills the store. Each member removes its own.
    let revision = deleted.header.expect("a header").revision;
    compact(&mut kv, revision).await;
    for node in &cluster.nodes {
        let small = async || {
            let status = node.status().await?;
            (status.db_size < 4_000_000).then_some(())
        };
        eventually("a store with room", small).await;
    }
    // The alarm of a member that was slow to compact may come after the others were disarmed.
    let written = async || {
        for alarm in alarms(one).await {
            disarm(one, alarm).await;
        }
        put(&mut one.kv(), "a", "small").await.ok()
    };
    eventually("a write that is accepted", written).await;
    for node in &cluster.nodes {
        put_eventually(node, "b", "small").await;
        node.wait_healthy().await;
    }
}

#[tokio::test]
async fn a_member_that_only_follows_raises_its_own_alarm() {
    let mut cluster = Cluster::new(3, &[]);
    for i in 0..3 {
        let mut flags = cluster.flags(i);
        flags.push(if i == 0 { QUOTA } else { AMPLE }.to_owned());
        cluster.nodes[i].spawn(&flags);
    }
    cluster.wait_healthy().await;
    let full = cluster.nodes[0].status().await.expect("a status");
    let full_id = full.header.expect("a header").member_id;
    // Its clients write to another member, which has room.
    assert_no_space(Err::<(), _>(fill(&mut cluster.nodes[1].kv()).await));
    let raised = alarms(&cluster.nodes[2]).await;
    let alarm = pb::AlarmMember {
        member_id: full_id,
        alarm: pb::AlarmType::Nospace.into(),
    };
    assert_eq!(raised, [alarm]);
    let log = cluster.nodes[1].log();
    assert!(log.contains("alarm raised"), "{log}");
}

#[tokio::test]
async fn damaged_data_is_read_and_not_changed() {
    let cluster = Cluster::started(1, &[]).await;
    let node = &cluster.nodes[0];
    let mut kv = node.kv();
    put(&mut kv, "a", "1").await.unwrap();
    let alarm = pb::AlarmMember {
        member_id: 7,
        alarm: pb::AlarmType::Corrupt.into(),
    };
    let request = pb::AlarmRequest {
        action: AlarmAction::Activate.into(),
        member_id: 7,
        alarm: alarm.alarm,
    };
    let mut client = MaintenanceClient::new(node.channel());
    client.alarm(request).await.unwrap();
    let refused = put(&mut kv, "a", "2").await.unwrap_err();
    assert_eq!(refused.code(), Code::DataLoss);
    assert_eq!(refused.message(), "etcdserver: corrupt cluster");
    assert_eq!(
        crate::cluster::get(&mut kv, "a").await.unwrap().as_deref(),
        Some("1")
    );
    let (status, body) = node.get("/readyz").await.unwrap();
    assert_eq!(status, 503);
    assert!(
        body.contains("[-]data_corruption failed: alarm activated: CORRUPT"),
        "{body}"
    );
    disarm(node, alarm).await;
    put(&mut kv, "a", "2").await.unwrap();
}
