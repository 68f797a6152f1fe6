//! Leases by what the store shows of them, whether or not anybody followed them:
//! - a grant answers with the id and the time that were asked for, or the least time;
//! - none ends before somebody asked for it or its time was over, by the fastest clock of the run:
//!   a new leader only extends it;
//! - nothing is attached to a lease whose revocation was answered, then or later.

use super::{Clocks, Facts, Finding};
use crate::history::{History, Operation, Reply, Request, text};
use bytes::Bytes;
use detcd_core::api::{ChangeKind, LeaseId, Millis};
use detcd_core::lease::ttl_min;
use std::collections::BTreeMap;
use std::time::Duration;

pub fn check(facts: &Facts<'_>) -> Vec<Finding> {
    let history = facts.history;
    let mut found = wrong_grants(history);
    found.extend(early(facts));
    found.extend(kept(history));
    found
}

/// What is known of the leases.
pub struct Leases<'a> {
    clocks: Clocks,
    known: BTreeMap<LeaseId, Known<'a>>,
}

#[derive(Default)]
struct Known<'a> {
    /// Grants that may have happened.
    grants: Vec<&'a Operation>,
    /// Revocations that may have happened, by their call.
    revoked: Vec<Duration>,
    /// When a keepalive was called for the last time of those that found the lease.
    renewed: Duration,
}

