//! What a member does about the membership while it leads: it makes the changes that are asked for,
//! one at a time, lets those vote that have caught up, and ends a joint membership that a leader
//! left half done.
//!
//! The driving contract is [`crate::node::Node`]'s. Whoever asks is answered exactly once, at the
//! latest with the first event after the deadline of the request.

use super::{ClusterState, MembershipChange};
use crate::api::{Member, MemberId, Millis};
use crate::error::Error;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::fmt;
use thiserror::Error;

/// The pause before a change that met another one under way is tried again.
const BUSY_PAUSE: Millis = Millis(10);

/// An entry of the raft log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryId {
    pub term: u64,
    pub index: u64,
}

/// What this member's raft engine and applied state show at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaderView {
    pub is_leader: bool,
    /// Whether this leader had the answers of a quorum, and has had none for an election timeout.
    pub lacks_quorum: bool,
    pub applied: u64,
    /// By the membership that was applied last.
    pub cluster: ClusterState,
    /// Whether that membership has two sets of voters, each of which must agree.
    pub is_joint: bool,
    /// The entry of that membership.
    pub membership: Option<EntryId>,
    /// The entry of the newest membership in the log.
    pub newest: Option<EntryId>,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaderEvent {
    Tick,
    /// Somebody asks for a change. `strict`: whether one that would cost the quorum is refused.
    Requested {
        ticket: u64,
        change: MembershipChange,
        strict: bool,
        deadline: Millis,
    },
    /// A quorum confirmed that this member leads, and the log is committed up to `index`; `None`:
    /// it did not confirm.
    Confirmed {
        ticket: u64,
        index: Option<u64>,
    },
    /// How a proposal ended.
    Proposed {
        number: u64,
        outcome: ProposalOutcome,
    },
    /// The engine has ended.
    Stopped,
}

/// How the proposal of a change ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProposalOutcome {
    /// It is committed and applied.
    Made,
    /// Not proposed: the newest membership is not the one that it was judged by.
    Superseded,
    /// Not proposed, or only its first step: this member does not lead any more.
    NotLeader,
    /// Not proposed: the engine is not ready for it.
    NotReady,
    /// Not proposed: it would leave no voter.
    NobodyLeft,
    /// The entry may or may not be committed.
    Unknown,
}

/// What is proposed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reconfiguration {
    Requested(MembershipChange),
    /// A member that has caught up gets its vote.
    AddVoter(MemberId),
    /// The new voters of a joint membership are the only ones from now on.
    EndJoint,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaderEffect {
    /// Ask a quorum whether this member leads: a leader that was deposed would judge by what no
    /// longer holds.
    ConfirmLeadership { ticket: u64 },
    /// Propose, if the newest membership in the log is still that of entry `judged`.
    Propose {
        number: u64,
        reconfiguration: Reconfiguration,
        judged: Option<EntryId>,
    },
    /// Wait no longer for the outcome of a proposal.
    GiveUp { number: u64 },
    /// Answer whoever asked, with the members after the change.
    Reply {
        ticket: u64,
        result: Result<Vec<Member>, ChangeError>,
    },
}

/// Why a change of the membership was not made, or is not known to be made.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ChangeError {
    /// Nothing was proposed: the rules forbid it.
    #[error("{0}")]
    Refused(Error),
    /// Nothing was proposed: another member leads, or none.
    #[error("this member does not lead")]
    NotLeader,
    /// Nothing was proposed until the deadline: other changes were under way, or no quorum confirmed
    /// that this member leads.
    #[error("it could not be proposed in time")]
    Busy,
    /// The change may be made or not.
    #[error("the outcome is unknown")]
    Unknown,
}

/// The machine.
#[derive(Debug)]
pub struct MembershipLeader {
    own_id: MemberId,
    /// How long an automatic change may take.
    election_timeout: Millis,
    /// How often this member looks for automatic changes.
    pace: Millis,
    now: Millis,
    look_at: Millis,
    requests: BTreeMap<u64, Request>,
    under_way: Option<UnderWay>,
    proposals: u64,
    out: VecDeque<LeaderEffect>,
}

