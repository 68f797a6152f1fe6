//! The live keys in memory, so that a count costs what its ends cost, and not what lies between.
//!
//! An order-statistic B-tree over blocks of some dozens of keys. Within a block each key is kept
//! without what it shares with the one before, and of a long key only the beginning, its *stem*:
//! so a key takes few bytes, and no read of the index touches a row. Only a bound that is itself
//! longer than a stem is looked up among the rows of the keys that begin with the same stem.
//!
//! A clone shares all nodes; a write copies those on its path, each once in a batch. How the keys
//! lie in blocks depends on the order of writes and never shows in an answer.

mod block;

pub use block::Stem;

use crate::view::{Direction, Fault, KeyBounds, Rows, Table, View};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use block::Block;
use bytes::Bytes;
use core::ops::{Bound, Range};

/// Bytes of a key that are kept in memory.
pub const STEM_BYTES_MAX: usize = 256;
/// Stems in a block.
const ENTRIES_MAX: usize = 64;
/// Nodes under a node.
const FANOUT_MAX: usize = 16;
/// A node with less than this part of what it may have is joined with one beside it.
const SPARSE_PART: usize = 4;

/// The live keys of one state.
#[derive(Clone, Debug, Default)]
pub struct KeyIndex {
    keys: u64,
    root: Arc<Node>,
}

#[derive(Clone, Debug)]
enum Node {
    Leaf(Block),
    Inner(Inner),
}

/// Nodes side by side. What a copy need not change is shared by all copies.
#[derive(Clone, Debug, Default)]
struct Inner {
    /// No stem of a node is less than its separator, and every stem before is. That of the first
    /// node means nothing.
    separators: Arc<Vec<Box<[u8]>>>,
    /// How many keys each node has.
    keys: Vec<u64>,
    nodes: Vec<Arc<Node>>,
}

/// What of a node no longer fits, to stand behind it.
struct Split {
    separator: Box<[u8]>,
    keys: u64,
    node: Node,
}

impl KeyIndex {
    /// How many keys there are.
    pub fn len(&self) -> u64 {
        self.keys
    }

    pub fn is_empty(&self) -> bool {
        self.keys == 0
    }

    /// Adds a key that is not live. (Of keys that fit into a stem it is known if they are; then
    /// nothing changes.)
    pub fn insert(&mut self, key: &[u8]) {
        let (added, split) = Arc::make_mut(&mut self.root).insert(stem(key));
        if let Some(right) = split {
            let left = core::mem::take(&mut self.root);
            let keys = self.keys + u64::from(added) - right.keys;
            let mut root = Inner::default();
            root.place_at(0, Box::default(), keys, left);
            root.place_at(1, right.separator, right.keys, Arc::new(right.node));
            self.root = Arc::new(Node::Inner(root));
        }
        self.keys += u64::from(added);
    }

    /// Takes out a key that is live.
    pub fn remove(&mut self, key: &[u8]) {
        let removed = Arc::make_mut(&mut self.root).remove(stem(key));
        self.keys -= u64::from(removed);
        if self.keys == 0 {
            self.root = Arc::default();
        }
        while let Node::Inner(inner) = &*self.root
            && let [only] = &inner.nodes[..]
        {
            self.root = only.clone();
        }
    }

    fn set(&mut self, key: &[u8], is_live: bool) {
        match is_live {
            true => self.insert(key),
            false => self.remove(key),
        }
    }

    /// Does what was noted while there was no index.
    pub fn catch_up(&mut self, changes: &[KeyChange]) {
        for change in changes {
            self.set(&change.key, change.is_live);
        }
    }

    /// The ranks between which the keys from `start` up to and without `end` lie. `view` must show
    /// the same state.
    pub fn ranks(
        &self,
        start: &[u8],
        end: Option<&[u8]>,
        view: &dyn View,
    ) -> Result<Range<u64>, Fault> {
        let first = self.rank(start, view)?;
        let end = match end {
            Some(end) => self.rank(end, view)?,
            None => self.len(),
        };
        Ok(first..end.max(first))
    }

    /// How many keys lie before `bound`, which need not be one.
    fn rank(&self, bound: &[u8], view: &dyn View) -> Result<u64, Fault> {
        let wanted = stem(bound);
        let mut node = &self.root;
        let mut before = 0;
        while let Node::Inner(inner) = &**node {
            let place = inner.place(wanted);
            before += inner.keys[..place].iter().sum::<u64>();
            node = &inner.nodes[place];
        }
        let Node::Leaf(block) = &**node else {
            unreachable!("every way ends at a leaf")
        };
        let (in_block, with_stem) = block.rank(wanted);
        before += in_block;
        if with_stem > 0 && wanted.len() < bound.len() {
            let bounds = (Bound::Included(wanted), Bound::Excluded(bound));
            for row in view.scan(Table::Current, bounds, Direction::Forward) {
                row?;
                before += 1;
            }
        }
        Ok(before)
    }

