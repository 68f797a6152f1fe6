//! The trace of a run: everything that happens, in order, as one rolling hash.
//!
//! Two runs are the same run if their hashes and their lengths agree. The trace is a property of
//! the thread: one run per process, one thread per run.

use crate::rng::fnv_on;
use crate::time;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;

/// What two runs are compared by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest {
    pub hash: u64,
    pub events: u64,
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}/{}", self.hash, self.events)
    }
}

struct Trace {
    digest: Digest,
    line: String,
    file: Option<BufWriter<File>>,
    /// Names of the engine's nodes, for the lines.
    nodes: BTreeMap<String, String>,
    /// How often each kind of event came by: the ground of `reached`.
    counts: BTreeMap<String, u64>,
}

thread_local! {
    static TRACE: RefCell<Trace> = const {
        RefCell::new(Trace {
            digest: Digest { hash: 0xcbf2_9ce4_8422_2325, events: 0 },
            line: String::new(),
            file: None,
            nodes: BTreeMap::new(),
            counts: BTreeMap::new(),
        })
    };
}

/// Also writes every event to this file, a line each.
pub fn write_to(path: &Path) -> io::Result<()> {
    let file = BufWriter::new(File::create(path)?);
    TRACE.with_borrow_mut(|trace| trace.file = Some(file));
    Ok(())
}

/// Names a node of the engine for the lines of the trace.
pub fn name_node(engine_id: String, name: &str) {
    TRACE.with_borrow_mut(|trace| trace.nodes.insert(engine_id, name.to_owned()));
}

/// Records an event of the node that runs now.
pub fn event(kind: &str, what: fmt::Arguments<'_>) {
    let now = time::now().as_nanos();
    let node = engine_node();
    TRACE.with_borrow_mut(|trace| {
        let Trace {
            digest,
            line,
            file,
            nodes,
            counts,
        } = trace;
        let node = nodes.get(&node).unwrap_or(&node);
        line.clear();
        writeln!(line, "{now} {node} {kind} {what}").expect("a string takes every write");
        digest.hash = fnv_on(digest.hash, line.as_bytes());
        digest.events += 1;
        if let Some(file) = file {
            file.write_all(line.as_bytes())
                .expect("the trace file takes every line");
        }
        match counts.get_mut(kind) {
            Some(count) => *count += 1,
            None => drop(counts.insert(kind.to_owned(), 1)),
        }
    });
}

/// Notes that the run got somewhere that a scenario may ask for under `reached`. A mark is an
/// event of that name.
pub fn mark(name: &str) {
    event(name, format_args!(""));
}

/// How often an event of this kind, or a mark of this name, was recorded.
pub fn count(kind: &str) -> u64 {
    TRACE.with_borrow(|trace| trace.counts.get(kind).copied().unwrap_or(0))
}

/// All kinds and how often each came by.
pub fn counts() -> BTreeMap<String, u64> {
    TRACE.with_borrow(|trace| trace.counts.clone())
}

pub fn digest() -> Digest {
    TRACE.with_borrow(|trace| trace.digest)
}

/// Writes out what is buffered; to be called before the process ends.
pub fn flush() {
    TRACE.with_borrow_mut(|trace| {
        if let Some(file) = &mut trace.file {
            file.flush().expect("the trace file takes every line");
        }
    });
}

#[cfg(madsim)]
pub(crate) fn engine_node() -> String {
    match madsim::time::TimeHandle::try_current() {
        Some(_) => madsim::plugin::node().to_string(),
        None => String::from("-"),
    }
}

#[cfg(not(madsim))]
pub(crate) fn engine_node() -> String {
    String::from("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_sees_order_content_and_number() {
        let run = |lines: &'static [&'static str]| {
            std::thread::spawn(move || {
                lines
                    .iter()
                    .for_each(|line| event("test", format_args!("{line}")));
                digest()
            })
            .join()
            .expect("the run ends")
        };
        assert_eq!(run(&["a", "b"]), run(&["a", "b"]));
        assert_ne!(run(&["a", "b"]).hash, run(&["b", "a"]).hash);
        assert_ne!(run(&["a"]).events, run(&["a", "a"]).events);
        mark("log.truncated");
        assert_eq!(count("log.truncated"), 1);
        assert_eq!(count("never"), 0);
    }
}
