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
const FANOUT_MAX: usize = 32;
/// A node with less than this part of what it may have is joined with one beside it.
const SPARSE_PART: usize = 4;

/// The live keys of one state.
#[derive(Clone, Debug, Default)]
pub struct KeyIndex {
    root: Option<Child>,
}

#[derive(Clone, Debug)]
enum Node {
    Leaf(Block),
    Inner(Vec<Child>),
}

#[derive(Clone, Debug)]
struct Child {
    /// No stem here is less. Of the first child of a node it means nothing.
    least: Arc<[u8]>,
    /// How many keys are here.
    keys: u64,
    node: Arc<Node>,
}

impl KeyIndex {
    /// How many keys there are.
    pub fn len(&self) -> u64 {
        self.root.as_ref().map_or(0, |root| root.keys)
    }

    pub fn is_empty(&self) -> bool {
        self.root.is_none()
    }

    /// Adds a key that is not live. (Of keys that fit into a stem it is known if they are; then
    /// nothing changes.)
    pub fn insert(&mut self, key: &[u8]) {
        let root = self.root.get_or_insert_with(|| Child {
            least: Arc::default(),
            keys: 0,
            node: Arc::new(Node::Leaf(Block::default())),
        });
        if let Some(right) = root.insert(stem(key)) {
            let left = core::mem::replace(
                root,
                Child {
                    least: Arc::default(),
                    keys: 0,
                    node: right.node.clone(),
                },
            );
            root.keys = left.keys + right.keys;
            root.node = Arc::new(Node::Inner(Vec::from([left, right])));
        }
    }

    /// Takes out a key that is live.
    pub fn remove(&mut self, key: &[u8]) {
        let Some(root) = &mut self.root else {
            return;
        };
        root.remove(stem(key));
        if root.keys == 0 {
            self.root = None;
            return;
        }
        while let Node::Inner(children) = &*root.node
            && let [only] = &children[..]
        {
            *root = only.clone();
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
        let Some(mut child) = self.root.as_ref() else {
            return Ok(0);
        };
        let wanted = stem(bound);
        let mut before = 0;
        loop {
            match &*child.node {
                Node::Inner(children) => {
                    let place = place(children, wanted);
                    before += children[..place].iter().map(|child| child.keys).sum::<u64>();
                    child = &children[place];
                }
                Node::Leaf(block) => {
                    let (in_block, with_stem) = block.rank(wanted);
                    before += in_block;
                    if with_stem == 0 || wanted.len() == bound.len() {
                        return Ok(before);
                    }
                    let bounds = (Bound::Included(wanted), Bound::Excluded(bound));
                    for row in view.scan(Table::Current, bounds, Direction::Forward) {
                        row?;
                        before += 1;
                    }
                    return Ok(before);
                }
            }
        }
    }

    /// The stem of the key before which `rank` keys lie.
    pub fn select(&self, mut rank: u64) -> Option<Stem> {
        let mut child = self.root.as_ref()?;
        loop {
            match &*child.node {
                Node::Inner(children) => {
                    child = children.iter().find(|child| {
                        let is_here = rank < child.keys;
                        if !is_here {
                            rank -= child.keys;
                        }
                        is_here
                    })?;
                }
                Node::Leaf(block) => return block.select(rank),
            }
        }
    }

    /// Panics unless the tree is sound.
    pub fn check(&self) {
        if let Some(root) = &self.root {
            assert!(root.keys > 0, "an empty index has no root");
            root.check(&[], None);
        }
    }
}

impl Child {
    fn new(least: Vec<u8>, keys: u64, node: Node) -> Child {
        Child {
            least: least.into(),
            keys,
            node: Arc::new(node),
        }
    }

