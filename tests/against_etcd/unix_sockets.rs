//! Unix sockets for clients and between members.

use crate::cluster::{WAIT_MAX, eventually};
use crate::tools::{self, Tool};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// A member that listens on nothing but sockets in its working directory.
struct SocketMember {
    name: &'static str,
    child: Child,
}

impl Drop for SocketMember {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const NAMES: [&str; 3] = ["a", "b", "c"];

fn start(program: &Path, folder: &Path, name: &'static str, names: &[&str]) -> SocketMember {
    let cluster: Vec<String> = names
        .iter()
        .map(|name| format!("{name}=unix://p{name}:1"))
        .collect();
    let mut options = File::options();
    options.create(true).append(true);
    let log = options.open(folder.join(format!("{name}.log"))).unwrap();
    let child = Command::new(program)
        .current_dir(folder)
        .arg(format!("--name={name}"))
        .arg(format!("--data-dir=data-{name}"))
        .arg(format!("--listen-client-urls=unix://c{name}:1"))
        .arg(format!("--advertise-client-urls=unix://c{name}:1"))
        .arg(format!("--listen-peer-urls=unix://p{name}:1"))
        .arg(format!("--initial-advertise-peer-urls=unix://p{name}:1"))
        .arg(format!("--initial-cluster={}", cluster.join(",")))
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("the program starts");
    SocketMember { name, child }
}

fn control(program: &Path, folder: &Path, args: &[&str]) -> Output {
    Command::new(program)
        .current_dir(folder)
        .args(args)
        .env("ETCDCTL_API", "3")
        .output()
        .expect("the program starts")
}

/// The output of a command, once it succeeds.
async fn succeeds(program: &Path, folder: &Path, args: &[&str]) -> String {
    eventually("a command succeeds", || async {
        let output = control(program, folder, args);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        output.status.success().then_some(text)
    })
    .await
}

fn is_socket(path: &Path) -> bool {
    path.symlink_metadata()
        .is_ok_and(|found| found.file_type().is_socket())
}

/// The status line of a page that is asked for over a socket.
fn page(socket: &Path, path: &str) -> Option<String> {
    let mut stream = UnixStream::connect(socket).ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    stream.set_read_timeout(Some(WAIT_MAX)).ok()?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply).ok()?;
    reply.lines().next().map(str::to_owned)
}

/// Commands of both control programs that reach a member by each form of a socket's URL.
async fn served_by_every_form(controls: &[PathBuf], folder: &Path, member: &str) {
    let absolute = folder.join(format!("c{member}:1"));
    let absolute = format!("unix://{}", absolute.display());
    let forms = [
        format!("unix://c{member}:1"),
        format!("unix:c{member}:1"),
        format!("unix://./c{member}:1"),
        absolute,
    ];
    for (i, form) in forms.iter().enumerate() {
        let value = format!("{member}{i}");
        // etcdctl 3.4 does not know the form without slashes; that of 3.5 does.
        let takes_it = |control: &Path| control.ends_with("detcdctl") || form.contains("://");
        for control in controls.iter().filter(|control| takes_it(control)) {
            let args = ["--endpoints", form, "put", "k", &value];
            assert_eq!(succeeds(control, folder, &args).await, "OK\n", "{form}");
            let args = ["--endpoints", form, "get", "k", "--print-value-only"];
            assert_eq!(succeeds(control, folder, &args).await, format!("{value}\n"));
        }
    }
}

#[tokio::test]
async fn clients_and_members_meet_over_unix_sockets() {
    let test = "clients and members meet over Unix sockets";
    let detcdctl = Some(PathBuf::from(env!("CARGO_BIN_EXE_detcdctl")));
    let controls = [detcdctl, tools::find(Tool::Etcdctl, test)];
    let controls: Vec<PathBuf> = controls.into_iter().flatten().collect();
    let detcd = Some(PathBuf::from(env!("CARGO_BIN_EXE_detcd")));
    let mut lists = Vec::new();
    for program in [detcd, tools::find(Tool::Etcd, test)].into_iter().flatten() {
        let folder = TempDir::new().unwrap();
        let folder = folder.path();
        let mut members: Vec<SocketMember> = NAMES
            .iter()
            .map(|name| start(&program, folder, name, &NAMES))
            .collect();
        for name in NAMES {
            served_by_every_form(&controls, folder, name).await;
        }
        let args = ["--endpoints", "unix://ca:1", "member", "list"];
        let list = succeeds(&controls[0], folder, &args).await;
        assert_eq!(list.matches("unix://c").count(), 3, "{list}");
        lists.push(list);
        let status = page(&folder.join("ca:1"), "/health");
        assert_eq!(status.as_deref(), Some("HTTP/1.1 200 OK"), "{program:?}");
        let status = page(&folder.join("pa:1"), "/members");
        assert_eq!(status.as_deref(), Some("HTTP/1.1 200 OK"), "{program:?}");

        // A killed member leaves its sockets, and takes them again.
        let killed = members.pop().expect("three members");
        let name = killed.name;
        drop(killed);
        assert!(is_socket(&folder.join("cc:1")) && is_socket(&folder.join("pc:1")));
        members.push(start(&program, folder, name, &NAMES));
        served_by_every_form(&controls[..1], folder, name).await;

        // One that stops removes them.
        for member in &mut members {
            let id = rustix::process::Pid::from_child(&member.child);
            rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
        }
        for member in &mut members {
            eventually("a member stops", || {
                let status = member.child.try_wait().expect("it is ours");
                async move { status }
            })
            .await;
            for socket in ["c", "p"] {
                let socket = folder.join(format!("{socket}{}:1", member.name));
                assert!(!is_socket(&socket), "{program:?}: {}", socket.display());
            }
        }
    }
    assert!(lists.windows(2).all(|pair| pair[0] == pair[1]), "{lists:?}");
}

/// How a single member's start ends, if it does.
async fn refusal(folder: &Path) -> String {
    let mut member = start(
        Path::new(env!("CARGO_BIN_EXE_detcd")),
        folder,
        "a",
        &NAMES[..1],
    );
    eventually("the member ends", || {
        let status = member.child.try_wait().expect("it is ours");
        async move { status }
    })
    .await;
    std::fs::read_to_string(folder.join("a.log")).unwrap()
}

/// etcd removes whatever is at the path of a socket.
#[tokio::test]
async fn what_is_no_dead_socket_stays_where_it_is() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    let socket = folder.join("ca:1");
    let in_use = "listen unix ca:1: bind: address already in use";

    std::fs::write(&socket, "a file").unwrap();
    assert!(refusal(folder).await.contains(in_use));
    assert_eq!(std::fs::read(&socket).unwrap(), b"a file");
    assert!(!is_socket(&folder.join("pa:1")), "it was removed again");

    std::fs::remove_file(&socket).unwrap();
    let listener = UnixListener::bind(&socket).unwrap();
    std::fs::remove_file(folder.join("a.log")).unwrap();
    assert!(refusal(folder).await.contains(in_use));
    listener.set_nonblocking(true).unwrap();
    while listener.accept().is_ok() {}
    let here = UnixStream::connect(&socket);
    assert!(here.is_ok(), "the socket is still its owner's: {here:?}");

    // Once its owner is gone, the socket is free.
    drop((listener, here));
    let _member = start(
        Path::new(env!("CARGO_BIN_EXE_detcd")),
        folder,
        "a",
        &NAMES[..1],
    );
    let served = eventually("the member serves", || async {
        page(&socket, "/version").filter(|status| status.contains("200"))
    });
    tokio::time::timeout(WAIT_MAX + Duration::from_secs(1), served)
        .await
        .expect("in time");
}
