//! Nodes with a time-to-live, as their clients see them:
//! - none is gone before its time, counted from the call of the last write that gave it one, by the
//!   fastest clock of the run;
//! - once no fault is under way none lasts longer than its time and an election timeout, by the
//!   slowest clock, and what leases get, counted from that write's end or from the last election,
//!   which gives every node its whole time anew; and none lasts for ever, faults or none.

use super::{Facts, Finding, problem};
use crate::check::Clocks;
use crate::check::lease::{ENDLESS_MIN, LATE_MAX};
use crate::history::History;
use crate::v2_calls::V2Life;
use detcd_core::limits::LEASE_REVOKES_PER_SECOND;
use std::time::Duration;

pub fn check(facts: &Facts<'_>) -> Vec<Finding> {
    let lives = facts.history.v2.lives.iter();
    lives
        .filter_map(|life| lived(facts.history, life, facts.clocks))
        .collect()
}

fn lived(history: &History, life: &V2Life, clocks: Clocks) -> Option<Finding> {
    let wrong = match (life.gone, life.seen) {
        (Some(gone), _) if !clocks.jumped && gone < life.set + shortest(life, clocks) => {
            "is gone before its time"
        }
        (_, Some(seen)) if seen > latest(history, life, seen, clocks) => "outlives its time",
        _ => return None,
    };
    let what = format!("has a node that {wrong}: {life:?}");
    let times = [life.gone, life.seen];
    let times = times.into_iter().flatten();
    Some(times.fold(problem(&life.client, what), Finding::time))
}

fn shortest(life: &V2Life, clocks: Clocks) -> Duration {
    Duration::from_secs(life.ttl_s).div_f64(clocks.fastest.max(1.0))
}

/// When it has to be gone.
fn latest(history: &History, life: &V2Life, seen: Duration, clocks: Clocks) -> Duration {
    let facts = &history.run_facts;
    let elections = facts.elections.iter().filter(|at| **at <= seen);
    let begun = elections.fold(life.begun, |begun, at| begun.max(*at));
    let longest = Duration::from_secs(life.ttl_s) + facts.election_timeout;
    let longest = longest.div_f64(clocks.slowest.min(1.0));
    let revokes = history.v2.lives.len() as u64 / u64::from(LEASE_REVOKES_PER_SECOND);
    match facts.calm_since {
        Some(calm) if calm <= seen => {
            begun.max(calm) + longest + LATE_MAX + Duration::from_secs(revokes)
        }
        _ => begun + longest + ENDLESS_MIN,
    }
}
