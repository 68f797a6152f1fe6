//! npm's node-etcd, which speaks v2: `node_etcd.js` beside this file is the test.

use crate::tools::{Tool, find};
use crate::{succeeded, three};
use tokio::process::Command;

#[tokio::test]
async fn node_etcd_works() {
    let Some(node) = find(Tool::NodeEtcd, "node_etcd_works") else {
        return;
    };
    let (_cluster, endpoints) = three().await;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/node_etcd.js");
    let running = Command::new(node)
        .arg(script)
        .arg(&endpoints)
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(crate::cluster::WAIT_MAX * 2, running).await;
    succeeded(
        "node-etcd",
        &output.expect("the script ends").expect("Node starts"),
    );
}
