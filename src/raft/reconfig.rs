//! Changes of the membership, as the leader makes them.
//!
//! A change is judged by core on what the leader knows, and proposed only while the membership is
//! the one that was judged; raft takes one change at a time. Whoever is added joins as a learner
//! inside; the [`run_automatic_changes`] makes it a voter once it has caught up, and ends what a leader that
//! fell left half done. On one member only one of them is at work at a time.

use crate::node::RaftNode;
use crate::types::{LogId, Membership, Peer, StoredMembership, Types};
use crate::{machine, meta, observe};
use detcd_core::api::{Member, MemberId};
use detcd_core::error::Error;
use detcd_core::limits::VOTER_LAG_MAX;
use detcd_core::membership::{ClusterState, MembershipChange};
use detcd_core::query;
use detcd_core::view::Fault;
use detcd_rt::Instant;
use detcd_storage::store::Store;
use openraft::async_runtime::WatchReceiver;
use openraft::errors::{ChangeMembershipError, ClientWriteError, ForwardReason, RaftError};
use openraft::raft::Precondition;
use openraft::{ChangeMembers, RaftMetrics, ServerState};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use thiserror::Error;

/// The pause before a change that met another one under way is tried again.
const BUSY_PAUSE: Duration = Duration::from_millis(10);

type Changes = ChangeMembers<u64, Peer>;

/// Why a change of the membership was not made, or is not known to be made.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ChangeError {
    /// Nothing was proposed: the cluster will not have it.
    #[error("{0}")]
    Refused(Error),
    /// Nothing was proposed: another member leads, or none.
    #[error("this member does not lead")]
    NotLeader,
    /// Nothing was proposed: other changes were under way all the time.
    #[error("another change of the membership is under way")]
    Busy,
    /// The change may come to pass, or not.
    #[error("the outcome is unknown")]
    Unknown,
    #[error("{0}")]
    Fault(Fault),
}

impl From<Fault> for ChangeError {
    fn from(fault: Fault) -> ChangeError {
        ChangeError::Fault(fault)
    }
}

impl<S: Store> RaftNode<S> {
    /// Makes a change and gives the members after it, as clients see them. A change that meets
    /// another one waits for it, as long as `patience` lasts; one that is not known to be made by
    /// then is `Unknown`.
    pub async fn change_members(
        &self,
        change: &MembershipChange,
        strict: bool,
        patience: Duration,
    ) -> Result<Vec<Member>, ChangeError> {
        let deadline = Instant::now() + patience;
        loop {
            match self.try_change(change, strict, deadline).await {
                Err(ChangeError::Busy) if Instant::now() < deadline => {
                    detcd_rt::sleep(BUSY_PAUSE).await;
                }
                Err(error) => return Err(error),
                Ok(()) => return Ok(query::members(&*self.published().load_full().view)?),
            }
        }
    }

    /// Whether this voter could lead at once instead of this member, which leads now: it is there,
    /// and has nearly all of the log.
    pub fn is_ready_to_lead(&self, id: MemberId) -> bool {
        let metrics = self.metrics();
        let last = metrics.last_log_index.unwrap_or(0);
        let has = matched(&metrics).get(&id).copied();
        self.active(&metrics).contains(&id) && has.is_some_and(|has| has + VOTER_LAG_MAX >= last)
    }

    /// Who votes, by the membership that this member goes by.
    pub fn voters(&self) -> Vec<MemberId> {
        let metrics = self.metrics();
        let voters = metrics.membership_config.membership().voter_ids();
        voters.map(MemberId).collect()
    }

    /// The voters that could lead instead of this member, which leads now; the best prepared first.
    pub fn successors(&self) -> Vec<MemberId> {
        let metrics = self.metrics();
        let active = self.active(&metrics);
        let matched = matched(&metrics);
        let voters = metrics.membership_config.membership().voter_ids();
        let others = voters
            .map(MemberId)
            .filter(|id| *id != self.id() && active.contains(id));
        let mut successors: Vec<MemberId> = others.collect();
        successors.sort_unstable_by_key(|id| Reverse((matched.get(id).copied(), *id)));
        successors
    }

