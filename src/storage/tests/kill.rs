//! Real processes, killed: what they acknowledged must be there.
//!
//! Each test starts this very program again as a child that runs the same test with a variable in
//! its environment. The child writes and prints what was acknowledged; the parent kills it.

use bytes::Bytes;
use detcd_core::view::{Batch, Direction, Table, View};
use detcd_storage::disk::RealDisk;
use detcd_storage::log::{Log, LogEntry, LogError, LogOptions, Position};
use detcd_storage::store::{FjallStore, Stage, Store, StoreOptions};
use futures::executor::block_on;
use std::io::{BufRead, BufReader, Write};
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

const FOLDER: &str = "DETCD_KILL_TEST_FOLDER";

/// The folder to work in, if this process is a child.
fn child_folder() -> Option<PathBuf> {
    std::env::var_os(FOLDER).map(PathBuf::from)
}

fn spawn(test: &str, folder: &Path, limits: &str) -> Child {
    let me = std::env::current_exe().unwrap();
    let run = format!("{limits} exec \"$0\" --exact {test} --nocapture");
    Command::new("sh")
        .args(["-c", &run])
        .arg(me)
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Reads acknowledgements until there are `enough`, kills the child, and returns the last.
fn kill_after(mut child: Child, enough: u64) -> u64 {
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut last = 0;
    let mut seen = 0;
    for line in lines {
        // What the child printed before it died counts too.
        let line = line.unwrap();
        let Some(number) = line.strip_prefix("ack ") else {
            continue;
        };
        last = number.parse().unwrap();
        seen += 1;
        if seen == enough {
            child.kill().unwrap(); // SIGKILL
        }
    }
    child.wait().unwrap();
    assert!(
        seen >= enough,
        "the child ended by itself after {seen} acknowledgements"
    );
    last
}

fn acknowledge(number: u64) {
    let mut out = std::io::stdout();
    writeln!(out, "ack {number}")
        .and_then(|()| out.flush())
        .expect("the parent reads");
}

fn entry(index: u64) -> LogEntry {
    let payload = format!("entry {index};").repeat(1 + (index * 7 % 90) as usize);
    LogEntry {
        term: 1 + index / 1000,
        index,
        payload: Bytes::from(payload),
    }
}

fn small_segments() -> LogOptions {
    let mut options = LogOptions::new(99);
    options.segment_bytes = 256 * 1024;
    options
}

/// Appends for ever, several in flight, and now and then purges and votes.
fn log_child(folder: &Path) -> LogError {
    let disk = RealDisk::open(folder).unwrap();
    let (log, writer, found) = block_on(Log::open(disk, small_segments())).unwrap();
    let writer = std::thread::spawn(|| block_on(writer.run()));
    let (sender, receiver) = std::sync::mpsc::channel();
    let mut index = found.state.last.map_or(0, |last| last.index);
    loop {
        for _ in 0..4 {
            let first = index + 1;
            index += 1 + first % 5;
            let (sender, last) = (sender.clone(), index);
            let done = move |result: Result<(), LogError>| {
                sender.send(result.map(|()| last)).expect("it waits");
            };
            log.append((first..=index).map(entry).collect(), Box::new(done));
        }
        for _ in 0..4 {
            match receiver.recv().unwrap() {
                Ok(last) => acknowledge(last),
                Err(_) => return writer.join().unwrap().expect_err("it stopped"),
            }
        }
        if index.is_multiple_of(16) && index > 2000 {
            let through = entry(index - 2000).position();
            let vote = Bytes::from(index.to_string());
            let both = [log.purge(through), log.save_vote(vote)];
            for receipt in both {
                if let Err(error) = block_on(receipt) {
                    return error;
                }
            }
            println!("vote {index}");
        }
    }
}

/// Opens the log, checks every entry, and returns the last index.
fn check_log(folder: &Path, acknowledged: u64) -> u64 {
    let disk = RealDisk::open(folder).unwrap();
    let (log, writer, found) = block_on(Log::open(disk, small_segments())).unwrap();
    let last = found.state.last.expect("a log with entries");
    assert!(
        last.index >= acknowledged,
        "{last:?}, but {acknowledged} was acknowledged"
    );
    let purged = found.state.purged.unwrap_or(Position { term: 0, index: 0 });
    let vote: u64 = found.vote.map_or(0, |vote| {
        String::from_utf8(vote.to_vec()).unwrap().parse().unwrap()
    });
    assert!(vote <= last.index && vote + 2001 > purged.index);
    let writer = std::thread::spawn(|| block_on(writer.run()));
    let entries = block_on(log.read(0..u64::MAX)).unwrap();
    assert_eq!(
        entries,
        (purged.index + 1..=last.index)
            .map(entry)
            .collect::<Vec<_>>()
    );
    drop(log);
    writer.join().unwrap().unwrap();
    last.index
}

#[test]
fn a_killed_log_has_everything_acknowledged() {
    if let Some(folder) = child_folder() {
        panic!("the log stopped: {}", log_child(&folder));
    }
    let folder = tempfile::tempdir().unwrap();
    let mut last = 0;
    for round in 1..=4 {
        let child = spawn(
            "a_killed_log_has_everything_acknowledged",
            folder.path(),
            "",
        );
        let acknowledged = kill_after(child, round * 173);
        assert!(acknowledged > last);
        last = check_log(folder.path(), acknowledged);
    }
}

/// The kernel refuses to let a file grow: as on a full disk, space cannot be had.
#[test]
fn a_log_without_space_stops_and_loses_nothing() {
    if let Some(folder) = child_folder() {
        let error = log_child(&folder);
        println!("full {}", error.is_full());
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut child = spawn(
        "a_killed_log_has_everything_acknowledged",
        folder.path(),
        "",
    );
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first: Vec<_> = lines.take(300).map(Result::unwrap).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(first.len() == 300);
    let before = check_log(folder.path(), 1);
    // In blocks of 512 bytes: less than a segment, so that the next cannot be allocated.
    let limits = "trap '' XFSZ; ulimit -f 256;";
    let test = "a_log_without_space_stops_and_loses_nothing";
    let child = spawn(test, folder.path(), limits);
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let mut acks = text.lines().filter_map(|line| line.strip_prefix("ack "));
    let acknowledged = acks.next_back().map_or(before, |ack| ack.parse().unwrap());
    assert!(
        text.contains("full true"),
        "it stops for want of space: {text}"
    );
    let last = check_log(folder.path(), acknowledged);
    let child = spawn(
        "a_killed_log_has_everything_acknowledged",
        folder.path(),
        "",
    );
    assert!(kill_after(child, 50) > last, "with space it goes on");
}

fn small_buffers() -> StoreOptions {
    StoreOptions {
        write_buffer_bytes: 256 * 1024,
        ..StoreOptions::default()
    }
}

/// Few are long, and in two pieces.
fn row_key(row: u64) -> Vec<u8> {
    let mut key = row.to_be_bytes().to_vec();
    if row % 250 == 1 {
        key.resize(140_000, 0);
    }
    key
}

/// Row `n mod 500` of every table says `n`, and so does the applied index.
fn store_batch(number: u64) -> Batch {
    let mut batch = Batch::default();
    let key = row_key(number % 500);
    for table in [Table::Current, Table::Events, Table::Lease] {
        batch.put(table, key.clone(), number.to_be_bytes().repeat(32));
    }
    if number.is_multiple_of(3) {
        batch.delete(Table::Lease, key);
    }
    batch.put(Table::Meta, &b"applied"[..], number.to_be_bytes().to_vec());
    batch
}

fn applied(store: &FjallStore) -> u64 {
    let row = store.get(Table::Meta, b"applied").unwrap();
    row.map_or(0, |row| u64::from_be_bytes(row[..].try_into().unwrap()))
}

/// Writes for ever; persists or replaces the whole state now and then, and acknowledges that.
fn store_child(folder: &Path) {
    let store = FjallStore::open(folder, small_buffers()).unwrap();
    let mut number = applied(&store);
    loop {
        number += 1;
        block_on(store.write(store_batch(number))).unwrap();
        if number.is_multiple_of(5000) {
            let mut stage = block_on(store.stage()).unwrap();
            for number in number.saturating_sub(1200)..=number {
                block_on(stage.write(store_batch(number))).unwrap();
            }
            block_on(stage.commit()).unwrap();
            acknowledge(number);
        } else if number.is_multiple_of(37) {
            block_on(store.persist()).unwrap();
            acknowledge(number);
        }
    }
}

/// Every row is what the applied index says.
fn check_store(folder: &Path, acknowledged: u64) -> u64 {
    let store = FjallStore::open(folder, small_buffers()).unwrap();
    let applied = applied(&store);
    assert!(
        applied >= acknowledged,
        "{applied}, but {acknowledged} was acknowledged"
    );
    let snapshot = store.snapshot().unwrap();
    for table in [Table::Current, Table::Events, Table::Lease] {
        let all = (Bound::Unbounded, Bound::Unbounded);
        let rows = snapshot.scan(table, all, Direction::Forward);
        let rows: Vec<_> = rows.collect::<Result<_, _>>().unwrap();
        let mut expected = std::collections::BTreeMap::new();
        for number in applied.saturating_sub(499).max(1)..=applied {
            if table != Table::Lease || !number.is_multiple_of(3) {
                expected.insert(number % 500, number);
            }
        }
        assert_eq!(rows.len(), expected.len(), "{table:?} at {applied}");
        for ((key, value), (row, number)) in rows.iter().zip(expected) {
            assert!(key[..] == row_key(row), "row {row} of {table:?}");
            assert_eq!(value[..], number.to_be_bytes().repeat(32)[..]);
        }
    }
    applied
}

#[test]
fn a_killed_store_is_at_a_batch_border_after_all_that_was_persisted() {
    if let Some(folder) = child_folder() {
        return store_child(&folder);
    }
    let folder = tempfile::tempdir().unwrap();
    let mut last = 0;
    for round in 1..=4 {
        let test = "a_killed_store_is_at_a_batch_border_after_all_that_was_persisted";
        let child = spawn(test, folder.path(), "");
        let acknowledged = kill_after(child, round * 71);
        assert!(acknowledged > last);
        last = check_store(folder.path(), acknowledged);
    }
    assert!(last > 5_000, "a replacement was among it");
}
