//! Keepalives and time-to-lives.
//!
//! Only the leader keeps time, so followers ask it. The leader answers from its [`Lessor`] after a
//! read round (see [`super::reads`]): a quorum follows it, and it has applied whatever was
//! committed when the request arrived. So no clock is trusted to tell whether it still leads, a lease
//! whose grant another member has already seen is never "unknown", and one whose revoke another
//! member has already seen is never renewed.
//!
//! Asking twice does no harm, so requests follow the leadership until their deadline.

use super::backoff::Backoff;
use super::leadership::{Leadership, Route};
use super::reads::Reader;
use super::waiting::Waiting;
use crate::api::{LeaseId, LeaseInfo, MemberId, Millis};
use crate::effect::Effect;
use crate::error::Error;
use crate::event::{Asker, Seq};
use crate::lease::{Lessor, Renewal};
use crate::limits::PENDING_LEASE_CALLS_MAX;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

/// Names of requests that ended, kept in the queue before they are swept.
const DEAD_MAX: usize = 64;

pub(super) struct LeaseRequests {
    waiting: Waiting<Asker, LeaseRequest>,
    /// Requests for which the leader is still to be found. Some may have ended.
    unrouted: VecDeque<Asker>,
    /// Keepalives of leases that are being revoked.
    parked: BTreeMap<LeaseId, BTreeSet<Asker>>,
    attempts: u64,
    backoff: Backoff,
}

#[derive(Clone, Copy)]
struct LeaseRequest {
    lease: LeaseId,
    keep_alive: bool,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Unrouted,
    /// The leader was asked.
    Forwarded,
    /// This member leads and waits for a read round.
    Reading {
        attempt: u64,
    },
    /// This member leads, and the lease has expired: its revoke is awaited.
    Parked,
}

/// What is to be done with a request.
pub(super) enum Step {
    /// A read round is needed.
    Read(Reader),
    Do(Effect),
}

impl LeaseRequests {
    pub fn new(request_timeout: Millis) -> LeaseRequests {
        LeaseRequests {
            waiting: Waiting::new(request_timeout),
            unrouted: VecDeque::new(),
            parked: BTreeMap::new(),
            attempts: 0,
            backoff: Backoff::new(),
        }
    }

    pub fn admit(
        &mut self,
        now: Millis,
        leadership: &Leadership,
        asker: Asker,
        (lease, keep_alive): (LeaseId, bool),
    ) -> Result<(), Error> {
        // Whoever asks for others finds the leader itself: no request is passed on twice.
        if matches!(asker, Asker::Peer(_)) && leadership.route() != Some(Route::Here) {
            return Err(Error::NotLeader);
        }
        if self.waiting.len() >= PENDING_LEASE_CALLS_MAX {
            return Err(Error::TooManyRequests);
        }
        let stage = Stage::Unrouted;
        let request = LeaseRequest {
            lease,
            keep_alive,
            stage,
        };
        self.waiting.insert(now, asker, request);
        self.unrouted.push_back(asker);
        Ok(())
    }

    pub fn forget(&mut self, asker: Asker) -> Option<Reader> {
        self.remove(asker)
    }

    /// Gives the next request that needs it to the leader.
    pub fn route(&mut self, leadership: &Leadership) -> Option<Step> {
        if !self.backoff.is_open() {
            return None;
        }
        let route = leadership.route()?;
        while let Some(asker) = self.unrouted.pop_front() {
            let Some(request) = self.waiting.get_mut(asker) else {
                continue;
            };
            return Some(match (route, asker) {
                (Route::Here, _) => {
                    self.attempts += 1;
                    let attempt = self.attempts;
                    request.stage = Stage::Reading { attempt };
                    Step::Read(Reader::Lease { attempt, asker })
                }
                (Route::To(leader), Asker::Local(seq)) => {
                    request.stage = Stage::Forwarded;
                    Step::Do(forward(seq, leader, request))
                }
                (Route::To(_), Asker::Peer(_)) => {
                    unreachable!("another member's requests end with the leadership")
                }
            });
        }
        None
    }

    /// The leader's answer to a forwarded request. What only says that it was not the right moment or
    /// not the right member is asked again.
    pub fn answered(
        &mut self,
        now: Millis,
        seq: Seq,
        result: Result<LeaseInfo, Error>,
    ) -> Option<Effect> {
        let asker = Asker::Local(seq);
        let request = self.waiting.get_mut(asker)?;
        match result {
            Ok(_) | Err(Error::TooManyRequests | Error::LeaseNotFound) => {
                // Even if the request went elsewhere meanwhile: it was answered by a leader that had
                // its quorum after the request arrived. What else comes is for nobody.
                Some(self.answer(asker, result))
            }
            Err(_) => {
                if request.stage == Stage::Forwarded {
                    request.stage = Stage::Unrouted;
                    self.unrouted.push_back(asker);
                    self.backoff.refused(now);
                }
                None
            }
        }
    }

    /// The read round of a request is done, and applied.
    pub fn read_ready(
        &mut self,
        now: Millis,
        attempt: u64,
        asker: Asker,
        lessor: &mut Lessor,
    ) -> Option<Effect> {
        let request = self.waiting.get_mut(asker)?;
        if request.stage != (Stage::Reading { attempt }) {
            return None;
        }
        let id = request.lease;
        let (ttl, granted_ttl) = if request.keep_alive {
            match lessor.renew(now, id) {
                Renewal::Renewed { ttl } => (ttl, ttl),
                Renewal::Unknown => (0, 0),
                Renewal::Expiring => {
                    request.stage = Stage::Parked;
                    self.parked.entry(id).or_default().insert(asker);
                    return None;
                }
                Renewal::NotPrimary => {
                    self.retry(now, asker);
                    return None;
                }
            }
        } else if lessor.is_primary() {
            lessor.remaining(now, id).unwrap_or((-1, 0))
        } else {
            self.retry(now, asker);
            return None;
        };
        self.backoff.reset();
        let keys = Vec::new();
        let info = LeaseInfo {
            id,
            ttl,
            granted_ttl,
            keys,
        };
        Some(self.answer(asker, Ok(info)))
    }

