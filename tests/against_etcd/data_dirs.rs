//! Data-dirs that are damaged, foreign or incomplete.

use crate::cluster::{Cluster, Node, eventually, get, get_eventually, put_eventually};
use crate::tools::{self, Tool};
use detcd_wire::etcdserverpb as pb;
use pb::maintenance_client::MaintenanceClient;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// Copies a folder with all that is in it.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        match entry.file_type().expect("a type").is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).expect("a copy")),
        }
    }
}

/// The names of all that is in a folder.
fn names(folder: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let entry = entry.expect("an entry");
        names.push(entry.path().display().to_string());
        if entry.file_type().expect("a type").is_dir() {
            names.extend(self::names(&entry.path()));
        }
    }
    names.sort();
    names
}

/// One that leads, and two that follow.
async fn roles(cluster: &Cluster) -> [usize; 3] {
    let mut roles = vec![0, 1, 2];
    let leader = cluster.nodes[0].status().await.expect("a status").leader;
    for i in 0..3 {
        let status = cluster.nodes[i].status().await.expect("a status");
        if status.header.expect("a header").member_id == leader {
            roles.swap(0, i);
        }
    }
    roles.try_into().expect("three members")
}

async fn refusal(node: &mut Node) -> String {
    assert_eq!(node.wait().await.code(), Some(1), "{}", node.log());
    let log = node.log();
    log.lines().last().expect("a last line").to_owned()
}

/// What etcd wrote is etcd's: whole, without its log (`--wal-dir`), without its state, or as the
/// second API left it. (A proxy's data-dir is taken over: it has no data.)
#[tokio::test]
async fn the_data_of_etcd_is_refused_and_left_alone() {
    let Some(etcd) = tools::find(Tool::Etcd, "the_data_of_etcd_is_refused_and_left_alone") else {
        return;
    };
    let mut theirs = Cluster::of(etcd, 1, &[]);
    theirs.start(0);
    put_eventually(&theirs.nodes[0], "a", "1").await;
    theirs.nodes[0].kill();
    let written = theirs.nodes[0].data_dir.clone();
    let layouts: [(&str, &[&str]); 4] = [
        ("member/wal", &[]),
        ("member/snap", &["member/wal"]),
        ("member/wal", &["member/snap"]),
        ("member/snap", &["member/wal", "member/snap/db"]),
    ];
    for (found, missing) in layouts {
        let mut ours = Cluster::new(1, &[]);
        let data_dir = ours.nodes[0].data_dir.clone();
        copy(&written, &data_dir);
        for part in missing {
            let path = data_dir.join(part);
            match path.is_dir() {
                true => fs::remove_dir_all(path).expect("a removal"),
                false => fs::remove_file(path).expect("a removal"),
            }
        }
        fs::write(data_dir.join("member/snap.txt"), "").expect("a file");
        let before = names(&data_dir);
        ours.start(0);
        let last = refusal(&mut ours.nodes[0]).await;
        for part in [
            data_dir.display().to_string(),
            format!("holds the data of etcd ({found})"),
            "choose an empty --data-dir".to_owned(),
        ] {
            assert!(last.contains(&part), "{last}");
        }
        assert_eq!(names(&data_dir), before, "nothing was written beside it");
    }
    // It is etcd's still.
    theirs.restart(0);
    theirs.nodes[0].wait_healthy().await;
    let value = get(&mut theirs.nodes[0].kv(), "a").await.expect("a read");
    assert_eq!(value.as_deref(), Some("1"));
}

/// The rights of what is in the folder, and the warning for a folder that was open before.
#[tokio::test]
async fn rights_and_the_warning_are_those_of_etcd() {
    let name = "rights_and_the_warning_are_those_of_etcd";
    let Some(etcd) = tools::find(Tool::Etcd, name) else {
        return;
    };
    let mut told = Vec::new();
    for program in [etcd, env!("CARGO_BIN_EXE_detcd").into()] {
        let mut cluster = Cluster::of(program, 1, &[]);
        let data_dir = cluster.nodes[0].data_dir.clone();
        cluster.start(0);
        put_eventually(&cluster.nodes[0], "a", "1").await;
        for path in names(&data_dir).iter().map(Path::new).chain([&*data_dir]) {
            let found = fs::metadata(path).expect("it is there");
            let wanted = if found.is_dir() { 0o700 } else { 0o600 };
            let mode = found.permissions().mode() & 0o777;
            assert_eq!(mode, wanted, "{:o} {}", mode, path.display());
        }
        cluster.nodes[0].kill();
        fs::set_permissions(&data_dir, fs::Permissions::from_mode(0o755)).expect("rights");
        cluster.restart(0);
        cluster.nodes[0].wait_healthy().await;
        let log = cluster.nodes[0].log();
        let line = log
            .lines()
            .find(|line| line.contains("check file permission"));
        let line: serde_json::Value = serde_json::from_str(line.expect("a warning")).expect("JSON");
        let text = line["error"].as_str().expect("the error").to_owned();
        told.push(text.replace(&data_dir.display().to_string(), "DIR"));
        assert_eq!(line["level"], "warn");
    }
    assert_eq!(told[0], told[1]);
}

