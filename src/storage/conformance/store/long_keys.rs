//! Rows with keys that a store may have to cut.

use super::{Harness, bytes, rows, scan};
use crate::store::{Reclaim, Stage, Store, WHOLE_KEY_BYTES_MAX};
use bytes::Bytes;
use detcd_core::limits::REQUEST_BYTES_MAX;
use detcd_core::view::{Batch, Direction, Table, View};
use std::ops::{Bound, RangeBounds};

/// `length` bytes `k`, and a tail.
fn long_key(length: usize, tail: &[u8]) -> Bytes {
    let mut key = vec![b'k'; length];
    key.extend_from_slice(tail);
    Bytes::from(key)
}

/// Where a store may cut keys: what one piece holds, and what the second adds.
const CUTS: [usize; 2] = [WHOLE_KEY_BYTES_MAX, 2 * WHOLE_KEY_BYTES_MAX - 32];

/// Every pair of bounds over keys around the lengths at which a store may cut them, both ways.
pub async fn scans_keep_to_bounds_in_long_keys(store: &impl Store) {
    let mut keys = vec![bytes("k"), bytes("l"), long_key(100, b"\xff")];
    for cut in CUTS {
        keys.extend([
            long_key(cut - 1, b""),
            long_key(cut, b""),
            long_key(cut, b"\0"),
            long_key(cut, b"\0\0"),
            long_key(cut, b"m"),
            long_key(cut - 1, b"a tail"),
        ]);
    }
    let mut batch = Batch::default();
    for key in &keys {
        let value = bytes(&format!("{} bytes", key.len()));
        batch.put(Table::Versions, key.clone(), value);
    }
    batch.put(Table::Events, long_key(CUTS[0], b"m"), "another table's");
    store.write(batch).await.expect("a write");
    let (first, last) = (bytes("a"), bytes("z"));
    let mut edges = keys.clone();
    edges.extend([
        first,
        last,
        long_key(CUTS[0], b"\0\x01"),
        long_key(CUTS[1], b"l"),
    ]);
    keys.sort_unstable();
    let mut bounds = vec![Bound::Unbounded];
    bounds.extend(edges.iter().map(|key| Bound::Included(&key[..])));
    bounds.extend(edges.iter().map(|key| Bound::Excluded(&key[..])));
    let snapshot = store.snapshot().expect("a snapshot");
    for start in &bounds {
        for end in &bounds {
            let inside = |key: &&Bytes| RangeBounds::<[u8]>::contains(&(*start, *end), &key[..]);
            let mut expected: Vec<&Bytes> = keys.iter().filter(inside).collect();
            for direction in [Direction::Forward, Direction::Reverse] {
                let found = scan(&snapshot, Table::Versions, (*start, *end), direction);
                let places = |keys: &mut dyn Iterator<Item = &Bytes>| -> Vec<usize> {
                    keys.map(|key| keys_place(&edges, key)).collect()
                };
                let found = places(&mut found.iter().map(|(key, _)| key));
                assert_eq!(
                    found,
                    places(&mut expected.iter().copied()),
                    "{direction:?}"
                );
                expected.reverse();
            }
        }
    }
}

fn keys_place(keys: &[Bytes], key: &Bytes) -> usize {
    let place = keys.iter().position(|it| it == key);
    place.unwrap_or_else(|| panic!("a key of {} bytes that was not written", key.len()))
}

/// Long keys that share their beginning come and go, in one batch and in several.
pub async fn long_keys_are_written_and_deleted(store: &impl Store) {
    use Table::Current;
    let [cut, deep] = CUTS;
    let (a, b, c) = (
        long_key(cut, b"a"),
        long_key(cut, b"b"),
        long_key(deep, b"c"),
    );
    let put = |batch: &mut Batch, key: &Bytes, value: &'static str| {
        batch.put(Current, key.clone(), Bytes::from_static(value.as_bytes()));
    };
    let found = |view: &dyn View| -> Vec<Bytes> {
        let bounds = (Bound::Unbounded, Bound::Unbounded);
        let rows = view.scan(Current, bounds, Direction::Forward);
        rows.map(|row| row.expect("a scan without faults").0)
            .collect()
    };
    for _ in 0..2 {
        let mut batch = Batch::default();
        put(&mut batch, &a, "1");
        put(&mut batch, &c, "1");
        put(&mut batch, &a, "2");
        batch.delete(Current, b.clone());
        store.write(batch).await.expect("a write");
        assert_eq!(store.get(Current, &a), Ok(Some(bytes("2"))));
        assert_eq!(store.get(Current, &b), Ok(None));
        assert!(found(store) == [a.clone(), c.clone()]);
        let before = store.snapshot().expect("a snapshot");

        let mut batch = Batch::default();
        batch.delete(Current, a.clone());
        put(&mut batch, &b, "3");
        batch.delete(Current, c.clone());
        store.write(batch).await.expect("a write");
        assert!(found(store) == [b.clone()]);
        assert!(found(&before) == [a.clone(), c.clone()]);
        assert_eq!(before.get(Current, &c), Ok(Some(bytes("1"))));

        let mut batch = Batch::default();
        put(&mut batch, &c, "4");
        batch.delete(Current, b.clone());
        batch.delete(Current, c.clone());
        store.write(batch).await.expect("a write");
        assert!(found(store).is_empty());
        store.reclaim(Reclaim::All).await.expect("space given back");
        assert!(found(&before) == [a.clone(), c.clone()]);
    }
}

/// What a put of the largest request may need: its key, each byte doubled, and a revision.
pub async fn the_longest_keys_are_kept(store: &impl Store) {
    let keys = [
        Bytes::from(vec![0; REQUEST_BYTES_MAX]),
        Bytes::from(vec![0xff; 2 * REQUEST_BYTES_MAX + 18]),
    ];
    let mut batch = Batch::default();
    for key in &keys {
        batch.put(Table::Versions, key.clone(), bytes("value"));
    }
    store.write(batch).await.expect("a write");
    store.persist().await.expect("a sync");
    for key in &keys {
        assert_eq!(store.get(Table::Versions, key), Ok(Some(bytes("value"))));
    }
    let found = rows(store, Table::Versions);
    assert!(found.iter().map(|(key, _)| key).eq(&keys));
    let size = store.size();
    assert!(
        size.in_use_bytes < 10 * REQUEST_BYTES_MAX as u64,
        "a long key takes what it is long: {size:?}"
    );
}

pub async fn long_keys_survive<H: Harness>(harness: &mut H) {
    let mut store = harness.fresh().await;
    let key = |round: u8| long_key(CUTS[1], &[round]);
    for round in 1..4 {
        let mut batch = Batch::default();
        batch.put(Table::Current, key(round), vec![round]);
        batch.delete(Table::Current, key(round - 1));
        store.write(batch).await.expect("a write");
        store.persist().await.expect("a sync");
        store = harness.reopen(store).await;
        let found = rows(&store, Table::Current);
        assert!(found == [(key(round), Bytes::from(vec![round]))]);
    }
    // A new state may have long keys where the old one has none, and the other way about.
    for round in 4..6 {
        let mut stage = store.stage().await.expect("a stage");
        let mut batch = Batch::default();
        let row = match round % 2 {
            0 => bytes("short"),
            _ => key(round),
        };
        batch.put(Table::Current, row.clone(), "new");
        stage.write(batch).await.expect("a write");
        stage.commit().await.expect("a commit");
        store = harness.reopen(store).await;
        assert!(rows(&store, Table::Current) == [(row, bytes("new"))]);
    }
}
