//! The handle: what raft calls. It answers from memory and queues work for the writer.

use super::format::RECORD_HEADER_BYTES;
use super::recovery::Recovery;
use super::{LogEntry, LogError, LogState, Position};
use crate::disk::Disk;
use bytes::Bytes;
use futures::channel::oneshot;
use std::collections::VecDeque;
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

/// Called once, on the writer's task, when the entries are durable or never will be.
pub type Done = Box<dyn FnOnce(Result<(), LogError>) + Send>;

/// The raft log. Clones share one log.
pub struct Log {
    shared: Arc<Shared>,
}

/// Resolves when what was asked for is durable. The work is done whether or not it is awaited.
pub struct Receipt(oneshot::Receiver<Result<(), LogError>>);

impl Log {
    /// Appends entries that follow the last one without a gap. They are readable when this
    /// returns, and durable when `done` is called.
    pub fn append(&self, entries: Vec<LogEntry>, done: Done) {
        let refused = {
            let mut inner = self.shared.lock();
            match inner.stopped.clone() {
                Some(error) => Some((done, error)),
                None => {
                    for entry in &entries {
                        inner.push(entry.clone());
                    }
                    inner.evict();
                    inner.enqueue(Work::Append { entries, done });
                    None
                }
            }
        };
        if let Some((done, error)) = refused {
            done(Err(error));
        }
    }

    /// The entries of `range` that the log holds, in order: nothing is missing in the middle.
    pub async fn read(&self, range: Range<u64>) -> Result<Vec<LogEntry>, LogError> {
        self.read_some(range, usize::MAX).await
    }

    /// As [`Log::read`], but stops after `bytes_max` bytes of payload; at least one entry if there
    /// is any.
    pub async fn read_some(
        &self,
        range: Range<u64>,
        bytes_max: usize,
    ) -> Result<Vec<LogEntry>, LogError> {
        let (cached, stored) = self.shared.lock().read(range, bytes_max)?;
        let Some(Stored { end, entries }) = stored else {
            return Ok(cached);
        };
        let mut entries = entries.await.map_err(|_| LogError::Closed)??;
        if entries.last().is_none_or(|entry| entry.index + 1 < end) {
            return Ok(entries);
        }
        let bytes: usize = entries.iter().map(|entry| entry.payload.len()).sum();
        let mut left = bytes_max.saturating_sub(bytes);
        for entry in cached {
            if entry.payload.len() > left {
                break;
            }
            left -= entry.payload.len();
            entries.push(entry);
        }
        Ok(entries)
    }

    /// Removes the entries after `last`, all if `None`.
    pub fn truncate_after(&self, last: Option<u64>) -> Receipt {
        let from = last.map_or(0, |last| last + 1);
        self.shared.order(|inner, done| {
            inner.truncate(from);
            Work::Truncate { from, done }
        })
    }

    /// Removes the entries up to and including `through`, which may lie beyond the last (a
    /// snapshot was installed). Going back is ignored.
    pub fn purge(&self, through: Position) -> Receipt {
        self.shared.order(|inner, done| {
            inner.purge(through);
            Work::Purge { through, done }
        })
    }

    /// Saves the vote, in the caller's own encoding of at most [`Log::VOTE_BYTES_MAX`].
    pub fn save_vote(&self, vote: Bytes) -> Receipt {
        assert!(
            vote.len() <= Log::VOTE_BYTES_MAX,
            "a vote of {} bytes",
            vote.len()
        );
        self.shared.order(|_, done| Work::Vote { vote, done })
    }

    pub const VOTE_BYTES_MAX: usize = super::vote::VOTE_BYTES_MAX;

    /// Notes the committed position; it becomes durable with whatever is synced next. A position
    /// that the log does not hold yet is not noted.
    pub fn save_committed(&self, committed: Position) -> Result<(), LogError> {
        let mut inner = self.shared.lock();
        match &inner.stopped {
            Some(error) => Err(error.clone()),
            None => {
                inner.commit(committed);
                Ok(())
            }
        }
    }

