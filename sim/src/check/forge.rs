//! Histories for the tests of the checks. Requests are as scripts have them; what takes effect, and
//! how it is answered, is the model's doing.

use crate::history::{History, Operation, Outcome, Request};
use crate::model::State;
use crate::workload::script::language;
use std::time::Duration;

/// `put a 1`, `get a rev=3`, `grant 7 10`: see [`language`].
pub fn request(text: impl AsRef<str>) -> Request {
    let text = text.as_ref();
    let line = language::parse(&format!("0s c1 m1 {text}"));
    line.unwrap_or_else(|why| panic!("{text}: {why}")).request
}

/// A history in which these requests took effect, in this order.
pub fn history(took_effect: &[impl AsRef<str>], operations: Vec<Operation>) -> History {
    let mut state = State::empty();
    let mut history = History {
        operations,
        ..History::default()
    };
    for text in took_effect {
        let step = state.apply(&request(text));
        state = step.state;
        if !step.changes.is_empty() {
            history.revisions.insert(state.revision, step.changes);
        }
    }
    history
}

/// The store after these requests.
pub fn state(took_effect: &[impl AsRef<str>]) -> State {
    let apply = |state: State, text| state.apply(&request(text)).state;
    took_effect.iter().fold(State::empty(), apply)
}

/// An operation from one second to another.
pub fn operation(from: f64, to: f64, text: impl AsRef<str>, outcome: Outcome) -> Operation {
    Operation {
        client: 1,
        member: 0,
        called: Duration::from_secs_f64(from),
        ended: Duration::from_secs_f64(to),
        request: request(text),
        outcome,
    }
}

/// One that is answered as the model does it after these requests.
pub fn did(from: f64, to: f64, after: &[impl AsRef<str>], text: impl AsRef<str>) -> Operation {
    let step = state(after).apply(&request(&text));
    let reply = step.result.expect("the model refuses nothing of it");
    let revision = step.state.revision;
    operation(from, to, text, Outcome::Done { revision, reply })
}

pub fn refused(why: &str) -> Outcome {
    Outcome::Refused(format!("etcdserver: {why}"))
}

pub fn unknown() -> Outcome {
    Outcome::Unknown("timed out".to_owned())
}

/// Nothing took effect.
pub const NOTHING: &[&str] = &[];
