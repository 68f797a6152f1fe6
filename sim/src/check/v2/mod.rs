//! The tree of v2, by what clients saw of it:
//! - followers are told of every event once, in order, and all of the same; who waits, of the first
//!   one that concerns him;
//! - what was acknowledged is among them, under the index that the client was told, and once;
//! - events, reads, refusals and comparisons are those of a simple tree ([`tree`]) to which the
//!   events before were done;
//! - indexes follow real time: what ended before something else began has a smaller one, or the
//!   same if the later one is a quorum read;
//! - nodes live their time ([`lives`]).

mod lives;
#[cfg(test)]
mod tests;
mod tree;

use super::{Facts, Finding};
use crate::v2_calls::{V2Event, V2Followed, V2History, V2Operation, V2Reply};
use detcd_service::{KeysMethod, KeysRequest};
use std::collections::BTreeMap;

/// All events that anybody was told of, by index.
type Log<'a> = BTreeMap<u64, &'a V2Event>;

pub fn check(facts: &Facts<'_>) -> Vec<Finding> {
    let v2 = &facts.history.v2;
    let mut found = Vec::new();
    let log = merged(&v2.followed, &mut found);
    let mut known = Known::of(v2, log);
    found.extend(v2.followed.iter().filter_map(|one| known.complete(one)));
    let operations = v2.operations.iter();
    found.extend(operations.clone().filter_map(|one| known.waited(one)));
    known.take_refreshes(&v2.operations);
    found.extend(operations.filter_map(|one| known.acknowledged(one)));
    found.extend(known.done_once());
    found.extend(tree::check(&known, &v2.operations));
    found.extend(in_real_time(&v2.operations));
    found.extend(lives::check(facts));
    found
}

/// The events, and how far they are all there are.
struct Known<'a> {
    log: Log<'a>,
    /// From here on some may be missing.
    end: u64,
}

impl<'a> Known<'a> {
    /// What all followers together know: up to where the last one ended, and to the first gap that
    /// nobody fills.
    fn of(v2: &'a V2History, log: Log<'a>) -> Known<'a> {
        let fills = |from: u64, to: u64| {
            let has_end = |one: &&V2Followed| one.end.is_some_and(|end| end + 1 >= to);
            let mut others = v2.followed.iter().filter(has_end);
            others.any(|one| {
                one.gaps
                    .iter()
                    .all(|(start, end)| *end <= from || *start >= to)
            })
        };
        let ends = v2.followed.iter().filter_map(|one| one.end);
        let last = ends.max().map_or(0, |end| end + 1);
        let gaps = v2.followed.iter().flat_map(|one| &one.gaps);
        let unfilled = gaps.filter(|(from, to)| !fills(*from, *to));
        let end = unfilled.map(|(from, _)| *from).fold(last, u64::min);
        Known { log, end }
    }

    fn complete(&self, followed: &V2Followed) -> Option<Finding> {
        let end = followed.end?;
        let told: Vec<u64> = followed.events.iter().map(V2Event::index).collect();
        let is_in_gap = |index: u64| {
            let mut gaps = followed.gaps.iter();
            gaps.any(|(from, to)| (*from..*to).contains(&index))
        };
        let mut expected = self.log.range(..=end);
        let missed = expected.find(|(index, _)| !told.contains(index) && !is_in_gap(**index));
        missed.map(|(index, event)| {
            let what = format!("is never told of {event:?}");
            problem(&followed.client, what).index(*index)
        })
    }

    /// Who waits is told of the first event that concerns him.
    fn waited(&self, operation: &V2Operation) -> Option<Finding> {
        let request = &operation.request;
        let (true, Some(V2Reply::Done { index, event })) = (request.wait, &operation.reply) else {
            return None;
        };
        let since = match request.wait_index {
            0 => index + 1,
            since => since,
        };
        if event.index() >= self.end || event.index() < since {
            let is_early = event.index() < since;
            return is_early.then(|| {
                let what = format!("waited from {since} on and was told of {event:?}");
                problem(&operation.client, what)
            });
        }
        let mut concerning = self
            .log
            .range(since..)
            .map(|(_, event)| *event)
            .filter(|event| concerns(request, event));
        let first = concerning.next();
        (first != Some(&**event)).then(|| {
            let what = format!("waited from {since} on for {first:?} and was told of {event:?}");
            problem(&operation.client, what).time(operation.ended)
        })
    }

    /// No watcher is told of a refresh; whoever made one knows of it.
    fn take_refreshes(&mut self, operations: &'a [V2Operation]) {
        let refreshes = operations.iter().filter(|one| one.request.refresh);
        let events = refreshes.filter_map(|one| match &one.reply {
            Some(V2Reply::Done { event, .. }) => Some((event.index(), &**event)),
            _ => None,
        });
        self.log
            .extend(events.filter(|(index, _)| *index < self.end));
    }

    /// What a writer was told is what followers were told.
    fn acknowledged(&self, operation: &V2Operation) -> Option<Finding> {
        let (index, event) = write_done(operation)?;
        if index >= self.end {
            return None;
        }
        let told = self.log.get(&index);
        (told != Some(&event) || event.index() != index).then(|| {
            let what = format!("was told of {event:?}, followers at index {index} of {told:?}");
            problem(&operation.client, what).time(operation.ended)
        })
    }

    /// No two requests write the same value.
    fn done_once(&self) -> Option<Finding> {
        let mut written = BTreeMap::new();
        let writes = self.log.values().filter_map(|event| {
            let value = event.node.value.as_ref()?;
            let is_refresh = event
                .prev
                .as_ref()
                .is_some_and(|it| it.value.as_ref() == Some(value));
            (!value.is_empty() && !is_refresh).then_some((value, event))
        });
        for (value, event) in writes {
            if let Some(before) = written.insert(value, event) {
                let what = format!("a write is done twice: {before:?}, and {event:?}");
                return Some(Finding::new(what));
            }
        }
        None
    }
}

