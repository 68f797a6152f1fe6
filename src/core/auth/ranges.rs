//! Sets of keys, as permissions name them.

use crate::api::KeyRange;
use alloc::vec::Vec;
use bytes::Bytes;

/// A union of ranges of keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyRanges {
    /// By their starts; none is empty, overlaps another one or touches it. No end: every key from
    /// the start on.
    spans: Vec<(Bytes, Option<Bytes>)>,
}

impl KeyRanges {
    /// The union. Ranges that hold no key add nothing; those that touch become one, as in etcd.
    pub fn union<'a>(ranges: impl IntoIterator<Item = &'a KeyRange>) -> KeyRanges {
        let mut found: Vec<_> = ranges.into_iter().filter_map(span).collect();
        found.sort();
        let mut spans: Vec<(Bytes, Option<Bytes>)> = Vec::new();
        for (start, end) in found {
            match spans.last_mut() {
                Some((_, last)) if last.as_ref().is_none_or(|last| *last >= start) => {
                    // No end is the last one.
                    if last.is_some() && (end.is_none() || end > *last) {
                        *last = end;
                    }
                }
                _ => spans.push((start, end)),
            }
        }
        KeyRanges { spans }
    }

    pub fn contains(&self, key: &[u8]) -> bool {
        self.around(key).is_some()
    }

    /// Whether every key of `range` is in here. Of a range that holds no key its start counts, as
    /// in etcd.
    pub fn covers(&self, range: &KeyRange) -> bool {
        let (start, end) = match range {
            KeyRange::One(key) => return self.contains(key),
            KeyRange::Span { start, end } => (start, end),
        };
        match (self.around(start), end) {
            (None, _) => false,
            (Some(None), _) => true,
            (Some(Some(_)), None) => false,
            (Some(Some(granted)), Some(end)) => end <= granted,
        }
    }

    /// The end of the span that a key lies in.
    fn around(&self, key: &[u8]) -> Option<&Option<Bytes>> {
        let after = self.spans.partition_point(|(start, _)| &start[..] <= key);
        let (_, end) = &self.spans[after.checked_sub(1)?];
        end.as_ref().is_none_or(|end| key < &end[..]).then_some(end)
    }
}

/// Where a range begins and ends; `None` if it holds no key. One that begins at the empty key is
/// none, as in etcd: every key is from `\0` on.
fn span(range: &KeyRange) -> Option<(Bytes, Option<Bytes>)> {
    match range {
        KeyRange::One(start) | KeyRange::Span { start, .. } if start.is_empty() => None,
        KeyRange::One(key) => {
            let next = [&key[..], &[0]].concat();
            Some((key.clone(), Some(Bytes::from(next))))
        }
        KeyRange::Span { start, end } => {
            let is_empty = end.as_ref().is_some_and(|end| end <= start);
            (!is_empty).then(|| (start.clone(), end.clone()))
        }
    }
}
