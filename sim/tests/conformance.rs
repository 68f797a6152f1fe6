//! The simulated disk and store pass the suites that the real ones pass.
#![cfg(not(madsim))]

use detcd_sim::disk::{DiskImage, Latency, Loss};
use detcd_sim::rng::Rng;
use detcd_sim::store::{SimStore, StoreImage};
use detcd_storage::conformance::{disk, store};
use futures::executor::block_on;

fn disk_image(seed: u64) -> DiskImage {
    DiskImage::new(Rng::of(seed, "disk"), Latency { sync_ms: 1..=3 })
}

#[test]
fn the_simulated_disk_is_a_disk() {
    block_on(disk::suite(&disk_image(1).mount()));
}

struct StoreImages {
    store_image: StoreImage,
}

impl store::Harness for StoreImages {
    type Store = SimStore;

    async fn fresh(&mut self) -> SimStore {
        self.store_image = StoreImage::new(Rng::of(1, "store"), 1..=3);
        self.store_image.mount()
    }

    async fn reopen(&mut self, store: SimStore) -> SimStore {
        drop(store);
        // As hard as it gets: only what was persisted may be relied on.
        self.store_image.crash(Loss::LoseUnsynced);
        self.store_image.mount()
    }
}

#[test]
fn the_simulated_store_is_a_store() {
    let mut store_images = StoreImages {
        store_image: StoreImage::new(Rng::of(1, "store"), 0..=0),
    };
    block_on(store::suite(&mut store_images));
}
