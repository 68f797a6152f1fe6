//! The removal of history, and the reading of it in pieces.

use crate::store::Store;
use bytes::Bytes;
use detcd_core::api::*;
use detcd_core::codec::revision_key;
use detcd_core::command::Command;
use detcd_core::compaction::{self, Cursor};
use detcd_core::limits::{CATCH_UP_BYTES_MAX, CATCH_UP_EVENTS_MAX};
use detcd_core::query;
use detcd_core::view::Table;

fn put(key: String, value: Bytes) -> Command {
    Command::Put(PutRequest {
        key: Bytes::from(key),
        value,
        ..PutRequest::default()
    })
}

fn everything() -> KeyRange {
    KeyRange::Span {
        start: Bytes::from_static(b"\0"),
        end: None,
    }
}

fn delete_all() -> Command {
    Command::DeleteRange(DeleteRangeRequest {
        range: everything(),
        prev_kv: false,
    })
}

fn compact(revision: i64) -> Command {
    Command::Compact(CompactRequest {
        revision,
        physical: false,
    })
}

/// Runs a compaction to its end and gives how many writes each step had.
fn steps(store: &mut Store, revision: i64, budget: usize) -> Vec<usize> {
    let mut sizes = Vec::new();
    let mut cursor = Some(Cursor::default());
    while let Some(from) = cursor {
        let step = compaction::step(&store.tables, from, revision, budget).unwrap();
        sizes.push(step.batch.writes.len());
        store.tables.write(step.batch);
        cursor = step.next;
    }
    sizes
}

#[test]
fn steps_are_small_and_only_look_at_what_changed() {
    let mut store = Store::new();
    for n in 0..500 {
        store.apply(put(format!("cold{n}"), Bytes::new()));
        store.apply(put("hot".into(), Bytes::new()));
    }
    let revision = store.machine.revision();
    store.apply(compact(revision));
    let sizes = steps(&mut store, revision, 10);
    assert!(sizes.len() >= 100, "{}", sizes.len());
    assert!(
        sizes.iter().all(|writes| *writes <= 4 * 10 + 1),
        "{sizes:?}"
    );
    assert_eq!(store.rows(Table::Events).len(), 501);

    store.apply(put("hot".into(), Bytes::new()));
    store.apply(compact(revision + 1));
    // The cold keys are not looked at again.
    assert_eq!(steps(&mut store, revision + 1, 10).len(), 1);
    assert_eq!(store.rows(Table::Events).len(), 501);
    assert_eq!(store.rows(Table::Versions).len(), 0);
}

#[test]
fn nothing_is_pending_after_the_last_step() {
    let mut store = Store::new();
    assert_eq!(compaction::pending(&store.tables), Ok(None));
    store.apply(put("a".into(), Bytes::new()));
    store.apply(put("a".into(), Bytes::new()));
    assert_eq!(compaction::pending(&store.tables), Ok(None));
    store.apply(compact(3));
    assert_eq!(compaction::pending(&store.tables), Ok(Some(3)));
    let step = compaction::step(&store.tables, Cursor::default(), 3, 1).unwrap();
    store.tables.write(step.batch);
    assert!(step.next.is_some());
    assert_eq!(compaction::pending(&store.tables), Ok(Some(3)));
    steps(&mut store, 3, 1);
    assert_eq!(compaction::pending(&store.tables), Ok(None));
    assert_eq!(steps(&mut store, 3, 1), [0]);
    assert_eq!(store.rows(Table::Events).len(), 1);
}

#[test]
fn changes_come_in_whole_revisions_up_to_the_limits() {
    let mut store = Store::new();
    for n in 0..CATCH_UP_EVENTS_MAX + 500 {
        store.apply(put(format!("key{n:05}"), Bytes::new()));
    }
    let puts = store.machine.revision();
    store.apply(delete_all());
    let at = store.at();
    let read = |from| {
        query::changes(&store.tables, at, from, at.revision)
            .unwrap()
            .unwrap()
    };

    let first = read(2);
    assert_eq!(first.changes.len(), CATCH_UP_EVENTS_MAX);
    assert_eq!(first.through, CATCH_UP_EVENTS_MAX as i64 + 1);
    // One revision alone is beyond the limit, and still whole.
    let second = read(first.through + 1);
    assert_eq!(second.through, at.revision);
    assert_eq!(second.changes.len(), 500 + CATCH_UP_EVENTS_MAX + 500);
    let deletes = second
        .changes
        .iter()
        .filter(|change| change.kind == ChangeKind::Delete);
    assert!(deletes.clone().all(|change| change.prev_kv.is_some()));
    assert_eq!(deletes.count(), CATCH_UP_EVENTS_MAX + 500);
    assert_eq!(read(puts + 1).changes.len(), CATCH_UP_EVENTS_MAX + 500);
    assert!(read(at.revision + 1).changes.is_empty());
}

#[test]
fn changes_of_large_values_stop_early() {
    let mut store = Store::new();
    let value = Bytes::from(vec![0; 100_000]);
    for n in 0..100 {
        store.apply(put(format!("key{n}"), value.clone()));
    }
    let found = query::changes(&store.tables, store.at(), 2, 101)
        .unwrap()
        .unwrap();
    let bytes: usize = found
        .changes
        .iter()
        .map(|change| change.kv.value.len())
        .sum();
    assert!(found.through < 101);
    assert!(bytes >= CATCH_UP_BYTES_MAX - value.len() && bytes <= CATCH_UP_BYTES_MAX + value.len());
}

#[test]
fn lost_history_is_a_fault_and_no_panic() {
    let mut store = Store::new();
    for _ in 0..3 {
        store.apply(put("a".into(), Bytes::new()));
    }
    let mut lossy = detcd_core::view::Batch::default();
    lossy.delete(
        Table::Events,
        revision_key(Revision { main: 3, sub: 0 }).to_vec(),
    );
    store.tables.write(lossy);
    let range = RangeRequest {
        revision: 3,
        ..RangeRequest::of(everything())
    };
    let error = query::range(&store.tables, store.at(), &range).unwrap_err();
    assert!(matches!(error, query::QueryError::Fault(_)), "{error}");
}
