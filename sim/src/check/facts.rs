//! The index of a history: what several checks need to know of it, worked out once and when it is
//! first asked for.

use super::lease_ends::Leases;
use super::replay::{self, Replay};
use super::wing_gong::{self, Searched};
use super::{Clocks, Finding};
use crate::history::History;
use crate::model::State;
use std::cell::OnceCell;
use std::collections::BTreeMap;

pub struct Facts<'a> {
    pub history: &'a History,
    pub clocks: Clocks,
    states: OnceCell<BTreeMap<i64, State>>,
    replay: OnceCell<Replay<'a>>,
    leases: OnceCell<Leases<'a>>,
    replayed: OnceCell<Vec<Finding>>,
    searched: OnceCell<Searched>,
}

impl<'a> Facts<'a> {
    pub fn of(history: &'a History, clocks: Clocks) -> Facts<'a> {
        Facts {
            history,
            clocks,
            states: OnceCell::new(),
            replay: OnceCell::new(),
            leases: OnceCell::new(),
            replayed: OnceCell::new(),
            searched: OnceCell::new(),
        }
    }

    /// The store at each revision.
    pub(super) fn states(&self) -> &BTreeMap<i64, State> {
        self.states.get_or_init(|| {
            let mut state = State::empty();
            let mut states = BTreeMap::from([(state.revision, state.clone())]);
            for (revision, changes) in &self.history.revisions {
                state.advance(changes);
                states.insert(*revision, state.clone());
            }
            states
        })
    }

    /// Which operation made which revision.
    pub(super) fn replay(&self) -> &Replay<'a> {
        self.replay.get_or_init(|| Replay::of(self.history))
    }

    /// When each lease was there.
    pub(super) fn leases(&self) -> &Leases<'a> {
        let leases = || Leases::of(self.history, self.clocks);
        self.leases.get_or_init(leases)
    }

    /// What the replay finds, which has linearizability judged by revisions.
    pub(super) fn replayed(&self) -> &[Finding] {
        self.replayed.get_or_init(|| replay::check(self))
    }

    /// What the search finds, which judges it by values and time.
    pub(super) fn searched(&self) -> &Searched {
        self.searched.get_or_init(|| wing_gong::check(self.history))
    }
}
