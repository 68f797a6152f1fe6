//! One chain of memberships, and no way back into it (Raft, section 6; Ongaro's thesis, 4.3).
//!
//! - Entries of the log at the same place hold the same membership, on every member.
//! - From one membership to the next, a set of voters stays: two majorities of the one and of the
//!   other always meet. So a change of voters goes through a joint membership.
//! - Who becomes a voter has started: it was never asked of a member that has nothing.
//! - Who was removed is in no later membership, and stays removed.
//! - A member that has applied its own removal gives its vote to nobody and leads no new term.

use super::Finding;
use super::logs::Logs;
use super::steps::{Invariant, Step, What};
use std::collections::{BTreeMap, BTreeSet};

/// A membership, as an entry of the log holds it. Members by their ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    pub term: u64,
    /// One set of voters, or the two of a joint membership.
    pub voters: Vec<BTreeSet<String>>,
    pub learners: BTreeSet<String>,
}

impl Config {
    /// Reads what a member tells: `1,2|2,3` are two sets.
    pub fn parse(term: u64, voters: &str, learners: &str) -> Config {
        Config {
            term,
            voters: voters.split('|').map(set).collect(),
            learners: set(learners),
        }
    }

    fn everybody(&self) -> impl Iterator<Item = &String> {
        self.voters.iter().flatten().chain(&self.learners)
    }
}

/// `1,2` are two members, and nothing is none.
pub fn set(ids: &str) -> BTreeSet<String> {
    let ids = ids.split(',').filter(|id| !id.is_empty());
    ids.map(str::to_owned).collect()
}

#[derive(Default)]
pub struct Members {
    /// By the index of the entry.
    chain: BTreeMap<u64, Config>,
    /// Everybody who was removed, and by which entry at the latest that was known.
    removed: BTreeMap<String, u64>,
    /// The members that know that they were removed, and the term in which they led then.
    out: BTreeMap<usize, u64>,
    leading: BTreeMap<usize, u64>,
}

impl Invariant for Members {
    fn step(&mut self, step: &Step, logs: &Logs) -> Result<(), Finding> {
        match &step.what {
            What::Membership {
                index,
                own,
                config,
                removed,
                places,
            } => {
                if removed.contains(own) {
                    let led = self.leading.get(&step.member).copied().unwrap_or(0);
                    self.out.entry(step.member).or_insert(led);
                }
                let taken = self.append(*index, config, &|id| has_log(logs, places.get(id)));
                taken
                    .and_then(|()| self.remove(*index, removed))
                    .map_err(|what| Finding::new(what).index(*index))
            }
            What::Granted { term, .. } if self.out.contains_key(&step.member) => {
                let what = format!("a member that was removed, and knows it, votes in term {term}");
                Err(Finding::new(what).term(*term))
            }
            What::Leads { term, .. } => {
                let led = self.leading.insert(step.member, *term).unwrap_or(0);
                match self.out.get(&step.member) {
                    Some(last) if term > last && *term != led => {
                        let what =
                            format!("a member that was removed, and knows it, leads term {term}");
                        Err(Finding::new(what).term(*term))
                    }
                    _ => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }
}

impl Members {
    fn append(
        &mut self,
        index: u64,
        config: &Config,
        has_log: &dyn Fn(&String) -> bool,
    ) -> Result<(), String> {
        if let Some(known) = self.chain.get(&index) {
            return match known == config {
                true => Ok(()),
                false => Err(format!(
                    "entry {index} is the membership {config:?} here, and elsewhere {known:?}"
                )),
            };
        }
        let before = self.chain.range(..index).next_back();
        let after = self.chain.range(index..).next();
        if let Some((at, after)) = after {
            return Err(format!(
                "the membership of entry {index} is new, though that of {at} is known: {after:?}"
            ));
        }
        if let Some((at, before)) = before
            && !before
                .voters
                .iter()
                .any(|voters| config.voters.contains(voters))
        {
            return Err(format!(
                "the memberships of entries {at} and {index} have no voters in common that are a \
                 whole set: {before:?}, then {config:?}"
            ));
        }
        if let Some((_, before)) = before {
            let voted = |id: &&String| before.voters.iter().any(|voters| voters.contains(*id));
            let mut new = config.voters.iter().flatten().filter(|id| !voted(id));
            if let Some(unstarted) = new.find(|id| !has_log(id)) {
                return Err(format!(
                    "{unstarted} becomes a voter by entry {index}, and has nothing of the log"
                ));
            }
        }
        let back = config.everybody().find(|id| self.removed.contains_key(*id));
        if let Some(back) = back {
            return Err(format!(
                "{back} was removed by entry {}, and is back in {index}",
                self.removed[back]
            ));
        }
        self.chain.insert(index, config.clone());
        Ok(())
    }

    fn remove(&mut self, index: u64, removed: &BTreeSet<String>) -> Result<(), String> {
        let forgotten = self
            .removed
            .iter()
            .find(|(id, at)| **at <= index && !removed.contains(*id));
        if let Some((id, at)) = forgotten {
            return Err(format!(
                "{id} was removed by entry {at}, and entry {index} does not know it any more"
            ));
        }
        for id in removed {
            let at = self.removed.entry(id.clone()).or_insert(index);
            *at = (*at).min(index);
        }
        Ok(())
    }
}

fn has_log(logs: &Logs, member: Option<&usize>) -> bool {
    let log = member.and_then(|member| logs.of(*member));
    log.is_some_and(|log| log.end() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::transcript::judge;

    #[test]
    fn a_removal_in_two_steps_is_in_order() {
        // Who removes itself goes on in the term in which it did.
        judge::<Members>(
            "m1,2 membership 0 1,2,3; m3 leads 1; m3 membership 0 1,2,3
             m3 membership 5 1,2,3|1,2; m3 membership 6 1,2 without 3; m3 leads 1
             m1 membership 5 1,2,3|1,2; m1 membership 6 1,2 without 3; m1 granted 2 9; m2 leads 2",
        );
    }

    #[test]
    fn members_that_are_swapped_in_one_step_are_seen() {
        judge::<Members>("m1 membership 0 1,2,3; ! m1 membership 4 3,4,5 without 1,2");
    }

    #[test]
    fn two_memberships_at_one_place_are_seen() {
        judge::<Members>(
            "m1 membership 0 1,2,3; m1 membership 4 1,2,3|1,2; ! m2 membership 4 1,2,3|1,3",
        );
    }

    #[test]
    fn who_comes_back_is_seen() {
        judge::<Members>(
            "m1 membership 0 1,2; m1 membership 4 1,2|1; m1 membership 5 1 without 2
             ! m1 membership 6 1|1,2 without 2

             m1 membership 0 1,2; m1 membership 4 1,2|1; m1 membership 5 1 without 2
             ! m1 membership 6 1",
        );
    }

    #[test]
    fn a_vote_of_a_removed_member_is_seen() {
        judge::<Members>(
            "m3 membership 0 1,2,3; m3 membership 5 1,2,3|1,2; m3 granted 2 9
             m3 membership 6 1,2 without 3; ! m3 granted 3 9

             m3 membership 5 1,2 without 3; ! m3 leads 4",
        );
    }

    #[test]
    fn a_voter_that_never_started_is_seen() {
        judge::<Members>(
            "m1 membership 0 1,2; ! m1 membership 4 1,2|1,2,3

             m1 membership 0 1,2; m3 appended 0@1; m1 membership 4 1,2|1,2,3",
        );
    }
}
