//! PyPI's etcd3gw and tooz, over the JSON gateway: `gateway_clients.py` beside this file is the test.

use crate::tools::{Tool, find};
use crate::{succeeded, three};
use tokio::process::Command;

#[tokio::test]
async fn pythons_etcd3gw_and_tooz_work() {
    let Some(python) = find(Tool::PythonEtcd3gw, "pythons_etcd3gw_and_tooz_work") else {
        return;
    };
    let (cluster, _) = three().await;
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/clients/gateway_clients.py"
    );
    let running = Command::new(python)
        .arg(script)
        .arg(cluster.nodes[1].client_port.to_string())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(crate::cluster::WAIT_MAX * 3, running).await;
    succeeded(
        "etcd3gw and tooz",
        &output.expect("the script ends").expect("Python starts"),
    );
}
