//! The suite for [`Store`].

mod long_keys;

use crate::store::{Reclaim, Stage, Store, WHOLE_KEY_BYTES_MAX};
use bytes::Bytes;
use detcd_core::view::{Batch, Direction, KeyBounds, Row, Table, View};
use std::collections::BTreeMap;
use std::ops::{Bound, RangeBounds};

/// Makes the stores under test.
pub trait Harness {
    type Store: Store;

    /// A new, empty store.
    fn fresh(&mut self) -> impl Future<Output = Self::Store>;
    /// Closes the store and opens what it left behind.
    fn reopen(&mut self, store: Self::Store) -> impl Future<Output = Self::Store>;
}

/// Runs the whole suite.
pub async fn suite<H: Harness>(harness: &mut H) {
    empty_store_has_no_rows(&harness.fresh().await);
    last_write_of_a_row_wins(&harness.fresh().await).await;
    tables_are_apart(&harness.fresh().await).await;
    scans_keep_to_their_bounds(&harness.fresh().await).await;
    rows_of_any_size_are_kept(&harness.fresh().await).await;
    long_keys::scans_keep_to_bounds_in_long_keys(&harness.fresh().await).await;
    long_keys::long_keys_are_written_and_deleted(&harness.fresh().await).await;
    long_keys::the_longest_keys_are_kept(&harness.fresh().await).await;
    long_keys::long_keys_survive(harness).await;
    removed_rows_are_not_in_use(&harness.fresh().await).await;
    sizes_follow_the_state(&harness.fresh().await).await;
    keys_that_no_row_has_are_asked_for(&harness.fresh().await).await;
    snapshots_stand_still(&harness.fresh().await).await;
    reclaiming_changes_nothing(&harness.fresh().await).await;
    stage_replaces_everything_at_once(&harness.fresh().await).await;
    dropped_stage_leaves_no_trace(&harness.fresh().await).await;
    derived_writes_end_with_their_state(&harness.fresh().await).await;
    persisted_rows_survive(harness).await;
    committed_stage_survives(harness).await;
}

/// Neither the store nor a snapshot shows that space was given back, and it can be done again.
pub async fn reclaiming_changes_nothing(store: &impl Store) {
    store.reclaim(Reclaim::All).await.expect("an empty store");
    let kept = [
        (Table::Events, "a", Some("1")),
        (Table::Lease, "b", Some("2")),
    ];
    write(store, &kept).await;
    let before = store.snapshot().expect("a snapshot");
    write(
        store,
        &[(Table::Events, "a", None), (Table::Lease, "b", Some("3"))],
    )
    .await;
    for reclaim in [Reclaim::All, Reclaim::Worthwhile, Reclaim::Leftovers] {
        store.reclaim(reclaim).await.expect("space given back");
        assert_eq!(rows(store, Table::Events), []);
        assert_eq!(get(store, Table::Lease, "b"), Some(bytes("3")));
        assert_eq!(get(&before, Table::Events, "a"), Some(bytes("1")));
        assert_eq!(get(&before, Table::Lease, "b"), Some(bytes("2")));
    }
}

/// All rows of a table in order.
pub fn rows(view: &impl View, table: Table) -> Vec<Row> {
    scan(
        view,
        table,
        (Bound::Unbounded, Bound::Unbounded),
        Direction::Forward,
    )
}

fn scan(view: &impl View, table: Table, bounds: KeyBounds<'_>, direction: Direction) -> Vec<Row> {
    view.scan(table, bounds, direction)
        .collect::<Result<_, _>>()
        .expect("a scan without faults")
}

fn get(view: &impl View, table: Table, key: &str) -> Option<Bytes> {
    view.get(table, key.as_bytes())
        .expect("a read without faults")
}

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

/// A batch of puts (`Some`) and deletes (`None`).
fn batch(writes: &[(Table, &str, Option<&str>)]) -> Batch {
    let mut batch = Batch::default();
    for (table, key, value) in writes {
        match value {
            Some(value) => batch.put(*table, bytes(key), bytes(value)),
            None => batch.delete(*table, bytes(key)),
        }
    }
    batch
}

