//! An order-statistic B-tree over blocks of some dozens of stems.
//!
//! A clone shares all nodes; a write copies those on its path, each once in a batch. How the keys
//! lie in blocks depends on the order of writes and never shows in an answer.

use super::block::{Block, Removed, Shown, Stem};
use super::stem;
use crate::view::{Direction, Fault, Table, View};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Bound;

/// Stems in a block.
const ENTRIES_MAX: usize = 64;
/// Nodes under a node.
const FANOUT_MAX: usize = 16;
/// A node with less than this part of what it may have is joined with one beside it.
const SPARSE_PART: usize = 4;

/// Keys in order, each with a revision.
#[derive(Clone, Debug, Default)]
pub(super) struct Tree {
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
    children: Vec<Child>,
}

#[derive(Clone, Debug)]
struct Child {
    /// How many keys the node has.
    keys: u64,
    /// No key of the node has a newer revision.
    newest: i64,
    node: Arc<Node>,
}

/// What of a node no longer fits, to stand behind it.
struct Split {
    separator: Box<[u8]>,
    right: Child,
}

/// The part of a tree that a walk shows.
pub(super) struct Walk<'a> {
    /// Stems below it are not shown.
    pub start: &'a [u8],
    pub end: Option<&'a [u8]>,
    /// Only what is newer is surely shown.
    pub after: i64,
    pub direction: Direction,
}

impl Walk<'_> {
    pub const ALL: Walk<'static> = Walk {
        start: &[],
        end: None,
        after: 0,
        direction: Direction::Forward,
    };
}

impl Tree {
    pub fn len(&self) -> u64 {
        self.keys
    }

    /// Adds a key. (If a key that fits into a stem is there already, nothing changes.)
    pub fn insert(&mut self, key: &[u8], revision: i64) {
        let (added, split) = Arc::make_mut(&mut self.root).insert(stem(key), revision);
        if let Some(split) = split {
            let keys = self.keys + u64::from(added) - split.right.keys;
            let left = core::mem::take(&mut self.root);
            let mut root = Inner::default();
            root.place_at(0, Box::default(), Child::new(keys, left));
            root.place_at(1, split.separator, split.right);
            self.root = Arc::new(Node::Inner(root));
        }
        self.keys += u64::from(added);
    }

    /// Takes out a key, if it is there.
    pub fn remove(&mut self, key: &[u8]) -> Option<Removed> {
        let removed = Arc::make_mut(&mut self.root).remove(stem(key))?;
        self.keys -= 1;
        if self.keys == 0 {
            self.root = Arc::default();
        }
        while let Node::Inner(inner) = &*self.root
            && let [only] = &inner.children[..]
        {
            self.root = only.node.clone();
        }
        Some(removed)
    }

    /// How many keys lie before `bound`, which need not be one. Where it goes through keys with the
    /// same stem, their rows of `Current` are looked at.
    pub fn rank(&self, bound: &[u8], view: &dyn View) -> Result<u64, Fault> {
        let wanted = stem(bound);
        let mut node = &self.root;
        let mut before = 0;
        while let Node::Inner(inner) = &**node {
            let place = inner.place(wanted);
            let left = inner.children[..place].iter();
            before += left.map(|child| child.keys).sum::<u64>();
            node = &inner.children[place].node;
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
            let mut children = inner.children.iter();
            let child = children.find(|child| {
                let is_here = rank < child.keys;
                if !is_here {
                    rank -= child.keys;
                }
                is_here
            })?;
            node = &child.node;
        }
        match &**node {
            Node::Leaf(block) => block.select(rank),
            Node::Inner(_) => unreachable!("every way ends at a leaf"),
        }
    }

    /// Shows the stems of a part of the tree, in order, until `show` says false. Of a bound that is
    /// longer than a stem only the stem counts.
    pub fn walk(&self, walk: &Walk<'_>, show: &mut dyn FnMut(Shown<'_>) -> bool) {
        self.root.walk(walk, show);
    }

    /// Panics unless the tree is sound.
    pub fn check(&self) {
        let keys = self.root.check(&[], None, i64::MAX);
        assert_eq!(keys, self.keys, "a tree counts its keys");
    }
}

impl Default for Node {
    fn default() -> Node {
        Node::Leaf(Block::default())
    }
}

