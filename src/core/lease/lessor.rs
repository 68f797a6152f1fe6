//! When leases end.
//!
//! Every member knows all leases. Deadlines exist only on a leader that has applied an entry of
//! its own term: from then on it knows every grant and revoke of its predecessors, and gives each
//! lease its whole time-to-live anew plus an election timeout, because it cannot know what its
//! predecessor promised.
//!
//! Leases end in the time of the last contact with the quorum, not in the time of the clock: a
//! lease is revoked once a quorum has acknowledged this leader *after* the deadline passed. So a
//! leader that is cut off, stalled or late ends nothing (etcd #15247): whoever may have been
//! elected meanwhile has extended the lease, and that election denies this leader the contact.
//! Heartbeats are contact enough, as a rule. If none comes (a lone member has nobody to send any
//! to) the lessor asks for one.
//!
//! A lease whose revoke is proposed is never renewed (etcd PR 20616): the revoke may be in the log
//! already, and the client would go on believing in a lease that is gone.

use crate::api::{LeaseId, Millis};
use crate::limits::{LEASE_REVOKE_WINDOW, LEASE_REVOKES_PENDING_MAX, LEASE_REVOKES_PER_SECOND};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

/// Revokes by expiry in one window.
const REVOKES_PER_WINDOW: usize =
    (LEASE_REVOKES_PER_SECOND as u64 * LEASE_REVOKE_WINDOW.0 / 1000) as usize;

/// The leases of one member.
pub struct Lessor {
    election_timeout: Millis,
    leases: BTreeMap<LeaseId, Lease>,
    state: LessorState,
    /// Deadlines of leases that live, if this member is primary.
    due: BTreeSet<(Millis, LeaseId)>,
    /// Leases whose revoke is proposed, by when it is proposed again if they are still there.
    revoking: BTreeSet<(Millis, LeaseId)>,
    /// A quorum is known to have followed this leader at this time.
    acked: Millis,
    window: Window,
    renewals: u64,
}

struct Lease {
    /// As granted, in seconds.
    ttl: i64,
    timer: Timer,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Timer {
    /// This member is not primary.
    None,
    Until(Millis),
    /// Expired; the revoke is proposed again at this time.
    Revoking(Millis),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum LessorState {
    Follower,
    /// Leads `term`, and has not applied an entry of it yet.
    Elected {
        term: u64,
    },
    /// Leads, and knows everything that its predecessors committed.
    Primary,
}

/// How many revokes were proposed since when.
#[derive(Clone, Copy)]
struct Window {
    since: Millis,
    revokes: usize,
}

/// What a keepalive finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// The lease has its whole time-to-live again: so many seconds.
    Renewed { ttl: i64 },
    /// The lease has expired and its revoke is proposed: what becomes of it shows in the log.
    Expiring,
    /// There is no such lease.
    Unknown,
    /// This member does not keep time.
    NotPrimary,
}

impl Lessor {
    pub fn new(election_timeout: Millis, leases: &[(LeaseId, i64)]) -> Lessor {
        let timer = Timer::None;
        let leases = leases.iter().map(|&(id, ttl)| (id, Lease { ttl, timer }));
        Lessor {
            election_timeout,
            leases: leases.collect(),
            state: LessorState::Follower,
            due: BTreeSet::new(),
            revoking: BTreeSet::new(),
            acked: Millis(0),
            window: Window {
                since: Millis(0),
                revokes: 0,
            },
            renewals: 0,
        }
    }

    /// A snapshot replaced the state.
    pub fn restored(&mut self, now: Millis, leases: &[(LeaseId, i64)]) {
        let state = self.state;
        self.demote();
        let timer = Timer::None;
        let leases = leases.iter().map(|&(id, ttl)| (id, Lease { ttl, timer }));
        self.leases = leases.collect();
        match state {
            LessorState::Primary => self.promote(now),
            state => self.state = state,
        }
    }

