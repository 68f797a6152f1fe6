//! Reading the log back when the member starts: what is kept, cut off, or refused.

use super::format::{Bad, FRAME_HEADER_BYTES, FrameHeader, PAGE, Record, Seal, SegmentHeader};
use super::format::{FRAME_ALIGN, RECORD_HEADER_BYTES};
use super::format::{VERSION, decode_body, frame_candidates};
use super::handle::Terms;
use super::index::{Index, Location};
use super::note::NoteFile;
use super::reader::{READ_BYTES, Reader};
use super::segments::{FRAMES_START, Segment, Segments, is_spare, segment_id};
use super::small_files::SmallFiles;
use super::vote::VoteFile;
use super::{LogEntry, LogError, LogOptions, LogState, Position, Recovered, Torn};
use crate::disk::{Disk, DiskFile};
use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;
use std::sync::Arc;

/// Everything that the writer and the handle start from.
pub(super) struct Recovery<D: Disk> {
    pub(super) found: Recovered,
    pub(super) segments: Segments<D>,
    pub(super) vote: VoteFile<D>,
    pub(super) note: NoteFile<D>,
    pub(super) index: Index,
    pub(super) terms: Terms,
    pub(super) recent: VecDeque<LogEntry>,
    pub(super) sequence: u64,
    pub(super) end: u64,
    pub(super) tail: Vec<u8>,
}

pub(super) async fn recover<D: Disk>(
    disk: D,
    options: &LogOptions,
) -> Result<Recovery<D>, LogError> {
    let names = disk
        .list()
        .await
        .map_err(|e| LogError::io(disk.display("."), "list", &e))?;
    let mut ids: Vec<u64> = names.iter().filter_map(|name| segment_id(name)).collect();
    ids.sort_unstable();
    let mut spares: Vec<String> = names
        .iter()
        .filter(|name| is_spare(name))
        .cloned()
        .collect();
    spares.sort_unstable();
    let files = SmallFiles::open(&disk, options, &names, !ids.is_empty()).await?;
    let mut walk = Walk {
        disk,
        noted: files.synced.frame,
        cache_bytes: options.cache_bytes,
        salt: files.salt,
        files: Vec::new(),
        // The segments before a later one went when a frame in it was durable.
        expected: None,
        index: Index::default(),
        terms: Terms::default(),
        recent: VecDeque::new(),
        recent_bytes: 0,
        purged: None,
        committed: None,
        torn: None,
    };
    let leftover = walk.open_segments(ids).await?;
    let tail = walk.frames().await?;
    walk.sync_end().await?;
    if let Some(purged) = walk.purged
        && walk.index.is_empty()
    {
        walk.index.restart(purged.index + 1);
    }
    walk.check()?;
    walk.into_recovery(options, files, tail, leftover, spares)
        .await
}

/// Where the frames end.
struct Tail {
    /// Which of the files holds the end.
    file: usize,
    offset: u64,
    /// What stands in the page of `offset` before it.
    bytes: Vec<u8>,
}

/// A frame that could not be read.
struct Stop {
    offset: u64,
    bad: Bad,
    /// Its header was whole: this many bytes belong to it.
    frame_bytes: Option<u64>,
}

/// Reads the frames of all segments in order.
struct Walk<D: Disk> {
    disk: D,
    /// The frame that was noted to be durable.
    noted: u64,
    cache_bytes: usize,
    /// The number of the log, once it is known.
    salt: Option<u64>,
    files: Vec<Reader<D>>,
    /// The number of the next frame, once one was seen.
    expected: Option<u64>,
    index: Index,
    terms: Terms,
    recent: VecDeque<LogEntry>,
    recent_bytes: usize,
    purged: Option<Position>,
    committed: Option<Position>,
    torn: Option<Torn>,
}

impl<D: Disk> Walk<D> {
    /// Opens the segments that make up the log; returns those left over from recycling, whose
    /// renames did not all survive a crash.
    async fn open_segments(&mut self, ids: Vec<u64>) -> Result<Vec<u64>, LogError> {
        let gap = (1..ids.len())
            .rev()
            .find(|at| ids[at - 1] + 1 != ids[*at])
            .unwrap_or(0);
        for id in &ids[gap..] {
            let mut reader = Reader::open(&self.disk, *id).await?;
            let head = reader.get(0, PAGE as usize).await;
            if detcd_core::mutant!(ReadErrorAsEof) && head.is_err() {
                break;
            }
            let head = head?;
            let header = match SegmentHeader::decode(&head) {
                Ok(header) => header,
                Err(Bad::Version(found)) => {
                    return Err(LogError::Version {
                        file: reader.path,
                        found,
                        ours: VERSION,
                    });
                }
                Err(bad) => return Err(LogError::corrupt(reader.path, 0, bad.to_string())),
            };
            if header.segment != *id || self.salt.is_some_and(|salt| salt != header.salt) {
                let what = format!("this is segment {} of another log or place", header.segment);
                return Err(LogError::corrupt(reader.path, 0, what));
            }
            self.salt = Some(header.salt);
            reader.seal = Seal::new(header.salt, *id);
            self.files.push(reader);
        }
        // The segments before a later one went when a frame in it was durable.
        if self.files.first().is_none_or(|first| first.id == 1) {
            self.expected = Some(1);
        }
        Ok(ids[..gap].to_vec())
    }

