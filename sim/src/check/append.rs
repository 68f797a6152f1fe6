//! Lists to which transactions append: strict serializability, judged as Elle does it (Kingsbury
//! and Alvaro, "Elle: Inferring Isolation Anomalies from Experimental Observations", VLDB 2020).
//!
//! No element is appended twice, so a list tells the order of those who appended to it, and every
//! read tells where in this order it stands. From that follow, between transactions,
//! - *ww*: one appended right after the other;
//! - *wr*: one read the list as the other left it;
//! - *rw*: one read the list as it was right before the other appended;
//! - *rt*: one was over before the other began.
//!
//! A history is strictly serializable only if these have no cycle. What a cycle is made of names
//! the anomaly: G0 (ww), G1c (ww and wr), G-single (one rw), G2 (more of them), each on its own or
//! with real time.

use super::Finding;
use super::graph::{Edge, Graph, Kind};
use crate::client_records::{End, ListAct, ListTxn};
use crate::history::{History, text};
use crate::model::State;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};

pub fn check(history: &History) -> Vec<Finding> {
    if history.list_txns.is_empty() {
        return Vec::new();
    }
    let mut lists = Lists::new(history);
    lists.judge_reads();
    lists.judge_own_order();
    lists.judge_lost();
    // Edges are only as good as the order of the elements.
    if lists.problems.is_empty() {
        lists.judge_cycles();
    }
    lists.problems.into_iter().map(Finding::new).collect()
}

/// The list that a value of a key stands for.
pub fn parse(value: &[u8]) -> Option<Vec<u64>> {
    let text = std::str::from_utf8(value).ok()?;
    text.split(',')
        .map(|element| element.parse().ok())
        .collect()
}

struct Lists<'a> {
    txns: &'a [ListTxn],
    /// Who appended an element, and to which key.
    writers: BTreeMap<u64, (usize, &'a Bytes)>,
    /// Every list, as long as it ever got.
    orders: BTreeMap<&'a Bytes, Vec<u64>>,
    problems: Vec<String>,
}

