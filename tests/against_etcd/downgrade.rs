//! Downgrades are announced and called off by etcd's rules.

use crate::cluster::{Cluster, Node, put};
use crate::tools::{self, Tool};
use detcd_wire::etcdserverpb as pb;
use pb::downgrade_request::DowngradeAction;
use pb::maintenance_client::MaintenanceClient;

async fn ask(node: &Node, action: i32, version: &str) -> String {
    let mut maintenance = MaintenanceClient::new(node.channel());
    let request = pb::DowngradeRequest {
        action,
        version: version.to_owned(),
    };
    match maintenance.downgrade(request).await {
        Ok(reply) => {
            let reply = reply.into_inner();
            format!(
                "{} at {}",
                reply.version,
                reply.header.map_or(-1, |it| it.revision)
            )
        }
        Err(status) => format!("{:?} {}", status.code(), status.message()),
    }
}

/// What a member of this minor version answers, with the versions put alike.
async fn answers(mut cluster: Cluster, minor: u32) -> Vec<String> {
    cluster.start(0);
    cluster.wait_healthy().await;
    let node = &cluster.nodes[0];
    put(&mut node.kv(), "k", "v").await.expect("written");
    let mut said = Vec::new();
    for (major, minor, rest) in [
        ("3", Some(minor - 1), ""),
        ("3", Some(minor - 1), ".0"),
        ("3", Some(minor - 1), ".9-rc.1"),
        ("3", Some(minor - 2), ""),
        ("3", Some(minor), ""),
        ("3", Some(minor + 1), ".0"),
        ("4", Some(minor - 1), ".0"),
        ("v3", Some(minor - 1), ".0"),
        ("3", Some(minor - 1), ".0.0"),
        ("3", None, ""),
        ("", None, ""),
    ] {
        let version = match minor {
            Some(minor) => format!("{major}.{minor}{rest}"),
            None => major.to_owned(),
        };
        for action in [DowngradeAction::Validate, DowngradeAction::Cancel] {
            said.push(ask(node, action.into(), &version).await);
        }
    }
    let own = format!("3.{minor}.0");
    said.into_iter().map(|it| it.replace(&own, "OWN")).collect()
}

#[tokio::test]
async fn downgrades_are_judged_as_etcd_judges_them() {
    let Some(etcd) = tools::find(Tool::Etcd, "downgrades_are_judged_as_etcd_judges_them") else {
        return;
    };
    let theirs = answers(Cluster::of(etcd, 1, &[]), 5).await;
    let ours = answers(Cluster::new(1, &[]), 7).await;
    assert_eq!(ours, theirs);
}

/// (etcd 3.5.1 announces it, too, but never answers.)
#[tokio::test]
async fn an_announced_downgrade_is_shown_by_every_member_until_it_is_called_off() {
    let mut cluster = Cluster::started(3, &[]).await;
    let enable = DowngradeAction::Enable.into();
    let cancel = DowngradeAction::Cancel.into();
    let said = ask(&cluster.nodes[0], enable, "3.6").await;
    assert!(said.starts_with("3.7.0 at "), "{said}");
    let again = ask(&cluster.nodes[1], enable, "3.6").await;
    assert_eq!(
        again,
        "FailedPrecondition etcdserver: cluster has a downgrade job in progress"
    );
    cluster.nodes[2].kill();
    cluster.restart(2);
    cluster.wait_healthy().await;
    for node in &cluster.nodes {
        node.wait_for_log("The server is ready to downgrade").await;
        let status = node.status().await.expect("a status");
        let info = status.downgrade_info.expect("always");
        assert_eq!((info.enabled, &info.target_version[..]), (true, "3.6.0"));
    }
    let said = ask(&cluster.nodes[2], cancel, "").await;
    assert!(said.starts_with("3.7.0 at "), "{said}");
    let info = cluster.nodes[2].status().await.expect("a status");
    assert_eq!(info.downgrade_info, Some(pb::DowngradeInfo::default()));
}
