//! Linearizability, judged twice: by replay in revision order and by a search that knows nothing
//! of revisions. Both must find the history in order.

use super::{Check, Violation, replay, wing_gong};
use crate::history::History;

/// How many problems of one kind are told; the rest follows from them.
const TOLD_MAX: usize = 5;

pub fn check(history: &History) -> Vec<Violation> {
    let replayed = replay::check(history).into_iter().take(TOLD_MAX);
    let searched = wing_gong::check(history).into_iter().take(TOLD_MAX);
    let replayed = replayed.map(|what| format!("by replay: {what}"));
    let searched = searched.map(|what| format!("by search: {what}"));
    replayed
        .chain(searched)
        .map(|what| Violation::new(Check::Linearizable, what))
        .collect()
}
