//! The suite for the log over any [`Disk`]: what survives, what is cut off, what is refused.

mod damage;
mod note;

use crate::disk::{Disk, DiskFile};
use crate::log::{Log, LogEntry, LogError, LogOptions, LogState, Position, Recovered};
use bytes::Bytes;
use futures::channel::oneshot;

/// Small segments, so that little data makes many.
pub const SEGMENT_BYTES: u64 = 32 * 1024;

pub fn options() -> LogOptions {
    let mut options = LogOptions::new(0x5eed);
    options.segment_bytes = SEGMENT_BYTES;
    options.cache_bytes = 4 * 1024;
    options.frame_bytes = 8 * 1024;
    options
}

/// Runs the whole suite; every check gets an empty disk.
pub async fn suite<D: Disk>(mut fresh: impl AsyncFnMut() -> D) {
    what_is_written_survives(&fresh().await).await;
    entries_are_read_at_once_and_acknowledged_in_order(&fresh().await).await;
    truncated_entries_are_replaced(&fresh().await).await;
    purging_keeps_what_follows(&fresh().await).await;
    segments_roll_over_and_are_recycled(&fresh().await).await;
    recycled_entries_do_not_come_back(&fresh().await).await;
    large_entries_get_a_segment_of_their_own(&fresh().await).await;
    damage::one_bad_copy_of_the_vote_is_no_harm(&fresh().await).await;
    damage::torn_tail_is_cut_off(&fresh().await).await;
    damage::rot_before_the_tail_is_refused(&fresh().await).await;
    damage::rot_in_a_full_segment_is_refused(&fresh().await).await;
    damage::rot_in_an_acknowledged_tail_is_refused(&fresh().await).await;
    damage::shortened_segment_is_refused(&fresh().await).await;
    damage::missing_files_are_refused(&fresh().await).await;
    damage::unknown_version_is_refused(&fresh().await).await;
    note::a_note_that_is_lost_or_damaged_is_refused(&fresh().await).await;
    note::a_tail_cut_at_a_frame_is_refused(&fresh().await).await;
    note::a_log_of_another_member_is_refused(&fresh().await).await;
    note::a_log_of_the_first_format_opens(&fresh().await).await;
    note::a_start_that_was_cut_short_is_begun_again(&mut fresh).await;
}

pub fn entry(index: u64, term: u64) -> LogEntry {
    LogEntry {
        term,
        index,
        payload: Bytes::from(format!("payload {index} of term {term};")),
    }
}

fn entries(indexes: std::ops::RangeInclusive<u64>, term: u64) -> Vec<LogEntry> {
    indexes.map(|index| entry(index, term)).collect()
}

fn at(term: u64, index: u64) -> Position {
    Position { term, index }
}

/// Opens the log, runs `body` beside its writer, and closes it.
pub async fn with_log<D: Disk, T>(
    disk: &D,
    body: impl AsyncFnOnce(Log, Recovered) -> T,
) -> Result<T, LogError> {
    let (log, writer, found) = Log::open(disk.clone(), options()).await?;
    let (closed, result) = futures::join!(writer.run(), body(log, found));
    closed.map(|()| result)
}

/// Appends and waits until it is durable.
pub async fn append(log: &Log, entries: Vec<LogEntry>) {
    let (sender, durable) = oneshot::channel();
    log.append(
        entries,
        Box::new(move |result| sender.send(result).expect("someone waits")),
    );
    durable.await.expect("an answer").expect("an append");
}

/// Opens the log and returns what was found and all that it holds.
async fn contents<D: Disk>(disk: &D) -> Result<(Recovered, Vec<LogEntry>), LogError> {
    with_log(disk, async |log, found| {
        (found, log.read(0..u64::MAX).await.expect("a read"))
    })
    .await
}

async fn found<D: Disk>(disk: &D) -> (Recovered, Vec<LogEntry>) {
    contents(disk).await.expect("a log that opens")
}

async fn refusal<D: Disk>(disk: &D) -> LogError {
    contents(disk).await.expect_err("a log that must not open")
}