    /// The stem of the key before which `rank` keys lie.
    pub fn select(&self, mut rank: u64) -> Option<Stem> {
        let mut node = &self.root;
        while let Node::Inner(inner) = &**node {
            let mut sizes = inner.keys.iter();
            let place = sizes.position(|keys| {
                let is_here = rank < *keys;
                if !is_here {
                    rank -= keys;
                }
                is_here
            })?;
            node = &inner.nodes[place];
        }
        match &**node {
            Node::Leaf(block) => block.select(rank),
            Node::Inner(_) => unreachable!("every way ends at a leaf"),
        }
    }

    /// Panics unless the tree is sound.
    pub fn check(&self) {
        let keys = self.root.check(&[], None);
        assert_eq!(keys, self.keys, "an index counts its keys");
    }
}

impl Default for Node {
    fn default() -> Node {
        Node::Leaf(Block::default())
    }
}

impl Node {
    /// Adds a stem. Whether it was new, and what no longer fits.
    fn insert(&mut self, stem: &[u8]) -> (bool, Option<Split>) {
        match self {
            Node::Leaf(block) => {
                let added = block.insert(stem);
                let entries = block.entries();
                if entries <= ENTRIES_MAX {
                    return (added, None);
                }
                // Keys that ascend leave full blocks behind them.
                let is_last = block.is_last(stem);
                let at = if is_last { entries - 1 } else { entries / 2 };
                let (separator, right, keys) = block.split(at);
                let node = Node::Leaf(right);
                (added, Some(Split::new(separator.into(), keys, node)))
            }
            Node::Inner(inner) => inner.insert(stem),
        }
    }

    /// Takes out a stem. False if it is not there.
    fn remove(&mut self, stem: &[u8]) -> bool {
        match self {
            Node::Leaf(block) => block.remove(stem),
            Node::Inner(inner) => inner.remove(stem),
        }
    }

    fn is_sparse(&self) -> bool {
        self.size() * SPARSE_PART < self.size_max()
    }

    fn size(&self) -> usize {
        match self {
            Node::Leaf(block) => block.entries(),
            Node::Inner(inner) => inner.nodes.len(),
        }
    }

    fn size_max(&self) -> usize {
        match self {
            Node::Leaf(_) => ENTRIES_MAX,
            Node::Inner(_) => FANOUT_MAX,
        }
    }

    /// Takes over what stands behind this node, from this separator on.
    fn append(&mut self, separator: Box<[u8]>, right: &Node) {
        match (self, right) {
            (Node::Leaf(block), Node::Leaf(behind)) => block.append(behind),
            (Node::Inner(inner), Node::Inner(behind)) => {
                let separators = Arc::make_mut(&mut inner.separators);
                separators.push(separator);
                separators.extend_from_slice(&behind.separators[1..]);
                inner.keys.extend_from_slice(&behind.keys);
                inner.nodes.extend_from_slice(&behind.nodes);
            }
            _ => unreachable!("all leaves are equally deep"),
        }
    }

    fn check(&self, least: &[u8], limit: Option<&[u8]>) -> u64 {
        assert!(self.size() <= self.size_max());
        match self {
            Node::Leaf(block) => block.check(least, limit),
            Node::Inner(inner) => {
                assert_eq!(inner.separators.len(), inner.nodes.len());
                for (i, node) in inner.nodes.iter().enumerate() {
                    let least = if i == 0 { least } else { &inner.separators[i] };
                    let next = inner.separators.get(i + 1).map(|next| &next[..]);
                    let keys = node.check(least, next.or(limit));
                    assert_eq!(inner.keys[i], keys, "a node counts its keys");
                    assert!(keys > 0, "no node is empty");
                }
                inner.keys.iter().sum()
            }
        }
    }
}

impl Inner {
    /// The node where a stem belongs.
    fn place(&self, stem: &[u8]) -> usize {
        let not_after = self.separators.partition_point(|least| &least[..] <= stem);
        not_after.saturating_sub(1)
    }

