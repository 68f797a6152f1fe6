//! A leader never overwrites or removes entries of its log; it only appends (Raft, figure 3:
//! Leader Append-Only), and only entries of its own term.
//!
//! A leader is one until it saves a vote of a higher term, whatever it says of its role later.

use super::logs::Logs;
use super::steps::{Invariant, Step, What};
use super::{Check, Finding};
use std::collections::BTreeMap;

#[derive(Default)]
pub struct LeaderAppendOnly {
    members: BTreeMap<usize, LeaderTerm>,
}

#[derive(Clone, Copy, Default)]
struct LeaderTerm {
    /// The highest term that it saved a vote of.
    voted: u64,
    leads: Option<u64>,
}

impl Invariant for LeaderAppendOnly {
    fn check(&self) -> Check {
        Check::LeaderAppendOnly
    }

    fn step(&mut self, step: &Step, logs: &Logs) -> Result<(), Finding> {
        let leader_term = self.members.entry(step.member).or_default();
        match step.what {
            What::Started => leader_term.leads = None,
            What::Vote { term, .. } => {
                leader_term.voted = leader_term.voted.max(term);
                leader_term.leads = leader_term.leads.filter(|leads| *leads >= term);
            }
            What::Leads { term, .. } if term >= leader_term.voted => leader_term.leads = Some(term),
            _ => {}
        }
        let Some(leads) = leader_term.leads else {
            return Ok(());
        };
        let member = step.member + 1;
        let broken = |what: String, index: u64| Err(Finding::new(what).index(index).term(leads));
        let end = logs.of(step.member).map_or(0, |log| log.end());
        match step.what {
            What::Truncated { last } if last + 1 < end => {
                let what = format!(
                    "member {member} leads term {leads} and cuts its log off after entry {last}"
                );
                broken(what, last)
            }
            What::Appended { index, .. } if index < end => {
                let what =
                    format!("member {member} leads term {leads} and overwrites entry {index}");
                broken(what, index)
            }
            What::Appended { index, term, .. } if term != leads => {
                let what = format!(
                    "member {member} leads term {leads} and appends entry {index} of term {term}"
                );
                broken(what, index)
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::steps::verdicts;
    use super::*;

    fn appended(index: u64, term: u64) -> (usize, What) {
        let hash = 0;
        (0, What::Appended { index, term, hash })
    }

    fn vote(term: u64) -> (usize, What) {
        let (node, hash) = (0, 0);
        (0, What::Vote { term, node, hash })
    }

    fn leads(term: u64) -> (usize, What) {
        let (node, last_log_index) = (0, 0);
        let what = What::Leads {
            term,
            node,
            last_log_index,
        };
        (0, what)
    }

    fn seen(steps: &[(usize, What)]) -> bool {
        let verdicts = verdicts(&mut LeaderAppendOnly::default(), steps);
        verdicts.contains(&false)
    }

    #[test]
    fn a_deposed_leader_may_be_cut_back() {
        let cut = (0, What::Truncated { last: 0 });
        let steps = [
            appended(0, 1),
            vote(2),
            leads(2),
            appended(1, 2),
            vote(3),
            // What it says of its role comes late.
            leads(2),
            cut,
            appended(1, 3),
        ];
        assert!(!seen(&steps));
    }

    #[test]
    fn a_leader_that_cuts_overwrites_or_appends_others_entries_is_seen() {
        let base = [appended(0, 1), vote(2), leads(2), appended(1, 2)];
        for forged in [
            (0, What::Truncated { last: 0 }),
            appended(1, 2),
            appended(2, 1),
        ] {
            let steps = [&base[..], &[forged]].concat();
            assert!(seen(&steps), "{steps:?}");
        }
    }
}
