//! The suite for [`Disk`].

use crate::disk::{Disk, DiskFile};
use bytes::Bytes;
use std::io::ErrorKind;

/// Runs the whole suite on an empty disk.
pub async fn suite<D: Disk>(disk: &D) {
    assert_eq!(
        names(disk).await,
        Vec::<String>::new(),
        "the suite needs an empty disk"
    );
    files_come_and_go(disk).await;
    bytes_are_read_as_written(disk).await;
    lengths_change(disk).await;
    handles_follow_renames(disk).await;
}

async fn names(disk: &impl Disk) -> Vec<String> {
    let mut names = disk.list().await.expect("a listing");
    names.sort_unstable();
    names
}

pub async fn files_come_and_go<D: Disk>(disk: &D) {
    let missing = disk
        .open("a", false)
        .await
        .map(drop)
        .expect_err("there is no such file");
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    let missing = disk.remove("a").await.expect_err("there is no such file");
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    let missing = disk
        .rename("a", "b")
        .await
        .expect_err("there is no such file");
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    let a = disk.open("a", true).await.expect("a new file");
    assert_eq!(a.len().await.expect("a length"), 0);
    a.write_at(0, Bytes::from_static(b"of a"))
        .await
        .expect("a write");
    let again = disk.open("a", true).await.expect("the file again");
    assert_eq!(
        again.read_at(0, 9).await.expect("a read"),
        "of a",
        "create does not empty it"
    );
    disk.open("b", true).await.expect("a new file");
    assert_eq!(names(disk).await, ["a", "b"]);
    disk.rename("a", "b").await.expect("a rename replaces");
    disk.sync_dir().await.expect("a sync");
    assert_eq!(names(disk).await, ["b"]);
    let b = disk.open("b", false).await.expect("the renamed file");
    assert_eq!(b.read_at(0, 9).await.expect("a read"), "of a");
    disk.remove("b").await.expect("a removal");
    disk.sync_dir().await.expect("a sync");
    assert_eq!(names(disk).await, Vec::<String>::new());
    assert!(disk.display("b").contains('b'));
}

pub async fn bytes_are_read_as_written<D: Disk>(disk: &D) {
    let file = disk.open("bytes", true).await.expect("a new file");
    assert_eq!(file.read_at(0, 10).await.expect("a read"), "");
    file.write_at(0, Bytes::from_static(b"0123456789"))
        .await
        .expect("a write");
    file.sync_data().await.expect("a sync");
    file.write_at(8, Bytes::from_static(b"abcd"))
        .await
        .expect("a write over the end");
    file.write_at(2, Bytes::from_static(b"AB"))
        .await
        .expect("a write inside");
    assert_eq!(file.read_at(0, 100).await.expect("a read"), "01AB4567abcd");
    assert_eq!(file.read_at(3, 4).await.expect("a read"), "B456");
    assert_eq!(
        file.read_at(10, 5).await.expect("a read over the end"),
        "cd"
    );
    assert_eq!(file.read_at(12, 5).await.expect("a read at the end"), "");
    assert_eq!(file.read_at(99, 5).await.expect("a read after the end"), "");
    let large = Bytes::from_iter((0..3_000_000u32).map(|at| (at / 7) as u8));
    file.write_at(4096, large.clone())
        .await
        .expect("a large write after a hole");
    assert_eq!(
        file.read_at(4096, large.len()).await.expect("a read"),
        large
    );
    let hole = file.read_at(12, 4096 - 12).await.expect("a read");
    assert_eq!(hole, vec![0; 4096 - 12], "a hole reads as zeros");
    file.sync_data().await.expect("a sync");
    disk.remove("bytes").await.expect("a removal");
}

pub async fn lengths_change<D: Disk>(disk: &D) {
    let file = disk.open("lengths", true).await.expect("a new file");
    file.write_at(0, Bytes::from_static(b"0123456789"))
        .await
        .expect("a write");
    file.truncate(4).await.expect("a cut");
    assert_eq!(file.len().await.expect("a length"), 4);
    file.truncate(8).await.expect("an extension");
    assert_eq!(file.read_at(0, 100).await.expect("a read"), "0123\0\0\0\0");
    file.allocate(10_000).await.expect("space");
    assert_eq!(file.len().await.expect("a length"), 10_000);
    let bytes = file.read_at(0, 20_000).await.expect("a read");
    assert_eq!((&bytes[..4], bytes.len()), (&b"0123"[..], 10_000));
    assert!(bytes[4..].iter().all(|byte| *byte == 0));
    file.allocate(100).await.expect("space that is there");
    assert_eq!(
        file.len().await.expect("a length"),
        10_000,
        "allocation never cuts"
    );
    disk.remove("lengths").await.expect("a removal");
}

/// A file that was opened under one name is the same file after a rename.
pub async fn handles_follow_renames<D: Disk>(disk: &D) {
    let file = disk.open("before", true).await.expect("a new file");
    disk.rename("before", "after").await.expect("a rename");
    disk.sync_dir().await.expect("a sync");
    file.write_at(0, Bytes::from_static(b"late"))
        .await
        .expect("a write");
    file.sync_data().await.expect("a sync");
    let again = disk.open("after", false).await.expect("the renamed file");
    assert_eq!(again.read_at(0, 9).await.expect("a read"), "late");
    disk.remove("after").await.expect("a removal");
}