    /// Walks all frames and returns where they end.
    async fn frames(&mut self) -> Result<Option<Tail>, LogError> {
        let mut at = 0;
        while at < self.files.len() {
            let stop = self.frames_of(at).await?;
            let Some(next) = self.first_header(at + 1).await? else {
                return Ok(Some(self.end(at, stop).await?));
            };
            match next {
                // The next segment was prepared and holds nothing yet.
                Err(Bad::Blank) => return Ok(Some(self.end(at, stop).await?)),
                Ok(header) if self.expected == Some(header.sequence) => {}
                // The frames of this segment end cleanly: the torn one is the first of the next.
                Err(_) if stop.bad == Bad::Blank => {}
                Ok(_) | Err(_) => {
                    return Err(self.corrupt(at, &stop, "frames follow that are later"));
                }
            }
            at += 1;
        }
        Ok(None)
    }

    /// The header of the first frame of a segment, if there is such a segment.
    async fn first_header(
        &mut self,
        at: usize,
    ) -> Result<Option<Result<FrameHeader, Bad>>, LogError> {
        let Some(reader) = self.files.get_mut(at) else {
            return Ok(None);
        };
        let bytes = reader.get(FRAMES_START, FRAME_HEADER_BYTES).await?;
        Ok(Some(FrameHeader::decode(&bytes, reader.seal)))
    }

    /// Takes in the frames of one segment until one cannot be read.
    async fn frames_of(&mut self, at: usize) -> Result<Stop, LogError> {
        let mut offset = FRAMES_START;
        loop {
            let reader = &mut self.files[at];
            let head = reader.get(offset, FRAME_HEADER_BYTES).await?;
            let header = match FrameHeader::decode(&head, reader.seal) {
                Ok(header) => header,
                Err(bad) => {
                    return Ok(Stop {
                        offset,
                        bad,
                        frame_bytes: None,
                    });
                }
            };
            if self
                .expected
                .is_some_and(|expected| expected != header.sequence)
            {
                let bad = Bad::Broken("a frame is out of sequence");
                return Ok(Stop {
                    offset,
                    bad,
                    frame_bytes: None,
                });
            }
            let body_at = offset + FRAME_HEADER_BYTES as u64;
            let body = reader.get(body_at, header.body_bytes as usize).await?;
            let records = match decode_body(&header, &body, reader.seal) {
                Ok(records) => records,
                Err(bad) => {
                    return Ok(Stop {
                        offset,
                        bad,
                        frame_bytes: Some(header.frame_bytes()),
                    });
                }
            };
            self.take_frame(at, offset, &header, records)?;
            offset += header.frame_bytes();
        }
    }

    fn take_frame(
        &mut self,
        at: usize,
        frame_offset: u64,
        header: &FrameHeader,
        records: Vec<(u64, Record)>,
    ) -> Result<(), LogError> {
        self.expected = Some(header.sequence + 1);
        self.committed = header.committed.or(self.committed);
        if let Some(purged) = header.purged {
            self.purge(purged);
        }
        for (record_offset, record) in records {
            let offset = frame_offset + record_offset;
            match record {
                Record::Truncate { from } => self.truncate(from),
                Record::Entry { position, payload } => self.entry(at, offset, position, payload)?,
            }
        }
        Ok(())
    }

    fn entry(
        &mut self,
        at: usize,
        offset: u64,
        position: Position,
        payload: Bytes,
    ) -> Result<(), LogError> {
        // The frame's header is ahead of its records.
        if self
            .purged
            .is_some_and(|purged| position.index <= purged.index)
        {
            return Ok(());
        }
        let reader = &self.files[at];
        if !self.index.is_unset() && position.index != self.index.next() {
            let what = format!(
                "entry {} where {} is due",
                position.index,
                self.index.next()
            );
            return Err(LogError::corrupt(reader.path.clone(), offset, what));
        }
        let record_bytes = (RECORD_HEADER_BYTES + payload.len()) as u32;
        let location = Location {
            segment: reader.id,
            offset: offset as u32,
            record_bytes,
        };
        self.index.push(position.index, location);
        self.terms.push(position);
        self.recent_bytes += payload.len();
        self.recent.push_back(LogEntry {
            term: position.term,
            index: position.index,
            payload,
        });
        while self.recent_bytes > self.cache_bytes {
            self.pop_recent();
        }
        Ok(())
    }

