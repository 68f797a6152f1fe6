//! A change of the membership, as the member sees to it that a client asked: who leads is asked,
//! and only what was surely not proposed is asked again.

use super::{ClusterState, MembershipChange};
use crate::api::{Member, MemberId, Millis};
use crate::error::Error;
use alloc::vec::Vec;
use core::fmt;

/// The pause before a leader is looked for again.
pub(super) const LEADER_PAUSE: Millis = Millis(20);

/// What this member sees at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestView {
    /// Who leads and was heard from lately.
    pub leader: Option<MemberId>,
    /// What this member has applied, with itself as the judge: those count as active that it is
    /// connected to.
    pub cluster: ClusterState,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestEvent {
    /// The time has come, or another member leads.
    Tick,
    Replied(LeaderReply),
}

/// What a member that was asked as the leader makes of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaderReply {
    /// The members after the change.
    Made(Vec<Member>),
    /// Nothing was proposed: another member leads, or none.
    NotLeader,
    Failed(Error),
    /// The question did not arrive.
    Unreachable,
    /// The question may have arrived, and no answer came.
    Lost,
    /// An answer came that nobody can read.
    Unreadable,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestEffect {
    /// Ask this member itself: one that leads without a quorum knows what to refuse.
    AskHere,
    Ask {
        leader: MemberId,
    },
    Reply(Result<Vec<Member>, Error>),
}

/// The machine, of one change. Begin with [`RequestEvent::Tick`].
#[derive(Debug)]
pub struct ChangeRequest {
    own_id: MemberId,
    change: MembershipChange,
    deadline: Millis,
    asked: Option<MemberId>,
    step: Step,
    out: Option<RequestEffect>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Asks at that time, or when another member leads.
    Waiting(Millis),
    Asking,
    Done,
}

impl ChangeRequest {
    pub fn new(own_id: MemberId, change: MembershipChange, deadline: Millis) -> ChangeRequest {
        ChangeRequest {
            own_id,
            change,
            deadline,
            asked: None,
            step: Step::Waiting(Millis(0)),
            out: None,
        }
    }

    pub fn handle(&mut self, now: Millis, event: RequestEvent, view: &RequestView) {
        match (self.step, event) {
            (Step::Waiting(until), RequestEvent::Tick)
                if now >= until || view.leader != self.asked =>
            {
                self.ask(view);
            }
            (Step::Asking, RequestEvent::Replied(reply)) => self.on_reply(now, reply, view),
            _ => {}
        }
    }

    pub fn poll(&mut self) -> Option<RequestEffect> {
        self.out.take()
    }

    /// When [`RequestEvent::Tick`] is due at the latest, or earlier if another member leads.
    pub fn deadline(&self) -> Option<Millis> {
        match self.step {
            Step::Waiting(until) => Some(until),
            Step::Asking | Step::Done => None,
        }
    }

    fn ask(&mut self, view: &RequestView) {
        self.asked = view.leader;
        self.step = Step::Asking;
        self.out = Some(match view.leader {
            Some(leader) if leader != self.own_id => RequestEffect::Ask { leader },
            _ => RequestEffect::AskHere,
        });
    }

    fn on_reply(&mut self, now: Millis, reply: LeaderReply, view: &RequestView) {
        match reply {
            LeaderReply::Made(members) => self.reply(Ok(members)),
            LeaderReply::Failed(error) => self.reply(Err(error)),
            LeaderReply::Lost => self.reply(Err(Error::TimeoutConnectionLost)),
            LeaderReply::Unreadable => self.reply(Err(Error::Timeout)),
            LeaderReply::NotLeader | LeaderReply::Unreachable => self.on_not_asked(now, view),
        }
    }

    /// Nothing was proposed.
    fn on_not_asked(&mut self, now: Millis, view: &RequestView) {
        if view.leader.is_none()
            // As etcd does it: each member judges by its own connections.
            && let Err(error) = view.cluster.check_without_leader(&self.change)
        {
            return self.reply(Err(error));
        }
        if now < self.deadline {
            self.step = Step::Waiting(now + LEADER_PAUSE);
            return;
        }
        // etcd's words for a promotion differ from those for the other changes.
        self.reply(Err(match (&self.change, view.leader) {
            (MembershipChange::Promote(_), None) => Error::NoLeader,
            _ => Error::Timeout,
        }));
    }

    fn reply(&mut self, result: Result<Vec<Member>, Error>) {
        self.step = Step::Done;
        self.out = Some(RequestEffect::Reply(result));
    }
}

impl fmt::Display for RequestEffect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RequestEffect::AskHere => f.write_str("ask this member"),
            RequestEffect::Ask { leader } => write!(f, "ask {leader}"),
            RequestEffect::Reply(Ok(members)) => {
                f.write_str("answer: made; members")?;
                members.iter().try_for_each(|it| write!(f, " {}", it.id))
            }
            RequestEffect::Reply(Err(error)) => write!(f, "answer: error: {error}"),
        }
    }
}
