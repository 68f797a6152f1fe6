//! Writes on their way into the log.
//!
//! A write is *held* until there is a leader to give it to, *sent* at most once, and answered when
//! this member applies its entry. It is sent again only after the engine said that it entered no
//! log. What is known about a write when its time is over decides the error: never sent is a
//! definite failure, anything else an unknown outcome.
//!
//! Two things are worth more than waiting out the deadline, because they say early that the
//! outcome is not going to be known:
//!
//! - *A newer term was applied.* A write sent in term T either lies before the first entry of any
//!   later term, and then its own apply came first, or is gone. (Unless the same member leads
//!   again and the message was still under way: hence unknown, not failed.) So writes that died
//!   with a leader are answered as soon as its successor's first entry is applied.
//! - *The connection broke* (`ProposalsLost`). The leader may well have read the batch, and then
//!   its apply arrives within moments, with a definite answer; so the write is not given up at
//!   once. But if it is not applied within an election timeout the batch never arrived, and the
//!   client is told sooner than its deadline.
//!
//! An entry that is applied after its write was answered as unknown is ignored here.

use super::backoff::Backoff;
use super::leadership::{Leadership, Route};
use super::waiting::Waiting;
use crate::api::{MemberId, Millis};
use crate::command::Proposal;
use crate::effect::Effect;
use crate::error::Error;
use crate::event::{Proposals, Seq};
use crate::limits::{
    LARGE_WRITE_BYTES, LARGE_WRITES_SENT_BYTES_MAX, PENDING_WRITE_BYTES_MAX, PENDING_WRITES_MAX,
    PROPOSE_BATCH_BYTES,
};
use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec::Vec;
use bytes::Bytes;

/// Names of writes that ended, kept in the queue of held ones before they are swept.
const DEAD_MAX: usize = 64;

pub(super) struct Writes {
    origin: MemberId,
    /// How long the apply of a write whose connection broke is awaited.
    lost_timeout: Millis,
    waiting: Waiting<Seq, Write>,
    /// Held writes in the order in which they will be sent, and names of some that ended.
    held: VecDeque<Seq>,
    /// The same of large ones, which do not keep back the others.
    held_large: VecDeque<Seq>,
    /// Bytes of the large ones that are on their way.
    large_sent: usize,
    /// When lost writes are given up; in order, because all get the same time. Some have ended.
    lost: VecDeque<(Millis, Seq)>,
    /// Bytes of the commands of all waiting writes.
    bytes: usize,
    backoff: Backoff,
}

struct Write {
    command: Bytes,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It is not known yet whether there is room for it.
    Admitted,
    /// In no log, and on no way to one.
    Held,
    /// Given to the leader of `term`, once.
    Sent { term: u64 },
    /// As sent, and the connection broke.
    Lost { term: u64 },
}

impl Write {
    fn is_large(&self) -> bool {
        self.command.len() > LARGE_WRITE_BYTES
    }

    /// Its bytes, if it is large.
    fn large_bytes(&self) -> usize {
        if self.is_large() {
            self.command.len()
        } else {
            0
        }
    }
}

impl Writes {
    pub fn new(origin: MemberId, request_timeout: Millis, lost_timeout: Millis) -> Writes {
        Writes {
            origin,
            lost_timeout,
            waiting: Waiting::new(request_timeout),
            held: VecDeque::new(),
            held_large: VecDeque::new(),
            large_sent: 0,
            lost: VecDeque::new(),
            bytes: 0,
            backoff: Backoff::new(),
        }
    }

    pub fn admit(&mut self, now: Millis, seq: Seq, command: Bytes) -> Result<(), Error> {
        assert_ne!(
            seq,
            Seq::NOBODY,
            "a write that somebody waits for has a name"
        );
        let bytes = self.bytes + command.len();
        if self.waiting.len() >= PENDING_WRITES_MAX || bytes > PENDING_WRITE_BYTES_MAX {
            return Err(Error::TooManyRequests);
        }
        self.bytes = bytes;
        let stage = Stage::Admitted;
        self.waiting.insert(now, seq, Write { command, stage });
        Ok(())
    }

