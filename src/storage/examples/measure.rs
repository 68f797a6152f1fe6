//! Measures what the storage can do on this machine:
//! `measure log [FOLDER]` appends of 256-byte records, `measure store [FOLDER]` a million keys.
//! The figures in the crate's documentation come from it.

use bytes::Bytes;
use detcd_core::view::{Batch, Direction, Table, View};
use detcd_storage::disk::RealDisk;
use detcd_storage::log::{Log, LogEntry, LogOptions, Position};
use detcd_storage::store::{FjallStore, Store, StoreOptions};
use futures::executor::block_on;
use std::ops::Bound;
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

const RECORD_BYTES: usize = 256;
const ROUND: Duration = Duration::from_secs(3);

fn main() {
    let mut arguments = std::env::args().skip(1);
    let what = arguments.next().unwrap_or_default();
    let parent = arguments.next().unwrap_or_else(|| ".".to_string());
    let folder = Path::new(&parent).join(format!("measure-{}", std::process::id()));
    match what.as_str() {
        "log" => measure_log(&folder),
        "store" => measure_store(&folder),
        _ => eprintln!("measure log|store [FOLDER]"),
    }
    if folder.exists() {
        std::fs::remove_dir_all(&folder).expect("a folder of our own");
    }
}

/// One append at a time in flight, of 1, 16 and 128 records; purging as a member would.
fn measure_log(folder: &Path) {
    let disk = RealDisk::open(folder).expect("a folder");
    let (log, writer, _) = block_on(Log::open(disk, LogOptions::new(7))).expect("a new log");
    let writer = std::thread::spawn(|| block_on(writer.run()));
    let payload = Bytes::from(vec![b'x'; RECORD_BYTES]);
    let mut index = 0;
    for batch in [1, 16, 128, 1, 16, 128] {
        let (sender, receiver) = mpsc::channel();
        let mut times = Vec::new();
        let start = Instant::now();
        while start.elapsed() < ROUND {
            let entry = |index| LogEntry {
                term: 1,
                index,
                payload: payload.clone(),
            };
            let entries = (index + 1..=index + batch).map(entry).collect();
            index += batch;
            let sender = sender.clone();
            let begun = Instant::now();
            log.append(
                entries,
                Box::new(move |done| sender.send(done).expect("it waits")),
            );
            receiver.recv().expect("an answer").expect("an append");
            times.push(begun.elapsed());
            if index.is_multiple_of(100_000 / batch * batch) && index > 300_000 {
                block_on(log.purge(Position {
                    term: 1,
                    index: index - 200_000,
                }))
                .expect("a purge");
            }
        }
        let rate = times.len() as f64 * batch as f64 / start.elapsed().as_secs_f64();
        times.sort_unstable();
        let part = |part: usize| times[(times.len() - 1) * part / 1000];
        println!(
            "append of {batch:3} records: {rate:9.0} records/s, p50 {:?}, p99 {:?}, max {:?}",
            part(500),
            part(990),
            part(1000)
        );
    }
    drop(log);
    writer.join().expect("the writer").expect("a clean end");
}

/// Loads a million keys as the machine would (three big tables and the applied index), then
/// overwrites, reads and reopens; prints the memory that the process holds after each.
fn measure_store(folder: &Path) {
    const KEYS: u64 = 1_000_000;
    let store = FjallStore::open(folder, StoreOptions::default()).expect("a new store");
    println!("{}", memory("opened"));
    for round in 0..2u64 {
        let start = Instant::now();
        for first in (0..KEYS).step_by(100) {
            let mut batch = Batch::default();
            for number in first..first + 100 {
                // Spread over the key space, as hashed keys are.
                let key = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
                let revision = (round * KEYS + number).to_be_bytes();
                let value = Bytes::from(vec![number as u8; RECORD_BYTES + 32]);
                batch.put(Table::Current, key.to_vec(), value.clone());
                batch.put(Table::Events, revision.to_vec(), value);
                batch.put(Table::Versions, [key, revision].concat(), Bytes::new());
            }
            batch.put(Table::Meta, &b"applied"[..], first.to_be_bytes().to_vec());
            block_on(store.write(batch)).expect("a write");
        }
        let rate = KEYS as f64 / start.elapsed().as_secs_f64();
        println!(
            "{}",
            memory(&format!(
                "round {round}: {rate:.0} keys/s in batches of 100"
            ))
        );
    }
    let start = Instant::now();
    let snapshot = store.snapshot().expect("a snapshot");
    for number in 0..200_000u64 {
        let key = (number * 5)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .to_be_bytes();
        snapshot
            .get(Table::Current, &key)
            .expect("a read")
            .expect("the row");
    }
    println!(
        "{}",
        memory(&format!(
            "200k gets at {:?} each",
            start.elapsed() / 200_000
        ))
    );
    let start = Instant::now();
    let all = (Bound::Unbounded, Bound::Unbounded);
    let rows = snapshot
        .scan(Table::Current, all, Direction::Forward)
        .count();
    println!(
        "{}",
        memory(&format!("scan of {rows} rows in {:?}", start.elapsed()))
    );
    let start = Instant::now();
    block_on(store.persist()).expect("a sync");
    println!(
        "{}",
        memory(&format!(
            "persist in {:?}; {:?}",
            start.elapsed(),
            store.size()
        ))
    );
    drop((snapshot, store));
    let start = Instant::now();
    let store = FjallStore::open(folder, StoreOptions::default()).expect("the store");
    println!("{}", memory(&format!("reopened in {:?}", start.elapsed())));
    drop(store);
}

fn memory(what: &str) -> String {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = |name| {
        status
            .lines()
            .find(|line| line.starts_with(name))
            .unwrap_or_default()
    };
    format!(
        "{what} [{}, {}]",
        line("VmRSS").replace('\t', " "),
        line("VmHWM").replace('\t', " ")
    )
}
