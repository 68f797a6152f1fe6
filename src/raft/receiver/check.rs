//! What every message goes through before the engine sees it: it is decoded, and held against what
//! this member knows.

use super::Receiving;
use super::accepted::Accepted;
use super::memberships::SentMemberships;
use crate::types::{LogId, Vote, term_of};
use crate::validate::{self, Known, Refusal};
use detcd_core::api::MemberId;
use detcd_core::encoding::DecodeError;
use detcd_rt::Instant;
use detcd_storage::store::Store;
use openraft::async_runtime::WatchReceiver;
use std::sync::MutexGuard;
use tracing::warn;

impl<S: Store> Receiving<S> {
    /// The newest vote, whether it is saved already or not.
    pub(super) fn vote(&self) -> Option<Vote> {
        let engine = self.raft.metrics().borrow_watched().vote;
        let saved = self.log.vote();
        let is_saved = saved.is_some_and(|saved| validate::is_followable(&saved, &engine));
        saved.filter(|_| is_saved).or(Some(engine))
    }

    /// What was decoded; what cannot be is refused.
    pub(super) fn read<R>(&self, from: u64, decoded: Result<R, DecodeError>) -> Result<R, String> {
        decoded.map_err(|error| self.refuse(from, &error))
    }

    /// Lets a message pass if it agrees with what this member knows.
    pub(super) fn check(
        &self,
        from: u64,
        accepted: Option<Accepted>,
        check: impl FnOnce(&Known<'_>) -> Result<(), Refusal>,
    ) -> Result<(), String> {
        let vote = self.vote();
        let checked = {
            let metrics = self.raft.metrics();
            let metrics = metrics.borrow_watched();
            let published = self.published.load();
            let roster = &published.roster;
            let memberships = [
                &metrics.membership_config,
                &metrics.committed_membership_config,
            ];
            let is_member = |id: u64| {
                memberships
                    .iter()
                    .any(|known| known.membership().get_node(&id).is_some())
                    || roster.members.iter().any(|known| known.id.0 == id)
                    || roster.removed.contains(&MemberId(id))
            };
            let newest = *metrics.membership_config.log_id();
            let is_in_log = |at: &LogId| self.log.term_at(at.index()) == Some(term_of(at));
            let settled = [
                metrics.local_committed,
                *metrics.committed_membership_config.log_id(),
                self.sent_memberships().settled(newest, is_in_log),
            ];
            let accepted = accepted.filter(|accepted| vote == Some(accepted.vote));
            let known = Known {
                id: self.id,
                vote,
                accepted: accepted.map(|accepted| accepted.last),
                last: self.log.last(),
                committed: settled.into_iter().flatten().max_by_key(|at| at.index()),
                is_founded: metrics.membership_config.log_id().is_some(),
                is_member: &is_member,
                term_at: &|index| self.log.term_at(index),
            };
            check(&known)
        };
        checked.map_err(|refusal| self.refuse(from, &refusal))
    }

    pub(super) fn sent_memberships(&self) -> MutexGuard<'_, SentMemberships> {
        let sent = self.sent_memberships.lock();
        sent.expect("nothing panics while it holds it")
    }

    /// Says, once for many, why a message is refused.
    pub(super) fn refuse(&self, from: u64, reason: &dyn std::fmt::Display) -> String {
        let reason = format!("this message is refused: {reason}");
        if let Some(left_out) = self.lines.take("refused", Instant::now()) {
            warn!(
                from = format_args!("{from:x}"),
                reason, left_out, "refused a message of a peer"
            );
        }
        reason
    }
}
