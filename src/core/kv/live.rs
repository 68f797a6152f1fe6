//! Which keys of a range live, at the latest revision and at past ones.
//!
//! What a key was is loaded once it is known to be wanted.

use super::history::{Mark, newest, past_at, version};
use super::index::Stem;
use crate::api::{KeyValue, Revision};
use crate::codec::{
    REVISION_LEN, decode_current, decode_is_tombstone, revision_key, split_version_key,
    version_start,
};
use crate::view::{Direction, Fault, Row, Rows, Table, View};
use alloc::boxed::Box;
use alloc::format;
use alloc::vec::Vec;
use bytes::Bytes;
use core::cmp::Ordering;
use core::iter::Peekable;
use core::ops::Bound;

/// So many keys are read one by one, and not by a walk through the store.
pub const SINGLE_READS_MAX: usize = 16;
/// So many keys of the past: each costs about as much as some dozens of rows that a walk passes.
const SINGLE_PAST_READS_MAX: usize = 1024;
/// Versions of one key that a walk passes before it looks for the next key.
const VERSIONS_PASSED_MAX: usize = 16;

/// Where a range of keys begins and, without it, ends.
pub type Span<'a> = (&'a [u8], Option<&'a [u8]>);

/// A key that was live at some revision.
pub enum Candidate {
    Latest(Row),
    Past(Revision),
}

pub type Candidates<'a> = Box<dyn Iterator<Item = Result<Candidate, Fault>> + 'a>;

impl Candidate {
    pub fn load(self, view: &dyn View) -> Result<KeyValue, Fault> {
        match self {
            Candidate::Latest((key, row)) => Ok(decode_current(key, &row)?.kv),
            Candidate::Past(revision) => Ok(version(view, revision)?.kv),
        }
    }
}

/// The key, if it is live, or was at a past revision.
pub fn one<'a>(
    view: &'a dyn View,
    key: &Bytes,
    past: Option<i64>,
) -> Result<Candidates<'a>, Fault> {
    let found = match past {
        Some(revision) => one_at(view, key, revision)?,
        None => {
            let row = view.get(Table::Current, key)?;
            row.map(|row| Candidate::Latest((key.clone(), row)))
        }
    };
    Ok(Box::new(found.map(Ok).into_iter()))
}

/// The key, if it was live at `main`. However many versions it had, only one is looked for.
fn one_at(view: &dyn View, key: &Bytes, main: i64) -> Result<Option<Candidate>, Fault> {
    if let Some(row) = view.get(Table::Current, key)?
        && decode_current(key.clone(), &row)?.kv.mod_revision <= main
    {
        return Ok(Some(Candidate::Latest((key.clone(), row))));
    }
    let mark = past_at(view, key, main)?.filter(|mark| !mark.is_tombstone);
    Ok(mark.map(|mark| Candidate::Past(mark.revision)))
}

/// The rows of the live keys of a range, or of as many as are wanted.
pub fn live_rows<'a>(
    view: &'a dyn View,
    (start, end): Span<'_>,
    wanted: u64,
    direction: Direction,
) -> Result<Rows<'a>, Fault> {
    let whole = (
        Bound::Included(start),
        end.map_or(Bound::Unbounded, Bound::Excluded),
    );
    let Some(keys) = view.keys() else {
        return Ok(view.scan(Table::Current, whole, direction));
    };
    let ranks = keys.ranks(start, end, view)?;
    let wanted = wanted.min(ranks.end - ranks.start);
    let ranks = match direction {
        Direction::Forward => ranks.start..ranks.start + wanted,
        Direction::Reverse => ranks.end - wanted..ranks.end,
    };
    // The planted bug is to be seen by what is counted: a read of such a key halts the member.
    if wanted <= SINGLE_READS_MAX as u64 && !crate::mutant!(StaleCount) {
        let stems: Option<Vec<Stem>> = ranks.clone().map(|rank| keys.select(rank)).collect();
        if let Some(stems) = stems
            && stems.iter().all(Stem::is_key)
        {
            return Ok(single_rows(view, stems, direction));
        }
    }
    // Where many keys were deleted, a store walks over what is left of them: not outside of what
    // is wanted.
    let (first, last) = (keys.select(ranks.start), keys.select(ranks.end.max(1) - 1));
    let (Some(first), Some(last)) = (first, last) else {
        return Ok(view.scan(Table::Current, whole, direction));
    };
    let first = Bound::Included(start.max(&first.bytes));
    let last = match last.is_key() {
        true => Bound::Included(&last.bytes[..]),
        false => whole.1,
    };
    Ok(view.scan(Table::Current, (first, last), direction))
}

