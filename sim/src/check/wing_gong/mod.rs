//! Linearizability by search: is there any order of the operations on a key that explains what
//! their clients saw? Looks at values and real time only and never at a revision, so it judges
//! independently of [`super::replay`].
//!
//! The search is Wing and Gong's, with Lowe's caching of (linearized set, state). Each key is
//! searched apart: the projection of a linearizable history to a key is linearizable.
//!
//! Operations of unknown outcome would make the search exponential; these rules keep it narrow.
//! - One is only tried where the operation after it could not stand without it. In an order where
//!   it could, the two change places (if the other only looks) or the unknown one never took
//!   effect (if the other overwrites it).
//! - Of several that could do the same, the one that was called first is used first. Values that
//!   nobody ever saw are the same to everybody.
//! - A value that somebody saw is not overwritten before everybody who saw it had his turn: no
//!   value is written twice, so it would not come back.

mod project;
mod shown;

use super::Finding;
use crate::history::{History, Operation, text};
use bytes::Bytes;
use project::{Act, OnKey, Value, by_key, project, run};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

/// Steps of the search after which a key is given up. A history that needs more is too wide to be
/// judged, and its scenario is to be changed.
const STEPS_MAX: u64 = 20_000_000;

/// What the search found.
#[derive(Debug, Default)]
pub struct Searched {
    /// Keys whose operations no order explains.
    pub unexplained: Vec<Finding>,
    /// Keys that were given up.
    pub too_wide: Vec<Finding>,
    /// Answers that no order allows, seen for each by itself.
    pub impossible: Vec<Finding>,
    /// Those of them on keys of which the search found an order all the same.
    pub overlooked: Vec<Finding>,
}

/// Searches every key of the history.
pub fn check(history: &History) -> Searched {
    let mut searched = Searched::default();
    for (key, named) in by_key(history) {
        let projected = named.into_iter();
        let mut operations: Vec<OnKey> = projected
            .filter_map(|operation| project(operation, &key))
            .collect();
        let impossible = shown::impossible(&operations).into_iter();
        let impossible: Vec<Finding> = impossible
            .map(|operation| {
                let what = format!("key {}: this cannot have been there", text(&key));
                Finding::new(what).operation(operation)
            })
            .collect();
        searched.impossible.extend_from_slice(&impossible);
        let readers = Readers::new(&operations);
        readers.forget_unseen(&mut operations);
        match search(&operations, &readers) {
            Verdict::Linearizable => searched.overlooked.extend(impossible),
            Verdict::TooWide => searched.too_wide.push(Finding::new(format!(
                "key {}: {} operations are too wide for the search",
                text(&key),
                operations.len()
            ))),
            Verdict::Not { stuck_at } => searched.unexplained.push(
                Finding::new(format!(
                    "key {}: no order of its operations explains their answers; the search got \
                     no further than",
                    text(&key)
                ))
                .operation(stuck_at),
            ),
        }
    }
    searched
}

/// Who saw which value.
struct Readers {
    /// The operations of known outcome that saw each value before they did anything themselves.
    by_value: BTreeMap<Bytes, Vec<usize>>,
    /// Every value that any operation saw, or may have compared with.
    seen: BTreeSet<Bytes>,
}

