//! Answers come from who was asked: all members are of one cluster, each has an id that no other
//! has, and keeps it; and the raft term that it tells never goes back while its process lives.

use super::Finding;
use crate::history::{Header, History};
use std::collections::BTreeMap;
use std::time::Duration;

pub fn check(history: &History) -> Vec<Finding> {
    let mut found = strangers(history);
    for headers in by_life(history).values() {
        found.extend(wrong(headers));
    }
    found
}

/// Answers of another cluster, and two members with one id.
fn strangers(history: &History) -> Vec<Finding> {
    let mut owners: BTreeMap<u64, usize> = BTreeMap::new();
    let mut found = Vec::new();
    let Some(first) = history.headers.first() else {
        return found;
    };
    for header in &history.headers {
        let (cluster, id) = (header.cluster_id, header.member_id);
        if cluster != first.cluster_id {
            let what = format!("an answer is of cluster {cluster:x}, which is another one");
            found.push(Finding::new(what).member(header.member).time(header.ended));
        }
        let owner = *owners.entry(id).or_insert(header.member);
        if owner != header.member {
            let what = format!("two members answer as {id:x}");
            let finding = Finding::new(what).member(owner).member(header.member);
            found.push(finding.time(header.ended));
        }
    }
    found
}

/// What each process answered, by the member and the number of its process; answers during which
/// it was started anew left out.
fn by_life(history: &History) -> BTreeMap<(usize, usize), Vec<Header>> {
    let mut lives: BTreeMap<(usize, usize), Vec<Header>> = BTreeMap::new();
    for header in &history.headers {
        let Header {
            member,
            called,
            ended,
            ..
        } = *header;
        if let Some(life) = life(history, member, called, ended) {
            lives.entry((member, life)).or_default().push(*header);
        }
    }
    lives
}

/// The number of the process that answered; `None` if the member was started anew meanwhile.
pub(super) fn life(
    history: &History,
    member: usize,
    called: Duration,
    ended: Duration,
) -> Option<usize> {
    let starts = history.run_facts.starts.get(&member);
    let starts = starts.map_or(&[][..], Vec::as_slice);
    let by = |moment| starts.iter().filter(|at| **at <= moment).count();
    let (before, after) = (by(called), by(ended));
    (before == after).then_some(before)
}

/// What is wrong with the answers of one process.
fn wrong(headers: &[Header]) -> Option<Finding> {
    let first = headers.first()?;
    let finding = |what: String, header: &Header| {
        let finding = Finding::new(what).member(header.member);
        Some(finding.time(header.ended))
    };
    if let Some(other) = headers.iter().find(|it| it.member_id != first.member_id) {
        let what = format!(
            "it answers as {:x}, and has answered as {:x}",
            other.member_id, first.member_id
        );
        return finding(what, other);
    }
    let mut by_end: Vec<&Header> = headers.iter().collect();
    let mut by_call = by_end.clone();
    by_end.sort_by_key(|header| header.ended);
    by_call.sort_by_key(|header| header.called);
    let mut ended = by_end.into_iter().peekable();
    let mut newest = 0;
    for header in by_call {
        while let Some(before) = ended.next_if(|it| it.ended < header.called) {
            newest = newest.max(before.raft_term);
        }
        if header.raft_term < newest {
            let what = format!(
                "it was in term {newest}, and answers in term {}",
                header.raft_term
            );
            return finding(what, header);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// Answers of (member, id, term) at second 0, 2, and so on; the first member is started anew
    /// at second 5.
    fn is_wrong(answers: &[(usize, u64, u64)], cluster_id: u64) -> bool {
        let mut history = History::default();
        let starts = vec![Duration::ZERO, Duration::from_secs(5)];
        history.run_facts.starts.insert(0, starts);
        for (number, (member, member_id, raft_term)) in answers.iter().enumerate() {
            let called = Duration::from_secs(2 * number as u64);
            history.headers.push(Header {
                member: *member,
                called,
                ended: called + Duration::from_secs(1),
                cluster_id: if number == 0 { 1 } else { cluster_id },
                member_id: *member_id,
                raft_term: *raft_term,
            });
        }
        !check(&history).is_empty()
    }

    #[test]
    fn members_answer_as_themselves() {
        let plain = [(0, 7, 1), (1, 8, 2), (0, 7, 3), (0, 7, 2)];
        assert!(!is_wrong(&plain, 1));
        assert!(is_wrong(&plain, 2));
        assert!(is_wrong(&[(0, 7, 1), (1, 7, 1)], 1));
        assert!(is_wrong(&[(0, 7, 1), (0, 8, 1)], 1));
        // Another machine may have taken its place.
        assert!(!is_wrong(&[(0, 7, 1), (1, 8, 1), (1, 8, 1), (0, 9, 1)], 1));
    }

    #[test]
    fn a_term_does_not_go_back() {
        assert!(is_wrong(&[(0, 7, 3), (0, 7, 2)], 1));
        assert!(is_wrong(&[(0, 7, 1), (1, 8, 4), (1, 8, 3)], 1));
        assert!(!is_wrong(&[(0, 7, 3), (1, 8, 2)], 1));
    }
}
