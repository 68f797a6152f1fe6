//! Leases, as their clients see them:
//! - none ends before its time-to-live is over, counted from the call of the last keepalive that
//!   was answered with one, by the fastest clock of the run;
//! - none lasts for ever once nobody keeps it alive, and once no fault is under way none lasts
//!   longer than its time-to-live and an election timeout, by the slowest clock, and [`LATE_MAX`],
//!   counted from its last renewal or from the last election, which gives every lease its whole
//!   time anew;
//! - it has as much time as was granted, whenever it is renewed, and that is what was asked for or
//!   the least time; it has no more of it left, but for an election timeout once there was an
//!   election (as in etcd, a new leader adds it to the whole time), and no less than the fastest
//!   clock left of it;
//! - none that has ended or was revoked can be kept alive, and a lease that the cluster does not
//!   know any more has no keys;
//! - when it is asked for its keys, its key is among them once the put was answered, and no key that
//!   was never attached to it;
//! - in the end keys and leases agree on which is attached to which.

use super::{Facts, Finding, lease_ends};
use crate::history::{History, LeaseLife, Request, TimeToLive, text};
use detcd_core::api::{LeaseId, Millis};
use detcd_core::lease::ttl_min;
use detcd_core::limits::LEASE_REVOKES_PER_SECOND;
use std::time::Duration;

/// What a revoke may take beyond its time, in calm.
pub const LATE_MAX: Duration = Duration::from_secs(2);
/// A lease that is there so long beyond its time does not end, whatever the faults. Clients look for
/// a minute.
pub const ENDLESS_MIN: Duration = Duration::from_secs(40);

/// What the run's clocks did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Clocks {
    /// Seconds per true second of the fastest one.
    pub fastest: f64,
    /// And of the slowest one, once no fault is under way.
    pub slowest: f64,
    /// Some clock jumped forward: then nothing bounds an early end.
    pub jumped: bool,
}

impl Clocks {
    /// All of them are right.
    pub const TRUE: Clocks = Clocks {
        fastest: 1.0,
        slowest: 1.0,
        jumped: false,
    };
}

pub fn check(facts: &Facts<'_>) -> Vec<Finding> {
    let (history, clocks) = (facts.history, facts.clocks);
    let lives = history.leases.iter();
    let late_max = late_max(history);
    let problems = lives.filter_map(|life| {
        let what = problem(life, clocks)
            .or_else(|| endless(history, life, clocks))
            .or_else(|| late(history, life, clocks, late_max))
            .or_else(|| kept_after_revoke(history, life))
            .or_else(|| told_wrong(history, life, clocks))
            .or_else(|| keys_wrong(facts.leases(), life))?;
        Some((life, what))
    });
    let problems = problems.map(|(life, what)| {
        let (client, id) = (life.client, life.id.0);
        let finding = Finding::new(format!("lease {id:x} of client {client}: {what}"));
        let times = [Some(life.granted), life.gone].into_iter().flatten();
        times.fold(finding, Finding::time)
    });
    let mut findings: Vec<Finding> = problems.collect();
    findings.extend(detached(history));
    findings.extend(lease_ends::check(facts));
    findings
}

/// What a revoke may take in this run: the leader revokes so many a second and no more, and all of
/// them may end together.
fn late_max(history: &History) -> Duration {
    let operations = history.operations.iter();
    let grants = operations.filter(|it| matches!(it.request, Request::LeaseGrant { .. }));
    let grants = u32::try_from(grants.count()).expect("a run is short");
    LATE_MAX + Duration::from_secs((grants / LEASE_REVOKES_PER_SECOND).into())
}

/// When the client knows that the log had this request; `None` if it was not answered.
fn answered(history: &History, request: &Request) -> Option<Duration> {
    let mut operations = history.operations.iter();
    let done = operations.find(|it| it.request == *request && it.done().is_some())?;
    Some(done.ended)
}

/// A key that never goes, faults or none. Each new leader gives every lease its whole time again,
/// so that it may stay for as long as leaders come and go.
fn endless(history: &History, life: &LeaseLife, clocks: Clocks) -> Option<String> {
    if life.gone.is_some() {
        return None;
    }
    let seen = *life.seen.last()?;
    let since = last_begun(history, life, seen).max(life.granted);
    (seen > since + longest(history, life, clocks) + ENDLESS_MIN)
        .then(|| format!("nobody keeps it alive since {since:?}, and it does not end"))
}

