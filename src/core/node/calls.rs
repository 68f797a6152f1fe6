//! Keepalives and time-to-lives.
//!
//! Only the leader keeps time, so followers ask it. The leader answers from its [`Keeper`] after a
//! read round (see [`super::reads`]): a quorum follows it, and it has applied whatever was
//! committed when the call arrived. So no clock is trusted to tell whether it still leads, a lease
//! whose grant another member has already seen is never "unknown", and one whose revoke another
//! member has already seen is never renewed.
//!
//! Asking twice does no harm, so calls follow the leadership until their deadline.

use super::leadership::{Leadership, Route};
use super::pace::Pace;
use super::reads::Reader;
use super::waiting::Waiting;
use crate::api::{LeaseId, LeaseInfo, MemberId, Millis};
use crate::effect::Effect;
use crate::error::Error;
use crate::event::{Asker, Seq};
use crate::lease::{Keeper, Renewal};
use crate::limits::PENDING_LEASE_CALLS_MAX;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

/// Names of calls that ended, kept in the queue before they are swept.
const DEAD_MAX: usize = 64;

pub(super) struct Calls {
    waiting: Waiting<Asker, Call>,
    /// Calls for which the leader is still to be found. Some may have ended.
    unrouted: VecDeque<Asker>,
    /// Keepalives of leases that are being revoked.
    parked: BTreeMap<LeaseId, BTreeSet<Asker>>,
    looks: u64,
    pace: Pace,
}

#[derive(Clone, Copy)]
struct Call {
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
    Looking {
        look: u64,
    },
    /// This member leads, and the lease has expired: its revoke is awaited.
    Parked,
}

/// What is to be done with a call.
pub(super) enum Step {
    /// A read round is needed.
    Read(Reader),
    Do(Effect),
}

impl Calls {
    pub fn new(request_timeout: Millis) -> Calls {
        Calls {
            waiting: Waiting::new(request_timeout),
            unrouted: VecDeque::new(),
            parked: BTreeMap::new(),
            looks: 0,
            pace: Pace::new(),
        }
    }

    pub fn admit(
        &mut self,
        now: Millis,
        leadership: &Leadership,
        asker: Asker,
        (lease, keep_alive): (LeaseId, bool),
    ) -> Result<(), Error> {
        // Whoever asks for others finds the leader itself: no call is passed on twice.
        if matches!(asker, Asker::Peer(_)) && leadership.route() != Some(Route::Here) {
            return Err(Error::NotLeader);
        }
        if self.waiting.len() >= PENDING_LEASE_CALLS_MAX {
            return Err(Error::TooManyRequests);
        }
        let stage = Stage::Unrouted;
        let call = Call {
            lease,
            keep_alive,
            stage,
        };
        self.waiting.insert(now, asker, call);
        self.unrouted.push_back(asker);
        Ok(())
    }

    pub fn forget(&mut self, asker: Asker) -> Option<Reader> {
        self.remove(asker)
    }

    /// Gives the next call that needs it to the leader.
    pub fn route(&mut self, leadership: &Leadership) -> Option<Step> {
        if !self.pace.is_open() {
            return None;
        }
        let route = leadership.route()?;
        while let Some(asker) = self.unrouted.pop_front() {
            let Some(call) = self.waiting.get_mut(asker) else {
                continue;
            };
            return Some(match (route, asker) {
                (Route::Here, _) => {
                    self.looks += 1;
                    let look = self.looks;
                    call.stage = Stage::Looking { look };
                    Step::Read(Reader::Lease { look, asker })
                }
                (Route::To(leader), Asker::Local(seq)) => {
                    call.stage = Stage::Forwarded;
                    Step::Do(forward(seq, leader, call))
                }
                (Route::To(_), Asker::Peer(_)) => {
                    unreachable!("another member's calls end with the leadership")
                }
            });
        }
        None
    }

    /// The leader's answer to a forwarded call. What only says that it was not the right moment or
    /// not the right member is asked again.
    pub fn answered(
        &mut self,
        now: Millis,
        seq: Seq,
        result: Result<LeaseInfo, Error>,
    ) -> Option<Effect> {
        let asker = Asker::Local(seq);
        let call = self.waiting.get_mut(asker)?;
        match result {
            Ok(_) | Err(Error::TooManyRequests | Error::LeaseNotFound) => {
                // Even if the call went elsewhere meanwhile: it was answered by a leader that had
                // its quorum after the call arrived. What else comes is for nobody.
                Some(self.answer(asker, result))
            }
            Err(_) => {
                if call.stage == Stage::Forwarded {
                    call.stage = Stage::Unrouted;
                    self.unrouted.push_back(asker);
                    self.pace.refused(now);
                }
                None
            }
        }
    }

