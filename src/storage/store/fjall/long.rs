//! Rows with keys that are longer than fjall takes.
//!
//! fjall gives a key's length two bytes. A row with a key of up to [`WHOLE_KEY_BYTES_MAX`] bytes
//! stands in its table as it is. Of a longer key the table only holds a *stub*: its first
//! `WHOLE_KEY_BYTES_MAX` bytes (the *piece*) and a zero byte. No other row has a key of a stub's
//! length, and between the piece and its stub no key sorts: so a stub stands where all rows with
//! its piece belong. The rows themselves are in the keyspace `overflow`, in a *range* of their
//! own: under the range's id and the rest of the key. A rest that is still too long is a stub
//! again, in the range of the piece before.
//!
//! ```text
//! table     piece 00        -> (empty)      a stub
//! overflow  id rest         -> value        id = SHA-256 of the table's tag and the piece
//! overflow  id piece 00     -> (empty)      a stub; its range's id = SHA-256 of id and piece
//! ```
//!
//! A range's id follows from the key alone, so a row is found, written and removed without reading
//! a stub; and nobody finds two pieces with the same hash, so that ids need no table and no check.
//!
//! A stub stands exactly as long as its range has a row. Batches with long keys are written one
//! after the other for that; others never wait for them.

use super::generation::Generation;
use super::snapshot::FjallSnapshot;
use super::{fault, read_fault};
use crate::store::WHOLE_KEY_BYTES_MAX;
use ::fjall::{Keyspace, OwnedWriteBatch, Readable};
use bytes::Bytes;
use detcd_core::view::{Direction, Fault, KeyBounds, Row, Table};
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

/// The length of a stub's key, wherever it stands.
pub(super) const STUB_BYTES: usize = WHOLE_KEY_BYTES_MAX + 1;
const ID_BYTES: usize = 32;
const STUB_MARK: u8 = 0;
/// The place of the long keys in [`Generation::keyspaces`].
const OVERFLOW_PLACE: usize = Table::ALL.len();

const _: () = assert!(STUB_BYTES <= u16::MAX as usize);
// What builds before this layout wrote: a key of 32,752 bytes, all zero, as its versions stand.
const _: () = assert!(2 * 32_752 + 2 + 16 <= WHOLE_KEY_BYTES_MAX);

type Id = [u8; ID_BYTES];

pub(super) fn is_long(key: &[u8]) -> bool {
    key.len() > WHOLE_KEY_BYTES_MAX
}

/// Where a piece of a key stands: in a table, or in the range of the piece before.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Above {
    Table(Table),
    Range(Id),
}

impl Above {
    fn prefix(&self) -> &[u8] {
        match self {
            Above::Table(_) => &[],
            Above::Range(id) => id,
        }
    }

    /// How much of a key fits here.
    fn room(&self) -> usize {
        WHOLE_KEY_BYTES_MAX - self.prefix().len()
    }

    /// The range of the rows that go on after `piece`.
    fn below(&self, piece: &[u8]) -> Id {
        let mut hash = Sha256::new();
        match self {
            Above::Table(table) => hash.update([*table as u8]),
            Above::Range(id) => hash.update(id),
        }
        hash.update(piece);
        hash.finalize().into()
    }

    fn stub(&self, piece: &[u8]) -> Vec<u8> {
        [self.prefix(), piece, &[STUB_MARK]].concat()
    }
}

/// A long key, cut into its pieces.
struct Path<'k> {
    /// Where each piece stands, and the range below it.
    pieces: Vec<(Above, &'k [u8], Id)>,
    rest: &'k [u8],
}

