//! The member's quota: which writes it has room for, and when it says that it has none.
//!
//! The store is measured now and then; in between, what is let in counts on top. A write that does
//! not fit by what is known waits for a new measurement, because what is written is often less than
//! what was counted. A write that does not fit is refused, as soon as all members know that this
//! one has no space: the alarm comes first, so that nobody lets in more (etcd tries to raise it, too,
//! before it refuses).

use crate::api::Millis;
use crate::event::Seq;
use crate::limits::{QUOTA_MEASURE_PAUSE, QUOTA_MEASURE_PERIOD};
use crate::quota::has_room;
use alloc::collections::{BTreeMap, BTreeSet};

pub(super) struct Room {
    /// `None`: no quota.
    quota: Option<u64>,
    /// The store's size when it was measured, and what was let in since.
    size: u64,
    /// When it was measured; `None` before the first time.
    measured: Option<Millis>,
    /// A measurement was asked for and has not come.
    is_asked: bool,
    wants_size: bool,
    /// Writes that wait for a measurement, and how much they may add.
    unsure: BTreeMap<Seq, u64>,
    /// Writes that are refused once the alarm is raised.
    refused: BTreeSet<Seq>,
    /// Whether the alarm of this member is raised.
    is_raised: bool,
    /// The proposal that raises it, under way.
    raising: Option<Seq>,
}

/// What becomes of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Fits,
    /// The store has to be measured first.
    Unsure,
    Full,
}

impl Room {
    pub fn new(quota: Option<u64>, is_raised: bool) -> Room {
        Room {
            quota,
            size: 0,
            measured: None,
            is_asked: false,
            wants_size: false,
            unsure: BTreeMap::new(),
            refused: BTreeSet::new(),
            is_raised,
            raising: None,
        }
    }

    /// Whether there is room for `growth` more bytes, which are then counted.
    pub fn judge(&mut self, now: Millis, growth: u64) -> Verdict {
        let Some(quota) = self.quota.filter(|_| growth > 0) else {
            return Verdict::Fits;
        };
        let known = self.measured.filter(|_| has_room(quota, self.size, growth));
        if known.is_some() {
            self.size += growth;
            self.look(now);
            return Verdict::Fits;
        }
        match self.measured {
            Some(measured) if now < measured + QUOTA_MEASURE_PAUSE => Verdict::Full,
            _ => {
                self.wants_size = true;
                Verdict::Unsure
            }
        }
    }

    /// Has the store measured again if what is known of it is old.
    pub fn look(&mut self, now: Millis) {
        let is_old = |measured: Millis| now >= measured + QUOTA_MEASURE_PERIOD;
        if self.quota.is_some() && self.measured.is_none_or(is_old) {
            self.wants_size = true;
        }
    }

    /// Whether the store is to be measured now.
    pub fn take_measure(&mut self) -> bool {
        let asks = self.wants_size && !self.is_asked;
        if asks {
            (self.wants_size, self.is_asked) = (false, true);
        }
        asks
    }

    /// The store was measured: gives the writes that were waiting for it.
    pub fn measured(&mut self, now: Millis, bytes: u64) -> BTreeMap<Seq, u64> {
        self.size = bytes;
        self.measured = Some(now);
        (self.is_asked, self.wants_size) = (false, false);
        core::mem::take(&mut self.unsure)
    }

    pub fn wait_for_size(&mut self, seq: Seq, growth: u64) {
        self.unsure.insert(seq, growth);
    }

    pub fn wait_for_alarm(&mut self, seq: Seq) {
        self.refused.insert(seq);
    }

    /// Whether the alarm is to be raised, because nothing more fits or a write was refused.
    pub fn must_raise(&self) -> bool {
        let is_full = self
            .quota
            .is_some_and(|quota| self.measured.is_some() && !has_room(quota, self.size, 1));
        (is_full || !self.refused.is_empty()) && !self.is_raised && self.raising.is_none()
    }

    pub fn raise(&mut self, seq: Seq) {
        self.raising = Some(seq);
    }

    /// The proposal that raises the alarm has ended, whatever came of it. Says whether it was one.
    pub fn raise_ended(&mut self, seq: Seq) -> bool {
        self.raising.take_if(|raising| *raising == seq).is_some()
    }

    /// The alarm of this member was raised.
    pub fn raised(&mut self) {
        self.is_raised = true;
    }

    /// The alarm of this member was disarmed. A size measured before decides nothing more: an
    /// operator disarms the alarm because the store has become smaller.
    pub fn disarmed(&mut self) {
        self.is_raised = false;
        self.measured = None;
        self.wants_size = self.quota.is_some();
    }

    /// The writes that may be refused now: the alarm is raised.
    pub fn take_refused(&mut self) -> BTreeSet<Seq> {
        match self.is_raised {
            true => core::mem::take(&mut self.refused),
            false => BTreeSet::new(),
        }
    }

    /// A write has ended otherwise. Says whether it was to be refused.
    pub fn forget(&mut self, seq: Seq) -> bool {
        self.unsure.remove(&seq);
        self.refused.remove(&seq)
    }

    pub fn check(&self) {
        assert!(self.quota.is_some() || self.unsure.is_empty() && self.refused.is_empty());
        assert!(self.unsure.is_empty() || self.wants_size || self.is_asked);
    }
}
