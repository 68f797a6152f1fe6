//! Data-dirs: who they belong to, and who may use them.

use crate::cluster::{Cluster, get, put};
use rustix::process::Signal;
use std::fs;

#[tokio::test]
async fn a_restart_needs_no_cluster_flags_and_keeps_the_identity() {
    let mut cluster = Cluster::started(1, &[]).await;
    put(&mut cluster.nodes[0].kv(), "a", "1").await.unwrap();
    let before = cluster.nodes[0].status().await.unwrap().header.unwrap();
    cluster.nodes[0].signal(Signal::INT);
    assert!(cluster.nodes[0].wait().await.success());
    cluster.restart(0);
    cluster.nodes[0].wait_healthy().await;
    let after = cluster.nodes[0].status().await.unwrap().header.unwrap();
    assert_eq!(
        (before.member_id, before.cluster_id),
        (after.member_id, after.cluster_id)
    );
    assert_eq!(
        get(&mut cluster.nodes[0].kv(), "a")
            .await
            .unwrap()
            .as_deref(),
        Some("1")
    );
    cluster.nodes[0]
        .wait_for_log(
            "the server is already initialized as member before, starting as etcd member...",
        )
        .await;
}

#[tokio::test]
async fn a_second_start_on_a_data_dir_is_refused() {
    let cluster = Cluster::started(1, &[]).await;
    let mut twin = Cluster::new(1, &[]);
    let mut flags = twin.flags(0);
    flags.push(format!(
        "--data-dir={}",
        cluster.nodes[0].data_dir.display()
    ));
    twin.nodes[0].spawn(&flags);
    assert_eq!(twin.nodes[0].wait().await.code(), Some(1));
    assert!(
        twin.nodes[0].log().contains("is in use by another process"),
        "{}",
        twin.nodes[0].log()
    );
    cluster.nodes[0].wait_healthy().await;
}

#[tokio::test]
async fn the_data_dir_of_another_member_or_cluster_is_refused() {
    let mut cluster = Cluster::started(3, &[]).await;
    assert!(cluster.nodes[0].stop().await.0.success());
    assert!(cluster.nodes[1].stop().await.0.success());
    let of = |node: usize| format!("--data-dir={}", cluster.nodes[node].data_dir.display());
    let mut mixed_up = cluster.flags(0);
    mixed_up.push(of(1));
    let mut other_token = cluster.flags(0);
    other_token.push("--initial-cluster-token=other".to_owned());
    other_token.push(of(0));
    let refusals = [
        (mixed_up, "give each member a --data-dir of its own"),
        (other_token, "was not founded with the token \\\"other\\\""),
    ];
    for (flags, why) in refusals {
        cluster.nodes[0].spawn(&flags);
        assert_eq!(cluster.nodes[0].wait().await.code(), Some(1));
        let log = cluster.nodes[0].log();
        let last = log.lines().last().unwrap();
        assert!(last.contains("belongs to member"), "{last}");
        assert!(last.contains(why), "{last}");
    }
    cluster.start(0);
    cluster.nodes[0].wait_healthy().await;
}

/// As etcd does: members come and go, and the flags of a service stay what they were.
#[tokio::test]
async fn a_restart_with_other_flags_keeps_the_identity() {
    let mut cluster = Cluster::started(1, &[]).await;
    put(&mut cluster.nodes[0].kv(), "a", "1").await.unwrap();
    let before = cluster.nodes[0].status().await.unwrap().header.unwrap();
    assert!(cluster.nodes[0].stop().await.0.success());
    let mut stranger = Cluster::new(1, &[]);
    let mut flags = stranger.flags(0);
    flags.push(format!(
        "--data-dir={}",
        cluster.nodes[0].data_dir.display()
    ));
    stranger.nodes[0].spawn(&flags);
    stranger.nodes[0].wait_healthy().await;
    let after = stranger.nodes[0].status().await.unwrap().header.unwrap();
    assert_eq!(
        (before.member_id, before.cluster_id),
        (after.member_id, after.cluster_id)
    );
    let value = get(&mut stranger.nodes[0].kv(), "a").await.unwrap();
    assert_eq!(value.as_deref(), Some("1"));
}

#[tokio::test]
async fn a_member_that_lost_its_log_or_state_does_not_start() {
    for part in ["log", "store"] {
        let mut cluster = Cluster::started(1, &[]).await;
        cluster.nodes[0].kill();
        fs::remove_dir_all(cluster.nodes[0].data_dir.join("member").join(part)).unwrap();
        cluster.restart(0);
        assert_eq!(
            cluster.nodes[0].wait().await.code(),
            Some(1),
            "without its {part}"
        );
        assert!(
            cluster.nodes[0].log().contains("must not vote"),
            "{}",
            cluster.nodes[0].log()
        );
    }
}