impl<'k> Path<'k> {
    fn of(table: Table, key: &'k [u8]) -> Path<'k> {
        assert!(is_long(key), "other keys are stored whole");
        let (mut above, mut rest) = (Above::Table(table), key);
        let mut pieces = Vec::new();
        while rest.len() > above.room() {
            let (piece, after) = rest.split_at(above.room());
            let id = above.below(piece);
            pieces.push((above, piece, id));
            (above, rest) = (Above::Range(id), after);
        }
        Path { pieces, rest }
    }

    /// The row's key in the keyspace `overflow`.
    fn row_key(&self) -> Vec<u8> {
        let (_, _, id) = self.pieces.last().expect("a long key has a piece");
        [id, self.rest].concat()
    }
}

/// The key in the keyspace `overflow` of the row with a long key.
pub(super) fn row_key(table: Table, key: &[u8]) -> Vec<u8> {
    Path::of(table, key).row_key()
}

/// What a batch changes because of its long keys.
#[derive(Default)]
struct Changes {
    /// Rows and stubs in the keyspace `overflow`.
    overflow: BTreeMap<Vec<u8>, Option<Bytes>>,
    /// Stubs in tables.
    stubs: BTreeMap<(Table, Vec<u8>), bool>,
    /// Ranges that may have become empty, the deepest first, and their stubs.
    shrunk: BTreeSet<(Reverse<usize>, Id, Above, Vec<u8>)>,
}

impl Changes {
    fn set_stub(&mut self, above: Above, stub: Vec<u8>, stands: bool) {
        match above {
            Above::Table(table) => {
                self.stubs.insert((table, stub), stands);
            }
            Above::Range(_) => {
                self.overflow.insert(stub, stands.then(Bytes::new));
            }
        }
    }
}

/// Puts rows with long keys into `batch`. The caller holds the lock of long writes from before the
/// call until the batch is committed.
pub(super) fn lay_out(
    generation: &Generation,
    rows: Vec<(Table, Bytes, Option<Bytes>)>,
    batch: &mut OwnedWriteBatch,
) -> Result<(), Fault> {
    let failed = |error: &::fjall::Error| fault("look up long keys", error);
    let mut changes = Changes::default();
    for (table, key, value) in &rows {
        let path = Path::of(*table, key);
        let row_key = path.row_key();
        if value.is_none() {
            let counted = generation.count_removed(OVERFLOW_PLACE, &generation.overflow, &row_key);
            counted.map_err(|it| failed(&it))?;
        }
        changes.overflow.insert(row_key, value.clone());
        for (depth, (above, piece, id)) in path.pieces.iter().enumerate().rev() {
            let stub = above.stub(piece);
            if value.is_none() {
                changes.shrunk.insert((Reverse(depth), *id, *above, stub));
                continue;
            }
            // Where a stub stands, those above it do.
            let keyspace = generation.home(*above);
            if keyspace.contains_key(&stub).map_err(|it| failed(&it))? {
                break;
            }
            changes.set_stub(*above, stub, true);
        }
    }
    for (_, id, above, stub) in std::mem::take(&mut changes.shrunk) {
        if !has_rows(&generation.overflow, &changes.overflow, &id).map_err(|it| failed(&it))? {
            changes.set_stub(above, stub, false);
        }
    }
    for (key, value) in changes.overflow {
        match value {
            Some(value) => batch.insert(&generation.overflow, key, value),
            None => batch.remove(&generation.overflow, key),
        }
    }
    for ((table, stub), stands) in changes.stubs {
        match stands {
            true => batch.insert(generation.table(table), stub, Bytes::new()),
            false => batch.remove(generation.table(table), stub),
        }
    }
    Ok(())
}

/// Whether the range has a row once `changes` are written.
fn has_rows(
    overflow: &Keyspace,
    changes: &BTreeMap<Vec<u8>, Option<Bytes>>,
    id: &Id,
) -> ::fjall::Result<bool> {
    let changed = changes.range(id.to_vec()..);
    let mut changed = changed.take_while(|(key, _)| key.starts_with(id));
    if changed.any(|(_, value)| value.is_some()) {
        return Ok(true);
    }
    for row in overflow.prefix(id) {
        if !matches!(changes.get(&row.key()?[..]), Some(None)) {
            return Ok(true);
        }
    }
    Ok(false)
}

impl Generation {
    fn home(&self, above: Above) -> &Keyspace {
        match above {
            Above::Table(table) => self.table(table),
            Above::Range(_) => &self.overflow,
        }
    }
}

/// The rows of a table within bounds, those with long keys among them.
pub(super) struct Scan {
    view: FjallSnapshot,
    table: Table,
    direction: Direction,
    /// The table, and the ranges that the scan is within.
    levels: Vec<Level>,
}

/// The walk through a table or a range.
struct Level {
    rows: ::fjall::Iter,
    above: Above,
    /// What stands before the keys of a range.
    pieces: Vec<u8>,
    /// The bounds as far as they lie in ranges below this one.
    start: Bound<Vec<u8>>,
    end: Bound<Vec<u8>>,
}

impl Scan {
    /// `bounds` must not be empty: see [`super::is_empty`].
    pub(super) fn new(
        view: FjallSnapshot,
        table: Table,
        bounds: KeyBounds<'_>,
        direction: Direction,
    ) -> Scan {
        let level = Level::open(&view, Above::Table(table), Vec::new(), bounds);
        Scan {
            view,
            table,
            direction,
            levels: vec![level],
        }
    }

