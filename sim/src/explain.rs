//! What a person is told of a violation: the words of the check, and what happened around it.

use crate::check::Violation;
use crate::history::Operation;
use crate::run_record::{Note, RunRecord};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

/// How many violations are reported; the rest follows from them, most of the time.
const VIOLATIONS_MAX: usize = 4;
/// Events told around one violation.
const AROUND_MAX: usize = 14;
/// What was before a violation is of interest for so long, what came after for less.
const BEFORE: Duration = Duration::from_millis(1500);
const AFTER: Duration = Duration::from_millis(300);

/// Everything about the violations of a run, in lines.
pub fn explain(
    violations: &[Violation],
    operations: &[Operation],
    run_record: &RunRecord,
) -> String {
    let mut text = String::new();
    let mut shown: BTreeSet<String> = BTreeSet::new();
    for violation in violations.iter().take(VIOLATIONS_MAX) {
        let words = without_padding(&violation.to_string());
        writeln!(text, "violated {words}").expect("a string takes every write");
        let times = times_of(violation, operations, run_record);
        let around = around(violation, &times, run_record);
        // Two checks that found the same thing tell it once.
        if !around.is_empty() && shown.insert(around.join("\n")) {
            text.push_str("  around it:\n");
            for line in around {
                writeln!(text, "    {line}").expect("a string takes every write");
            }
        }
    }
    if violations.len() > VIOLATIONS_MAX {
        let more = violations.len() - VIOLATIONS_MAX;
        writeln!(text, "and {more} more violations").expect("a string takes every write");
    }
    text
}

/// When a violation happened, as far as anybody knows: the check may say it. Otherwise one of an
/// entry happened when members wrote it, and one of a revision when a client was told of it.
pub fn times_of(
    violation: &Violation,
    operations: &[Operation],
    run_record: &RunRecord,
) -> BTreeSet<Duration> {
    let about = &violation.about;
    if !about.times.is_empty() {
        return about.times.clone();
    }
    let entries = run_record.entries.iter();
    let entries = entries.filter(|entry| about.indexes.contains(&entry.index));
    let writes = operations
        .iter()
        .filter(|operation| operation.request.is_write());
    let answers = writes.filter(|operation| {
        let revision = operation.done().map(|(revision, _)| revision);
        revision.is_some_and(|revision| about.revisions.contains(&revision))
    });
    entries
        .map(|entry| entry.at)
        .chain(answers.map(|operation| operation.ended))
        .collect()
}

/// The events that lead to a violation of these times: faults, roles, restarts, and the entries of
/// the log that it is about.
pub fn around(
    violation: &Violation,
    times: &BTreeSet<Duration>,
    run_record: &RunRecord,
) -> Vec<String> {
    let about = &violation.about;
    let (Some(first), Some(last)) = (times.first(), times.last()) else {
        return Vec::new();
    };
    let window = first.saturating_sub(BEFORE)..=*last + AFTER;
    let concerns = |member: Option<usize>| {
        member.is_none_or(|member| about.members.is_empty() || about.members.contains(&member))
    };
    let mut lines: Vec<(Duration, String)> = Vec::new();
    for span in run_record.faults.values() {
        let ended = span.to.unwrap_or(Duration::MAX);
        if span.from <= *window.end() && ended >= *window.start() {
            let until = span
                .to
                .map_or(String::new(), |to| format!(" until {}", seconds(to)));
            let line = format!("fault {}{until} {}", span.name, span.settings);
            lines.push((span.from, line));
        }
    }
    let notes = run_record.notes.iter();
    for note in notes.filter(|note| window.contains(&note.at) && is_telling(note)) {
        lines.push((
            note.at,
            format!("{} {} {}", place(note), note.kind, note.text),
        ));
    }
    for role in &run_record.roles {
        if window.contains(&role.at) && (role.is_leader || about.terms.contains(&role.term)) {
            let does = match (role.is_leader, role.follows) {
                (true, _) => "leads",
                (_, true) => "follows",
                _ => "is in",
            };
            let line = format!("member {} {does} term {}", role.member + 1, role.term);
            lines.push((role.at, line));
        }
    }
    for entry in &run_record.entries {
        if about.indexes.contains(&entry.index) && concerns(Some(entry.member)) {
            let does = if entry.is_append {
                "appends"
            } else {
                "applies"
            };
            let (member, index, term) = (entry.member + 1, entry.index, entry.term);
            let line = format!("member {member} {does} entry {index} of term {term}");
            lines.push((entry.at, line));
        }
    }
    lines.sort();
    lines.dedup();
    nearest(lines, (*first, *last))
}