async fn write(store: &impl Store, writes: &[(Table, &str, Option<&str>)]) {
    store.write(batch(writes)).await.expect("a write");
}

pub fn empty_store_has_no_rows(store: &impl Store) {
    let snapshot = store.snapshot().expect("a snapshot");
    for table in Table::ALL {
        assert_eq!(rows(store, table), []);
        assert_eq!(rows(&snapshot, table), []);
        assert_eq!(get(store, table, "key"), None);
    }
}

pub async fn last_write_of_a_row_wins(store: &impl Store) {
    use Table::Current;
    write(
        store,
        &[
            (Current, "put-put", Some("1")),
            (Current, "put-delete", Some("1")),
            (Current, "delete-put", None),
            (Current, "put-delete-put", Some("1")),
            (Current, "put-put", Some("2")),
            (Current, "put-delete", None),
            (Current, "delete-put", Some("2")),
            (Current, "put-delete-put", None),
            (Current, "put-delete-put", Some("3")),
        ],
    )
    .await;
    assert_eq!(get(store, Current, "put-put"), Some(bytes("2")));
    assert_eq!(get(store, Current, "put-delete"), None);
    assert_eq!(get(store, Current, "delete-put"), Some(bytes("2")));
    assert_eq!(get(store, Current, "put-delete-put"), Some(bytes("3")));
    write(
        store,
        &[(Current, "put-put", None), (Current, "never-there", None)],
    )
    .await;
    assert_eq!(get(store, Current, "put-put"), None);
    let keys: Vec<_> = rows(store, Current)
        .into_iter()
        .map(|(key, _)| key)
        .collect();
    assert_eq!(keys, [bytes("delete-put"), bytes("put-delete-put")]);
    store
        .write(Batch::default())
        .await
        .expect("an empty batch is no error");
}

pub async fn tables_are_apart(store: &impl Store) {
    let writes: Vec<_> = Table::ALL
        .into_iter()
        .map(|table| (table, "key", Some(table.name())))
        .collect();
    write(store, &writes).await;
    write(store, &[(Table::Lease, "key", None)]).await;
    for table in Table::ALL {
        let expected = (table != Table::Lease).then(|| bytes(table.name()));
        assert_eq!(get(store, table, "key"), expected);
        assert_eq!(rows(store, table).len(), expected.iter().len());
    }
}

/// Every pair of bounds over a few keys (bytes, prefixes of each other, the highest), both ways.
pub async fn scans_keep_to_their_bounds(store: &impl Store) {
    let keys: [&[u8]; 6] = [b"\0", b"a", b"a\0", b"ab", b"b", b"\xff\xff"];
    let mut model = BTreeMap::new();
    let mut batch = Batch::default();
    for key in keys {
        batch.put(
            Table::Current,
            Bytes::from_static(key),
            Bytes::from_static(key),
        );
        model.insert(key, ());
    }
    batch.put(Table::Events, bytes("aa"), bytes("another table's"));
    store.write(batch).await.expect("a write");
    let snapshot = store.snapshot().expect("a snapshot");
    let edges: [&[u8]; 8] = [b"\0", b"a", b"a\0", b"aa", b"ab", b"b", b"c", b"\xff\xff"];
    let mut bounds = vec![Bound::Unbounded];
    bounds.extend(edges.map(Bound::Included));
    bounds.extend(edges.map(Bound::Excluded));
    for start in &bounds {
        for end in &bounds {
            let inside = |key: &&&[u8]| RangeBounds::<[u8]>::contains(&(*start, *end), **key);
            let mut expected: Vec<&[u8]> = model.keys().filter(inside).copied().collect();
            for direction in [Direction::Forward, Direction::Reverse] {
                let found = scan(&snapshot, Table::Current, (*start, *end), direction);
                let found: Vec<&[u8]> = found.iter().map(|(key, _)| &key[..]).collect();
                assert_eq!(found, expected, "{start:?} to {end:?} {direction:?}");
                let latest = scan(store, Table::Current, (*start, *end), direction);
                assert_eq!(latest.len(), found.len());
                expected.reverse();
            }
        }
    }
}