/// When its time may have begun anew for the last time before it was seen: renewed, or given by a
/// leader.
fn last_begun(history: &History, life: &LeaseLife, seen: Duration) -> Duration {
    let renewals = life.keep_alives.iter().filter(|it| it.ttl > 0);
    let elections = history.run_facts.elections.iter().filter(|at| **at <= seen);
    let renewed = renewals.map(|it| it.ended).chain(life.gave_up_renewing);
    let begun = renewed.chain(elections.copied());
    begun.max().unwrap_or_default()
}

/// What a lease's time may be: a new leader adds an election timeout.
fn longest(history: &History, life: &LeaseLife, clocks: Clocks) -> Duration {
    let election_timeout = history.run_facts.election_timeout;
    let least = ttl_min(Millis(election_timeout.as_millis() as u64));
    let longest = Duration::from_secs(life.ttl.max(least) as u64) + election_timeout;
    longest.div_f64(clocks.slowest.min(1.0))
}

/// A key that was seen long after its lease was over.
fn late(history: &History, life: &LeaseLife, clocks: Clocks, late_max: Duration) -> Option<String> {
    let run_facts = &history.run_facts;
    let calm_since = run_facts.calm_since.filter(|_| !life.revoked)?;
    let grant = Request::LeaseGrant {
        id: life.id,
        ttl: life.ttl,
    };
    let granted = answered(history, &grant)?;
    let seen = *life.seen.last()?;
    let begun = last_begun(history, life, seen);
    let since = granted.max(calm_since).max(begun);
    let end = since + longest(history, life, clocks) + late_max;
    (seen > end).then(|| {
        let ttl = life.ttl;
        format!("its {ttl} s began at {since:?} at the latest, and its key was there at {seen:?}")
    })
}

/// A keepalive that was answered with time although the lease had been revoked.
fn kept_after_revoke(history: &History, life: &LeaseLife) -> Option<String> {
    let revoked = answered(history, &Request::LeaseRevoke { id: life.id })?;
    let mut renewals = life.keep_alives.iter().filter(|it| it.ttl > 0);
    let late = renewals.find(|it| it.called > revoked)?;
    let called = late.called;
    Some(format!(
        "it was revoked at {revoked:?} and kept alive at {called:?}"
    ))
}

/// A time that was never granted, one that is longer than the whole, or a shorter one than the
/// fastest clock can have left of it.
fn told_wrong(history: &History, life: &LeaseLife, clocks: Clocks) -> Option<String> {
    let run_facts = &history.run_facts;
    let least = ttl_min(Millis(run_facts.election_timeout.as_millis() as u64));
    let whole = life.ttl.max(least);
    let mut renewals = life.keep_alives.iter();
    if let Some(wrong) = renewals.find(|it| it.ttl > 0 && it.ttl != whole) {
        let (ttl, at) = (wrong.ttl, wrong.ended);
        return Some(format!(
            "it was granted for {whole} s and renewed at {at:?} for {ttl} s"
        ));
    }
    if let Some(missed) = missed(life, whole, clocks) {
        return Some(missed);
    }
    let extra = run_facts.election_timeout.as_secs_f64();
    let longest = |reply: &&TimeToLive| {
        let mut elections = run_facts.elections.iter();
        match elections.any(|at| life.granted <= *at && *at <= reply.ended) {
            true => (reply.granted as f64 + extra).floor() as i64,
            false => reply.granted,
        }
    };
    let mut reply = life.ttl_replies.iter().filter(|reply| reply.ttl >= 0);
    let wrong = reply.find(|reply| reply.ttl > longest(reply) || reply.granted != whole)?;
    let (ttl, granted, asked) = (wrong.ttl, wrong.granted, life.ttl);
    Some(format!(
        "{asked} s were asked for, and it was told at {:?} to have {ttl} s of {granted} s",
        wrong.ended
    ))
}

/// A key too many or too few. Further keys of a lease are named after its first.
fn keys_wrong(leases: &lease_ends::Leases<'_>, life: &LeaseLife) -> Option<String> {
    for told in life.ttl_replies.iter().filter(|told| told.ttl >= 0) {
        let Some(keys) = &told.keys else { continue };
        let (key, at) = (text(&life.key), told.ended);
        if let Some(other) = keys.iter().find(|it| !it.starts_with(&life.key)) {
            let other = text(other);
            return Some(format!(
                "its key is {key}, and it was told at {at:?} to have {other}"
            ));
        }
        let is_attached = life
            .attached
            .is_some_and(|attached| attached <= told.called);
        let is_there = leases.is_surely_there(life.id, told.called, told.ended);
        if is_attached && is_there && !keys.contains(&life.key) {
            return Some(format!("it was told at {at:?} not to have its key {key}"));
        }
    }
    None
}

