//! Watches: every watcher sees, from its first revision to the end of the run, each change of its
//! range and of the kinds that it wants exactly once, in order, and all of a revision together, over
//! all its reconnects. Progress never runs ahead of events. What a compaction took is left out;
//! whether it did is the business of [`super::compaction`].

use super::Finding;
use crate::history::{History, Request, Watched};
use crate::model::State;
use detcd_core::api::{ChangeKind, KeyChange};
use std::time::Duration;

pub fn check(history: &History) -> Vec<Finding> {
    let reported = |watcher: &Watched| {
        let what = problem(history, watcher)?;
        Some(Finding::new(what).client(&watcher.name))
    };
    history.watchers.iter().filter_map(reported).collect()
}

/// The first thing that is wrong with what a watcher saw.
fn problem(history: &History, watcher: &Watched) -> Option<String> {
    let name = &watcher.name;
    let mut expected = expected(history, watcher).into_iter().peekable();
    let mut last = 0;
    for (index, (header, events)) in watcher.responses.iter().enumerate() {
        let (Some(first), Some(end)) = (events.first(), events.last()) else {
            return Some(format!(
                "{name} got a response that is neither events nor progress"
            ));
        };
        let (first, end) = (first.kv.mod_revision, end.kv.mod_revision);
        if first <= last {
            return Some(format!(
                "{name} got revision {first} after it had revision {last}"
            ));
        }
        if end > *header {
            return Some(format!(
                "{name} got revision {end} under a header at {header}"
            ));
        }
        let mut wanted: Vec<KeyChange> = Vec::new();
        while let Some(changes) = expected.next_if(|changes| changes[0].kv.mod_revision <= end) {
            wanted.extend(changes);
        }
        allowed_stop(&mut wanted, events, compacted(history, watcher.came[index]));
        if wanted != *events {
            let (wanted, events) = (list(&wanted), list(events));
            return Some(format!("{name} got [{events}] where [{wanted}] was due"));
        }
        last = end;
    }
    if let Some(missed) = expected.next() {
        return Some(format!(
            "{name} never got [{}], nor anything after it",
            list(&missed)
        ));
    }
    ahead(history, watcher)
}

/// The highest revision that may have been compacted by then.
fn compacted(history: &History, by: Duration) -> i64 {
    let operations = history.operations.iter();
    let before = operations.filter(|it| it.called <= by && it.may_have_happened());
    let asked = before.map(|operation| match &operation.request {
        Request::Compact(compact) => compact.revision,
        _ => 0,
    });
    asked.max().unwrap_or(0)
}

/// What an event replaced may be compacted, and then is not told.
fn allowed_stop(wanted: &mut [KeyChange], events: &[KeyChange], prev_kv_from: i64) {
    for (wanted, event) in wanted.iter_mut().zip(events) {
        if event.prev_kv.is_none() && event.kv.mod_revision <= prev_kv_from {
            wanted.prev_kv = None;
        }
    }
}

/// Progress that claims more than the watcher had been sent.
fn ahead(history: &History, watcher: &Watched) -> Option<String> {
    for (after, progress) in &watcher.progress {
        let sent = watcher.responses[..*after].last();
        let sent = sent
            .and_then(|(_, events)| events.last())
            .map_or(0, |change| change.kv.mod_revision);
        let from = (sent + 1).max(watcher.start);
        let owed = history
            .revisions
            .range(from..(*progress + 1).max(from))
            .filter(|(revision, _)| !is_in_gap(watcher, **revision))
            .find(|(_, changes)| changes.iter().any(|change| wants(watcher, change)));
        if let Some((owed, _)) = owed {
            let name = &watcher.name;
            return Some(format!(
                "{name} was told of progress to {progress} before revision {owed}"
            ));
        }
    }
    None
}

/// The changes that the watcher is to see, by revision.
fn expected(history: &History, watcher: &Watched) -> Vec<Vec<KeyChange>> {
    let mut state = State::empty();
    let mut expected = Vec::new();
    for (revision, changes) in &history.revisions {
        let mut of_range: Vec<KeyChange> = Vec::new();
        let in_range = |change: &&KeyChange| watcher.range.contains(&change.kv.key);
        for change in changes.iter().filter(in_range) {
            let before = of_range
                .iter()
                .rev()
                .find(|earlier| earlier.kv.key == change.kv.key);
            let before = match before {
                Some(earlier) => Some(earlier.kv.clone()),
                None => state.keys.get(&change.kv.key).cloned(),
            };
            let prev_kv = before.filter(|_| watcher.prev_kv);
            of_range.push(KeyChange {
                kind: change.kind,
                kv: change.kv.clone(),
                prev_kv,
            });
        }
        of_range.retain(|change| wants(watcher, change) && !may_be_gone(watcher, change));
        let is_due = *revision >= watcher.start && !is_in_gap(watcher, *revision);
        if is_due && !of_range.is_empty() {
            expected.push(of_range);
        }
        state.advance(changes);
    }
    expected
}

fn wants(watcher: &Watched, change: &KeyChange) -> bool {
    let is_wanted = match change.kind {
        ChangeKind::Put => !watcher.no_put,
        ChangeKind::Delete => !watcher.no_delete,
    };
    is_wanted && watcher.range.contains(&change.kv.key)
}

fn is_in_gap(watcher: &Watched, revision: i64) -> bool {
    let mut gaps = watcher.gaps.iter();
    gaps.any(|gap| (gap.asked..gap.compacted).contains(&revision))
}

/// A delete of the very revision to which was compacted, and from which the watcher went on: it may
/// be gone, as it may with etcd.
fn may_be_gone(watcher: &Watched, change: &KeyChange) -> bool {
    let revision = change.kv.mod_revision;
    let mut events = watcher.responses.iter().flat_map(|(_, events)| events);
    change.kind == ChangeKind::Delete
        && watcher.gaps.iter().any(|gap| gap.compacted == revision)
        && !events.any(|seen| seen.kv == change.kv)
}

fn list(changes: &[KeyChange]) -> String {
    changes
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}