    /// There is room for a write that was admitted: it is sent when there is a leader.
    pub fn hold(&mut self, seq: Seq) {
        if let Some(write) = self.waiting.get_mut(seq)
            && write.stage == Stage::Admitted
        {
            write.stage = Stage::Held;
            match write.is_large() {
                true => self.held_large.push_back(seq),
                false => self.held.push_back(seq),
            }
        }
    }

    /// Nobody waits any more. A held write is thereby never sent.
    pub fn forget(&mut self, seq: Seq) {
        self.remove(seq);
    }

    /// Takes the next batch of held writes and gives it to the leader. Everything held goes out,
    /// as one batch unless it exceeds `PROPOSE_BATCH_BYTES`, but for large ones while as many bytes
    /// of such as may be are on their way: a small write must not wait for all of them.
    pub fn send(&mut self, leadership: &Leadership) -> Option<Effect> {
        let nothing_held = self.held.is_empty() && self.held_large.is_empty();
        if nothing_held || !self.backoff.is_open() {
            return None;
        }
        let route = leadership.route()?;
        let proposals = self.take_batch(leadership.log_term());
        match route {
            _ if proposals.is_empty() => None,
            Route::Here => Some(Effect::Propose { proposals }),
            Route::To(to) => Some(Effect::Forward { to, proposals }),
        }
    }

    fn take_batch(&mut self, term: u64) -> Proposals {
        let (mut proposals, mut bytes) = (Vec::new(), 0);
        while bytes < PROPOSE_BATCH_BYTES {
            let Some(seq) = self.held.pop_front().or_else(|| self.pop_large()) else {
                break;
            };
            let Some(write) = self.waiting.get_mut(seq) else {
                continue;
            };
            assert!(
                write.stage == Stage::Held,
                "write {seq} would be sent twice"
            );
            write.stage = Stage::Sent { term };
            bytes += write.command.len();
            self.large_sent += write.large_bytes();
            proposals.push(Proposal {
                origin: self.origin,
                seq: seq.0,
                command: write.command.clone(),
            });
        }
        proposals
    }

    /// The next large write, if there is room on the way for it.
    fn pop_large(&mut self) -> Option<Seq> {
        while let Some(seq) = self.held_large.front().copied() {
            let bytes = self.waiting.get(seq).map_or(0, Write::large_bytes);
            if self.large_sent > 0 && self.large_sent + bytes > LARGE_WRITES_SENT_BYTES_MAX {
                return None;
            }
            self.held_large.pop_front();
            if bytes > 0 {
                return Some(seq);
            }
        }
        None
    }

    /// These entered no log: they are held again.
    pub fn not_proposed(&mut self, now: Millis, seqs: &[Seq]) {
        let mut refused = false;
        for seq in seqs {
            if let Some(write) = self.waiting.get_mut(*seq)
                && matches!(write.stage, Stage::Sent { .. } | Stage::Lost { .. })
            {
                write.stage = Stage::Held;
                self.large_sent -= write.large_bytes();
                match write.is_large() {
                    true => self.held_large.push_back(*seq),
                    false => self.held.push_back(*seq),
                }
                refused = true;
            }
        }
        if refused {
            self.backoff.refused(now);
        }
    }

    /// The connection that carried these broke.
    pub fn lost(&mut self, now: Millis, seqs: &[Seq]) {
        for seq in seqs {
            if let Some(write) = self.waiting.get_mut(*seq)
                && let Stage::Sent { term } = write.stage
            {
                write.stage = Stage::Lost { term };
                self.lost.push_back((now + self.lost_timeout, *seq));
            }
        }
    }

    /// This member applied the entry of its own write: whether somebody waits for it.
    pub fn applied(&mut self, seq: Seq) -> bool {
        let Some(write) = self.remove(seq) else {
            return false;
        };
        assert!(
            !matches!(write.stage, Stage::Admitted | Stage::Held),
            "write {seq} was applied although the engine said that it entered no log"
        );
        self.backoff.reset();
        true
    }

    /// An entry of `term` was applied: what was sent to leaders of earlier terms and is still not
    /// applied will hardly be. Call it after [`Writes::applied`] for the entries themselves.
    pub fn passed_to_term(&mut self, term: u64) -> Vec<Seq> {
        let overtaken = |write: &Write| match write.stage {
            Stage::Admitted | Stage::Held => false,
            Stage::Sent { term: sent } | Stage::Lost { term: sent } => sent < term,
        };
        let writes = self.waiting.iter();
        let seqs: Vec<Seq> = writes
            .filter(|(_, write)| overtaken(write))
            .map(|(seq, _)| seq)
            .collect();
        for seq in &seqs {
            self.remove(*seq);
        }
        seqs
    }