/// The rows of these keys, one by one: what lies between them costs nothing.
fn single_rows(view: &dyn View, stems: Vec<Stem>, direction: Direction) -> Rows<'_> {
    let row = |stem: Stem| {
        let key = Bytes::from(stem.bytes);
        let row = view.get(Table::Current, &key)?;
        let row = row.ok_or_else(|| Fault(format!("the live key {key:?} has no row")))?;
        Ok((key, row))
    };
    match direction {
        Direction::Forward => Box::new(stems.into_iter().map(row)),
        Direction::Reverse => Box::new(stems.into_iter().rev().map(row)),
    }
}

/// The keys of a range that were live at the past revision `main`, in their order or its reverse,
/// or as many as are wanted.
pub fn at<'a>(
    view: &'a dyn View,
    range: Span<'_>,
    main: i64,
    wanted: usize,
    direction: Direction,
) -> Result<Candidates<'a>, Fault> {
    let keys = view.keys().filter(|_| !crate::mutant!(StaleCount));
    let keys_at = |direction, wanted| keys?.keys_at(range, main, direction, wanted);
    if wanted <= SINGLE_PAST_READS_MAX
        && let Some(keys) = keys_at(direction, wanted)
    {
        return Ok(Box::new(keys.into_iter().map(move |key| {
            let gone = || {
                Fault(format!(
                    "the key {key:?} was live at {main}, but is not there"
                ))
            };
            one_at(view, &key, main)?.ok_or_else(gone)
        })));
    }
    // Keys that were deleted before lie around those that are wanted, too.
    let (first, last) = (
        keys_at(Direction::Forward, 1),
        keys_at(Direction::Reverse, 1),
    );
    let (Some(first), Some(last)) = (first, last) else {
        return Ok(Box::new(Live::open(view, range, main, direction)));
    };
    let (Some(first), Some(last)) = (first.first(), last.first()) else {
        return Ok(Box::new(core::iter::empty()));
    };
    let end = [last, &[0][..]].concat();
    let range = (&first[..], Some(&end[..]));
    Ok(Box::new(Live::open(view, range, main, direction)))
}

/// Merges the latest versions, where they are old enough, with what the other keys were.
struct Live<'a> {
    latest: Peekable<Rows<'a>>,
    past: Peekable<Past<'a>>,
    main: i64,
    direction: Direction,
}

impl<'a> Live<'a> {
    fn open(
        view: &'a dyn View,
        (start, end): Span<'_>,
        main: i64,
        direction: Direction,
    ) -> Live<'a> {
        let past = Past::open(view, (start, end), main, direction);
        let end = end.map_or(Bound::Unbounded, Bound::Excluded);
        let latest = view.scan(Table::Current, (Bound::Included(start), end), direction);
        Live {
            latest: latest.peekable(),
            past: past.peekable(),
            main,
            direction,
        }
    }

    fn step(&mut self) -> Result<Option<Candidate>, Fault> {
        loop {
            // Which of the two has the next key; `Equal` if both have it.
            let next = match (self.latest.peek(), self.past.peek()) {
                (None, None) => return Ok(None),
                (Some(Ok((key, _))), Some(Ok((escaped, _)))) => {
                    let order = version_start(key)[..].cmp(escaped);
                    match self.direction {
                        Direction::Forward => order,
                        Direction::Reverse => order.reverse(),
                    }
                }
                (Some(_), None) | (Some(Err(_)), _) => Ordering::Less,
                (None, Some(_)) | (_, Some(Err(_))) => Ordering::Greater,
            };
            let latest = match next {
                Ordering::Less | Ordering::Equal => self.latest.next().transpose()?,
                Ordering::Greater => None,
            };
            let past = match next {
                Ordering::Greater | Ordering::Equal => self.past.next().transpose()?,
                Ordering::Less => None,
            };
            if let Some((key, row)) = latest
                && decode_current(key.clone(), &row)?.kv.mod_revision <= self.main
            {
                return Ok(Some(Candidate::Latest((key, row))));
            }
            if let Some((_, mark)) = past
                && !mark.is_tombstone
            {
                return Ok(Some(Candidate::Past(mark.revision)));
            }
        }
    }
}

