//! The simulated disk and store pass the suites that the real ones pass.
#![cfg(not(madsim))]

use detcd_sim::disk::{Latency, Loss, Platter};
use detcd_sim::rng::Rng;
use detcd_sim::store::{SimStore, Vault};
use detcd_storage::conformance::{disk, store};
use futures::executor::block_on;

fn platter(seed: u64) -> Platter {
    Platter::new(Rng::of(seed, "disk"), Latency { sync_ms: 1..=3 })
}

#[test]
fn the_simulated_disk_is_a_disk() {
    block_on(disk::suite(&platter(1).mount()));
}

struct Vaults {
    vault: Vault,
}

impl store::Harness for Vaults {
    type Store = SimStore;

    async fn fresh(&mut self) -> SimStore {
        self.vault = Vault::new(Rng::of(1, "store"), 1..=3);
        self.vault.mount()
    }

    async fn reopen(&mut self, store: SimStore) -> SimStore {
        drop(store);
        // As hard as it gets: only what was persisted may be relied on.
        self.vault.crash(Loss::LoseUnsynced);
        self.vault.mount()
    }
}

#[test]
fn the_simulated_store_is_a_store() {
    let mut vaults = Vaults {
        vault: Vault::new(Rng::of(1, "store"), 0..=0),
    };
    block_on(store::suite(&mut vaults));
}
