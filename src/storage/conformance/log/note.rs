//! The note of what was synced, and whose log it is: what is refused, and what is taken over.

use super::{append, bytes_of, damage, entries, entry, expect_corrupt, find, found, note, options};
use super::{put, refusal, segments, with_log};
use crate::disk::Disk;
use crate::log::{Log, LogError, LogOptions, LogOwner, LogState};
use bytes::Bytes;

pub(super) const FILE: &str = "synced";

/// Whatever else is wrong, and if nothing else is.
pub(super) async fn a_note_that_is_lost_or_damaged_is_refused<D: Disk>(disk: &D) {
    with_log(disk, async |log, _| {
        append(&log, entries(1..=5, 1)).await;
        append(&log, entries(6..=8, 1)).await;
        log.save_vote(Bytes::from_static(b"vote"))
            .await
            .expect("a vote");
    })
    .await
    .expect("no failure");
    let whole = note(disk).await;
    let expect_refusal = async |what: &str| {
        let error = refusal(disk).await;
        let LogError::Corrupt { file, .. } = &error else {
            panic!("{what}: {error}")
        };
        assert_eq!(*file, disk.display(FILE), "{what}");
        assert!(error.to_string().contains("member remove"), "{error}");
    };
    for length in [0, 1, 40, 512, 4095, 4096, 4097, 8191] {
        put(disk, FILE, &whole[..length]).await;
        expect_refusal(&format!("cut to {length}")).await;
        put(disk, FILE, &vec![0; length]).await;
        expect_refusal(&format!("zeros up to {length}")).await;
    }
    put(disk, FILE, &vec![0; whole.len()]).await;
    expect_refusal("all zeros").await;
    for slot in [0, 4096] {
        let mut bytes = whole.to_vec();
        bytes[slot..slot + 4096].fill(0);
        put(disk, FILE, &bytes).await;
        expect_refusal(&format!("zeros in the slot at {slot}")).await;
    }
    disk.remove(FILE).await.expect("a removal");
    expect_refusal("gone").await;
    for name in segments(disk).await {
        disk.remove(&name).await.expect("a removal");
    }
    expect_refusal("gone with all segments").await;
    put(disk, FILE, &whole).await;
    assert!(matches!(refusal(disk).await, LogError::Corrupt { .. }));
}

/// Nothing is wrong with what is left, but more was acknowledged.
pub(super) async fn a_tail_cut_at_a_frame_is_refused<D: Disk>(disk: &D) {
    with_log(disk, async |log, _| {
        append(&log, entries(1..=5, 1)).await;
        append(&log, entries(6..=8, 1)).await;
    })
    .await
    .expect("no failure");
    let (name, place) = find(disk, "payload 6 of term 1;")
        .await
        .expect("it is there");
    let whole = bytes_of(disk, &name).await;
    let header = (place - 28 - 64) as usize;
    let mut blanked = whole.to_vec();
    blanked[header..].fill(0);
    for damaged in [&whole[..header], &blanked] {
        put(disk, &name, damaged).await;
        expect_corrupt(refusal(disk).await, disk, &name, header as u64);
    }
    let noted = note(disk).await;
    disk.remove(FILE).await.expect("a removal");
    assert!(matches!(refusal(disk).await, LogError::Corrupt { .. }));
    put(disk, FILE, &noted).await;
    put(disk, &name, &whole).await;
    assert_eq!(found(disk).await.1, entries(1..=8, 1));
}

pub(super) async fn a_log_of_another_member_is_refused<D: Disk>(disk: &D) {
    let [own, other] = [7, 8].map(|member_id| LogOwner {
        cluster_id: 9,
        member_id,
    });
    let open = async |owner| {
        let options = LogOptions { owner, ..options() };
        Log::open(disk.clone(), options).await.map(|_| ())
    };
    open(None).await.expect("a new log");
    assert_eq!(Log::owner(disk).await, Ok(None));
    open(Some(own)).await.expect("a log of nobody");
    assert_eq!(Log::owner(disk).await, Ok(Some(own)));
    open(Some(own)).await.expect("its own log");
    open(None).await.expect("a log of anybody");
    let error = open(Some(other)).await.expect_err("the log of another");
    let text = error.to_string();
    assert!(
        text.contains("is of member 7 of cluster 9, and not of member 8 of cluster 9"),
        "{text}"
    );
}