    pub fn state(&self) -> LogState {
        let inner = self.shared.lock();
        LogState {
            purged: inner.purged,
            last: inner.last(),
        }
    }

    /// The term of the entry at `index`, if the log holds the entry or has purged just that one.
    pub fn term_at(&self, index: u64) -> Option<u64> {
        self.shared.lock().term_at(index)
    }

    /// Why the log stopped, if it did.
    pub fn stopped(&self) -> Option<LogError> {
        self.shared.lock().stopped.clone()
    }

    pub(super) fn new<D: Disk>(recovery: &Recovery<D>, cache_bytes: usize) -> Log {
        let state = recovery.found.state;
        let mut inner = Inner {
            purged: state.purged,
            next: state.last.map_or(0, |last| last.index + 1),
            terms: recovery.terms.clone(),
            committed: recovery.found.committed,
            durable: state.last.map_or(0, |last| last.index + 1),
            recent: VecDeque::new(),
            recent_bytes: 0,
            cache_bytes,
            queue: VecDeque::new(),
            stopped: None,
            waker: None,
            handles: 1,
        };
        for entry in &recovery.recent {
            inner.recent_bytes += entry.payload.len();
            inner.recent.push_back(entry.clone());
        }
        inner.evict();
        Log {
            shared: Arc::new(Shared {
                inner: Mutex::new(inner),
            }),
        }
    }

    pub(super) fn shared(&self) -> Arc<Shared> {
        self.shared.clone()
    }
}

impl Clone for Log {
    fn clone(&self) -> Log {
        self.shared.lock().handles += 1;
        Log {
            shared: self.shared.clone(),
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let mut inner = self.shared.lock();
        inner.handles -= 1;
        if inner.handles == 0 {
            inner.wake();
        }
    }
}

impl Future for Receipt {
    type Output = Result<(), LogError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0)
            .poll(context)
            .map(|sent| sent.unwrap_or(Err(LogError::Closed)))
    }
}

pub(super) type DoneSender = oneshot::Sender<Result<(), LogError>>;
pub(super) type Entries = oneshot::Sender<Result<Vec<LogEntry>, LogError>>;

/// What the writer is asked to do, in order.
pub(super) enum Work {
    Append {
        entries: Vec<LogEntry>,
        done: Done,
    },
    Truncate {
        from: u64,
        done: DoneSender,
    },
    Purge {
        through: Position,
        done: DoneSender,
    },
    Vote {
        vote: Bytes,
        done: DoneSender,
    },
    Read {
        range: Range<u64>,
        bytes_max: usize,
        done: Entries,
    },
}

impl Work {
    /// Tells whoever asked. They may have dropped the receipt: then they do not want to know.
    pub(super) fn finish(self, result: Result<(), LogError>) {
        match self {
            Work::Append { done, .. } => done(result),
            Work::Truncate { done, .. } | Work::Purge { done, .. } | Work::Vote { done, .. } => {
                let _ = done.send(result);
            }
            Work::Read { done, .. } => {
                let _ = done.send(result.map(|()| Vec::new()));
            }
        }
    }

    pub(super) fn payload_bytes(&self) -> usize {
        match self {
            Work::Append { entries, .. } => entries.iter().map(|entry| entry.payload.len()).sum(),
            _ => 0,
        }
    }

    /// The length of its records in a frame.
    pub(super) fn body_bytes(&self) -> usize {
        match self {
            Work::Append { entries, .. } => {
                self.payload_bytes() + entries.len() * RECORD_HEADER_BYTES
            }
            Work::Truncate { .. } => RECORD_HEADER_BYTES,
            Work::Purge { .. } | Work::Vote { .. } | Work::Read { .. } => 0,
        }
    }
}

/// What handle and writer share. The lock is held for moments, never across input or output.
pub(super) struct Shared {
    inner: Mutex<Inner>,
}

