//! Linearizability, judged twice: by replay in revision order and by a search that knows nothing
//! of revisions. Both must find the history in order, and they must agree:
//! - What the search cannot explain the replay must not explain either: it sees all that the
//!   search sees, and more.
//! - What the replay finds the search need not find: revisions tell of what values do not (two
//!   values that are alike, who wrote first of two that overlap), and a write that nobody read is
//!   nothing to the search. But an answer that values and times alone forbid, each by itself, both
//!   must find.

use super::wing_gong::Searched;
use super::{Facts, Finding};

pub fn check(facts: &Facts<'_>) -> Vec<Finding> {
    let replayed = facts.replayed().iter();
    let searched = facts.searched().unexplained.iter();
    let by = |judge: &'static str| move |finding: &Finding| finding.after(&format!("by {judge}: "));
    replayed
        .map(by("replay"))
        .chain(searched.map(by("search")))
        .collect()
}

/// Where one judge explains what the other does not, or what no order allows.
pub fn disagreements(facts: &Facts<'_>) -> Vec<Finding> {
    disagreeing(facts.replayed(), facts.searched())
}

fn disagreeing(replayed: &[Finding], searched: &Searched) -> Vec<Finding> {
    let replay_finds_none = |_: &&Finding| replayed.is_empty();
    let unexplained = searched.unexplained.first().filter(replay_finds_none);
    let impossible = searched.impossible.first().filter(replay_finds_none);
    let overlooked = searched.overlooked.iter();
    let mut found = searched.too_wide.clone();
    found.extend(unexplained.map(|finding| {
        finding.after("the replay explains every answer, but the search does not: ")
    }));
    found.extend(
        overlooked.map(|finding| finding.after("the search explains what no order allows: ")),
    );
    found.extend(
        impossible.map(|finding| finding.after("the replay explains what no order allows: ")),
    );
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many disagreements there are if each finds so many.
    fn disagreements(
        replayed: usize,
        unexplained: usize,
        too_wide: usize,
        overlooked: usize,
        impossible: usize,
    ) -> usize {
        let findings = |count| vec![Finding::new("wrong"); count];
        let searched = Searched {
            unexplained: findings(unexplained),
            too_wide: findings(too_wide),
            overlooked: findings(overlooked),
            impossible: findings(impossible),
        };
        disagreeing(&findings(replayed), &searched).len()
    }

    #[test]
    fn judges_that_agree_are_fine() {
        assert_eq!(disagreements(0, 0, 0, 0, 0), 0);
        assert_eq!(disagreements(1, 1, 0, 0, 0), 0);
        // Revisions tell the replay more than values tell the search.
        assert_eq!(disagreements(1, 0, 0, 0, 0), 0);
    }

    #[test]
    fn a_disagreement_is_a_failure_of_its_own() {
        assert_eq!(disagreements(0, 1, 0, 0, 0), 1);
        assert_eq!(disagreements(0, 0, 1, 0, 0), 1);
    }

    #[test]
    fn what_no_order_allows_both_must_find() {
        assert_eq!(disagreements(1, 1, 0, 0, 1), 0);
        // The replay finds it, and the search does not; and the other way round.
        assert_eq!(disagreements(1, 0, 0, 1, 1), 1);
        assert_eq!(disagreements(0, 1, 0, 0, 1), 2);
    }
}