/// Without the dots that pad values; two of them stay, for whoever would look for them.
pub fn without_padding(text: &str) -> String {
    let mut short = String::new();
    let mut dots = 0;
    for letter in text.chars() {
        dots = if letter == '.' { dots + 1 } else { 0 };
        if dots <= 2 {
            short.push(letter);
        }
    }
    short
}

/// What says something beside what the other lines say.
fn is_telling(note: &Note) -> bool {
    const SILENT: [&str; 9] = [
        "member.start",
        "snapshot.built",
        "store.crash",
        "log.purged",
        "client.moved",
        "watch.reconnect",
        "watcher.rested",
        "peer.damaged",
        "disk.crash",
    ];
    !SILENT.contains(&note.kind.as_str()) && !note.kind.starts_with("fault.")
}

fn place(note: &Note) -> String {
    match note.member {
        Some(member) => format!("member {}", member + 1),
        None => note.node.clone(),
    }
}

/// The lines nearest to the violation, in the order of time.
fn nearest(mut lines: Vec<(Duration, String)>, (first, last): (Duration, Duration)) -> Vec<String> {
    let distance = |at: Duration| {
        let before = first.saturating_sub(at);
        before.max(at.saturating_sub(last))
    };
    let left_out = lines.len().saturating_sub(AROUND_MAX);
    if left_out > 0 {
        lines.sort_by_key(|(at, _)| distance(*at));
        lines.truncate(AROUND_MAX);
        lines.sort();
    }
    let lines = lines.into_iter();
    let mut lines: Vec<String> = lines
        .map(|(at, line)| format!("{} {}", seconds(at), line.trim_end()))
        .collect();
    if left_out > 0 {
        lines.push(format!("({left_out} events farther away are left out)"));
    }
    lines
}

fn seconds(at: Duration) -> String {
    format!("{:.3}s", at.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Check;
    use crate::check::violation::Finding;
    use crate::history::{Outcome, Reply, Request};
    use crate::run_record::{Entry, Role, Span};
    use detcd_core::api::LeaseId;

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn run_record() -> RunRecord {
        let mut run_record = RunRecord::default();
        let span = Span {
            from: at(4000),
            to: Some(at(6000)),
            name: "partition".to_owned(),
            settings: "{ split = 1 }".to_owned(),
        };
        run_record.faults.insert(0, span);
        run_record.roles.push(Role {
            at: at(4900),
            member: 1,
            term: 3,
            is_leader: true,
            follows: true,
        });
        run_record.entries.push(Entry {
            at: at(4950),
            member: 1,
            index: 7,
            term: 3,
            is_append: true,
        });
        for ms in [100, 4990] {
            run_record.notes.push(Note {
                at: at(ms),
                node: "m2".to_owned(),
                member: Some(1),
                kind: "member.serves".to_owned(),
                text: String::new(),
            });
        }
        run_record
    }

    #[test]
    fn a_violation_is_told_with_what_led_to_it() {
        let found = Finding::new("an entry is lost")
            .member(1)
            .index(7)
            .time(at(5000));
        let text = explain(&[found.of(Check::LogMatching)], &[], &run_record());
        let expected = "violated log-matching: an entry is lost\n  around it:\n\
            \x20   4.000s fault partition until 6.000s { split = 1 }\n\
            \x20   4.900s member 2 leads term 3\n\
            \x20   4.950s member 2 appends entry 7 of term 3\n\
            \x20   4.990s member 2 member.serves\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_violation_of_a_revision_happened_when_a_client_was_told_of_it() {
        let write = Operation {
            client: 1,
            member: 0,
            called: at(4900),
            ended: at(5000),
            request: Request::LeaseGrant {
                id: LeaseId(7),
                ttl: 5,
            },
            outcome: Outcome::Done {
                revision: 9,
                reply: Reply::LeaseGrant {
                    id: LeaseId(7),
                    ttl: 5,
                },
            },
        };
        let lost = |revision| Finding::new("lost").revision(revision).of(Check::Durable);
        let text = |revision| {
            explain(
                &[lost(revision)],
                std::slice::from_ref(&write),
                &run_record(),
            )
        };
        assert!(text(9).contains("member 2 leads term 3"), "{}", text(9));
        assert_eq!(text(8), "violated durable: lost\n");
    }

    #[test]
    fn what_is_told_has_an_end() {
        let mut run_record = run_record();
        for ms in 4000..5000 {
            let note = run_record.notes[1].clone();
            run_record.notes.push(Note { at: at(ms), ..note });
        }
        let found = Finding::new("lost").time(at(5000)).of(Check::Durable);
        let text = explain(&vec![found; 9], &[], &run_record);
        assert!(text.lines().count() < 30, "{text}");
        assert!(text.ends_with("and 5 more violations\n"));
        assert_eq!(text.matches("around it").count(), 1);
    }
}
