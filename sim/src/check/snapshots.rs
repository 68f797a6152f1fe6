//! A snapshot that an operator saved shows the state at one revision: every change after its
//! compaction and up to its last one, and of what is compacted what was still live. It is not older
//! than what its member had told before.

use super::timeline::Timeline;
use super::{Facts, Finding};
use crate::client_records::SavedSnapshot;
use crate::history::{History, text};
use bytes::Bytes;
use detcd_core::api::{ChangeKind, KeyValue};
use std::collections::BTreeMap;

pub fn check(facts: &Facts<'_>) -> Vec<Finding> {
    let history = facts.history;
    let wrong = |saved: &SavedSnapshot| {
        let what = problem(history, saved)?;
        Some(Finding::new(format!(
            "a snapshot of member {}: {what}",
            saved.member + 1
        )))
    };
    history.snapshots.iter().filter_map(wrong).collect()
}

/// The first thing that is wrong with a snapshot.
fn problem(history: &History, saved: &SavedSnapshot) -> Option<String> {
    let Some((compacted, changes)) = &saved.content else {
        return Some("it cannot be read".to_owned());
    };
    let mut at: BTreeMap<i64, Vec<(bool, KeyValue)>> = BTreeMap::new();
    for (revision, is_delete, kv) in changes {
        let change = (*is_delete, kv.clone().into());
        at.entry(*revision).or_default().push(change);
    }
    let last = at.keys().next_back().map_or(1, |last| *last);
    if last < saved.at_least.max(*compacted) {
        let least = saved.at_least;
        return Some(format!(
            "it ends at revision {last}, which was told: {least}"
        ));
    }
    // What came after the end of the history cannot be judged.
    for (revision, expected) in history.revisions.range(compacted + 1..last + 1) {
        let found = at.get(revision).map_or(&[][..], |changes| &changes[..]);
        let alike =
            |(expected, (is_delete, kv)): (&detcd_core::api::KeyChange, &(bool, KeyValue))| {
                match expected.kind {
                    ChangeKind::Put => !is_delete && expected.kv == *kv,
                    ChangeKind::Delete => *is_delete && expected.kv.key == kv.key,
                }
            };
        if expected.len() != found.len() || !expected.iter().zip(found).all(alike) {
            let (found, expected) = (found.len(), expected.len());
            return Some(format!(
                "revision {revision} has {found} changes in it, not the {expected} that were made"
            ));
        }
    }
    live(history, *compacted, &at)
}

/// What was live at the compaction is there.
fn live(
    history: &History,
    compacted: i64,
    at: &BTreeMap<i64, Vec<(bool, KeyValue)>>,
) -> Option<String> {
    let mut timeline = Timeline::of(history);
    let state = timeline.at(compacted.max(1))?;
    let mut newest: BTreeMap<&Bytes, &KeyValue> = BTreeMap::new();
    for (is_delete, kv) in at.range(..=compacted).flat_map(|(_, changes)| changes) {
        match is_delete {
            true => newest.remove(&kv.key),
            false => newest.insert(&kv.key, kv),
        };
    }
    let missing = state
        .keys
        .iter()
        .find(|(key, kv)| newest.get(key).copied() != Some(*kv));
    missing.map(|(key, _)| {
        let key = text(key);
        format!("`{key}` is not in it as it was at the compaction, revision {compacted}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Clocks, forge};
    use detcd_wire::mvccpb;

    /// `a` is written twice, `b` once and deleted; compacted at 3.
    fn plain() -> History {
        let effects = ["put a 1", "put b 1", "put a 2", "delete b"];
        let mut history = forge::history(&effects, Vec::new());
        let mut changes = Vec::new();
        for (revision, made) in &history.revisions {
            for change in made {
                let is_delete = change.kind == ChangeKind::Delete;
                let kv = mvccpb::KeyValue::from(change.kv.clone());
                changes.push((*revision, is_delete, kv));
            }
        }
        history.snapshots = vec![SavedSnapshot {
            member: 0,
            at_least: 4,
            content: Some((3, changes)),
        }];
        history
    }

    fn is_wrong(forge: impl FnOnce(&mut SavedSnapshot)) -> bool {
        let mut history = plain();
        forge(&mut history.snapshots[0]);
        !check(&Facts::of(&history, Clocks::TRUE)).is_empty()
    }

    #[test]
    fn a_whole_snapshot_is_fine() {
        assert!(!is_wrong(|_| {}));
    }

    #[test]
    fn forged_snapshots_are_found() {
        assert!(is_wrong(|saved| saved.content = None));
        assert!(is_wrong(|saved| saved.at_least = 6));
        for missing in 0..4 {
            let forge = |saved: &mut SavedSnapshot| {
                let (_, changes) = saved.content.as_mut().expect("it is whole");
                changes.remove(missing);
                saved.at_least = 5;
            };
            assert!(is_wrong(forge), "change {missing}");
        }
    }
}
