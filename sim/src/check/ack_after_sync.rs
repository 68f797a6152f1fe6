//! What a member says it has is durable on its disk, and what is committed is durable on the disks
//! of a quorum. What is durable is the disks' own account, not what the members believe. What was
//! durable and then taken away by a fault counts: whoever told of it told the truth.

use super::Finding;
use super::logs::{Log, Logs, Voters};
use super::steps::{Invariant, Place, Step, What};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Default)]
pub struct AckAfterSync {
    members: BTreeMap<usize, BTreeMap<u64, Pending>>,
    /// The logs of members as they were when their disks were robbed, as far as they were durable.
    robbed: BTreeMap<usize, Vec<Log>>,
    /// The highest index whose quorum was looked at.
    committed: Option<u64>,
}

/// An entry of a log that is not known to be durable.
#[derive(Clone, Copy)]
struct Pending {
    term: u64,
    /// `None` until it stands in a file.
    place: Option<Place>,
}

impl Invariant for AckAfterSync {
    fn step(&mut self, step: &Step, logs: &Logs) -> Result<(), Finding> {
        let pending = self.members.entry(step.member).or_default();
        match &step.what {
            What::Appended { index, term, .. } => {
                let (term, place) = (*term, None);
                pending.insert(*index, Pending { term, place });
            }
            What::Truncated { last } => drop(pending.split_off(&(last + 1))),
            What::Written {
                first,
                last,
                term,
                place,
            } => {
                // What was cut off and replaced since is of a later term.
                let written = pending.range_mut(*first..=*last);
                written
                    .filter(|(_, entry)| entry.term <= *term)
                    .for_each(|(_, entry)| entry.place = Some(*place));
            }
            What::Synced { place } => pending.retain(|_, entry| {
                let is_durable =
                    |written: Place| written.file == place.file && written.change <= place.change;
                !entry.place.is_some_and(is_durable)
            }),
            What::Died { lost: true } => {
                pending.values_mut().for_each(|entry| entry.place = None);
            }
            // What was lost, or never written, is not in the log any more.
            What::Recovered { end, .. } => {
                pending.retain(|index, entry| index < end && entry.place.is_some());
            }
            What::Robbed => {
                let durable = pending
                    .first_key_value()
                    .map_or(u64::MAX, |(first, _)| *first);
                let log = logs.of(step.member).map(|log| log.before(durable));
                self.robbed.entry(step.member).or_default().extend(log);
                pending.values_mut().for_each(|entry| entry.place = None);
            }
            What::Restored { index } => *pending = pending.split_off(&(index + 1)),
            What::Acked { index, term } => {
                // An answer to a leader of before speaks of the log as it was then: what a later
                // leader has put in its place meanwhile is not meant.
                let mut meant = pending.range(..=index);
                if let Some((lost, entry)) = meant.find(|(_, entry)| entry.term <= *term) {
                    let member = step.member + 1;
                    let what = format!(
                        "member {member} told a leader that it has all entries up to {index}, but \
                         {}",
                        entry.text(*lost)
                    );
                    return Err(Finding::new(what).index(*lost).term(entry.term));
                }
            }
            What::Committed { index, term } if self.committed.is_none_or(|it| it < *index) => {
                self.committed = Some(*index);
                return self.check_quorum(step.member, (*index, *term), logs);
            }
            _ => {}
        }
        Ok(())
    }
}

impl AckAfterSync {
    fn check_quorum(&self, member: usize, entry: (u64, u64), logs: &Logs) -> Result<(), Finding> {
        let (index, term) = entry;
        let Some(log) = logs.of(member) else {
            return Ok(());
        };
        let mut configs = log.configs().peekable();
        if configs.peek().is_none() {
            return Ok(());
        }
        let durable = |member: &usize| self.has(*member, entry, logs);
        let is_quorum = |voters: &Voters| {
            voters
                .iter()
                .all(|group| group.iter().filter(|one| durable(one)).count() * 2 > group.len())
        };
        let newest: BTreeSet<usize> = configs
            .peek()
            .into_iter()
            .flat_map(|voters| voters.iter().flatten().copied())
            .collect();
        if configs.any(is_quorum) {
            return Ok(());
        }
        let on = newest.iter().filter(|member| durable(member));
        let on: Vec<String> = on.map(|member| (member + 1).to_string()).collect();
        let what = format!(
            "member {} knows that entry {index} of term {term} is committed, but of {} voters \
             only these have it on their disks: [{}]",
            member + 1,
            newest.len(),
            on.join(", ")
        );
        let finding = Finding::new(what).index(index).term(term);
        Err(newest.into_iter().fold(finding, Finding::member))
    }

