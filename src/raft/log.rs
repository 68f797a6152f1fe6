//! The raft log under openraft's traits: detcd-storage's log, with entries and votes in this
//! room's encodings.

use crate::message;
use crate::payload;
use crate::trace_steps;
use crate::types::{Entry, LogId, Types, Vote, log_id, term_of};
use detcd_rt::buggify::{Place, defer, maybe_wait, takes_rare_path};
use detcd_storage::log::{Log, LogEntry, Position, Recovered};
use futures::stream::{self, Stream, StreamExt};
use openraft::OptionalSend;
use openraft::entry::RaftEntry;
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use std::fmt::Debug;
use std::future::Future;
use std::io;
use std::ops::{Bound, Range, RangeBounds};
use std::sync::{Arc, Mutex};

/// Payload bytes of one append-entries message.
const APPEND_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Payload bytes read at once for apply.
const APPLY_BYTES_MAX: usize = 1024 * 1024;

/// What must be durable before log entries may be thrown away.
pub(crate) trait Persist: Send + Sync + 'static {
    /// Makes the applied state durable at least up to `index`.
    fn persist_through(&self, index: u64) -> impl Future<Output = io::Result<()>> + Send;
}

pub(crate) struct LogAdapter<P> {
    id: u64,
    log: Log,
    votes: Arc<Mutex<Votes>>,
    persist: Arc<P>,
}

/// What the log files keep beside entries, as last saved.
struct Votes {
    vote: Option<Vote>,
    committed: Option<LogId>,
}

impl<P> Clone for LogAdapter<P> {
    fn clone(&self) -> Self {
        LogAdapter {
            id: self.id,
            log: self.log.clone(),
            votes: self.votes.clone(),
            persist: self.persist.clone(),
        }
    }
}

impl<P: Persist> LogAdapter<P> {
    /// `id`: the member whose log it is.
    pub(crate) fn new(
        id: u64,
        log: Log,
        recovered: &Recovered,
        persist: Arc<P>,
    ) -> io::Result<Self> {
        let vote = match &recovered.vote {
            Some(bytes) => Some(message::decode_vote(bytes.clone()).map_err(corrupt)?),
            None => None,
        };
        trace_steps::recovered(recovered);
        let committed = recovered.committed.map(from_position);
        let votes = Arc::new(Mutex::new(Votes { vote, committed }));
        Ok(LogAdapter {
            id,
            log,
            votes,
            persist,
        })
    }

    /// The index after the last entry.
    pub(crate) fn next_index(&self) -> u64 {
        self.log.state().last.map_or(0, |last| last.index + 1)
    }

    /// The last entry, or the last one that was purged.
    pub(crate) fn last(&self) -> Option<LogId> {
        self.log.state().last.map(from_position)
    }

    /// The term of an entry that the log holds.
    pub(crate) fn term_at(&self, index: u64) -> Option<u64> {
        self.log.term_at(index)
    }

    /// The vote that was saved last.
    pub(crate) fn vote(&self) -> Option<Vote> {
        self.votes().vote
    }

    async fn read(&self, range: Range<u64>, bytes_max: usize) -> io::Result<Vec<Entry>> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let entries = self
            .log
            .read_some(range, bytes_max)
            .await
            .map_err(io::Error::other)?;
        entries.into_iter().map(decode).collect()
    }

    /// Whether this member's own candidacy is the last that it voted for: as of a leader.
    fn voted_for_itself(&self) -> bool {
        let vote = self.votes().vote;
        vote.is_some_and(|vote| vote.leader_id.voted_for == self.id)
    }

    fn votes(&self) -> std::sync::MutexGuard<'_, Votes> {
        self.votes
            .lock()
            .expect("nothing panics while it holds the votes")
    }
}

impl<P: Persist> RaftLogReader<Types> for LogAdapter<P> {
    async fn try_get_log_entries<RB>(&mut self, range: RB) -> io::Result<Vec<Entry>>
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let range = self.bounded(&range);
        self.read(range, usize::MAX).await
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        let bytes_max = if takes_rare_path(Place::ReadSingly) {
            1
        } else {
            APPEND_BYTES_MAX
        };
        self.read(start..end, bytes_max).await
    }

    /// Entries for apply, a slice of the log at a time: a member that restarts far behind never
    /// holds all of it.
    async fn entries_stream<RB>(
        &mut self,
        range: RB,
    ) -> impl Stream<Item = io::Result<Entry>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let range = self.bounded(&range);
        stream::unfold((self.clone(), range), |(log, range)| async move {
            if range.is_empty() {
                return None;
            }
            let slice = match log.read(range.clone(), APPLY_BYTES_MAX).await {
                Ok(slice) if slice.is_empty() => Err(io::Error::other(format!(
                    "the raft log lacks entry {}, which is committed",
                    range.start
                ))),
                other => other,
            };
            Some(match slice {
                Ok(entries) => {
                    let next = range.start + entries.len() as u64;
                    let items: Vec<_> = entries.into_iter().map(Ok).collect();
                    (stream::iter(items), (log, next..range.end))
                }
                Err(error) => (stream::iter(vec![Err(error)]), (log, range.end..range.end)),
            })
        })
        .flatten()
        .boxed()
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.votes().vote)
    }
}

