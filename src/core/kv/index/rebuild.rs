//! The index of keys that are stored: all of it follows from rows.

use super::KeyIndex;
use super::tree::{Builder, Tree};
use crate::codec::{
    decode_created, decode_is_tombstone, generation_key_of_escaped, split_version_key,
};
use crate::query::At;
use crate::view::{Direction, Fault, Table, View};
use alloc::vec::Vec;
use core::ops::Bound;

/// Rows that are looked at before it is asked whether to go on.
const ROWS_UNASKED: usize = 1024;

/// Generations of keys that had ended in some state.
#[derive(Clone, Debug)]
pub struct EndedGenerations(pub(super) Tree);

/// Indexes the live keys of a state. `None` if it was told not to go on.
pub fn live_keys(
    view: &dyn View,
    mut go_on: impl FnMut() -> bool,
) -> Result<Option<KeyIndex>, Fault> {
    let mut live = Builder::default();
    let all = (Bound::Unbounded, Bound::Unbounded);
    let rows = view.scan(Table::Current, all, Direction::Forward);
    for (number, row) in rows.enumerate() {
        if number % ROWS_UNASKED == 0 && !go_on() {
            return Ok(None);
        }
        let (key, row) = row?;
        live.push(&key, decode_created(&row)?);
    }
    Ok(Some(KeyIndex {
        live: live.finish(),
        ended_since: At::load(view)?.revision,
        ..KeyIndex::default()
    }))
}

/// Finds the generations that had ended in a state and that reads of the past may show. `None` if
/// it was told not to go on.
///
/// Of a generation whose beginning is compacted the oldest version that is left is taken for it: no
/// read asks for what was before.
pub fn ended_generations(
    view: &dyn View,
    mut go_on: impl FnMut() -> bool,
) -> Result<Option<EndedGenerations>, Fault> {
    let mut ended = Builder::default();
    let mut key = Vec::new();
    let mut created = None;
    let all = (Bound::Unbounded, Bound::Unbounded);
    let rows = view.scan(Table::Versions, all, Direction::Forward);
    for (number, row) in rows.enumerate() {
        if number % ROWS_UNASKED == 0 && !go_on() {
            return Ok(None);
        }
        let (row_key, row) = row?;
        let (escaped, revision) = split_version_key(&row_key)?;
        if escaped != key {
            key.clear();
            key.extend_from_slice(escaped);
            created = None;
        }
        if !decode_is_tombstone(&row)? {
            created = created.or(Some(revision.main));
        } else if let Some(created) = created.take()
            && created < revision.main
        {
            let generation = generation_key_of_escaped(escaped, created);
            ended.push(&generation, revision.main);
        }
    }
    Ok(Some(EndedGenerations(ended.finish())))
}
