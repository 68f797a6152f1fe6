//! Which spans of keys contain a key: an interval tree.
//!
//! A balanced (AVL) search tree over `(start, end)`, where each node also knows which node below
//! it reaches furthest. A lookup leaves out every subtree that ends before the key or begins after
//! it: it costs the depth of the tree for each span that it finds, and never looks at all.

use alloc::vec::Vec;
use bytes::Bytes;
use core::cmp::Ordering;

/// `[start, end)`; no end means every key from `start` on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub start: Bytes,
    pub end: Option<Bytes>,
}

impl Span {
    fn order(&self, other: &Span) -> Ordering {
        self.start
            .cmp(&other.start)
            .then_with(|| end_order(&self.end, &other.end))
    }
}

fn end_order(a: &Option<Bytes>, b: &Option<Bytes>) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) => a.cmp(b),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => Ordering::Equal,
    }
}

fn ends_after(end: &Option<Bytes>, key: &[u8]) -> bool {
    end.as_ref().is_none_or(|end| &end[..] > key)
}

/// The absent child.
const NIL: u32 = u32::MAX;

#[derive(Debug)]
struct Node {
    span: Span,
    value: u32,
    left: u32,
    right: u32,
    /// The node of this subtree whose span ends last.
    furthest: u32,
    height: u8,
}

/// A map from spans to values that answers which spans contain a key.
#[derive(Debug)]
pub(super) struct SpanTree {
    nodes: Vec<Node>,
    free: Vec<u32>,
    root: u32,
}

impl SpanTree {
    pub fn new() -> SpanTree {
        SpanTree {
            nodes: Vec::new(),
            free: Vec::new(),
            root: NIL,
        }
    }

    pub fn len(&self) -> usize {
        self.nodes.len() - self.free.len()
    }

    pub fn get(&self, span: &Span) -> Option<u32> {
        let mut at = self.root;
        while at != NIL {
            let node = &self.nodes[at as usize];
            at = match span.order(&node.span) {
                Ordering::Less => node.left,
                Ordering::Greater => node.right,
                Ordering::Equal => return Some(node.value),
            };
        }
        None
    }

    /// Adds a span that is not there yet.
    pub fn insert(&mut self, span: Span, value: u32) {
        let node = Node {
            span,
            value,
            left: NIL,
            right: NIL,
            furthest: NIL,
            height: 1,
        };
        let new = match self.free.pop() {
            Some(at) => {
                self.nodes[at as usize] = node;
                at
            }
            None => {
                self.nodes.push(node);
                u32::try_from(self.nodes.len() - 1).expect("fewer spans than 2^32")
            }
        };
        self.nodes[new as usize].furthest = new;
        self.root = self.insert_below(self.root, new);
    }

    /// Removes a span that is there.
    pub fn remove(&mut self, span: &Span) {
        let (root, removed) = self.remove_below(self.root, span);
        self.root = root;
        // The slot keeps no key alive while it waits for its next use.
        self.nodes[removed as usize].span = Span {
            start: Bytes::new(),
            end: None,
        };
        self.free.push(removed);
    }

    /// Calls `found` for each span that contains `key`, in span order; returns how many nodes were
    /// looked at.
    pub fn containing(&self, key: &[u8], mut found: impl FnMut(u32)) -> u64 {
        let mut looked_at = 0;
        self.containing_below(self.root, key, &mut found, &mut looked_at);
        looked_at
    }

    fn containing_below(
        &self,
        at: u32,
        key: &[u8],
        found: &mut impl FnMut(u32),
        looked_at: &mut u64,
    ) {
        if at == NIL {
            return;
        }
        *looked_at += 1;
        let node = &self.nodes[at as usize];
        if !ends_after(&self.nodes[node.furthest as usize].span.end, key) {
            return;
        }
        self.containing_below(node.left, key, found, looked_at);
        if &node.span.start[..] <= key {
            if ends_after(&node.span.end, key) {
                found(node.value);
            }
            self.containing_below(node.right, key, found, looked_at);
        }
    }

    fn insert_below(&mut self, at: u32, new: u32) -> u32 {
        if at == NIL {
            return new;
        }
        let order = self.nodes[new as usize]
            .span
            .order(&self.nodes[at as usize].span);
        match order {
            Ordering::Less => {
                let child = self.insert_below(self.nodes[at as usize].left, new);
                self.nodes[at as usize].left = child;
            }
            Ordering::Greater => {
                let child = self.insert_below(self.nodes[at as usize].right, new);
                self.nodes[at as usize].right = child;
            }
            Ordering::Equal => panic!("span inserted twice"),
        }
        self.balance(at)
    }