/// The log as raft sees it, ahead of what the disk holds.
pub(super) struct Inner {
    purged: Option<Position>,
    terms: Terms,
    /// The index after the last entry, or after what was purged; 0 if there never was one.
    next: u64,
    pub(super) committed: Option<Position>,
    /// Entries below this index are durable as they stand here.
    durable: u64,
    /// The newest entries, up to and including `last`.
    recent: VecDeque<LogEntry>,
    recent_bytes: usize,
    cache_bytes: usize,
    pub(super) queue: VecDeque<Work>,
    stopped: Option<LogError>,
    waker: Option<Waker>,
    handles: usize,
}

/// The part of a read that must come from the files: entries before `end`.
struct Stored {
    end: u64,
    entries: oneshot::Receiver<Result<Vec<LogEntry>, LogError>>,
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no panic while the lock is held")
    }

    fn order(&self, work: impl FnOnce(&mut Inner, DoneSender) -> Work) -> Receipt {
        let (done, receipt) = oneshot::channel();
        let mut inner = self.lock();
        match inner.stopped.clone() {
            Some(error) => {
                let _ = done.send(Err(error));
            }
            None => {
                let work = work(&mut inner, done);
                inner.enqueue(work);
            }
        }
        Receipt(receipt)
    }

    /// Ready when there is work (`true`) or when there never will be again (`false`).
    pub(super) fn poll_work(&self, context: &mut Context<'_>) -> Poll<bool> {
        let mut inner = self.lock();
        if !inner.queue.is_empty() {
            Poll::Ready(true)
        } else if inner.handles == 0 {
            Poll::Ready(false)
        } else {
            inner.waker = Some(context.waker().clone());
            Poll::Pending
        }
    }

    /// Refuses everything from now on, what is queued included.
    pub(super) fn stop(&self, error: LogError) {
        let queue = {
            let mut inner = self.lock();
            inner.stopped.get_or_insert(error.clone());
            std::mem::take(&mut inner.queue)
        };
        for work in queue {
            work.finish(Err(error.clone()));
        }
    }
}

impl Inner {
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn enqueue(&mut self, work: Work) {
        self.queue.push_back(work);
        self.wake();
    }

    fn last(&self) -> Option<Position> {
        let index = self.next.checked_sub(1)?;
        Some(Position {
            term: self.term_at(index)?,
            index,
        })
    }

    fn term_at(&self, index: u64) -> Option<u64> {
        match self.purged {
            Some(purged) if index <= purged.index => (index == purged.index).then_some(purged.term),
            _ if index < self.next => self.terms.at(index),
            _ => None,
        }
    }

    fn push(&mut self, entry: LogEntry) {
        if let Some(last) = self.last() {
            assert_eq!(
                entry.index,
                last.index + 1,
                "an appended entry must follow the last"
            );
            assert!(
                entry.term >= last.term,
                "terms never go back: {entry:?} after {last:?}"
            );
        }
        self.next = entry.index + 1;
        self.terms.push(entry.position());
        self.recent_bytes += entry.payload.len();
        self.recent.push_back(entry);
    }

    /// Forgets the oldest entries that can be read back from the files.
    fn evict(&mut self) {
        while self.recent_bytes > self.cache_bytes
            && self
                .recent
                .front()
                .is_some_and(|entry| entry.index < self.durable)
        {
            self.pop_front();
        }
    }

    fn pop_front(&mut self) {
        let entry = self.recent.pop_front().expect("the caller saw an entry");
        self.recent_bytes -= entry.payload.len();
    }

    fn truncate(&mut self, from: u64) {
        let floor = self.purged.map_or(0, |purged| purged.index + 1);
        assert!(
            from >= floor,
            "truncation from {from} reaches into what was purged below {floor}"
        );
        self.durable = self.durable.min(from);
        while self.recent.back().is_some_and(|entry| entry.index >= from) {
            let entry = self.recent.pop_back().expect("just seen");
            self.recent_bytes -= entry.payload.len();
        }
        self.terms.truncate(from);
        self.next = match self.terms.is_empty() {
            true => floor,
            false => self.next.min(from),
        };
    }