    /// The read round of a look is done, and applied.
    pub fn look(
        &mut self,
        now: Millis,
        look: u64,
        asker: Asker,
        keeper: &mut Keeper,
    ) -> Option<Effect> {
        let call = self.waiting.get_mut(asker)?;
        if call.stage != (Stage::Looking { look }) {
            return None;
        }
        let id = call.lease;
        let (ttl, granted_ttl) = if call.keep_alive {
            match keeper.renew(now, id) {
                Renewal::Renewed { ttl } => (ttl, ttl),
                Renewal::Unknown => (0, 0),
                Renewal::Expiring => {
                    call.stage = Stage::Parked;
                    self.parked.entry(id).or_default().insert(asker);
                    return None;
                }
                Renewal::NotPrimary => {
                    self.retry(now, asker);
                    return None;
                }
            }
        } else if keeper.is_primary() {
            keeper.remaining(now, id).unwrap_or((-1, 0))
        } else {
            self.retry(now, asker);
            return None;
        };
        self.pace.reset();
        let keys = Vec::new();
        let info = LeaseInfo {
            id,
            ttl,
            granted_ttl,
            keys,
        };
        Some(self.answer(asker, Ok(info)))
    }

    /// A read round could not be had for a look: look again later.
    pub fn retry(&mut self, now: Millis, asker: Asker) {
        if let Some(call) = self.waiting.get_mut(asker)
            && matches!(call.stage, Stage::Looking { .. })
        {
            call.stage = Stage::Unrouted;
            self.unrouted.push_back(asker);
            self.pace.refused(now);
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

    /// Every call of this member looks for the leader anew; other members find it themselves.
    /// Gives the looks that need no read round any more.
    pub fn leadership_changed(&mut self, leadership: &Leadership) -> (Vec<Effect>, Vec<Reader>) {
        self.pace.reset();
        self.parked.clear();
        let (mut strangers, mut looks) = (Vec::new(), Vec::new());
        let leads = leadership.route() == Some(Route::Here);
        for (asker, call) in self.waiting.iter_mut() {
            looks.extend(reader(asker, call));
            if call.stage != Stage::Unrouted {
                call.stage = Stage::Unrouted;
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
        (effects, looks)
    }

    /// Answers the next call whose time is over, and gives the look that it may have had.
    pub fn pop_expired(
        &mut self,
        now: Millis,
        leadership: &Leadership,
    ) -> Option<(Effect, Option<Reader>)> {
        let (asker, call) = self.waiting.pop_expired(now)?;
        self.unpark(asker, &call);
        let error = match leadership.route() {
            None => Error::NoLeader,
            Some(_) => Error::Timeout,
        };
        Some((answer(asker, Err(error)), reader(asker, &call)))
    }

    pub fn tick(&mut self, now: Millis) {
        self.pace.tick(now);
    }

    pub fn deadline(&self, leadership: &Leadership) -> Option<Millis> {
        let can_ask = !self.unrouted.is_empty() && leadership.route().is_some();
        let retry = self.pace.deadline().filter(|_| can_ask);
        [self.waiting.deadline(), retry].into_iter().flatten().min()
    }

    /// Ends a call with its answer. A look that it has under way finds nobody.
    fn answer(&mut self, asker: Asker, result: Result<LeaseInfo, Error>) -> Effect {
        self.remove(asker);
        answer(asker, result)
    }

    fn remove(&mut self, asker: Asker) -> Option<Reader> {
        let call = self.waiting.remove(asker)?;
        self.unpark(asker, &call);
        let waiting = &self.waiting;
        if self.unrouted.len() > 2 * waiting.len() + DEAD_MAX {
            self.unrouted.retain(|asker| waiting.get(*asker).is_some());
        }
        reader(asker, &call)
    }

    fn unpark(&mut self, asker: Asker, call: &Call) {
        if call.stage == Stage::Parked
            && let Some(askers) = self.parked.get_mut(&call.lease)
        {
            askers.remove(&asker);
            if askers.is_empty() {
                self.parked.remove(&call.lease);
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
            "a call is queued twice"
        );
        let mut parked = 0;
        for (asker, call) in self.waiting.iter() {
            assert_eq!(unrouted.contains(&asker), call.stage == Stage::Unrouted);
            if call.stage == Stage::Parked {
                parked += 1;
                let askers = self.parked.get(&call.lease);
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

fn forward(seq: Seq, leader: MemberId, call: &Call) -> Effect {
    Effect::ForwardLease {
        seq,
        leader,
        lease: call.lease,
        keep_alive: call.keep_alive,
    }
}

fn reader(asker: Asker, call: &Call) -> Option<Reader> {
    match call.stage {
        Stage::Looking { look } => Some(Reader::Lease { look, asker }),
        Stage::Unrouted | Stage::Forwarded | Stage::Parked => None,
    }
}

pub(super) fn answer(asker: Asker, result: Result<LeaseInfo, Error>) -> Effect {
    match asker {
        Asker::Local(seq) => Effect::AnswerLease { seq, result },
        Asker::Peer(ticket) => Effect::AnswerPeer { ticket, result },
    }
}
