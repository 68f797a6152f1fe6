//! A leader never overwrites or removes entries of its log; it only appends (Raft, figure 3:
//! Leader Append-Only), and only entries of its own term.
//!
//! A leader is one until it saves a vote of a higher term, whatever it says of its role later.

use super::Finding;
use super::logs::Logs;
use super::steps::{Invariant, Step, What};
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
    use super::*;
    use crate::check::transcript::judge;

    #[test]
    fn a_deposed_leader_may_be_cut_back() {
        // What it says of its role comes late.
        judge::<LeaderAppendOnly>(
            "m1 appended 0@1; m1 vote 2 1; m1 leads 2; m1 appended 1@2; m1 vote 3 1; m1 leads 2
             m1 truncated 0; m1 appended 1@3",
        );
    }

    #[test]
    fn a_leader_that_cuts_overwrites_or_appends_others_entries_is_seen() {
        judge::<LeaderAppendOnly>(
            "m1 appended 0@1; m1 vote 2 1; m1 leads 2; m1 appended 1@2; ! m1 truncated 0

             m1 appended 0@1; m1 vote 2 1; m1 leads 2; m1 appended 1@2; ! m1 appended 1@2

             m1 appended 0@1; m1 vote 2 1; m1 leads 2; m1 appended 1@2; ! m1 appended 2@1",
        );
    }
}
