//! The index of a history: what several checks need to know of it, worked out once and when it is
//! first asked for.

use super::Clocks;
use super::lease_ends::Leases;
use super::replay::Replay;
use crate::history::History;
use std::cell::OnceCell;

pub struct Facts<'a> {
    pub history: &'a History,
    pub clocks: Clocks,
    replay: OnceCell<Replay<'a>>,
    leases: OnceCell<Leases<'a>>,
}

impl<'a> Facts<'a> {
    pub fn of(history: &'a History, clocks: Clocks) -> Facts<'a> {
        Facts {
            history,
            clocks,
            replay: OnceCell::new(),
            leases: OnceCell::new(),
        }
    }

    /// Which operation made which revision.
    pub(super) fn replay(&self) -> &Replay<'a> {
        self.replay.get_or_init(|| Replay::of(self.history))
    }

    /// When each lease was there.
    pub(super) fn leases(&self) -> &Leases<'a> {
        self.leases
            .get_or_init(|| Leases::of(self.history, self.clocks))
    }
}
