//! Since when the member runs, and who leads since when: what `/v2/stats/self` tells.

use detcd_core::api::MemberId;
use detcd_core::v2::UnixNanos;
use detcd_driver::Handle;
use detcd_rt::Instant;
use std::sync::{Arc, Mutex, PoisonError};

/// The leader that was seen last.
#[derive(Clone, Copy, Debug)]
pub(super) struct LeaderSeen {
    /// `None` before the first one.
    pub leader: Option<MemberId>,
    pub since: UnixNanos,
    pub since_local: Instant,
}

impl LeaderSeen {
    fn now(leader: Option<MemberId>) -> LeaderSeen {
        LeaderSeen {
            leader,
            since: wall_clock(),
            since_local: Instant::now(),
        }
    }
}

/// What one member has seen of leaders. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct LeaderHistory {
    pub(super) started: UnixNanos,
    seen: Arc<Mutex<LeaderSeen>>,
}

impl LeaderHistory {
    /// Follows the leader as long as the member lives, and tells `on_change` of each new one.
    pub fn follow(handle: &Handle, on_change: impl Fn() + Send + 'static) -> LeaderHistory {
        let history = LeaderHistory {
            started: wall_clock(),
            seen: Arc::new(Mutex::new(LeaderSeen::now(None))),
        };
        let mut leader = handle.leader();
        let followed = history.clone();
        detcd_rt::spawn(async move {
            loop {
                let now = *leader.borrow_and_update();
                if now.is_some() && now != followed.seen().leader {
                    on_change();
                    followed.set(LeaderSeen::now(now));
                }
                if leader.changed().await.is_err() {
                    return;
                }
            }
        });
        history
    }

    pub(super) fn seen(&self) -> LeaderSeen {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, seen: LeaderSeen) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = seen;
    }
}

fn wall_clock() -> UnixNanos {
    let nanos = detcd_rt::wall_unix_ms().saturating_mul(1_000_000);
    UnixNanos(i64::try_from(nanos).unwrap_or(i64::MAX))
}