/// The index and the event of a write that was acknowledged.
fn write_done(operation: &V2Operation) -> Option<(u64, &V2Event)> {
    match &operation.reply {
        Some(V2Reply::Done { index, event }) if is_write(&operation.request) => {
            Some((*index, &**event))
        }
        _ => None,
    }
}

fn is_write(request: &KeysRequest) -> bool {
    !matches!(request.method, KeysMethod::Get | KeysMethod::Head)
}

/// Whether an event is one of the path, of what lies below it, or of a directory above that goes.
fn concerns(request: &KeysRequest, event: &V2Event) -> bool {
    let (path, key) = (&request.path, &event.node.key);
    let goes = ["delete", "expire"].contains(&&event.action[..]) && event.node.dir;
    path == key || request.recursive && is_below(key, path) || goes && is_below(path, key)
}

fn is_below(path: &[u8], directory: &[u8]) -> bool {
    let rest = path.strip_prefix(directory);
    rest.is_some_and(|rest| rest.starts_with(b"/"))
}

/// All events by index; followers must agree, and each hear of them in order.
fn merged<'a>(followed: &'a [V2Followed], found: &mut Vec<Finding>) -> Log<'a> {
    let mut log = Log::new();
    for one in followed {
        let mut last = 0;
        for event in &one.events {
            let index = event.index();
            if index <= last {
                let what = format!("is told of {event:?} after index {last}");
                found.push(problem(&one.client, what).index(index));
            }
            last = index;
            let known = log.entry(index).or_insert(event);
            if *known != event {
                let what = format!("is told of {event:?}, and another follower of {known:?}");
                found.push(problem(&one.client, what).index(index));
            }
        }
    }
    log
}

/// Whether this is a write, and the index that it was answered with; `None` of what need not be
/// the newest.
fn answered(operation: &V2Operation) -> Option<(bool, u64)> {
    let request = &operation.request;
    let is_write = is_write(request);
    if !is_write && !request.quorum {
        return None;
    }
    match operation.reply.as_ref()? {
        V2Reply::Done { index, .. } => Some((is_write, *index)),
        // What is refused shows the index of the tree, as a read does.
        V2Reply::Refused { index, .. } if *index > 0 => Some((false, *index)),
        _ => None,
    }
}

fn in_real_time(operations: &[V2Operation]) -> Option<Finding> {
    let known = operations.iter();
    let known =
        known.filter_map(|one| answered(one).map(|(is_write, index)| (one, is_write, index)));
    let mut by_end: Vec<_> = known.collect();
    let mut by_call = by_end.clone();
    by_end.sort_by_key(|(operation, ..)| operation.ended);
    by_call.sort_by_key(|(operation, ..)| operation.called);
    let mut ended = by_end.into_iter().peekable();
    // The largest index that had been answered by then.
    let mut newest: Option<(&V2Operation, u64)> = None;
    for (operation, is_write, index) in by_call {
        while let Some((before, _, at)) = ended.next_if(|(it, ..)| it.ended < operation.called) {
            if newest.is_none_or(|(_, newest)| at > newest) {
                newest = Some((before, at));
            }
        }
        let Some((before, at)) = newest else { continue };
        if index < at + u64::from(is_write) {
            let what = format!("was answered with index {index}, after {before:?}: {operation:?}");
            let finding = problem(&operation.client, what);
            return Some(finding.time(before.ended).time(operation.ended));
        }
    }
    None
}

fn problem(client: &str, what: String) -> Finding {
    Finding::new(format!("client {client} {what}"))
}
