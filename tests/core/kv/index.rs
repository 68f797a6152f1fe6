//! The index of the keys against maps, and what reads with it look at.

use crate::generate::config;
use crate::store::{Store, Tables};
use bytes::Bytes;
use detcd_core::api::{
    DeleteRangeRequest, KeyRange, KeyValue, PutRequest, RangeRequest, SortOrder, SortTarget,
};
use detcd_core::codec::PutRows;
use detcd_core::command::Command;
use detcd_core::kv::index::{Indexed, KeyIndex, STEM_BYTES_MAX, ended_generations, live_keys};
use detcd_core::kv::range::range_chunk;
use detcd_core::query::{self, At};
use detcd_core::view::{Batch, Direction, Fault, KeyBounds, Rows, Table, View};
use proptest::prelude::*;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::ops::{Bound, Range};

/// Live keys, each with the revision that created it.
type Keys = BTreeMap<Bytes, i64>;

/// Keys of some families: few bytes that are often prefixes of others, numbers under a prefix, and
/// keys about as long as a stem and longer.
fn key() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        3 => prop::collection::vec(0u8..3, 1..6).prop_map(Bytes::from),
        6 => (0..5000u32).prop_map(number),
        2 => (0..9usize, prop::collection::vec(0u8..3, 0..4)).prop_map(|(extra, tail)| {
            Bytes::from([vec![b'l'; STEM_BYTES_MAX - 4 + extra], tail].concat())
        }),
    ]
}

fn number(number: u32) -> Bytes {
    Bytes::from(format!("registry/{}/{number:04}", number % 3))
}

#[derive(Clone, Debug)]
enum Step {
    Insert(Bytes),
    Remove(Bytes),
    InsertRun(Range<u32>, u32),
    /// Every key of a range, as a delete of a range does.
    RemoveRange(Bytes, Bytes),
    Count(Bytes, Option<Bytes>),
    /// Counts and lists what lived so many revisions ago.
    Past(Bytes, Option<Bytes>, i64, usize),
    Compact(i64),
    /// A batch ends: what was published before must stay as it was.
    Publish,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => key().prop_map(Step::Insert),
        4 => key().prop_map(Step::Remove),
        2 => (0..5000u32, 1..1500u32, 1..4u32)
            .prop_map(|(start, len, by)| Step::InsertRun(start..(start + len).min(5000), by)),
        1 => (key(), key()).prop_map(|(start, end)| Step::RemoveRange(start, end)),
        4 => (key(), prop::option::of(key())).prop_map(|(start, end)| Step::Count(start, end)),
        4 => (key(), prop::option::of(key()), 0..60i64, 1..40usize)
            .prop_map(|(start, end, ago, max)| Step::Past(start, end, ago, max)),
        1 => (0..60i64).prop_map(Step::Compact),
        2 => Just(Step::Publish),
    ]
}

/// Rows of which only the keys matter.
struct Set<'a>(&'a Keys);

impl View for Set<'_> {
    fn get(&self, _: Table, key: &[u8]) -> Result<Option<Bytes>, Fault> {
        Ok(self.0.contains_key(key).then(Bytes::new))
    }

    fn scan<'a>(&'a self, _: Table, bounds: KeyBounds<'_>, direction: Direction) -> Rows<'a> {
        assert_eq!(direction, Direction::Forward);
        let keys = self.0.range::<[u8], _>(bounds);
        Box::new(keys.map(|(key, _)| Ok((key.clone(), Bytes::new()))))
    }
}

fn between(keys: &Keys, start: &Bytes, end: Option<&Bytes>) -> Vec<Bytes> {
    let end = end.map_or(Bound::Unbounded, |end| {
        Bound::Excluded(end.max(start).clone())
    });
    if let Bound::Excluded(end) = &end
        && end <= start
    {
        return Vec::new();
    }
    let range = (Bound::Included(start.clone()), end);
    keys.range(range).map(|(key, _)| key.clone()).collect()
}

