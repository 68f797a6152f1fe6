//! Handing the leadership over: to the member that a client names, or at a stop to whoever is
//! prepared best.
//!
//! A leader that hands over takes no writes until another member leads, and cannot change its mind.
//! So the receiver has to be there, and to have nearly all of the log, before it is asked.

use super::Replication;
use super::request::LEADER_PAUSE;
use super::rules::check_transferee;
use crate::api::{MemberId, Millis};
use crate::error::Error;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::fmt;

/// What this member sees at one moment of the member that leadership goes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TransferView {
    /// Who leads and was heard from lately.
    pub leader: Option<MemberId>,
    /// Whether the receiver could lead at once: it is there, and has nearly all of the log.
    pub is_ready: bool,
    /// Whether a message would reach the receiver.
    pub is_connected: bool,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransferEffect {
    /// Have the engine ask this member to stand for election at once.
    Send {
        to: MemberId,
    },
    End(Result<(), Error>),
}

/// The machine, of one transfer. Tell it the view when another member leads, and at its deadline.
#[derive(Debug)]
pub struct LeaderTransfer {
    own_id: MemberId,
    to: MemberId,
    election_timeout: Millis,
    /// The receiver has to be ready by then.
    ready_by: Millis,
    deadline: Millis,
    is_asked: bool,
    /// When the message is sent again, or the receiver looked at again.
    look_at: Millis,
    leader: Option<MemberId>,
    is_over: bool,
    out: VecDeque<TransferEffect>,
}

impl LeaderTransfer {
    /// What a client asks for. Only the leader can do it, and only a voter can take over.
    pub fn asked(
        own_id: MemberId,
        to: MemberId,
        leader: Option<MemberId>,
        voters: &[MemberId],
    ) -> Result<(), Error> {
        if leader != Some(own_id) {
            return Err(Error::NotLeader);
        }
        check_transferee(voters, to)
    }

    pub fn new(
        own_id: MemberId,
        to: MemberId,
        now: Millis,
        timeout: Millis,
        election_timeout: Millis,
    ) -> LeaderTransfer {
        LeaderTransfer {
            own_id,
            to,
            election_timeout,
            ready_by: now + election_timeout,
            deadline: now + timeout,
            is_asked: false,
            look_at: now,
            leader: Some(own_id),
            is_over: false,
            out: VecDeque::new(),
        }
    }

    pub fn handle(&mut self, now: Millis, view: &TransferView) {
        if self.is_over {
            return;
        }
        if view.leader == Some(self.to) {
            return self.end(Ok(()));
        }
        let is_elsewhere = view.leader.is_some_and(|leader| leader != self.own_id);
        if now >= self.deadline || is_elsewhere {
            return self.end(Err(Error::TimeoutLeaderTransfer));
        }
        let is_news = view.leader != self.leader;
        if !is_news && now < self.look_at {
            return;
        }
        self.leader = view.leader;
        let leads = view.leader == Some(self.own_id);
        self.is_asked |= leads && view.is_ready;
        if !self.is_asked && now >= self.ready_by {
            return self.end(Err(Error::TimeoutLeaderTransfer));
        }
        // The message may be lost: it is sent again as long as this member leads.
        if leads && self.is_asked {
            self.out.push_back(TransferEffect::Send { to: self.to });
        }
        let resend_pause = Millis(self.election_timeout.0 / 2);
        self.look_at = match self.is_asked {
            true => now + resend_pause,
            false => (now + LEADER_PAUSE).min(self.ready_by),
        };
    }

    pub fn poll(&mut self) -> Option<TransferEffect> {
        self.out.pop_front()
    }

    pub fn deadline(&self) -> Option<Millis> {
        (!self.is_over).then(|| self.look_at.min(self.deadline))
    }

    fn end(&mut self, result: Result<(), Error>) {
        self.is_over = true;
        self.out.push_back(TransferEffect::End(result));
    }
}