impl<'a> Lists<'a> {
    fn new(history: &'a History) -> Lists<'a> {
        let txns = &history.list_txns[..];
        let mut writers = BTreeMap::new();
        let mut keys: BTreeSet<&Bytes> = BTreeSet::new();
        for (index, txn) in txns.iter().enumerate() {
            for act in &txn.acts {
                match act {
                    ListAct::Append { key, element } => {
                        keys.insert(key);
                        let other = writers.insert(*element, (index, key));
                        assert!(other.is_none(), "the workload appends {element} once");
                    }
                    ListAct::Read { key, .. } => drop(keys.insert(key)),
                }
            }
        }
        let mut lists = Lists {
            txns,
            writers,
            orders: BTreeMap::new(),
            problems: Vec::new(),
        };
        let changes = history.revisions.values();
        let last = changes.fold(State::empty(), |state, changes| state.follow(changes));
        for key in keys {
            let stored = last.keys.get(key).map(|kv| parse(&kv.value));
            match stored.unwrap_or(Some(Vec::new())) {
                Some(list) => drop(lists.orders.insert(key, list)),
                None => lists.problems.push(format!("{} is not a list", text(key))),
            }
        }
        lists
    }

    /// Every committed read, without what the transaction itself had appended by then.
    fn reads(&self) -> Vec<(usize, &'a Bytes, &'a [u64])> {
        let mut reads = Vec::new();
        for (index, txn) in self.txns.iter().enumerate() {
            for act in &txn.acts {
                if let ListAct::Read {
                    key,
                    list: Some(list),
                } = act
                    && txn.end == End::Committed
                {
                    let own = |element: &u64| {
                        self.writers
                            .get(element)
                            .is_some_and(|(writer, _)| *writer == index)
                    };
                    let others = list.iter().rposition(|element| !own(element));
                    reads.push((index, key, &list[..others.map_or(0, |last| last + 1)]));
                }
            }
        }
        reads
    }

    fn problem(&mut self, txn: usize, what: String) {
        let txn = &self.txns[txn];
        self.problems.push(format!("{what}\n    {txn}"));
    }

    /// Every read is a state that the list had between two transactions.
    fn judge_reads(&mut self) {
        let keys: Vec<&Bytes> = self.orders.keys().copied().collect();
        for key in keys {
            self.judge_order(key);
        }
        for (reader, key, list) in self.reads() {
            let Some(order) = self.orders.get(key) else {
                continue;
            };
            if !order.starts_with(list) {
                let what = format!(
                    "{} was read as {list:?}, which never was the beginning of {order:?}",
                    text(key)
                );
                self.problem(reader, what);
                continue;
            }
            let (last, next) = (list.last(), order.get(list.len()));
            let writer =
                |element: Option<&u64>| self.writers.get(element?).map(|(writer, _)| *writer);
            if let Some(halfway) = writer(last)
                && writer(next) == Some(halfway)
                && halfway != reader
            {
                let what = format!("G1b: {} was read in the middle of a transaction", text(key));
                self.problem(reader, what);
            }
        }
    }

    /// A list has elements that somebody appended to it and did not take back, each once.
    fn judge_order(&mut self, key: &Bytes) {
        let order = self.orders[key].clone();
        let mut seen = BTreeSet::new();
        for element in &order {
            if !seen.insert(element) {
                let what = format!("{} has the element {element} twice: {order:?}", text(key));
                self.problems.push(what);
            }
            match self.writers.get(element) {
                Some((writer, to)) if *to == key => {
                    if self.txns[*writer].end == End::Aborted {
                        let what = format!(
                            "G1a: {} has the element {element} of a transaction that was aborted",
                            text(key)
                        );
                        self.problem(*writer, what);
                    }
                }
                _ => {
                    let what = format!("nobody appended {element} to {}", text(key));
                    self.problems.push(what);
                }
            }
        }
    }

    /// A transaction sees what it did itself.
    fn judge_own_order(&mut self) {
        let txns = self.txns;
        for (index, txn) in txns.iter().enumerate() {
            let mut known: BTreeMap<&Bytes, Vec<u64>> = BTreeMap::new();
            let mut appended: BTreeMap<&Bytes, Vec<u64>> = BTreeMap::new();
            for act in &txn.acts {
                match act {
                    ListAct::Append { key, element } => {
                        appended.entry(key).or_default().push(*element);
                        if let Some(list) = known.get_mut(key) {
                            list.push(*element);
                        }
                    }
                    ListAct::Read {
                        key,
                        list: Some(list),
                    } => {
                        let expected = known.get(key);
                        let own = appended.get(key).map_or(&[][..], |own| own);
                        if expected.is_some_and(|expected| expected != list) || !list.ends_with(own)
                        {
                            let what = format!("{} is not what it was itself", text(key));
                            self.problem(index, what);
                        }
                        known.insert(key, list.clone());
                    }
                    ListAct::Read { list: None, .. } => {}
                }
            }
        }
    }

    /// What was acknowledged is there in the end.
    fn judge_lost(&mut self) {
        let stored: BTreeSet<u64> = self.orders.values().flatten().copied().collect();
        let lost: Vec<(u64, usize)> = self
            .writers
            .iter()
            .filter(|(element, (writer, _))| {
                self.txns[*writer].end == End::Committed && !stored.contains(element)
            })
            .map(|(element, (writer, _))| (*element, *writer))
            .collect();
        for (element, writer) in lost {
            self.problem(
                writer,
                format!("the acknowledged element {element} is lost"),
            );
        }
    }

    fn judge_cycles(&mut self) {
        let graph = self.graph();
        for cycle in graph.anomalies() {
            let mut what = format!("{}: these cannot be put in any order", cycle.name());
            for edge in &cycle.edges {
                let (from, why) = (&self.txns[edge.from], self.why(edge));
                what.push_str(&format!("\n    {from}\n      {why}"));
            }
            self.problems.push(what);
        }
    }

    fn graph(&self) -> Graph {
        let mut graph = Graph::new(self.txns.len());
        let writer = |element: &u64| self.writers[element].0;
        for order in self.orders.values() {
            for pair in order.windows(2) {
                graph.add(writer(&pair[0]), Kind::Ww, writer(&pair[1]));
            }
        }
        for (reader, key, list) in self.reads() {
            if let Some(last) = list.last() {
                graph.add(writer(last), Kind::Wr, reader);
            }
            if let Some(next) = self.orders[key].get(list.len()) {
                graph.add(reader, Kind::Rw, writer(next));
            }
        }
        let spans = self.txns.iter().map(|txn| match txn.end {
            End::Committed => Some((txn.called, Some(txn.ended))),
            End::Unknown => Some((txn.called, None)),
            End::Aborted => None,
        });
        graph.add_real_time(&spans.collect::<Vec<_>>());
        graph
    }

    /// An edge in words.
    fn why(&self, edge: &Edge) -> String {
        let [from, to] = [edge.from, edge.to].map(|index| self.txns[index].client);
        match edge.kind {
            Kind::Ww => format!("ww: client {to} appended right after it"),
            Kind::Wr => format!("wr: client {to} read what it had appended"),
            Kind::Rw => format!("rw: client {to} appended to what it had read"),
            Kind::Rt => format!("rt: it was over before client {to} began, says client {from}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::forge;
    use std::time::Duration;

    const A: &str = "a";
    const B: &str = "b";

    fn append(key: &'static str, element: u64) -> ListAct {
        let key = Bytes::from_static(key.as_bytes());
        ListAct::Append { key, element }
    }

    fn read(key: &'static str, list: &[u64]) -> ListAct {
        let key = Bytes::from_static(key.as_bytes());
        let list = Some(list.to_vec());
        ListAct::Read { key, list }
    }

    fn txn(from: u64, to: u64, end: End, acts: Vec<ListAct>) -> ListTxn {
        ListTxn {
            client: from as u32,
            called: Duration::from_secs(from),
            ended: Duration::from_secs(to),
            acts,
            end,
        }
    }

    /// A committed transaction between two seconds.
    fn done(from: u64, to: u64, acts: Vec<ListAct>) -> ListTxn {
        txn(from, to, End::Committed, acts)
    }

    /// What is wrong with these transactions if the lists end like this.
    fn problems(stored: &[(&'static str, &'static str)], list_txns: Vec<ListTxn>) -> String {
        let stored = stored
            .iter()
            .map(|(key, value)| format!("put {key} {value}"));
        let history = History {
            list_txns,
            ..forge::history(&stored.collect::<Vec<_>>(), Vec::new())
        };
        let found = check(&history).into_iter();
        found.map(|finding| finding.what + "\n").collect()
    }

    #[track_caller]
    fn assert_found(what: &str, stored: &[(&'static str, &'static str)], txns: Vec<ListTxn>) {
        let found = problems(stored, txns);
        assert!(found.contains(what), "{what} is not among:\n{found}");
    }

    #[test]
    fn good_histories_are_fine() {
        let txns = vec![
            done(
                0,
                1,
                vec![append(A, 1), append(A, 2), read(A, &[1, 2]), append(B, 3)],
            ),
            // They overlap: the one that was called first may come last.
            done(2, 9, vec![read(A, &[1, 2, 4]), append(A, 5)]),
            done(3, 8, vec![append(A, 4), read(B, &[3])]),
            txn(4, 5, End::Unknown, vec![append(B, 6)]),
            txn(4, 5, End::Unknown, vec![append(B, 7)]),
            txn(4, 5, End::Aborted, vec![append(B, 8)]),
            done(10, 11, vec![read(A, &[1, 2, 4, 5]), read(B, &[3, 7])]),
        ];
        assert_eq!(problems(&[(A, "1,2,4,5"), (B, "3,7")], txns), "");
    }

    #[test]
    fn what_a_single_read_shows_is_found() {
        let one = || done(0, 1, vec![append(A, 1), append(A, 2)]);
        let read_as = |list: &[u64]| vec![one(), done(2, 3, vec![read(A, list)])];
        assert_found("G1b", &[(A, "1,2")], read_as(&[1]));
        assert_found("never was the beginning", &[(A, "1,2")], read_as(&[2, 1]));
        assert_found("twice", &[(A, "1,2,1")], read_as(&[1, 2]));
        assert_found("nobody appended", &[(A, "1,2,9")], read_as(&[1, 2]));
        assert_found("is lost", &[(A, "1")], vec![one()]);
        let aborted = txn(2, 3, End::Aborted, vec![append(A, 3)]);
        assert_found("G1a", &[(A, "1,2,3")], vec![one(), aborted]);
        let blind = done(2, 3, vec![append(A, 3), read(A, &[1, 2])]);
        assert_found("what it was itself", &[(A, "1,2,3")], vec![one(), blind]);
    }

    #[test]
    fn cycles_are_found_and_named() {
        // Two appends in one order here and in the other there.
        let both = |elements: [u64; 2]| vec![append(A, elements[0]), append(B, elements[1])];
        let g0 = vec![done(0, 9, both([1, 2])), done(1, 8, both([3, 4]))];
        assert_found("G0:", &[(A, "1,3"), (B, "4,2")], g0);
        // Each read what the other appended.
        let g1c = vec![
            done(0, 9, vec![append(A, 1), read(B, &[2])]),
            done(1, 8, vec![append(B, 2), read(A, &[1])]),
        ];
        assert_found("G1c:", &[(A, "1"), (B, "2")], g1c);
        // One saw the first half of what another did and not the second.
        let skewed_read = vec![
            done(0, 9, both([1, 2])),
            done(1, 8, vec![read(A, &[1]), read(B, &[])]),
        ];
        assert_found("G-single:", &[(A, "1"), (B, "2")], skewed_read);
        // Each appended to what the other had found empty.
        let skewed_write = vec![
            done(0, 9, vec![read(A, &[]), append(B, 1)]),
            done(1, 8, vec![read(B, &[]), append(A, 2)]),
        ];
        assert_found("G2:", &[(A, "2"), (B, "1")], skewed_write);
    }

    #[test]
    fn real_time_is_found_and_named() {
        let stale = vec![
            done(0, 1, vec![append(A, 1)]),
            done(2, 3, vec![read(A, &[])]),
        ];
        assert_found("G-single-realtime:", &[(A, "1")], stale);
        let late = vec![
            done(0, 1, vec![append(A, 1)]),
            done(2, 3, vec![append(A, 2)]),
        ];
        assert_found("G0-realtime:", &[(A, "2,1")], late);
        // Of one that is not known to have ended, nobody can be late.
        let open = vec![
            txn(0, 1, End::Unknown, vec![append(A, 1)]),
            done(2, 3, vec![append(A, 2)]),
        ];
        assert_eq!(problems(&[(A, "2,1")], open), "");
        let foretold = vec![
            done(0, 1, vec![read(A, &[1])]),
            done(2, 3, vec![append(A, 1)]),
        ];
        assert_found("G1c-realtime:", &[(A, "1")], foretold);
    }
}