impl Iterator for Live<'_> {
    type Item = Result<Candidate, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step().transpose()
    }
}

/// Walks `Versions` and picks of each key what was newest at `main`, with the escaped key.
struct Past<'a> {
    view: &'a dyn View,
    rows: Rows<'a>,
    /// Where the walk ends.
    limit: Bound<Vec<u8>>,
    main: i64,
    direction: Direction,
    /// The escaped key that the walk is at, how many of its rows it has passed, and the best of
    /// them.
    key: Bytes,
    passed: usize,
    newest: Option<Mark>,
}

impl<'a> Past<'a> {
    fn open(
        view: &'a dyn View,
        (start, end): Span<'_>,
        main: i64,
        direction: Direction,
    ) -> Past<'a> {
        let start = Bound::Included(version_start(start));
        let end = end.map_or(Bound::Unbounded, |end| Bound::Excluded(version_start(end)));
        let bounds = (
            start.as_ref().map(|start| &start[..]),
            end.as_ref().map(|end| &end[..]),
        );
        let rows = view.scan(Table::Versions, bounds, direction);
        Past {
            view,
            rows,
            limit: match direction {
                Direction::Forward => end,
                Direction::Reverse => start,
            },
            main,
            direction,
            key: Bytes::new(),
            passed: 0,
            newest: None,
        }
    }

    fn step(&mut self) -> Result<Option<(Bytes, Mark)>, Fault> {
        while let Some((row_key, row)) = self.rows.next().transpose()? {
            let (escaped, revision) = split_version_key(&row_key)?;
            let mut done = None;
            if self.key != escaped {
                done = self.take();
                self.key = row_key.slice(..escaped.len());
                self.passed = 0;
            }
            // Reverse walks meet the newest first.
            let is_better = self.newest.is_none() || self.direction == Direction::Forward;
            if revision.main <= self.main && is_better {
                self.newest = Some(Mark {
                    revision,
                    is_tombstone: decode_is_tombstone(&row)?,
                });
            }
            self.passed += 1;
            if self.passed == VERSIONS_PASSED_MAX {
                self.pass()?;
            }
            if done.is_some() {
                return Ok(done);
            }
        }
        Ok(self.take())
    }

    /// Passes all other rows of the key at once.
    fn pass(&mut self) -> Result<(), Fault> {
        let until = Revision {
            main: self.main,
            sub: i64::MAX,
        };
        let until = [&self.key[..], &revision_key(until)].concat();
        self.newest = newest(self.view, &self.key, Bound::Included(&until))?;
        let limit = self.limit.as_ref().map(|limit| &limit[..]);
        // No revision is as great.
        let behind = [&self.key[..], &[0xff; REVISION_LEN]].concat();
        let rest = match self.direction {
            Direction::Forward => (Bound::Excluded(&behind[..]), limit),
            Direction::Reverse => (limit, Bound::Excluded(&self.key[..])),
        };
        self.rows = self.view.scan(Table::Versions, rest, self.direction);
        Ok(())
    }

    fn take(&mut self) -> Option<(Bytes, Mark)> {
        let newest = self.newest.take()?;
        Some((self.key.clone(), newest))
    }
}

impl Iterator for Past<'_> {
    type Item = Result<(Bytes, Mark), Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step().transpose()
    }
}
