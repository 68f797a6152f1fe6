//! The simple tokens that this member has learned of, by what it applied.

use detcd_core::api::Millis;
use detcd_core::auth::TokenChange;
use detcd_core::auth::tokens::{SimpleTokens, TokenHolder, assigned_at};
use detcd_core::event::Applied;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// Asked by requests on any task, told by the loop.
pub struct Tokens {
    table: Mutex<SimpleTokens>,
    /// Up to here the tokens of entries are in the table.
    known: watch::Sender<u64>,
    /// How long a request waits for the entry that assigned its token.
    wait_max: Duration,
}

impl Tokens {
    pub(crate) fn new(time_to_live: Millis, applied: u64, wait_max: Duration) -> Tokens {
        Tokens {
            table: Mutex::new(SimpleTokens::new(time_to_live)),
            known: watch::Sender::new(applied),
            wait_max,
        }
    }

    /// Takes up what entries did. Told before any of them is answered.
    pub(crate) fn applied(&self, index: u64, entries: &[Applied]) {
        let changes = entries.iter().filter_map(|entry| entry.auth.as_ref());
        for change in changes.filter_map(|change| change.tokens.as_ref()) {
            self.change(change);
        }
        self.known.send_replace(index);
    }

    /// Forgets everything: which tokens the skipped entries ended, nobody knows.
    pub(crate) fn restored(&self, index: u64) {
        self.table().end_all();
        self.known.send_replace(index);
    }

    fn change(&self, change: &TokenChange) {
        let mut table = self.table();
        match change {
            TokenChange::Assigned {
                user,
                token,
                revision,
            } => {
                let holder = TokenHolder {
                    user: user.clone(),
                    revision: *revision,
                };
                table.assign(now(), token.clone().into(), holder);
            }
            TokenChange::Ended { user } => table.end_user(user),
            TokenChange::AllEnded => table.end_all(),
        }
    }

    /// Who a token stands for, if it lives. That renews it.
    pub fn find(&self, token: &[u8]) -> Option<TokenHolder> {
        self.table().find(now(), token).cloned()
    }

    /// Waits until this member has applied the entry that assigned the token; `None` if it has. A text
    /// that names an entry which never comes is not waited for without end.
    pub fn ready(&self, token: &[u8]) -> Option<BoxFuture<'static, ()>> {
        let index = assigned_at(token)?;
        let mut known = self.known.subscribe();
        if *known.borrow() >= index {
            return None;
        }
        let wait_max = self.wait_max;
        let waited = async move {
            let applied = known.wait_for(|known| *known >= index);
            // Whether it came shows when the token is looked up.
            let _ = detcd_rt::timeout(wait_max, applied).await;
        };
        Some(waited.boxed())
    }

    fn table(&self) -> MutexGuard<'_, SimpleTokens> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn now() -> Millis {
    Millis(detcd_rt::now_ms())
}
