//! The raft log on real files.

use detcd_storage::conformance;
use detcd_storage::disk::RealDisk;
use futures::executor::block_on;

#[test]
fn the_log_passes_the_suite_on_files() {
    let mut folders = Vec::new();
    block_on(conformance::log::suite(async || {
        folders.push(tempfile::tempdir().unwrap());
        RealDisk::open(folders.last().unwrap().path()).unwrap()
    }));
}
