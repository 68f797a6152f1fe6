//! `detcd config check` and `detcd config print`.

use crate::cluster::free_port;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Exit code, standard output and errors.
fn detcd(args: &[&str], variables: &[(&str, &str)]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_detcd"));
    command.args(args).envs(variables.iter().copied());
    let output = command.output().expect("it starts");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    let code = output.status.code().expect("a code");
    (code, text(output.stdout), text(output.stderr))
}

fn written(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join("etcd.yml");
    fs::write(&path, text).expect("written");
    path
}

/// A file that listens at free ports, and keeps its data in `folder`.
fn listening(folder: &Path) -> String {
    let (client, peer) = (free_port(), free_port());
    format!(
        "name: m1\ndata-dir: {}/m1\nlisten-client-urls: http://127.0.0.1:{client}\n\
         advertise-client-urls: http://127.0.0.1:{client}\n\
         listen-peer-urls: http://127.0.0.1:{peer}\n\
         initial-advertise-peer-urls: http://127.0.0.1:{peer}\n",
        folder.display()
    )
}

#[test]
fn check_tells_each_mistake_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let good = listening(folder.path());
    let path = written(folder.path(), &good);
    let path = path.to_str().unwrap();
    let check = || detcd(&["config", "check", path], &[]);
    assert_eq!(check(), (0, format!("{path}: ok\n"), String::new()));

    fs::write(path, format!("{good}snapshot-cuont: 5\nquota: x: y\n")).unwrap();
    let (code, _, errors) = check();
    assert_eq!(code, 1);
    assert!(errors.starts_with(&format!("{path}:8: ")), "{errors}");

    fs::write(
        path,
        format!("{good}snapshot-cuont: 5\nmax-txn-ops: many\n"),
    )
    .unwrap();
    let wanted = format!(
        "{path}:7: unknown key \"snapshot-cuont\"; did you mean \"snapshot-count\"?\n\
         {path}:8: invalid value \"many\" for key \"max-txn-ops\": parse error\n"
    );
    assert_eq!(check(), (1, String::new(), wanted));

    let security =
        "peer-transport-security:\n  cert-file: /nonexistent/c\n  key-file: /nonexistent/k\n";
    let elsewhere = good.replace(
        "listen-peer-urls: http://127.0.0.1",
        "listen-peer-urls: http://192.0.2.1",
    );
    fs::write(
        path,
        format!("{elsewhere}initial-cluster: m2=http://127.0.0.1:1\n{security}"),
    )
    .unwrap();
    let (code, _, errors) = check();
    assert_eq!(code, 1);
    for problem in [
        "couldn't find local name \"m1\" in the initial cluster configuration",
        "/nonexistent/c",
        &format!("{path}:5: listen tcp 192.0.2.1:"),
    ] {
        assert!(errors.contains(problem), "{problem:?} in {errors}");
    }
    assert!(!folder.path().join("m1").exists(), "it writes nothing");
    let (code, _, errors) = detcd(&["config", "check", "/nonexistent"], &[]);
    assert_eq!(
        (code, &errors[..]),
        (1, "open /nonexistent: no such file or directory\n")
    );
    assert_eq!(detcd(&["config", "check"], &[]).0, 2);
}

#[test]
fn check_warns_of_an_address_that_is_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let text = format!(
        "data-dir: {}/m1\nlisten-client-urls: http://{address}\n\
         advertise-client-urls: http://{address}\nlisten-peer-urls: http://127.0.0.1:{}\n",
        folder.path().display(),
        free_port()
    );
    let path = written(folder.path(), &text);
    let path = path.to_str().unwrap();
    let warning =
        format!("warning: {path}:2: listen tcp {address}: bind: address already in use\n");
    assert_eq!(
        detcd(&["config", "check", path], &[]),
        (0, format!("{path}: ok\n"), warning)
    );
}

#[test]
fn print_tells_where_each_value_came_from() {
    let folder = tempfile::tempdir().unwrap();
    let variables = [("ETCD_SNAPSHOT_COUNT", "7")];
    let (code, text, _) = detcd(&["config", "print", "--name=m1"], &variables);
    let lines: Vec<String> = text
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(code, 0);
    for wanted in [
        "name: \"m1\" # flag -name",
        "snapshot-count: 7 # ETCD_SNAPSHOT_COUNT",
        "max-txn-ops: 128 # default",
    ] {
        assert!(
            lines.iter().any(|line| line == wanted),
            "{wanted} in {text}"
        );
    }
    let path = written(folder.path(), "etcd:\n  name: m2\n");
    let path = path.to_str().unwrap();
    let (_, text, _) = detcd(&["config", "print", "--config-file", path], &[]);
    assert!(text.contains(&format!("# {path}:2")), "{text}");
    let (code, text, errors) = detcd(&["config", "print", "--heartbeat-interval=0"], &[]);
    let refusal = "--heartbeat-interval must be >0 (set to 0ms)\n";
    assert_eq!((code, &text[..], &errors[..]), (1, "", refusal));
}
