//! The trace of a run: everything that happens, in order, as one rolling hash.
//!
//! Two runs are the same run if their hashes and their lengths agree. The trace is a property of
//! the thread: one run per process, one thread per run.
//!
//! An event has a time, a node, a kind and fields. [`record!`](crate::record) takes fields with
//! names, which sinks (files, reports) get as they are; [`event`] takes a text. Who records does
//! not know who listens: without a sink an event costs its hash and a count.

pub mod difference;
pub mod lines;

use crate::profile::{self, Part};
use crate::rng::fnv;
#[cfg(not(madsim))]
use crate::time;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::io;
use std::time::Duration;

/// A node of the engine.
#[cfg(madsim)]
pub type EngineNode = madsim::task::NodeId;
/// Without the engine there are no nodes.
#[cfg(not(madsim))]
pub type EngineNode = u64;

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

/// Something that happened.
pub struct Event<'a> {
    /// True time since the run began.
    pub at: Duration,
    /// Where: "m1" is a member, "c4" a client, "net" the network, "sim" the simulator.
    pub node: &'a str,
    pub kind: &'a str,
    pub fields: &'a [(&'static str, Value<'a>)],
}

impl Event<'_> {
    /// A field that is a number.
    pub fn number(&self, name: &str) -> Option<u64> {
        match self.field(name)? {
            Value::Number(number) => Some(*number),
            Value::Signed(number) => u64::try_from(*number).ok(),
            Value::Text(_) | Value::Shown(_) => None,
        }
    }

    /// A field that is a number, of either sign.
    pub fn signed(&self, name: &str) -> Option<i64> {
        match self.field(name)? {
            Value::Number(number) => i64::try_from(*number).ok(),
            Value::Signed(number) => Some(*number),
            Value::Text(_) | Value::Shown(_) => None,
        }
    }

    /// A field as text.
    pub fn text(&self, name: &str) -> Option<String> {
        self.field(name).map(ToString::to_string)
    }

    fn field(&self, name: &str) -> Option<&Value<'_>> {
        let mut fields = self.fields.iter();
        fields.find(|field| field.0 == name).map(|field| &field.1)
    }
}

/// A field's value.
#[derive(Clone, Copy)]
pub enum Value<'a> {
    Number(u64),
    Signed(i64),
    Text(&'a str),
    Shown(&'a dyn fmt::Display),
}

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Number(number) => write!(f, "{number}"),
            Value::Signed(number) => write!(f, "{number}"),
            Value::Text(text) => f.write_str(text),
            Value::Shown(shown) => shown.fmt(f),
        }
    }
}

macro_rules! value_from {
    ($($of:ty => |$value:ident| $made:expr;)*) => {$(
        impl<'a> From<$of> for Value<'a> {
            fn from($value: $of) -> Value<'a> {
                $made
            }
        }
    )*};
}

value_from! {
    u64 => |value| Value::Number(value);
    u32 => |value| Value::Number(u64::from(value));
    u8 => |value| Value::Number(u64::from(value));
    usize => |value| Value::Number(value as u64);
    bool => |value| Value::Number(u64::from(value));
    i64 => |value| Value::Signed(value);
    &'a str => |value| Value::Text(value);
    &'a String => |value| Value::Text(value);
    &'a dyn fmt::Display => |value| Value::Shown(value);
}

