//! The rows of a snapshot, as etcd has them, are taken up as the rows that they were made of.

use crate::generate::{command, config};
use crate::store::{Store, Tables};
use detcd_core::backend::{self, Bucket, Cursor, Position, Visitor};
use detcd_core::query::{self, At};
use detcd_core::restore::{Restore, RestoreOptions};
use detcd_core::view::{Fault, Table, View};
use proptest::prelude::*;

/// Gives each row to the other side at once.
struct Take<'a> {
    restore: &'a mut Restore,
    tables: &'a mut Tables,
    rows: usize,
}

impl Visitor for Take<'_> {
    fn bucket(&mut self, _: Bucket) {}

    fn row(&mut self, bucket: Bucket, key: &[u8], value: &[u8]) {
        let taken = self.restore.row(bucket.name().as_bytes(), key, value);
        taken.expect("a row that etcd would have");
        self.rows += 1;
        if let Some(batch) = self.restore.take(100) {
            self.tables.write(batch);
        }
    }
}

fn restored(view: &dyn View, options: RestoreOptions) -> (Tables, At) {
    let (mut restore, mut tables) = (Restore::default(), Tables::default());
    let mut take = Take {
        restore: &mut restore,
        tables: &mut tables,
        rows: 0,
    };
    let position = Position { index: 7, term: 2 };
    let mut cursor = Some(Cursor::default());
    while let Some(from) = cursor {
        cursor = backend::walk(view, position, from, 50, &mut take).expect("sound rows");
    }
    let (rest, at) = restore.finish(options);
    tables.write(rest);
    (tables, at)
}

proptest! {
    #![proptest_config(config("kv-restore", 200))]

    #[test]
    fn a_restored_state_is_the_one_that_was_saved(
        commands in prop::collection::vec(command(), 1..60),
        removed_after in 0..60usize,
        bump in 0..1000i64,
    ) {
        let mut store = Store::new();
        for (place, command) in commands.into_iter().enumerate() {
            store.apply(command);
            if place == removed_after {
                store.remove_history(3, usize::MAX);
            }
        }
        // A compaction at 0 removes nothing, and no snapshot tells of it.
        prop_assume!(store.at().compact_revision != 0);
        let (tables, at) = restored(&store.tables, RestoreOptions::default());
        prop_assert_eq!(at, store.at());
        prop_assert_eq!(At::load(&tables).unwrap(), store.at());
        for table in [
            Table::Current,
            Table::Events,
            Table::Versions,
            Table::Lease,
            Table::LeaseKeys,
            Table::Alarm,
        ] {
            let all = (std::ops::Bound::Unbounded, std::ops::Bound::Unbounded);
            let rows = |view: &Tables| -> Vec<_> {
                let rows = view.scan(table, all, detcd_core::view::Direction::Forward);
                rows.map(Result::unwrap).collect()
            };
            prop_assert_eq!(rows(&tables), rows(&store.tables), "{}", table.name());
        }
        for revision in 0..=at.revision {
            prop_assert_eq!(
                query::hash_kv(&tables, at, revision),
                query::hash_kv(&store.tables, at, revision)
            );
        }
        let options = RestoreOptions { bump_revision: bump, mark_compacted: true };
        let (tables, later) = restored(&store.tables, options);
        let expected = at.revision + bump;
        prop_assert_eq!(later, At { revision: expected, compact_revision: expected });
        prop_assert_eq!(At::load(&tables).unwrap(), later);
    }

    /// Garbage is told, and never a panic.
    #[test]
    fn rows_of_garbage_are_refused_or_harmless(
        bucket in 0..Bucket::ALL.len(),
        key in prop::collection::vec(any::<u8>(), 0..20),
        value in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let mut restore = Restore::default();
        let bucket = Bucket::ALL[bucket].name().as_bytes();
        let _ = restore.row(bucket, &key, &value);
        let mut tables = Tables::default();
        tables.write(restore.finish(RestoreOptions::default()).0);
        prop_assert!(At::load(&tables).is_ok());
    }
}

#[test]
fn a_row_that_cannot_be_is_told_by_its_place() {
    let key = [&2i64.to_be_bytes()[..], b"_", &0i64.to_be_bytes()].concat();
    let refused = |key: &[u8], value: &[u8]| {
        let Fault(why) = Restore::default().row(b"key", key, value).unwrap_err();
        why
    };
    let place = "bucket key, key 00000000000000025f0000000000000000: ";
    for (value, why) in [
        (&[0x0a, 1][..], "it is no message of protobuf"),
        (&[0x10, 2], "its value names no key"),
        (&[0x0a, 1, b'k'], "its value says revisions that cannot be"),
    ] {
        assert_eq!(refused(&key, value), format!("{place}{why}"));
    }
    assert!(refused(b"2", b"").ends_with("it is no revision"));
}
