//! The raft log on a real disk.

use bytes::Bytes;
use detcd_storage::disk::RealDisk;
use detcd_storage::log::{Log, LogEntry, LogOptions, Position};
use futures::executor::block_on;

fn entry(index: u64, term: u64) -> LogEntry {
    LogEntry {
        term,
        index,
        payload: Bytes::from(format!("payload {index}")),
    }
}

#[test]
fn what_was_written_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let disk = RealDisk::open(folder.path()).unwrap();
    let mut options = LogOptions::new(7);
    options.segment_bytes = 64 * 1024;
    let (log, writer, found) = block_on(Log::open(disk.clone(), options.clone())).unwrap();
    assert_eq!(found, Default::default());
    let thread = std::thread::spawn(|| block_on(writer.run()));
    let (sender, receiver) = std::sync::mpsc::channel();
    log.append(
        (1..=9).map(|i| entry(i, 1)).collect(),
        Box::new(move |r| sender.send(r).unwrap()),
    );
    receiver.recv().unwrap().unwrap();
    block_on(log.truncate_after(Some(7))).unwrap();
    block_on(log.save_vote(Bytes::from_static(b"vote"))).unwrap();
    log.save_committed(Position { term: 1, index: 6 }).unwrap();
    block_on(log.purge(Position { term: 1, index: 2 })).unwrap();
    assert_eq!(
        block_on(log.read(0..100)).unwrap(),
        (3..=7).map(|i| entry(i, 1)).collect::<Vec<_>>()
    );
    drop(log);
    thread.join().unwrap().unwrap();

    let (log, _writer, found) = block_on(Log::open(disk, options)).unwrap();
    assert_eq!(found.vote.as_deref(), Some(&b"vote"[..]));
    assert_eq!(found.committed, Some(Position { term: 1, index: 6 }));
    assert_eq!(found.state.purged, Some(Position { term: 1, index: 2 }));
    assert_eq!(found.state.last, Some(Position { term: 1, index: 7 }));
    assert_eq!(found.state, log.state());
    assert_eq!(
        block_on(log.read(0..100)).unwrap(),
        (3..=7).map(|i| entry(i, 1)).collect::<Vec<_>>()
    );
}