/// A lease that was said to be unknown, or to have less time left than there can have been.
fn missed(life: &LeaseLife, whole: i64, clocks: Clocks) -> Option<String> {
    if life.revoked || clocks.jumped {
        return None;
    }
    let left = |at: Duration| {
        let renewals = life.keep_alives.iter();
        let before = renewals.filter(|it| it.ttl > 0 && it.ended <= at);
        let since = before.map(|it| it.called).fold(life.granted, Duration::max);
        let passed = (at - since).as_secs_f64() * clocks.fastest.max(1.0);
        (whole as f64 - passed).floor() as i64
    };
    let unknown = life.keep_alives.iter().filter(|it| it.ttl <= 0);
    let reply = unknown.map(|it| (it.ended, -1));
    let mut reply = reply.chain(life.ttl_replies.iter().map(|it| (it.ended, it.ttl)));
    let (at, ttl) = reply.find(|(at, ttl)| *ttl < left(*at))?;
    let left = left(at);
    Some(format!(
        "it had {left} s left at {at:?}, and was told to have {ttl}"
    ))
}

/// Keys and leases that do not agree in the end.
fn detached(history: &History) -> Vec<Finding> {
    let run_facts = &history.run_facts;
    let Some(keys) = &run_facts.keys else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    let mut wrong = |what: String| findings.push(Finding::new(what));
    for reply in &run_facts.leases {
        let id = reply.id.0;
        let attached = keys.values().filter(|kv| kv.lease == reply.id);
        for kv in attached {
            if !reply.exists || !reply.keys.contains(&kv.key) {
                let key = text(&kv.key);
                wrong(format!(
                    "key {key} is attached to lease {id:x}, which does not know it"
                ));
            }
        }
        for key in &reply.keys {
            if keys.get(key).is_none_or(|kv| kv.lease != reply.id) {
                let key = text(key);
                wrong(format!(
                    "lease {id:x} says it has the key {key}, which does not know it"
                ));
            }
        }
    }
    let asked = |lease: LeaseId| run_facts.leases.iter().any(|reply| reply.id == lease);
    for kv in keys.values() {
        if kv.lease != LeaseId::NONE && !run_facts.leases.is_empty() && !asked(kv.lease) {
            let (key, id) = (text(&kv.key), kv.lease.0);
            wrong(format!(
                "key {key} is attached to lease {id:x}, of which nobody told"
            ));
        }
    }
    findings
}

