//! Leases, as their clients see them:
//! - none ends before its time-to-live is over, counted from the call of the last keepalive that
//!   was answered with one, by the fastest clock of the run;
//! - none lasts for ever once nobody keeps it alive;
//! - none that has ended can be kept alive, and a lease that the cluster does not know any more
//!   has no keys.

use super::{Check, Finding, Violation};
use crate::history::{History, LeaseLife};
use std::time::Duration;

/// What the run's clocks did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Clocks {
    /// Seconds per true second of the fastest one.
    pub fastest: f64,
    /// Some clock jumped forward: then nothing bounds an early end.
    pub jumped: bool,
}

pub fn check(history: &History, clocks: Clocks) -> Vec<Violation> {
    let lives = history.leases.iter();
    lives
        .filter_map(|life| problem(life, clocks).map(|what| (life, what)))
        .map(|(life, what)| {
            let (client, id) = (life.client, life.id.0);
            let what = format!("lease {id:x} of client {client}: {what}");
            let finding = Finding::new(what).time(life.granted);
            match life.gone {
                Some(gone) => finding.time(gone).of(Check::Lease),
                None => finding.of(Check::Lease),
            }
        })
        .collect()
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
    } else if !life.seen.is_empty() {
        return Some("nobody keeps it alive, and it does not end".to_owned());
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
    use crate::history::KeepAlive;
    use bytes::Bytes;
    use detcd_core::api::LeaseId;

    const TRUE: Clocks = Clocks {
        fastest: 1.0,
        jumped: false,
    };

    fn at(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    fn keep_alive(called: f64, ttl: i64) -> KeepAlive {
        let (called, ended) = (at(called), at(called + 0.1));
        KeepAlive { called, ended, ttl }
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
            revoked: false,
            seen: vec![at(4.9)],
            gone: Some(at(5.2)),
        }
    }

    fn is_wrong(forge: impl FnOnce(&mut LeaseLife), clocks: Clocks) -> bool {
        let mut life = plain();
        forge(&mut life);
        let history = History {
            leases: vec![life],
            ..History::default()
        };
        !check(&history, clocks).is_empty()
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
        let fast = Clocks {
            fastest: 1.1,
            ..TRUE
        };
        assert!(!is_wrong(early, fast));
        let jumped = Clocks {
            jumped: true,
            ..TRUE
        };
        assert!(!is_wrong(early, jumped));
        let revoked = |life: &mut LeaseLife| {
            early(life);
            life.revoked = true;
        };
        assert!(!is_wrong(revoked, TRUE));
        assert!(is_wrong(|life| life.gone = None, TRUE));
        assert!(is_wrong(
            |life| life.keep_alives.push(keep_alive(7.0, 3)),
            TRUE
        ));
        assert!(is_wrong(
            |life| life.keep_alives.push(keep_alive(4.0, 0)),
            TRUE
        ));
    }
}
