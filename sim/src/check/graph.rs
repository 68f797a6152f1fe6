//! Which transactions come before which others, and whether that has a cycle.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

/// Why one transaction comes before another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// It wrote before the other.
    Ww,
    /// The other read what it wrote.
    Wr,
    /// The other wrote over what it read.
    Rw,
    /// It was over before the other began.
    Rt,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge {
    pub from: usize,
    pub kind: Kind,
    pub to: usize,
}

/// From so many edges of a component a cycle is looked for. A component has a cycle through any of its edges;
/// this bounds how long is looked for a short one, in a history that is wrong anyway.
const BEGINS_MAX: usize = 2_000;

/// Transactions, by number, and what orders them.
pub struct Graph {
    edges: Vec<BTreeSet<(usize, Kind)>>,
}

/// Edges each of which begins where the one before it ends, the first where the last ends.
#[derive(Clone, Debug)]
pub struct Cycle {
    pub edges: Vec<Edge>,
}

impl Cycle {
    /// The anomaly, after Adya, that it is.
    pub fn name(&self) -> String {
        let count = |kind| self.edges.iter().filter(|edge| edge.kind == kind).count();
        let name = match (count(Kind::Rw), count(Kind::Wr)) {
            (0, 0) => "G0",
            (0, _) => "G1c",
            (1, _) => "G-single",
            _ => "G2",
        };
        match count(Kind::Rt) {
            0 => name.to_owned(),
            _ => format!("{name}-realtime"),
        }
    }
}

impl Graph {
    pub fn new(transactions: usize) -> Graph {
        Graph {
            edges: vec![BTreeSet::new(); transactions],
        }
    }

    /// Of a transaction with itself there is nothing to say.
    pub fn add(&mut self, from: usize, kind: Kind, to: usize) {
        if from != to {
            self.edges[from].insert((to, kind));
        }
    }

    /// Adds the order of real time: `spans` has when each transaction began and, if it is known to
    /// be over, ended; nothing for those that do not count. Those that follow from others are left
    /// out, so the edges are as many as transactions times those at work at a time.
    pub fn add_real_time(&mut self, spans: &[Option<(Duration, Option<Duration>)>]) {
        let mut moments: Vec<(Duration, bool, usize)> = Vec::new();
        for (index, span) in spans.iter().enumerate() {
            let Some((called, ended)) = span else {
                continue;
            };
            moments.push((*called, false, index));
            moments.extend(ended.map(|ended| (ended, true, index)));
        }
        // At one moment calls come before ends: such transactions overlap.
        moments.sort_unstable();
        // The transactions that are over, without those that were over before one of them began.
        let mut frontier: Vec<(Duration, usize)> = Vec::new();
        for (at, is_end, index) in moments {
            if is_end {
                let (called, _) = spans[index].expect("only those with a span end");
                frontier.retain(|(ended, _)| *ended >= called);
                frontier.push((at, index));
            } else {
                for (_, before) in &frontier {
                    self.add(*before, Kind::Rt, index);
                }
            }
        }
    }

    /// A short cycle of each component of the graph, of the worst kind that it has: without real time
    /// if there is one, and with as few kinds of edges as possible.
    pub fn anomalies(&self) -> Vec<Cycle> {
        let components = self.components();
        components
            .iter()
            .map(|component| self.worst(component))
            .collect()
    }

    fn worst(&self, component: &BTreeSet<usize>) -> Cycle {
        use Kind::{Rt, Rw, Wr, Ww};
        let tries: [(&[Kind], &[Kind]); 8] = [
            (&[Ww], &[Ww]),
            (&[Wr], &[Ww, Wr]),
            (&[Rw], &[Ww, Wr]),
            (&[Rw], &[Ww, Wr, Rw]),
            (&[Ww, Rt], &[Ww, Rt]),
            (&[Wr, Rt], &[Ww, Wr, Rt]),
            (&[Rw], &[Ww, Wr, Rt]),
            (&[Ww, Wr, Rw, Rt], &[Ww, Wr, Rw, Rt]),
        ];
        let mut found = tries
            .iter()
            .filter_map(|(first, rest)| self.cycle(component, first, rest));
        found.next().expect("a component has a cycle")
    }

