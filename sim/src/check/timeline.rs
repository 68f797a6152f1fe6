//! The states of a history, one after the other.

use crate::history::History;
use crate::model::State;
use detcd_core::api::KeyChange;
use std::collections::btree_map;
use std::iter::Peekable;

/// Walks from revision to revision, forward only. Holds one state, so a long history costs no
/// more memory than a short one.
#[derive(Clone)]
pub struct Timeline<'a> {
    state: State,
    rest: Peekable<btree_map::Iter<'a, i64, Vec<KeyChange>>>,
}

impl<'a> Timeline<'a> {
    pub fn of(history: &'a History) -> Timeline<'a> {
        Timeline {
            state: State::keeping(history.revisions_of_txns()),
            rest: history.revisions.iter().peekable(),
        }
    }

    /// The state at a revision that is not before the one asked for last; `None` if the history
    /// has no such revision.
    pub fn at(&mut self, revision: i64) -> Option<&State> {
        while self.state.revision < revision {
            let next = self.state.revision + 1;
            let (_, changes) = self.rest.next_if(|(at, _)| **at == next)?;
            self.state.advance(changes);
        }
        (self.state.revision == revision).then_some(&self.state)
    }

    /// The revision that it got to.
    pub fn last(&self) -> i64 {
        self.state.revision
    }
}