#[derive(Debug)]
struct Request {
    change: MembershipChange,
    strict: bool,
    deadline: Millis,
    step: Step,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Confirming,
    RetryAt(Millis),
    Proposed,
}

/// The one proposal whose outcome is awaited.
#[derive(Clone, Copy, Debug)]
struct UnderWay {
    number: u64,
    /// Who asked for it; `None`: the leader itself.
    ticket: Option<u64>,
    judged: Option<EntryId>,
    deadline: Millis,
}

impl MembershipLeader {
    pub fn new(own_id: MemberId, election_timeout: Millis, pace: Millis) -> MembershipLeader {
        MembershipLeader {
            own_id,
            election_timeout,
            pace,
            now: Millis(0),
            look_at: Millis(0),
            requests: BTreeMap::new(),
            under_way: None,
            proposals: 0,
            out: VecDeque::new(),
        }
    }

    pub fn handle(&mut self, now: Millis, event: LeaderEvent, view: &LeaderView) {
        self.now = self.now.max(now);
        match event {
            LeaderEvent::Tick => {}
            LeaderEvent::Requested {
                ticket,
                change,
                strict,
                deadline,
            } => {
                let request = Request {
                    change,
                    strict,
                    deadline,
                    step: Step::RetryAt(self.now),
                };
                self.requests.insert(ticket, request);
            }
            LeaderEvent::Confirmed { ticket, index } => self.on_confirmed(ticket, index, view),
            LeaderEvent::Proposed { number, outcome } => self.on_proposed(number, outcome, view),
            LeaderEvent::Stopped => return self.on_stopped(),
        }
        self.begin_due(view);
        self.expire();
        if self.now >= self.look_at {
            self.look_at = self.now + self.pace;
            self.change_by_itself(view);
        }
    }

    pub fn poll(&mut self) -> Option<LeaderEffect> {
        self.out.pop_front()
    }

    /// When [`LeaderEvent::Tick`] is due at the latest.
    pub fn deadline(&self) -> Millis {
        let requests = self.requests.values().map(|request| match request.step {
            Step::RetryAt(at) => at.min(request.deadline),
            Step::Confirming | Step::Proposed => request.deadline,
        });
        let under_way = self.under_way.iter().map(|under_way| under_way.deadline);
        let due = requests.chain(under_way).min();
        due.map_or(self.look_at, |due| due.min(self.look_at))
    }

    /// Whether nobody waits for anything.
    pub fn is_idle(&self) -> bool {
        self.requests.is_empty() && self.under_way.is_none()
    }

    /// Begins with the requests that are new, or that met another change before.
    fn begin_due(&mut self, view: &LeaderView) {
        let now = self.now;
        let is_due = |step: Step| matches!(step, Step::RetryAt(at) if at <= now);
        let due = self.requests.iter().filter(|(_, it)| is_due(it.step));
        let due: Vec<u64> = due.map(|(ticket, _)| *ticket).collect();
        for ticket in due {
            self.begin(ticket, view);
        }
    }

    fn begin(&mut self, ticket: u64, view: &LeaderView) {
        let Some(request) = self.requests.get_mut(&ticket) else {
            return;
        };
        if !view.is_leader {
            return self.reply(ticket, Err(ChangeError::NotLeader));
        }
        // Without a quorum nothing can be made. What the rules refuse is refused at once, as etcd
        // does it.
        let unhealthy = Err(Error::Unhealthy);
        if request.strict && view.lacks_quorum && request.check(view) == unhealthy {
            return self.reply(ticket, Err(ChangeError::Refused(Error::Unhealthy)));
        }
        request.step = Step::Confirming;
        self.out
            .push_back(LeaderEffect::ConfirmLeadership { ticket });
    }