    /// Returns the new root of the subtree and the node taken out of it.
    fn remove_below(&mut self, at: u32, span: &Span) -> (u32, u32) {
        assert_ne!(at, NIL, "removed a span that is not there");
        let node = &self.nodes[at as usize];
        let (left, right) = (node.left, node.right);
        match span.order(&node.span) {
            Ordering::Less => {
                let (child, removed) = self.remove_below(left, span);
                self.nodes[at as usize].left = child;
                (self.balance(at), removed)
            }
            Ordering::Greater => {
                let (child, removed) = self.remove_below(right, span);
                self.nodes[at as usize].right = child;
                (self.balance(at), removed)
            }
            Ordering::Equal if right == NIL => (left, at),
            Ordering::Equal => {
                let (rest, first) = self.take_first(right);
                self.nodes[first as usize].left = left;
                self.nodes[first as usize].right = rest;
                (self.balance(first), at)
            }
        }
    }

    /// Takes the first node out of a subtree; returns what is left of it, and the node.
    fn take_first(&mut self, at: u32) -> (u32, u32) {
        let (left, right) = (self.nodes[at as usize].left, self.nodes[at as usize].right);
        if left == NIL {
            return (right, at);
        }
        let (rest, first) = self.take_first(left);
        self.nodes[at as usize].left = rest;
        (self.balance(at), first)
    }

    fn height(&self, at: u32) -> i16 {
        if at == NIL {
            0
        } else {
            i16::from(self.nodes[at as usize].height)
        }
    }

    fn lean(&self, at: u32) -> i16 {
        let node = &self.nodes[at as usize];
        self.height(node.left) - self.height(node.right)
    }

    /// Restores the balance of a node whose children are balanced; returns the subtree's root.
    fn balance(&mut self, at: u32) -> u32 {
        let (left, right) = (self.nodes[at as usize].left, self.nodes[at as usize].right);
        let lean = self.lean(at);
        if lean > 1 {
            if self.lean(left) < 0 {
                self.nodes[at as usize].left = self.rotate_left(left);
            }
            return self.rotate_right(at);
        }
        if lean < -1 {
            if self.lean(right) > 0 {
                self.nodes[at as usize].right = self.rotate_right(right);
            }
            return self.rotate_left(at);
        }
        self.summarize(at);
        at
    }

    fn rotate_left(&mut self, at: u32) -> u32 {
        let up = self.nodes[at as usize].right;
        self.nodes[at as usize].right = self.nodes[up as usize].left;
        self.nodes[up as usize].left = at;
        self.summarize(at);
        self.summarize(up);
        up
    }

    fn rotate_right(&mut self, at: u32) -> u32 {
        let up = self.nodes[at as usize].left;
        self.nodes[at as usize].left = self.nodes[up as usize].right;
        self.nodes[up as usize].right = at;
        self.summarize(at);
        self.summarize(up);
        up
    }

    /// Recomputes what a node knows of its subtree from its children.
    fn summarize(&mut self, at: u32) {
        let (left, right) = (self.nodes[at as usize].left, self.nodes[at as usize].right);
        let height = 1 + self.height(left).max(self.height(right));
        let mut furthest = at;
        for child in [left, right] {
            if child != NIL {
                let candidate = self.nodes[child as usize].furthest;
                let ends = |at: u32| &self.nodes[at as usize].span.end;
                if end_order(ends(candidate), ends(furthest)) == Ordering::Greater {
                    furthest = candidate;
                }
            }
        }
        let node = &mut self.nodes[at as usize];
        node.height = u8::try_from(height).expect("a balanced tree of 2^32 nodes is not this high");
        node.furthest = furthest;
    }

    /// Asserts what the tree promises itself.
    pub fn check(&self) {
        let mut in_order = Vec::new();
        self.check_below(self.root, &mut in_order);
        assert_eq!(
            in_order.len(),
            self.len(),
            "every node that is in use is in the tree"
        );
        for pair in in_order.windows(2) {
            let (a, b) = (&self.nodes[pair[0] as usize], &self.nodes[pair[1] as usize]);
            assert_eq!(a.span.order(&b.span), Ordering::Less, "spans are in order");
        }
    }

    fn check_below(&self, at: u32, in_order: &mut Vec<u32>) {
        if at == NIL {
            return;
        }
        let node = &self.nodes[at as usize];
        let first = in_order.len();
        self.check_below(node.left, in_order);
        in_order.push(at);
        self.check_below(node.right, in_order);
        assert!(self.lean(at).abs() <= 1, "the tree is balanced");
        assert_eq!(
            i16::from(node.height),
            1 + self.height(node.left).max(self.height(node.right)),
            "a node knows its height"
        );
        let furthest = &self.nodes[node.furthest as usize].span.end;
        assert!(
            in_order[first..].contains(&node.furthest),
            "the furthest node is below"
        );
        for below in &in_order[first..] {
            let end = &self.nodes[*below as usize].span.end;
            assert_ne!(
                end_order(end, furthest),
                Ordering::Greater,
                "nothing reaches further"
            );
        }
    }
}
