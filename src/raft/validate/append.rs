//! Append-entries requests.

use super::{INDEX_MAX, Known, Refusal, check_position, entry};
use crate::types::{Entry, LogId, Types, term_of};
use openraft::entry::RaftEntry;
use openraft::raft::AppendEntriesRequest;
use std::cmp::Ordering;

/// `acknowledged`: the index after the last entry that the sender says this member has acknowledged.
pub(crate) fn check(
    from: u64,
    request: &AppendEntriesRequest<Types>,
    acknowledged: u64,
    known: &Known<'_>,
) -> Result<(), Refusal> {
    known.check_leader(from, &request.vote)?;
    let sender = request.vote.leader_id().term;
    check_position(request.prev_log_id.as_ref(), sender)?;
    check_position(request.leader_commit.as_ref(), sender)?;
    if acknowledged > INDEX_MAX {
        return Err(Refusal::Index(acknowledged));
    }
    check_entries(request.prev_log_id.as_ref(), &request.entries, sender)?;
    check_commit(request)?;
    if known.is_outdated(&request.vote) {
        return Ok(());
    }
    let last = request.entries.last().map(RaftEntry::log_id);
    let ends = [request.prev_log_id, request.leader_commit, last];
    let shows = ends.into_iter().max().flatten();
    known.check_stranger(from, &request.vote, shows.as_ref())?;
    check_against_settled(request, known)
}

/// Entries follow each other, and say what can be applied.
fn check_entries(prev: Option<&LogId>, entries: &[Entry], sender: u64) -> Result<(), Refusal> {
    let mut before = prev.map_or(0, term_of);
    for entry in entries {
        let log_id = entry.log_id();
        check_position(Some(&log_id), sender)?;
        let (index, term) = (log_id.index(), term_of(&log_id));
        if term < before {
            return Err(Refusal::TermsDecrease {
                index,
                term,
                before,
            });
        }
        before = term;
        entry::check(entry)?;
    }
    Ok(())
}

/// What the leader says to be committed stands in the log that the rest of its message shows.
fn check_commit(request: &AppendEntriesRequest<Types>) -> Result<(), Refusal> {
    let Some(commit) = &request.leader_commit else {
        return Ok(());
    };
    let (index, term) = (commit.index(), term_of(commit));
    let shown = request.entries.iter().map(RaftEntry::log_id);
    for shown in request.prev_log_id.into_iter().chain(shown) {
        let agrees = match index.cmp(&shown.index()) {
            Ordering::Less => term <= term_of(&shown),
            Ordering::Equal => term == term_of(&shown),
            Ordering::Greater => term >= term_of(&shown),
        };
        if !agrees {
            return Err(Refusal::Contradicts { index, term });
        }
    }
    Ok(())
}

fn check_against_settled(
    request: &AppendEntriesRequest<Types>,
    known: &Known<'_>,
) -> Result<(), Refusal> {
    let ends = [&request.prev_log_id, &request.leader_commit];
    for end in ends.into_iter().flatten() {
        known.check_history(end, &request.vote)?;
    }
    let settled = known.committed.iter().chain(&known.accepted);
    let settled = settled.map(|settled| settled.index()).max().unwrap_or(0);
    for entry in &request.entries {
        known.check_history(&entry.log_id(), &request.vote)?;
        // Terms do not decrease: the later ones agree as the first beyond does.
        if entry.index() > settled {
            break;
        }
    }
    Ok(())
}
