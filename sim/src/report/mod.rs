//! `--report FILE`: one run as one HTML page, which needs nothing but a browser.
//!
//! The page is `page.html` with its style, its scripts and the run's data in it. What is drawn
//! where is the scripts' business; here the record becomes numbers, small enough to mail.

use crate::check::Violation;
use crate::explain;
use crate::history::{Operation, Outcome, Request};
use crate::run_record::{Message, Position, RunRecord, member_of};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// Packets, operations and steps of a position that a page has at most; the rest is thinned out,
/// and the page says so. Together they keep a page under five megabytes.
const MESSAGES_MAX: usize = 90_000;
const OPERATIONS_MAX: usize = 12_000;
const POSITIONS_MAX: usize = 3_000;
const NOTES_MAX: usize = 8_000;
/// Times of one violation.
const MARKS_MAX: usize = 12;
/// Letters of a request or an answer.
const TEXT_MAX: usize = 200;

/// What the page says of the run as a whole.
pub struct Head<'a> {
    pub scenario: &'a str,
    pub seed: u64,
    pub mutant: Option<&'a str>,
    pub verdict: String,
    pub plan: String,
    pub replay: String,
    pub hash: u64,
    pub events: u64,
    pub simulated: Duration,
    pub members: usize,
}

/// The page of a run.
pub fn page(
    head: &Head<'_>,
    violations: &[Violation],
    operations: &[Operation],
    run_record: &RunRecord,
) -> String {
    let data = data(head, violations, operations, run_record).to_string();
    // Within a script element only this could end it.
    let data = data.replace("</", "<\\/");
    let parts = [
        ("/*STYLE*/", include_str!("page.css")),
        ("/*MODEL*/", include_str!("model.js")),
        ("/*DRAW*/", include_str!("draw.js")),
        ("/*STRIPS*/", include_str!("strips.js")),
        ("/*TIPS*/", include_str!("tips.js")),
        ("/*MAIN*/", include_str!("main.js")),
        ("/*DATA*/", &data),
    ];
    let page = include_str!("page.html").to_owned();
    parts.into_iter().fold(page, |page, (place, part)| {
        assert!(page.contains(place), "the page has a place for {place}");
        page.replacen(place, part, 1)
    })
}

fn data(
    head: &Head<'_>,
    violations: &[Violation],
    operations: &[Operation],
    run_record: &RunRecord,
) -> Value {
    let (shown, thinned) = shown_operations(operations, violations);
    let messages = run_record.messages.as_deref().unwrap_or_default();
    let (packets, packets_thinned) = shown_messages(messages);
    let notes = run_record.notes.iter().take(NOTES_MAX).map(|note| {
        json!([
            micros(note.at),
            note.node,
            note.member,
            note.kind,
            cut(&note.text)
        ])
    });
    let roles = run_record.roles.iter().map(|role| {
        let is = if role.is_leader {
            2
        } else {
            u8::from(role.follows)
        };
        json!([micros(role.at), role.member, role.term, is])
    });
    let faults = run_record.faults.values().map(|span| {
        json!([
            micros(span.from),
            span.to.map(micros),
            span.name,
            span.settings
        ])
    });
    // What holds for the whole run is no event of it.
    let links = run_record.links.values();
    let links = links.filter(|link| link.name.starts_with("fault."));
    let links = links.map(|link| {
        json!([
            micros(link.from),
            link.to.map(micros),
            link.effect,
            link.paths
        ])
    });
    let clocks = run_record.clocks.iter().map(|clock| {
        json!([
            micros(clock.at),
            clock.member,
            clock.rate_ppm,
            clock.gained_us,
            clock.wall_ms
        ])
    });
    let positions = run_record.positions.iter();
    let positions: BTreeMap<String, Vec<u64>> = positions
        .map(|(member, positions)| (member.to_string(), flat(positions)))
        .collect();
    json!({
        "head": {
            "scenario": head.scenario,
            "seed": head.seed,
            "mutant": head.mutant,
            "verdict": head.verdict,
            "plan": head.plan,
            "replay": head.replay,
            "hash": format!("{:016x}", head.hash),
            "events": head.events,
            "end": micros(head.simulated.max(last_told(run_record))),
            "members": head.members,
            "operations": operations.len(),
            "packets": messages.len(),
            "thinned": [thinned, packets_thinned],
        },
        "labels": run_record.labels,
        "packets": packets,
        "roles": roles.collect::<Vec<Value>>(),
        "positions": positions,
        "faults": faults.collect::<Vec<Value>>(),
        "links": links.collect::<Vec<Value>>(),
        "clocks": clocks.collect::<Vec<Value>>(),
        "notes": notes.collect::<Vec<Value>>(),
        "operations": shown,
        "violations": violations.iter().map(|violation| violation_of(violation, operations, run_record)).collect::<Vec<Value>>(),
    })
}

/// When the last thing happened: a run that a panic ended does not tell how long it was.
fn last_told(run_record: &RunRecord) -> Duration {
    let notes = run_record.notes.last().map(|note| note.at);
    let roles = run_record.roles.last().map(|role| role.at);
    let entries = run_record.entries.last().map(|entry| entry.at);
    notes.max(roles).max(entries).unwrap_or_default()
}

