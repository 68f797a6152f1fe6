//! Requests that somebody waits for, each until its deadline.

use crate::api::Millis;
use alloc::collections::{BTreeMap, VecDeque};
use core::fmt::Debug;

/// Dead deadlines kept beyond the number of live ones before they are swept.
const DEAD_MAX: usize = 64;

/// A table of requests by name. All wait equally long, so deadlines come due in the order of
/// arrival: a queue, in which the deadlines of requests that ended are dropped when they reach the
/// front, or all at once when they outnumber the living.
pub(super) struct Waiting<K, V> {
    timeout: Millis,
    requests: BTreeMap<K, Request<V>>,
    deadlines: VecDeque<(Millis, K)>,
}

struct Request<V> {
    deadline: Millis,
    value: V,
}

impl<K: Copy + Ord + Debug, V> Waiting<K, V> {
    pub fn new(timeout: Millis) -> Waiting<K, V> {
        Waiting {
            timeout,
            requests: BTreeMap::new(),
            deadlines: VecDeque::new(),
        }
    }

    /// `now` never goes back from one call to the next.
    pub fn insert(&mut self, now: Millis, key: K, value: V) {
        let deadline = now + self.timeout;
        let last = self.deadlines.back().map_or(Millis(0), |(last, _)| *last);
        assert!(deadline >= last, "time went back from {last:?} to {now:?}");
        let before = self.requests.insert(key, Request { deadline, value });
        assert!(before.is_none(), "two requests are named {key:?}");
        self.deadlines.push_back((deadline, key));
    }

    pub fn remove(&mut self, key: K) -> Option<V> {
        let request = self.requests.remove(&key)?;
        self.drop_dead();
        Some(request.value)
    }

    /// Removes and gives the next request whose deadline has come.
    pub fn pop_expired(&mut self, now: Millis) -> Option<(K, V)> {
        let (deadline, key) = *self.deadlines.front()?;
        if deadline > now {
            return None;
        }
        let value = self.remove(key).expect("the front is alive");
        Some((key, value))
    }

    pub fn get(&self, key: K) -> Option<&V> {
        Some(&self.requests.get(&key)?.value)
    }

    pub fn get_mut(&mut self, key: K) -> Option<&mut V> {
        Some(&mut self.requests.get_mut(&key)?.value)
    }

    pub fn deadline(&self) -> Option<Millis> {
        self.deadlines.front().map(|(deadline, _)| *deadline)
    }

    pub fn len(&self) -> usize {
        self.requests.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = (K, &V)> {
        self.requests
            .iter()
            .map(|(key, request)| (*key, &request.value))
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = (K, &mut V)> {
        self.requests
            .iter_mut()
            .map(|(key, request)| (*key, &mut request.value))
    }

    fn drop_dead(&mut self) {
        let requests = &self.requests;
        let alive = |(deadline, key): &(Millis, K)| {
            requests
                .get(key)
                .is_some_and(|request| request.deadline == *deadline)
        };
        if self.deadlines.len() > 2 * requests.len() + DEAD_MAX {
            self.deadlines.retain(alive);
        }
        while self.deadlines.front().is_some_and(|front| !alive(front)) {
            self.deadlines.pop_front();
        }
    }

    pub fn check(&self) {
        assert!(self.deadlines.len() >= self.requests.len());
        assert!(
            self.deadlines
                .iter()
                .is_sorted_by_key(|(deadline, _)| deadline)
        );
        if let Some((deadline, key)) = self.deadlines.front() {
            assert_eq!(self.requests.get(key).map(|r| r.deadline), Some(*deadline));
        }
    }
}