    /// The shortest cycle within `component` whose first edge is of one kind and whose others are of
    /// others.
    fn cycle(&self, component: &BTreeSet<usize>, first: &[Kind], rest: &[Kind]) -> Option<Cycle> {
        let edges = component.iter().flat_map(|from| {
            let edges = self.edges[*from].iter();
            edges.map(|(to, kind)| Edge {
                from: *from,
                kind: *kind,
                to: *to,
            })
        });
        let begins =
            edges.filter(|edge| first.contains(&edge.kind) && component.contains(&edge.to));
        let mut best: Option<Vec<Edge>> = None;
        for edge in begins.take(BEGINS_MAX) {
            if let Some(back) = self.path(component, edge.to, edge.from, rest)
                && best.as_ref().is_none_or(|best| back.len() + 1 < best.len())
            {
                let is_shortest = back.len() == 1;
                best = Some([vec![edge], back].concat());
                if is_shortest {
                    break;
                }
            }
        }
        best.map(|edges| Cycle { edges })
    }

    /// The shortest way over edges of these kinds.
    fn path(
        &self,
        component: &BTreeSet<usize>,
        from: usize,
        to: usize,
        kinds: &[Kind],
    ) -> Option<Vec<Edge>> {
        let mut came: Vec<Option<Edge>> = vec![None; self.edges.len()];
        let mut queue = VecDeque::from([from]);
        while let Some(at) = queue.pop_front() {
            if at == to {
                let mut way = Vec::new();
                let mut at = to;
                while at != from {
                    let edge = came[at].expect("every place on the way was come to");
                    way.push(edge);
                    at = edge.from;
                }
                way.reverse();
                return Some(way);
            }
            for (next, kind) in &self.edges[at] {
                let is_new = *next != from && came[*next].is_none();
                if is_new && component.contains(next) && kinds.contains(kind) {
                    came[*next] = Some(Edge {
                        from: at,
                        kind: *kind,
                        to: *next,
                    });
                    queue.push_back(*next);
                }
            }
        }
        None
    }

    /// The strongly connected components of more than one transaction (Tarjan, "Depth-first search
    /// and linear graph algorithms", 1972), without recursion.
    fn components(&self) -> Vec<BTreeSet<usize>> {
        const UNSEEN: usize = usize::MAX;
        let count = self.edges.len();
        let (mut number, mut low) = (vec![UNSEEN; count], vec![UNSEEN; count]);
        let (mut stack, mut is_on_stack) = (Vec::new(), vec![false; count]);
        let (mut next, mut components) = (0, Vec::new());
        for root in 0..count {
            if number[root] != UNSEEN {
                continue;
            }
            let mut work = vec![(root, self.edges[root].iter())];
            (number[root], low[root]) = (next, next);
            next += 1;
            stack.push(root);
            is_on_stack[root] = true;
            while let Some((at, edges)) = work.last_mut() {
                let at = *at;
                if let Some((to, _)) = edges.next() {
                    if number[*to] == UNSEEN {
                        (number[*to], low[*to]) = (next, next);
                        next += 1;
                        stack.push(*to);
                        is_on_stack[*to] = true;
                        work.push((*to, self.edges[*to].iter()));
                    } else if is_on_stack[*to] {
                        low[at] = low[at].min(number[*to]);
                    }
                    continue;
                }
                work.pop();
                if let Some((parent, _)) = work.last() {
                    low[*parent] = low[*parent].min(low[at]);
                }
                if low[at] == number[at] {
                    let mut component = BTreeSet::new();
                    loop {
                        let member = stack.pop().expect("the root is on the stack");
                        is_on_stack[member] = false;
                        component.insert(member);
                        if member == at {
                            break;
                        }
                    }
                    if component.len() > 1 {
                        components.push(component);
                    }
                }
            }
        }
        components
    }
}