impl<P: Persist> LogAdapter<P> {
    fn bounded(&self, range: &impl RangeBounds<u64>) -> Range<u64> {
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(before) => before + 1,
            Bound::Unbounded => self.log.state().purged.map_or(0, |purged| purged.index + 1),
        };
        let end = match range.end_bound() {
            Bound::Included(last) => last + 1,
            Bound::Excluded(end) => *end,
            Bound::Unbounded => self.log.state().last.map_or(0, |last| last.index + 1),
        };
        start..end
    }
}

impl<P: Persist> RaftLogStorage<Types> for LogAdapter<P> {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        let state = self.log.state();
        Ok(LogState {
            last_purged_log_id: state.purged.map(from_position),
            last_log_id: state.last.map(from_position),
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let saved = message::encode_vote(vote);
        trace_steps::vote(vote, &saved);
        self.log.save_vote(saved).await.map_err(io::Error::other)?;
        self.votes().vote = Some(*vote);
        maybe_wait(Place::VoteSaved).await;
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        if let Some(committed) = &committed {
            trace_steps::committed(committed);
            self.log
                .save_committed(to_position(committed))
                .map_err(io::Error::other)?;
        }
        self.votes().committed = committed;
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self.votes().committed)
    }

    async fn append<I>(&mut self, entries: I, flushed: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        maybe_wait(Place::Append).await;
        trace_steps::configured_by(&entries);
        let entries: Vec<LogEntry> = entries.into_iter().map(encode).collect();
        if detcd_core::mutant!(LeaderCountsUnsynced) && self.voted_for_itself() {
            trace_steps::appended(&entries);
            self.log.append(entries, Box::new(|_| {}));
            flushed.io_completed(Ok(()));
            return Ok(());
        }
        let done = Box::new(move |result: Result<(), detcd_storage::log::LogError>| {
            // The engine takes completions in any order.
            defer(Place::Synced, move || {
                flushed.io_completed(result.map_err(io::Error::other));
            });
        });
        trace_steps::appended(&entries);
        self.log.append(entries, done);
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        if detcd_core::mutant!(ConflictAfterSnapshot) && last == self.votes().committed {
            return Ok(());
        }
        let last = last.map(|last| last.index());
        trace_steps::truncated(last);
        self.log
            .truncate_after(last)
            .await
            .map_err(io::Error::other)
    }

    async fn purge(&mut self, through: LogId) -> io::Result<()> {
        // The log is all that can rebuild what the store has not yet synced.
        self.persist.persist_through(through.index()).await?;
        maybe_wait(Place::Purge).await;
        trace_steps::purged(through.index());
        self.log
            .purge(to_position(&through))
            .await
            .map_err(io::Error::other)
    }
}

fn encode(entry: Entry) -> LogEntry {
    LogEntry {
        term: term_of(&entry.log_id),
        index: entry.index(),
        payload: payload::encode(&entry.payload),
    }
}

fn decode(entry: LogEntry) -> io::Result<Entry> {
    let LogEntry {
        term,
        index,
        payload,
    } = entry;
    payload::decode_entry(term, index, payload).map_err(|error| {
        io::Error::new(io::ErrorKind::InvalidData, unreadable(index, term, &error))
    })
}

/// Why a member stops at an entry of its own log: its data is whole, and must be kept.
pub(crate) fn unreadable(index: u64, term: u64, problem: &dyn std::fmt::Display) -> String {
    format!(
        "log entry {index} of term {term} cannot be applied: {problem}; the data-dir stays as it \
         is: keep it, and start this member with a build that can read the entry"
    )
}

fn corrupt(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

fn from_position(position: Position) -> LogId {
    log_id(position.term, position.index)
}

fn to_position(log_id: &LogId) -> Position {
    Position {
        term: term_of(log_id),
        index: log_id.index(),
    }
}