/// How a leader that stops has handed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HandOverEnd {
    /// This member leads now.
    To(MemberId),
    Failed {
        to: MemberId,
        error: Error,
    },
    /// No other voter is there.
    NobodyThere,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HandOverEffect {
    Send { to: MemberId },
    End(HandOverEnd),
}

/// The machine, of a leader that stops. It tries the others in turn: one that has gone a moment ago
/// still counts as active.
#[derive(Debug)]
pub struct HandOver {
    own_id: MemberId,
    election_timeout: Millis,
    others: VecDeque<MemberId>,
    current: Option<LeaderTransfer>,
    look_at: Millis,
    out: VecDeque<HandOverEffect>,
}

impl HandOver {
    /// `successors`: who could lead, the best prepared first.
    pub fn new(
        own_id: MemberId,
        successors: Vec<MemberId>,
        now: Millis,
        election_timeout: Millis,
    ) -> HandOver {
        let mut hand_over = HandOver {
            own_id,
            election_timeout,
            others: successors.into(),
            current: None,
            look_at: now,
            out: VecDeque::new(),
        };
        hand_over.next(now);
        hand_over
    }

    /// Who is asked now; the view is of this member.
    pub fn to(&self) -> Option<MemberId> {
        self.current.as_ref().map(|current| current.to)
    }

    pub fn handle(&mut self, now: Millis, view: &TransferView) {
        let Some(current) = &mut self.current else {
            return;
        };
        let to = current.to;
        if !view.is_connected && view.leader != Some(to) {
            return self.next(now);
        }
        current.handle(now, view);
        while let Some(effect) = current.poll() {
            match effect {
                TransferEffect::Send { to } => self.out.push_back(HandOverEffect::Send { to }),
                TransferEffect::End(result) => {
                    let end = match result {
                        Ok(()) => HandOverEnd::To(to),
                        Err(error) => HandOverEnd::Failed { to, error },
                    };
                    self.out.push_back(HandOverEffect::End(end));
                    self.current = None;
                    return;
                }
            }
        }
        self.look_at = now + LEADER_PAUSE;
    }

    pub fn poll(&mut self) -> Option<HandOverEffect> {
        self.out.pop_front()
    }

    pub fn deadline(&self) -> Option<Millis> {
        let transfer = self.current.as_ref()?.deadline()?;
        Some(transfer.min(self.look_at))
    }

    fn next(&mut self, now: Millis) {
        let (own_id, timeout) = (self.own_id, self.election_timeout);
        let next = self.others.pop_front();
        self.current = next.map(|to| LeaderTransfer::new(own_id, to, now, timeout, timeout));
        self.look_at = now;
        if self.current.is_none() {
            let end = HandOverEffect::End(HandOverEnd::NobodyThere);
            self.out.push_back(end);
        }
    }
}

impl Replication {
    /// The voters that could lead instead of `own_id`, which leads now; the best prepared first.
    pub fn successors(&self, own_id: MemberId, voters: &[MemberId]) -> Vec<MemberId> {
        let is_there = |id: &&MemberId| **id != own_id && self.active.contains(id);
        let mut successors: Vec<MemberId> = voters.iter().filter(is_there).copied().collect();
        successors.sort_unstable_by_key(|id| Reverse((self.matched.get(id).copied(), *id)));
        successors
    }
}

impl fmt::Display for TransferEffect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TransferEffect::Send { to } => write!(f, "ask {to} to take over"),
            TransferEffect::End(Ok(())) => f.write_str("end: handed over"),
            TransferEffect::End(Err(error)) => write!(f, "end: error: {error}"),
        }
    }
}

impl fmt::Display for HandOverEffect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HandOverEffect::Send { to } => write!(f, "ask {to} to take over"),
            HandOverEffect::End(HandOverEnd::To(to)) => write!(f, "end: {to} leads"),
            HandOverEffect::End(HandOverEnd::Failed { to, error }) => {
                write!(f, "end: {to} did not take over: {error}")
            }
            HandOverEffect::End(HandOverEnd::NobodyThere) => {
                f.write_str("end: no other member is there")
            }
        }
    }
}
