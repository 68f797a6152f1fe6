//! Members that come and go, as the walkthroughs do it.

use crate::cluster::{Cluster, Node, eventually, get, put_eventually, read};
use detcd_wire::etcdserverpb as pb;
use pb::cluster_client::ClusterClient;
use std::fs;
use std::process::{Command, Output};
use tonic::Request;

/// Elections take this long at most, so that a stop without a hand-over is seen.
pub const FAST: &[&str] = &["--heartbeat-interval=50", "--election-timeout=500"];

/// What `detcdctl` says.
pub fn ctl(node: &Node, words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_detcdctl"))
        .arg(format!("--endpoints={}", node.client_url()))
        .args(words)
        .output()
        .expect("detcdctl starts")
}

/// Has a change of the membership made, and gives what is printed then. An election may leave it of
/// unknown outcome: then the next try says, in `done`, that it was made, and there is nothing to
/// look at.
async fn ctl_change(node: &Node, words: &[&str], done: &str) -> Option<String> {
    eventually(&format!("detcdctl {words:?}"), || async {
        let output = ctl(node, words);
        let said = String::from_utf8(output.stderr).expect("text");
        let printed = String::from_utf8(output.stdout).expect("text");
        match output.status.success() {
            true => Some(Some(printed)),
            false => said.contains(done).then_some(None),
        }
    })
    .await
}

/// What it prints, once it succeeds: a cluster is healthy a moment after it serves.
async fn ctl_eventually(node: &Node, words: &[&str]) -> String {
    eventually(&format!("detcdctl {words:?}"), || async {
        let output = ctl(node, words);
        let printed = String::from_utf8(output.stdout).expect("text");
        output.status.success().then_some(printed)
    })
    .await
}

async fn list(node: &Node) -> Vec<pb::Member> {
    eventually("the members", || async {
        let mut client = ClusterClient::new(node.channel());
        let request = pb::MemberListRequest { linearizable: true };
        Some(client.member_list(request).await.ok()?.into_inner().members)
    })
    .await
}

async fn id_of(node: &Node, name: &str) -> String {
    let members = list(node).await;
    let member = members.iter().find(|member| member.name == name);
    format!("{:x}", member.expect("a member of this name").id)
}

/// The position of the leader.
pub async fn leader(cluster: &Cluster, among: &[usize]) -> usize {
    eventually("a leader", || async {
        for i in among {
            let status = cluster.nodes[*i].status().await?;
            let header = status.header?;
            if header.member_id == status.leader {
                return Some(*i);
            }
        }
        None
    })
    .await
}

#[tokio::test]
async fn a_fourth_member_joins_and_takes_part() {
    let mut cluster = Cluster::started(3, FAST).await;
    put_eventually(&cluster.nodes[0], "before", "1").await;
    let i = cluster.grow();
    let url = format!("--peer-urls={}", cluster.nodes[i].peer_url());
    let printed = ctl_eventually(&cluster.nodes[1], &["member", "add", "n4", &url]).await;
    let variable = "ETCD_INITIAL_CLUSTER_STATE=\"existing\"";
    assert!(
        printed.contains(variable) && printed.contains("added to cluster"),
        "{printed}"
    );
    let line = printed
        .lines()
        .find(|line| line.starts_with("ETCD_INITIAL_CLUSTER="));
    let told: Vec<&str> = line
        .unwrap()
        .split('"')
        .nth(1)
        .unwrap()
        .split(',')
        .collect();
    let given = cluster.initial_cluster();
    assert!(
        given.split(',').all(|member| told.contains(&member)),
        "{printed}"
    );
    let unstarted = list(&cluster.nodes[0]).await;
    let unstarted = unstarted
        .iter()
        .find(|member| member.name.is_empty())
        .unwrap();
    assert!(!unstarted.is_learner);

    cluster.join(i);
    cluster.nodes[i].wait_healthy().await;
    eventually("the newcomer's name", || async {
        let members = list(&cluster.nodes[0]).await;
        members
            .iter()
            .any(|member| member.name == "n4")
            .then_some(())
    })
    .await;
    let mut kv = cluster.nodes[i].kv();
    assert_eq!(get(&mut kv, "before").await.unwrap().as_deref(), Some("1"));
    // It votes: three of four are a quorum without the first.
    cluster.nodes[0].kill();
    put_eventually(&cluster.nodes[i], "after", "2").await;
    // Its data-dir says who it is, whatever the flags say about the cluster.
    cluster.nodes[i].kill();
    cluster.join(i);
    put_eventually(&cluster.nodes[i], "again", "3").await;
}

