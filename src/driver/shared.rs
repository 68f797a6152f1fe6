//! What the loop, the handles and the peers' receiver share.

use crate::admission;
use crate::engine::Engine;
use crate::stats::Stats;
use crate::tokens::Tokens;
use detcd_core::api::{ClusterId, Member, MemberId, Millis};
use detcd_core::membership::admission::ShutdownReason;
use detcd_core::status::Roster;
use detcd_core::validate::Limits;
use detcd_peer::Transport;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch;

pub(crate) struct Shared {
    pub settings: Settings,
    pub engine: Box<dyn Engine>,
    pub transport: Arc<dyn Transport>,
    pub stats: Arc<Stats>,
    pub tokens: Tokens,
    pub names: Names,
    pub term: AtomicU64,
    /// Who leads and was heard from lately.
    pub leader: watch::Receiver<Option<MemberId>>,
    /// The compaction revision up to which rows are removed here.
    pub compacted: watch::Sender<i64>,
    /// The members that this one was told of when it started; it knows better once it has applied
    /// its first entry.
    pub founders: Vec<Member>,
    /// Where news of this member's admission goes.
    pub admission: admission::Inputs,
    pub lifecycle: Lifecycle,
}

/// What a member is told at its start, and keeps.
pub(crate) struct Settings {
    pub cluster_id: ClusterId,
    pub member_id: MemberId,
    pub limits: Limits,
    pub election_timeout: Millis,
    /// How long a call to another member may take.
    pub call_timeout: Duration,
    /// Whether changes of the membership that would cost the quorum are refused.
    pub strict_reconfig: bool,
    /// The store's size at which this member raises the alarm NOSPACE. `None`: no quota.
    pub quota_bytes: Option<u64>,
}

/// From this member's admission to its end.
pub(crate) struct Lifecycle {
    /// Whether this member was admitted, so that it may vote and take entries.
    pub takes_part: watch::Sender<bool>,
    /// The members that were applied last.
    pub roster: watch::Sender<Arc<Roster>>,
    /// Set once this member has applied its own removal.
    pub removed: watch::Sender<bool>,
    /// Why it can go no further.
    pub fatal: watch::Sender<Option<String>>,
    /// Why it stops for good.
    pub shutdown_reason: watch::Sender<Option<ShutdownReason>>,
}

impl Default for Lifecycle {
    fn default() -> Lifecycle {
        Lifecycle {
            takes_part: watch::Sender::new(false),
            roster: watch::Sender::new(Arc::default()),
            removed: watch::Sender::new(false),
            fatal: watch::Sender::new(None),
            shutdown_reason: watch::Sender::new(None),
        }
    }
}

/// Numbers that name requests and streams, each once in the life of the process.
pub(crate) struct Names(AtomicU64);

impl Names {
    /// Starts at random, so that names do not repeat after a restart.
    pub fn new() -> Names {
        Names(AtomicU64::new(detcd_rt::random_u64() >> 1))
    }

    pub fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

impl Shared {
    pub fn member_id(&self) -> MemberId {
        self.settings.member_id
    }

    /// Says that this member stops for good. The first reason stands.
    pub fn shut_down(&self, reason: ShutdownReason) {
        self.lifecycle.shutdown_reason.send_if_modified(|known| {
            let is_news = known.is_none();
            *known = known.or(Some(reason));
            is_news
        });
    }

    /// Takes notice of the members that were applied: this one may be removed.
    pub fn note_members(&self) {
        let published = self.engine.published();
        let roster = &published.roster;
        self.lifecycle.roster.send_if_modified(|known| {
            let is_news = !Arc::ptr_eq(known, roster);
            *known = roster.clone();
            is_news
        });
        if roster.is_removed() {
            self.lifecycle
                .removed
                .send_if_modified(|removed| !std::mem::replace(removed, true));
        }
    }

    /// Says why this member can go no further. The first reason stands.
    pub fn halt(&self, reason: &str) {
        tracing::error!(reason, "member halts");
        self.lifecycle.fatal.send_if_modified(|fatal| match fatal {
            Some(_) => false,
            None => {
                *fatal = Some(reason.to_owned());
                true
            }
        });
    }
}