    fn on_confirmed(&mut self, ticket: u64, index: Option<u64>, view: &LeaderView) {
        let Some(request) = self.requests.get(&ticket) else {
            return;
        };
        if request.step != Step::Confirming {
            return;
        }
        match self.judge(request, index, view) {
            Ok(()) => self.propose_request(ticket, view),
            Err(ChangeError::Busy) => self.retry(ticket),
            Err(error) => self.reply(ticket, Err(error)),
        }
    }

    /// Whether a change may be proposed now.
    fn judge(
        &self,
        request: &Request,
        confirmed: Option<u64>,
        view: &LeaderView,
    ) -> Result<(), ChangeError> {
        let confirmed = confirmed.ok_or(ChangeError::NotLeader)?;
        // A leader that has removed itself leads only until the others know.
        let may_change = view.is_leader && view.cluster.voters.contains(&self.own_id);
        if view.applied < confirmed {
            return Err(ChangeError::Busy);
        }
        if !may_change {
            return Err(ChangeError::NotLeader);
        }
        if view.is_joint {
            return Err(ChangeError::Busy);
        }
        request.check(view).map_err(ChangeError::Refused)?;
        match self.under_way {
            Some(_) => Err(ChangeError::Busy),
            None => Ok(()),
        }
    }

    fn propose_request(&mut self, ticket: u64, view: &LeaderView) {
        let Some(request) = self.requests.get_mut(&ticket) else {
            return;
        };
        request.step = Step::Proposed;
        let reconfiguration = Reconfiguration::Requested(request.change.clone());
        let deadline = request.deadline;
        self.propose(Some(ticket), reconfiguration, view, deadline);
    }

    fn propose(
        &mut self,
        ticket: Option<u64>,
        reconfiguration: Reconfiguration,
        view: &LeaderView,
        deadline: Millis,
    ) {
        self.proposals += 1;
        let (number, judged) = (self.proposals, view.membership);
        self.under_way = Some(UnderWay {
            number,
            ticket,
            judged,
            deadline,
        });
        self.out.push_back(LeaderEffect::Propose {
            number,
            reconfiguration,
            judged,
        });
    }

    fn on_proposed(&mut self, number: u64, outcome: ProposalOutcome, view: &LeaderView) {
        let Some(under_way) = self.under_way.take_if(|it| it.number == number) else {
            return;
        };
        let Some(ticket) = under_way.ticket else {
            // What failed is tried again, by whoever leads then.
            return;
        };
        // A change of two steps that fails in the second one has left the first in the log.
        let is_untouched = view.newest == under_way.judged;
        let result = match outcome {
            ProposalOutcome::Made => Ok(view.cluster.members.clone()),
            // A second step that meets another membership was not this change's own.
            ProposalOutcome::Superseded => Err(ChangeError::Busy),
            ProposalOutcome::Unknown => Err(ChangeError::Unknown),
            _ if !is_untouched => Err(ChangeError::Unknown),
            ProposalOutcome::NotLeader => Err(ChangeError::NotLeader),
            ProposalOutcome::NotReady => Err(ChangeError::Busy),
            ProposalOutcome::NobodyLeft => Err(ChangeError::Refused(Error::MemberNotEnoughStarted)),
        };
        match result {
            Err(ChangeError::Busy) => self.retry(ticket),
            result => self.reply(ticket, result),
        }
    }

    fn retry(&mut self, ticket: u64) {
        if let Some(request) = self.requests.get_mut(&ticket) {
            request.step = Step::RetryAt(self.now + BUSY_PAUSE);
        }
    }

