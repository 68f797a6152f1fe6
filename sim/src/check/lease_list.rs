//! Lists of leases tell of the leases there are:
//! - every lease was asked for;
//! - once no fault is under way, a member that hears from a leader lists those that are surely there,
//!   and none whose revocation was answered. (Without a leader a member tells of those that it knows.)

use super::lease_ends::Leases;
use super::{Facts, Finding};
use crate::cluster_calls::Told;
use crate::history::{History, Operation, Request};
use detcd_core::api::LeaseId;
use std::collections::BTreeSet;
use std::time::Duration;

pub fn check(facts: &Facts<'_>) -> Vec<Finding> {
    let (history, leases) = (facts.history, facts.leases());
    let mut findings = Vec::new();
    for (call, ended, told) in history.cluster_answers() {
        let Told::Leases(listed) = told else {
            continue;
        };
        let listed: BTreeSet<LeaseId> = listed.iter().map(|id| LeaseId(*id)).collect();
        let mut what = stranger(leases, &listed, ended);
        let is_calm = history
            .run_facts
            .calm_since
            .is_some_and(|calm| call.called >= calm);
        if is_calm
            && history
                .run_facts
                .has_leader(call.member, call.called, ended)
        {
            let during = (call.called, ended);
            what = what.or_else(|| not_current(history, leases, &listed, during));
        }
        if let Some(what) = what {
            findings.push(Finding::new(what).member(call.member).time(ended));
        }
    }
    findings
}

/// A lease that nobody asked for. Of one whose id the server was to choose, no client knows the id if
/// its grant was not answered.
fn stranger(leases: &Leases<'_>, listed: &BTreeSet<LeaseId>, ended: Duration) -> Option<String> {
    let mut strangers = listed
        .iter()
        .filter(|id| !leases.may_be_granted(**id, ended));
    let unnamed = leases.unnamed(ended);
    let stranger = strangers.nth(unnamed)?;
    Some(format!(
        "{:x} is listed, for which nobody asked ({unnamed} grants of no id were not answered)",
        stranger.0
    ))
}

fn not_current(
    history: &History,
    leases: &Leases<'_>,
    listed: &BTreeSet<LeaseId>,
    (called, ended): (Duration, Duration),
) -> Option<String> {
    let answered = |it: &&Operation| it.done().is_some() && it.ended <= called;
    for operation in history.operations.iter().filter(answered) {
        match operation.request {
            Request::LeaseGrant { id, .. }
                if leases.is_surely_there(id, called, ended) && !listed.contains(&id) =>
            {
                return Some(format!("{:x} is there and not listed", id.0));
            }
            Request::LeaseRevoke { id } if leases.is_granted_once(id) && listed.contains(&id) => {
                let revoked = operation.ended;
                return Some(format!(
                    "{:x} was revoked at {revoked:?} and is listed",
                    id.0
                ));
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Clocks;
    use crate::cluster_calls::{Asked, ClusterCall};
    use crate::history::{Outcome, Reply};
    use std::slice::from_ref;

    fn done(called: u64, request: Request, reply: Reply) -> Operation {
        Operation {
            client: 1,
            member: 0,
            called: Duration::from_secs(called),
            ended: Duration::from_millis(called * 1000 + 500),
            request,
            outcome: Outcome::Done { revision: 1, reply },
        }
    }

    fn grant(at: u64, id: i64) -> Operation {
        let (id, ttl) = (LeaseId(id), 60);
        done(
            at,
            Request::LeaseGrant { id, ttl },
            Reply::LeaseGrant { id, ttl },
        )
    }

    /// Leases 1 and 2 are granted, and 2 is revoked at 20 s; at 30 s the member has no leader.
    fn is_right(at: u64, listed: &[i64]) -> bool {
        is_right_after(&[], at, listed)
    }

    fn is_right_after(more: &[Operation], at: u64, listed: &[i64]) -> bool {
        let revoke = Request::LeaseRevoke { id: LeaseId(2) };
        let mut history = History {
            operations: vec![
                grant(1, 1),
                grant(2, 2),
                done(20, revoke, Reply::LeaseRevoke),
            ],
            cluster_calls: vec![ClusterCall {
                member: 0,
                called: Duration::from_secs(at),
                told: Some((
                    Duration::from_millis(at * 1000 + 500),
                    Told::Leases(listed.to_vec()),
                )),
                asked: Asked::LeaseLeases,
            }],
            ..History::default()
        };
        history.operations.extend(more.iter().cloned());
        history.run_facts.calm_since = Some(Duration::from_secs(5));
        let known = [(4, true), (30, false), (31, true)];
        let known = known.map(|(at, is_known)| (Duration::from_secs(at), is_known));
        history.run_facts.leader_known.insert(0, known.into());
        let found = check(&Facts::of(&history, Clocks::TRUE));
        println!("{found:#?}");
        found.is_empty()
    }

    #[test]
    fn lists_are_current_while_there_is_a_leader() {
        assert!(is_right(10, &[1, 2]) && is_right(22, &[1]));
        // Somebody without a leader may lag behind.
        assert!(is_right(3, &[]) && is_right(30, &[2]));
        assert!(!is_right(32, &[2]));
        // Its time may be over.
        assert!(is_right(70, &[]));
    }

    #[test]
    fn a_grant_of_no_id_that_was_not_answered_is_some_lease() {
        let (id, ttl) = (LeaseId::NONE, 60);
        let lost = Operation {
            outcome: Outcome::Unknown("lost".to_owned()),
            ..done(4, Request::LeaseGrant { id, ttl }, Reply::LeaseRevoke)
        };
        assert!(is_right_after(from_ref(&lost), 10, &[1, 2, 99]));
        assert!(!is_right_after(from_ref(&lost), 10, &[1, 2, 98, 99]));
        assert!(!is_right_after(&[lost], 3, &[1, 2, 99]), "not yet");
        let told = done(
            4,
            Request::LeaseGrant { id, ttl },
            Reply::LeaseGrant {
                id: LeaseId(9),
                ttl,
            },
        );
        assert!(is_right_after(from_ref(&told), 10, &[1, 2, 9]));
        assert!(!is_right_after(&[told], 10, &[1, 2, 99]));
    }

    #[test]
    fn forged_lists_are_found() {
        assert!(!is_right(10, &[2]), "1 is there");
        assert!(!is_right(22, &[1, 2]), "2 was revoked");
        assert!(!is_right(3, &[3]), "3 was never asked for");
        assert!(!is_right(0, &[1]), "1 was not asked for yet");
    }
}