#[tokio::test]
async fn who_joins_must_name_the_members_that_there_are() {
    let mut cluster = Cluster::started(1, FAST).await;
    let i = cluster.grow();
    cluster.join(i);
    assert!(!cluster.nodes[i].wait().await.success());
    cluster.nodes[i]
        .wait_for_log("member count is unequal")
        .await;
    assert!(
        !cluster.nodes[i]
            .data_dir
            .join("member/identity.json")
            .exists()
    );
}

#[tokio::test]
async fn the_leader_is_removed_exits_and_stays_away() {
    let mut cluster = Cluster::started(3, FAST).await;
    let i = leader(&cluster, &[0, 1, 2]).await;
    let rest: Vec<usize> = (0..3).filter(|other| *other != i).collect();
    let id = id_of(&cluster.nodes[i], &format!("n{}", i + 1)).await;
    let removal = ["member", "remove", &id];
    let printed = ctl_change(&cluster.nodes[rest[0]], &removal, "member not found").await;
    let line = format!("Member {id:>16} removed from cluster");
    assert!(
        printed.as_ref().is_none_or(|it| it.contains(&line)),
        "{printed:?}"
    );
    let status = cluster.nodes[i].wait().await;
    assert!(status.success(), "{status}");
    let log = cluster.nodes[i].log();
    assert!(
        log.contains("the member has been permanently removed from the cluster"),
        "{log}"
    );
    put_eventually(&cluster.nodes[rest[1]], "a", "1").await;
    assert_eq!(list(&cluster.nodes[rest[0]]).await.len(), 2);
    cluster.start(i);
    assert!(
        !cluster.nodes[i].wait().await.success(),
        "a removed member starts again"
    );
}

#[tokio::test]
async fn a_follower_that_was_down_when_it_was_removed_is_told_so() {
    let mut cluster = Cluster::started(3, FAST).await;
    let lead = leader(&cluster, &[0, 1, 2]).await;
    let i = (lead + 1) % 3;
    let id = id_of(&cluster.nodes[lead], &format!("n{}", i + 1)).await;
    cluster.nodes[i].kill();
    let removal = ["member", "remove", &id];
    ctl_change(&cluster.nodes[lead], &removal, "member not found").await;
    cluster.restart(i);
    let status = cluster.nodes[i].wait().await;
    assert!(status.success(), "{status}");
    let log = cluster.nodes[i].log();
    assert!(
        log.contains("the data-dir used by this member must be removed"),
        "{log}"
    );
}

#[tokio::test]
async fn a_member_that_lost_its_disk_is_refused_and_replaced() {
    let mut cluster = Cluster::started(3, FAST).await;
    put_eventually(&cluster.nodes[0], "a", "1").await;
    eventually("all members to have told their URLs", || async {
        let members = list(&cluster.nodes[0]).await;
        members
            .iter()
            .all(|member| !member.client_urls.is_empty())
            .then_some(())
    })
    .await;
    let id = id_of(&cluster.nodes[0], "n3").await;
    cluster.nodes[2].kill();
    fs::remove_dir_all(&cluster.nodes[2].data_dir).unwrap();
    cluster.start(2);
    assert!(
        !cluster.nodes[2].wait().await.success(),
        "a member without a log votes"
    );
    let log = cluster.nodes[2].log();
    let refusal = format!("member {id} has already been bootstrapped");
    assert!(
        log.contains(&refusal) && log.contains("member remove"),
        "{log}"
    );

    let removal = ["member", "remove", &id];
    ctl_change(&cluster.nodes[0], &removal, "member not found").await;
    let url = format!("--peer-urls={}", cluster.nodes[2].peer_url());
    let addition = ["member", "add", "n3", &url];
    ctl_change(&cluster.nodes[0], &addition, "Peer URLs already exists").await;
    fs::remove_dir_all(&cluster.nodes[2].data_dir).unwrap();
    cluster.join(2);
    cluster.nodes[2].wait_healthy().await;
    let mut kv = cluster.nodes[2].kv();
    assert_eq!(get(&mut kv, "a").await.unwrap().as_deref(), Some("1"));
}

