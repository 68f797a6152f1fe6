//! Whether members keep pace with a cluster at work.
//!
//! A member keeps pace once it has applied what another had applied a little earlier. One that only
//! ever gets the state of long ago never does, however much it gets.

use crate::cluster::Cluster;
use crate::patience::CATCH_UP_MAX;
use crate::time;
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

/// How far behind in time a member may be that keeps pace.
const LAG_MAX: Duration = Duration::from_secs(2);
/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(50);

/// Watches the members until all have kept pace, and gives those that never did.
pub async fn laggards(cluster: &Cluster) -> Vec<usize> {
    let until = time::now() + CATCH_UP_MAX;
    let mut pace = Pace::new(cluster.living());
    loop {
        let statuses = cluster.statuses().into_iter();
        let applied: Vec<Option<u64>> = statuses
            .map(|told| told.map(|told| told.raft.applied))
            .collect();
        let lagging = pace.keep(time::now(), &applied);
        if lagging.is_empty() || time::now() >= until {
            return lagging;
        }
        if !cluster.failures().is_empty() {
            return Vec::new();
        }
        time::sleep(PAUSE).await;
    }
}

struct Pace {
    /// Who has not been seen to keep pace yet.
    lagging: BTreeSet<usize>,
    /// What the most advanced member had applied, and when; oldest first.
    applied: VecDeque<(Duration, u64)>,
}

impl Pace {
    fn new(members: impl IntoIterator<Item = usize>) -> Pace {
        Pace {
            lagging: members.into_iter().collect(),
            applied: VecDeque::new(),
        }
    }

    /// Takes in what each member has applied by now, and gives those that still lag. Whoever has
    /// nothing is only about to join, and whoever is down is no matter of pace.
    fn keep(&mut self, now: Duration, applied: &[Option<u64>]) -> Vec<usize> {
        let most = applied.iter().copied().max().flatten().unwrap_or(0);
        self.applied.push_back((now, most));
        // The last that is old enough counts.
        let is_old = |(at, _): &(Duration, u64)| *at + LAG_MAX <= now;
        while self.applied.get(1).is_some_and(is_old) {
            self.applied.pop_front();
        }
        let goal = self.applied[0].1;
        let of = |member: &usize| applied.get(*member).copied().flatten();
        self.lagging.retain(|member| of(member) < Some(goal));
        let lagging = self.lagging.iter().copied();
        lagging.filter(|member| of(member) > Some(0)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What each of two members has applied, a second apart; gives who lags in the end.
    fn lagging(applied: &[[u64; 2]]) -> Vec<usize> {
        let mut pace = Pace::new([0, 1]);
        let looks = (0..).map(Duration::from_secs).zip(applied);
        let told = looks.map(|(now, applied)| pace.keep(now, &applied.map(Some)));
        told.last().unwrap_or_default()
    }

    #[test]
    fn who_has_what_there_was_a_little_earlier_keeps_pace() {
        assert_eq!(lagging(&[[10, 9]]), [1]);
        assert_eq!(lagging(&[[10, 9], [20, 11]]), [0; 0]);
        assert_eq!(lagging(&[[10, 10], [20, 10], [30, 10]]), [0; 0], "once");
    }

    #[test]
    fn who_gets_what_there_was_long_ago_lags() {
        let always_late = [[10, 5], [20, 5], [30, 5], [40, 10], [50, 10], [60, 10]];
        assert_eq!(lagging(&always_late), [1]);
        assert_eq!(lagging(&[[10, 0], [20, 0]]), [0; 0], "it has yet to join");
    }
}
