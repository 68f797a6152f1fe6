use super::*;
use futures::executor::block_on;

fn disk_image(seed: u64) -> DiskImage {
    DiskImage::new(Rng::of(seed, "disk"), Latency::NONE)
}

async fn write(file: &SimFile, offset: u64, data: &[u8]) {
    file.write_at(offset, Bytes::copy_from_slice(data))
        .await
        .expect("the disk works");
}

fn content(disk: &SimDisk, name: &str) -> Option<Vec<u8>> {
    block_on(async {
        match disk.open(name, false).await {
            Ok(file) => Some(
                file.read_at(0, 1 << 20)
                    .await
                    .expect("the disk works")
                    .to_vec(),
            ),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::NotFound);
                None
            }
        }
    })
}

/// A file "a" that is synced with "one", and has "two" written behind it.
fn half_synced(disk_image: &DiskImage) -> SimFile {
    let disk = disk_image.mount();
    block_on(async {
        let file = disk.open("a", true).await.expect("created");
        disk.sync_dir().await.expect("synced");
        write(&file, 0, b"one").await;
        file.sync_data().await.expect("synced");
        write(&file, 3, b"two").await;
        file
    })
}

#[test]
fn a_crash_keeps_what_was_synced_and_loses_the_rest_as_told() {
    for (loss, expected) in [
        (Loss::KeepAll, &b"onetwo"[..]),
        (Loss::LoseUnsynced, b"one"),
    ] {
        let disk_image = disk_image(1);
        half_synced(&disk_image);
        disk_image.crash(loss);
        assert_eq!(
            content(&disk_image.mount(), "a").as_deref(),
            Some(expected),
            "{loss:?}"
        );
    }
}

#[test]
fn a_torn_write_leaves_a_prefix() {
    let mut partial = 0;
    for seed in 0..200 {
        let disk_image = disk_image(seed);
        let disk = disk_image.mount();
        block_on(async {
            let file = disk.open("a", true).await.expect("created");
            disk.sync_dir().await.expect("synced");
            write(&file, 0, &[1; 2000]).await;
            write(&file, 2000, &[2; 2000]).await;
        });
        disk_image.crash(Loss::Torn);
        let left = content(&disk_image.mount(), "a").expect("the name was synced");
        let expected: Vec<u8> = [[1; 2000], [2; 2000]].concat();
        assert_eq!(left, expected[..left.len()]);
        partial += usize::from(!left.len().is_multiple_of(2000));
    }
    assert!(partial > 50, "only {partial} of 200 crashes tore a write");
}

#[test]
fn names_are_durable_only_after_the_folder_is_synced() {
    let disk_image = disk_image(1);
    let disk = disk_image.mount();
    block_on(async {
        disk.open("old", true).await.expect("created");
        disk.sync_dir().await.expect("synced");
        disk.rename("old", "new").await.expect("renamed");
        disk.open("other", true).await.expect("created");
        assert_eq!(disk.list().await.expect("listed"), ["new", "other"]);
    });
    let lost = disk_image.crash(Loss::LoseUnsynced);
    assert_eq!(lost.names, 2);
    assert_eq!(
        block_on(disk_image.mount().list()).expect("listed"),
        ["old"]
    );
}

#[test]
fn handles_of_a_dead_process_fail() {
    let disk_image = disk_image(1);
    let disk = disk_image.mount();
    let file = half_synced(&disk_image);
    assert!(
        block_on(disk.list()).is_err(),
        "a later mount ends the life of an earlier one"
    );
    disk_image.crash(Loss::KeepAll);
    block_on(async {
        assert!(file.sync_data().await.is_err());
        assert!(file.write_at(0, Bytes::from_static(b"late")).await.is_err());
    });
    assert_eq!(
        content(&disk_image.mount(), "a").as_deref(),
        Some(&b"onetwo"[..])
    );
}

#[test]
fn a_sync_covers_what_was_written_before_it_began() {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let slow = DiskImage::new(Rng::of(1, "disk"), Latency { sync_ms: 1..=1 });
    let disk = slow.mount();
    let file = block_on(disk.open("b", true)).expect("created");
    block_on(disk.sync_dir()).expect("synced");
    block_on(write(&file, 0, b"early"));
    let mut sync = Box::pin(file.sync_data());
    assert!(sync.as_mut().poll(&mut context).is_pending());
    block_on(write(&file, 5, b"late"));
    assert!(sync.as_mut().poll(&mut context).is_ready());
    slow.crash(Loss::LoseUnsynced);
    assert_eq!(content(&slow.mount(), "b").as_deref(), Some(&b"early"[..]));
}

#[test]
fn what_a_failed_sync_gave_up_is_never_told_as_synced() {
    let disk_image = disk_image(1);
    let file = half_synced(&disk_image);
    let (inode, _) = disk_image.place("a").expect("it has a name");
    let (before, _) = disk_image.synced(inode);
    let failing = disk_image.defects().begin(defects::DiskFault {
        mark: "fault.io-error-sync",
        part: None,
        defect: defects::Defect::Fails {
            operation: Operation::Sync,
            probability: 1.0,
        },
    });
    block_on(file.sync_data()).expect_err("it fails");
    disk_image.defects().end(failing);
    block_on(async {
        file.sync_data().await.expect("the error is told once");
        write(&file, 6, b"three").await;
        file.sync_data().await.expect("synced");
    });
    assert_eq!(disk_image.synced(inode).0, before);
    disk_image.crash(Loss::KeepAll);
    let content = content(&disk_image.mount(), "a");
    assert_eq!(content.as_deref(), Some(&b"one\0\0\0three"[..]));
}
