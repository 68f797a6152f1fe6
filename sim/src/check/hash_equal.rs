//! Members that are equally far have equal hashes of their key spaces (etcd's HashKV).

use super::{Check, Finding, Violation};

/// One member's answer to HashKV.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashKv {
    pub member: usize,
    pub revision: i64,
    pub compact_revision: i64,
    pub hash: u32,
}

pub fn check(hashes: &[HashKv]) -> Vec<Violation> {
    let Some(first) = hashes.first() else {
        return Vec::new();
    };
    let same = |other: &&HashKv| {
        let HashKv {
            revision,
            compact_revision,
            hash,
            ..
        } = other;
        (*revision, *compact_revision, *hash)
            != (first.revision, first.compact_revision, first.hash)
    };
    let different = hashes.iter().filter(same);
    different
        .map(|other| {
            let finding = Finding::new(format!("{first} and {other} differ"));
            let finding = finding.member(first.member).member(other.member);
            finding.revision(first.revision).of(Check::HashEqual)
        })
        .collect()
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

    #[test]
    fn one_that_differs_is_seen() {
        let of = |member, hash| HashKv {
            member,
            revision: 9,
            compact_revision: 0,
            hash,
        };
        assert!(check(&[of(0, 1), of(1, 1), of(2, 1)]).is_empty());
        assert_eq!(check(&[of(0, 1), of(1, 2), of(2, 1)]).len(), 1);
    }
}