/// Removed rows are not in use, whether or not their space was given back.
pub async fn removed_rows_are_not_in_use(store: &impl Store) {
    const ROWS: usize = 64;
    let key = |row: usize| bytes(&format!("{row:03}"));
    for row in 0..ROWS {
        let mut batch = Batch::default();
        batch.put(Table::Events, key(row), vec![row as u8; 100_000]);
        store.write(batch).await.expect("a write");
    }
    let full = store.size();
    let mut batch = Batch::default();
    (1..ROWS).for_each(|row| batch.delete(Table::Events, key(row)));
    store.write(batch).await.expect("a write");
    let in_use = |store: &dyn Fn() -> u64| assert!(store() < 400_000, "{} of {full:?}", store());
    in_use(&|| store.size().in_use_bytes);
    store
        .reclaim(Reclaim::Worthwhile)
        .await
        .expect("space given back");
    in_use(&|| store.size().in_use_bytes);
    in_use(&|| store.size().total_bytes);
    assert_eq!(rows(store, Table::Events).len(), 1);
}

pub async fn rows_of_any_size_are_kept(store: &impl Store) {
    let sizes = [0, 1, 255, 4096, 70_000, 1_572_864];
    let value = |size: usize| Bytes::from_iter((0..size).map(|at| at as u8));
    let mut batch = Batch::default();
    for size in sizes {
        batch.put(Table::Current, format!("key {size}"), value(size));
    }
    let long_key = Bytes::from(vec![b'k'; 4096]);
    batch.put(Table::Current, long_key.clone(), bytes("long"));
    store.write(batch).await.expect("a write");
    store.persist().await.expect("a sync");
    for size in sizes {
        assert_eq!(
            get(store, Table::Current, &format!("key {size}")),
            Some(value(size))
        );
    }
    assert_eq!(
        store.get(Table::Current, &long_key),
        Ok(Some(bytes("long")))
    );
    let size = store.size();
    let written: u64 = sizes.iter().map(|size| *size as u64).sum();
    assert!(size.in_use_bytes >= written, "{size:?}");
    assert!(size.total_bytes >= size.in_use_bytes);
    assert!(
        size.total_bytes < 4 * written,
        "what is prepared for later does not count: {size:?}"
    );
}

/// An empty state takes next to nothing, whatever is preallocated; a state with rows takes about
/// what they take, whether or not they are durable yet.
pub async fn sizes_follow_the_state(store: &impl Store) {
    // Few enough to be in no file of a store that buffers writes: files are compressed.
    const ROWS: usize = 100;
    const ROW_BYTES: usize = 10_000;
    const EMPTY_BYTES_MAX: u64 = 100_000;
    let before = store.size();
    assert!(before.in_use_bytes <= before.total_bytes, "{before:?}");
    assert!(before.total_bytes < EMPTY_BYTES_MAX, "{before:?}");
    for row in 0..ROWS {
        let mut batch = Batch::default();
        let value = Bytes::from(vec![row as u8; ROW_BYTES]);
        batch.put(Table::Events, bytes(&format!("{row:03}")), value);
        store.write(batch).await.expect("a write");
    }
    let rows = (ROWS * ROW_BYTES) as u64;
    for _ in 0..2 {
        let after = store.size();
        assert!(after.in_use_bytes <= after.total_bytes, "{after:?}");
        assert!(after.in_use_bytes >= rows, "{after:?}");
        assert!(after.total_bytes <= rows + rows / 2, "{after:?}");
        store.persist().await.expect("a sync");
    }
}

