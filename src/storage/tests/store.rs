//! The store over fjall.

use detcd_core::view::{Batch, Table, View};
use detcd_storage::conformance;
use detcd_storage::conformance::store::{Harness, suite};
use detcd_storage::store::{FjallStore, Reclaim, Stage, Store, StoreOptions, WHOLE_KEY_BYTES_MAX};
use futures::executor::block_on;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use tempfile::TempDir;

#[derive(Default)]
struct Folders {
    folders: Vec<TempDir>,
    options: StoreOptions,
}

impl Folders {
    fn open(&self) -> FjallStore {
        let folder = self.folders.last().expect("a store was made before");
        FjallStore::open(folder.path(), self.options.clone()).unwrap()
    }
}

impl Harness for Folders {
    type Store = FjallStore;

    async fn fresh(&mut self) -> FjallStore {
        self.folders.push(tempfile::tempdir().unwrap());
        self.open()
    }

    async fn reopen(&mut self, store: FjallStore) -> FjallStore {
        drop(store);
        self.open()
    }
}

#[test]
fn fjall_passes_the_suite() {
    block_on(suite(&mut Folders::default()));
}

#[test]
fn the_space_of_deleted_rows_is_given_back() {
    let mut folders = Folders::default();
    let store = block_on(folders.fresh());
    let write = |value: Option<Vec<u8>>| {
        let mut batch = Batch::default();
        for row in 0..64u8 {
            match &value {
                Some(value) => batch.put(Table::Events, vec![row], value.clone()),
                None => batch.delete(Table::Events, vec![row]),
            }
        }
        block_on(store.write(batch)).unwrap();
    };
    // What does not compress: the files are compressed.
    let noise = |salt: u32| -> Vec<u8> {
        let spread = |n: u32| {
            n.wrapping_add(salt)
                .wrapping_mul(2_654_435_761)
                .rotate_left(n % 31)
        };
        (0..32 * 1024u32).map(|n| (spread(n) >> 13) as u8).collect()
    };
    for salt in 0..4 {
        write(Some(noise(salt)));
    }
    let shown = store.snapshot().unwrap();
    write(None);
    let full = store.size().total_bytes;
    block_on(store.reclaim(Reclaim::All)).unwrap();
    assert!(
        store.size().total_bytes > 64 * 32 * 1024,
        "a snapshot shows one version of each row"
    );
    drop(shown);
    write(None);
    block_on(store.reclaim(Reclaim::All)).unwrap();
    let empty = store.size().total_bytes;
    assert!(empty < full / 20, "{empty} bytes of {full} are left");
}

/// Bytes that the files under `path` take.
fn disk_bytes(path: &Path) -> u64 {
    let metadata = path.metadata().expect("a file");
    if metadata.is_file() {
        return metadata.blocks() * 512;
    }
    let entries = std::fs::read_dir(path).expect("a folder");
    entries
        .map(|entry| disk_bytes(&entry.expect("an entry").path()))
        .sum()
}

fn write_rows(store: &FjallStore, table: Table, keys: std::ops::Range<u32>, value: Option<usize>) {
    for key in keys {
        let mut batch = Batch::default();
        let key = key.to_be_bytes().to_vec();
        match value {
            Some(bytes) => batch.put(table, key, vec![b'v'; bytes]),
            None => batch.delete(table, key),
        }
        block_on(store.write(batch)).unwrap();
    }
}

/// Once the snapshots of before are gone, so are the files that held what was removed.
#[test]
fn the_files_of_deleted_rows_are_removed() {
    for merge_bytes in [0, StoreOptions::default().merge_bytes] {
        files_of_deleted_rows_are_removed(merge_bytes);
    }
}

/// Tables up to so many bytes are merged in one go.
fn files_of_deleted_rows_are_removed(merge_bytes: u64) {
    let mut folders = Folders::default();
    folders.options.merge_bytes = merge_bytes;
    let store = block_on(folders.fresh());
    let files = || {
        let keyspaces = folders.folders[0].path().join("keyspaces");
        disk_bytes(&keyspaces)
    };
    write_rows(&store, Table::Current, 0..3_000, Some(10_000));
    block_on(store.reclaim(Reclaim::All)).unwrap();
    assert!(files() > 30_000_000);
    let shown = store.snapshot().unwrap();
    write_rows(&store, Table::Current, 0..2_999, None);
    block_on(store.reclaim(Reclaim::Worthwhile)).unwrap();
    assert_eq!(
        conformance::store::rows(&shown, Table::Current).len(),
        3_000
    );
    drop(shown);
    let later = store.snapshot().unwrap();
    for _ in 0..2 {
        write_rows(&store, Table::Current, 0..2_000, None);
        block_on(store.reclaim(Reclaim::Worthwhile)).unwrap();
    }
    drop(later);
    block_on(store.reclaim(Reclaim::Leftovers)).unwrap();
    let left = files();
    assert!(left < 1_000_000, "{left} bytes are left");
}

