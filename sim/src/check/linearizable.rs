//! Linearizability, judged twice: by replay in revision order and by a search that knows nothing
//! of revisions. Both must find the history in order.

use super::{Check, Finding, Violation, replay, wing_gong};
use crate::history::History;

/// How many problems of one kind are told; the rest follows from them.
const TOLD_MAX: usize = 5;

pub fn check(history: &History) -> Vec<Violation> {
    let replayed = replay::check(history).into_iter().take(TOLD_MAX);
    let searched = wing_gong::check(history).into_iter().take(TOLD_MAX);
    let replayed = replayed.map(|finding| by("replay", finding));
    let searched = searched.map(|finding| by("search", finding));
    replayed.chain(searched).collect()
}

fn by(judge: &str, finding: Finding) -> Violation {
    let what = format!("by {judge}: {}", finding.what);
    Finding { what, ..finding }.of(Check::Linearizable)
}
