//! Changes of the membership on the member that leads: does what
//! [`detcd_core::membership::MembershipLeader`] decides.

use crate::node::RaftNode;
use crate::types::{LogId, Membership, Peer, Types, log_id, term_of};
use crate::{machine, meta, observe};
use detcd_core::api::{Member, MemberId, Millis};
use detcd_core::membership::{
    ChangeError, ClusterState, EntryId, LeaderEffect, LeaderEvent, LeaderView, MembershipChange,
    MembershipLeader, ProposalOutcome, Reconfiguration, Replication,
};
use detcd_core::query;
use detcd_core::view::Fault;
use detcd_storage::store::Store;
use futures::future::{AbortHandle, abortable};
use openraft::async_runtime::WatchReceiver;
use openraft::errors::{ChangeMembershipError, ClientWriteError, ForwardReason, RaftError};
use openraft::raft::Precondition;
use openraft::{ChangeMembers, RaftMetrics, ServerState};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

type Changes = ChangeMembers<u64, Peer>;

type Reply = oneshot::Sender<Result<Vec<Member>, ChangeError>>;

/// A change that somebody asks this member for.
pub(crate) struct Request {
    change: MembershipChange,
    strict: bool,
    deadline: Millis,
    reply: Reply,
}

pub(crate) type Requests = mpsc::UnboundedSender<Request>;

impl<S: Store> RaftNode<S> {
    /// Makes a change and gives the members after it, as clients see them. A change that meets
    /// another one waits for it, as long as `timeout` lasts; one that is not known to be made by
    /// then is `Unknown`.
    pub async fn change_members(
        &self,
        change: &MembershipChange,
        strict: bool,
        timeout: Duration,
    ) -> Result<Vec<Member>, ChangeError> {
        let (reply, made) = oneshot::channel();
        let request = Request {
            change: change.clone(),
            strict,
            deadline: Millis(detcd_rt::now_ms() + timeout.as_millis() as u64),
            reply,
        };
        // Without the task that serves them, the engine has ended, and nothing is proposed.
        let _ = self.requests.send(request);
        made.await.unwrap_or(Err(ChangeError::NotLeader))
    }

    /// How far the others have come, as far as this member knows, which leads now.
    pub fn replication(&self) -> Replication {
        self.replication_of(&self.metrics())
    }

    /// Who votes, by the membership that this member goes by.
    pub fn voters(&self) -> Vec<MemberId> {
        let metrics = self.metrics();
        let voters = metrics.membership_config.membership().voter_ids();
        voters.map(MemberId).collect()
    }

    /// Proposes, if the newest membership in the log is still the one at `judged`.
    pub(crate) async fn reconfigure(
        &self,
        reconfiguration: &Reconfiguration,
        judged: Option<LogId>,
    ) -> ProposalOutcome {
        let metrics = self.metrics();
        let changes = changes(reconfiguration, metrics.membership_config.membership());
        let condition = Precondition::LastMembershipLogId {
            last_membership_log_id: judged,
        };
        let made = self.raft.change_membership_if(changes, false, [condition]);
        match self.running.call(made).await {
            Ok(Ok(_)) => ProposalOutcome::Made,
            Ok(Err(RaftError::APIError(error))) => outcome(&error),
            Ok(Err(RaftError::Fatal(_))) | Err(_) => ProposalOutcome::Unknown,
        }
    }

    fn is_leader(&self) -> bool {
        self.raft.metrics().borrow_watched().state == ServerState::Leader
    }

    pub(crate) fn metrics(&self) -> RaftMetrics<Types> {
        self.raft.metrics().borrow_watched().clone()
    }

