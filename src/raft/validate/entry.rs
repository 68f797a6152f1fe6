//! Entries of a leader's log, and the memberships in them and in snapshots.

use super::Refusal;
use crate::machine::membership_of;
use crate::payload;
use crate::types::{Command, Entry, LogId, Membership, term_of};
use detcd_core::proposal;
use openraft::EntryPayload;

/// Whether an entry can be applied once it is committed.
pub(crate) fn check(entry: &Entry) -> Result<(), Refusal> {
    match &entry.payload {
        EntryPayload::Blank => Ok(()),
        EntryPayload::Normal(command) => check_command(&entry.log_id, command),
        EntryPayload::Membership(membership) => check_membership(membership),
    }
}

fn check_command(log_id: &LogId, command: &Command) -> Result<(), Refusal> {
    let proposal = payload::decode_proposal(command).map_err(proposal::Refusal::Unreadable);
    let checked = proposal.and_then(|proposal| proposal::command(&proposal.command).map(drop));
    checked.map_err(|problem| Refusal::Command {
        index: log_id.index(),
        term: term_of(log_id),
        problem,
    })
}

pub(crate) fn check_membership(membership: &Membership) -> Result<(), Refusal> {
    membership_of(membership)
        .check()
        .map_err(Refusal::Membership)
}
