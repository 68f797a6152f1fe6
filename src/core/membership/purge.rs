//! Snapshots on their way to other members, and members that are away, defer the purge of the log.
//!
//! A member that gets the whole state needs the entries after it, too. If the log were purged past
//! them while the state travels, the member would need the next snapshot, and the next: under
//! load it might never catch up. So while a snapshot is being sent, and for a while after it, no
//! snapshot is built for the purge's sake.
//!
//! A member that was away for a moment is sent what it missed much sooner than the whole state. So
//! while one is away, and for a while after it was seen to be, a log of moderate size is kept as well.

use crate::api::Millis;
use crate::limits::AWAY_LOG_ENTRIES_MAX;

/// After a snapshot its receiver has at least this long to catch up from the log; so has a member that
/// was away.
const CATCH_UP_MIN: Millis = Millis(5_000);

/// What was written since the last snapshot.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogSize {
    pub entries: u64,
    pub bytes: u64,
}

/// Whether the log may be purged.
#[derive(Debug)]
pub struct PurgeDeferral {
    log_bytes_min: u64,
    away_log_bytes_max: u64,
    sending: u32,
    catching_up_until: Option<Millis>,
    /// Until then is kept what a member needs that was away.
    coming_back_until: Option<Millis>,
}

impl PurgeDeferral {
    /// `log_bytes_min`: so much log is kept for a member that is sent the state, however small the
    /// state is. `away_log_bytes_max`: so much log is kept for one that is away.
    pub fn new(log_bytes_min: u64, away_log_bytes_max: u64) -> PurgeDeferral {
        PurgeDeferral {
            log_bytes_min,
            away_log_bytes_max,
            sending: 0,
            catching_up_until: None,
            coming_back_until: None,
        }
    }

    /// A snapshot is being sent, until [`PurgeDeferral::end`] is called.
    pub fn begin(&mut self) {
        self.sending += 1;
    }

    /// A snapshot that began at `begun` is sent, or given up.
    pub fn end(&mut self, begun: Millis, now: Millis) {
        self.sending -= 1;
        // What was written in the time that the state took is sent in less time than that.
        let until = now + (now - begun).max(CATCH_UP_MIN);
        self.catching_up_until = self.catching_up_until.max(Some(until));
    }

    /// Whether a snapshot that could wait should be built now: `log` was written since the last one,
    /// and the state has `state_bytes`. `is_anyone_away`: whether some member is not connected.
    ///
    /// A log that has grown larger than the state is no shorter way to catch up than the next state.
    /// So a member that never gets its state to the end costs the others' disks no more than that.
    pub fn may_purge(
        &mut self,
        now: Millis,
        log: LogSize,
        state_bytes: u64,
        is_anyone_away: bool,
    ) -> bool {
        if is_anyone_away {
            self.coming_back_until = Some(now + CATCH_UP_MIN);
        }
        let comes_back = self.coming_back_until.is_some_and(|until| now < until);
        let is_short = log.bytes < self.away_log_bytes_max && log.entries < AWAY_LOG_ENTRIES_MAX;
        if comes_back && is_short {
            return false;
        }
        let catches_up = self.catching_up_until.is_some_and(|until| now < until);
        let is_needed = self.sending > 0 || catches_up;
        !is_needed || log.bytes >= state_bytes.max(self.log_bytes_min)
    }
}