/// What the first format had: a note of one page that may be all zeros, and a vote without owner.
pub(super) async fn a_log_of_the_first_format_opens<D: Disk>(disk: &D) {
    with_log(disk, async |log, _| {
        append(&log, entries(1..=5, 1)).await;
        append(&log, entries(6..=8, 1)).await;
        log.save_vote(Bytes::from_static(b"vote"))
            .await
            .expect("a vote");
    })
    .await
    .expect("no failure");
    let segment = segments(disk).await.remove(0);
    let log = bytes_of(disk, &segment).await;
    let notes = [FIRST_NOTE, "", "6473796e63656431ff"];
    for (round, first) in notes.iter().enumerate() {
        let mut first = unhex(first);
        first.resize(4096, 0);
        put(disk, FILE, &first).await;
        let mut vote = vec![0; 4 * 4096];
        let copy = unhex(FIRST_VOTE);
        for at in [2 * 4096, 3 * 4096] {
            vote[at..at + copy.len()].copy_from_slice(&copy);
        }
        put(disk, "vote", &vote).await;
        put(disk, &segment, &log).await;
        let (recovered, read) = found(disk).await;
        assert_eq!(
            recovered.vote.as_deref(),
            Some(&b"vote"[..]),
            "note {round}"
        );
        assert_eq!(read, entries(1..=8, 1), "note {round}");
        assert_eq!(note(disk).await.len(), 8192, "it is of this format now");
        put(disk, FILE, &first).await;
        let error = refusal(disk).await;
        assert!(matches!(error, LogError::Corrupt { .. }), "{error}");
    }
    // A note of that format that says something is gone by.
    put(disk, "vote", &{
        let mut vote = vec![0; 4 * 4096];
        let copy = unhex(FIRST_VOTE);
        vote[2 * 4096..2 * 4096 + copy.len()].copy_from_slice(&copy);
        vote
    })
    .await;
    let mut first = unhex(FIRST_NOTE);
    first.resize(4096, 0);
    put(disk, FILE, &first).await;
    let (name, place) = damage(disk, &entry(7, 1)).await;
    expect_corrupt(refusal(disk).await, disk, &name, place);
}

/// As the first format had it: frame 2 and vote 1 are durable.
const FIRST_NOTE: &str = "6473796e636564310200000000000000010000000000000013e5376b00000000";
/// As the first format had it: the first vote.
const FIRST_VOTE: &str = "64766f74010000005619c32b040000000100000000000000766f7465";

fn unhex(text: &str) -> Vec<u8> {
    let digits = (0..text.len() / 2).map(|at| &text[2 * at..2 * at + 2]);
    digits
        .map(|digits| u8::from_str_radix(digits, 16).expect("digits"))
        .collect()
}

/// A first start may end anywhere: nothing was acknowledged, and the next one begins again.
pub(super) async fn a_start_that_was_cut_short_is_begun_again<D: Disk>(
    fresh: &mut impl AsyncFnMut() -> D,
) {
    let whole = fresh().await;
    found(&whole).await;
    let files = ["synced", "vote", &segments(&whole).await.remove(0)];
    for count in 0..files.len() {
        let disk = fresh().await;
        for name in &files[..count] {
            put(&disk, name, &bytes_of(&whole, name).await).await;
        }
        put(&disk, "synced.new", b"half of a no").await;
        put(&disk, "vote.new", b"half of a vo").await;
        let (recovered, read) = found(&disk).await;
        assert_eq!((recovered.state, read), (LogState::default(), Vec::new()));
    }
}
