//! The index of the keys, beside the store.
//!
//! It is in no row: all of it follows from rows. When a member starts, and when a snapshot replaces
//! its state, the index is built beside the traffic: first the live keys, then the generations of
//! keys that had ended, which only reads of the past ask for. Until each is there reads count
//! without it. Apply notes meanwhile which keys come and go, and the index catches up.

use arc_swap::ArcSwap;
use detcd_core::kv::index::{
    EndedGenerations, Indexed, KeyChange, KeyIndex, LiveKeys, ended_generations, live_keys,
};
use detcd_core::status::Published;
use detcd_core::view::{Fault, View};
use detcd_rt::buggify::{Place, maybe_wait};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// The index that belongs to the published state, or what it will have to catch up with.
pub(crate) struct Keys {
    state: Arc<Mutex<State>>,
}

enum State {
    Building(Vec<KeyChange>),
    Built {
        index: KeyIndex,
        /// For the batch that was being applied, with an older index, when these were found.
        ended: Option<EndedGenerations>,
    },
    /// A key cannot be read, or other rows are in force by now.
    Off,
}

impl Keys {
    /// Begins to index the keys of `rows`, which are those that are in force. Once that is done,
    /// what is published has the index.
    pub(crate) fn build<V>(rows: V, published: Arc<ArcSwap<Published>>) -> Keys
    where
        V: View + Send + Sync + 'static,
    {
        let state = Arc::new(Mutex::new(State::Building(Vec::new())));
        let wanted = Arc::downgrade(&state);
        detcd_rt::spawn(async move {
            maybe_wait(Place::IndexKeys).await;
            let begun = detcd_rt::Instant::now();
            let is_wanted = go_on(&wanted);
            let live = detcd_rt::spawn_blocking(move || {
                let index = live_keys(&rows, is_wanted);
                (index, rows)
            });
            let Ok((live, rows)) = live.await else { return };
            let Some(index) = take(live, &wanted) else {
                return;
            };
            tracing::debug!(keys = index.len(), elapsed = ?begun.elapsed(), "indexed the live keys");
            publish_live(&wanted, index, &published);
            maybe_wait(Place::IndexKeys).await;
            let is_wanted = go_on(&wanted);
            let ended = detcd_rt::spawn_blocking(move || ended_generations(&rows, is_wanted));
            let Ok(ended) = ended.await else { return };
            if let Some(ended) = take(ended, &wanted) {
                tracing::debug!(elapsed = ?begun.elapsed(), "indexed the deleted keys");
                publish_ended(&wanted, ended, &published);
            }
        });
        Keys { state }
    }

    /// The index of what is published, if it is built.
    pub(crate) fn current(&self) -> Option<KeyIndex> {
        lock(&self.state).index()
    }

    /// Takes up what a batch did to the keys, and has the batch published with the index.
    pub(crate) fn advance(&self, keys: LiveKeys, publish: impl FnOnce(Option<KeyIndex>)) {
        let mut state = lock(&self.state);
        state.advance(keys);
        publish(state.index());
    }

    /// Other rows come into force: an index of these is published no more.
    pub(crate) fn give_up(&self) {
        *lock(&self.state) = State::Off;
    }
}

impl State {
    fn index(&self) -> Option<KeyIndex> {
        match self {
            State::Built { index, .. } => Some(index.clone()),
            State::Building(_) | State::Off => None,
        }
    }

    fn advance(&mut self, keys: LiveKeys) {
        match (self, keys) {
            (state, LiveKeys::Indexed(mut index)) => {
                if let State::Built { ended, .. } = state
                    && let Some(ended) = ended.take()
                {
                    index.add_ended(ended);
                }
                *state = State::Built { index, ended: None };
            }
            // It was built while the batch was applied.
            (State::Built { index, .. }, LiveKeys::Changed(changes)) => index.catch_up(&changes),
            (State::Building(before), LiveKeys::Changed(changes)) => before.extend(changes),
            (State::Off, LiveKeys::Changed(_)) => {}
        }
    }

    fn add_ended(&mut self, found: EndedGenerations) {
        if let State::Built { index, ended } = self {
            index.add_ended(found.clone());
            *ended = Some(found);
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether anybody still wants the index.
fn go_on(wanted: &Weak<Mutex<State>>) -> impl FnMut() -> bool + Send + 'static {
    let wanted = wanted.clone();
    move || wanted.strong_count() > 0
}

/// What was indexed. Whoever reads a row that cannot be read halts the member; counts need not.
fn take<T>(indexed: Result<Option<T>, Fault>, wanted: &Weak<Mutex<State>>) -> Option<T> {
    match indexed {
        Ok(indexed) => indexed,
        Err(fault) => {
            tracing::warn!(error = %fault, "cannot index the keys");
            *lock(&*wanted.upgrade()?) = State::Off;
            None
        }
    }
}

/// Publishes the state again, with its index. Whoever applies holds the same lock to publish, so
/// the changes that were noted are those between the indexed rows and the published state.
fn publish_live(wanted: &Weak<Mutex<State>>, mut index: KeyIndex, published: &ArcSwap<Published>) {
    let Some(state) = wanted.upgrade() else {
        return;
    };
    let mut state = lock(&state);
    if let State::Building(changes) = &*state {
        index.catch_up(changes);
        *state = State::Built { index, ended: None };
        publish(&mut state, published);
    }
}

/// Publishes the state again, with an index that knows all deleted keys.
fn publish_ended(
    wanted: &Weak<Mutex<State>>,
    found: EndedGenerations,
    published: &ArcSwap<Published>,
) {
    let Some(state) = wanted.upgrade() else {
        return;
    };
    let mut state = lock(&state);
    state.add_ended(found);
    publish(&mut state, published);
}

fn publish(state: &mut State, published: &ArcSwap<Published>) {
    let State::Built { index, .. } = state else {
        return;
    };
    index.compact(published.load().compact_revision);
    published.rcu(|last| with_keys(last, Some(index.clone())));
}

/// The same state with this index.
fn with_keys(last: &Published, keys: Option<KeyIndex>) -> Published {
    let rows = last.view.clone();
    Published {
        view: Arc::new(Indexed { rows, keys }),
        roster: last.roster.clone(),
        auth: last.auth.clone(),
        ..*last
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use detcd_core::view::{Direction, KeyBounds, Rows, Table};

    struct NoRows;

    impl View for NoRows {
        fn get(&self, _: Table, _: &[u8]) -> Result<Option<Bytes>, Fault> {
            Ok(None)
        }

        fn scan<'a>(&'a self, _: Table, _: KeyBounds<'_>, _: Direction) -> Rows<'a> {
            Box::new(std::iter::empty())
        }
    }

    #[test]
    fn deleted_keys_are_known_after_a_batch_that_began_before_they_were_found() {
        let index = live_keys(&NoRows, || true).unwrap().unwrap();
        let mut state = State::Built { index, ended: None };
        let count = |state: &State| {
            let index = state.index().unwrap();
            index.count_at((&[], None), 0, &NoRows).unwrap()
        };
        assert_eq!(count(&state), None);
        let batch = LiveKeys::of(state.index());
        state.add_ended(ended_generations(&NoRows, || true).unwrap().unwrap());
        assert_eq!(count(&state), Some(0));
        state.advance(batch);
        assert_eq!(count(&state), Some(0));
    }
}