fn check_count(index: &KeyIndex, keys: &Keys, start: &Bytes, end: Option<&Bytes>) {
    let ranks = index
        .ranks(start, end.map(|end| &end[..]), &Set(keys))
        .unwrap();
    let wanted = between(keys, start, end);
    assert_eq!(ranks.end - ranks.start, wanted.len() as u64);
    for (rank, key) in [
        (ranks.start, wanted.first()),
        (ranks.end.max(1) - 1, wanted.last()),
    ] {
        let Some(key) = key else { continue };
        let stem = index.select(rank).unwrap();
        assert!(key.starts_with(&stem.bytes));
        assert_eq!(stem.is_key(), key.len() < STEM_BYTES_MAX);
        assert!(!stem.is_key() || stem.bytes == *key);
    }
}

fn check_all(index: &KeyIndex, keys: &Keys) {
    index.check();
    assert_eq!(
        (index.len(), index.is_empty()),
        (keys.len() as u64, keys.is_empty())
    );
    check_count(index, keys, &Bytes::new(), None);
    assert_eq!(index.select(index.len()), None);
}

/// An index, and the states that it may be asked about.
struct World {
    index: KeyIndex,
    /// The live keys after each revision; the last one is in force.
    states: Vec<Keys>,
    compacted: usize,
}

impl World {
    fn revision(&self) -> i64 {
        self.states.len() as i64 - 1
    }

    fn keys(&self) -> &Keys {
        self.states.last().expect("there is a state")
    }

    /// Makes the next revision.
    fn change(&mut self, change: impl FnOnce(&mut Keys, &mut KeyIndex, i64)) {
        let mut keys = self.keys().clone();
        let main = self.revision() + 1;
        change(&mut keys, &mut self.index, main);
        self.states.push(keys);
    }

    fn insert(&mut self, keys: impl IntoIterator<Item = Bytes>) {
        self.change(|live, index, main| {
            for key in keys {
                live.entry(key).or_insert_with_key(|key| {
                    index.insert(key, main);
                    main
                });
            }
        });
    }

    fn remove(&mut self, keys: impl IntoIterator<Item = Bytes>) {
        self.change(|live, index, main| {
            for key in keys {
                if live.remove(&key).is_some() {
                    index.remove(&key, main);
                }
            }
        });
    }

    fn check_past(&self, start: &Bytes, end: Option<&Bytes>, ago: i64, max: usize) {
        let revision = (self.revision() - ago).max(self.compacted as i64);
        let wanted = between(&self.states[revision as usize], start, end);
        let range = (&start[..], end.map(|end| &end[..]));
        let count = self.index.count_at(range, revision, &Set(self.keys()));
        let has_long = |keys: &Keys| keys.keys().any(|key| key.len() + 10 >= STEM_BYTES_MAX);
        let is_certain = !self.states.iter().any(has_long);
        match count.unwrap() {
            Some(count) => assert_eq!(count, wanted.len() as u64),
            None => assert!(!is_certain, "the count is known"),
        }
        for direction in [Direction::Forward, Direction::Reverse] {
            let mut wanted = wanted.clone();
            if direction == Direction::Reverse {
                wanted.reverse();
            }
            wanted.truncate(max);
            match self.index.keys_at(range, revision, direction, max) {
                Some(found) => assert_eq!(found, wanted),
                None => assert!(!is_certain, "the keys are known"),
            }
        }
    }
}