    async fn try_change(
        &self,
        change: &MembershipChange,
        strict: bool,
        deadline: Instant,
    ) -> Result<(), ChangeError> {
        let metrics = self.metrics();
        if metrics.state != ServerState::Leader {
            return Err(ChangeError::NotLeader);
        }
        if strict && self.lacks_quorum(&metrics) {
            // Nothing can be made now. What the rules refuse is refused at once, as etcd does it.
            let (cluster, _) = self.cluster_state(&metrics, strict)?;
            if cluster.check(change) == Err(Error::Unhealthy) {
                return Err(ChangeError::Refused(Error::Unhealthy));
            }
        }
        // A leader that was deposed would judge by what no longer holds.
        let index = self.read_index().await;
        let index = index.map_err(|_| ChangeError::NotLeader)?;
        if self.published().load().applied < index {
            return Err(ChangeError::Busy);
        }
        let metrics = self.metrics();
        if metrics.state != ServerState::Leader {
            return Err(ChangeError::NotLeader);
        }
        let (cluster, judged) = self.cluster_state(&metrics, strict)?;
        let membership = judged.membership();
        if !is_voter(membership, self.id().0) {
            // It has removed itself, and leads only until the others know.
            return Err(ChangeError::NotLeader);
        }
        if membership.get_joint_config().len() != 1 {
            return Err(ChangeError::Busy);
        }
        cluster.check(change).map_err(ChangeError::Refused)?;
        let changes = changes(change, membership);
        let Ok(_alone) = self.changing.try_lock() else {
            return Err(ChangeError::Busy);
        };
        self.propose_change(changes, *judged.log_id(), deadline)
            .await
    }

    /// What a change is judged by, and the membership that it is judged for, which is the one that
    /// was applied last.
    fn cluster_state(
        &self,
        metrics: &RaftMetrics<Types>,
        strict: bool,
    ) -> Result<(ClusterState, StoredMembership), Fault> {
        let published = self.published().load_full();
        let rows = meta::RaftRows::load(&*published.view)?;
        let voters = rows.membership.membership().voter_ids();
        let cluster = ClusterState {
            leader: self.id(),
            members: query::members(&*published.view)?,
            voters: voters.map(MemberId).collect(),
            removed: query::removed(&*published.view)?,
            active: self.active(metrics),
            matched: matched(metrics),
            last_log_index: metrics.last_log_index.unwrap_or(0),
            strict,
        };
        Ok((cluster, rows.membership))
    }

    /// Whether this leader had a quorum, and has none any more.
    fn lacks_quorum(&self, metrics: &RaftMetrics<Types>) -> bool {
        let acked = observe::last_quorum_acked(metrics);
        let patience = self.election.as_millis() as u64;
        acked.is_some_and(|acked| acked.0 + patience < detcd_rt::now_ms())
    }

    /// Proposes, if the membership is still the one at `judged`. A leader without a quorum would
    /// wait for ever.
    pub(crate) async fn propose_change(
        &self,
        changes: Changes,
        judged: Option<LogId>,
        deadline: Instant,
    ) -> Result<(), ChangeError> {
        let condition = Precondition::LastMembershipLogId {
            last_membership_log_id: judged,
        };
        let made = self.raft.change_membership_if(changes, false, [condition]);
        let patience = deadline - Instant::now();
        let error = match detcd_rt::timeout(patience, self.running.call(made)).await {
            Ok(Ok(Ok(_))) => return Ok(()),
            Ok(Ok(Err(RaftError::APIError(error)))) => error,
            Err(_) | Ok(Err(_)) | Ok(Ok(Err(RaftError::Fatal(_)))) => {
                return Err(ChangeError::Unknown);
            }
        };
        // A change of two steps that fails in the second one has left the first in the log.
        let untouched = *self.metrics().membership_config.log_id() == judged;
        Err(match error {
            _ if !untouched && !is_precondition(&error) => ChangeError::Unknown,
            ClientWriteError::ForwardToLeader(forward)
                if forward.reason == ForwardReason::LeaseExpired =>
            {
                ChangeError::Busy
            }
            ClientWriteError::ForwardToLeader(_) => ChangeError::NotLeader,
            ClientWriteError::LogEntryDiscarded(_) => ChangeError::Unknown,
            ClientWriteError::PreconditionFailed(_) => ChangeError::Busy,
            ClientWriteError::ChangeMembershipError(ChangeMembershipError::EmptyMembership(_)) => {
                ChangeError::Refused(Error::MemberNotEnoughStarted)
            }
            ClientWriteError::ChangeMembershipError(_) => ChangeError::Busy,
        })
    }

    pub(crate) fn metrics(&self) -> RaftMetrics<Types> {
        self.raft.metrics().borrow_watched().clone()
    }

    /// Who answered this leader within the last election timeout.
    fn active(&self, metrics: &RaftMetrics<Types>) -> BTreeSet<MemberId> {
        let heartbeats = metrics.heartbeat.iter().flatten();
        let lately = heartbeats.filter(|(_, acked)| {
            let acked = acked.as_ref().map(|acked| acked.into_inner());
            acked.is_some_and(|acked| acked.0.elapsed() < self.election)
        });
        lately.map(|(id, _)| MemberId(*id)).collect()
    }
}

