//! What a member says it has is durable on its disk, and what is committed is durable on the disks
//! of a quorum. What is durable is the disks' own account, not what the members believe. What was
//! durable and then taken away by a fault counts: whoever told of it told the truth.

use super::logs::{Log, Logs, Voters};
use super::steps::{Invariant, Place, Step, What};
use super::{Check, Finding};
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
    fn check(&self) -> Check {
        Check::AckAfterSync
    }

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
    use super::super::steps::verdicts;
    use super::*;

    fn place(change: u64) -> Place {
        Place { file: 3, change }
    }

    fn appended(member: usize, index: u64) -> (usize, What) {
        let (term, hash) = (1, 0);
        (member, What::Appended { index, term, hash })
    }

    fn written(member: usize, first: u64, last: u64, change: u64) -> (usize, What) {
        let (term, place) = (1, place(change));
        let what = What::Written {
            first,
            last,
            term,
            place,
        };
        (member, what)
    }

    fn synced(member: usize, change: u64) -> (usize, What) {
        let place = place(change);
        (member, What::Synced { place })
    }

    fn acked(member: usize, index: u64) -> (usize, What) {
        (member, What::Acked { index, term: 1 })
    }

    fn committed(index: u64) -> (usize, What) {
        (0, What::Committed { index, term: 1 })
    }

    fn configured(members: usize) -> Vec<(usize, What)> {
        let voters: Voters = vec![(0..members).collect()];
        let index = 0;
        vec![(0, What::Configured { index, voters })]
    }

    fn is_wrong(steps: &[(usize, What)]) -> bool {
        verdicts(&mut AckAfterSync::default(), steps).contains(&false)
    }

    #[test]
    fn acknowledgements_after_the_sync_are_fine() {
        let steps = [
            appended(0, 1),
            appended(0, 2),
            written(0, 1, 2, 1),
            appended(0, 3),
            synced(0, 1),
            acked(0, 2),
            written(0, 3, 3, 2),
            (0, What::Truncated { last: 2 }),
            acked(0, 2),
        ];
        assert!(!is_wrong(&steps));
    }

    /// Swarm seed 745: a member that was paused answered the leader of term 1 when it had taken an
    /// entry of the next one.
    #[test]
    fn a_late_answer_to_an_old_leader_is_fine() {
        let (term, hash) = (2, 0);
        let newer = |index| (0, What::Appended { index, term, hash });
        let mut steps = Vec::from([
            appended(0, 1),
            appended(0, 2),
            written(0, 1, 2, 1),
            synced(0, 1),
            (0, What::Truncated { last: 1 }),
            newer(2),
            acked(0, 2),
        ]);
        assert!(!is_wrong(&steps));
        steps.push((0, What::Acked { index: 2, term }));
        assert!(is_wrong(&steps));
        let unsynced = [appended(0, 1), newer(2), acked(0, 2)];
        assert!(is_wrong(&unsynced));
    }

    #[test]
    fn acknowledgements_before_the_sync_are_seen() {
        assert!(is_wrong(&[appended(0, 1), acked(0, 1)]));
        let unsynced = [appended(0, 1), written(0, 1, 1, 1), acked(0, 1)];
        assert!(is_wrong(&unsynced));
        let partly = [
            appended(0, 1),
            written(0, 1, 1, 1),
            appended(0, 2),
            written(0, 2, 2, 2),
            synced(0, 1),
            acked(0, 2),
        ];
        assert!(is_wrong(&partly));
    }

    #[test]
    fn what_is_committed_is_durable_on_a_quorum() {
        let on = |members: &[usize]| -> Vec<(usize, What)> {
            let mut steps = configured(3);
            steps.extend((0..3).map(|member| appended(member, 1)));
            for member in members {
                steps.extend([written(*member, 1, 1, 1), synced(*member, 1)]);
            }
            steps.push(committed(1));
            steps
        };
        assert!(!is_wrong(&on(&[1, 2])));
        assert!(!is_wrong(&on(&[0, 1, 2])));
        assert!(is_wrong(&on(&[0])));
        assert!(is_wrong(&on(&[])));
    }

    #[test]
    fn what_was_taken_from_a_disk_was_there() {
        let robbed = |synced_before: bool| -> Vec<(usize, What)> {
            let mut steps = configured(3);
            steps.extend((0..2).map(|member| appended(member, 1)));
            steps.extend([written(0, 1, 1, 1), synced(0, 1), written(1, 1, 1, 1)]);
            if synced_before {
                steps.push(synced(1, 1));
            }
            steps.extend([(1, What::Died { lost: true }), (1, What::Robbed)]);
            let (end, committed) = (0, 0);
            steps.push((1, What::Recovered { end, committed }));
            steps.push(self::committed(1));
            steps
        };
        assert!(!is_wrong(&robbed(true)));
        assert!(is_wrong(&robbed(false)));
    }

    #[test]
    fn what_died_unsynced_is_on_no_disk() {
        let mut steps = configured(3);
        steps.extend((0..2).map(|member| appended(member, 1)));
        steps.extend([written(0, 1, 1, 1), synced(0, 1), written(1, 1, 1, 1)]);
        steps.extend([(1, What::Died { lost: true }), committed(1)]);
        assert!(is_wrong(&steps));
    }

    #[test]
    fn what_a_killed_process_wrote_is_as_durable_as_it_was() {
        let restarted = |end: u64, synced_then: bool| -> Vec<(usize, What)> {
            let mut steps = vec![appended(0, 1), written(0, 1, 1, 1)];
            steps.push((0, What::Died { lost: false }));
            steps.extend(synced_then.then(|| synced(0, 1)));
            let committed = 0;
            steps.push((0, What::Recovered { end, committed }));
            steps.push(acked(0, 1));
            steps
        };
        assert!(!is_wrong(&restarted(2, true)));
        assert!(is_wrong(&restarted(2, false)));
        // What is not read any more was cut off, and comes again.
        assert!(!is_wrong(&restarted(1, false)));
    }

    #[test]
    fn a_joint_configuration_needs_a_majority_of_both() {
        let voters: Voters = vec![BTreeSet::from([0, 1, 2]), BTreeSet::from([2, 3, 4])];
        let index = 1;
        let mut steps = vec![(0, What::Configured { index, voters })];
        steps.extend((0..5).map(|member| appended(member, 2)));
        for member in [0, 1, 2] {
            steps.extend([written(member, 2, 2, 1), synced(member, 1)]);
        }
        steps.push(committed(2));
        assert!(is_wrong(&steps));
    }
}
