//! PyPI's etcd3: `etcd3_client.py` beside this file is the test.

use crate::tools::{Tool, find};
use crate::{succeeded, three};
use tokio::process::Command;

#[tokio::test]
async fn pythons_etcd3_works() {
    let Some(python) = find(Tool::Python, "pythons_etcd3_works") else {
        return;
    };
    let (_cluster, endpoints) = three().await;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/etcd3_client.py");
    let running = Command::new(python)
        .arg(script)
        .arg(&endpoints)
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(crate::cluster::WAIT_MAX * 2, running).await;
    succeeded(
        "etcd3",
        &output.expect("the script ends").expect("Python starts"),
    );
}