fn problem(life: &LeaseLife, clocks: Clocks) -> Option<String> {
    let renewed = life
        .keep_alives
        .iter()
        .filter(|keep_alive| keep_alive.ttl > 0);
    if let Some(gone) = life.gone {
        if let Some(late) = renewed.clone().find(|keep_alive| keep_alive.called > gone) {
            return Some(format!(
                "it was gone at {gone:?} and kept alive at {:?}",
                late.called
            ));
        }
        let since = renewed
            .map(|keep_alive| keep_alive.called)
            .max()
            .unwrap_or(life.granted);
        let ttl = Duration::from_secs(life.ttl as u64).div_f64(clocks.fastest.max(1.0));
        if !life.revoked && !clocks.jumped && gone < since + ttl {
            return Some(format!(
                "it had {} s at {since:?} and was gone at {gone:?}",
                life.ttl
            ));
        }
    }
    let unknown = life.keep_alives.iter().filter(|answer| answer.ttl <= 0);
    let unknown = unknown.min_by_key(|answer| answer.ended)?;
    let seen = life.seen.iter().find(|called| **called > unknown.ended)?;
    let at = unknown.ended;
    Some(format!(
        "it was unknown at {at:?}, and its key was there at {seen:?}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::forge::{NOTHING, did, state};
    use crate::history::{KeepAlive, Operation, TimeToLive};
    use crate::run_facts::LeaseKeys;
    use bytes::Bytes;

    const TRUE: Clocks = Clocks::TRUE;

    fn at(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    fn keep_alive(called: f64, ttl: i64) -> KeepAlive {
        let (called, ended) = (at(called), at(called + 0.1));
        KeepAlive { called, ended, ttl }
    }

    fn ttl_reply(ttl: i64, granted: i64) -> TimeToLive {
        TimeToLive {
            called: at(2.9),
            ended: at(3.0),
            ttl,
            granted,
            keys: None,
        }
    }

    /// Granted for 3 s at 0, kept alive at 2, seen at 4.9 and gone at 5.2.
    fn plain() -> LeaseLife {
        LeaseLife {
            client: 1,
            id: LeaseId(7),
            ttl: 3,
            key: Bytes::from_static(b"l/1"),
            granted: at(0.0),
            keep_alives: vec![keep_alive(2.0, 3), keep_alive(6.0, 0)],
            gave_up_renewing: None,
            ttl_replies: vec![ttl_reply(2, 3)],
            revoked: false,
            seen: vec![at(4.9)],
            gone: Some(at(5.2)),
            attached: Some(at(0.5)),
        }
    }

    /// Whether something is found in a history of this life, once it is forged.
    fn is_wrong_in(life: LeaseLife, clocks: Clocks, forge: impl FnOnce(&mut History)) -> bool {
        let mut history = History {
            leases: vec![life],
            ..History::default()
        };
        forge(&mut history);
        !check(&Facts::of(&history, clocks)).is_empty()
    }

    fn is_wrong(forge: impl FnOnce(&mut LeaseLife), clocks: Clocks) -> bool {
        let mut life = plain();
        forge(&mut life);
        is_wrong_in(life, clocks, |_| {})
    }

    /// The grant of the plain life's lease.
    fn grant() -> Operation {
        did(0.0, 0.1, NOTHING, "grant 7 3")
    }

    /// Whether a key that is seen this late is found, with the last fault and the last election
    /// at these times.
    fn is_late(seen: f64, calm_since: f64, elected: f64) -> bool {
        is_late_by(TRUE, seen, calm_since, elected)
    }

    fn is_late_by(clocks: Clocks, seen: f64, calm_since: f64, elected: f64) -> bool {
        is_late_life(plain(), clocks, seen, calm_since, elected)
    }

    fn is_late_life(
        mut life: LeaseLife,
        clocks: Clocks,
        seen: f64,
        calm_since: f64,
        elected: f64,
    ) -> bool {
        life.seen.push(at(seen));
        life.gone = Some(at(seen + 0.1));
        life.keep_alives.pop();
        is_wrong_in(life, clocks, |history| {
            history.operations.push(grant());
            history.run_facts.calm_since = Some(at(calm_since));
            history.run_facts.elections = vec![at(elected)];
            history.run_facts.election_timeout = at(1.0);
        })
    }

    #[test]
    fn a_key_may_stay_for_its_time_an_election_and_a_little() {
        assert!(!is_late(8.0, 0.0, 0.0));
        assert!(is_late(8.2, 0.0, 0.0));
        assert!(!is_late(8.2, 3.0, 0.0));
        assert!(!is_late(8.2, 0.0, 3.0));
        assert!(is_late(9.2, 3.0, 3.0));
        let slow = Clocks {
            slowest: 0.9,
            ..TRUE
        };
        assert!(!is_late_by(slow, 8.2, 0.0, 0.0));
        assert!(is_late_by(slow, 8.6, 0.0, 0.0));
    }

    #[test]
    fn a_keepalive_without_an_answer_may_have_renewed_it() {
        let life = || LeaseLife {
            gave_up_renewing: Some(at(3.0)),
            ..plain()
        };
        assert!(!is_late_life(life(), TRUE, 9.0, 0.0, 0.0));
        assert!(is_late_life(life(), TRUE, 9.2, 0.0, 0.0));
    }

    #[test]
    fn a_revoked_lease_cannot_be_kept_alive() {
        let kept = |revoked: f64| {
            let mut life = plain();
            life.revoked = true;
            let revoke = did(revoked, revoked + 0.1, &["grant 7 3"], "revoke 7");
            is_wrong_in(life, TRUE, |history| history.operations.push(revoke))
        };
        assert!(!kept(4.0));
        assert!(kept(1.0));
    }

    #[test]
    fn keys_and_leases_agree_on_what_is_attached() {
        let is_wrong = |exists, keys: &[&'static str], stored: &[&str]| {
            let mut history = History::default();
            let stored = [&["grant 7 3"][..], stored].concat();
            history.run_facts.keys = Some(state(&stored).keys.into_iter().collect());
            history.run_facts.leases.push(LeaseKeys {
                id: LeaseId(7),
                exists,
                keys: keys.iter().map(|key| (*key).into()).collect(),
            });
            !check(&Facts::of(&history, TRUE)).is_empty()
        };
        let attached: &[&str] = &["put l/1 x lease=7"];
        assert!(!is_wrong(true, &["l/1"], attached));
        assert!(!is_wrong(false, &[], &[]));
        assert!(is_wrong(false, &[], attached));
        assert!(is_wrong(true, &[], attached));
        assert!(is_wrong(true, &["l/1"], &[]));
    }

    #[test]
    fn a_lease_tells_its_keys() {
        let is_wrong = |attached: f64, keys: &[&'static str]| {
            let mut life = plain();
            life.attached = Some(at(attached));
            let keys = keys.iter().map(|key| Bytes::from_static(key.as_bytes()));
            life.ttl_replies = vec![TimeToLive {
                keys: Some(keys.collect()),
                ..ttl_reply(2, 3)
            }];
            is_wrong_in(life, TRUE, |history| history.operations.push(grant()))
        };
        assert!(!is_wrong(0.5, &["l/1"]) && !is_wrong(0.5, &["l/1", "l/1/0"]));
        // The put was under way.
        assert!(!is_wrong(2.95, &[]));
        assert!(is_wrong(0.5, &[]) && is_wrong(0.5, &["l/1", "l/2"]));
    }

    #[test]
    fn a_plain_life_is_fine() {
        assert!(!is_wrong(|_| {}, TRUE));
    }

    #[test]
    fn forged_lives_are_found() {
        let early = |life: &mut LeaseLife| life.gone = Some(at(4.95));
        assert!(is_wrong(early, TRUE));
        // Unless a clock ran fast or jumped, or the client wanted it.
        let (mut fast, mut jumped) = (TRUE, TRUE);
        (fast.fastest, jumped.jumped) = (1.1, true);
        assert!(!is_wrong(early, fast) && !is_wrong(early, jumped));
        let revoked = |life: &mut LeaseLife| {
            early(life);
            life.revoked = true;
        };
        assert!(!is_wrong(revoked, TRUE));
        // At 3, one second after it was kept alive, two of three seconds are left.
        for (ttl, granted) in [(4, 3), (1, 2), (1, 4), (1, 3), (-1, 0)] {
            let told = |life: &mut LeaseLife| life.ttl_replies.push(ttl_reply(ttl, granted));
            assert!(is_wrong(told, TRUE), "{ttl} of {granted}");
        }
        let renewed_for = |ttl| {
            move |life: &mut LeaseLife| {
                life.keep_alives.insert(0, keep_alive(1.0, ttl));
            }
        };
        assert!(!is_wrong(renewed_for(3), TRUE));
        assert!(is_wrong(renewed_for(2), TRUE));
        assert!(is_wrong(renewed_for(4), TRUE));
        for late in [keep_alive(7.0, 3), keep_alive(4.0, 0)] {
            assert!(
                is_wrong(|life| life.keep_alives.push(late), TRUE),
                "{late:?}"
            );
        }
    }

    #[test]
    fn a_lease_that_never_ends_is_found_unless_leaders_come_and_go() {
        let is_endless = |seen: f64, elected: f64| {
            let mut life = plain();
            life.keep_alives.pop();
            life.gone = None;
            life.seen.push(at(seen));
            is_wrong_in(life, TRUE, |history| {
                history.run_facts.election_timeout = at(1.0);
                history.run_facts.elections = vec![at(elected)];
            })
        };
        // Its time began for the last time when it was kept alive, at 2.1.
        assert!(!is_endless(46.0, 0.0));
        assert!(is_endless(46.2, 0.0));
        assert!(!is_endless(60.0, 30.0));
        assert!(is_endless(60.0, 10.0));
        // An election after it was seen last is no excuse.
        assert!(is_endless(60.0, 61.0));
    }

    #[test]
    fn a_new_leader_adds_an_election_timeout_to_the_whole() {
        let is_wrong = |ttl: i64, elected: f64| {
            let mut life = plain();
            life.ttl_replies.push(ttl_reply(ttl, 3));
            is_wrong_in(life, TRUE, |history| {
                history.run_facts.election_timeout = at(1.3);
                history.run_facts.elections = vec![at(elected)];
            })
        };
        assert!(!is_wrong(4, 2.0));
        assert!(is_wrong(5, 2.0));
        assert!(is_wrong(4, 3.5));
    }
}