#[tokio::test]
async fn a_learner_reads_for_itself_until_it_is_promoted() {
    let mut cluster = Cluster::started(1, FAST).await;
    put_eventually(&cluster.nodes[0], "a", "1").await;
    let i = cluster.grow();
    let url = format!("--peer-urls={}", cluster.nodes[i].peer_url());
    let add = ["member", "add", "n2", "--learner", &url];
    let printed = ctl_eventually(&cluster.nodes[0], &add).await;
    let id = printed.split_whitespace().nth(1).unwrap().to_owned();
    let early = ctl(&cluster.nodes[0], &["member", "promote", &id]);
    let said = String::from_utf8(early.stderr).unwrap();
    assert!(said.contains("in sync with leader"), "{said}");
    cluster.join(i);
    eventually("the learner to have it", || async {
        let output = ctl(
            &cluster.nodes[i],
            &["get", "a", "--consistency=s", "--print-value-only"],
        );
        (output.stdout == b"1\n").then_some(())
    })
    .await;
    let refused = ctl(&cluster.nodes[i], &["put", "a", "2"]);
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(
        said.contains("etcdserver: rpc not supported for learner"),
        "{said}"
    );
    let promotion = ["member", "promote", &id];
    let done = "can only promote a learner member";
    ctl_change(&cluster.nodes[0], &promotion, done).await;
    put_eventually(&cluster.nodes[i], "a", "3").await;
}

/// It said that there is no leader, which etcd's learner says only before it has heard of one.
#[tokio::test]
async fn a_learner_whose_leader_is_gone_serves_clients_that_want_one() {
    let mut cluster = Cluster::started(1, FAST).await;
    put_eventually(&cluster.nodes[0], "a", "1").await;
    let i = cluster.grow();
    let url = format!("--peer-urls={}", cluster.nodes[i].peer_url());
    let add = ["member", "add", "n2", "--learner", &url];
    ctl_eventually(&cluster.nodes[0], &add).await;
    cluster.join(i);
    let kv = cluster.nodes[i].kv();
    let ask = || async {
        let mut request = Request::new(pb::RangeRequest {
            key: "a".into(),
            serializable: true,
            ..Default::default()
        });
        let wanted = "true".parse().expect("ASCII");
        request.metadata_mut().insert("hasleader", wanted);
        kv.clone().range(request).await
    };
    eventually("the learner to have it", || async {
        (ask().await.ok()?.into_inner().count == 1).then_some(())
    })
    .await;
    cluster.nodes[0].kill();
    eventually("the learner to miss its leader", || async {
        let (_, page) = cluster.nodes[i].get("/metrics").await?;
        page.contains("\netcd_server_has_leader 0\n").then_some(())
    })
    .await;
    assert_eq!(ask().await.unwrap().into_inner().count, 1);
}

