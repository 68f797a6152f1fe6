//! The one task that touches the files.

use super::disk_trace;
use super::format::{FRAME_HEADER_BYTES, FrameBuilder, PAGE, RECORD_HEADER_BYTES, Record};
use super::format::{decode_record, frame_bytes};
use super::handle::{Entries, Shared, Work};
use super::index::{Index, Location};
use super::note::{NoteFile, Synced};
use super::recovery::Recovery;
use super::segments::{FRAMES_START, Segments, segment_name};
use super::vote::VoteFile;
use super::{LogEntry, LogError, LogOptions, Position};
use crate::disk::{Disk, DiskFile, read_all};
use bytes::BytesMut;
use std::future::poll_fn;
use std::ops::Range;
use std::sync::Arc;

/// Bytes of one read when entries are read back.
const READ_BYTES: u64 = 1024 * 1024;

/// Writes the log. Drive [`LogWriter::run`] on a thread of its own (its input and output blocks
/// there) or, in simulation, as a task. Dropping it closes the log: nothing more is acknowledged.
pub struct LogWriter<D: Disk> {
    shared: Arc<Shared>,
    options: LogOptions,
    segments: Segments<D>,
    vote: VoteFile<D>,
    note: NoteFile<D>,
    /// A segment was begun since the note was synced.
    note_is_old: bool,
    index: Index,
    purged: Option<Position>,
    committed: Option<Position>,
    /// The number of the next frame.
    sequence: u64,
    /// The end of the frames in the active segment.
    end: u64,
    /// What stands in the page of `end` before `end`: it is written again with the next frame.
    tail: Vec<u8>,
    buffer: BytesMut,
    /// What the group commit under way is for.
    works: Vec<Work>,
}

impl<D: Disk> LogWriter<D> {
    pub(super) fn new(
        options: LogOptions,
        shared: Arc<Shared>,
        recovery: Recovery<D>,
    ) -> LogWriter<D> {
        LogWriter {
            shared,
            options,
            segments: recovery.segments,
            vote: recovery.vote,
            note: recovery.note,
            note_is_old: false,
            index: recovery.index,
            purged: recovery.found.state.purged,
            committed: recovery.found.committed,
            sequence: recovery.sequence,
            end: recovery.end,
            tail: recovery.tail,
            buffer: BytesMut::new(),
            works: Vec::new(),
        }
    }

    /// Works until every [`super::Log`] is dropped and all is written, or until something fails.
    pub async fn run(mut self) -> Result<(), LogError> {
        let result = self.serve().await;
        if let Err(error) = &result {
            tracing::error!(%error, "the raft log stopped");
            self.shared.stop(error.clone());
        }
        result
    }

    async fn serve(&mut self) -> Result<(), LogError> {
        while poll_fn(|context| self.shared.poll_work(context)).await {
            match self.take() {
                Turn::Read {
                    range,
                    bytes_max,
                    done,
                } => {
                    let read = self.read(range, bytes_max).await;
                    let failed = read.as_ref().err().cloned();
                    let _ = done.send(read); // the reader may have gone
                    failed.map_or(Ok(()), Err)?;
                }
                Turn::Commit { committed } => {
                    let committed = self.commit(committed).await;
                    let works = std::mem::take(&mut self.works);
                    if let Err(error) = committed {
                        // Refuse what comes later first: a completion may call again.
                        self.shared.stop(error.clone());
                        works
                            .into_iter()
                            .for_each(|work| work.finish(Err(error.clone())));
                        return Err(error);
                    }
                    self.shared.lock().synced(self.index.next());
                    let purged = works.iter().any(|work| matches!(work, Work::Purge { .. }));
                    works.into_iter().for_each(|work| work.finish(Ok(())));
                    self.maintain(purged).await?;
                }
            }
        }
        self.close().await
    }

    /// Takes what one group commit can take: all that is queued, up to a read or the size limit.
    fn take(&mut self) -> Turn {
        let mut inner = self.shared.lock();
        let works = &mut self.works;
        let mut bytes = 0;
        while bytes < self.options.frame_bytes {
            match inner.queue.pop_front() {
                Some(Work::Read {
                    range,
                    bytes_max,
                    done,
                }) if works.is_empty() => {
                    return Turn::Read {
                        range,
                        bytes_max,
                        done,
                    };
                }
                Some(read @ Work::Read { .. }) => {
                    inner.queue.push_front(read);
                    break;
                }
                Some(work) => {
                    bytes += work.payload_bytes();
                    works.push(work);
                }
                None => break,
            }
        }
        Turn::Commit {
            committed: inner.committed,
        }
    }

