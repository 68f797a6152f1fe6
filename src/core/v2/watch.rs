//! The watchers of one member.
//!
//! A watcher is of one path, and is told of events from one index on. What happened before it was
//! registered is read from [`super::history`] by whoever registered it: the hub says up to which
//! index that is, and tells of everything after. So a watcher costs its path and a few numbers, and
//! an event the components of its path and the watchers that it concerns.

use super::types::{Applied, Event};
use crate::api::StreamId;
use crate::effect::Effect;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use bytes::Bytes;

/// What a watcher asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    pub path: Bytes,
    pub recursive: bool,
    /// Goes on after the first event.
    pub stream: bool,
    /// The first index that it wants.
    pub since: u64,
}

/// The watchers of a member.
#[derive(Debug, Default)]
pub struct Hub {
    /// The last index that the hub was told of.
    index: u64,
    paths: BTreeMap<Bytes, BTreeMap<StreamId, Watcher>>,
    watchers: BTreeMap<StreamId, Bytes>,
    /// Decided, and not polled yet.
    out: VecDeque<Effect>,
}

#[derive(Clone, Copy, Debug)]
struct Watcher {
    recursive: bool,
    stream: bool,
    since: u64,
}

impl Hub {
    pub fn new(index: u64) -> Hub {
        Hub {
            index,
            ..Hub::default()
        }
    }

    pub fn open(&mut self, id: StreamId, watch: Watch) {
        let Watch {
            path,
            recursive,
            stream,
            since,
        } = watch;
        let watcher = Watcher {
            recursive,
            stream,
            since,
        };
        let index = self.index;
        self.out
            .push_back(Effect::V2Watching { watcher: id, index });
        self.watchers.insert(id, path.clone());
        self.paths.entry(path).or_default().insert(id, watcher);
    }

    pub fn close(&mut self, id: StreamId) {
        let Some(path) = self.watchers.remove(&id) else {
            return;
        };
        let is_empty = self.paths.get_mut(&path).is_some_and(|watchers| {
            watchers.remove(&id);
            watchers.is_empty()
        });
        if is_empty {
            self.paths.remove(&path);
        }
    }

    /// A write was applied.
    pub fn applied(&mut self, applied: &Applied) {
        let event = &applied.event;
        self.index = event.index();
        if event.refresh || self.watchers.is_empty() {
            return;
        }
        let key = &event.node.key;
        let slashes = key.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        for (at, _) in slashes {
            // The directories above, from the root on.
            if !is_hidden_below(&key[at..]) {
                self.notify(&key.slice(..at), event, |watcher| watcher.recursive);
            }
        }
        self.notify(key, event, |_| true);
        for path in applied.removed.iter().filter(|path| *path != key) {
            self.notify(path, event, |_| true);
        }
    }

    /// A snapshot replaced the state: whoever watches has to look at the history again.
    pub fn restored(&mut self, index: u64) {
        self.index = index;
        self.paths.clear();
        let watchers = core::mem::take(&mut self.watchers);
        let ends = watchers.into_keys();
        self.out
            .extend(ends.map(|watcher| Effect::V2WatchEnd { watcher }));
    }

    pub fn poll(&mut self) -> Option<Effect> {
        self.out.pop_front()
    }

    pub fn len(&self) -> usize {
        self.watchers.len()
    }

    pub fn is_empty(&self) -> bool {
        self.watchers.is_empty()
    }

    fn notify(&mut self, path: &[u8], event: &Arc<Event>, wants: impl Fn(&Watcher) -> bool) {
        let Some(watchers) = self.paths.get_mut(path) else {
            return;
        };
        let out = &mut self.out;
        let gone = &mut self.watchers;
        watchers.retain(|id, watcher| {
            if !wants(watcher) || event.index() < watcher.since {
                return true;
            }
            out.push_back(Effect::V2WatchSend {
                watcher: *id,
                event: event.clone(),
                is_last: !watcher.stream,
            });
            if !watcher.stream {
                gone.remove(id);
            }
            watcher.stream
        });
        if watchers.is_empty() {
            self.paths.remove(path);
        }
    }

    /// Panics if the parts contradict each other.
    pub fn check(&self) {
        let listed: usize = self.paths.values().map(BTreeMap::len).sum();
        assert_eq!(listed, self.watchers.len());
        assert!(self.paths.values().all(|watchers| !watchers.is_empty()));
    }
}

/// Whether the rest of a path, from a slash on, has a hidden component.
fn is_hidden_below(rest: &[u8]) -> bool {
    rest.windows(2).any(|pair| pair == b"/_")
}