impl Readers {
    fn new(operations: &[OnKey<'_>]) -> Readers {
        let mut readers = Readers {
            by_value: BTreeMap::new(),
            seen: BTreeSet::new(),
        };
        for (index, operation) in operations.iter().enumerate() {
            let acts = operation.ways.iter().flatten();
            readers.seen.extend(acts.filter_map(|act| match act {
                Act::Is(Some(value)) | Act::IsNot(value) => Some(value.clone()),
                Act::Is(None) | Act::Exists(_) | Act::Set(_) => None,
            }));
            let [only] = &operation.ways[..] else {
                continue;
            };
            let before = only.iter().take_while(|act| !matches!(act, Act::Set(_)));
            for act in before {
                if let Act::Is(Some(value)) = act
                    && operation.returned.is_some()
                {
                    readers
                        .by_value
                        .entry(value.clone())
                        .or_default()
                        .push(index);
                }
            }
        }
        let mut written = BTreeSet::new();
        let acts = operations
            .iter()
            .flat_map(|operation| operation.ways.iter().flatten());
        for act in acts {
            if let Act::Set(Some(value)) = act
                && !written.insert(value.clone())
            {
                // It may come back, so nobody's turn is ever over.
                readers.by_value.remove(value);
            }
        }
        readers
    }

    /// Gives all values that nobody saw the same name.
    fn forget_unseen(&self, operations: &mut [OnKey<'_>]) {
        let unknown = operations
            .iter_mut()
            .filter(|operation| operation.returned.is_none());
        for act in unknown.flat_map(|operation| operation.ways.iter_mut().flatten()) {
            if let Act::Set(Some(value)) = act
                && !self.seen.contains(value)
            {
                *value = Bytes::from_static(b"(never seen)");
            }
        }
    }

    /// Whether someone other than `operation` still waits to see the place's value.
    fn wait_for(&self, place: &Place, operation: usize) -> bool {
        let readers = place
            .state
            .as_ref()
            .and_then(|value| self.by_value.get(value));
        readers.is_some_and(|readers| {
            let mut waiting = readers.iter();
            waiting.any(|reader| *reader != operation && !place.has(*reader))
        })
    }
}

enum Verdict<'a> {
    Linearizable,
    TooWide,
    Not { stuck_at: &'a Operation },
}

/// A place in the list of calls and returns, in order of time; zero is the head.
#[derive(Clone, Copy)]
struct Node {
    operation: usize,
    is_call: bool,
    previous: usize,
    next: usize,
}

/// The doubly linked list of calls and returns.
struct List {
    nodes: Vec<Node>,
    /// Where each operation's call and return stand.
    calls: Vec<usize>,
    returns: Vec<Option<usize>>,
}

const HEAD: usize = 0;

impl List {
    fn new(operations: &[OnKey<'_>]) -> List {
        let mut moments: Vec<(Duration, bool, usize)> = Vec::new();
        for (index, operation) in operations.iter().enumerate() {
            moments.push((operation.called, false, index));
            if let Some(returned) = operation.returned {
                moments.push((returned, true, index));
            }
        }
        // At one moment calls come before returns: such operations overlap.
        moments.sort_unstable();
        let head = Node {
            operation: 0,
            is_call: false,
            previous: HEAD,
            next: HEAD,
        };
        let mut list = List {
            nodes: vec![head],
            calls: vec![HEAD; operations.len()],
            returns: vec![None; operations.len()],
        };
        for (_, is_return, operation) in moments {
            let at = list.nodes.len();
            let previous = list.nodes[HEAD].previous;
            list.nodes.push(Node {
                operation,
                is_call: !is_return,
                previous,
                next: HEAD,
            });
            list.nodes[previous].next = at;
            list.nodes[HEAD].previous = at;
            if is_return {
                list.returns[operation] = Some(at);
            } else {
                list.calls[operation] = at;
            }
        }
        list
    }

    fn take(&mut self, at: usize) {
        let Node { previous, next, .. } = self.nodes[at];
        self.nodes[previous].next = next;
        self.nodes[next].previous = previous;
    }

    fn put_back(&mut self, at: usize) {
        let Node { previous, next, .. } = self.nodes[at];
        self.nodes[previous].next = at;
        self.nodes[next].previous = at;
    }

    fn lift(&mut self, operation: usize) {
        self.take(self.calls[operation]);
        if let Some(at) = self.returns[operation] {
            self.take(at);
        }
    }

    fn unlift(&mut self, operation: usize) {
        if let Some(at) = self.returns[operation] {
            self.put_back(at);
        }
        self.put_back(self.calls[operation]);
    }
}

/// Where the search stands.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Place {
    /// A bit for each operation.
    linearized: Vec<u64>,
    state: Value,
    /// The state before the last operation, if that one's outcome is unknown.
    without_last: Option<Value>,
}

impl Place {
    fn has(&self, operation: usize) -> bool {
        self.linearized[operation / 64] >> (operation % 64) & 1 == 1
    }

    /// The place after this way of this operation; `None` if it cannot be the next.
    fn step(
        &self,
        operation: usize,
        acts: &[Act],
        is_unknown: bool,
        readers: &Readers,
    ) -> Option<Place> {
        let state = run(acts, &self.state)?;
        if state != self.state && readers.wait_for(self, operation) {
            return None;
        }
        let needless = |before: &Value| run(acts, before).is_some();
        if self.without_last.as_ref().is_some_and(needless) {
            return None;
        }
        let mut linearized = self.linearized.clone();
        linearized[operation / 64] |= 1 << (operation % 64);
        let without_last = is_unknown.then(|| self.state.clone());
        Some(Place {
            linearized,
            state,
            without_last,
        })
    }
}

/// A step back, to the operation and the way of it that was tried.
struct Tried {
    operation: usize,
    way: usize,
    before: Place,
}

/// For each operation of unknown outcome, the one called before it that can do the same.
fn twins(operations: &[OnKey<'_>]) -> Vec<Option<usize>> {
    let mut by_call: Vec<usize> = (0..operations.len())
        .filter(|index| operations[*index].returned.is_none())
        .collect();
    by_call.sort_by_key(|index| operations[*index].called);
    let mut twins = vec![None; operations.len()];
    for (place, index) in by_call.iter().enumerate() {
        let earlier = by_call[..place].iter().rev();
        let mut same = earlier.filter(|other| operations[**other].ways == operations[*index].ways);
        twins[*index] = same.next().copied();
    }
    twins
}

fn search<'a>(operations: &[OnKey<'a>], readers: &Readers) -> Verdict<'a> {
    let mut list = List::new(operations);
    let twins = twins(operations);
    let mut open_returns = list.returns.iter().flatten().count();
    let mut place = Place {
        linearized: vec![0; operations.len().div_ceil(64)],
        state: None,
        without_last: None,
    };
    let mut seen: HashSet<Place> = HashSet::new();
    let mut tried: Vec<Tried> = Vec::new();
    let mut furthest = (0, None);
    let (mut at, mut way) = (list.nodes[HEAD].next, 0);
    for _ in 0..STEPS_MAX {
        if open_returns == 0 {
            return Verdict::Linearizable;
        }
        // Unknown operations have no returns, so a return is met before the end of the list.
        assert!(at != HEAD, "a return is left in the list");
        let Node {
            operation,
            is_call,
            next,
            ..
        } = list.nodes[at];
        if is_call {
            let waits = twins[operation].is_some_and(|twin| !place.has(twin));
            let Some(acts) = operations[operation].ways.get(way).filter(|_| !waits) else {
                (at, way) = (next, 0);
                continue;
            };
            let is_unknown = list.returns[operation].is_none();
            match place.step(operation, acts, is_unknown, readers) {
                Some(after) if seen.insert(after.clone()) => {
                    let before = std::mem::replace(&mut place, after);
                    tried.push(Tried {
                        operation,
                        way,
                        before,
                    });
                    list.lift(operation);
                    open_returns -= usize::from(!is_unknown);
                    (at, way) = (list.nodes[HEAD].next, 0);
                }
                Some(_) | None => way += 1,
            }
            continue;
        }
        if tried.len() >= furthest.0 {
            furthest = (tried.len(), Some(operation));
        }
        let Some(back) = tried.pop() else {
            let stuck_at = operations[furthest.1.unwrap_or(operation)].operation;
            return Verdict::Not { stuck_at };
        };
        place = back.before;
        list.unlift(back.operation);
        open_returns += usize::from(list.returns[back.operation].is_some());
        (at, way) = (list.calls[back.operation], back.way + 1);
    }
    Verdict::TooWide
}