    /// Makes everything in `works` durable: the vote with a sync of its file, the rest with one
    /// sync of the active segment.
    async fn commit(&mut self, committed: Option<Position>) -> Result<(), LogError> {
        let last_vote = self.works.iter().rev().find_map(|work| match work {
            Work::Vote { vote, .. } => Some(vote.clone()),
            _ => None,
        });
        if let Some(vote) = last_vote {
            self.vote.save(&vote).await?;
        }
        if self
            .works
            .iter()
            .any(|work| !matches!(work, Work::Vote { .. }))
        {
            self.write_frame(committed).await?;
        }
        Ok(())
    }

    async fn write_frame(&mut self, committed: Option<Position>) -> Result<(), LogError> {
        let body = self.works.iter().map(Work::body_bytes).sum();
        self.make_room(frame_bytes(body)).await?;
        let start = self.end / PAGE * PAGE;
        let end = self.encode_frame(start, committed);
        let data = self.buffer.split().freeze();
        let segment = self.segments.active();
        let io = |operation, error| LogError::io(self.segments.path(segment.id), operation, &error);
        segment
            .file
            .write_at(start, data)
            .await
            .map_err(|error| io("write", error))?;
        self.tell_written(segment.id);
        if !detcd_core::mutant!(AckBeforeSave) {
            let mut synced = segment.file.sync_data().await;
            if detcd_core::mutant!(FsyncRetried) && synced.is_err() {
                synced = segment.file.sync_data().await;
            }
            synced.map_err(|error| io("sync", error))?;
        }
        self.end = end;
        self.sequence += 1;
        Ok(())
    }

    fn tell_written(&self, segment: u64) {
        let entries = self.works.iter().filter_map(|work| match work {
            Work::Append { entries, .. } => Some(entries),
            _ => None,
        });
        let positions = entries.flatten().map(LogEntry::position);
        // A truncation among the works may have the indexes begin anew.
        let span = positions.fold(None, |span: Option<(u64, Position)>, next| {
            let first = span.map_or(next.index, |(first, _)| first.min(next.index));
            Some((first, next))
        });
        if let Some((first, last)) = span {
            disk_trace::entries_written(first, last, || segment_name(segment));
        }
    }

    /// Rolls over to the next segment if a frame of this length and blank space for the header of
    /// one after it do not fit.
    async fn make_room(&mut self, frame_bytes: u64) -> Result<(), LogError> {
        let after =
            |end: u64| (end + frame_bytes + FRAME_HEADER_BYTES as u64).next_multiple_of(PAGE);
        if after(self.end) > self.segments.active().bytes {
            self.segments.roll(after(FRAMES_START)).await?;
            self.end = FRAMES_START;
            self.tail.clear();
            self.note_is_old = true;
        }
        Ok(())
    }

    /// Puts into the buffer the pages from `start` on, that of `end`, with a frame of `works`, and
    /// returns where the frame ends. Keeps its last page as the new tail.
    fn encode_frame(&mut self, start: u64, committed: Option<Position>) -> u64 {
        let (segment, seal) = (self.segments.active().id, self.segments.active_seal());
        self.buffer.clear();
        self.buffer.extend_from_slice(&self.tail);
        let mut builder = FrameBuilder::new(&mut self.buffer, seal);
        for work in &self.works {
            match work {
                Work::Append { entries, .. } => {
                    for entry in entries {
                        let at = builder.entry(entry.position(), &entry.payload);
                        let offset = u32::try_from(self.end + at).expect("segments below 4 GiB");
                        let record_bytes = (RECORD_HEADER_BYTES + entry.payload.len()) as u32;
                        self.index.push(
                            entry.index,
                            Location {
                                segment,
                                offset,
                                record_bytes,
                            },
                        );
                    }
                }
                Work::Truncate { from, .. } => {
                    builder.truncate(*from);
                    self.index.truncate(*from);
                }
                Work::Purge { through, .. } => {
                    if self
                        .purged
                        .is_none_or(|purged| purged.index < through.index)
                    {
                        self.purged = Some(*through);
                        self.index.purge(through.index);
                    }
                }
                Work::Vote { .. } | Work::Read { .. } => {}
            }
        }
        // Raft may know more committed than this log holds yet.
        self.committed = committed
            .filter(|it| it.index < self.index.next())
            .or(self.committed);
        let end = self.end + builder.finish(self.sequence, self.committed, self.purged);
        let last_page = (end / PAGE * PAGE - start) as usize;
        self.tail.clear();
        self.tail
            .extend_from_slice(&self.buffer[last_page..(end - start) as usize]);
        let blank_to = (end + FRAME_HEADER_BYTES as u64).next_multiple_of(PAGE);
        self.buffer.resize((blank_to - start) as usize, 0);
        end
    }