pub async fn snapshots_stand_still(store: &impl Store) {
    use Table::{Current, Meta};
    let before = store.snapshot().expect("a snapshot");
    write(
        store,
        &[(Current, "a", Some("1")), (Meta, "applied", Some("1"))],
    )
    .await;
    let first = store.snapshot().expect("a snapshot");
    write(
        store,
        &[(Current, "a", Some("2")), (Meta, "applied", Some("2"))],
    )
    .await;
    let second = store.snapshot().expect("a snapshot").clone();
    write(
        store,
        &[
            (Current, "a", None),
            (Current, "b", Some("3")),
            (Meta, "applied", Some("3")),
        ],
    )
    .await;
    store.persist().await.expect("a sync");
    assert_eq!(
        (rows(&before, Current), rows(&before, Meta)),
        (vec![], vec![])
    );
    for (snapshot, number) in [(first, "1"), (second, "2")] {
        assert_eq!(rows(&snapshot, Current), [(bytes("a"), bytes(number))]);
        assert_eq!(get(&snapshot, Meta, "applied"), Some(bytes(number)));
        assert_eq!(get(&snapshot, Current, "b"), None);
    }
    assert_eq!(rows(store, Current), [(bytes("b"), bytes("3"))]);
}

pub async fn stage_replaces_everything_at_once(store: &impl Store) {
    use Table::{Current, Lease, Meta};
    let old = [
        (Current, "a", Some("old")),
        (Current, "b", Some("old")),
        (Lease, "7", Some("60")),
    ];
    write(store, &old).await;
    let before = store.snapshot().expect("a snapshot");
    let mut stage = store.stage().await.expect("a stage");
    stage
        .write(batch(&[
            (Current, "b", Some("1")),
            (Meta, "applied", Some("9")),
        ]))
        .await
        .unwrap();
    stage
        .write(batch(&[
            (Current, "c", Some("1")),
            (Current, "b", Some("new")),
        ]))
        .await
        .unwrap();
    stage.write(batch(&[(Current, "c", None)])).await.unwrap();
    let during = store.snapshot().expect("a snapshot");
    write(store, &[(Current, "d", Some("written meanwhile"))]).await;
    for view in [&before, &during] {
        assert_eq!(rows(view, Current).len(), 2);
        assert_eq!(get(view, Current, "b"), Some(bytes("old")));
        assert_eq!(get(view, Meta, "applied"), None);
    }
    stage.commit().await.expect("a commit");
    assert_eq!(rows(store, Current), [(bytes("b"), bytes("new"))]);
    assert_eq!(rows(store, Meta), [(bytes("applied"), bytes("9"))]);
    assert_eq!(rows(store, Lease), []);
    assert_eq!(rows(&before, Current).len(), 2);
    assert_eq!(get(&before, Lease, "7"), Some(bytes("60")));
    write(store, &[(Current, "e", Some("after"))]).await;
    assert_eq!(
        rows(&store.snapshot().expect("a snapshot"), Current).len(),
        2
    );
}

pub async fn dropped_stage_leaves_no_trace(store: &impl Store) {
    write(store, &[(Table::Current, "a", Some("old"))]).await;
    for _ in 0..2 {
        let mut stage = store.stage().await.expect("a stage");
        let writes = [
            (Table::Current, "a", Some("new")),
            (Table::Meta, "applied", Some("9")),
        ];
        stage.write(batch(&writes)).await.expect("a write");
        drop(stage);
    }
    assert_eq!(rows(store, Table::Current), [(bytes("a"), bytes("old"))]);
    assert_eq!(rows(store, Table::Meta), []);
    let mut stage = store.stage().await.expect("a stage");
    stage
        .write(batch(&[(Table::Meta, "applied", Some("9"))]))
        .await
        .expect("a write");
    stage.commit().await.expect("a commit");
    assert_eq!(
        rows(store, Table::Current),
        [],
        "nothing of the dropped stages is left"
    );
}