    /// A read round could not be had for a request: it asks again later.
    pub fn retry(&mut self, now: Millis, asker: Asker) {
        if let Some(request) = self.waiting.get_mut(asker)
            && matches!(request.stage, Stage::Reading { .. })
        {
            request.stage = Stage::Unrouted;
            self.unrouted.push_back(asker);
            self.backoff.refused(now);
        }
    }

    /// The log revoked a lease: keepalives that waited for it have lost.
    pub fn revoked(&mut self, lease: LeaseId) -> Vec<Effect> {
        let mut effects = Vec::new();
        for asker in self.parked.remove(&lease).unwrap_or_default() {
            let info = LeaseInfo {
                id: lease,
                ..LeaseInfo::default()
            };
            effects.push(self.answer(asker, Ok(info)));
        }
        effects
    }

    /// Every request of this member looks for the leader anew; other members find it themselves.
    /// Gives the reads that need no round any more.
    pub fn leadership_changed(&mut self, leadership: &Leadership) -> (Vec<Effect>, Vec<Reader>) {
        self.backoff.reset();
        self.parked.clear();
        let (mut strangers, mut attempts) = (Vec::new(), Vec::new());
        let leads = leadership.route() == Some(Route::Here);
        for (asker, request) in self.waiting.iter_mut() {
            attempts.extend(reader(asker, request));
            if request.stage != Stage::Unrouted {
                request.stage = Stage::Unrouted;
                self.unrouted.push_back(asker);
            }
            if !leads && matches!(asker, Asker::Peer(_)) {
                strangers.push(asker);
            }
        }
        let mut effects = Vec::new();
        for asker in strangers {
            effects.push(self.answer(asker, Err(Error::NotLeader)));
        }
        (effects, attempts)
    }

    /// Answers the next request whose time is over, and gives the read that it may have had.
    pub fn pop_expired(
        &mut self,
        now: Millis,
        leadership: &Leadership,
    ) -> Option<(Effect, Option<Reader>)> {
        let (asker, request) = self.waiting.pop_expired(now)?;
        self.unpark(asker, &request);
        let error = match leadership.route() {
            None => Error::NoLeader,
            Some(_) => Error::Timeout,
        };
        Some((answer(asker, Err(error)), reader(asker, &request)))
    }

    pub fn tick(&mut self, now: Millis) {
        self.backoff.tick(now);
    }

    pub fn deadline(&self, leadership: &Leadership) -> Option<Millis> {
        let can_ask = !self.unrouted.is_empty() && leadership.route().is_some();
        let retry = self.backoff.deadline().filter(|_| can_ask);
        [self.waiting.deadline(), retry].into_iter().flatten().min()
    }

    /// Ends a request with its answer. A read that it has under way finds nobody.
    fn answer(&mut self, asker: Asker, result: Result<LeaseInfo, Error>) -> Effect {
        self.remove(asker);
        answer(asker, result)
    }

    fn remove(&mut self, asker: Asker) -> Option<Reader> {
        let request = self.waiting.remove(asker)?;
        self.unpark(asker, &request);
        let waiting = &self.waiting;
        if self.unrouted.len() > 2 * waiting.len() + DEAD_MAX {
            self.unrouted.retain(|asker| waiting.get(*asker).is_some());
        }
        reader(asker, &request)
    }

    fn unpark(&mut self, asker: Asker, request: &LeaseRequest) {
        if request.stage == Stage::Parked
            && let Some(askers) = self.parked.get_mut(&request.lease)
        {
            askers.remove(&asker);
            if askers.is_empty() {
                self.parked.remove(&request.lease);
            }
        }
    }

    pub fn check(&self) {
        self.waiting.check();
        let alive = |asker: &&Asker| self.waiting.get(**asker).is_some();
        let unrouted: BTreeSet<Asker> = self.unrouted.iter().filter(alive).copied().collect();
        assert_eq!(
            unrouted.len(),
            self.unrouted.iter().filter(alive).count(),
            "a request is queued twice"
        );
        let mut parked = 0;
        for (asker, request) in self.waiting.iter() {
            assert_eq!(unrouted.contains(&asker), request.stage == Stage::Unrouted);
            if request.stage == Stage::Parked {
                parked += 1;
                let askers = self.parked.get(&request.lease);
                assert!(askers.is_some_and(|askers| askers.contains(&asker)));
            }
        }
        assert_eq!(
            parked,
            self.parked.values().map(BTreeSet::len).sum::<usize>()
        );
        assert!(self.waiting.len() <= PENDING_LEASE_CALLS_MAX);
    }
}

fn forward(seq: Seq, leader: MemberId, request: &LeaseRequest) -> Effect {
    Effect::ForwardLease {
        seq,
        leader,
        lease: request.lease,
        keep_alive: request.keep_alive,
    }
}

fn reader(asker: Asker, request: &LeaseRequest) -> Option<Reader> {
    match request.stage {
        Stage::Reading { attempt } => Some(Reader::Lease { attempt, asker }),
        Stage::Unrouted | Stage::Forwarded | Stage::Parked => None,
    }
}

pub(super) fn answer(asker: Asker, result: Result<LeaseInfo, Error>) -> Effect {
    match asker {
        Asker::Local(seq) => Effect::AnswerLease { seq, result },
        Asker::Peer(ticket) => Effect::AnswerPeer { ticket, result },
    }
}