#[derive(Clone, Debug)]
enum Step {
    /// Rows to put (`Some`) or delete; the batch is written to the store.
    Write(Vec<Row>),
    /// The same, to a new state that is then put in force or dropped.
    Stage {
        batches: Vec<Vec<Row>>,
        commit: bool,
    },
    Snapshot,
    Persist,
    Reclaim,
    Reopen,
}

type Row = (usize, Vec<u8>, Option<Vec<u8>>);

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let byte = || prop_oneof![Just(0u8), Just(b'a'), Just(0xff)];
    let short = prop::collection::vec(byte(), 1..4);
    // Keys that share their beginnings, and end where one piece of a long key does.
    let ends = [
        WHOLE_KEY_BYTES_MAX,
        2 * WHOLE_KEY_BYTES_MAX - 32,
        3 * WHOLE_KEY_BYTES_MAX - 64,
    ];
    let long = (
        byte(),
        prop::sample::select(ends.to_vec()),
        prop::collection::vec(byte(), 0..3),
        0..3usize,
    );
    let long = long.prop_map(|(byte, end, tail, cut)| {
        let mut key = vec![byte; end - cut];
        key.extend(tail);
        key
    });
    let key = prop_oneof![12 => short, 3 => long];
    let value = prop::option::weighted(0.7, prop::collection::vec(any::<u8>(), 0..40));
    prop::collection::vec((0..Table::ALL.len(), key, value), 0..20)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => rows().prop_map(Step::Write),
        1 => (prop::collection::vec(rows(), 0..3), any::<bool>())
            .prop_map(|(batches, commit)| Step::Stage { batches, commit }),
        3 => Just(Step::Snapshot),
        1 => Just(Step::Persist),
        1 => Just(Step::Reclaim),
        1 => Just(Step::Reopen),
    ]
}

type Model = BTreeMap<(Table, Vec<u8>), Vec<u8>>;

fn batch(rows: &[Row], model: &mut Model) -> Batch {
    let mut batch = Batch::default();
    for (table, key, value) in rows {
        let table = Table::ALL[*table];
        match value {
            Some(value) => {
                batch.put(table, key.clone(), value.clone());
                model.insert((table, key.clone()), value.clone());
            }
            None => {
                batch.delete(table, key.clone());
                model.remove(&(table, key.clone()));
            }
        }
    }
    batch
}

fn contents(view: &impl View) -> Model {
    let mut model = Model::new();
    for table in Table::ALL {
        for (key, value) in conformance::store::rows(view, table) {
            assert_eq!(view.get(table, &key), Ok(Some(value.clone())));
            model.insert((table, key.to_vec()), value.to_vec());
        }
    }
    model
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 8,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../proptest-regressions/storage-store.txt"
        )))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn fjall_does_what_a_map_does(
        steps in prop::collection::vec(step(), 1..60),
        in_one_go in any::<bool>(),
    ) {
        let mut folders = Folders::default();
        if !in_one_go {
            folders.options.merge_bytes = 0;
        }
        let mut store = block_on(folders.fresh());
        let mut model = Model::new();
        let mut snapshots = Vec::new();
        for step in steps {
            match step {
                Step::Write(rows) => block_on(store.write(batch(&rows, &mut model))).unwrap(),
                Step::Stage { batches, commit } => {
                    let mut stage = block_on(store.stage()).unwrap();
                    let mut staged = Model::new();
                    for rows in batches {
                        block_on(stage.write(batch(&rows, &mut staged))).unwrap();
                    }
                    if commit {
                        block_on(stage.commit()).unwrap();
                        model = staged;
                    }
                }
                Step::Snapshot => snapshots.push((store.snapshot().unwrap(), model.clone())),
                Step::Persist => block_on(store.persist()).unwrap(),
                Step::Reclaim => block_on(store.reclaim(Reclaim::All)).unwrap(),
                Step::Reopen => {
                    // Closing is no crash: what was written is there, persisted or not.
                    snapshots.clear();
                    store = block_on(folders.reopen(store));
                }
            }
            prop_assert_eq!(&contents(&store), &model);
        }
        for (snapshot, model) in snapshots {
            prop_assert_eq!(contents(&snapshot), model);
        }
    }
}