    fn commit(&mut self, position: Position) {
        let purged = self
            .purged
            .is_some_and(|purged| position.index <= purged.index);
        let held = purged || self.term_at(position.index) == Some(position.term);
        if held
            && self
                .committed
                .is_none_or(|committed| committed.index < position.index)
        {
            self.committed = Some(position);
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
        self.terms.purge(through.index, self.next);
        while self
            .recent
            .front()
            .is_some_and(|entry| entry.index <= through.index)
        {
            self.pop_front();
        }
        if self.next <= through.index + 1 {
            self.next = through.index + 1;
            self.durable = self.next;
        }
    }

    fn read(
        &mut self,
        range: Range<u64>,
        bytes_max: usize,
    ) -> Result<(Vec<LogEntry>, Option<Stored>), LogError> {
        if let Some(error) = &self.stopped {
            return Err(error.clone());
        }
        let Some(first) = self.terms.first() else {
            return Ok((Vec::new(), None));
        };
        let range = range.start.max(first)..range.end.min(self.next);
        if range.is_empty() {
            return Ok((Vec::new(), None));
        }
        let cached_from = self.recent.front().map_or(self.next, |entry| entry.index);
        let cached = range.start.max(cached_from)..range.end;
        let mut entries = Vec::new();
        let mut bytes = 0;
        for index in cached {
            let entry = &self.recent[(index - cached_from) as usize];
            bytes += entry.payload.len();
            if bytes > bytes_max && !entries.is_empty() {
                break;
            }
            entries.push(entry.clone());
        }
        if range.start >= cached_from {
            return Ok((entries, None));
        }
        let end = range.end.min(cached_from);
        let (done, stored) = oneshot::channel();
        self.enqueue(Work::Read {
            range: range.start..end,
            bytes_max,
            done,
        });
        Ok((
            entries,
            Some(Stored {
                end,
                entries: stored,
            }),
        ))
    }

    /// The writer has synced everything that it took, the last entry of which was before `end`.
    pub(super) fn synced(&mut self, end: u64) {
        // What is queued may already have replaced entries that were just written.
        let replaced = self.queue.iter().filter_map(|work| match work {
            Work::Truncate { from, .. } => Some(*from),
            _ => None,
        });
        let end = replaced.fold(end, u64::min);
        self.durable = self.durable.max(end);
        assert!(
            self.durable <= self.next,
            "durable {} beyond {}",
            self.durable,
            self.next
        );
        self.evict();
    }
}

/// Which term each entry has: where each term begins. A log has few terms, so this is small.
#[derive(Clone, Debug, Default)]
pub(super) struct Terms {
    /// The first entry of each term, in order.
    begins: VecDeque<Position>,
}

impl Terms {
    pub(super) fn is_empty(&self) -> bool {
        self.begins.is_empty()
    }

    fn first(&self) -> Option<u64> {
        self.begins.front().map(|begin| begin.index)
    }

    /// The position of the entry before `next`, which is the index after the last entry.
    pub(super) fn last(&self, next: u64) -> Option<Position> {
        let index = next.checked_sub(1)?;
        Some(Position {
            term: self.at(index)?,
            index,
        })
    }

    /// The term at `index`, which must not lie beyond the last entry.
    fn at(&self, index: u64) -> Option<u64> {
        let after = self.begins.partition_point(|begin| begin.index <= index);
        Some(self.begins[after.checked_sub(1)?].term)
    }

    pub(super) fn push(&mut self, position: Position) {
        if self
            .begins
            .back()
            .is_none_or(|begin| begin.term != position.term)
        {
            self.begins.push_back(position);
        }
    }

    pub(super) fn truncate(&mut self, from: u64) {
        while self.begins.back().is_some_and(|begin| begin.index >= from) {
            self.begins.pop_back();
        }
    }

    /// Removes the entries up to `through`; `next` is the index after the last entry.
    pub(super) fn purge(&mut self, through: u64, next: u64) {
        if through + 1 >= next {
            self.begins.clear();
            return;
        }
        while self.begins.len() > 1 && self.begins[1].index <= through + 1 {
            self.begins.pop_front();
        }
        if let Some(begin) = self.begins.front_mut() {
            begin.index = begin.index.max(through + 1);
        }
    }
}
