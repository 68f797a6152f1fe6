//! The segment files: creating, preparing in advance, rolling over, recycling.

use super::LogError;
use super::format::{PAGE, Seal, SegmentHeader};
use crate::disk::{Disk, DiskFile};
use bytes::BytesMut;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

/// Where the first frame of a segment stands: after the header's page, which is never rewritten.
pub(super) const FRAMES_START: u64 = PAGE;
const PREFIX: &str = "log-";
const SPARE_PREFIX: &str = "spare-";
const SUFFIX: &str = ".seg";

/// A segment in place: its header is durable and the page after it was blank when it came.
pub(super) struct Segment<D: Disk> {
    pub(super) id: u64,
    pub(super) file: Arc<D::File>,
    pub(super) bytes: u64,
}

/// All segments of the log, oldest first. Frames go to the active one; there may be one more that
/// was prepared to follow it, so that rolling over does not wait.
pub(super) struct Segments<D: Disk> {
    pub(super) disk: D,
    pub(super) salt: u64,
    segment_bytes: u64,
    spares_max: usize,
    live: VecDeque<Segment<D>>,
    prepared: Option<Segment<D>>,
    /// Names of files that may be overwritten.
    spares: Vec<String>,
    /// Preparing failed for want of space; the next try is when it is needed.
    preparing_failed: bool,
}

impl<D: Disk> Segments<D> {
    pub(super) fn new(disk: D, salt: u64, segment_bytes: u64, spares_max: usize) -> Segments<D> {
        assert!(segment_bytes > 2 * PAGE && segment_bytes.is_multiple_of(PAGE));
        assert!(
            segment_bytes <= u32::MAX as u64,
            "offsets are kept in 32 bits"
        );
        Segments {
            disk,
            salt,
            segment_bytes,
            spares_max,
            live: VecDeque::new(),
            prepared: None,
            spares: Vec::new(),
            preparing_failed: false,
        }
    }

    /// Takes over what recovery found: segments in order, the last of which is active.
    pub(super) fn adopt(&mut self, live: VecDeque<Segment<D>>, prepared: Option<Segment<D>>) {
        self.live = live;
        self.prepared = prepared;
    }

    /// Recycles or removes what a crash left behind: segments below a gap, and old spares.
    pub(super) async fn clean(
        &mut self,
        leftover: Vec<u64>,
        spares: Vec<String>,
    ) -> Result<(), LogError> {
        for name in leftover.into_iter().map(segment_name).chain(spares) {
            let opened = match self.disk.open(&name, false).await {
                Ok(file) => file.len().await,
                Err(error) => Err(error),
            };
            let bytes = opened.map_err(|e| LogError::io(self.disk.display(&name), "open", &e))?;
            self.release(&name, bytes).await?;
        }
        Ok(())
    }

    pub(super) fn active(&self) -> &Segment<D> {
        self.live.back().expect("a log has an active segment")
    }

    pub(super) fn get(&self, id: u64) -> Option<&Segment<D>> {
        let oldest = self.live.front()?.id;
        self.live
            .get(usize::try_from(id.checked_sub(oldest)?).ok()?)
    }

    pub(super) fn active_seal(&self) -> Seal {
        self.seal(self.active().id)
    }

    pub(super) fn seal(&self, id: u64) -> Seal {
        Seal::new(self.salt, id)
    }

    pub(super) fn path(&self, id: u64) -> String {
        self.disk.display(&segment_name(id))
    }

    /// Makes the next segment the active one, with room for at least `bytes`.
    pub(super) async fn roll(&mut self, bytes: u64) -> Result<(), LogError> {
        let id = self.live.back().map_or(1, |last| last.id + 1);
        let mut segment = match self.prepared.take() {
            Some(prepared) => prepared,
            None => self.create(id, bytes.max(self.segment_bytes)).await?,
        };
        assert_eq!(segment.id, id, "segments are numbered without gaps");
        if segment.bytes < bytes {
            let grown = segment.file.allocate(bytes).await;
            grown.map_err(|error| LogError::io(self.path(id), "allocate", &error))?;
            segment.bytes = bytes;
        }
        self.live.push_back(segment);
        self.preparing_failed = false;
        Ok(())
    }