    pub fn leadership_changed(&mut self) {
        self.backoff.reset();
    }

    /// The next write whose time is over, with what is known about it.
    pub fn pop_expired(&mut self, now: Millis, leadership: &Leadership) -> Option<(Seq, Error)> {
        if let Some(seq) = self.pop_lost(now) {
            return Some((seq, Error::TimeoutConnectionLost));
        }
        let (seq, write) = self.waiting.pop_expired(now)?;
        self.discount(&write);
        let error = match write.stage {
            Stage::Admitted | Stage::Held => Error::NoLeader,
            Stage::Lost { .. } => Error::TimeoutConnectionLost,
            Stage::Sent { term } if leadership.leads(term) => Error::Timeout,
            Stage::Sent { .. } => Error::TimeoutLeaderLost,
        };
        Some((seq, error))
    }

    fn pop_lost(&mut self, now: Millis) -> Option<Seq> {
        while let Some((deadline, seq)) = self.lost.front().copied() {
            if deadline > now {
                return None;
            }
            self.lost.pop_front();
            let write = self.waiting.get(seq);
            if write.is_some_and(|write| matches!(write.stage, Stage::Lost { .. })) {
                self.remove(seq);
                return Some(seq);
            }
        }
        None
    }

    pub fn tick(&mut self, now: Millis) {
        self.backoff.tick(now);
    }

    /// When something is due although nothing happens.
    pub fn deadline(&self, leadership: &Leadership) -> Option<Millis> {
        let something_held = !self.held.is_empty() || !self.held_large.is_empty();
        let can_send = something_held && leadership.route().is_some();
        let retry = self.backoff.deadline().filter(|_| can_send);
        let lost = self.lost.front().map(|(deadline, _)| *deadline);
        [self.waiting.deadline(), lost, retry]
            .into_iter()
            .flatten()
            .min()
    }

    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    fn remove(&mut self, seq: Seq) -> Option<Write> {
        let write = self.waiting.remove(seq)?;
        self.discount(&write);
        let waiting = &self.waiting;
        for held in [&mut self.held, &mut self.held_large] {
            if held.len() > 2 * waiting.len() + DEAD_MAX {
                held.retain(|seq| waiting.get(*seq).is_some());
            }
        }
        if self.lost.len() > 2 * waiting.len() + DEAD_MAX {
            self.lost.retain(|(_, seq)| waiting.get(*seq).is_some());
        }
        Some(write)
    }

    /// A write waits no longer.
    fn discount(&mut self, write: &Write) {
        self.bytes -= write.command.len();
        if matches!(write.stage, Stage::Sent { .. } | Stage::Lost { .. }) {
            self.large_sent -= write.large_bytes();
        }
    }

    pub fn check(&self) {
        self.waiting.check();
        let alive = |seq: &&Seq| self.waiting.get(**seq).is_some();
        let all_held = || self.held.iter().chain(&self.held_large).filter(alive);
        let held: BTreeSet<Seq> = all_held().copied().collect();
        assert_eq!(held.len(), all_held().count());
        let writes = self.waiting.iter().map(|(_, write)| write);
        let sent =
            writes.filter(|write| matches!(write.stage, Stage::Sent { .. } | Stage::Lost { .. }));
        assert_eq!(self.large_sent, sent.map(Write::large_bytes).sum::<usize>());
        for (seq, write) in self.waiting.iter() {
            assert_eq!(held.contains(&seq), write.stage == Stage::Held, "{seq}");
            if matches!(write.stage, Stage::Lost { .. }) {
                assert!(self.lost.iter().any(|(_, lost)| *lost == seq), "{seq}");
            }
        }
        let bytes: usize = self
            .waiting
            .iter()
            .map(|(_, write)| write.command.len())
            .sum();
        assert_eq!(self.bytes, bytes);
        assert!(self.waiting.len() <= PENDING_WRITES_MAX && bytes <= PENDING_WRITE_BYTES_MAX);
        assert!(self.lost.iter().is_sorted_by_key(|(deadline, _)| deadline));
    }
}