/// Who listens to a run's events. A sink must not record events of its own.
pub trait Sink {
    fn event(&mut self, event: &Event<'_>);
    /// The run is over.
    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Trace {
    digest: Digest,
    scratch: String,
    sinks: Vec<Box<dyn Sink>>,
    nodes: BTreeMap<EngineNode, Named>,
    /// How often each kind of event came by: the ground of `reached`.
    counts: BTreeMap<String, u64>,
}

struct Named {
    name: String,
    hash: u64,
}

thread_local! {
    static TRACE: RefCell<Trace> = const {
        RefCell::new(Trace {
            digest: Digest { hash: 0xcbf2_9ce4_8422_2325, events: 0 },
            scratch: String::new(),
            sinks: Vec::new(),
            nodes: BTreeMap::new(),
            counts: BTreeMap::new(),
        })
    };
}

/// Tells every event from now on to this sink, too.
pub fn listen(sink: impl Sink + 'static) {
    TRACE.with_borrow_mut(|trace| trace.sinks.push(Box::new(sink)));
}

/// Names a node of the engine.
pub fn name_node(node: EngineNode, name: &str) {
    let named = Named {
        name: name.to_owned(),
        hash: fnv(name.as_bytes()),
    };
    TRACE.with_borrow_mut(|trace| trace.nodes.insert(node, named));
}

/// Records an event of the node that runs now, whose one field is a text.
pub fn event(kind: &str, what: fmt::Arguments<'_>) {
    match what.as_str() {
        Some("") => record(kind, &[]),
        _ => record(kind, &[("what", Value::Shown(&what))]),
    }
}

/// Records an event of the node that runs now: `record!("net.lost", from = 1u32, why = "cut")`.
/// A value is a number, a text, or `%value` for anything that displays itself.
#[macro_export]
macro_rules! record {
    ($kind:expr $(, $($fields:tt)*)?) => {
        $crate::record!(@fields $kind; [] $($($fields)*)?)
    };
    (@fields $kind:expr; [$($done:tt)*] $name:ident = %$value:expr $(, $($rest:tt)*)?) => {
        $crate::record!(@fields $kind; [
            $($done)* (stringify!($name), $crate::trace::Value::Shown(&$value)),
        ] $($($rest)*)?)
    };
    (@fields $kind:expr; [$($done:tt)*] $name:ident = $value:expr $(, $($rest:tt)*)?) => {
        $crate::record!(@fields $kind; [
            $($done)* (stringify!($name), $crate::trace::Value::from($value)),
        ] $($($rest)*)?)
    };
    (@fields $kind:expr; [$($done:tt)*]) => {
        $crate::trace::record($kind, &[$($done)*])
    };
}

/// See [`record!`](crate::record).
pub fn record(kind: &str, fields: &[(&'static str, Value<'_>)]) {
    let _part = profile::enter(Part::Trace);
    let (at, node) = here();
    TRACE.with_borrow_mut(|trace| trace.record(at, node, kind, fields));
}

/// Notes that the run got somewhere that a scenario may ask for under `reached`. A mark is an
/// event of that name.
pub fn mark(name: &str) {
    record(name, &[]);
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

/// Lets every sink write out what it holds; to be called once, when the run is over.
pub fn finish() -> io::Result<()> {
    let mut sinks = TRACE.with_borrow_mut(|trace| std::mem::take(&mut trace.sinks));
    sinks.iter_mut().try_for_each(|sink| sink.finish())
}

impl Trace {
    fn record(
        &mut self,
        at: Duration,
        node: Option<EngineNode>,
        kind: &str,
        fields: &[(&'static str, Value<'_>)],
    ) {
        let named = node.and_then(|node| self.nodes.get(&node));
        let (name, node_hash) = named.map_or(("-", 0), |named| (&named.name, named.hash));
        let nanos = u64::try_from(at.as_nanos()).expect("a run ends within 500 years");
        let mut hash = mix(mix(self.digest.hash, nanos), node_hash);
        hash = mix_bytes(hash, kind.as_bytes());
        for (_, value) in fields {
            hash = match value {
                Value::Number(number) => mix(hash, *number),
                Value::Signed(number) => mix(hash, number.cast_unsigned()),
                Value::Text(text) => mix_bytes(hash, text.as_bytes()),
                Value::Shown(shown) => {
                    self.scratch.clear();
                    write!(self.scratch, "{shown}").expect("a string takes every write");
                    mix_bytes(hash, self.scratch.as_bytes())
                }
            };
        }
        self.digest.hash = hash;
        self.digest.events += 1;
        match self.counts.get_mut(kind) {
            Some(count) => *count += 1,
            None => drop(self.counts.insert(kind.to_owned(), 1)),
        }
        for sink in &mut self.sinks {
            sink.event(&Event {
                at,
                node: name,
                kind,
                fields,
            });
        }
    }
}

/// A hash of bytes, for events that would be too long with the bytes themselves.
pub fn hash(bytes: &[u8]) -> u64 {
    mix_bytes(0, bytes)
}

/// Mixes a word into a hash; the algorithm is fixed here, so that builds can be compared.
pub(crate) fn mix(hash: u64, word: u64) -> u64 {
    let product = u128::from(hash ^ word) * 0x9e37_79b9_7f4a_7c15;
    ((product as u64) ^ ((product >> 64) as u64)).wrapping_add(hash.rotate_left(23))
}

pub(crate) fn mix_bytes(hash: u64, bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let hash = words
        .iter()
        .fold(hash, |hash, word| mix(hash, u64::from_le_bytes(*word)));
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    // With its length, so that what follows one another cannot be cut elsewhere.
    mix(mix(hash, u64::from_le_bytes(last)), bytes.len() as u64)
}

/// True time, and the node that runs now.
#[cfg(madsim)]
fn here() -> (Duration, Option<EngineNode>) {
    match madsim::time::TimeHandle::try_current() {
        Some(time) => (time.elapsed(), Some(madsim::plugin::node())),
        None => (Duration::ZERO, None),
    }
}

#[cfg(not(madsim))]
fn here() -> (Duration, Option<EngineNode>) {
    (time::now(), None)
}

/// The node that runs now, if the engine runs at all.
pub(crate) fn engine_node() -> Option<EngineNode> {
    here().1
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    /// What a fresh thread, which has a trace of its own, comes to.
    fn run(events: impl FnOnce() + Send + 'static) -> Digest {
        let run = move || {
            events();
            digest()
        };
        std::thread::spawn(run).join().expect("the run ends")
    }

    #[test]
    fn the_digest_sees_order_content_and_number() {
        let texts = |lines: &'static [&'static str]| {
            run(move || {
                lines
                    .iter()
                    .for_each(|line| event("test", format_args!("{line}")))
            })
        };
        assert_eq!(texts(&["a", "b"]), texts(&["a", "b"]));
        assert_ne!(texts(&["a", "b"]).hash, texts(&["b", "a"]).hash);
        assert_ne!(texts(&["a"]).events, texts(&["a", "a"]).events);
        assert_ne!(texts(&["ab", "c"]).hash, texts(&["a", "bc"]).hash);
        assert_ne!(texts(&["abcdefgh"]).hash, texts(&["abcdefg\u{1}"]).hash);
        assert_ne!(run(|| mark("a")).hash, run(|| mark("b")).hash);
    }

    #[test]
    fn the_digest_sees_every_kind_of_value() {
        let of = |number: u64, signed: i64, text: &'static str, shown: u8| {
            run(
                move || record!("test", number = number, signed = signed, text = text, shown = %shown),
            )
        };
        let base = of(1, -1, "x", 7);
        assert_eq!(base, of(1, -1, "x", 7));
        let others = [
            of(2, -1, "x", 7),
            of(1, -2, "x", 7),
            of(1, -1, "y", 7),
            of(1, -1, "x", 8),
        ];
        assert!(others.iter().all(|other| other.hash != base.hash));
    }

    #[test]
    fn marks_are_counted() {
        mark("log.truncated");
        assert_eq!(count("log.truncated"), 1);
        assert_eq!(count("never"), 0);
    }

    #[test]
    fn sinks_get_fields_by_name() {
        struct Sent(mpsc::Sender<(String, Option<u64>, Option<String>)>);
        impl Sink for Sent {
            fn event(&mut self, event: &Event<'_>) {
                let reported = (
                    event.kind.to_owned(),
                    event.number("index"),
                    event.text("why"),
                );
                self.0.send(reported).expect("the test listens");
            }
        }
        let (sender, reported) = mpsc::channel();
        listen(Sent(sender));
        record!("test", index = 7u64, why = %"cut");
        event("other", format_args!("text"));
        assert_eq!(
            reported.recv(),
            Ok(("test".to_owned(), Some(7), Some("cut".to_owned())))
        );
        assert_eq!(reported.recv(), Ok(("other".to_owned(), None, None)));
    }
}
