//! The store over fjall.

use detcd_storage::conformance::store::{Harness, suite};
use detcd_storage::store::{FjallStore, StoreOptions};
use futures::executor::block_on;
use tempfile::TempDir;

#[derive(Default)]
struct Folders {
    folders: Vec<TempDir>,
}

impl Folders {
    fn open(&self) -> FjallStore {
        let folder = self.folders.last().expect("a store was made before");
        FjallStore::open(folder.path(), StoreOptions::default()).unwrap()
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
