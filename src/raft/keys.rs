//! The index of the live keys, beside the store.
//!
//! It is in no row: all of it follows from the keys of `Current`. When a member starts, and when a
//! snapshot replaces its state, the index is built beside the traffic, and until it is there reads
//! count without it. Apply notes meanwhile which keys come and go, and the index catches up.

use arc_swap::ArcSwap;
use detcd_core::kv::index::{Indexed, KeyChange, KeyIndex, LiveKeys};
use detcd_core::status::Published;
use detcd_core::view::{Direction, Fault, Table, View};
use detcd_rt::buggify::{Place, linger};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Rows that are indexed before it is looked whether anybody still wants the index.
const ROWS_UNASKED: usize = 1024;

/// The index that belongs to the published state, or what it will have to catch up with.
pub(crate) struct Keys {
    state: Arc<Mutex<State>>,
}

enum State {
    Building(Vec<KeyChange>),
    Built(KeyIndex),
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
            linger(Place::IndexKeys).await;
            let begun = detcd_rt::Instant::now();
            let asked = wanted.clone();
            let Ok(index) = detcd_rt::spawn_blocking(move || index(&rows, &asked)).await else {
                return;
            };
            let Some(state) = wanted.upgrade() else {
                return;
            };
            match index {
                Ok(index) => {
                    let (keys, elapsed) = (index.len(), begun.elapsed());
                    tracing::debug!(keys, ?elapsed, "indexed the live keys");
                    finish(&state, index, &published);
                }
                Err(fault) => {
                    // Whoever reads the row halts the member; counts need not.
                    tracing::warn!(error = %fault, "cannot index the live keys");
                    *lock(&state) = State::Off;
                }
            }
        });
        Keys { state }
    }

    /// The index of what is published, if it is built.
    pub(crate) fn current(&self) -> Option<KeyIndex> {
        match &*lock(&self.state) {
            State::Built(index) => Some(index.clone()),
            State::Building(_) | State::Off => None,
        }
    }

    /// Takes up what a batch did to the keys, and has the batch published with the index.
    pub(crate) fn advance(&self, keys: LiveKeys, publish: impl FnOnce(Option<KeyIndex>)) {
        let mut state = lock(&self.state);
        match (&mut *state, keys) {
            (state, LiveKeys::Indexed(index)) => *state = State::Built(index),
            // It was built while the batch was applied.
            (State::Built(index), LiveKeys::Changed(changes)) => index.catch_up(&changes),
            (State::Building(before), LiveKeys::Changed(changes)) => before.extend(changes),
            (State::Off, LiveKeys::Changed(_)) => {}
        }
        let index = match &*state {
            State::Built(index) => Some(index.clone()),
            State::Building(_) | State::Off => None,
        };
        publish(index);
    }

    /// Other rows come into force: an index of these is published no more.
    pub(crate) fn give_up(&self) {
        *lock(&self.state) = State::Off;
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Indexes every key, or stops early when nobody wants it any more.
fn index(rows: &impl View, wanted: &Weak<Mutex<State>>) -> Result<KeyIndex, Fault> {
    let mut index = KeyIndex::default();
    let all = (Bound::Unbounded, Bound::Unbounded);
    let rows = rows.scan(Table::Current, all, Direction::Forward);
    for (number, row) in rows.enumerate() {
        if number % ROWS_UNASKED == 0 && wanted.strong_count() == 0 {
            break;
        }
        index.insert(&row?.0);
    }
    Ok(index)
}

/// Publishes the state again, with its index. Whoever applies holds the same lock to publish, so
/// the changes that were noted are those between the indexed rows and the published state.
fn finish(state: &Mutex<State>, mut index: KeyIndex, published: &ArcSwap<Published>) {
    let mut state = lock(state);
    let State::Building(changes) = &*state else {
        return;
    };
    index.catch_up(changes);
    *state = State::Built(index.clone());
    published.rcu(|last| with_keys(last, Some(index.clone())));
}

/// The same state with this index.
fn with_keys(last: &Published, keys: Option<KeyIndex>) -> Published {
    let rows = last.view.clone();
    Published {
        view: Arc::new(Indexed { rows, keys }),
        roster: last.roster.clone(),
        ..*last
    }
}
