//! Linearizable reads: rounds of "which index must I have applied?".
//!
//! One round is under way at a time and serves every read that was waiting when it was asked. A
//! read that arrives later waits for the next round, because the answer may have been decided
//! before the read began. Every asking has a number of its own, retries too, and an answer counts
//! only for the round that is under way: a late answer to an earlier one must never serve a later
//! read (etcd #20418).

use super::backoff::Backoff;
use super::leadership::{Leadership, Route};
use super::waiting::Waiting;
use crate::api::Millis;
use crate::effect::Effect;
use crate::error::Error;
use crate::event::{Asker, Seq};
use crate::limits::{PENDING_READS_MAX, READ_ROUND_TIMEOUT};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// Readers that ended, kept in the queue before they are swept.
const DEAD_MAX: usize = 64;

pub(super) struct Reads {
    waiting: Waiting<Reader, Stage>,
    /// Who joins the next round. Some may have ended.
    queued: Vec<Reader>,
    round: Option<Round>,
    rounds: u64,
    /// Who waits for an index to be applied. Some may have ended.
    confirmed: BTreeMap<u64, Vec<Reader>>,
    backoff: Backoff,
}

/// Who reads: a client, or this member looking at its leases for somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reader {
    Client(Seq),
    /// `attempt` tells one read from the next of the same asker.
    Lease {
        attempt: u64,
        asker: Asker,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Queued,
    /// Served by the round under way.
    Asked,
    Confirmed {
        index: u64,
    },
}

struct Round {
    number: u64,
    readers: Vec<Reader>,
    asked: Millis,
    route: Route,
}

impl Reads {
    pub fn new(request_timeout: Millis) -> Reads {
        Reads {
            waiting: Waiting::new(request_timeout),
            queued: Vec::new(),
            round: None,
            rounds: 0,
            confirmed: BTreeMap::new(),
            backoff: Backoff::new(),
        }
    }

    pub fn admit(&mut self, now: Millis, reader: Reader) -> Result<(), Error> {
        if self.waiting.len() >= PENDING_READS_MAX {
            return Err(Error::TooManyRequests);
        }
        self.waiting.insert(now, reader, Stage::Queued);
        self.queued.push(reader);
        Ok(())
    }

    pub fn forget(&mut self, reader: Reader) {
        self.waiting.remove(reader);
        // The next round empties the queue. While there is nobody to ask, it is swept here.
        let waiting = &self.waiting;
        if self.queued.len() > 2 * waiting.len() + DEAD_MAX {
            self.queued.retain(|reader| waiting.get(*reader).is_some());
        }
    }

    /// Starts a round for everybody who waits for one, or for its own sake if `contact` with the
    /// quorum is wanted.
    pub fn ask(&mut self, now: Millis, leadership: &Leadership, contact: bool) -> Option<Effect> {
        let wanted = contact || !self.queued.is_empty();
        if !wanted || self.round.is_some() || !self.backoff.is_open() {
            return None;
        }
        let route = leadership.route()?;
        let mut readers = core::mem::take(&mut self.queued);
        readers.retain(|reader| match self.waiting.get_mut(*reader) {
            Some(stage) => {
                *stage = Stage::Asked;
                true
            }
            None => false,
        });
        if readers.is_empty() && !contact {
            return None;
        }
        self.rounds += 1;
        let number = self.rounds;
        self.round = Some(Round {
            number,
            readers,
            asked: now,
            route,
        });
        Some(match route {
            Route::Here => Effect::ConfirmRead { round: number },
            Route::To(leader) => Effect::AskReadIndex {
                round: number,
                leader,
            },
        })
    }

    /// The answer to a round: its readers wait for `index` from now on. Gives the time since when
    /// a quorum is known to follow this member, if this is what the answer proves.
    pub fn confirmed(&mut self, round: u64, index: u64) -> Option<Millis> {
        let round = self.take_round(round)?;
        self.backoff.reset();
        let waiting = &mut self.waiting;
        let readers = self.confirmed.entry(index).or_default();
        for reader in round.readers {
            if let Some(stage) = waiting.get_mut(reader) {
                *stage = Stage::Confirmed { index };
                readers.push(reader);
            }
        }
        (round.route == Route::Here).then_some(round.asked)
    }