/// The names of the log's segments, oldest first.
async fn segments(disk: &impl Disk) -> Vec<String> {
    let names = disk.list().await.expect("a listing");
    let mut names: Vec<_> = names
        .into_iter()
        .filter(|it| it.starts_with("log-"))
        .collect();
    names.sort_unstable();
    names
}

/// Where in which segment `text` stands (last).
async fn find(disk: &impl Disk, text: &str) -> Option<(String, u64)> {
    let mut place = None;
    for name in segments(disk).await {
        let file = disk.open(&name, false).await.expect("a segment");
        let length = file.len().await.expect("a length") as usize;
        let bytes = file.read_at(0, length).await.expect("a read");
        let offset = bytes
            .windows(text.len())
            .rposition(|window| window == text.as_bytes());
        place = offset.map(|offset| (name, offset as u64)).or(place);
    }
    place
}

/// Flips a bit in the payload of an entry and returns the file and where the payload stands.
async fn damage(disk: &impl Disk, entry: &LogEntry) -> (String, u64) {
    let text = std::str::from_utf8(&entry.payload).expect("payloads are texts here");
    let (name, offset) = find(disk, text)
        .await
        .expect("the entry stands in a segment");
    flip(disk, &name, offset).await;
    (name, offset)
}

async fn flip(disk: &impl Disk, name: &str, offset: u64) {
    let file = disk.open(name, false).await.expect("the file");
    let byte = file.read_at(offset, 1).await.expect("a read")[0] ^ 0x10;
    file.write_at(offset, Bytes::copy_from_slice(&[byte]))
        .await
        .expect("a write");
    file.sync_data().await.expect("a sync");
}

async fn bytes_of(disk: &impl Disk, name: &str) -> Bytes {
    let file = disk.open(name, false).await.expect("the file");
    file.read_at(0, 1 << 20).await.expect("a read")
}

/// Puts a file with these bytes in place.
async fn put(disk: &impl Disk, name: &str, bytes: &[u8]) {
    let file = disk.open(name, true).await.expect("the file");
    file.truncate(0).await.expect("a cut");
    file.write_at(0, Bytes::copy_from_slice(bytes))
        .await
        .expect("a write");
    file.sync_data().await.expect("a sync");
    disk.sync_dir().await.expect("a sync");
}

/// What the power takes back: the note is written without sync.
async fn note(disk: &impl Disk) -> Bytes {
    bytes_of(disk, note::FILE).await
}

async fn take_note_back(disk: &impl Disk, earlier: &Bytes) {
    put(disk, note::FILE, earlier).await;
}

