//! The disk over the operating system's files.

use detcd_storage::conformance;
use detcd_storage::disk::{DataDirLock, LockError, RealDisk};
use futures::executor::block_on;

#[test]
fn files_pass_the_suite() {
    let folder = tempfile::tempdir().unwrap();
    let disk = RealDisk::open(folder.path().join("made/on/demand")).unwrap();
    block_on(conformance::disk::suite(&disk));
}

#[test]
fn a_data_dir_has_one_user() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("default.etcd");
    let lock = DataDirLock::take(&path).unwrap();
    let error = DataDirLock::take(&path).unwrap_err();
    assert!(matches!(error, LockError::InUse { .. }));
    let text = error.to_string();
    assert!(
        text.contains("default.etcd") && text.contains("another process"),
        "{text}"
    );
    drop(lock);
    DataDirLock::take(&path).unwrap();
}
