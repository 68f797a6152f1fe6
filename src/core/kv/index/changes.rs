//! What is known of the keys while a batch is applied.

use super::KeyIndex;
use alloc::boxed::Box;
use alloc::vec::Vec;

#[derive(Clone, Debug)]
pub enum LiveKeys {
    Indexed(KeyIndex),
    /// There is no index yet: what is to be done to it once it is there.
    Changed(Vec<KeyChange>),
}

impl LiveKeys {
    pub fn of(index: Option<KeyIndex>) -> LiveKeys {
        index.map_or_else(|| LiveKeys::Changed(Vec::new()), LiveKeys::Indexed)
    }

    pub fn index(&self) -> Option<&KeyIndex> {
        match self {
            LiveKeys::Indexed(index) => Some(index),
            LiveKeys::Changed(_) => None,
        }
    }

    /// A key was created at this main revision.
    pub fn create(&mut self, key: &[u8], main: i64) {
        match self {
            LiveKeys::Indexed(index) => index.insert(key, main),
            LiveKeys::Changed(changes) => changes.push(KeyChange::new(key, main, true)),
        }
    }

    /// A key was deleted at this main revision.
    pub fn delete(&mut self, key: &[u8], main: i64) {
        match self {
            LiveKeys::Indexed(index) => index.remove(key, main),
            LiveKeys::Changed(changes) => changes.push(KeyChange::new(key, main, false)),
        }
    }

    /// What was before this main revision is asked for no more.
    pub fn compact(&mut self, main: i64) {
        if let LiveKeys::Indexed(index) = self {
            index.compact(main);
        }
    }

    /// A batch ends.
    pub fn prune(&mut self) {
        if let LiveKeys::Indexed(index) = self {
            index.prune();
        }
    }
}

/// A key that became live, or is no longer. It shares no memory with the rows of the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyChange {
    key: Box<[u8]>,
    main: i64,
    is_live: bool,
}

impl KeyChange {
    fn new(key: &[u8], main: i64, is_live: bool) -> KeyChange {
        let key = key.into();
        KeyChange { key, main, is_live }
    }

    pub(super) fn apply(&self, index: &mut KeyIndex) {
        match self.is_live {
            true => index.insert(&self.key, self.main),
            false => index.remove(&self.key, self.main),
        }
    }
}