    /// Answers those whose time is over.
    fn expire(&mut self) {
        let now = self.now;
        let over = self.requests.iter().filter(|(_, it)| it.deadline <= now);
        let over: Vec<(u64, Step)> = over.map(|(ticket, it)| (*ticket, it.step)).collect();
        for (ticket, step) in over {
            let error = match step {
                Step::Proposed => ChangeError::Unknown,
                Step::Confirming | Step::RetryAt(_) => ChangeError::Busy,
            };
            self.reply(ticket, Err(error));
        }
        // A leader without a quorum would wait for ever.
        if let Some(under_way) = self.under_way.take_if(|it| it.deadline <= now) {
            let number = under_way.number;
            self.out.push_back(LeaderEffect::GiveUp { number });
        }
    }

    /// Proposes what a leader has to do without being asked, once the newest membership is applied
    /// and no change is under way.
    fn change_by_itself(&mut self, view: &LeaderView) {
        let is_settled = view.newest == view.membership;
        let votes = view.cluster.voters.contains(&self.own_id);
        if self.under_way.is_some() || !view.is_leader || !is_settled || !votes {
            return;
        }
        let reconfiguration = match view.is_joint {
            true => Some(Reconfiguration::EndJoint),
            false => view.cluster.next_voter().map(Reconfiguration::AddVoter),
        };
        if let Some(reconfiguration) = reconfiguration {
            let deadline = self.now + self.election_timeout;
            self.propose(None, reconfiguration, view, deadline);
        }
    }

    fn on_stopped(&mut self) {
        let waiting: Vec<(u64, Step)> = self.requests.iter().map(|(t, it)| (*t, it.step)).collect();
        for (ticket, step) in waiting {
            let error = match step {
                Step::Proposed => ChangeError::Unknown,
                Step::Confirming | Step::RetryAt(_) => ChangeError::NotLeader,
            };
            self.reply(ticket, Err(error));
        }
        if let Some(UnderWay { number, .. }) = self.under_way.take() {
            self.out.push_back(LeaderEffect::GiveUp { number });
        }
    }

    fn reply(&mut self, ticket: u64, result: Result<Vec<Member>, ChangeError>) {
        if self.requests.remove(&ticket).is_some() {
            self.out.push_back(LeaderEffect::Reply { ticket, result });
        }
    }

    /// Panics if the machine contradicts itself. For tests and simulation, after each step.
    pub fn check(&self) {
        let proposed = self.requests.iter();
        let proposed = proposed.filter(|(_, request)| request.step == Step::Proposed);
        let proposed: Vec<u64> = proposed.map(|(ticket, _)| *ticket).collect();
        let asked = self.under_way.and_then(|under_way| under_way.ticket);
        assert!(proposed.iter().eq(asked.iter()), "one change at a time");
    }
}

impl Request {
    fn check(&self, view: &LeaderView) -> Result<(), Error> {
        let cluster = ClusterState {
            strict: self.strict,
            ..view.cluster.clone()
        };
        cluster.check(&self.change)
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "entry {} of term {}", self.index, self.term)
    }
}

impl fmt::Display for Reconfiguration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reconfiguration::Requested(change) => write!(f, "{change}"),
            Reconfiguration::AddVoter(id) => write!(f, "let member {id} vote"),
            Reconfiguration::EndJoint => f.write_str("end the joint membership"),
        }
    }
}

impl fmt::Display for LeaderEffect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LeaderEffect::ConfirmLeadership { ticket } => {
                write!(f, "confirm leadership for request {ticket}")
            }
            LeaderEffect::Propose {
                number,
                reconfiguration,
                judged,
            } => {
                write!(f, "propose {number}: {reconfiguration}")?;
                match judged {
                    Some(judged) => write!(f, ", judged by {judged}"),
                    None => Ok(()),
                }
            }
            LeaderEffect::GiveUp { number } => write!(f, "give up {number}"),
            LeaderEffect::Reply { ticket, result } => match result {
                Ok(members) => {
                    write!(f, "answer request {ticket}: made; members")?;
                    members.iter().try_for_each(|it| write!(f, " {}", it.id))
                }
                Err(error) => write!(f, "answer request {ticket}: error: {error}"),
            },
        }
    }
}
