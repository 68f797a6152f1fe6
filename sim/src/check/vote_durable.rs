//! A vote is durable before anybody counts it: the candidate that is told of it, or the member
//! itself, which leads by its own vote among others (Raft, figure 2: persistent state is updated
//! before responding).
//!
//! What is durable is the disk's own account, not what the member believes.

use super::Finding;
use super::logs::Logs;
use super::steps::{Invariant, Place, Step, What};
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
    use super::*;
    use crate::check::transcript::judge;

    #[test]
    fn votes_that_are_synced_first_are_fine() {
        judge::<VoteDurable>(
            "m1 vote 2 1; m1 vote-written 2 1 as 1; m1 synced 1; m1 leads 2

             m1 vote 2 9; m1 vote-written 2 9 as 1; m1 vote 3 8; m1 vote-written 3 8 as 2
             m1 synced 2; m1 granted 2 9; m1 granted 3 8

             m1 vote 2 9; m1 vote-written 2 9 as 1; m1 synced 1; m1 died lost; m1 granted 2 9",
        );
    }

    #[test]
    fn votes_that_a_crash_could_take_back_are_seen() {
        // One that is not synced; one that another's sync does not cover; one that went with the
        // crash, which a later sync does not bring back; one of a killed process, until somebody
        // syncs it.
        judge::<VoteDurable>(
            "m1 vote 2 9; m1 vote-written 2 9 as 1; ! m1 granted 2 9

             m1 vote 2 1; m1 vote-written 2 1 as 1; ! m1 leads 2

             m1 vote 2 9; m1 vote-written 2 9 as 1; m1 vote 3 8; m1 vote-written 3 8 as 2
             m1 synced 1; ! m1 granted 3 8

             m1 vote 2 9; m1 vote-written 2 9 as 1; m1 died lost; m1 synced 1; ! m1 granted 2 9

             m1 vote 2 9; m1 vote-written 2 9 as 1; m1 died; ! m1 granted 2 9

             m1 vote 2 9; m1 vote-written 2 9 as 1; m1 died; m1 synced 1; m1 granted 2 9",
        );
    }

    #[test]
    fn a_second_vote_in_a_term_is_seen() {
        judge::<VoteDurable>(
            "m1 vote 2 9; m1 vote-written 2 9 as 1; m1 synced 1; m1 granted 2 9; ! m1 granted 2 8

             m1 vote 2 9; m1 vote-written 2 9 as 1; m1 vote 2 8; m1 vote-written 2 8 as 2
             m1 synced 2; m1 granted 2 9; ! m1 granted 2 8",
        );
    }

    #[test]
    fn a_vote_that_was_given_before_another_won_is_fine() {
        judge::<VoteDurable>(
            "m1 vote 2 9; m1 vote-written 2 9 as 1; m1 vote 2 8; m1 vote-written 2 8 as 2
             m1 synced 2; m1 granted 2 9

             m1 vote 2 9; m1 vote-written 2 9 as 1; m1 vote 2 8; m1 vote-written 2 8 as 2
             m1 synced 2; ! m1 granted 2 7",
        );
    }
}
