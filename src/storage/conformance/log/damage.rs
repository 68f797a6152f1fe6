//! Files that were cut, flipped or lost: what is cut off, and what is refused.

use super::{append, damage, entries, entry, expect_corrupt, find, flip, found, long, note};
use super::{refusal, segments, take_note_back, with_log};
use crate::disk::{Disk, DiskFile};
use crate::log::{LogEntry, LogError};
use bytes::Bytes;

pub async fn one_bad_copy_of_the_vote_is_no_harm<D: Disk>(disk: &D) {
    for round in 0..4 {
        let vote = Bytes::from(format!("the vote of round {round}"));
        let saved = vote.clone();
        with_log(disk, async |log, _| {
            log.save_vote(saved).await.expect("a vote")
        })
        .await
        .expect("no failure");
        let file = disk.open("vote", false).await.expect("the vote file");
        let bytes = file.read_at(0, 1 << 20).await.expect("a read");
        let copies: Vec<_> = (0..bytes.len())
            .filter(|at| bytes[*at..].starts_with(&vote))
            .collect();
        assert_eq!(copies.len(), 2);
        for copy in &copies {
            flip(disk, "vote", *copy as u64).await;
            assert_eq!(
                found(disk).await.0.vote,
                Some(vote.clone()),
                "the other copy is whole"
            );
            flip(disk, "vote", *copy as u64).await;
        }
        for copy in &copies {
            flip(disk, "vote", *copy as u64).await;
        }
        let error = refusal(disk).await;
        expect_corrupt(error, disk, "vote", copies[0] as u64);
        for copy in &copies {
            flip(disk, "vote", *copy as u64).await;
        }
    }
}

pub async fn torn_tail_is_cut_off<D: Disk>(disk: &D) {
    let write = async |entries: Vec<LogEntry>| {
        with_log(disk, async |log, _| append(&log, entries).await)
            .await
            .expect("no failure");
    };
    write(entries(1..=5, 1)).await;
    let before = note(disk).await;
    write(entries(6..=8, 1)).await;
    let (name, place) = damage(disk, &entry(7, 1)).await;
    take_note_back(disk, &before).await;
    let (recovered, read) = found(disk).await;
    assert_eq!(read, entries(1..=5, 1), "a frame is whole or not there");
    let torn = recovered.torn.expect("something was cut off");
    assert_eq!(torn.file, disk.display(&name));
    assert!(
        torn.offset < place && torn.dropped_bytes > place - torn.offset,
        "{torn:?}"
    );
    assert_eq!(found(disk).await.0.torn, None, "it is cut off once");
    write(entries(6..=6, 2)).await;
    let before = note(disk).await;
    write(entries(7..=9, 2)).await;
    // This time the head of the frame never reached the disk.
    let (name, place) = find(disk, "payload 7 of term 2;")
        .await
        .expect("it stands there");
    let header = place - 28 - 64;
    let file = disk.open(&name, false).await.expect("the segment");
    file.write_at(header, Bytes::from_static(&[0xee; 64]))
        .await
        .expect("a write");
    take_note_back(disk, &before).await;
    let (recovered, read) = found(disk).await;
    assert_eq!(
        recovered.torn.expect("something was cut off").offset,
        header
    );
    assert_eq!(read, [entries(1..=5, 1), entries(6..=6, 2)].concat());
    write(entries(7..=7, 3)).await;
    assert_eq!(found(disk).await.1.last(), Some(&entry(7, 3)));
}

pub async fn rot_before_the_tail_is_refused<D: Disk>(disk: &D) {
    found(disk).await;
    let before = note(disk).await;
    with_log(disk, async |log, _| {
        for index in 1..=5 {
            append(&log, vec![entry(index, 1)]).await;
        }
    })
    .await
    .expect("no failure");
    take_note_back(disk, &before).await;
    let (name, place) = damage(disk, &entry(3, 1)).await;
    expect_corrupt(refusal(disk).await, disk, &name, place);
    expect_corrupt(refusal(disk).await, disk, &name, place);
    flip(disk, &name, place).await;
    let header = place - 28 - 64;
    flip(disk, &name, header).await;
    expect_corrupt(refusal(disk).await, disk, &name, header);
    flip(disk, &name, header).await;
    assert_eq!(
        found(disk).await.1,
        entries(1..=5, 1),
        "refusing changed nothing"
    );
}