#[tokio::test]
async fn leadership_moves_on_request_and_at_a_stop() {
    let mut cluster = Cluster::started(3, &[]).await;
    let lead = leader(&cluster, &[0, 1, 2]).await;
    let next = (lead + 1) % 3;
    let to = id_of(&cluster.nodes[lead], &format!("n{}", next + 1)).await;
    let not_leader = ctl(&cluster.nodes[next], &["move-leader", &to]);
    let said = String::from_utf8(not_leader.stderr).unwrap();
    assert!(said.contains("no leader endpoint given at ["), "{said}");
    let printed = ctl_eventually(&cluster.nodes[lead], &["move-leader", &to]).await;
    assert!(printed.ends_with(&format!(" to {to}\n")), "{printed}");
    assert_eq!(leader(&cluster, &[next]).await, next);
    let (status, _) = cluster.nodes[next].stop().await;
    assert!(status.success(), "{status}");
    cluster.nodes[next]
        .wait_for_log("leadership was handed over")
        .await;
}

/// It marked the leader as one that hands over, which nobody could ever end: the cluster refused
/// writes until its only voter was restarted.
#[tokio::test]
async fn leadership_is_not_handed_to_who_does_not_vote_yet() {
    let mut cluster = Cluster::started(1, FAST).await;
    let i = cluster.grow();
    let url = format!("--peer-urls={}", cluster.nodes[i].peer_url());
    let printed = ctl_eventually(&cluster.nodes[0], &["member", "add", "n2", &url]).await;
    let id = printed.split_whitespace().nth(1).unwrap();
    let refused = ctl(&cluster.nodes[0], &["move-leader", id]);
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("etcdserver: bad leader transferee"), "{said}");
    put_eventually(&cluster.nodes[0], "a", "1").await;
}

#[tokio::test]
async fn leadership_is_not_handed_to_who_is_down() {
    let mut cluster = Cluster::started(3, FAST).await;
    let lead = leader(&cluster, &[0, 1, 2]).await;
    let down = (lead + 1) % 3;
    let id = id_of(&cluster.nodes[lead], &format!("n{}", down + 1)).await;
    cluster.nodes[down].kill();
    let failed = |said: &str| said.contains("leader transfer took too long");
    eventually("the leader to miss the lost member", || async {
        let output = ctl(&cluster.nodes[lead], &["move-leader", &id]);
        failed(&String::from_utf8(output.stderr).unwrap()).then_some(())
    })
    .await;
    put_eventually(&cluster.nodes[lead], "a", "1").await;
}

/// Only who stands for election was told, and a learner never does: it stayed, and served what it
/// had, for good.
#[tokio::test]
async fn a_learner_that_runs_is_told_when_it_was_removed() {
    let mut cluster = Cluster::started(1, FAST).await;
    put_eventually(&cluster.nodes[0], "a", "1").await;
    let i = cluster.grow();
    let url = format!("--peer-urls={}", cluster.nodes[i].peer_url());
    let add = ["member", "add", "n2", "--learner", &url];
    let printed = ctl_eventually(&cluster.nodes[0], &add).await;
    let id = printed.split_whitespace().nth(1).unwrap().to_owned();
    cluster.join(i);
    eventually("the learner to have it", || async {
        let mut kv = cluster.nodes[i].kv();
        let value = read(&mut kv, "a", true).await.ok()?;
        (value.as_deref() == Some("1")).then_some(())
    })
    .await;
    ctl_eventually(&cluster.nodes[0], &["member", "remove", &id]).await;
    let status = cluster.nodes[i].wait().await;
    assert!(status.success(), "{status}");
    let log = cluster.nodes[i].log();
    assert!(
        log.contains("the member has been permanently removed from the cluster"),
        "{log}"
    );
}

/// It was refused until those that it had greeted were restarted, though without a majority it could
/// not have promised anything.
#[tokio::test]
async fn a_founder_that_is_wiped_before_there_is_a_cluster_comes_back() {
    let mut cluster = Cluster::new(5, FAST);
    cluster.start(0);
    cluster.start(1);
    cluster.nodes[1]
        .wait_for_log("waits for more of the others to let it in")
        .await;
    cluster.nodes[1].kill();
    fs::remove_dir_all(&cluster.nodes[1].data_dir).unwrap();
    cluster.start(1);
    cluster.start(2);
    put_eventually(&cluster.nodes[1], "a", "1").await;
}
