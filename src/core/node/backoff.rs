//! When to try again what was refused.

use crate::api::Millis;
use crate::limits::{RETRY_PAUSE_MAX, RETRY_PAUSE_MIN};

/// A healthy new leader refuses everything for its first two or three milliseconds, a leader
/// without its quorum for seconds: the pause starts short and doubles with every refusal until
/// something succeeds or the leadership changes.
pub(super) struct Backoff {
    pause: Millis,
    until: Option<Millis>,
}

impl Backoff {
    pub fn new() -> Backoff {
        Backoff {
            pause: RETRY_PAUSE_MIN,
            until: None,
        }
    }

    /// Refusals that come during a pause answer what was sent before it and count once.
    pub fn refused(&mut self, now: Millis) {
        if self.until.is_none() {
            self.until = Some(now + self.pause);
            self.pause = RETRY_PAUSE_MAX.min(self.pause + self.pause);
        }
    }

    pub fn reset(&mut self) {
        *self = Backoff::new();
    }

    /// Ends a pause that is over.
    pub fn tick(&mut self, now: Millis) {
        self.until = self.until.filter(|until| *until > now);
    }

    pub fn is_open(&self) -> bool {
        self.until.is_none()
    }

    /// When the pause ends, if there is one.
    pub fn deadline(&self) -> Option<Millis> {
        self.until
    }
}
