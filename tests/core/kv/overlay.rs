//! An overlay shows what the tables would if its writes were in them.

use crate::generate::config;
use crate::store::Tables;
use bytes::Bytes;
use detcd_core::overlay::Overlay;
use detcd_core::view::{Batch, Direction, Table, View};
use proptest::prelude::*;
use proptest::sample::select;
use std::ops::Bound;

type Row = (Table, Bytes, Option<Bytes>);

fn key() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(0u8..3, 0..3).prop_map(Bytes::from)
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let table = select(vec![Table::Current, Table::Events, Table::Versions]);
    let value = prop::option::weighted(0.7, key());
    prop::collection::vec((table, key(), value), 0..30)
}

fn bound() -> impl Strategy<Value = Bound<Bytes>> {
    prop_oneof![
        Just(Bound::Unbounded),
        key().prop_map(Bound::Included),
        key().prop_map(Bound::Excluded),
    ]
}

proptest! {
    #![proptest_config(config("kv-overlay", 500))]

    #[test]
    fn an_overlay_reads_as_what_it_will_be(
        before in rows(),
        writes in rows(),
        asked in key(),
        start in bound(),
        end in bound(),
    ) {
        let mut tables = Tables::default();
        for (table, key, value) in before {
            let mut batch = Batch::default();
            batch.put(table, key, value.unwrap_or_default());
            tables.write(batch);
        }
        let base = tables.clone();
        let mut overlay = Overlay::new(&base);
        for (table, key, value) in writes {
            match value {
                Some(value) => overlay.put(table, key, value),
                None => overlay.delete(table, key),
            }
        }
        let start = start.as_ref().map(|key| &key[..]);
        let end = end.as_ref().map(|key| &key[..]);
        let mut read = Vec::new();
        for table in [Table::Current, Table::Events, Table::Versions] {
            for direction in [Direction::Forward, Direction::Reverse] {
                read.extend(overlay.scan(table, (start, end), direction).map(Result::unwrap));
            }
            read.extend(overlay.get(table, &asked).unwrap().map(|value| (asked.clone(), value)));
        }
        tables.write(overlay.into_batch());
        let mut wanted = Vec::new();
        for table in [Table::Current, Table::Events, Table::Versions] {
            for direction in [Direction::Forward, Direction::Reverse] {
                wanted.extend(tables.scan(table, (start, end), direction).map(Result::unwrap));
            }
            wanted.extend(tables.get(table, &asked).unwrap().map(|value| (asked.clone(), value)));
        }
        prop_assert_eq!(read, wanted);
    }
}
