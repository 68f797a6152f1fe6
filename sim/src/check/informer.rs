//! Caches of a list and a watch: after every list, every response with changes and every bookmark
//! the cache is what the store had at that revision, and in the end it is what the store has.

use super::{Facts, Finding};
use crate::client_records::{Informer, Seen};
use crate::history::text;
use crate::model::State;
use bytes::Bytes;
use detcd_core::api::{ChangeKind, KeyChange, KeyValue};
use std::collections::BTreeMap;

pub fn check(facts: &Facts<'_>) -> Vec<Finding> {
    let informers = facts.history.informers.iter();
    let findings = informers.filter_map(|informer| {
        let (what, revision) = Cache::new(informer, facts.states()).problem().err()?;
        let what = format!("{}: {what}", informer.name);
        Some(Finding::new(what).revision(revision).client(&informer.name))
    });
    findings.collect()
}

/// What is wrong, and at which revision.
type Problem = (String, i64);

struct Cache<'a> {
    informer: &'a Informer,
    states: &'a BTreeMap<i64, State>,
    objects: BTreeMap<Bytes, KeyValue>,
    /// The revision of the cache.
    at: i64,
}

impl<'a> Cache<'a> {
    fn new(informer: &'a Informer, states: &'a BTreeMap<i64, State>) -> Cache<'a> {
        Cache {
            informer,
            states,
            objects: BTreeMap::new(),
            at: 0,
        }
    }

    fn problem(&mut self) -> Result<(), Problem> {
        for seen in &self.informer.seen {
            match seen {
                Seen::Listed { revision, objects } => {
                    let objects = objects.iter().map(|kv| (kv.key.clone(), kv.clone()));
                    self.objects = objects.collect();
                    self.reach(*revision, "the list")?;
                }
                Seen::Changed(changes) => {
                    for change in changes {
                        self.change(change)?;
                    }
                    let last = changes.last().map_or(self.at, |last| last.kv.mod_revision);
                    self.reach(last, "the watch")?;
                }
                Seen::Bookmark(revision) => {
                    self.reach((*revision).max(self.at), "the bookmark")?;
                }
            }
        }
        let last = self.states.keys().next_back().copied().unwrap_or(1);
        if self.at < last {
            return Err((
                format!("it ends at {}, and the store at {last}", self.at),
                last,
            ));
        }
        Ok(())
    }

    fn change(&mut self, change: &KeyChange) -> Result<(), Problem> {
        let revision = change.kv.mod_revision;
        if revision <= self.at {
            let what = format!("it is at {} and is told of revision {revision}", self.at);
            return Err((what, revision));
        }
        let before = match change.kind {
            ChangeKind::Put => self
                .objects
                .insert(change.kv.key.clone(), change.kv.clone()),
            ChangeKind::Delete => self.objects.remove(&change.kv.key),
        };
        // What was before may be compacted, but if it is told it is right.
        if change.prev_kv.is_some() && change.prev_kv != before {
            let what = format!("{change} has another value before than the cache");
            return Err((what, revision));
        }
        if change.kind == ChangeKind::Delete && before.is_none() {
            let what = format!("{} is deleted and was not there", text(&change.kv.key));
            return Err((what, revision));
        }
        Ok(())
    }

    /// The cache must be the store's state at this revision, if the history goes so far.
    fn reach(&mut self, revision: i64, by: &str) -> Result<(), Problem> {
        self.at = revision;
        let Some(state) = self.states.get(&revision) else {
            return Ok(());
        };
        let range = &self.informer.range;
        let stored = state.keys.iter().filter(|(key, _)| range.contains(key));
        if stored.clone().eq(self.objects.iter()) {
            return Ok(());
        }
        let stored: BTreeMap<&Bytes, &KeyValue> = stored.collect();
        let keys = stored.keys().copied().chain(self.objects.keys());
        let wrong = keys
            .filter(|key| stored.get(key).copied() != self.objects.get(*key))
            .min();
        let wrong = wrong.expect("they differ in some key");
        let reported = |kv: Option<&KeyValue>| match kv {
            Some(kv) => format!("{}@{}", text(&kv.value), kv.mod_revision),
            None => "nothing".to_owned(),
        };
        let (cached, stored) = (
            reported(self.objects.get(wrong)),
            reported(stored.get(wrong).copied()),
        );
        let wrong = text(wrong);
        Err((
            format!(
                "by {by} at revision {revision}, {wrong} is {cached} where the store has {stored}"
            ),
            revision,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Clocks, forge};
    use crate::history::History;
    use crate::workload::ops;

    /// Two objects are created and listed, one is changed and the other deleted; the third
    /// revision is nobody's.
    fn plain() -> History {
        let effects = [
            "put o/a 1",
            "put o/b 2",
            "put o/a 3",
            "delete o/b",
            "put other 4",
        ];
        let mut history = forge::history(&effects, Vec::new());
        let listed = forge::state(&effects[..2]).keys;
        let changes = |revision: i64| Seen::Changed(history.revisions[&revision].clone());
        let seen = vec![
            Seen::Listed {
                revision: 3,
                objects: listed.values().cloned().collect(),
            },
            changes(4),
            changes(5),
            Seen::Bookmark(6),
        ];
        history.informers = vec![Informer {
            name: "i1".to_owned(),
            range: ops::prefix("o/"),
            seen,
        }];
        history
    }

    fn is_wrong(forge: impl FnOnce(&mut Vec<Seen>)) -> bool {
        let mut history = plain();
        forge(&mut history.informers[0].seen);
        !check(&Facts::of(&history, Clocks::TRUE)).is_empty()
    }

    #[test]
    fn a_cache_that_follows_is_fine() {
        assert!(!is_wrong(|_| {}));
    }

    #[test]
    fn forged_caches_are_found() {
        // A change is missing, or comes twice, or in the wrong order; the end never comes; the
        // bookmark is ahead of a change; the list is of another revision.
        assert!(is_wrong(|seen| drop(seen.remove(1))));
        assert!(is_wrong(|seen| seen.insert(1, seen[1].clone())));
        assert!(is_wrong(|seen| seen.swap(1, 2)));
        assert!(is_wrong(|seen| drop(seen.pop())));
        assert!(is_wrong(|seen| seen.insert(1, Seen::Bookmark(4))));
        let other_list = |seen: &mut Vec<Seen>| {
            if let Seen::Listed { revision, .. } = &mut seen[0] {
                *revision = 2;
            }
        };
        assert!(is_wrong(other_list));
        let other_past = |seen: &mut Vec<Seen>| {
            if let Seen::Changed(changes) = &mut seen[1] {
                changes[0].prev_kv = Some(KeyValue::default());
            }
        };
        assert!(is_wrong(other_past));
    }
}