impl<'a> Leases<'a> {
    pub fn of(history: &'a History, clocks: Clocks) -> Leases<'a> {
        let mut known: BTreeMap<LeaseId, Known<'a>> = BTreeMap::new();
        for operation in history
            .operations
            .iter()
            .filter(|it| it.may_have_happened())
        {
            match &operation.request {
                Request::LeaseGrant { id, .. } => {
                    let id = granted(operation).map_or(*id, |(id, _)| id);
                    known.entry(id).or_default().grants.push(operation);
                }
                Request::LeaseRevoke { id } => {
                    known.entry(*id).or_default().revoked.push(operation.called);
                }
                _ => {}
            }
        }
        for life in &history.leases {
            let renewals = life.keep_alives.iter().filter(|it| it.ttl > 0);
            let renewed = &mut known.entry(life.id).or_default().renewed;
            *renewed = renewals.map(|it| it.called).fold(*renewed, Duration::max);
        }
        Leases { clocks, known }
    }

    /// Whether a lease was there all the time from `called` to `ended`.
    pub fn is_surely_there(&self, id: LeaseId, called: Duration, ended: Duration) -> bool {
        let grants = self.known.get(&id).map(|known| &known.grants[..]);
        let Some([grant]) = grants else {
            return false;
        };
        granted(grant).is_some() && grant.ended < called && self.cannot_have_ended(id, ended)
    }

    /// Whether a lease that was granted cannot have ended by then.
    fn cannot_have_ended(&self, id: LeaseId, by: Duration) -> bool {
        let Some(known) = self.known.get(&id) else {
            return false;
        };
        // Who grants an id again may be told of either lease.
        let [grant] = &known.grants[..] else {
            return false;
        };
        let Request::LeaseGrant { ttl, .. } = grant.request else {
            unreachable!("a grant is one");
        };
        let ttl = granted(grant).map_or(ttl, |(_, ttl)| ttl).max(0);
        let lasts = Duration::from_secs(ttl as u64).div_f64(self.clocks.fastest.max(1.0));
        let since = grant.called.max(known.renewed);
        let is_revoked = known.revoked.iter().any(|called| *called <= by);
        !is_revoked && !self.clocks.jumped && by < since + lasts
    }

    /// Whether somebody may have been granted a lease of this id by then.
    pub fn may_be_granted(&self, id: LeaseId, by: Duration) -> bool {
        let grants = self.known.get(&id).map(|known| &known.grants);
        grants.into_iter().flatten().any(|grant| grant.called <= by)
    }

    /// How many leases there may be by then whose ids the server chose, and nobody was told.
    pub fn unnamed(&self, by: Duration) -> usize {
        let grants = self.known.get(&LeaseId::NONE).map(|known| &known.grants);
        let called = grants.into_iter().flatten().filter(|it| it.called <= by);
        called.count()
    }

    /// Whether nobody asked for a lease of this id again.
    pub fn is_granted_once(&self, id: LeaseId) -> bool {
        self.known
            .get(&id)
            .is_some_and(|known| known.grants.len() == 1)
    }

    /// Whether another grant may have made a lease of the id that this one asks for.
    pub fn may_exist_for(&self, grant: &Operation) -> bool {
        let Request::LeaseGrant { id, .. } = grant.request else {
            return false;
        };
        let grants = self.known.get(&id).map(|known| &known.grants);
        let mut others = grants.into_iter().flatten();
        others.any(|other| other.called <= grant.ended)
    }
}

/// The id and the time that an answered grant gave.
fn granted(grant: &Operation) -> Option<(LeaseId, i64)> {
    match grant.done()?.1 {
        Reply::LeaseGrant { id, ttl } => Some((*id, *ttl)),
        _ => None,
    }
}

fn wrong_grants(history: &History) -> Vec<Finding> {
    let election_timeout = history.run_facts.election_timeout.as_millis() as u64;
    let least = ttl_min(Millis(election_timeout));
    let is_wrong = |grant: &&Operation| {
        let (Request::LeaseGrant { id, ttl }, Some(given)) = (&grant.request, granted(grant))
        else {
            return false;
        };
        let is_id = match *id {
            LeaseId::NONE => given.0.0 > 0,
            asked => given.0 == asked,
        };
        !is_id || given.1 != (*ttl).max(least)
    };
    let wrong = history.operations.iter().filter(is_wrong);
    wrong
        .map(|grant| Finding::new("another lease was granted than was asked for").operation(grant))
        .collect()
}

/// Ends that nobody had asked for, of leases that had time left.
fn early(facts: &Facts<'_>) -> Vec<Finding> {
    let leases = facts.leases();
    let early = facts.replay().ends.iter().filter_map(|end| {
        let known = end.known?;
        leases.cannot_have_ended(end.lease, known).then(|| {
            let id = end.lease.0;
            let what = format!(
                "lease {id:x} had ended at revision {}, known at {known:?}, with time left",
                end.revision
            );
            Finding::new(what).revision(end.revision).time(known)
        })
    });
    early.collect()
}

/// Keys on a lease after its revocation was answered.
fn kept(history: &History) -> Vec<Finding> {
    let mut revoked: BTreeMap<LeaseId, (i64, &Operation)> = BTreeMap::new();
    for operation in &history.operations {
        if let (Request::LeaseRevoke { id }, Some((at, _))) = (&operation.request, operation.done())
        {
            revoked.insert(*id, (at, operation));
        }
    }
    for operation in history
        .operations
        .iter()
        .filter(|it| it.may_have_happened())
    {
        // Granted anew, perhaps.
        if let Request::LeaseGrant { id, .. } = &operation.request
            && revoked
                .get(id)
                .is_some_and(|(_, revoke)| operation.ended > revoke.called)
        {
            revoked.remove(id);
        }
    }
    // The keys on revoked leases, as they are at each revision.
    let mut attached = BTreeMap::new();
    let mut found = Vec::new();
    let mut due: Vec<(i64, LeaseId, &Operation)> = revoked
        .iter()
        .map(|(id, (at, operation))| (*at, *id, *operation))
        .collect();
    due.sort_by_key(|(at, ..)| std::cmp::Reverse(*at));
    let mut judge = |at: i64, attached: &BTreeMap<&Bytes, LeaseId>| {
        while let Some((_, id, operation)) = due.pop_if(|(due, ..)| *due <= at) {
            let left = attached.iter().find(|(_, lease)| **lease == id);
            found.extend(left.map(|(key, _)| {
                let what = format!("key {} is still on the lease", text(key));
                Finding::new(what).operation(operation).revision(at)
            }));
        }
    };
    let mut late = Vec::new();
    judge(1, &attached);
    for (revision, changes) in &history.revisions {
        for change in changes {
            let (key, lease) = (&change.kv.key, change.kv.lease);
            attached.remove(key);
            let Some((at, operation)) = revoked.get(&lease) else {
                continue;
            };
            if change.kind == ChangeKind::Put {
                attached.insert(key, lease);
                if *revision > *at {
                    let what = format!("key {} was put on the lease later", text(key));
                    late.push(Finding::new(what).operation(operation).revision(*revision));
                }
            }
        }
        judge(*revision, &attached);
    }
    found.extend(late);
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::forge::{self, NOTHING, did};
    use crate::history::{KeepAlive, LeaseLife};

    const ID: LeaseId = LeaseId(7);
    const EFFECTS: [&str; 3] = ["grant 7 10", "put a 1 lease=7", "revoke 7"];

    /// The grant of the lease 7 for ten seconds, as it was answered.
    fn grant(from: f64, id: LeaseId, ttl: i64) -> Operation {
        let done = format!("grant {:x} {ttl}", id.0);
        Operation {
            request: forge::request(EFFECTS[0]),
            ..did(from, from + 1.0, NOTHING, done)
        }
    }

    /// A lease that is granted at second 0 for ten, gets a key, and what follows.
    fn history(ends: bool, later: Vec<Operation>) -> History {
        let put = did(2.0, 3.0, &EFFECTS[..1], EFFECTS[1]);
        let operations = [vec![grant(0.0, ID, 10), put], later].concat();
        forge::history(&EFFECTS[..2 + usize::from(ends)], operations)
    }

    fn is_wrong(history: &History, clocks: Clocks) -> bool {
        !check(&Facts::of(history, clocks)).is_empty()
    }

    #[test]
    fn a_lease_ends_when_its_time_is_over_or_it_is_revoked() {
        // The end is known when a later write of another key is answered.
        let ended = |known: f64, renewed: Option<f64>, revoked: Option<f64>| {
            let revoke = revoked.map(|from| did(from, from + 1.0, &EFFECTS[..2], "revoke 7"));
            let mut later = vec![did(known - 1.0, known, &EFFECTS, "get a")];
            later.extend(revoke);
            let mut history = history(true, later);
            let mut life = LeaseLife::new(1, ID, 10, "a".into(), Duration::ZERO);
            life.keep_alives.extend(renewed.map(|called| KeepAlive {
                called: Duration::from_secs_f64(called),
                ended: Duration::from_secs_f64(called + 1.0),
                ttl: 10,
            }));
            history.leases.push(life);
            history
        };
        assert!(is_wrong(&ended(9.0, None, None), Clocks::TRUE));
        assert!(!is_wrong(&ended(10.0, None, None), Clocks::TRUE));
        assert!(is_wrong(&ended(10.0, Some(3.0), None), Clocks::TRUE));
        assert!(!is_wrong(&ended(9.0, None, Some(4.0)), Clocks::TRUE));
        let fast = Clocks {
            fastest: 1.2,
            ..Clocks::TRUE
        };
        assert!(!is_wrong(&ended(9.0, None, None), fast));
        assert!(is_wrong(&ended(8.0, None, None), fast));
    }

    #[test]
    fn a_revoked_lease_has_no_keys() {
        let revoke = |after: &[&str]| did(4.0, 5.0, after, "revoke 7");
        assert!(!is_wrong(
            &history(true, vec![revoke(&EFFECTS[..2])]),
            Clocks::TRUE
        ));
        assert!(is_wrong(
            &history(false, vec![revoke(&EFFECTS[..1])]),
            Clocks::TRUE
        ));
        // One that got a key again.
        let mut again = history(true, vec![revoke(&EFFECTS[..2])]);
        let changes = again.revisions[&2].clone();
        again.revisions.insert(4, changes);
        assert!(is_wrong(&again, Clocks::TRUE));
        again.operations.push(grant(6.0, ID, 10));
        assert!(!is_wrong(&again, Clocks::TRUE));
    }

    #[test]
    fn a_grant_is_what_was_asked_for() {
        let answered = |id, ttl| {
            let mut history = forge::history(NOTHING, vec![grant(0.0, id, ttl)]);
            history.run_facts.election_timeout = Duration::from_secs(1);
            is_wrong(&history, Clocks::TRUE)
        };
        assert!(!answered(ID, 10));
        assert!(answered(LeaseId(8), 10));
        assert!(answered(ID, 9));
        assert!(answered(ID, 11));
    }
}
