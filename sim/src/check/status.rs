//! What a member says of itself is in order:
//! - it names the leader that it hears from, and says that there is none if it names none;
//! - who is named has been elected;
//! - while its process lives, its term, what it knows to be committed and what it has applied never
//!   go back.

use super::Finding;
use super::headers::life;
use crate::cluster_calls::Told;
use crate::history::History;
use detcd_core::error::Error;
use detcd_wire::etcdserverpb as pb;
use std::collections::BTreeMap;
use std::time::Duration;

/// One answer, with its call and its end.
type StatusReply<'a> = (Duration, Duration, &'a pb::StatusResponse);

pub fn check(history: &History) -> Vec<Finding> {
    let mut lives: BTreeMap<(usize, usize), Vec<StatusReply<'_>>> = BTreeMap::new();
    let mut findings = Vec::new();
    for (call, ended, told) in history.cluster_answers() {
        let Told::Status(status) = told else {
            continue;
        };
        if let Some(what) = wrong_leader(history, status, ended) {
            findings.push(Finding::new(what).member(call.member).time(ended));
        }
        if let Some(life) = life(history, call.member, call.called, ended) {
            let answers = lives.entry((call.member, life)).or_default();
            answers.push((call.called, ended, status));
        }
    }
    for ((member, _), answers) in lives {
        if let Some((what, at)) = goes_back(answers) {
            findings.push(Finding::new(what).member(member).time(at));
        }
    }
    findings
}

fn wrong_leader(history: &History, status: &pb::StatusResponse, ended: Duration) -> Option<String> {
    let no_leader = detcd_wire::status::status(&Error::NoLeader).1;
    let says_none = status.errors.iter().any(|error| error == no_leader);
    let leader = status.leader;
    if says_none != (leader == 0) {
        let errors = &status.errors;
        return Some(format!(
            "it names the leader {leader:x} and the errors {errors:?}"
        ));
    }
    let mut elected = history.run_facts.leaders.iter();
    let is_elected = leader == 0 || elected.any(|(at, id)| *id == leader && *at <= ended);
    (!is_elected).then(|| format!("it names the leader {leader:x}, which was never elected"))
}

/// A number that goes back from an answer to a later one, and when.
fn goes_back(mut answers: Vec<StatusReply<'_>>) -> Option<(String, Duration)> {
    type Number = fn(&pb::StatusResponse) -> u64;
    const NUMBERS: [(&str, Number); 3] = [
        ("term", |it| it.raft_term),
        ("committed index", |it| it.raft_index),
        ("applied index", |it| it.raft_applied_index),
    ];
    answers.sort_by_key(|(called, _, _)| *called);
    for (name, number) in NUMBERS {
        for (place, (called, ended, status)) in answers.iter().enumerate() {
            let earlier = answers[..place].iter().filter(|it| it.1 <= *called);
            let newest = earlier.map(|(_, _, status)| number(status)).max();
            if let Some(newest) = newest.filter(|newest| *newest > number(status)) {
                let now = number(status);
                return Some((format!("its {name} was {newest} and is {now}"), *ended));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster_calls::{Asked, ClusterCall};

    fn status(leader: u64, numbers: [u64; 3]) -> pb::StatusResponse {
        let errors = match leader {
            0 => vec!["etcdserver: no leader".to_owned()],
            _ => Vec::new(),
        };
        pb::StatusResponse {
            leader,
            raft_term: numbers[0],
            raft_index: numbers[1],
            raft_applied_index: numbers[2],
            errors,
            ..Default::default()
        }
    }

    /// Whether a member whose process started at 0 s and at 10 s may answer so.
    fn is_right(answers: &[(u64, pb::StatusResponse)]) -> bool {
        let mut history = History::default();
        let starts = vec![Duration::ZERO, Duration::from_secs(10)];
        history.run_facts.starts.insert(0, starts);
        history.run_facts.leaders = vec![(Duration::from_secs(1), 7)];
        history.cluster_calls = answers
            .iter()
            .map(|(at, status)| ClusterCall {
                member: 0,
                called: Duration::from_secs(*at),
                told: Some((
                    Duration::from_millis(at * 1000 + 500),
                    Told::Status(Box::new(status.clone())),
                )),
                asked: Asked::Status,
            })
            .collect();
        let found = check(&history);
        println!("{found:#?}");
        found.is_empty()
    }

    #[test]
    fn members_go_forward_and_start_anew() {
        let answers = [
            (0, status(0, [0, 0, 0])),
            (2, status(7, [1, 5, 4])),
            (4, status(7, [1, 5, 5])),
            (11, status(0, [1, 0, 5])),
        ];
        assert!(is_right(&answers));
    }

    #[test]
    fn forged_answers_are_found() {
        // It goes by raft's last leader, whom it has lost.
        let mut lost = status(7, [1, 5, 5]);
        lost.errors = status(0, [0; 3]).errors;
        assert!(!is_right(&[(2, lost)]));
        let mut silent = status(0, [1, 5, 5]);
        silent.errors.clear();
        assert!(!is_right(&[(2, silent)]));
        assert!(!is_right(&[(2, status(8, [1, 5, 5]))]), "nobody elected it");
        assert!(!is_right(&[(0, status(7, [1, 5, 5]))]), "not yet");
        for later in [[1, 9, 9], [2, 8, 9], [2, 9, 8]] {
            let answers = [(2, status(7, [2, 9, 9])), (3, status(7, later))];
            assert!(!is_right(&answers), "{later:?}");
        }
    }
}