pub async fn rot_in_a_full_segment_is_refused<D: Disk>(disk: &D) {
    found(disk).await;
    let before = note(disk).await;
    with_log(disk, async |log, _| {
        for index in 1..=60 {
            append(&log, vec![long(index)]).await;
        }
    })
    .await
    .expect("no failure");
    take_note_back(disk, &before).await;
    let names = segments(disk).await;
    for index in 1..=59 {
        let (name, offset) = find(disk, &format!("entry {index:08};"))
            .await
            .expect("it is there");
        flip(disk, &name, offset).await;
        expect_corrupt(refusal(disk).await, disk, &name, offset);
        flip(disk, &name, offset).await;
    }
    for name in names {
        flip(disk, &name, 20).await;
        expect_corrupt(refusal(disk).await, disk, &name, 20);
        flip(disk, &name, 20).await;
    }
    assert_eq!(found(disk).await.1.len(), 60);
}

/// The same bytes as a torn tail, but the note says that they were once synced.
pub async fn rot_in_an_acknowledged_tail_is_refused<D: Disk>(disk: &D) {
    with_log(disk, async |log, _| {
        append(&log, entries(1..=5, 1)).await;
        append(&log, entries(6..=8, 1)).await;
    })
    .await
    .expect("no failure");
    let (name, place) = damage(disk, &entry(7, 1)).await;
    expect_corrupt(refusal(disk).await, disk, &name, place);
    flip(disk, &name, place).await;
    assert_eq!(found(disk).await.1, entries(1..=8, 1));
}

pub async fn shortened_segment_is_refused<D: Disk>(disk: &D) {
    with_log(disk, async |log, _| {
        for index in 1..=40 {
            append(&log, vec![long(index)]).await;
        }
    })
    .await
    .expect("no failure");
    let (name, place) = find(disk, "entry 00000003;").await.expect("it is there");
    let file = disk.open(&name, false).await.expect("the segment");
    file.truncate(place).await.expect("a cut");
    expect_corrupt(refusal(disk).await, disk, &name, place);
}

pub async fn missing_files_are_refused<D: Disk>(disk: &D) {
    with_log(disk, async |log, _| {
        for index in 1..=100 {
            append(&log, vec![long(index)]).await;
        }
        log.save_vote(Bytes::from_static(b"vote"))
            .await
            .expect("a vote");
    })
    .await
    .expect("no failure");
    let names = segments(disk).await;
    assert!(names.len() >= 4);
    for name in names
        .iter()
        .take(names.len() - 2)
        .map(String::as_str)
        .chain(["vote"])
    {
        disk.rename(name, "elsewhere").await.expect("a rename");
        let error = refusal(disk).await;
        assert!(
            matches!(error, LogError::Corrupt { .. }),
            "without {name}: {error}"
        );
        disk.rename("elsewhere", name).await.expect("a rename");
    }
    assert_eq!(found(disk).await.1.len(), 100);
    for name in names {
        disk.remove(&name).await.expect("a removal");
    }
    let error = refusal(disk).await;
    assert!(
        matches!(error, LogError::Corrupt { .. }),
        "without segments: {error}"
    );
}

pub async fn unknown_version_is_refused<D: Disk>(disk: &D) {
    with_log(disk, async |log, _| append(&log, entries(1..=3, 1)).await)
        .await
        .expect("no failure");
    let name = segments(disk).await.remove(0);
    let file = disk.open(&name, false).await.expect("the segment");
    let header = file.read_at(0, 32).await.expect("a read");
    let mut later = header.to_vec();
    later[8..12].copy_from_slice(&2u32.to_le_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c(&later[..12]), &later[16..]);
    later[12..16].copy_from_slice(&crc.to_le_bytes());
    file.write_at(0, Bytes::from(later)).await.expect("a write");
    let error = refusal(disk).await;
    assert_eq!(
        error,
        LogError::Version {
            file: disk.display(&name),
            found: 2,
            ours: 1
        }
    );
    file.write_at(0, header).await.expect("a write");
    assert_eq!(found(disk).await.1, entries(1..=3, 1));
}