    /// Adds a stem. What no longer fits is given back, to stand behind this node.
    fn insert(&mut self, stem: &[u8]) -> Option<Child> {
        match Arc::make_mut(&mut self.node) {
            Node::Leaf(block) => {
                if !block.insert(stem) {
                    return None;
                }
                self.keys += 1;
                let entries = block.entries();
                if entries <= ENTRIES_MAX {
                    return None;
                }
                // Keys that ascend leave full blocks behind them.
                let is_last = block.rank(stem).0 + 1 == self.keys;
                let at = if is_last { entries - 1 } else { entries / 2 };
                let (least, right, moved) = block.split(at);
                self.keys -= moved;
                Some(Child::new(least, moved, Node::Leaf(right)))
            }
            Node::Inner(children) => {
                let place = place(children, stem);
                let before = children[place].keys;
                let new = children[place].insert(stem);
                let after = children[place].keys + new.as_ref().map_or(0, |new| new.keys);
                self.keys += after - before;
                children.insert(place + 1, new?);
                let count = children.len();
                if count <= FANOUT_MAX {
                    return None;
                }
                let at = if place + 2 == count { count - 1 } else { count / 2 };
                let right = children.split_off(at);
                let moved = right.iter().map(|child| child.keys).sum();
                self.keys -= moved;
                let least = right[0].least.clone();
                Some(Child {
                    least,
                    keys: moved,
                    node: Arc::new(Node::Inner(right)),
                })
            }
        }
    }

    fn remove(&mut self, stem: &[u8]) {
        match Arc::make_mut(&mut self.node) {
            Node::Leaf(block) => self.keys -= u64::from(block.remove(stem)),
            Node::Inner(children) => {
                let place = place(children, stem);
                let before = children[place].keys;
                children[place].remove(stem);
                self.keys -= before - children[place].keys;
                if children[place].keys == 0 {
                    children.remove(place);
                } else if children[place].is_sparse() {
                    join(children, place);
                }
            }
        }
    }

    fn is_sparse(&self) -> bool {
        self.size() * SPARSE_PART < self.size_max()
    }

    fn size(&self) -> usize {
        match &*self.node {
            Node::Leaf(block) => block.entries(),
            Node::Inner(children) => children.len(),
        }
    }

    fn size_max(&self) -> usize {
        match &*self.node {
            Node::Leaf(_) => ENTRIES_MAX,
            Node::Inner(_) => FANOUT_MAX,
        }
    }

    fn check(&self, least: &[u8], limit: Option<&[u8]>) {
        let keys = match &*self.node {
            Node::Leaf(block) => {
                let last = block.entries().checked_sub(1).map(|_| block.select(self.keys - 1));
                let (first, last) = (block.select(0), last.flatten());
                let within = |stem: &Stem| {
                    &stem.bytes[..] >= least && limit.is_none_or(|limit| &stem.bytes[..] < limit)
                };
                assert!(first.iter().chain(&last).all(within), "stems lie in their node");
                block.check()
            }
            Node::Inner(children) => {
                for (i, child) in children.iter().enumerate() {
                    let least = if i == 0 { least } else { &child.least };
                    let next = children.get(i + 1).map(|next| &next.least[..]);
                    child.check(least, next.or(limit));
                }
                children.iter().map(|child| child.keys).sum()
            }
        };
        assert_eq!(keys, self.keys, "a node counts its keys");
        assert!(keys > 0 && self.size() <= self.size_max());
    }
}

/// The child where a stem belongs.
fn place(children: &[Child], stem: &[u8]) -> usize {
    let not_after = children.partition_point(|child| &child.least[..] <= stem);
    not_after.saturating_sub(1)
}

/// Joins the child with one beside it, if one node can hold both and is not soon full.
fn join(children: &mut Vec<Child>, place: usize) {
    let fits = |left: &Child, right: &Child| {
        (left.size() + right.size()) * SPARSE_PART <= left.size_max() * (SPARSE_PART - 1)
    };
    let behind = |left: usize| match &children[left..] {
        [left, right, ..] => fits(left, right),
        _ => false,
    };
    let left = if behind(place) {
        place
    } else if place > 0 && behind(place - 1) {
        place - 1
    } else {
        return;
    };
    let right = children.remove(left + 1);
    let left = &mut children[left];
    left.keys += right.keys;
    match (Arc::make_mut(&mut left.node), &*right.node) {
        (Node::Leaf(block), Node::Leaf(behind)) => block.append(behind),
        (Node::Inner(children), Node::Inner(behind)) => {
            let first = children.len();
            children.extend_from_slice(behind);
            children[first].least = right.least;
        }
        _ => unreachable!("all leaves are equally deep"),
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

    fn scan<'a>(
        &'a self,
        table: Table,
        bounds: KeyBounds<'_>,
        direction: Direction,
    ) -> Rows<'a> {
        self.rows.scan(table, bounds, direction)
    }

    fn keys(&self) -> Option<&KeyIndex> {
        self.keys.as_ref()
    }
}
