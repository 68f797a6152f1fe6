//! A vote is durable before anybody counts it: the candidate that is told of it, or the member
//! itself, which leads by its own vote among others (Raft, figure 2: persistent state is updated
//! before responding).
//!
//! What is durable is the disk's own account, not what the member believes.

use super::logs::Logs;
use super::steps::{Invariant, Place, Step, What};
use super::{Check, Finding};
use std::collections::BTreeMap;

#[derive(Default)]
pub struct VoteDurable {
    members: BTreeMap<usize, Votes>,
}

#[derive(Default)]
struct Votes {
    /// Votes by the hash of their bytes.
    by_hash: BTreeMap<u64, Vote>,
    /// Written, and not known to be synced.
    pending: Vec<(Place, Vote)>,
    durable: Option<Vote>,
    /// Votes of the same term that were durable before. A member that has given its vote to one
    /// candidate may learn that another leads that term before its answer is on the way: then the
    /// leader's vote stands in the file, and the answer is as true as it was.
    before: Vec<Vote>,
    /// The vote that was told last.
    granted: Option<Vote>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Vote {
    term: u64,
    node: u64,
}

impl Invariant for VoteDurable {
    fn check(&self) -> Check {
        Check::VoteDurable
    }

    fn step(&mut self, step: &Step, _: &Logs) -> Result<(), Finding> {
        let votes = self.members.entry(step.member).or_default();
        match step.what {
            What::Vote { term, node, hash } => {
                votes.by_hash.insert(hash, Vote { term, node });
            }
            What::VoteWritten { hash, place } => {
                if let Some(vote) = votes.by_hash.get(&hash) {
                    votes.pending.push((place, *vote));
                }
            }
            What::Synced { place } => votes.synced(place),
            What::Died { lost: true } => votes.pending.clear(),
            What::Robbed => *votes = Votes::default(),
            What::Recovered { end: 0, .. } => votes.durable = None,
            What::Granted { term, node } => {
                let vote = Vote { term, node };
                votes.grants_once(step.member, vote)?;
                let whom = format!("told member {node:x} that it has its vote");
                return votes.holds(step.member, vote, &whom);
            }
            What::Leads { term, node, .. } => {
                return votes.holds(step.member, Vote { term, node }, "leads");
            }
            _ => {}
        }
        Ok(())
    }
}

impl Votes {
    fn synced(&mut self, place: Place) {
        let is_durable =
            |written: &Place| written.file == place.file && written.change <= place.change;
        let durable = self.pending.iter().filter(|(place, _)| is_durable(place));
        for (_, vote) in durable {
            self.before.extend(self.durable);
            self.before.retain(|before| before.term == vote.term);
            self.durable = Some(*vote);
        }
        self.pending.retain(|(place, _)| !is_durable(place));
    }

    /// In a term, one candidate gets the member's vote.
    fn grants_once(&mut self, member: usize, vote: Vote) -> Result<(), Finding> {
        match self.granted.replace(vote) {
            Some(before) if before.term == vote.term && before.node != vote.node => {
                let Vote { term, node } = vote;
                let (member, first) = (member + 1, before.node);
                let what = format!(
                    "member {member} told member {node:x} that it has its vote in term {term}, \
                     and had told member {first:x} the same"
                );
                Err(Finding::new(what).term(term))
            }
            _ => Ok(()),
        }
    }

    /// A later term's vote is as good: in the term asked for, no other can be given any more.
    fn holds(&self, member: usize, vote: Vote, why: &str) -> Result<(), Finding> {
        let good = |durable: Vote| durable == vote || durable.term > vote.term;
        if self.durable.is_some_and(good) || self.before.contains(&vote) {
            return Ok(());
        }
        let held = match self.durable {
            Some(Vote { term, node }) => format!("a vote for {node:x} in term {term}"),
            None => "no vote".to_owned(),
        };
        let (member, term) = (member + 1, vote.term);
        let what = format!("member {member} {why} in term {term}, but its disk holds {held}");
        Err(Finding::new(what).term(term))
    }
}

#[cfg(test)]
mod tests {
    use super::super::steps::verdicts;
    use super::*;

    fn place(change: u64) -> Place {
        Place { file: 7, change }
    }

    /// A vote for `node` in `term`, written as this change of the file.
    fn vote(term: u64, node: u64, change: u64) -> [(usize, What); 2] {
        let hash = term * 100 + node;
        let written = What::VoteWritten {
            hash,
            place: place(change),
        };
        [(0, What::Vote { term, node, hash }), (0, written)]
    }

    fn granted(term: u64, node: u64) -> (usize, What) {
        (0, What::Granted { term, node })
    }

    fn synced(change: u64) -> (usize, What) {
        let place = place(change);
        (0, What::Synced { place })
    }

    fn leads(term: u64, node: u64) -> (usize, What) {
        let last_log_index = 0;
        let what = What::Leads {
            term,
            node,
            last_log_index,
        };
        (0, what)
    }

    fn is_wrong(steps: &[&[(usize, What)]]) -> bool {
        let verdicts = verdicts(&mut VoteDurable::default(), &steps.concat());
        verdicts.contains(&false)
    }

    #[test]
    fn votes_that_are_synced_first_are_fine() {
        let own = [synced(1), leads(2, 9)];
        assert!(!is_wrong(&[&vote(2, 9, 1), &own]));
        let later = [synced(2), granted(2, 9), granted(3, 8)];
        assert!(!is_wrong(&[&vote(2, 9, 1), &vote(3, 8, 2), &later]));
        let restarted = [synced(1), (0, What::Died { lost: true }), granted(2, 9)];
        assert!(!is_wrong(&[&vote(2, 9, 1), &restarted]));
    }

    #[test]
    fn votes_that_a_crash_could_take_back_are_seen() {
        assert!(is_wrong(&[&vote(2, 9, 1), &[granted(2, 9)]]));
        assert!(is_wrong(&[&vote(2, 9, 1), &[leads(2, 9)]]));
        // The sync covers the vote before only.
        let early = [synced(1), granted(3, 8)];
        assert!(is_wrong(&[&vote(2, 9, 1), &vote(3, 8, 2), &early]));
        // The crash took the written vote with it, and a later sync does not bring it back.
        let lost = [(0, What::Died { lost: true }), synced(1), granted(2, 9)];
        assert!(is_wrong(&[&vote(2, 9, 1), &lost]));
        // What a killed process left unsynced is so until somebody syncs it.
        let killed = (0, What::Died { lost: false });
        assert!(is_wrong(&[
            &vote(2, 9, 1),
            &[killed.clone(), granted(2, 9)]
        ]));
        assert!(!is_wrong(&[
            &vote(2, 9, 1),
            &[killed, synced(1), granted(2, 9)]
        ]));
    }

    #[test]
    fn a_second_vote_in_a_term_is_seen() {
        let twice = [synced(1), granted(2, 9), granted(2, 8)];
        assert!(is_wrong(&[&vote(2, 9, 1), &twice]));
        let both_durable = [synced(2), granted(2, 9), granted(2, 8)];
        assert!(is_wrong(&[&vote(2, 9, 1), &vote(2, 8, 2), &both_durable]));
    }

    #[test]
    fn a_vote_that_was_given_before_another_won_is_fine() {
        let late = [synced(2), granted(2, 9)];
        assert!(!is_wrong(&[&vote(2, 9, 1), &vote(2, 8, 2), &late]));
        let never = [synced(2), granted(2, 7)];
        assert!(is_wrong(&[&vote(2, 9, 1), &vote(2, 8, 2), &never]));
    }
}