    /// The log granted a lease.
    pub fn granted(&mut self, now: Millis, id: LeaseId, ttl: i64) {
        self.revoked(id);
        let timer = Timer::None;
        self.leases.insert(id, Lease { ttl, timer });
        if self.state == LessorState::Primary {
            self.set_timer(id, Timer::Until(now + seconds(ttl)));
        }
    }

    /// The log revoked a lease.
    pub fn revoked(&mut self, id: LeaseId) {
        if self.leases.contains_key(&id) {
            self.set_timer(id, Timer::None);
            self.leases.remove(&id);
        }
    }

    /// This member leads `term` from now on. Its leases get deadlines once it has applied an entry
    /// of that term.
    pub fn elected(&mut self, term: u64) {
        self.demote();
        self.state = LessorState::Elected { term };
    }

    /// This member does not lead (any more): it keeps no time.
    pub fn demote(&mut self) {
        self.state = LessorState::Follower;
        self.due.clear();
        self.revoking.clear();
        for lease in self.leases.values_mut() {
            lease.timer = Timer::None;
        }
    }

    /// An entry of `term` was applied, and all before it.
    pub fn applied_term(&mut self, now: Millis, term: u64) {
        if self.state == (LessorState::Elected { term }) {
            self.promote(now);
        }
    }

    /// A quorum followed this leader at a time not earlier than `since`.
    pub fn quorum_acked(&mut self, since: Millis) {
        self.acked = self.acked.max(since);
    }

    /// Gives a lease its whole time-to-live again. Only for a leader whose quorum has followed it
    /// since the keepalive arrived.
    pub fn renew(&mut self, now: Millis, id: LeaseId) -> Renewal {
        if self.state != LessorState::Primary {
            return Renewal::NotPrimary;
        }
        let Some(lease) = self.leases.get(&id) else {
            return Renewal::Unknown;
        };
        if matches!(lease.timer, Timer::Revoking(_)) && !crate::mutant!(KeepAliveRevoked) {
            return Renewal::Expiring;
        }
        let ttl = lease.ttl;
        self.renewals += 1;
        self.set_timer(id, Timer::Until(now + seconds(ttl)));
        Renewal::Renewed { ttl }
    }

    /// The seconds that a lease has left (whole ones, as etcd tells them) and had when granted.
    pub fn remaining(&self, now: Millis, id: LeaseId) -> Option<(i64, i64)> {
        let lease = self.leases.get(&id)?;
        let left = match lease.timer {
            Timer::Until(deadline) => deadline - now,
            Timer::Revoking(_) | Timer::None => Millis(0),
        };
        let left = i64::try_from(left.0 / 1000).expect("a time-to-live fits");
        Some((left, lease.ttl))
    }

    /// Takes the leases whose revoke is to be proposed now: those that expired before the last
    /// contact with the quorum, within the limits, and those whose earlier revoke came to nothing.
    pub fn take_expired(&mut self, now: Millis) -> Vec<LeaseId> {
        if now >= self.window.since + LEASE_REVOKE_WINDOW {
            self.window = Window {
                since: now,
                revokes: 0,
            };
        }
        if crate::mutant!(StalledLeaderRevokes) {
            self.acked = now;
        }
        let retry = Timer::Revoking(now + self.election_timeout + self.election_timeout);
        let mut expired = Vec::new();
        while self.window.revokes < REVOKES_PER_WINDOW {
            let Some(id) = self.next_expired() else { break };
            self.set_timer(id, retry);
            self.window.revokes += 1;
            expired.push(id);
        }
        expired
    }

    /// The engine took no revoke of these leases: they are proposed again after the next contact with
    /// the quorum, and not only when a lost proposal would be.
    pub fn refused(&mut self, now: Millis, leases: &[LeaseId]) {
        let retry = Timer::Revoking(now + LEASE_REVOKE_WINDOW);
        for id in leases {
            let timer = self.leases.get(id).map(|lease| lease.timer);
            if matches!(timer, Some(Timer::Revoking(_))) {
                self.set_timer(*id, retry);
            }
        }
    }

