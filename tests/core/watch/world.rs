//! A naive store: every change that ever happened, in a list.

use bytes::Bytes;
use detcd_core::api::{ChangeKind, KeyChange, KeyRange, KeyValue, WatchCreate, WatchId};
use detcd_core::event::{CaughtUp, CompactedAt};
use std::collections::BTreeMap;

pub struct World {
    pub revision: i64,
    pub compact_revision: i64,
    pub history: Vec<KeyChange>,
    live: BTreeMap<Bytes, KeyValue>,
}

impl World {
    pub fn new() -> World {
        World {
            revision: 1,
            compact_revision: 0,
            history: Vec::new(),
            live: BTreeMap::new(),
        }
    }

    /// Makes one revision of puts (`Some`) and deletes (`None`) of different keys. Deletes of what
    /// is not there change nothing, and nothing at all makes no revision.
    pub fn write(&mut self, writes: &[(Bytes, Option<Bytes>)]) -> Vec<KeyChange> {
        let main = self.revision + 1;
        let mut changes: Vec<KeyChange> = Vec::new();
        for (key, value) in writes {
            if changes.iter().any(|change| change.kv.key == key) {
                continue;
            }
            let prev_kv = self.live.get(key).cloned();
            match value {
                Some(value) => {
                    let kv = KeyValue {
                        key: key.clone(),
                        value: value.clone(),
                        create_revision: prev_kv.as_ref().map_or(main, |kv| kv.create_revision),
                        mod_revision: main,
                        version: prev_kv.as_ref().map_or(1, |kv| kv.version + 1),
                        ..KeyValue::default()
                    };
                    self.live.insert(key.clone(), kv.clone());
                    changes.push(KeyChange {
                        kind: ChangeKind::Put,
                        kv,
                        prev_kv,
                    });
                }
                None if prev_kv.is_some() => {
                    self.live.remove(key);
                    let kv = KeyValue {
                        key: key.clone(),
                        mod_revision: main,
                        ..KeyValue::default()
                    };
                    changes.push(KeyChange {
                        kind: ChangeKind::Delete,
                        kv,
                        prev_kv,
                    });
                }
                None => {}
            }
        }
        if !changes.is_empty() {
            self.revision = main;
            self.history.extend(changes.iter().cloned());
        }
        changes
    }

    /// What a read of the store for lagging watchers gives: at least one revision, then no more
    /// than `limit` changes.
    pub fn read(&self, from: i64, to: i64, limit: usize) -> Result<CaughtUp, CompactedAt> {
        assert!(to <= self.revision, "what is asked for is visible");
        if from < self.compact_revision {
            return Err(CompactedAt(self.compact_revision));
        }
        let mut changes: Vec<KeyChange> = Vec::new();
        for change in self.between(from, to) {
            let last = changes
                .last()
                .map_or(change.kv.mod_revision, |last| last.kv.mod_revision);
            if changes.len() >= limit && change.kv.mod_revision > last {
                return Ok(CaughtUp {
                    through: last,
                    changes,
                });
            }
            changes.push(change.clone());
        }
        Ok(CaughtUp {
            through: to,
            changes,
        })
    }

    /// Every change with `from <= revision <= to`.
    pub fn between(&self, from: i64, to: i64) -> impl Iterator<Item = &KeyChange> {
        let start = self
            .history
            .partition_point(|change| change.kv.mod_revision < from);
        self.history[start..]
            .iter()
            .take_while(move |change| change.kv.mod_revision <= to)
    }

    /// The events that a watcher is owed for `[from, to]`.
    pub fn owed(&self, watch: &WatchCreate, from: i64, to: i64) -> Vec<KeyChange> {
        self.between(from, to)
            .filter(|change| watch.range.contains(&change.kv.key))
            .filter(|change| match change.kind {
                ChangeKind::Put => !watch.no_put,
                ChangeKind::Delete => !watch.no_delete,
            })
            .map(|change| KeyChange {
                prev_kv: change.prev_kv.clone().filter(|_| watch.prev_kv),
                ..change.clone()
            })
            .collect()
    }
}

/// A watch of `range` with every option at its default.
pub fn watch(range: KeyRange) -> WatchCreate {
    WatchCreate {
        id: WatchId(0),
        range,
        start_revision: 0,
        progress_notify: false,
        no_put: false,
        no_delete: false,
        prev_kv: false,
        fragment: false,
    }
}