proptest! {
    #![proptest_config(config("kv-index", 64))]

    #[test]
    fn an_index_counts_as_a_map_does(steps in prop::collection::vec(step(), 1..80)) {
        let mut world = World {
            index: KeyIndex::default(),
            states: vec![Keys::new(); 2],
            compacted: 1,
        };
        let mut published = Vec::new();
        for step in steps {
            match step {
                Step::Insert(key) => world.insert([key]),
                Step::Remove(key) => world.remove([key]),
                Step::InsertRun(numbers, by) => {
                    world.insert(numbers.step_by(by as usize).map(number));
                }
                Step::RemoveRange(start, end) => {
                    world.remove(between(world.keys(), &start, Some(&end)));
                }
                Step::Count(start, end) => {
                    check_count(&world.index, world.keys(), &start, end.as_ref());
                }
                Step::Past(start, end, ago, max) => {
                    world.check_past(&start, end.as_ref(), ago, max);
                }
                Step::Compact(ago) => {
                    let revision = (world.revision() - ago).max(1);
                    world.compacted = world.compacted.max(revision as usize);
                    world.index.compact(revision);
                }
                Step::Publish => {
                    world.index.prune();
                    published.push((world.index.clone(), world.keys().clone()));
                }
            }
            world.index.check();
        }
        published.push((world.index.clone(), world.keys().clone()));
        for (index, keys) in &published {
            check_all(index, keys);
        }
        world.index.compact(world.revision());
        (0..100).for_each(|_| world.index.prune());
        prop_assert_eq!(world.index.ended_len(), 0);
    }
}

/// Counts the rows that are read.
struct Counting<V> {
    rows: V,
    read: Cell<usize>,
}

impl<V> Counting<V> {
    fn of(rows: V) -> Counting<V> {
        let read = Cell::new(0);
        Counting { rows, read }
    }
}

impl<V: View> View for Counting<V> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, Fault> {
        self.read.set(self.read.get() + 1);
        self.rows.get(table, key)
    }

    fn scan<'a>(&'a self, table: Table, bounds: KeyBounds<'_>, direction: Direction) -> Rows<'a> {
        let rows = self.rows.scan(table, bounds, direction);
        Box::new(rows.inspect(|_| self.read.set(self.read.get() + 1)))
    }

    fn keys(&self) -> Option<&KeyIndex> {
        self.rows.keys()
    }
}

/// As many keys, each put once, in order.
fn store(count: u32) -> (Counting<Indexed<Tables>>, At) {
    let (mut rows, mut keys) = (Tables::default(), KeyIndex::default());
    let mut batch = Batch::default();
    for key in 0..count {
        let main = i64::from(key) + 2;
        let kv = KeyValue {
            key: Bytes::from(format!("k/{key:06}")),
            create_revision: main,
            mod_revision: main,
            version: 1,
            ..KeyValue::default()
        };
        let put = PutRows::new(&kv, 0);
        batch.put(Table::Current, kv.key.clone(), put.current);
        batch.put(Table::Events, put.event_key, put.event);
        keys.insert(&kv.key, main);
    }
    rows.write(batch);
    let at = At {
        revision: i64::from(count) + 1,
        compact_revision: -1,
    };
    let keys = Some(keys);
    (Counting::of(Indexed { rows, keys }), at)
}

fn every_key() -> RangeRequest {
    RangeRequest::of(KeyRange::Span {
        start: Bytes::from_static(b"k/"),
        end: Some(Bytes::from_static(b"k0")),
    })
}

/// What requests are allowed to read, however many keys there are.
#[test]
fn a_limited_read_looks_at_what_it_gives() {
    let limited = |limit| RangeRequest {
        limit,
        ..every_key()
    };
    let count_only = RangeRequest {
        count_only: true,
        ..every_key()
    };
    let requests = [
        ("one", limited(1), 2),
        ("some", limited(10), 11),
        ("a page", limited(500), 501),
        (
            "the last",
            RangeRequest {
                sort_order: SortOrder::Descend,
                ..limited(1)
            },
            2,
        ),
        (
            "keys",
            RangeRequest {
                keys_only: true,
                ..limited(3)
            },
            4,
        ),
        (
            "sorted",
            RangeRequest {
                sort_target: SortTarget::Mod,
                ..limited(3)
            },
            4,
        ),
        ("a count", count_only.clone(), 0),
        (
            "a limited count",
            RangeRequest {
                limit: 7,
                ..count_only.clone()
            },
            0,
        ),
        (
            "filtered",
            RangeRequest {
                min_mod_revision: 1,
                ..limited(3)
            },
            4,
        ),
    ];
    for keys in [600, 20_000] {
        let (view, at) = store(keys);
        for (name, request, rows) in &requests {
            view.read.set(0);
            let reply = query::range(&view, at, request).unwrap();
            assert_eq!(reply.count, i64::from(keys), "{name}");
            assert_eq!(reply.more, !request.count_only, "{name}");
            assert!(
                view.read.get() <= *rows,
                "{name} read {} rows",
                view.read.get()
            );
        }
    }
}

