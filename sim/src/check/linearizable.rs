//! Linearizability, judged twice: by replay in revision order and by a search that knows nothing
//! of revisions. Both must find the history in order, and they must agree:
//! - What the search cannot explain the replay must not explain either: it sees all that the
//!   search sees, and more.
//! - What the replay finds the search need not find: revisions tell of what values do not (two
//!   values that are alike, who wrote first of two that overlap), and a write that nobody read is
//!   nothing to the search. But an answer that values and times alone forbid, each by itself, both
//!   must find.

use super::wing_gong::Searched;
use super::{Check, Facts, Finding, Violation, replay, wing_gong};

/// How many problems of one kind are reported; the rest follows from them.
const REPORTED_MAX: usize = 5;

pub fn check(facts: &Facts<'_>) -> Vec<Violation> {
    judge(replay::check(facts), wing_gong::check(facts.history))
}

/// What both judges together come to.
fn judge(replayed: Vec<Finding>, searched: Searched) -> Vec<Violation> {
    let mut violations = disagreements(&replayed, &searched);
    let replayed = replayed.into_iter().take(REPORTED_MAX);
    let searched = searched.unexplained.into_iter().take(REPORTED_MAX);
    violations.extend(replayed.map(|finding| by("replay", finding)));
    violations.extend(searched.map(|finding| by("search", finding)));
    violations
}

fn by(judge: &str, finding: Finding) -> Violation {
    let what = format!("by {judge}: {}", finding.what);
    Finding { what, ..finding }.of(Check::Linearizable)
}

fn disagreements(replayed: &[Finding], searched: &Searched) -> Vec<Violation> {
    let mut found: Vec<Finding> = searched.too_wide.clone();
    if let Some(unexplained) = searched.unexplained.first()
        && replayed.is_empty()
    {
        let what = format!(
            "the replay explains every answer, but the search does not: {}",
            unexplained.what
        );
        let about = unexplained.about.clone();
        found.push(Finding { what, about });
    }
    for overlooked in &searched.overlooked {
        let what = format!(
            "the search explains what no order allows: {}",
            overlooked.what
        );
        let about = overlooked.about.clone();
        found.push(Finding { what, about });
    }
    if let Some(impossible) = searched.impossible.first()
        && replayed.is_empty()
    {
        let what = format!(
            "the replay explains what no order allows: {}",
            impossible.what
        );
        let about = impossible.about.clone();
        found.push(Finding { what, about });
    }
    let violations = found.into_iter().take(REPORTED_MAX);
    violations
        .map(|finding| finding.of(Check::CheckersAgree))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(replayed: usize, unexplained: usize, too_wide: usize) -> Vec<Check> {
        let findings = |count| vec![Finding::new("wrong"); count];
        let searched = Searched {
            unexplained: findings(unexplained),
            too_wide: findings(too_wide),
            ..Searched::default()
        };
        let violations = judge(findings(replayed), searched);
        violations.into_iter().map(|found| found.check).collect()
    }

    #[test]
    fn judges_that_agree_are_fine() {
        assert_eq!(judged(0, 0, 0), []);
        assert_eq!(judged(1, 1, 0), [Check::Linearizable; 2]);
        // Revisions tell the replay more than values tell the search.
        assert_eq!(judged(1, 0, 0), [Check::Linearizable]);
    }

    #[test]
    fn a_disagreement_is_a_failure_of_its_own() {
        assert_eq!(judged(0, 1, 0), [Check::CheckersAgree, Check::Linearizable]);
        assert_eq!(judged(0, 0, 1), [Check::CheckersAgree]);
    }

    #[test]
    fn what_no_order_allows_both_must_find() {
        let judged = |replayed: usize, unexplained: usize, overlooked: usize| {
            let findings = |count| vec![Finding::new("wrong"); count];
            let searched = Searched {
                unexplained: findings(unexplained),
                overlooked: findings(overlooked),
                impossible: findings(1),
                ..Searched::default()
            };
            let violations = judge(findings(replayed), searched).into_iter();
            violations
                .filter(|found| found.check == Check::CheckersAgree)
                .count()
        };
        assert_eq!(judged(1, 1, 0), 0);
        // The replay finds it, and the search does not; and the other way round.
        assert_eq!(judged(1, 0, 1), 1);
        assert_eq!(judged(0, 1, 0), 2);
    }
}
