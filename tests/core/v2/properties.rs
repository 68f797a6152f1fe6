//! Random writes: the rows say what a naive tree says, in whatever batches the writes come.

use crate::model::{Model, ModelNode};
use crate::store::Store;
use bytes::Bytes;
use detcd_core::api::Reply;
use detcd_core::command::Command;
use detcd_core::v2::history::{self, Interest};
use detcd_core::v2::{
    Dialect, Event, Operation, ShownNode, TreeError, UnixNanos, Write, check_row, clean, tree,
};
use detcd_core::view::Table;
use proptest::prelude::*;
use proptest::test_runner::{Config, FileFailurePersistence};
use std::collections::BTreeMap;

const NOW: UnixNanos = UnixNanos(1_800_000_000_000_000_000);
const PATHS: [&str; 9] = [
    "", "/a", "/b", "/_h", "/a/a", "/a/b", "/a/_h", "/a/b/c", "/b/a/a",
];

#[derive(Clone, Debug)]
enum Step {
    Write(Write),
    /// Ends the time-to-live of this name, or of none.
    Expire(u64),
}

/// What fails is kept in `proptest-regressions/core-<name>.txt`.
fn config(name: &str, cases: u32) -> Config {
    let root = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../proptest-regressions/core-"
    );
    let path: &'static str = format!("{root}{name}.txt").leak();
    Config {
        cases,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(path))),
        ..Config::default()
    }
}

fn write() -> impl Strategy<Value = Write> {
    let value = || prop_oneof![Just(""), Just("x"), Just("y")];
    let flags = (any::<bool>(), any::<bool>(), prop::bool::weighted(0.1));
    let ttl = prop::option::weighted(0.2, 1u64..100);
    let operation = prop::sample::select(&Operation::ALL[..]);
    let path = prop::sample::select(&PATHS[..]);
    (operation, path, value(), value(), 0u64..12, ttl, flags).prop_map(
        |(operation, path, value, prev_value, prev_index, ttl, (dir, recursive, refresh))| Write {
            operation,
            time: NOW,
            path: Bytes::from(path),
            value: Bytes::from(value),
            prev_value: Bytes::from(prev_value),
            prev_index: prev_index.saturating_sub(6),
            ttl,
            dir,
            recursive,
            refresh,
            dialect: Dialect::default(),
            asked: None,
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => write().prop_map(Step::Write),
        1 => (1u64..30).prop_map(Step::Expire),
    ]
}

fn command(step: &Step) -> Command {
    match step {
        Step::Write(write) => Command::V2(write.clone()),
        Step::Expire(id) => Command::V2Expire { id: *id },
    }
}

/// Everything below the root, hidden nodes among it.
fn all_nodes(store: &Store) -> BTreeMap<Vec<u8>, ModelNode> {
    let mut found = BTreeMap::new();
    let mut paths = vec![Bytes::new()];
    while let Some(path) = paths.pop() {
        let (event, _) = get(store, &path).expect("a node that was listed");
        let hidden = ["_h"].iter().map(|name| {
            let path = format!("{}/{name}", String::from_utf8_lossy(&path));
            Bytes::from(path)
        });
        let hidden = hidden.filter(|path| get(store, path).is_ok());
        paths.extend(event.node.nodes.iter().map(|node| node.key.clone()));
        if event.node.dir {
            paths.extend(hidden.filter(|path| get(store, path).is_ok()));
        }
        if !path.is_empty() {
            found.insert(path.to_vec(), model_node(&event.node));
        }
    }
    found
}

fn get(store: &Store, path: &Bytes) -> Result<(Event, u64), TreeError> {
    tree::get(&store.tables, path, false, NOW)
}

fn model_node(node: &ShownNode) -> ModelNode {
    ModelNode {
        value: node.value.clone(),
        created: node.created,
        modified: node.modified,
        // Which one it is shows in the rows.
        ttl: node.expiration.map(|_| 0),
    }
}

fn check_rows(store: &Store) {
    for (key, row) in store.rows(Table::V2) {
        check_row(&key, &row).expect("a row that can be read");
    }
}

proptest! {
    #![proptest_config(config("v2", 300))]

    #[test]
    fn the_tree_is_a_map_of_paths(steps in prop::collection::vec(step(), 1..60)) {
        let mut store = Store::new();
        let mut model = Model::new(tree::index(&store.tables).unwrap());
        for step in &steps {
            let applied = store.apply(command(step));
            let told = applied.v2.as_ref().map(|applied| applied.event.clone());
            match step {
                Step::Write(write) => {
                    let expected = model.apply(write);
                    let Ok(Reply::V2(_, result)) = applied.outcome.result else {
                        panic!("another reply: {:?}", applied.outcome);
                    };
                    let result = result.map_err(|refused| refused.code);
                    prop_assert_eq!(result.as_ref().ok(), told.as_ref());
                    let result = result.map(|event| event.node.key.to_vec());
                    prop_assert_eq!(result, expected, "{:?}", write);
                }
                Step::Expire(id) => prop_assert_eq!(model.expire(*id), told.is_some()),
            }
            prop_assert_eq!(tree::index(&store.tables).unwrap(), model.index);
        }
        check_rows(&store);
        let mut expected = model.nodes.clone();
        let mut ttls: Vec<u64> = expected.values().filter_map(|node| node.ttl).collect();
        ttls.sort_unstable();
        let state = tree::state(&store.tables).unwrap();
        let stored: Vec<u64> = state.ttls.iter().map(|(id, _)| *id).collect();
        prop_assert_eq!(stored, ttls);
        for node in expected.values_mut() {
            node.ttl = node.ttl.map(|_| 0);
        }
        prop_assert_eq!(all_nodes(&store), expected);
    }

    #[test]
    fn batches_change_nothing(
        steps in prop::collection::vec(step(), 1..40),
        size in 1usize..7,
    ) {
        let (mut one, mut many) = (Store::new(), Store::new());
        let commands: Vec<Command> = steps.iter().map(command).collect();
        for command in &commands {
            one.apply(command.clone());
        }
        for batch in commands.chunks(size) {
            many.apply_batch(batch);
        }
        prop_assert_eq!(one.tables, many.tables);
    }

    #[test]
    fn the_history_gives_each_event_once(steps in prop::collection::vec(step(), 1..60)) {
        let mut store = Store::new();
        let first = tree::index(&store.tables).unwrap() + 1;
        let mut model = Model::new(first - 1);
        for step in &steps {
            store.apply(command(step));
            match step {
                Step::Write(write) => drop(model.apply(write)),
                Step::Expire(id) => drop(model.expire(*id)),
            }
        }
        let interest = Interest { path: Bytes::new(), recursive: true };
        let (mut since, mut found) = (first, Vec::new());
        while let Some(event) = history::find(&store.tables, &interest, since).unwrap() {
            since = event.index() + 1;
            found.push((event.index(), event.node.key.to_vec()));
        }
        let told = model.events.iter().filter(|(_, _, refresh)| !refresh);
        let told: Vec<_> = told.map(|(index, path, _)| (*index, path.clone())).collect();
        prop_assert_eq!(found, told);
    }

    #[test]
    fn clean_paths_stay_as_they_are(path in "[/a.]{0,12}") {
        let once = clean(path.as_bytes());
        prop_assert_eq!(clean(&once), once);
    }
}