#[test]
fn pages_look_at_what_they_give() {
    let (view, at) = store(20_000);
    let mut request = RangeRequest {
        limit: 500,
        ..every_key()
    };
    let mut listed = 0;
    loop {
        let reply = query::range(&view, at, &request).unwrap();
        assert_eq!(reply.count, 20_000 - listed);
        listed += reply.kvs.len() as i64;
        if !reply.more {
            break;
        }
        let last = &reply.kvs.last().unwrap().key;
        request.range = KeyRange::Span {
            start: [last, &[0][..]].concat().into(),
            end: Some(Bytes::from_static(b"k0")),
        };
    }
    assert_eq!((listed, view.read.get()), (20_000, 20_000 + 39));
}

fn put(key: Bytes) -> Command {
    Command::Put(PutRequest {
        key,
        ..PutRequest::default()
    })
}

/// As [`store`]; then every second key is put again, and every third deleted. The index is built
/// from the rows.
fn changed_store(count: u32) -> (Counting<Indexed<Tables>>, At) {
    let mut store = Store::unindexed();
    let key = |number| Bytes::from(format!("k/{number:06}"));
    let put = |number| put(key(number));
    for number in 0..count {
        store.apply(put(number));
    }
    (0..count)
        .step_by(2)
        .for_each(|number| drop(store.apply(put(number))));
    for number in (0..count).step_by(3) {
        let range = KeyRange::One(key(number));
        let prev_kv = false;
        store.apply(Command::DeleteRange(DeleteRangeRequest { range, prev_kv }));
    }
    let mut keys = live_keys(&store.tables, || true).unwrap().unwrap();
    let ended = ended_generations(&store.tables, || true).unwrap().unwrap();
    keys.add_ended(ended);
    keys.check();
    let keys = Some(keys);
    let rows = store.tables.clone();
    (Counting::of(Indexed { rows, keys }), store.at())
}

/// A past revision is counted without rows, and what is read of it is what is given: at most its
/// latest row, its past versions' list, and the version.
#[test]
fn a_past_read_looks_at_what_it_gives() {
    const KEYS: u32 = 3000;
    let (view, at) = changed_store(KEYS);
    let all = i64::from(KEYS);
    for (revision, count) in [
        (at.revision - 1, all - all / 3 + 1),
        (1 + all + all / 2, all),
        (1 + all / 2, all / 2),
        (2, 1),
    ] {
        for (limit, count_only) in [(0, true), (1, false), (500, false)] {
            for sort_order in [SortOrder::None, SortOrder::Descend] {
                view.read.set(0);
                let request = RangeRequest {
                    revision,
                    limit,
                    count_only,
                    sort_order,
                    ..every_key()
                };
                let reply = query::range(&view, at, &request).unwrap();
                assert_eq!(reply.count, count, "{revision}");
                let given = if count_only { 0 } else { limit.min(count) };
                assert_eq!(reply.kvs.len() as i64, given);
                let wanted = if count_only { 0 } else { limit + 1 };
                assert!(
                    view.read.get() as i64 <= 3 * wanted,
                    "{revision}, {limit}: read {} rows",
                    view.read.get()
                );
            }
        }
    }
}

