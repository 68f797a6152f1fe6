//! Hashes of the key space (etcd's HashKV) at equal revisions and compactions are equal, whichever
//! member tells of them, and whenever.

use super::Finding;
use crate::history::History;
use std::collections::BTreeMap;

/// One member's answer to HashKV.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashKv {
    pub member: usize,
    pub revision: i64,
    pub compact_revision: i64,
    pub hash: u32,
}

pub fn check(history: &History) -> Vec<Finding> {
    let mut first_of: BTreeMap<(i64, i64), &HashKv> = BTreeMap::new();
    let mut findings = Vec::new();
    for hash in &history.run_facts.hashes {
        let key = (hash.revision, hash.compact_revision);
        let first = *first_of.entry(key).or_insert(hash);
        if first.hash != hash.hash {
            let finding = Finding::new(format!("{first} and {hash} differ"));
            let finding = finding.member(first.member).member(hash.member);
            findings.push(finding.revision(hash.revision));
        }
    }
    findings
}

/// Of members that have applied the same: all of them know of the same compaction.
pub fn settled(hashes: &[HashKv]) -> Option<Finding> {
    let first = hashes.first()?;
    let other = hashes
        .iter()
        .find(|hash| hash.compact_revision != first.compact_revision)?;
    let finding = Finding::new(format!("{first} and {other} know of other compactions"));
    let finding = finding.member(first.member).member(other.member);
    Some(finding.revision(first.revision))
}

impl std::fmt::Display for HashKv {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let HashKv {
            member,
            revision,
            compact_revision,
            hash,
        } = self;
        write!(
            f,
            "member {} (hash {hash:08x} at revision {revision}, compacted to {compact_revision})",
            member + 1
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(member: usize, revision: i64, compact_revision: i64, hash: u32) -> HashKv {
        HashKv {
            member,
            revision,
            compact_revision,
            hash,
        }
    }

    /// How many differ of these.
    fn differing<const N: usize>(hashes: [HashKv; N]) -> usize {
        let mut history = History::default();
        history.run_facts.hashes = hashes.to_vec();
        check(&history).len()
    }

    #[test]
    fn different_revisions_and_compactions_have_different_hashes() {
        let first = of(0, 9, -1, 1);
        let others = [of(1, 9, -1, 1), of(1, 9, 5, 2), of(2, 8, -1, 3)];
        assert_eq!(others.map(|other| differing([first, other])), [0; 3]);
    }

    #[test]
    fn members_that_settled_know_of_the_same_compaction() {
        assert!(settled(&[]).is_none());
        assert!(settled(&[of(0, 9, 5, 1), of(1, 9, 5, 1)]).is_none());
        assert!(settled(&[of(0, 9, 5, 1), of(1, 9, -1, 2)]).is_some());
        let last = [of(0, 9, 5, 1), of(1, 9, 5, 1), of(2, 9, 4, 1)];
        assert!(settled(&last).is_some());
    }

    #[test]
    fn one_that_differs_is_seen() {
        let found = differing([of(0, 9, -1, 1), of(1, 9, -1, 2), of(2, 9, -1, 1)]);
        assert_eq!(found, 1);
        // Long after another told of it, and under a compaction.
        let found = differing([of(0, 9, 5, 1), of(0, 12, 5, 4), of(0, 9, 5, 2)]);
        assert_eq!(found, 1);
    }
}
