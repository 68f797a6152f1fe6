//! The integration tests of PyPI's python-etcd, which start `etcd` from PATH: `python_etcd.py` beside
//! this file runs them with a link of that name, in a network namespace of their own.

use crate::succeeded;
use crate::tools::{Tool, UNSHARE, find, has_small_disks, missing};
use std::env;
use std::os::unix::fs::symlink;
use tempfile::TempDir;
use tokio::process::Command;

#[tokio::test]
async fn the_tests_of_python_etcd_pass() {
    let test = "the_tests_of_python_etcd_pass";
    let Some(python) = find(Tool::PythonEtcd, test) else {
        return;
    };
    if !has_small_disks() {
        return missing(test, "this machine allows no namespace of one's own");
    }
    let folder = TempDir::new().expect("a folder");
    symlink(env!("CARGO_BIN_EXE_detcd"), folder.path().join("etcd")).expect("a link");
    let others = env::var_os("PATH").unwrap_or_default();
    let mut path = vec![folder.path().to_owned()];
    path.extend(env::split_paths(&others));
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/python_etcd.py");
    let running = Command::new("unshare")
        .args(UNSHARE)
        .arg("--net")
        .arg(python)
        .arg(script)
        .env("PATH", env::join_paths(path).expect("folders"))
        .env("PYTHONWARNINGS", "ignore")
        .current_dir(folder.path())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(crate::cluster::WAIT_MAX * 3, running).await;
    succeeded(
        "python-etcd",
        &output.expect("the tests end").expect("unshare starts"),
    );
}