/// Long keys make the index uncertain of the past: the rows then say what it would have said.
#[test]
fn limited_past_reads_count_beyond_long_keys() {
    let long = |first: u8, len: usize| Bytes::from([&[first][..], &vec![b'x'; len]].concat());
    let mut store = Store::new();
    for number in 0..60u8 {
        let key = Bytes::copy_from_slice(&[b'a' + number % 20, number]);
        store.apply(put(key));
        if number % 15 == 0 {
            store.apply(put(long(b'e' + number / 15 * 3, 300 + usize::from(number))));
        }
    }
    for start in [b'c', b'k'] {
        let (start, end) = (Bytes::from(vec![start]), Some(Bytes::from(vec![start + 3])));
        let range = KeyRange::Span { start, end };
        let prev_kv = false;
        store.apply(Command::DeleteRange(DeleteRangeRequest { range, prev_kv }));
    }
    let at = store.at();
    let views = [store.indexed(), store.rebuilt(false), store.rebuilt(true)];
    let (start, end) = (Bytes::from_static(b"a"), None);
    let every = KeyRange::Span { start, end };
    let chunks = |view: &dyn View, request: &RangeRequest| {
        let mut found = vec![range_chunk(view, at, request, None, 100)];
        while let Some(Ok((_, Some(next)))) = found.last() {
            found.push(range_chunk(view, at, request, Some(next.clone()), 100));
        }
        found
    };
    for (revision, limit) in (1..=at.revision).flat_map(|it| [(it, 1), (it, 5), (it, 30)]) {
        for sort_order in [SortOrder::None, SortOrder::Descend] {
            for count_only in [false, true] {
                let request = RangeRequest {
                    revision,
                    limit,
                    sort_order,
                    count_only,
                    ..RangeRequest::of(every.clone())
                };
                let plain = query::range(&store.tables, at, &request);
                let streamed = chunks(&store.tables, &request);
                for view in &views {
                    assert_eq!(query::range(view, at, &request), plain, "{request:?}");
                    assert_eq!(chunks(view, &request), streamed, "{request:?}");
                }
            }
        }
    }
}

/// A walk through the past does not pass every version that a key had.
#[test]
fn a_past_list_passes_long_histories() {
    let mut store = Store::new();
    let key = |number: u32| Bytes::from(format!("k/{number}"));
    for _ in 0..300 {
        for number in 0..4 {
            store.apply(put(key(number)));
        }
    }
    let at = store.at();
    let request = RangeRequest {
        revision: at.revision / 2,
        ..every_key()
    };
    for sort_order in [SortOrder::None, SortOrder::Descend] {
        let request = RangeRequest {
            sort_order,
            ..request.clone()
        };
        let view = Counting::of(store.tables.clone());
        let reply = query::range(&view, at, &request).unwrap();
        assert_eq!(reply.count, 4);
        assert!(view.read.get() < 120, "read {} rows", view.read.get());
    }
}

#[test]
fn a_stream_looks_at_what_it_gives() {
    let (view, at) = store(20_000);
    let request = RangeRequest {
        limit: 700,
        ..every_key()
    };
    let (mut cursor, mut chunks, mut listed) = (None, 0, 0);
    loop {
        let (chunk, next) = range_chunk(&view, at, &request, cursor, 4000).unwrap();
        (chunks, listed) = (chunks + 1, listed + chunk.kvs.len());
        assert!(chunk.kvs.len() < 200, "a chunk is as large as it may be");
        if next.is_none() {
            assert_eq!((chunk.count, chunk.more), (20_000, true));
            break;
        }
        cursor = next;
    }
    assert_eq!(listed, 700);
    assert!(view.read.get() <= listed + chunks);
}

#[test]
fn an_empty_range_reads_nothing() {
    let (view, at) = store(1000);
    let range = KeyRange::Span {
        start: Bytes::from_static(b"a"),
        end: Some(Bytes::from_static(b"b")),
    };
    let reply = query::range(&view, at, &RangeRequest::of(range)).unwrap();
    assert_eq!((reply.count, view.read.get()), (0, 0));
}