/// A client may ask for keys that are longer than any row's, or empty.
pub async fn keys_that_no_row_has_are_asked_for(store: &impl Store) {
    let writes = [
        (Table::Current, "a", Some("1")),
        (Table::Current, "m", Some("2")),
    ];
    store.write(batch(&writes)).await.unwrap();
    let long = "m".repeat(WHOLE_KEY_BYTES_MAX + 5_000);
    let snapshot = store.snapshot().unwrap();
    assert_eq!(get(store, Table::Current, &long), None);
    assert_eq!(get(&snapshot, Table::Current, &long), None);
    assert_eq!(get(&snapshot, Table::Current, ""), None);

    let long = long.as_bytes();
    let found = |start, end| -> Vec<Bytes> {
        let rows = scan(&snapshot, Table::Current, (start, end), Direction::Forward);
        rows.into_iter().map(|(key, _)| key).collect()
    };
    assert_eq!(found(Bound::Unbounded, Bound::Excluded(long)), ["a", "m"]);
    assert_eq!(found(Bound::Unbounded, Bound::Included(long)), ["a", "m"]);
    assert_eq!(
        found(Bound::Included(long), Bound::Unbounded),
        [] as [&str; 0]
    );
    assert_eq!(
        found(Bound::Included(long), Bound::Included(long)),
        [] as [&str; 0]
    );
    assert_eq!(
        found(Bound::Included(b""), Bound::Excluded(long)),
        ["a", "m"]
    );
}

/// A batch derived from a snapshot is not written once that state was replaced.
pub async fn derived_writes_end_with_their_state(store: &impl Store) {
    let derived = || batch(&[(Table::Events, "derived", Some("1"))]);
    let before = store.snapshot().unwrap();
    assert!(
        store
            .write_unless_replaced(&before, derived())
            .await
            .unwrap()
    );
    assert_eq!(get(store, Table::Events, "derived"), Some(bytes("1")));
    // Other writes do not end a state.
    store
        .write(batch(&[(Table::Meta, "m", Some("2"))]))
        .await
        .unwrap();
    assert!(
        store
            .write_unless_replaced(&before, derived())
            .await
            .unwrap()
    );

    let stage = store.stage().await.unwrap();
    stage.commit().await.unwrap();
    assert!(
        !store
            .write_unless_replaced(&before, derived())
            .await
            .unwrap()
    );
    assert_eq!(get(store, Table::Events, "derived"), None);
    let after = store.snapshot().unwrap();
    assert!(
        store
            .write_unless_replaced(&after, derived())
            .await
            .unwrap()
    );
}

pub async fn persisted_rows_survive<H: Harness>(harness: &mut H) {
    use Table::{Current, Events, Meta};
    let store = harness.fresh().await;
    let writes = [
        (Current, "a", Some("1")),
        (Events, "1", Some("a")),
        (Meta, "applied", Some("1")),
    ];
    write(&store, &writes).await;
    write(
        &store,
        &[(Current, "a", Some("2")), (Current, "b", Some("2"))],
    )
    .await;
    write(
        &store,
        &[(Current, "b", None), (Meta, "applied", Some("2"))],
    )
    .await;
    store.persist().await.expect("a sync");
    let mut store = store;
    for _ in 0..2 {
        store = harness.reopen(store).await;
        assert_eq!(rows(&store, Current), [(bytes("a"), bytes("2"))]);
        assert_eq!(rows(&store, Events), [(bytes("1"), bytes("a"))]);
        assert_eq!(rows(&store, Meta), [(bytes("applied"), bytes("2"))]);
    }
    write(&store, &[(Current, "a", Some("3"))]).await;
    assert_eq!(get(&store, Current, "a"), Some(bytes("3")));
}

pub async fn committed_stage_survives<H: Harness>(harness: &mut H) {
    let mut store = harness.fresh().await;
    write(
        &store,
        &[
            (Table::Current, "a", Some("old")),
            (Table::Lease, "7", Some("60")),
        ],
    )
    .await;
    for round in ["1", "2", "3"] {
        let mut stage = store.stage().await.expect("a stage");
        stage
            .write(batch(&[(Table::Current, "b", Some(round))]))
            .await
            .expect("a write");
        stage.commit().await.expect("a commit");
        let mut left = store.stage().await.expect("a stage");
        left.write(batch(&[(Table::Current, "c", Some(round))]))
            .await
            .expect("a write");
        drop(left);
        store = harness.reopen(store).await;
        assert_eq!(rows(&store, Table::Current), [(bytes("b"), bytes(round))]);
        assert_eq!(rows(&store, Table::Lease), []);
    }
}