#[tokio::test]
async fn a_port_that_is_taken_leaves_the_data_dir_untouched() {
    let mut cluster = Cluster::new(1, &[]);
    let taken = std::net::TcpListener::bind(("127.0.0.1", cluster.nodes[0].client_port)).unwrap();
    cluster.start(0);
    assert_eq!(cluster.nodes[0].wait().await.code(), Some(1));
    let log = cluster.nodes[0].log();
    let wanted = format!(
        "listen tcp 127.0.0.1:{}: bind: address already in use",
        cluster.nodes[0].client_port
    );
    assert!(log.contains(&wanted), "{log}");
    assert!(
        !cluster.nodes[0]
            .data_dir
            .join("member/identity.json")
            .exists()
    );
    drop(taken);
    cluster.start(0);
    cluster.nodes[0].wait_healthy().await;
}

#[tokio::test]
async fn a_damaged_log_stops_the_member_and_says_where() {
    let mut cluster = Cluster::started(1, &[]).await;
    let mut kv = cluster.nodes[0].kv();
    for i in 0..50 {
        put(&mut kv, &format!("k{i}"), &"v".repeat(100))
            .await
            .unwrap();
    }
    cluster.nodes[0].kill();
    let log = cluster.nodes[0].data_dir.join("member/log");
    let largest = fs::read_dir(&log)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .max_by_key(|path| fs::metadata(path).unwrap().len())
        .unwrap();
    let mut bytes = fs::read(&largest).unwrap();
    let written = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[written / 2] ^= 0x10;
    fs::write(&largest, bytes).unwrap();
    cluster.restart(0);
    assert_eq!(cluster.nodes[0].wait().await.code(), Some(1));
    let log = cluster.nodes[0].log();
    let last = log.lines().last().unwrap();
    let file = largest.file_name().unwrap().to_str().unwrap();
    assert!(last.contains(file) && last.contains("offset"), "{last}");
}

/// The last line of a member that does not start.
async fn refusal(cluster: &mut Cluster) -> String {
    cluster.restart(0);
    assert_eq!(cluster.nodes[0].wait().await.code(), Some(1));
    let log = cluster.nodes[0].log();
    log.lines().last().unwrap().to_owned()
}

#[tokio::test]
async fn an_identity_that_is_gone_or_damaged_is_refused_and_comes_back_from_its_copy() {
    let mut cluster = Cluster::started(1, &[]).await;
    put(&mut cluster.nodes[0].kv(), "a", "1").await.unwrap();
    cluster.nodes[0].kill();
    let member = cluster.nodes[0].data_dir.join("member");
    let (own, copy) = (
        member.join("identity.json"),
        member.join("log/identity.json"),
    );
    let whole = fs::read(&own).unwrap();
    assert_eq!(fs::read(&copy).unwrap(), whole);
    let mut flipped = whole.clone();
    let digit = flipped.len() / 2;
    flipped[digit] ^= 1;
    for harm in [
        None,
        Some(&b""[..]),
        Some(&whole[..40]),
        Some(&[0; 200]),
        Some(&flipped),
    ] {
        match harm {
            None => fs::remove_file(&own).unwrap(),
            Some(bytes) => fs::write(&own, bytes).unwrap(),
        }
        let last = refusal(&mut cluster).await;
        let advice = format!("cp {} {}", copy.display(), own.display());
        assert!(last.contains(&advice), "{last}");
    }
    fs::copy(&copy, &own).unwrap();
    // The copy alone is missed by nobody, and written again.
    fs::remove_file(&copy).unwrap();
    cluster.restart(0);
    cluster.nodes[0].wait_healthy().await;
    let value = get(&mut cluster.nodes[0].kv(), "a").await.unwrap();
    assert_eq!(value.as_deref(), Some("1"));
    assert_eq!(fs::read(&copy).unwrap(), whole);
}

#[tokio::test]
async fn without_identity_and_copy_the_log_and_the_state_are_still_somebodys() {
    let mut cluster = Cluster::started(1, &[]).await;
    let header = cluster.nodes[0].status().await.unwrap().header.unwrap();
    cluster.nodes[0].kill();
    let member = cluster.nodes[0].data_dir.join("member");
    fs::remove_file(member.join("identity.json")).unwrap();
    fs::remove_file(member.join("log/identity.json")).unwrap();
    let last = refusal(&mut cluster).await;
    let owner = format!(
        "the raft log is of member {:x} of cluster {:x}",
        header.member_id, header.cluster_id
    );
    assert!(
        last.contains(&owner) && last.contains("member remove"),
        "{last}"
    );
    fs::remove_dir_all(member.join("log")).unwrap();
    let last = refusal(&mut cluster).await;
    assert!(last.contains("has data, but no identity.json"), "{last}");
}

#[tokio::test]
async fn the_log_of_another_member_is_refused() {
    let mut cluster = Cluster::started(1, &[]).await;
    let mut other = Cluster::started(1, &[]).await;
    cluster.nodes[0].kill();
    other.nodes[0].kill();
    let [own, theirs] = [&cluster, &other].map(|it| it.nodes[0].data_dir.join("member/log"));
    fs::remove_dir_all(&own).unwrap();
    fs::rename(&theirs, &own).unwrap();
    let last = refusal(&mut cluster).await;
    assert!(last.contains("is mixed up"), "{last}");
    fs::remove_file(own.join("identity.json")).unwrap();
    let last = refusal(&mut cluster).await;
    assert!(last.contains("this raft log is of member"), "{last}");
}