    /// Whether the member has this entry, and everything before it, on its disk, or had it until
    /// that was taken from it.
    fn has(&self, member: usize, (index, term): (u64, u64), logs: &Logs) -> bool {
        let holds = |log: &Log| {
            index < log.floor() || log.get(index).is_some_and(|entry| entry.term == term)
        };
        let pending = self.members.get(&member);
        let first = pending.and_then(|pending| pending.keys().next());
        let is_durable = first.is_none_or(|first| *first > index);
        let mut robbed = self.robbed.get(&member).into_iter().flatten();
        (is_durable && logs.of(member).is_some_and(holds)) || robbed.any(holds)
    }
}

impl Pending {
    fn text(&self, index: u64) -> String {
        let term = self.term;
        match self.place {
            Some(_) => format!("entry {index} of term {term} stands in a file that was not synced"),
            None => format!("entry {index} of term {term} is not even written"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::transcript::judge;

    #[test]
    fn acknowledgements_after_the_sync_are_fine() {
        judge::<AckAfterSync>(
            "m1 appended 1@1; m1 appended 2@1; m1 written 1 2@1 as 1; m1 appended 3@1
             m1 synced 1; m1 acked 2@1; m1 written 3 3@1 as 2; m1 truncated 2; m1 acked 2@1",
        );
    }

    /// Swarm seed 745: a member that was paused answered the leader of term 1 when it had taken an
    /// entry of the next one.
    #[test]
    fn a_late_answer_to_an_old_leader_is_fine() {
        judge::<AckAfterSync>(
            "m1 appended 1@1; m1 appended 2@1; m1 written 1 2@1 as 1; m1 synced 1
             m1 truncated 1; m1 appended 2@2; m1 acked 2@1; ! m1 acked 2@2

             m1 appended 1@1; m1 appended 2@2; ! m1 acked 2@1",
        );
    }

    #[test]
    fn acknowledgements_before_the_sync_are_seen() {
        judge::<AckAfterSync>(
            "m1 appended 1@1; ! m1 acked 1@1

             m1 appended 1@1; m1 written 1 1@1 as 1; ! m1 acked 1@1

             m1 appended 1@1; m1 written 1 1@1 as 1; m1 appended 2@1; m1 written 2 2@1 as 2
             m1 synced 1; ! m1 acked 2@1",
        );
    }

    #[test]
    fn what_is_committed_is_durable_on_a_quorum() {
        judge::<AckAfterSync>(
            "m1 configured 0 1,2,3; m1,2,3 appended 1@1; m2,3 written 1 1@1 as 1
             m2,3 synced 1; m1 committed 1@1

             m1 configured 0 1,2,3; m1,2,3 appended 1@1; m1,2,3 written 1 1@1 as 1
             m1,2,3 synced 1; m1 committed 1@1

             m1 configured 0 1,2,3; m1,2,3 appended 1@1; m1 written 1 1@1 as 1
             m1 synced 1; ! m1 committed 1@1

             m1 configured 0 1,2,3; m1,2,3 appended 1@1; ! m1 committed 1@1",
        );
    }

    #[test]
    fn what_was_taken_from_a_disk_was_there() {
        judge::<AckAfterSync>(
            "m1 configured 0 1,2,3; m1,2 appended 1@1; m1 written 1 1@1 as 1; m1 synced 1
             m2 written 1 1@1 as 1; m2 synced 1; m2 died lost; m2 robbed; m2 recovered 0 0
             m1 committed 1@1

             m1 configured 0 1,2,3; m1,2 appended 1@1; m1 written 1 1@1 as 1; m1 synced 1
             m2 written 1 1@1 as 1; m2 died lost; m2 robbed; m2 recovered 0 0
             ! m1 committed 1@1",
        );
    }

    #[test]
    fn what_died_unsynced_is_on_no_disk() {
        judge::<AckAfterSync>(
            "m1 configured 0 1,2,3; m1,2 appended 1@1; m1 written 1 1@1 as 1; m1 synced 1
             m2 written 1 1@1 as 1; m2 died lost; ! m1 committed 1@1",
        );
    }

    #[test]
    fn what_a_killed_process_wrote_is_as_durable_as_it_was() {
        // What is not read any more was cut off, and comes again.
        judge::<AckAfterSync>(
            "m1 appended 1@1; m1 written 1 1@1 as 1; m1 died; m1 synced 1; m1 recovered 2 0
             m1 acked 1@1

             m1 appended 1@1; m1 written 1 1@1 as 1; m1 died; m1 recovered 2 0; ! m1 acked 1@1

             m1 appended 1@1; m1 written 1 1@1 as 1; m1 died; m1 recovered 1 0; m1 acked 1@1",
        );
    }

    #[test]
    fn a_joint_configuration_needs_a_majority_of_both() {
        judge::<AckAfterSync>(
            "m1 configured 1 1,2,3|3,4,5; m1,2,3,4,5 appended 2@1; m1,2,3 written 2 2@1 as 1
             m1,2,3 synced 1; ! m1 committed 2@1",
        );
    }
}