    /// What changes are judged by.
    fn leader_view(&self) -> Result<LeaderView, Fault> {
        let metrics = self.metrics();
        let published = self.published().load_full();
        let rows = meta::RaftRows::load(&*published.view)?;
        let membership = machine::membership_of(rows.membership.membership());
        let cluster = ClusterState {
            own_id: self.id(),
            members: query::members(&*published.view)?,
            voters: membership.voters.iter().flatten().copied().collect(),
            removed: query::removed(&*published.view)?,
            replication: self.replication_of(&metrics),
            strict: true,
        };
        Ok(LeaderView {
            is_leader: metrics.state == ServerState::Leader,
            lacks_quorum: self.lacks_quorum(&metrics),
            applied: published.applied,
            cluster,
            is_joint: membership.voters.len() > 1,
            membership: rows.membership.log_id().as_ref().map(entry_id),
            newest: metrics.membership_config.log_id().as_ref().map(entry_id),
        })
    }

    fn replication_of(&self, metrics: &RaftMetrics<Types>) -> Replication {
        let heartbeats = metrics.heartbeat.iter().flatten();
        let lately = heartbeats.filter(|(_, acked)| {
            let acked = acked.as_ref().map(|acked| acked.into_inner());
            acked.is_some_and(|acked| acked.0.elapsed() < self.election)
        });
        let matched = metrics.replication.iter().flatten();
        let matched = matched.filter_map(|(id, at)| Some((MemberId(*id), (*at)?.index())));
        Replication {
            active: lately.map(|(id, _)| MemberId(*id)).collect(),
            matched: matched.collect(),
            last_log_index: metrics.last_log_index.unwrap_or(0),
        }
    }

    /// Whether this leader had a quorum, and has none any more.
    fn lacks_quorum(&self, metrics: &RaftMetrics<Types>) -> bool {
        let acked = observe::last_quorum_acked(metrics);
        let timeout = self.election.as_millis() as u64;
        acked.is_some_and(|acked| acked.0 + timeout < detcd_rt::now_ms())
    }
}

/// Makes the changes that are asked for, and those that a leader makes by itself.
pub(crate) async fn run<S: Store>(
    node: RaftNode<S>,
    mut requests: mpsc::UnboundedReceiver<Request>,
    pace: Duration,
) {
    let millis = |duration: Duration| Millis(duration.as_millis() as u64);
    let leader = MembershipLeader::new(node.id(), millis(node.election), millis(pace));
    let (completions, mut completed) = mpsc::unbounded_channel();
    let mut run = Run {
        node,
        leader,
        completions,
        replies: BTreeMap::new(),
        tickets: 0,
        proposal: None,
    };
    loop {
        let due = run.leader.deadline() - Millis(detcd_rt::now_ms());
        let event = tokio::select! {
            biased;
            Some(event) = completed.recv() => event,
            Some(request) = requests.recv() => run.take(request),
            () = detcd_rt::sleep(Duration::from_millis(due.0)) => LeaderEvent::Tick,
        };
        let is_over = run.node.running.is_over();
        let event = if is_over { LeaderEvent::Stopped } else { event };
        if let Err(fault) = run.handle(event) {
            return run.node.halt(fault.to_string());
        }
        if is_over {
            return;
        }
    }
}

struct Run<S: Store> {
    node: RaftNode<S>,
    leader: MembershipLeader,
    completions: mpsc::UnboundedSender<LeaderEvent>,
    replies: BTreeMap<u64, Reply>,
    tickets: u64,
    /// The call to the engine under way.
    proposal: Option<(u64, AbortHandle)>,
}

impl<S: Store> Run<S> {
    fn take(&mut self, request: Request) -> LeaderEvent {
        self.tickets += 1;
        self.replies.insert(self.tickets, request.reply);
        LeaderEvent::Requested {
            ticket: self.tickets,
            change: request.change,
            strict: request.strict,
            deadline: request.deadline,
        }
    }

    fn handle(&mut self, event: LeaderEvent) -> Result<(), Fault> {
        // Followers look at nothing as long as nobody asks.
        let is_quiet = event == LeaderEvent::Tick && self.leader.is_idle();
        let view = match is_quiet && !self.node.is_leader() {
            true => LeaderView::default(),
            false => self.node.leader_view()?,
        };
        let now = Millis(detcd_rt::now_ms());
        self.leader.handle(now, event, &view);
        while let Some(effect) = self.leader.poll() {
            self.execute(effect);
        }
        Ok(())
    }