/// Neither starts on what is no folder; detcd says what to do.
#[tokio::test]
async fn a_place_that_is_no_folder_is_refused() {
    let Some(etcd) = tools::find(Tool::Etcd, "a_place_that_is_no_folder_is_refused") else {
        return;
    };
    for program in [etcd, env!("CARGO_BIN_EXE_detcd").into()] {
        let is_ours = program.ends_with("detcd");
        for (target, advice) in [
            (None, "is not a directory: move what is there away"),
            (
                Some("/nonexistent/x"),
                "is a symbolic link to /nonexistent/x",
            ),
        ] {
            let mut cluster = Cluster::of(program.clone(), 1, &[]);
            let data_dir = cluster.nodes[0].data_dir.clone();
            match target {
                None => fs::write(&data_dir, "a file").expect("a file"),
                Some(target) => std::os::unix::fs::symlink(target, &data_dir).expect("a link"),
            }
            cluster.start(0);
            let last = refusal(&mut cluster.nodes[0]).await;
            assert!(!is_ours || last.contains(advice), "{last}");
        }
    }
}

/// A follower comes back with a copy of its data-dir from before it acknowledged the last writes.
/// Whether it was found out and ended; nothing if another led than was to lead.
async fn comes_back_older(program: &Path, moves_leader: bool, told: &str) -> Option<bool> {
    let mut cluster = Cluster::of(program.to_owned(), 3, &[]);
    (0..3).for_each(|i| cluster.start(i));
    cluster.wait_healthy().await;
    let [leader, follower, other] = roles(&cluster).await;
    let term = cluster.nodes[leader].status().await?.raft_term;
    put_eventually(&cluster.nodes[leader], "before", "1").await;
    get_eventually(&cluster.nodes[follower], "before").await;
    cluster.nodes[follower].stop().await;
    let data_dir = cluster.nodes[follower].data_dir.clone();
    let older = data_dir.with_extension("older");
    copy(&data_dir, &older);
    cluster.restart(follower);
    cluster.nodes[follower].wait_healthy().await;
    for number in 0..50 {
        put_eventually(&cluster.nodes[leader], &format!("after/{number}"), "1").await;
    }
    get_eventually(&cluster.nodes[follower], "after/49").await;
    cluster.nodes[follower].kill();
    fs::remove_dir_all(&data_dir).expect("a removal");
    fs::rename(&older, &data_dir).expect("a folder in its place");
    let mut leads = leader;
    if moves_leader {
        let target_id = cluster.nodes[other].status().await?.header?.member_id;
        let mut maintenance = MaintenanceClient::new(cluster.nodes[leader].channel());
        let moved = maintenance.move_leader(pb::MoveLeaderRequest { target_id });
        moved.await.ok()?;
        leads = other;
    }
    let led_in = cluster.nodes[leads].status().await?.raft_term;
    cluster.restart(follower);
    let is_told = eventually("an end, a value, or another leader", || async {
        if cluster.nodes[follower].log().contains(told) {
            return Some(Some(true));
        }
        if cluster.nodes[leads].status().await?.raft_term != led_in {
            return Some(None);
        }
        let value = get(&mut cluster.nodes[follower].kv(), "after/49").await;
        value.ok()?.map(|_| Some(false))
    })
    .await?;
    if is_told {
        let status = cluster.nodes[follower].wait().await;
        assert!(!status.success(), "{status}");
    }
    (moves_leader || led_in == term).then_some(is_told)
}

/// The leader to which the follower acknowledged what it lacks knows; another one cannot know.
#[tokio::test]
async fn an_older_copy_of_a_data_dir_is_found_out_by_the_leader_of_then() {
    let name = "an_older_copy_of_a_data_dir_is_found_out_by_the_leader_of_then";
    let Some(etcd) = tools::find(Tool::Etcd, name) else {
        return;
    };
    let detcd = env!("CARGO_BIN_EXE_detcd").into();
    let programs: [(PathBuf, &str); 2] = [
        (etcd, "is out of range [lastIndex("),
        (
            detcd,
            "or restored from an older copy; move its data-dir away",
        ),
    ];
    for (program, told) in programs {
        for moves_leader in [false, true] {
            let mut is_told = None;
            for _ in 0..5 {
                is_told = comes_back_older(&program, moves_leader, told).await;
                if is_told.is_some() {
                    break;
                }
            }
            assert_eq!(is_told, Some(!moves_leader), "{}", program.display());
        }
    }
}
