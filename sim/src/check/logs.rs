//! What each member's raft log holds, as the steps report: shared by the invariants.

use super::steps::{Step, What};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The logs of all members.
#[derive(Debug, Default)]
pub struct Logs {
    members: BTreeMap<usize, Log>,
}

/// One member's log, in memory and not necessarily on disk.
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// Entries before this one are gone: a snapshot covers them.
    floor: u64,
    /// From `floor` on.
    entries: VecDeque<Entry>,
    /// The configurations that entries of the log (or its snapshot) brought.
    configs: BTreeMap<u64, Voters>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub term: u64,
    pub hash: u64,
}

/// Groups of members; a quorum is a majority of each group.
pub type Voters = Vec<BTreeSet<usize>>;

impl Logs {
    pub fn of(&self, member: usize) -> Option<&Log> {
        self.members.get(&member)
    }

    /// The configurations that may count now: the newest that any log holds, and the one before.
    pub fn configs(&self) -> Vec<Voters> {
        let logs = self.members.values();
        let newest = logs.max_by_key(|log| log.configs.last_key_value().map(|(index, _)| *index));
        newest.into_iter().flat_map(Log::configs).cloned().collect()
    }

    /// To be called after the invariants have looked at the step.
    pub fn follow(&mut self, step: &Step) {
        let log = self.members.entry(step.member).or_default();
        match &step.what {
            What::Recovered { end, .. } => log.truncate(*end),
            What::Appended { index, term, hash } => {
                let (term, hash) = (*term, *hash);
                log.append(*index, Entry { term, hash });
            }
            What::Truncated { last } => log.truncate(last + 1),
            What::Purged { through } | What::Restored { index: through } => log.purge(*through),
            What::Configured { index, voters } => {
                log.configs.insert(*index, voters.clone());
            }
            _ => {}
        }
    }
}

impl Log {
    /// The first entry that is there.
    pub fn floor(&self) -> u64 {
        self.floor
    }

    /// The index after the last entry.
    pub fn end(&self) -> u64 {
        self.floor + self.entries.len() as u64
    }

    pub fn get(&self, index: u64) -> Option<Entry> {
        let at = usize::try_from(index.checked_sub(self.floor)?).ok()?;
        self.entries.get(at).copied()
    }

    /// The log without the entries from `end` on.
    pub fn before(&self, end: u64) -> Log {
        let mut log = self.clone();
        if end < log.end() {
            log.truncate(end);
        }
        log
    }

    /// The configurations that may have counted when the entry was committed: that of the newest
    /// entry, and the one before it, whose turn may have come to an end just now.
    pub fn configs(&self) -> impl Iterator<Item = &Voters> {
        self.configs.values().rev().take(2)
    }

    fn append(&mut self, index: u64, entry: Entry) {
        if index > self.end() {
            // What came before is not in the log: it begins anew behind a snapshot.
            self.entries.clear();
            self.floor = index;
        }
        // The configurations stay: those that a batch brings are told before its entries, and what
        // is cut off before is told as such.
        self.cut(index);
        self.entries.push_back(entry);
    }

    fn truncate(&mut self, end: u64) {
        self.cut(end);
        self.configs.retain(|index, _| *index < end);
    }

    fn cut(&mut self, end: u64) {
        if end < self.floor {
            self.entries.clear();
            self.floor = end;
        }
        let left = usize::try_from(end - self.floor).expect("a log fits into memory");
        self.entries.truncate(left);
    }

    fn purge(&mut self, through: u64) {
        while self.floor <= through && self.entries.pop_front().is_some() {
            self.floor += 1;
        }
        self.floor = self.floor.max(through + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::transcript::logs;

    #[test]
    fn follows_appends_cuts_purges_and_restarts() {
        let all = logs(
            "m1 appended 0@1; m1 appended 1@1; m1 appended 2@1; m1 truncated 1; m1 appended 2@2
             m1 appended 3@2; m1 purged 0; m1 recovered 3 1",
        );
        let log = all.of(0).expect("it told of steps");
        assert_eq!((log.floor(), log.end()), (1, 3));
        assert_eq!(log.get(2).map(|entry| entry.term), Some(2));
        assert_eq!((log.get(0), log.get(3)), (None, None));
    }

    /// The configurations that the log of member 1 has, the newest first.
    fn configs(story: &str) -> Vec<Voters> {
        let all = logs(story);
        let log = all.of(0).expect("it told of steps");
        log.configs().cloned().collect()
    }

    #[test]
    fn a_snapshot_replaces_the_log_and_keeps_its_configuration() {
        let story = "m1 appended 0@1; m1 appended 1@1; m1 restored 9; m1 configured 7 1,2,3
                     m1 appended 10@3";
        let all = logs(story);
        let log = all.of(0).expect("it told of steps");
        assert_eq!((log.floor(), log.end()), (10, 11));
        assert_eq!(configs(story), [vec![BTreeSet::from([0, 1, 2])]]);
    }

    #[test]
    fn an_entry_keeps_the_configuration_that_it_brings() {
        let newest = |story: &str| configs(story).swap_remove(0);
        let steps = "m1 configured 0 1,2,3; m1 appended 0@1; m1 configured 1 1,2; m1 appended 1@1";
        assert_eq!(newest(steps), [BTreeSet::from([0, 1])]);
        let batch = "m1 configured 0 1,2,3; m1 configured 1 1,2; m1 appended 0@1; m1 appended 1@1";
        assert_eq!(newest(batch), [BTreeSet::from([0, 1])]);
        let cut = format!("{steps}; m1 truncated 0");
        assert_eq!(newest(&cut), [BTreeSet::from([0, 1, 2])]);
    }
}
