//! What a store keeps open. A process of its own: other stores would be taken for this one's.

use detcd_core::view::{Batch, Table, View};
use detcd_storage::conformance;
use detcd_storage::store::{FjallStore, Stage, Store, StoreOptions};
use futures::executor::block_on;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Files that this process holds open under `path`, removed ones among them.
fn open_files(path: &Path) -> Vec<PathBuf> {
    let descriptors = std::fs::read_dir("/proc/self/fd").expect("a list of descriptors");
    let targets = descriptors.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    targets.filter(|target| target.starts_with(path)).collect()
}

/// A new state does not keep files of the old one open, nor does it count what was buffered of it.
#[test]
fn replaced_states_leave_no_files_open() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().canonicalize().unwrap();
    let store = FjallStore::open(&folder, StoreOptions::default()).unwrap();
    let replace = || {
        let mut stage = block_on(store.stage()).unwrap();
        for key in 0..600u32 {
            let mut batch = Batch::default();
            batch.put(Table::Current, key.to_be_bytes().to_vec(), vec![7; 40_000]);
            block_on(stage.write(batch)).unwrap();
        }
        block_on(stage.commit()).unwrap();
        // What is read is opened.
        assert_eq!(conformance::store::rows(&store, Table::Current).len(), 600);
        assert_eq!(store.get(Table::Meta, b"a"), Ok(None));
    };
    replace();
    let size = store.size();
    (0..6).for_each(|_| replace());
    // A merge of the old state's files may still be under way.
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let files = open_files(&folder);
        let is_removed = |file: &PathBuf| file.to_string_lossy().ends_with("(deleted)");
        if files.len() <= 12 && !files.iter().any(is_removed) {
            break;
        }
        assert!(Instant::now() < deadline, "open: {files:?}");
        std::thread::yield_now();
    }
    let later = store.size();
    assert!(
        later.in_use_bytes < size.in_use_bytes + 20_000_000,
        "{later:?} after {size:?}"
    );
}