    fn step(&mut self) -> Option<::fjall::Result<Row>> {
        loop {
            let level = self.levels.last_mut()?;
            let guard = match self.direction {
                Direction::Forward => level.rows.next(),
                Direction::Reverse => level.rows.next_back(),
            };
            let Some(guard) = guard else {
                self.levels.pop();
                continue;
            };
            let (key, value) = match guard.into_inner() {
                Ok((key, value)) => (Bytes::from(key), Bytes::from(value)),
                Err(error) => return Some(Err(error)),
            };
            if key.len() != STUB_BYTES {
                return Some(Ok((level.whole_key(key), value)));
            }
            let below = level.descend(&self.view, &key);
            self.levels.push(below);
        }
    }
}

impl Iterator for Scan {
    type Item = Result<Row, Fault>;

    fn next(&mut self) -> Option<Result<Row, Fault>> {
        let row = self.step()?;
        Some(row.map_err(|error| read_fault(self.table, &error)))
    }
}

impl Level {
    fn open(view: &FjallSnapshot, above: Above, pieces: Vec<u8>, bounds: KeyBounds<'_>) -> Level {
        let placed = (place_start(above, bounds.0), place_end(above, bounds.1));
        let keyspace = view.generation.home(above);
        let rows = view.snapshot.range::<Cow<'_, [u8]>, _>(keyspace, placed);
        let beyond = |bound: Bound<&[u8]>| match bound {
            Bound::Included(key) if key.len() > above.room() => Bound::Included(key.to_vec()),
            Bound::Excluded(key) if key.len() > above.room() => Bound::Excluded(key.to_vec()),
            _ => Bound::Unbounded,
        };
        Level {
            rows,
            above,
            pieces,
            start: beyond(bounds.0),
            end: beyond(bounds.1),
        }
    }

    fn whole_key(&self, key: Bytes) -> Bytes {
        match self.above {
            Above::Table(_) => key,
            Above::Range(_) => Bytes::from([&self.pieces[..], &key[ID_BYTES..]].concat()),
        }
    }

    /// The walk through the range of a stub that this one has met.
    fn descend(&self, view: &FjallSnapshot, stub: &[u8]) -> Level {
        let piece = &stub[self.above.prefix().len()..STUB_BYTES - 1];
        let id = self.above.below(piece);
        let pieces = [&self.pieces[..], piece].concat();
        // Of the stubs within the bounds only the one that a bound goes through is cut.
        fn rest<'a>(bound: &'a Bound<Vec<u8>>, piece: &[u8]) -> Bound<&'a [u8]> {
            match bound {
                Bound::Included(key) if key.starts_with(piece) => {
                    Bound::Included(&key[piece.len()..])
                }
                Bound::Excluded(key) if key.starts_with(piece) => {
                    Bound::Excluded(&key[piece.len()..])
                }
                _ => Bound::Unbounded,
            }
        }
        let bounds = (rest(&self.start, piece), rest(&self.end, piece));
        Level::open(view, Above::Range(id), pieces, bounds)
    }
}

/// Where a key stands, or the stub of the range that it lies in (`true`).
fn place<'a>(above: Above, key: &'a [u8]) -> (Cow<'a, [u8]>, bool) {
    let room = above.room();
    match above {
        _ if key.len() > room => (Cow::Owned(above.stub(&key[..room])), true),
        Above::Table(_) => (Cow::Borrowed(key), false),
        Above::Range(id) => (Cow::Owned([&id[..], key].concat()), false),
    }
}

fn place_start(above: Above, start: Bound<&[u8]>) -> Bound<Cow<'_, [u8]>> {
    match (start, above) {
        (Bound::Unbounded, Above::Table(_)) => Bound::Unbounded,
        (Bound::Unbounded, Above::Range(id)) => Bound::Included(Cow::Owned(id.to_vec())),
        (start, _) => place_bound(above, start),
    }
}

fn place_end(above: Above, end: Bound<&[u8]>) -> Bound<Cow<'_, [u8]>> {
    match (end, above) {
        (Bound::Unbounded, Above::Range(id)) => after_range(id).map(Cow::Owned),
        (end, _) => place_bound(above, end),
    }
}

/// A bound in a range below a stub is met there: the stub is within the bounds here.
fn place_bound(above: Above, bound: Bound<&[u8]>) -> Bound<Cow<'_, [u8]>> {
    match bound {
        Bound::Unbounded => Bound::Unbounded,
        Bound::Included(key) => Bound::Included(place(above, key).0),
        Bound::Excluded(key) => match place(above, key) {
            (stub, true) => Bound::Included(stub),
            (key, false) => Bound::Excluded(key),
        },
    }
}

/// The end of all keys that begin with `id`.
fn after_range(mut id: Id) -> Bound<Vec<u8>> {
    for at in (0..ID_BYTES).rev() {
        if id[at] != 0xff {
            id[at] += 1;
            return Bound::Excluded(id[..=at].to_vec());
        }
    }
    Bound::Unbounded
}