/// The error names the file, an offset in front of `place`, and what to do.
fn expect_corrupt(error: LogError, disk: &impl Disk, name: &str, place: u64) {
    let LogError::Corrupt { file, offset, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(*file, disk.display(name));
    assert!(
        *offset <= place && place - offset < 4096,
        "{offset} is not near {place}"
    );
    let text = error.to_string();
    assert!(
        text.contains(&format!("offset {offset}")) && text.contains("member remove"),
        "{text}"
    );
}

pub async fn what_is_written_survives<D: Disk>(disk: &D) {
    let (new, nothing) = found(disk).await;
    let created = Recovered {
        salt: new.salt,
        ..Recovered::default()
    };
    assert_eq!((&new, nothing), (&created, vec![]));
    with_log(disk, async |log, found| {
        assert_eq!(found, created, "a log keeps its salt");
        append(&log, entries(1..=3, 1)).await;
        log.save_vote(Bytes::from_static(b"first"))
            .await
            .expect("a vote");
        append(&log, entries(4..=4, 2)).await;
        log.save_vote(Bytes::from_static(b"second"))
            .await
            .expect("a vote");
        log.save_committed(at(1, 3)).expect("noted");
        append(&log, entries(5..=6, 2)).await;
        assert_eq!(log.term_at(3), Some(1));
        assert_eq!((log.term_at(6), log.term_at(7)), (Some(2), None));
    })
    .await
    .expect("no failure");
    for _ in 0..2 {
        let (recovered, read) = found(disk).await;
        assert_eq!(
            recovered.state,
            LogState {
                purged: None,
                last: Some(at(2, 6))
            }
        );
        assert_eq!(recovered.vote.as_deref(), Some(&b"second"[..]));
        assert_eq!(recovered.committed, Some(at(1, 3)));
        assert_eq!(recovered.torn, None);
        assert_eq!(read, [entries(1..=3, 1), entries(4..=6, 2)].concat());
    }
}

pub async fn entries_are_read_at_once_and_acknowledged_in_order<D: Disk>(disk: &D) {
    with_log(disk, async |log, _| {
        let (sender, mut order) = futures::channel::mpsc::unbounded();
        for index in 1..=50 {
            let sender = sender.clone();
            let done = move |result: Result<(), LogError>| {
                result.expect("an append");
                sender.unbounded_send(index).expect("someone waits");
            };
            log.append(vec![entry(index, 1)], Box::new(done));
            assert_eq!(log.state().last, Some(at(1, index)));
        }
        let read = log.read(10..20).await.expect("a read");
        assert_eq!(read, entries(10..=19, 1));
        let some = log.read_some(10..20, 30).await.expect("a read");
        assert_eq!(
            some,
            entries(10..=10, 1),
            "one entry at least, and no more than asked for"
        );
        for index in 1..=50 {
            assert_eq!(futures::StreamExt::next(&mut order).await, Some(index));
        }
    })
    .await
    .expect("no failure");
}

pub async fn truncated_entries_are_replaced<D: Disk>(disk: &D) {
    with_log(disk, async |log, _| {
        append(&log, entries(1..=9, 1)).await;
        log.truncate_after(Some(4)).await.expect("a truncation");
        assert_eq!(log.state().last, Some(at(1, 4)));
        append(&log, entries(5..=6, 2)).await;
        // All at once: nothing of it is written before the rest is queued.
        let (truncated, again) = (log.truncate_after(Some(5)), log.truncate_after(Some(5)));
        append(&log, entries(6..=7, 3)).await;
        truncated.await.expect("a truncation");
        again.await.expect("a truncation");
        let expected = [entries(1..=4, 1), entries(5..=5, 2), entries(6..=7, 3)].concat();
        assert_eq!(log.read(0..99).await.expect("a read"), expected);
    })
    .await
    .expect("no failure");
    let (recovered, read) = found(disk).await;
    assert_eq!(
        read,
        [entries(1..=4, 1), entries(5..=5, 2), entries(6..=7, 3)].concat()
    );
    assert_eq!(recovered.state.last, Some(at(3, 7)));
    with_log(disk, async |log, _| {
        log.truncate_after(None).await.expect("a truncation")
    })
    .await
    .expect("no failure");
    let (recovered, read) = found(disk).await;
    assert_eq!((recovered.state, read), (LogState::default(), vec![]));
}

pub async fn purging_keeps_what_follows<D: Disk>(disk: &D) {
    with_log(disk, async |log, _| {
        append(&log, entries(1..=9, 1)).await;
        log.purge(at(1, 4)).await.expect("a purge");
        log.purge(at(1, 2))
            .await
            .expect("a purge that goes back changes nothing");
        assert_eq!(log.read(0..7).await.expect("a read"), entries(5..=6, 1));
        assert_eq!((log.term_at(3), log.term_at(4)), (None, Some(1)));
    })
    .await
    .expect("no failure");
    let (recovered, read) = found(disk).await;
    assert_eq!(
        recovered.state,
        LogState {
            purged: Some(at(1, 4)),
            last: Some(at(1, 9))
        }
    );
    assert_eq!(read, entries(5..=9, 1));
    with_log(disk, async |log, _| {
        // As when a snapshot is installed, and entries follow in the same group commit.
        let purged = log.purge(at(3, 100));
        assert_eq!(log.state().last, Some(at(3, 100)));
        append(&log, entries(101..=102, 3)).await;
        purged.await.expect("a purge");
        log.purge(at(3, 102)).await.expect("a purge of all");
    })
    .await
    .expect("no failure");
    let (recovered, read) = found(disk).await;
    let all_purged = LogState {
        purged: Some(at(3, 102)),
        last: Some(at(3, 102)),
    };
    assert_eq!((recovered.state, read), (all_purged, vec![]));
    with_log(disk, async |log, _| {
        append(&log, entries(103..=104, 4)).await
    })
    .await
    .expect("no failure");
    assert_eq!(found(disk).await.1, entries(103..=104, 4));
}

fn long(index: u64) -> LogEntry {
    let payload = format!("entry {index:08};").repeat(64);
    LogEntry {
        term: 1,
        index,
        payload: Bytes::from(payload),
    }
}

pub async fn segments_roll_over_and_are_recycled<D: Disk>(disk: &D) {
    for round in 0..4 {
        with_log(disk, async |log, _| {
            let first = log.state().last.map_or(1, |last| last.index + 1);
            for index in first..first + 200 {
                append(&log, vec![long(index)]).await;
            }
            assert!(
                segments(disk).await.len() >= 6,
                "200 entries of 1 KiB in 32 KiB each"
            );
            let read = log
                .read(first..first + 200)
                .await
                .expect("old ones from the files");
            assert_eq!(read, (first..first + 200).map(long).collect::<Vec<_>>());
            let some = log
                .read_some(first..first + 200, 5_000)
                .await
                .expect("a read");
            assert_eq!(some, (first..first + 5).map(long).collect::<Vec<_>>());
            log.purge(at(1, first + 189)).await.expect("a purge");
            log.save_vote(Bytes::from(format!("vote {round}")))
                .await
                .expect("a vote");
        })
        .await
        .expect("no failure");
        let names = disk.list().await.expect("a listing");
        assert!(
            names.len() <= 7,
            "purged segments go or wait to be used again: {names:?}"
        );
        let (recovered, read) = found(disk).await;
        let last = (round + 1) * 200;
        assert_eq!(read, (last - 9..=last).map(long).collect::<Vec<_>>());
        assert_eq!(recovered.vote, Some(Bytes::from(format!("vote {round}"))));
    }
}

/// Old entries stand whole in recycled segments, after the last one.
pub async fn recycled_entries_do_not_come_back<D: Disk>(disk: &D) {
    found(disk).await;
    let before = note(disk).await;
    with_log(disk, async |log, _| {
        for index in 1..=100 {
            append(&log, vec![long(index)]).await;
        }
        log.purge(at(1, 100)).await.expect("a purge");
        for index in 101..=130 {
            append(&log, vec![long(index)]).await;
        }
    })
    .await
    .expect("no failure");
    let names = disk.list().await.expect("a listing");
    let mut old = 0;
    for name in names {
        let file = disk.open(&name, false).await.expect("a file");
        let bytes = file
            .read_at(0, SEGMENT_BYTES as usize)
            .await
            .expect("a read");
        old += bytes
            .windows(13)
            .filter(|it| it.starts_with(b"entry 000000"))
            .count();
    }
    assert!(
        old > 31 * 64,
        "the test is of no use if no old entry is left in a segment"
    );
    // Nothing but the frames themselves says where the log ends.
    take_note_back(disk, &before).await;
    let (recovered, read) = found(disk).await;
    assert_eq!(read, (101..=130).map(long).collect::<Vec<_>>());
    assert_eq!(recovered.torn, None);
}

pub async fn large_entries_get_a_segment_of_their_own<D: Disk>(disk: &D) {
    let large = |index: u64| {
        let payload = Bytes::from(format!("{index:09};").repeat(10_000));
        LogEntry {
            term: 1,
            index,
            payload,
        }
    };
    let expected = vec![
        entry(1, 1),
        large(2),
        entry(3, 1),
        large(4),
        large(5),
        entry(6, 1),
    ];
    with_log(disk, async |log, _| {
        for entry in &expected {
            append(&log, vec![entry.clone()]).await;
        }
        assert_eq!(log.read(0..99).await.expect("a read"), expected);
    })
    .await
    .expect("no failure");
    assert_eq!(found(disk).await.1, expected);
}
