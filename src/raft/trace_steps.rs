//! What happens in the engine, step by step, as trace events of the target [`TARGET`].
//!
//! A person reads them at log level `trace`; the simulator's checks live on them. Where nobody
//! listens they cost a load and a branch.

use crate::payload;
use crate::types::{Entry, LogId, Membership, StoredMembership, Vote, term_of};
use detcd_core::api::MemberId;
use detcd_storage::log::{LogEntry, Recovered};
use openraft::EntryPayload;
use openraft::entry::RaftEntry;
use std::collections::BTreeSet;
use tracing::{Level, enabled, trace};

/// The target of all events of this kind.
const TARGET: &str = "detcd::step";

/// What the log held when the process started: entries before `end`, and what it knew to be
/// committed.
pub(crate) fn recovered(recovered: &Recovered) {
    let last = recovered.state.last;
    let end = last.map_or(0, |last| last.index + 1);
    let committed = recovered.committed.map_or(0, |committed| committed.index);
    trace!(target: TARGET, end, committed, "recovered");
}

/// A vote is about to be saved. `hash` is of the bytes that the log is given.
pub(crate) fn vote(vote: &Vote, saved: &[u8]) {
    let leader = vote.leader_id();
    let (term, candidate, hash) = (leader.term, leader.voted_for, hash(saved));
    trace!(target: TARGET, term, candidate, hash, "vote");
}

/// A candidate is told that it has this member's vote.
pub(crate) fn granted(term: u64, candidate: u64) {
    trace!(target: TARGET, term, candidate, "granted");
}

/// A leader is told that this member has the leader's entries up to this one.
pub(crate) fn acked(last: &LogId) {
    trace!(target: TARGET, index = last.index(), term = term_of(last), "acked");
}

/// The configurations among these entries count from now on.
pub(crate) fn configured_by(entries: &[Entry]) {
    for entry in entries {
        if let EntryPayload::Membership(membership) = &entry.payload {
            configured(entry.index(), membership);
        }
    }
}

/// The voters of the configuration of this entry: one majority of each group must agree.
pub(crate) fn configured(index: u64, membership: &Membership) {
    if !enabled!(target: TARGET, Level::TRACE) {
        return;
    }
    let groups = membership.get_joint_config().iter();
    let groups: Vec<String> = groups
        .map(|voters| {
            let voters: Vec<String> = voters.iter().map(|id| format!("{id:x}")).collect();
            voters.join(",")
        })
        .collect();
    trace!(target: TARGET, index, voters = groups.join(" "), "configured");
}

/// Entries are in the log: readable, not yet durable.
pub(crate) fn appended(entries: &[LogEntry]) {
    if !enabled!(target: TARGET, Level::TRACE) {
        return;
    }
    for entry in entries {
        let hash = hash(&entry.payload);
        trace!(target: TARGET, index = entry.index, term = entry.term, hash, "appended");
    }
}

/// The log was cut off after this entry.
pub(crate) fn truncated(last: Option<u64>) {
    trace!(target: TARGET, index = last.unwrap_or(0), "truncated");
}

/// Entries up to this one were removed, because a snapshot covers them.
pub(crate) fn purged(through: u64) {
    trace!(target: TARGET, index = through, "purged");
}

/// Entries up to this one are known to be committed.
pub(crate) fn committed(committed: &LogId) {
    trace!(target: TARGET, index = committed.index(), term = term_of(committed), "committed");
}

/// Entries were applied, and the store shows it.
pub(crate) fn applied(entries: &[Entry], revision: i64) {
    if !enabled!(target: TARGET, Level::TRACE) {
        return;
    }
    for entry in entries {
        let (index, term) = (entry.index(), term_of(&entry.log_id));
        let hash = hash(&payload::encode(&entry.payload));
        trace!(target: TARGET, index, term, hash, "applied");
    }
    if let Some(last) = entries.last() {
        trace!(target: TARGET, index = last.index(), revision, "published");
    }
}

/// A snapshot replaced the whole state.
pub(crate) fn restored(index: u64, revision: i64) {
    trace!(target: TARGET, index, revision, "restored");
}

/// A membership was applied (or found in the state): its configs of voters, its learners inside,
/// and everybody who was ever removed.
pub(crate) fn membership(
    own: MemberId,
    membership: &StoredMembership,
    removed: &BTreeSet<MemberId>,
) {
    if !enabled!(target: TARGET, Level::TRACE) {
        return;
    }
    let index = membership.log_id().as_ref().map_or(0, |at| at.index());
    let term = membership.log_id().as_ref().map_or(0, term_of);
    let configs = membership.membership().get_joint_config().iter();
    let voters: Vec<String> = configs
        .map(|config| hexadecimals(config.iter().copied()))
        .collect();
    let voters = voters.join("|");
    let learners = hexadecimals(membership.membership().learner_ids());
    let removed = hexadecimals(removed.iter().map(|id| id.0));
    let own = own.to_string();
    trace!(target: TARGET, index, term, own, voters, learners, removed, "membership");
}

fn hexadecimals(ids: impl Iterator<Item = u64>) -> String {
    let ids: Vec<String> = ids.map(|id| format!("{id:x}")).collect();
    ids.join(",")
}

/// A snapshot was frozen.
pub(crate) fn snapshot_built(applied: Option<&LogId>) {
    let index = applied.map_or(0, |applied| applied.index());
    trace!(target: TARGET, index, "snapshot built");
}

/// The engine's role, whenever its term, role or leader changes.
pub(crate) fn role(term: u64, leader: Option<u64>, is_leader: bool, last_log_index: u64) {
    let leader = leader.unwrap_or(0);
    trace!(target: TARGET, term, leader, is_leader, index = last_log_index, "role");
}

/// The leader that this member hears from, whenever that changes.
pub(crate) fn leader_known(leader: Option<MemberId>) {
    let leader = leader.map_or(0, |leader| leader.0);
    trace!(target: TARGET, leader, "leader known");
}

/// FNV-1a: the same in every build, unlike the standard library's hasher.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
