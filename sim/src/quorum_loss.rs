//! What may be destroyed for good, so that what is left of the cluster can still go on.
//!
//! Faults that take from a member what it cannot get back (its disk, or the truth of what is on
//! it) are carried out only if a majority stays whole: nobody promises anything for a cluster that
//! has lost more. What counts are the voters of the moment, who else is broken already, and which
//! removals operators are at work on: each configuration on the way must have its majority.

use crate::check::logs::Voters;
use std::collections::BTreeSet;

/// The cluster as it would be after a loss.
pub struct ClusterAfterLoss<'a> {
    /// The configurations that may count now.
    pub configs: &'a [Voters],
    /// Members whose disks are gone, or cannot be relied on.
    pub broken: BTreeSet<usize>,
    /// Members that somebody is about to remove, or has removed.
    pub leaving: &'a BTreeSet<usize>,
}

impl ClusterAfterLoss<'_> {
    /// Whether a majority of each configuration is whole, whatever becomes of those who leave.
    pub fn has_majority(&self) -> bool {
        self.configs.iter().flatten().all(|voters| {
            // The removals of those who are whole may be done before those of the broken ones.
            let stay: Vec<&usize> = voters
                .iter()
                .filter(|member| self.broken.contains(member) || !self.leaving.contains(member))
                .collect();
            let whole = stay.iter().filter(|member| !self.broken.contains(member));
            whole.count() * 2 > stay.len()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has_majority(configs: &[&[usize]], broken: &[usize], leaving: &[usize]) -> bool {
        let group = |members: &[usize]| BTreeSet::from_iter(members.iter().copied());
        let configs: Vec<Voters> = configs.iter().map(|one| vec![group(one)]).collect();
        let after_loss = ClusterAfterLoss {
            configs: &configs,
            broken: group(broken),
            leaving: &group(leaving),
        };
        after_loss.has_majority()
    }

    #[test]
    fn the_only_voter_is_spared() {
        assert!(!has_majority(&[&[0]], &[0], &[]));
        assert!(!has_majority(&[&[0, 1]], &[1], &[]));
        assert!(has_majority(&[&[0, 1, 2]], &[1], &[]));
        assert!(!has_majority(&[&[0, 1, 2]], &[1, 2], &[]));
        assert!(has_majority(&[&[0, 1, 2, 3, 4]], &[1, 2], &[]));
    }

    #[test]
    fn a_removal_under_way_counts() {
        assert!(!has_majority(&[&[0, 1, 2]], &[1], &[0]));
        assert!(has_majority(&[&[0, 1, 2]], &[1], &[1]));
        assert!(has_majority(&[&[0, 1, 2, 3]], &[1], &[0]));
        assert!(!has_majority(&[&[0, 1, 2, 3]], &[1], &[0, 2]));
    }

    #[test]
    fn every_configuration_that_may_count_has_its_majority() {
        assert!(!has_majority(&[&[0, 1], &[0, 1, 2]], &[1], &[]));
        assert!(has_majority(&[&[0, 2, 3], &[0, 1, 2]], &[1], &[]));
    }
}