    fn execute(&mut self, effect: LeaderEffect) {
        match effect {
            LeaderEffect::ConfirmLeadership { ticket } => {
                let (node, completions) = (self.node.clone(), self.completions.clone());
                detcd_rt::spawn(async move {
                    let index = node.read_index().await.ok();
                    let _ = completions.send(LeaderEvent::Confirmed { ticket, index });
                });
            }
            LeaderEffect::Propose {
                number,
                reconfiguration,
                judged,
            } => self.propose(number, reconfiguration, judged),
            LeaderEffect::GiveUp { number } => {
                let given_up = self.proposal.take_if(|(known, _)| *known == number);
                given_up.into_iter().for_each(|(_, call)| call.abort());
            }
            LeaderEffect::Reply { ticket, result } => {
                // Whoever asked may be gone.
                let reply = self.replies.remove(&ticket);
                let _ = reply.map(|reply| reply.send(result));
            }
        }
    }

    fn propose(&mut self, number: u64, reconfiguration: Reconfiguration, judged: Option<EntryId>) {
        tracing::info!(change = %reconfiguration, "the membership is being changed");
        let (node, completions) = (self.node.clone(), self.completions.clone());
        let judged = judged.map(|at| log_id(at.term, at.index));
        let call = async move {
            let outcome = node.reconfigure(&reconfiguration, judged).await;
            if outcome != ProposalOutcome::Made {
                tracing::info!(change = %reconfiguration, ?outcome, "the membership was not changed");
            }
            let _ = completions.send(LeaderEvent::Proposed { number, outcome });
        };
        let (call, handle) = abortable(call);
        self.proposal = Some((number, handle));
        detcd_rt::spawn(async move {
            // A call that was given up has no outcome.
            let _ = call.await;
        });
    }
}

fn outcome(error: &ClientWriteError<Types>) -> ProposalOutcome {
    match error {
        ClientWriteError::PreconditionFailed(_) => ProposalOutcome::Superseded,
        ClientWriteError::ForwardToLeader(forward)
            if forward.reason == ForwardReason::LeaseExpired =>
        {
            ProposalOutcome::NotReady
        }
        ClientWriteError::ForwardToLeader(_) => ProposalOutcome::NotLeader,
        ClientWriteError::LogEntryDiscarded(_) => ProposalOutcome::Unknown,
        ClientWriteError::ChangeMembershipError(ChangeMembershipError::EmptyMembership(_)) => {
            ProposalOutcome::NobodyLeft
        }
        ClientWriteError::ChangeMembershipError(_) => ProposalOutcome::NotReady,
    }
}

fn entry_id(log_id: &LogId) -> EntryId {
    EntryId {
        term: term_of(log_id),
        index: log_id.index(),
    }
}

/// What a change means to raft.
fn changes(reconfiguration: &Reconfiguration, membership: &Membership) -> Changes {
    let change = match reconfiguration {
        Reconfiguration::Requested(change) => change,
        Reconfiguration::AddVoter(id) => return ChangeMembers::AddVoterIds(BTreeSet::from([id.0])),
        Reconfiguration::EndJoint => return ChangeMembers::AddVoterIds(BTreeSet::new()),
    };
    let node = |id: &MemberId| membership.get_node(&id.0).cloned().unwrap_or_default();
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
                ..node(id)
            };
            ChangeMembers::SetNodes(BTreeMap::from([(id.0, peer)]))
        }
        MembershipChange::Promote(id) => {
            let peer = Peer {
                learner: false,
                ..node(id)
            };
            ChangeMembers::Batch(vec![
                ChangeMembers::SetNodes(BTreeMap::from([(id.0, peer)])),
                ChangeMembers::AddVoterIds(BTreeSet::from([id.0])),
            ])
        }
        MembershipChange::Remove(id) if membership.voter_ids().any(|voter| voter == id.0) => {
            ChangeMembers::RemoveVoters(BTreeSet::from([id.0]))
        }
        MembershipChange::Remove(id) => ChangeMembers::RemoveNodes(BTreeSet::from([id.0])),
    }
}