    /// Retries come first: they count as pending already, so the limit cannot hold them up.
    fn next_expired(&self) -> Option<LeaseId> {
        let passed = |(deadline, _): &&(Millis, LeaseId)| *deadline <= self.acked;
        let retry = self.revoking.first().filter(passed);
        let room = self.revoking.len() < LEASE_REVOKES_PENDING_MAX;
        let fresh = || self.due.first().filter(passed).filter(|_| room);
        retry.or_else(fresh).map(|(_, id)| *id)
    }

    /// Whether a lease is overdue, and only contact with the quorum is missing to end it.
    pub fn wants_contact(&self, now: Millis) -> bool {
        self.contact_due().is_some_and(|due| due <= now)
    }

    /// When this lessor wants to be asked although nothing happens: [`Lessor::take_expired`] has
    /// more to give, or it will want contact.
    pub fn deadline(&self, now: Millis) -> Option<Millis> {
        match self.next_expired() {
            Some(_) => Some(self.window.since + LEASE_REVOKE_WINDOW),
            None => self.contact_due().filter(|due| *due > now),
        }
    }

    /// When the next lease is so long overdue that contact is asked for: whatever comes by itself
    /// within a window comes in time.
    fn contact_due(&self) -> Option<Millis> {
        let room = self.revoking.len() < LEASE_REVOKES_PENDING_MAX;
        let fresh = self.due.first().filter(|_| room);
        let next = self.revoking.first().into_iter().chain(fresh).min();
        let (due, _) = next?;
        (*due > self.acked).then_some(*due + LEASE_REVOKE_WINDOW)
    }

    pub fn is_primary(&self) -> bool {
        self.state == LessorState::Primary
    }

    /// Renewals so far.
    pub fn renewals(&self) -> u64 {
        self.renewals
    }

    pub fn len(&self) -> usize {
        self.leases.len()
    }

    pub fn is_empty(&self) -> bool {
        self.leases.is_empty()
    }

    fn promote(&mut self, now: Millis) {
        self.state = LessorState::Primary;
        self.due.clear();
        for (id, lease) in &mut self.leases {
            let deadline = now + seconds(lease.ttl) + self.election_timeout;
            lease.timer = Timer::Until(deadline);
            self.due.insert((deadline, *id));
        }
    }

    /// Keeps the lease and the two queues in step.
    fn set_timer(&mut self, id: LeaseId, timer: Timer) {
        let lease = self.leases.get_mut(&id).expect("a lease that exists");
        match core::mem::replace(&mut lease.timer, timer) {
            Timer::None => {}
            Timer::Until(at) => assert!(self.due.remove(&(at, id))),
            Timer::Revoking(at) => assert!(self.revoking.remove(&(at, id))),
        }
        match timer {
            Timer::None => {}
            Timer::Until(at) => assert!(self.due.insert((at, id))),
            Timer::Revoking(at) => assert!(self.revoking.insert((at, id))),
        }
    }

    /// Panics if the parts contradict each other.
    pub fn check(&self) {
        let timers = |wanted: fn(Timer) -> Option<Millis>| -> BTreeSet<(Millis, LeaseId)> {
            let leases = self.leases.iter();
            leases
                .filter_map(|(id, lease)| Some((wanted(lease.timer)?, *id)))
                .collect()
        };
        let until = timers(|timer| match timer {
            Timer::Until(at) => Some(at),
            Timer::None | Timer::Revoking(_) => None,
        });
        let revoking = timers(|timer| match timer {
            Timer::Revoking(at) => Some(at),
            Timer::None | Timer::Until(_) => None,
        });
        assert_eq!(self.due, until);
        assert_eq!(self.revoking, revoking);
        assert!(self.revoking.len() <= LEASE_REVOKES_PENDING_MAX);
        assert!(self.window.revokes <= REVOKES_PER_WINDOW);
        let timed = self.due.len() + self.revoking.len();
        let expected = if self.is_primary() {
            self.leases.len()
        } else {
            0
        };
        assert_eq!(
            timed, expected,
            "a lease has a timer if and only if time is kept here"
        );
    }
}

fn seconds(ttl: i64) -> Millis {
    Millis(u64::try_from(ttl).unwrap_or(0).saturating_mul(1000))
}