/// A leader that is no voter must change nothing any more: the engine takes for granted that who
/// changes the membership leads, and who is no voter leads only in name.
fn is_voter(membership: &Membership, id: u64) -> bool {
    membership.voter_ids().any(|voter| voter == id)
}

/// A second step that meets a failed condition was not this change's own.
fn is_precondition(error: &ClientWriteError<Types>) -> bool {
    matches!(error, ClientWriteError::PreconditionFailed(_))
}

fn matched(metrics: &RaftMetrics<Types>) -> BTreeMap<MemberId, u64> {
    let replication = metrics.replication.iter().flatten();
    let known = replication.filter_map(|(id, matched)| Some((MemberId(*id), (*matched)?.index())));
    known.collect()
}

/// What a change means to raft.
fn changes(change: &MembershipChange, membership: &Membership) -> Changes {
    let node = |id: MemberId| membership.get_node(&id.0).cloned().unwrap_or_default();
    match change {
        MembershipChange::Add(member) => {
            let peer = Peer {
                name: member.name.clone(),
                peer_urls: member.peer_urls.clone(),
                learner: member.is_learner,
            };
            ChangeMembers::AddNodes(BTreeMap::from([(member.id.0, peer)]))
        }
        MembershipChange::Update { id, peer_urls } => {
            let peer = Peer {
                peer_urls: peer_urls.clone(),
                ..node(*id)
            };
            ChangeMembers::SetNodes(BTreeMap::from([(id.0, peer)]))
        }
        MembershipChange::Promote(id) => {
            let peer = Peer {
                learner: false,
                ..node(*id)
            };
            ChangeMembers::Batch(vec![
                ChangeMembers::SetNodes(BTreeMap::from([(id.0, peer)])),
                ChangeMembers::AddVoterIds(BTreeSet::from([id.0])),
            ])
        }
        MembershipChange::Remove(id) if is_voter(membership, id.0) => {
            ChangeMembers::RemoveVoters(BTreeSet::from([id.0]))
        }
        MembershipChange::Remove(id) => ChangeMembers::RemoveNodes(BTreeSet::from([id.0])),
    }
}

/// Looks after the membership while this member leads, once in a `pace`.
pub(crate) async fn run_automatic_changes<S: Store>(node: RaftNode<S>, pace: Duration) {
    loop {
        detcd_rt::sleep(pace).await;
        // A change that is between its steps is brought forward by whoever makes it.
        let Ok(_alone) = node.changing.try_lock() else {
            continue;
        };
        let metrics = node.raft.metrics();
        let work = {
            let metrics = metrics.borrow_watched();
            if metrics.running_state.is_err() {
                return;
            }
            let active = node.active(&metrics);
            work(&metrics, &active).map(|changes| (changes, *metrics.membership_config.log_id()))
        };
        if let Some((changes, judged)) = work {
            tracing::info!(?changes, "the membership is brought forward");
            // What fails is tried again, by whoever leads then.
            let deadline = Instant::now() + node.election;
            if let Err(error) = node.propose_change(changes, judged, deadline).await {
                tracing::info!(%error, "the membership could not be brought forward");
            }
        }
    }
}

/// What a leader has to do to the membership by itself.
fn work(metrics: &RaftMetrics<Types>, active: &BTreeSet<MemberId>) -> Option<Changes> {
    let stored = &metrics.membership_config;
    let is_settled = stored.log_id() == metrics.committed_membership_config.log_id();
    if metrics.state != ServerState::Leader || !is_settled {
        return None;
    }
    let membership = stored.membership();
    if !is_voter(membership, metrics.id) {
        return None;
    }
    if membership.get_joint_config().len() > 1 {
        return Some(ChangeMembers::AddVoterIds(BTreeSet::new()));
    }
    let last = metrics.last_log_index.unwrap_or(0);
    let matched = matched(metrics);
    let members = machine::members_of(membership);
    let mut waiting = members.iter().filter(|member| {
        let is_voter = is_voter(membership, member.id.0);
        let caught_up = matched
            .get(&member.id)
            .is_some_and(|has| has + VOTER_LAG_MAX >= last);
        !member.is_learner && !is_voter && caught_up && active.contains(&member.id)
    });
    let next = waiting.next()?;
    Some(ChangeMembers::AddVoterIds(BTreeSet::from([next.id.0])))
}