    fn place_at(&mut self, place: usize, separator: Box<[u8]>, keys: u64, node: Arc<Node>) {
        Arc::make_mut(&mut self.separators).insert(place, separator);
        self.keys.insert(place, keys);
        self.nodes.insert(place, node);
    }

    fn take(&mut self, place: usize) -> (Box<[u8]>, u64, Arc<Node>) {
        let separator = Arc::make_mut(&mut self.separators).remove(place);
        (separator, self.keys.remove(place), self.nodes.remove(place))
    }

    fn insert(&mut self, stem: &[u8]) -> (bool, Option<Split>) {
        let place = self.place(stem);
        let (added, split) = Arc::make_mut(&mut self.nodes[place]).insert(stem);
        self.keys[place] += u64::from(added);
        let Some(right) = split else {
            return (added, None);
        };
        self.keys[place] -= right.keys;
        self.place_at(place + 1, right.separator, right.keys, Arc::new(right.node));
        let count = self.nodes.len();
        if count <= FANOUT_MAX {
            return (added, None);
        }
        let is_last = place + 2 == count;
        let at = if is_last { count - 1 } else { count / 2 };
        let right = Inner {
            separators: Arc::new(Arc::make_mut(&mut self.separators).split_off(at)),
            keys: self.keys.split_off(at),
            nodes: self.nodes.split_off(at),
        };
        let (separator, keys) = (right.separators[0].clone(), right.keys.iter().sum());
        (added, Some(Split::new(separator, keys, Node::Inner(right))))
    }

    fn remove(&mut self, stem: &[u8]) -> bool {
        let place = self.place(stem);
        let node = Arc::make_mut(&mut self.nodes[place]);
        let removed = node.remove(stem);
        let is_sparse = node.is_sparse();
        self.keys[place] -= u64::from(removed);
        if self.keys[place] == 0 {
            self.take(place);
        } else if is_sparse {
            self.join(place);
        }
        removed
    }

    /// Joins the node with one beside it, if one can hold both and is not soon full.
    fn join(&mut self, place: usize) {
        let fits = |left: usize| match &self.nodes[left..] {
            [left, right, ..] => {
                let size = left.size() + right.size();
                size * SPARSE_PART <= left.size_max() * (SPARSE_PART - 1)
            }
            _ => false,
        };
        let left = if fits(place) {
            place
        } else if place > 0 && fits(place - 1) {
            place - 1
        } else {
            return;
        };
        let (separator, keys, right) = self.take(left + 1);
        self.keys[left] += keys;
        Arc::make_mut(&mut self.nodes[left]).append(separator, &right);
    }
}

impl Split {
    fn new(separator: Box<[u8]>, keys: u64, node: Node) -> Split {
        Split {
            separator,
            keys,
            node,
        }
    }
}

fn stem(key: &[u8]) -> &[u8] {
    &key[..key.len().min(STEM_BYTES_MAX)]
}

/// What is known of the live keys while a batch is applied.
#[derive(Clone, Debug)]
pub enum LiveKeys {
    Indexed(KeyIndex),
    /// There is no index yet: what is to be done to it once it is there.
    Changed(Vec<KeyChange>),
}

impl LiveKeys {
    pub fn of(index: Option<KeyIndex>) -> LiveKeys {
        index.map_or_else(|| LiveKeys::Changed(Vec::new()), LiveKeys::Indexed)
    }

    pub fn index(&self) -> Option<&KeyIndex> {
        match self {
            LiveKeys::Indexed(index) => Some(index),
            LiveKeys::Changed(_) => None,
        }
    }

    /// Notes that a key became live, or is no longer.
    pub fn set(&mut self, key: &[u8], is_live: bool) {
        match self {
            LiveKeys::Indexed(index) => index.set(key, is_live),
            LiveKeys::Changed(changes) => changes.push(KeyChange {
                key: key.into(),
                is_live,
            }),
        }
    }
}

/// A key that became live, or is no longer. It shares no memory with the rows of the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyChange {
    key: Box<[u8]>,
    is_live: bool,
}

/// Rows together with the index of their live keys.
#[derive(Clone, Debug)]
pub struct Indexed<V> {
    pub rows: V,
    pub keys: Option<KeyIndex>,
}

impl<V: View> View for Indexed<V> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, Fault> {
        self.rows.get(table, key)
    }

    fn scan<'a>(&'a self, table: Table, bounds: KeyBounds<'_>, direction: Direction) -> Rows<'a> {
        self.rows.scan(table, bounds, direction)
    }

    fn keys(&self) -> Option<&KeyIndex> {
        self.keys.as_ref()
    }
}