    fn pop_recent(&mut self) {
        if let Some(entry) = self.recent.pop_front() {
            self.recent_bytes -= entry.payload.len();
        }
    }

    fn truncate(&mut self, from: u64) {
        // What was purged later in the same frame is not there to be truncated.
        let from = self
            .purged
            .map_or(from, |purged| from.max(purged.index + 1));
        self.index.truncate(from);
        self.terms.truncate(from);
        while self.recent.back().is_some_and(|entry| entry.index >= from) {
            let entry = self.recent.pop_back().expect("just seen");
            self.recent_bytes -= entry.payload.len();
        }
    }

    fn purge(&mut self, through: Position) {
        if self
            .purged
            .is_some_and(|purged| purged.index >= through.index)
        {
            return;
        }
        self.purged = Some(through);
        self.terms.purge(through.index, self.index.next());
        self.index.purge(through.index);
        if self.index.is_empty() {
            // A later purge may have taken the segments of the entries that followed.
            self.index.unset();
        }
        while self
            .recent
            .front()
            .is_some_and(|entry| entry.index <= through.index)
        {
            self.pop_recent();
        }
    }

    fn corrupt(&self, at: usize, stop: &Stop, why: &str) -> LogError {
        let what = format!("{}, but {why}", stop.bad);
        LogError::corrupt(self.files[at].path.clone(), stop.offset, what)
    }

    /// Decides whether what stands after the last good frame is the remains of a write that never
    /// ended, and if so cuts it off.
    async fn end(&mut self, at: usize, stop: Stop) -> Result<Tail, LogError> {
        let Some(next) = self.expected else {
            return Err(self.corrupt(at, &stop, "the log begins with this frame"));
        };
        let planted = [
            detcd_core::mutant!(BitrotLeader),
            detcd_core::mutant!(ReadErrorAsEof),
        ];
        let blind = planted.contains(&true);
        if self.noted >= next && !blind {
            let why = format!("frame {} was written and synced after it", self.noted);
            return Err(self.corrupt(at, &stop, &why));
        }
        let search = stop.bad != Bad::Blank || self.noted + 1 != next;
        if search
            && !blind
            && let Some(found) = self.later_frame(at, &stop, next).await?
        {
            return Err(self.corrupt(at, &stop, &found));
        }
        let page = stop.offset / PAGE * PAGE;
        let bytes = self.files[at]
            .get(page, (stop.offset - page) as usize)
            .await?;
        let tail = Tail {
            file: at,
            offset: stop.offset,
            bytes: bytes.to_vec(),
        };
        if stop.bad != Bad::Blank {
            if detcd_core::mutant!(TornTail) {
                return Err(self.corrupt(at, &stop, "the last record is torn"));
            }
            self.cut(&tail, &stop).await?;
        }
        Ok(tail)
    }

    /// Looks for a frame that was begun after the bad one, which must then have been synced.
    async fn later_frame(
        &mut self,
        at: usize,
        stop: &Stop,
        next: u64,
    ) -> Result<Option<String>, LogError> {
        let mut from = stop.offset
            + if stop.frame_bytes.is_some() {
                FRAME_ALIGN
            } else {
                0
            };
        for reader in &mut self.files[at..] {
            let mut offset = from;
            from = FRAMES_START;
            loop {
                // Overlapping by a header, so that none is missed between two reads.
                let chunk = reader.get(offset, READ_BYTES).await?;
                for candidate in frame_candidates(&chunk) {
                    let place = offset + candidate as u64;
                    let end = (candidate + FRAME_HEADER_BYTES).min(chunk.len());
                    let header = FrameHeader::decode(&chunk[candidate..end], reader.seal);
                    if header.is_ok_and(|header| header.sequence >= next) {
                        let path = &reader.path;
                        return Ok(Some(format!("a later frame stands in {path} at {place}")));
                    }
                }
                if chunk.len() < READ_BYTES {
                    break;
                }
                offset += (READ_BYTES - FRAME_HEADER_BYTES) as u64;
            }
        }
        Ok(None)
    }