fn micros(at: Duration) -> u64 {
    at.as_micros() as u64
}

/// Every step of a position as four numbers; the times as differences.
fn flat(positions: &[Position]) -> Vec<u64> {
    let every = positions.len().div_ceil(POSITIONS_MAX).max(1);
    let mut numbers = Vec::new();
    let mut before = 0;
    for (place, position) in positions.iter().enumerate() {
        // The last one is where the member ended.
        if place % every == 0 || place + 1 == positions.len() {
            let at = micros(position.at);
            numbers.extend([
                at - before,
                position.last,
                position.committed,
                position.applied,
            ]);
            before = at;
        }
    }
    numbers
}

/// Six numbers a packet (the time since the last one was sent, how long it took, from, to, label,
/// whether it was lost), and how many were left out. Lost ones all stay.
fn shown_messages(messages: &[Message]) -> (Vec<i64>, usize) {
    let every = messages.len().div_ceil(MESSAGES_MAX).max(1);
    let mut shown: Vec<&Message> = messages
        .iter()
        .enumerate()
        .filter(|(place, message)| message.lost || place % every == 0)
        .map(|(_, message)| message)
        .take(MESSAGES_MAX)
        .collect();
    shown.sort_by_key(|message| message.sent);
    let mut before = 0;
    let numbers = shown.iter().flat_map(|message| {
        let sent = micros(message.sent) as i64;
        let since = sent - before;
        before = sent;
        [
            since,
            micros(message.ended.saturating_sub(message.sent)) as i64,
            i64::from(message.from),
            i64::from(message.to),
            message.label as i64,
            i64::from(message.lost),
        ]
    });
    (numbers.collect(), messages.len() - shown.len())
}

/// The operations as the page has them, in the order of their calls, and how many were left out.
/// Those of violations all stay.
fn shown_operations(operations: &[Operation], violations: &[Violation]) -> (Vec<Value>, usize) {
    let every = operations.len().div_ceil(OPERATIONS_MAX).max(1);
    let blamed = |operation: &Operation| {
        let of = |violation: &Violation| violation.about.operations.contains(operation);
        violations.iter().any(of)
    };
    let mut shown: Vec<(&Operation, bool)> = operations
        .iter()
        .enumerate()
        .map(|(place, operation)| (place, operation, blamed(operation)))
        .filter(|(place, _, blamed)| *blamed || place % every == 0)
        .map(|(_, operation, blamed)| (operation, blamed))
        .collect();
    shown.sort_by_key(|(operation, _)| (operation.called, operation.client));
    let values = shown.iter().map(|(operation, blamed)| {
        let (outcome, answer) = match &operation.outcome {
            Outcome::Done { revision, reply } => (0, format!("revision {revision}, {reply}")),
            Outcome::Refused(why) | Outcome::Failed(why) => (1, why.clone()),
            Outcome::Unknown(why) => (2, why.clone()),
        };
        json!([
            micros(operation.called),
            micros(operation.ended.saturating_sub(operation.called)),
            operation.client,
            operation.member,
            kind_of(&operation.request),
            outcome,
            cut(&operation.request.to_string()),
            cut(&answer),
            u8::from(*blamed),
        ])
    });
    (values.collect(), operations.len() - shown.len())
}

/// The colour group of a request.
fn kind_of(request: &Request) -> u8 {
    match request {
        Request::Range(_) => 0,
        Request::Put(_) => 1,
        Request::Delete(_) => 2,
        Request::Txn(_) => 3,
        _ => 4,
    }
}

/// Short enough for a page with thousands of them; dots that pad values go first.
fn cut(text: &str) -> String {
    let short = explain::without_padding(text);
    match short.char_indices().nth(TEXT_MAX) {
        Some((end, _)) => format!("{}…", &short[..end]),
        None => short,
    }
}

fn violation_of(violation: &Violation, operations: &[Operation], run_record: &RunRecord) -> Value {
    let about = &violation.about;
    let times = explain::times_of(violation, operations, run_record);
    // More of them mark nothing.
    let marks = times.iter().take(MARKS_MAX).copied().map(micros);
    let clients = about.operations.iter().map(|operation| operation.client);
    json!({
        "check": violation.check.to_string(),
        "what": explain::without_padding(&violation.what),
        "why": explain::around(violation, &times, run_record),
        "times": marks.collect::<Vec<u64>>(),
        "members": about.members,
        "clients": clients.collect::<Vec<u32>>(),
        "names": about.clients,
        "indexes": about.indexes,
        "revisions": about.revisions,
        "terms": about.terms,
    })
}

/// How many members the run record has: those that joined later are among them.
pub fn members(run_record: &RunRecord, at_first: usize) -> usize {
    let reported = run_record
        .notes
        .iter()
        .filter_map(|note| member_of(&note.node));
    reported
        .max()
        .map_or(at_first, |last| at_first.max(last + 1))
}
