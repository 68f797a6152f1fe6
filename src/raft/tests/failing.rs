//! A disk whose syncs fail: nothing more is acknowledged, and the engine stops and says why.

use super::harness::{Loopback, Member, Net, wait_for};
use crate::RaftOptions;
use bytes::Bytes;
use detcd_core::api::{Member as ApiMember, MemberId};
use detcd_core::event::Event;
use detcd_storage::disk::{Disk, DiskFile, RealDisk, RealFile};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tempfile::TempDir;

#[derive(Clone)]
struct FailingDisk {
    disk: RealDisk,
    fails: Arc<AtomicBool>,
}

struct FailingFile {
    file: RealFile,
    fails: Arc<AtomicBool>,
}

impl Disk for FailingDisk {
    type File = FailingFile;

    async fn open(&self, name: &str, create: bool) -> io::Result<FailingFile> {
        let file = self.disk.open(name, create).await?;
        Ok(FailingFile {
            file,
            fails: self.fails.clone(),
        })
    }

    async fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list().await
    }

    async fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to).await
    }

    async fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name).await
    }

    async fn sync_dir(&self) -> io::Result<()> {
        self.disk.sync_dir().await
    }
}

impl DiskFile for FailingFile {
    async fn len(&self) -> io::Result<u64> {
        self.file.len().await
    }

    async fn read_at(&self, offset: u64, len: usize) -> io::Result<Bytes> {
        self.file.read_at(offset, len).await
    }

    async fn write_at(&self, offset: u64, data: Bytes) -> io::Result<()> {
        self.file.write_at(offset, data).await
    }

    async fn sync_data(&self) -> io::Result<()> {
        if self.fails.load(Ordering::SeqCst) {
            return Err(io::Error::other("the medium is gone"));
        }
        self.file.sync_data().await
    }

    async fn truncate(&self, len: u64) -> io::Result<()> {
        self.file.truncate(len).await
    }

    async fn allocate(&self, len: u64) -> io::Result<()> {
        self.file.allocate(len).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_sync_acknowledges_nothing_and_stops_the_engine() {
    let folder = TempDir::new().unwrap();
    let fails = Arc::new(AtomicBool::new(false));
    let disk = RealDisk::open(folder.path().join("log")).unwrap();
    let disk = FailingDisk {
        disk,
        fails: fails.clone(),
    };
    let transport = Arc::new(Loopback {
        from: 1,
        net: Arc::new(Net::default()),
    });
    let options = RaftOptions::new(MemberId(1));
    let member = Member::start_on(disk, &options, &folder, transport).await;
    member.node.run();
    let founder = ApiMember {
        id: MemberId(1),
        ..ApiMember::default()
    };
    member.node.initialize(&[founder]).await.unwrap();
    wait_for("it to lead", || member.node.status().is_leader).await;
    member.put(0..10);
    wait_for("ten puts", || member.published().revision == 11).await;

    fails.store(true, Ordering::SeqCst);
    member.put(10..20);
    let mut fatal = member.node.fatal();
    let reason = fatal
        .wait_for(Option::is_some)
        .await
        .unwrap()
        .clone()
        .unwrap();
    assert!(reason.contains("the medium is gone"), "{reason}");
    let applied = |event: &Event| match event {
        Event::Applied { entries, .. } => entries
            .iter()
            .any(|entry| entry.origin.is_some_and(|(_, seq)| seq.0 >= 10)),
        _ => false,
    };
    assert_eq!(member.count(applied), 0);
    assert_eq!(member.published().revision, 11);
}
