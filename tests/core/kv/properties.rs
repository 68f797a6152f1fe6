//! The machine and the queries against the naive model.

use crate::generate::{command, config, range};
use crate::model::Model;
use crate::store::Store;
use bytes::Bytes;
use detcd_core::api::{KeyRange, RangeReply, RangeRequest, SortOrder, SortTarget};
use detcd_core::codec::{
    EventRow, VERSION_PUT, VERSION_TOMBSTONE, decode_event, decode_revision, version_key,
};
use detcd_core::command::Command;
use detcd_core::error::Error;
use detcd_core::event::CompactedAt;
use detcd_core::kv::history::is_superseded;
use detcd_core::kv::range::{latest, range_chunk};
use detcd_core::query::{self, QueryError};
use detcd_core::view::{Table, View};
use proptest::prelude::*;

/// What a member does between commands.
#[derive(Clone, Debug)]
enum Step {
    Apply(Command),
    Read(RangeRequest),
    /// Some steps of the removal of history; the position in it is then forgotten.
    Remove {
        budget: usize,
        steps: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => command().prop_map(Step::Apply),
        6 => range().prop_map(Step::Read),
        1 => (1usize..5, 1usize..9).prop_map(|(budget, steps)| Step::Remove { budget, steps }),
    ]
}

/// The same read with and without an index.
fn read(store: &Store, request: &RangeRequest) -> Result<RangeReply, Error> {
    let read = |view: &dyn View| match query::range(view, store.at(), request) {
        Ok(reply) => Ok(reply),
        Err(QueryError::Request(error)) => Err(error),
        Err(QueryError::Fault(fault)) => panic!("{fault}"),
    };
    let reply = read(&store.indexed());
    assert_eq!(reply, read(&store.tables), "an index changes no answer");
    for with_ended in [false, true] {
        let rebuilt = store.rebuilt(with_ended);
        assert_eq!(reply, read(&rebuilt), "a new index changes no answer");
    }
    reply
}

/// The same read, in chunks.
fn read_streamed(view: &dyn View, store: &Store, request: &RangeRequest) -> RangeReply {
    let mut whole = RangeReply::default();
    let mut cursor = None;
    loop {
        let (chunk, next) = range_chunk(view, store.at(), request, cursor, 100).unwrap();
        whole.kvs.extend(chunk.kvs);
        if next.is_none() {
            return RangeReply {
                kvs: whole.kvs,
                ..chunk
            };
        }
        assert!(
            !chunk.more && chunk.count == 0,
            "only the last chunk sums up"
        );
        cursor = next;
    }
}

fn check_everything(store: &Store, model: &Model) {
    for revision in 0..=model.revision() + 1 {
        let every_key = KeyRange::Span {
            start: Bytes::from_static(b"\0"),
            end: None,
        };
        let mut all = RangeRequest {
            revision,
            ..RangeRequest::of(every_key)
        };
        assert_eq!(read(store, &all), model.range(&all));
        all.sort_order = SortOrder::Descend;
        all.limit = 2;
        assert_eq!(read(store, &all), model.range(&all));
        all.count_only = true;
        assert_eq!(read(store, &all), model.range(&all));
    }
    assert_eq!(
        query::leases(&store.tables).unwrap(),
        Vec::from_iter(model.leases.clone())
    );
    for lease in model.leases.keys() {
        assert_eq!(
            query::lease_keys(&store.tables, *lease).unwrap(),
            model.lease_keys(*lease)
        );
    }
    for from in -1..=model.revision() + 1 {
        check_changes(store, model, from);
    }
}

fn check_changes(store: &Store, model: &Model, from: i64) {
    let to = model.revision();
    let found = query::changes(&store.tables, store.at(), from, to).unwrap();
    match model.changes(from, to) {
        Some(changes) => {
            let found = found.unwrap();
            assert_eq!((found.through, found.changes), (to, changes));
        }
        None => assert_eq!(found.unwrap_err(), CompactedAt(model.compact_revision)),
    }
}

/// Each change is listed under its key, but for those that are the latest of a live key.
fn check_versions(store: &Store) {
    let mut wanted = Vec::new();
    for (row_key, row) in store.rows(Table::Events) {
        let revision = decode_revision(&row_key).unwrap();
        let event = decode_event(revision, &row).unwrap();
        let latest = latest(&store.tables, event.key()).unwrap();
        let is_latest = latest.is_some_and(|latest| latest.revision() == revision);
        let mark = match event {
            EventRow::Put(_) => VERSION_PUT,
            EventRow::Tombstone { .. } => VERSION_TOMBSTONE,
        };
        if !is_latest {
            wanted.push((Bytes::from(version_key(event.key(), revision)), mark));
        }
    }
    wanted.sort();
    assert_eq!(store.rows(Table::Versions), wanted);
}

/// What a whole compaction leaves is what is needed and no more.
fn check_rows(store: &Store, hoarder: &Store) {
    let compacted = store.at().compact_revision;
    let mut wanted = hoarder.rows(Table::Events);
    wanted.retain(|(key, row)| {
        let revision = decode_revision(key).unwrap();
        let event = decode_event(revision, row).unwrap();
        let is_over = || is_superseded(&hoarder.tables, event.key(), revision, compacted).unwrap();
        let lives = matches!(event, EventRow::Put(_)) && !is_over();
        revision.main >= compacted || lives
    });
    assert_eq!(store.rows(Table::Events), wanted);
    check_versions(store);
    for table in [Table::Current, Table::Lease, Table::LeaseKeys] {
        assert_eq!(store.rows(table), hoarder.rows(table));
    }
}

proptest! {
    #![proptest_config(config("kv-model", 400))]

    #[test]
    fn the_machine_does_what_the_model_does(steps in prop::collection::vec(step(), 1..60)) {
        let (mut store, mut model) = (Store::new(), Model::new());
        // Its history is never removed: it hashes the same. It has no index, and answers the same.
        let mut hoarder = Store::unindexed();
        for step in steps {
            match step {
                Step::Apply(command) => {
                    let applied = store.apply(command.clone());
                    prop_assert_eq!(hoarder.apply(command.clone()).outcome, applied.outcome.clone());
                    let (outcome, changes) = model.apply(&command);
                    prop_assert_eq!(applied.outcome, outcome);
                    prop_assert_eq!(applied.changes, changes);
                }
                Step::Read(request) => {
                    prop_assert_eq!(read(&store, &request), model.range(&request));
                    let plain = RangeRequest {
                        limit: request.limit,
                        revision: request.revision,
                        keys_only: request.keys_only,
                        count_only: request.count_only,
                        ..RangeRequest::of(request.range.clone())
                    };
                    prop_assert!(plain.sort_target == SortTarget::Key);
                    if let Ok(whole) = read(&store, &plain) {
                        prop_assert_eq!(&read_streamed(&store.tables, &store, &plain), &whole);
                        prop_assert_eq!(read_streamed(&store.indexed(), &store, &plain), whole);
                    }
                }
                Step::Remove { budget, steps } => store.remove_history(budget, steps),
            }
        }
        check_everything(&store, &model);
        for revision in 0..=store.machine.revision() {
            prop_assert_eq!(
                query::hash_kv(&store.tables, store.at(), revision),
                query::hash_kv(&hoarder.tables, hoarder.at(), revision)
            );
        }
        store.remove_history(3, usize::MAX);
        check_everything(&store, &model);
        check_rows(&store, &hoarder);
        check_versions(&hoarder);
    }
}