impl Node {
    /// Adds a stem. Whether it was new, and what no longer fits.
    fn insert(&mut self, stem: &[u8], revision: i64) -> (bool, Option<Split>) {
        match self {
            Node::Leaf(block) => {
                let inserted = block.insert(stem, revision);
                let entries = block.entries();
                if entries <= ENTRIES_MAX {
                    return (inserted.is_new, None);
                }
                // Keys that ascend leave full blocks behind them.
                let at = match inserted.is_last {
                    true => entries - 1,
                    false => entries / 2,
                };
                let (separator, right, keys) = block.split(at);
                let split = Split {
                    separator: separator.into(),
                    right: Child::new(keys, Arc::new(Node::Leaf(right))),
                };
                (inserted.is_new, Some(split))
            }
            Node::Inner(inner) => inner.insert(stem, revision),
        }
    }

    /// Takes out a stem, if it is there.
    fn remove(&mut self, stem: &[u8]) -> Option<Removed> {
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
            Node::Inner(inner) => inner.children.len(),
        }
    }

    fn size_max(&self) -> usize {
        match self {
            Node::Leaf(_) => ENTRIES_MAX,
            Node::Inner(_) => FANOUT_MAX,
        }
    }

    fn newest(&self) -> i64 {
        match self {
            Node::Leaf(block) => block.newest(),
            Node::Inner(inner) => {
                let newest = inner.children.iter().map(|child| child.newest);
                newest.max().unwrap_or(0)
            }
        }
    }

    fn walk(&self, walk: &Walk<'_>, show: &mut dyn FnMut(Shown<'_>) -> bool) -> bool {
        match self {
            Node::Leaf(block) => block.walk(walk, show),
            Node::Inner(inner) => inner.walk(walk, show),
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
                inner.children.extend_from_slice(&behind.children);
            }
            _ => unreachable!("all leaves are equally deep"),
        }
    }

    fn check(&self, least: &[u8], limit: Option<&[u8]>, newest: i64) -> u64 {
        assert!(self.size() <= self.size_max());
        match self {
            Node::Leaf(block) => block.check(least, limit, newest),
            Node::Inner(inner) => {
                assert_eq!(inner.separators.len(), inner.children.len());
                for (i, child) in inner.children.iter().enumerate() {
                    let least = if i == 0 { least } else { &inner.separators[i] };
                    let next = inner.separators.get(i + 1).map(|next| &next[..]);
                    let keys = child.node.check(least, next.or(limit), child.newest);
                    assert_eq!(child.keys, keys, "a node counts its keys");
                    assert!(keys > 0, "no node is empty");
                    assert!(child.newest <= newest, "a node bounds its revisions");
                }
                inner.children.iter().map(|child| child.keys).sum()
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

    fn place_at(&mut self, place: usize, separator: Box<[u8]>, child: Child) {
        Arc::make_mut(&mut self.separators).insert(place, separator);
        self.children.insert(place, child);
    }

    fn take(&mut self, place: usize) -> (Box<[u8]>, Child) {
        let separator = Arc::make_mut(&mut self.separators).remove(place);
        (separator, self.children.remove(place))
    }

    fn insert(&mut self, stem: &[u8], revision: i64) -> (bool, Option<Split>) {
        let place = self.place(stem);
        let child = &mut self.children[place];
        let (added, split) = Arc::make_mut(&mut child.node).insert(stem, revision);
        child.keys += u64::from(added);
        child.newest = child.newest.max(revision);
        let Some(Split { separator, right }) = split else {
            return (added, None);
        };
        child.keys -= right.keys;
        self.place_at(place + 1, separator, right);
        let count = self.children.len();
        if count <= FANOUT_MAX {
            return (added, None);
        }
        let is_last = place + 2 == count;
        let at = if is_last { count - 1 } else { count / 2 };
        let right = Inner {
            separators: Arc::new(Arc::make_mut(&mut self.separators).split_off(at)),
            children: self.children.split_off(at),
        };
        let separator = right.separators[0].clone();
        let keys = right.children.iter().map(|child| child.keys).sum();
        let right = Child::new(keys, Arc::new(Node::Inner(right)));
        (added, Some(Split { separator, right }))
    }

    fn remove(&mut self, stem: &[u8]) -> Option<Removed> {
        let place = self.place(stem);
        let child = &mut self.children[place];
        let node = Arc::make_mut(&mut child.node);
        let removed = node.remove(stem)?;
        child.keys -= 1;
        let is_sparse = node.is_sparse();
        if child.keys == 0 {
            self.take(place);
        } else if is_sparse {
            self.join(place);
        }
        Some(removed)
    }

    /// Joins the node with one beside it, if one can hold both and is not soon full.
    fn join(&mut self, place: usize) {
        let fits = |left: usize| match &self.children[left..] {
            [left, right, ..] => {
                let size = left.node.size() + right.node.size();
                size * SPARSE_PART <= left.node.size_max() * (SPARSE_PART - 1)
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
        let (separator, right) = self.take(left + 1);
        let child = &mut self.children[left];
        child.keys += right.keys;
        child.newest = child.newest.max(right.newest);
        Arc::make_mut(&mut child.node).append(separator, &right.node);
    }

    fn walk(&self, walk: &Walk<'_>, show: &mut dyn FnMut(Shown<'_>) -> bool) -> bool {
        let first = self.place(stem(walk.start));
        let last = walk.end.map(|end| self.place(stem(end)));
        let last = last.unwrap_or(self.children.len() - 1);
        if last < first {
            return true;
        }
        let mut within = self.children[first..=last]
            .iter()
            .filter(|child| child.newest > walk.after);
        match walk.direction {
            Direction::Forward => within.all(|child| child.node.walk(walk, show)),
            Direction::Reverse => within.rev().all(|child| child.node.walk(walk, show)),
        }
    }
}

impl Child {
    fn new(keys: u64, node: Arc<Node>) -> Child {
        Child {
            keys,
            newest: node.newest(),
            node,
        }
    }
}

impl Block {
    fn walk(&self, walk: &Walk<'_>, show: &mut dyn FnMut(Shown<'_>) -> bool) -> bool {
        let (start, end) = (stem(walk.start), walk.end);
        let mut is_within = |shown: Shown<'_>| {
            let is_before_end = end.is_none_or(|end| shown.stem < end);
            match shown.stem >= start && shown.revision > walk.after && is_before_end {
                true => show(shown),
                false => is_before_end || walk.direction == Direction::Reverse,
            }
        };
        if walk.direction == Direction::Forward {
            return self.all(&mut is_within);
        }
        let mut stems: Vec<(Vec<u8>, i64)> = Vec::with_capacity(self.entries());
        self.all(&mut |shown| {
            stems.push((shown.stem.to_vec(), shown.revision));
            true
        });
        let mut stems = stems.iter().rev();
        stems.all(|(stem, revision)| {
            let revision = *revision;
            is_within(Shown { stem, revision })
        })
    }
}

/// Makes a tree of keys that ascend: every node but the last ones is full.
#[derive(Default)]
pub(super) struct Builder {
    keys: u64,
    leaves: Vec<(Box<[u8]>, Child)>,
    block: Block,
    block_keys: u64,
    /// Where the block begins.
    separator: Box<[u8]>,
    last: Vec<u8>,
}

impl Builder {
    /// Adds a key behind all others.
    pub fn push(&mut self, key: &[u8], revision: i64) {
        let stem = stem(key);
        assert!(self.keys == 0 || &self.last[..] <= stem, "keys ascend");
        let is_known = self.block.entries() > 0 && self.last == stem;
        if self.block.entries() == ENTRIES_MAX && !is_known {
            self.end_block();
            self.separator = stem.into();
            self.block.push(&[], stem, revision);
        } else if is_known {
            self.block.insert(stem, revision);
        } else {
            let last = match self.block.entries() {
                0 => &[],
                _ => &self.last[..],
            };
            self.block.push(last, stem, revision);
        }
        self.keys += 1;
        self.block_keys += 1;
        self.last.clear();
        self.last.extend_from_slice(stem);
    }

    fn end_block(&mut self) {
        let mut block = core::mem::take(&mut self.block);
        block.fit();
        let keys = core::mem::take(&mut self.block_keys);
        let separator = core::mem::take(&mut self.separator);
        self.leaves
            .push((separator, Child::new(keys, Arc::new(Node::Leaf(block)))));
    }

    pub fn finish(mut self) -> Tree {
        if self.keys == 0 {
            return Tree::default();
        }
        self.end_block();
        let mut level = self.leaves;
        while level.len() > 1 {
            let mut above = Vec::with_capacity(level.len().div_ceil(FANOUT_MAX));
            let mut rest = level.into_iter().peekable();
            while rest.peek().is_some() {
                let (separators, children): (Vec<_>, Vec<_>) =
                    rest.by_ref().take(FANOUT_MAX).unzip();
                let separator = separators[0].clone();
                let keys = children.iter().map(|child: &Child| child.keys).sum();
                let separators = Arc::new(separators);
                let inner = Inner {
                    separators,
                    children,
                };
                above.push((separator, Child::new(keys, Arc::new(Node::Inner(inner)))));
            }
            level = above;
        }
        let (_, root) = level.pop().expect("there is a key");
        Tree {
            keys: self.keys,
            root: root.node,
        }
    }
}
