//! The tools of the tests with real clients are the ones that those tests expect.

#[path = "mod.rs"]
#[allow(dead_code, reason = "other tests ask for disks, and the gates for all")]
mod tools;

use std::process::Command;
use tools::{Tool, find};

fn output(command: &mut Command) -> String {
    let output = command.output().expect("the program starts");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn etcdctl_speaks_the_third_api() {
    if let Some(etcdctl) = find(Tool::Etcdctl, "etcdctl_speaks_the_third_api") {
        let version = output(Command::new(etcdctl).arg("version").env("ETCDCTL_API", "3"));
        assert!(version.contains("API version: 3."), "{version}");
    }
}

#[test]
fn etcd_is_a_third() {
    if let Some(etcd) = find(Tool::Etcd, "etcd_is_a_third") {
        let version = output(Command::new(etcd).arg("--version"));
        assert!(version.contains("etcd Version: 3."), "{version}");
    }
}

#[test]
fn etcd_v2_is_a_3_4() {
    if let Some(etcd) = find(Tool::EtcdV2, "etcd_v2_is_a_3_4") {
        let version = output(Command::new(etcd).arg("--version"));
        assert!(version.contains("etcd Version: 3.4."), "{version}");
    }
}

#[test]
fn python_has_a_watching_client() {
    if let Some(python) = find(Tool::Python, "python_has_a_watching_client") {
        let line = "import etcd3; print(hasattr(etcd3.Etcd3Client, 'watch'))";
        let answer = output(Command::new(python).args(["-c", line]));
        assert_eq!(answer.trim(), "True");
    }
}

#[test]
fn python_has_the_tests_of_python_etcd() {
    if let Some(python) = find(Tool::PythonEtcd, "python_has_the_tests_of_python_etcd") {
        let line = "from etcd.tests.integration import test_simple; print(test_simple.TestWatch)";
        let answer = output(Command::new(python).args(["-c", line]));
        assert!(answer.contains("TestWatch"), "{answer}");
    }
}

#[test]
fn node_has_a_client_of_v2() {
    if let Some(node) = find(Tool::NodeEtcd, "node_has_a_client_of_v2") {
        let line = "console.log(typeof require('node-etcd').prototype.watcher)";
        let answer = output(Command::new(node).args(["-e", line]));
        assert_eq!(answer.trim(), "function");
    }
}