    /// Creates the segment after the active one in advance. A full disk is no error yet.
    pub(super) async fn prepare(&mut self) -> Result<(), LogError> {
        if self.prepared.is_some() || self.preparing_failed {
            return Ok(());
        }
        match self.create(self.active().id + 1, self.segment_bytes).await {
            Ok(segment) => self.prepared = Some(segment),
            Err(error) if error.is_full() => {
                tracing::warn!(%error, "no space for the next segment of the raft log");
                self.preparing_failed = true;
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// A segment comes into place by a rename, after its header is durable: one with a bad header
    /// was damaged later.
    async fn create(&mut self, id: u64, bytes: u64) -> Result<Segment<D>, LogError> {
        let (name, fresh) = match self.spares.pop() {
            Some(name) => (name, false),
            None => (spare_name(id), true),
        };
        match self.initialise(&name, id, bytes).await {
            Ok(segment) => Ok(segment),
            Err(error) => {
                if fresh {
                    // The space that it took is better used by what is left to write.
                    let _ = self.disk.remove(&name).await;
                } else {
                    self.spares.push(name);
                }
                Err(error)
            }
        }
    }

    async fn initialise(&self, name: &str, id: u64, bytes: u64) -> Result<Segment<D>, LogError> {
        let io = |operation| {
            let path = self.disk.display(name);
            move |error: io::Error| LogError::io(path, operation, &error)
        };
        let file = self.disk.open(name, true).await.map_err(io("create"))?;
        let present = file.len().await.map_err(io("stat"))?;
        if present < bytes {
            file.allocate(bytes).await.map_err(io("allocate"))?;
        }
        let mut head = BytesMut::zeroed((FRAMES_START + PAGE) as usize);
        let header = SegmentHeader {
            segment: id,
            salt: self.salt,
        }
        .encode();
        head[..header.len()].copy_from_slice(&header);
        file.write_at(0, head.freeze()).await.map_err(io("write"))?;
        file.sync_data().await.map_err(io("sync"))?;
        self.disk
            .rename(name, &segment_name(id))
            .await
            .map_err(io("rename"))?;
        self.disk
            .sync_dir()
            .await
            .map_err(io("sync of the folder"))?;
        Ok(Segment {
            id,
            file: Arc::new(file),
            bytes: present.max(bytes),
        })
    }

    /// Recycles or removes the segments before `id`; the active one stays.
    pub(super) async fn release_before(&mut self, id: u64) -> Result<(), LogError> {
        let mut released = false;
        while self.live.len() > 1 && self.live[0].id < id {
            let segment = self.live.pop_front().expect("two are there");
            self.release(&segment_name(segment.id), segment.bytes)
                .await?;
            released = true;
        }
        if released {
            let synced = self.disk.sync_dir().await;
            synced.map_err(|error| LogError::io(self.disk.display("."), "sync", &error))?;
        }
        Ok(())
    }

    /// Keeps the file as a spare if there is room for one, else removes it.
    pub(super) async fn release(&mut self, name: &str, bytes: u64) -> Result<(), LogError> {
        let io = |operation| {
            let path = self.disk.display(name);
            move |error: io::Error| LogError::io(path, operation, &error)
        };
        if self.spares.len() >= self.spares_max || bytes != self.segment_bytes {
            return self.disk.remove(name).await.map_err(io("remove"));
        }
        if let Some(number) = name.strip_prefix(PREFIX) {
            let spare = format!("{SPARE_PREFIX}{number}");
            self.disk.rename(name, &spare).await.map_err(io("rename"))?;
            self.spares.push(spare);
        } else {
            self.spares.push(name.to_string());
        }
        Ok(())
    }
}

pub(super) fn segment_name(id: u64) -> String {
    format!("{PREFIX}{id:016x}{SUFFIX}")
}

fn spare_name(id: u64) -> String {
    format!("{SPARE_PREFIX}{id:016x}{SUFFIX}")
}

/// The number of the segment that the file holds, if it is one.
pub(super) fn segment_id(name: &str) -> Option<u64> {
    u64::from_str_radix(name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?, 16).ok()
}

pub(super) fn is_spare(name: &str) -> bool {
    name.starts_with(SPARE_PREFIX) && name.ends_with(SUFFIX)
}