    /// What nobody waits for: noting what is durable, recycling, preparing the next segment.
    async fn maintain(&mut self, purged: bool) -> Result<(), LogError> {
        if detcd_core::mutant!(AckBeforeSave) {
            let segment = self.segments.active();
            let synced = segment.file.sync_data().await;
            synced.map_err(|error| LogError::io(self.segments.path(segment.id), "sync", &error))?;
        }
        self.note_synced().await?;
        if std::mem::take(&mut self.note_is_old) {
            self.note.sync().await?;
        }
        if purged {
            let oldest = self
                .index
                .oldest_segment()
                .unwrap_or(self.segments.active().id);
            self.segments.release_before(oldest).await?;
        }
        if self.end > self.segments.active().bytes / 2 {
            self.segments.prepare().await?;
        }
        Ok(())
    }

    async fn note_synced(&mut self) -> Result<(), LogError> {
        let synced = Synced {
            frame: self.sequence - 1,
            vote: self.vote.sequence(),
        };
        self.note.write(synced).await
    }

    /// Leaves nothing to guess for the next start.
    async fn close(&mut self) -> Result<(), LogError> {
        let committed = self.shared.lock().committed;
        if committed != self.committed {
            self.write_frame(committed).await?;
            self.note_synced().await?;
        }
        self.note.sync().await
    }

    async fn read(
        &mut self,
        range: Range<u64>,
        bytes_max: usize,
    ) -> Result<Vec<LogEntry>, LogError> {
        let mut entries: Vec<LogEntry> = Vec::new();
        let mut bytes = 0;
        let mut index = range.start;
        while index < range.end {
            let (run, first) = self.run_of(index..range.end);
            let path = self.segments.path(first.segment);
            let segment = self
                .segments
                .get(first.segment)
                .expect("it holds live entries");
            let seal = self.segments.seal(first.segment);
            let length = run.end as usize - first.offset as usize;
            let chunk = read_all(&*segment.file, first.offset as u64, length).await;
            let chunk = chunk.map_err(|error| LogError::io(path.clone(), "read", &error))?;
            for next in index..run.entries {
                let location = self
                    .index
                    .get(next)
                    .expect("the run was found in the index");
                let at = ((location.offset - first.offset) as usize).min(chunk.len());
                let corrupt = |what| LogError::corrupt(path.clone(), location.offset.into(), what);
                let record = decode_record(chunk.slice(at..), seal);
                let (position, payload) = match record {
                    Ok((Record::Entry { position, payload }, _)) if position.index == next => {
                        (position, payload)
                    }
                    Ok(_) => return Err(corrupt(format!("another record where entry {next} was"))),
                    Err(bad) => return Err(corrupt(format!("entry {next}: {bad}"))),
                };
                bytes += payload.len();
                if bytes > bytes_max && !entries.is_empty() {
                    return Ok(entries);
                }
                entries.push(LogEntry {
                    term: position.term,
                    index: next,
                    payload,
                });
            }
            index = run.entries;
        }
        Ok(entries)
    }

    /// How far one read gets from the first entry of `range`: within a segment and [`READ_BYTES`],
    /// one entry at least.
    fn run_of(&self, range: Range<u64>) -> (Run, Location) {
        let first = self
            .index
            .get(range.start)
            .expect("the handle asks for what the log holds");
        let mut run = Run {
            entries: range.start + 1,
            end: first.end(),
        };
        for index in range.start + 1..range.end {
            let location = self
                .index
                .get(index)
                .expect("the handle asks for what the log holds");
            if location.segment != first.segment
                || location.end() - u64::from(first.offset) > READ_BYTES
            {
                break;
            }
            run = Run {
                entries: index + 1,
                end: location.end(),
            };
        }
        (run, first)
    }
}

impl<D: Disk> Drop for LogWriter<D> {
    fn drop(&mut self) {
        self.shared.stop(LogError::Closed);
    }
}

/// What the writer does next.
enum Turn {
    Commit {
        committed: Option<Position>,
    },
    Read {
        range: Range<u64>,
        bytes_max: usize,
        done: Entries,
    },
}

/// Entries up to `entries` (excluded), whose records end at `end`.
struct Run {
    entries: u64,
    end: u64,
}