    pub fn failed(&mut self, now: Millis, round: u64) {
        if let Some(round) = self.take_round(round) {
            self.backoff.refused(now);
            self.queue_again(round.readers);
        }
    }

    /// The round under way was asked of a leader that is none any more.
    pub fn leadership_changed(&mut self) {
        self.backoff.reset();
        if let Some(round) = self.round.take() {
            self.queue_again(round.readers);
        }
    }

    /// Takes everybody whose index is applied.
    pub fn take_ready(&mut self, applied: u64) -> Vec<Reader> {
        let mut ready = Vec::new();
        while let Some(entry) = self.confirmed.first_entry() {
            if *entry.key() > applied {
                break;
            }
            for reader in entry.remove() {
                if self.waiting.remove(reader).is_some() {
                    ready.push(reader);
                }
            }
        }
        ready
    }

    /// The next reader whose time is over, with why it was not served.
    pub fn pop_expired(&mut self, now: Millis, leadership: &Leadership) -> Option<(Reader, Error)> {
        let (reader, stage) = self.waiting.pop_expired(now)?;
        let error = match stage {
            Stage::Confirmed { .. } => Error::TimeoutApply,
            Stage::Queued | Stage::Asked if leadership.route().is_none() => Error::NoLeader,
            Stage::Queued | Stage::Asked => Error::Timeout,
        };
        Some((reader, error))
    }

    /// Gives up a round that got no answer: it is asked again, under another number.
    pub fn tick(&mut self, now: Millis) {
        self.backoff.tick(now);
        if let Some(round) = self.round.take_if(|round| round.expires() <= now) {
            self.queue_again(round.readers);
        }
    }

    pub fn deadline(&self, leadership: &Leadership, contact: bool) -> Option<Millis> {
        let wanted = contact || !self.queued.is_empty();
        let can_ask = wanted && leadership.route().is_some();
        let retry = self.backoff.deadline().filter(|_| can_ask);
        let round = self.round.as_ref().map(Round::expires);
        [self.waiting.deadline(), round, retry]
            .into_iter()
            .flatten()
            .min()
    }

    fn take_round(&mut self, number: u64) -> Option<Round> {
        self.round
            .take_if(|round| round.number == number || crate::mutant!(ReadIndexReuse))
    }

    /// They were first, and go first in the next round.
    fn queue_again(&mut self, mut readers: Vec<Reader>) {
        readers.retain(|reader| match self.waiting.get_mut(*reader) {
            Some(stage) => {
                *stage = Stage::Queued;
                true
            }
            None => false,
        });
        readers.append(&mut self.queued);
        self.queued = readers;
    }

    pub fn check(&self, applied: u64) {
        self.waiting.check();
        let mut stages: BTreeMap<Reader, Stage> = BTreeMap::new();
        let asked = self.round.iter().flat_map(|round| &round.readers);
        let confirmed = self
            .confirmed
            .iter()
            .flat_map(|(&index, readers)| readers.iter().map(move |reader| (reader, index)));
        let named = (self.queued.iter().map(|reader| (reader, Stage::Queued)))
            .chain(asked.map(|reader| (reader, Stage::Asked)))
            .chain(confirmed.map(|(reader, index)| (reader, Stage::Confirmed { index })));
        for (reader, stage) in named {
            if self.waiting.get(*reader).is_some() {
                let before = stages.insert(*reader, stage);
                assert_eq!(before, None, "{reader:?} waits in two places");
            }
        }
        let known: BTreeMap<Reader, Stage> = self.waiting.iter().map(|(k, v)| (k, *v)).collect();
        assert_eq!(stages, known);
        assert!(self.confirmed.keys().all(|index| *index > applied));
        assert!(self.round.iter().all(|round| round.number == self.rounds));
        assert!(self.waiting.len() <= PENDING_READS_MAX);
    }
}

impl Round {
    fn expires(&self) -> Millis {
        self.asked + READ_ROUND_TIMEOUT
    }
}