    /// Blanks the header of the torn frame. Its records may stay: no later frame takes them in.
    async fn cut(&mut self, tail: &Tail, stop: &Stop) -> Result<(), LogError> {
        let reader = &mut self.files[tail.file];
        let dropped_bytes = match stop.frame_bytes {
            Some(bytes) => bytes,
            None => reader.extent(stop.offset).await?,
        };
        tracing::warn!(
            file = %reader.path,
            offset = stop.offset,
            dropped_bytes,
            reason = %stop.bad,
            "cut off a torn tail of the raft log: its last write was never completed"
        );
        let page = tail.offset / PAGE * PAGE;
        let end = (tail.offset + FRAME_HEADER_BYTES as u64).next_multiple_of(PAGE);
        let mut bytes = BytesMut::zeroed((end - page) as usize);
        bytes[..tail.bytes.len()].copy_from_slice(&tail.bytes);
        let path = reader.path.clone();
        let io = |operation| move |error| LogError::io(path, operation, &error);
        reader
            .file
            .write_at(page, bytes.freeze())
            .await
            .map_err(io.clone()("write"))?;
        reader.file.sync_data().await.map_err(io("sync"))?;
        self.torn = Some(Torn {
            file: reader.path.clone(),
            offset: stop.offset,
            dropped_bytes,
        });
        Ok(())
    }

    /// Makes the frames durable that were read. A process that was killed between the write of a
    /// frame and its sync leaves it to be read, but only the next power failure would tell that it
    /// is not there; until then this member would acknowledge it. The last frame is in the last file
    /// that has one or, if that one was filled up, before it.
    async fn sync_end(&self) -> Result<(), LogError> {
        if detcd_core::mutant!(UnsyncedStart) {
            return Ok(());
        }
        let last_two = self.files.len().saturating_sub(2);
        for reader in &self.files[last_two..] {
            let synced = reader.file.sync_data().await;
            synced.map_err(|error| LogError::io(reader.path.clone(), "sync", &error))?;
        }
        let synced = self.disk.sync_dir().await;
        synced.map_err(|error| LogError::io(self.disk.display("."), "sync", &error))
    }

    /// What must hold of a log that is whole.
    fn check(&self) -> Result<(), LogError> {
        let Some(oldest) = self.files.first() else {
            return Ok(());
        };
        let missing = |what: String| LogError::corrupt(oldest.path.clone(), FRAMES_START, what);
        match (self.purged, self.index.first()) {
            (None, _) if oldest.id != 1 => {
                return Err(missing(
                    "the segments before this one are missing".to_string(),
                ));
            }
            (Some(purged), Some(first)) if first != purged.index + 1 => {
                let what = format!("entries {} to {} are missing", purged.index + 1, first - 1);
                return Err(missing(what));
            }
            _ => {}
        }
        match self.committed {
            Some(committed) if committed.index >= self.index.next() => Err(missing(format!(
                "entry {} was committed, but the log ends before {}",
                committed.index,
                self.index.next()
            ))),
            _ => Ok(()),
        }
    }

    async fn into_recovery(
        self,
        options: &LogOptions,
        files: SmallFiles<D>,
        tail: Option<Tail>,
        leftover: Vec<u64>,
        spares: Vec<String>,
    ) -> Result<Recovery<D>, LogError> {
        let salt = self.salt.unwrap_or(options.salt);
        let sequence = self.expected.unwrap_or(1);
        let vote = files.voted.clone();
        let (note, vote_file) = files
            .settle(&self.disk, options, (salt, sequence - 1))
            .await?;
        let mut segments = Segments::new(
            self.disk,
            salt,
            options.segment_bytes,
            options.spare_segments,
        );
        let mut live = VecDeque::new();
        for reader in self.files {
            let bytes = reader.bytes;
            live.push_back(Segment {
                id: reader.id,
                file: Arc::new(reader.file),
                bytes,
            });
        }
        let prepared = match &tail {
            Some(tail) if tail.file + 1 < live.len() => live.pop_back(),
            _ => None,
        };
        segments.adopt(live, prepared);
        segments.clean(leftover, spares).await?;
        let (end, tail) = match tail {
            Some(tail) => (tail.offset, tail.bytes),
            None => {
                segments.roll(FRAMES_START + PAGE).await?;
                (FRAMES_START, Vec::new())
            }
        };
        let last = match self.index.is_empty() {
            true => self.purged,
            false => self.terms.last(self.index.next()),
        };
        let state = LogState {
            purged: self.purged,
            last,
        };
        let found = Recovered {
            state,
            vote,
            committed: self.committed,
            torn: self.torn,
            salt,
        };
        Ok(Recovery {
            found,
            segments,
            vote: vote_file,
            note,
            index: self.index,
            terms: self.terms,
            recent: self.recent,
            sequence,
            end,
            tail,
        })
    }
}
