//! Whether members keep up with a cluster under load.
//!
//! A member keeps up once it has applied what another had applied a little earlier. One that only
//! ever gets the state of long ago never does, however much it gets.

use crate::cluster::Cluster;
use crate::time;
use crate::timeouts::CATCH_UP_MAX;
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

/// How far behind in time a member may be that keeps up.
const LAG_MAX: Duration = Duration::from_secs(2);
/// The pause between two samples.
const PAUSE: Duration = Duration::from_millis(50);

/// Watches the members until all have kept up, and gives those that never did.
pub async fn lagging_members(cluster: &Cluster) -> Vec<usize> {
    let until = time::now() + CATCH_UP_MAX;
    let mut catch_up = CatchUp::new(cluster.living());
    loop {
        let statuses = cluster.statuses().into_iter();
        let applied: Vec<Option<u64>> = statuses
            .map(|status| status.map(|status| status.raft.applied))
            .collect();
        let lagging = catch_up.update(time::now(), &applied);
        if lagging.is_empty() || time::now() >= until {
            return lagging;
        }
        if !cluster.failures().is_empty() {
            return Vec::new();
        }
        time::sleep(PAUSE).await;
    }
}

struct CatchUp {
    /// Who has not been seen to keep up yet.
    lagging: BTreeSet<usize>,
    /// What the most advanced member had applied, and when; oldest first.
    applied: VecDeque<(Duration, u64)>,
}

impl CatchUp {
    fn new(members: impl IntoIterator<Item = usize>) -> CatchUp {
        CatchUp {
            lagging: members.into_iter().collect(),
            applied: VecDeque::new(),
        }
    }

    /// Takes in what each member has applied by now, and gives those that still lag. Whoever has
    /// nothing is only about to join, and whoever is down does not count.
    fn update(&mut self, now: Duration, applied: &[Option<u64>]) -> Vec<usize> {
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
        let mut catch_up = CatchUp::new([0, 1]);
        let samples = (0..).map(Duration::from_secs).zip(applied);
        let lagging = samples.map(|(now, applied)| catch_up.update(now, &applied.map(Some)));
        lagging.last().unwrap_or_default()
    }

    #[test]
    fn a_member_keeps_up_if_it_has_what_there_was_a_little_earlier() {
        assert_eq!(lagging(&[[10, 9]]), [1]);
        assert_eq!(lagging(&[[10, 9], [20, 11]]), [0; 0]);
        assert_eq!(lagging(&[[10, 10], [20, 10], [30, 10]]), [0; 0], "once");
    }

    #[test]
    fn a_member_lags_if_it_only_gets_what_there_was_long_ago() {
        let always_late = [[10, 5], [20, 5], [30, 5], [40, 10], [50, 10], [60, 10]];
        assert_eq!(lagging(&always_late), [1]);
        assert_eq!(lagging(&[[10, 0], [20, 0]]), [0; 0], "it has yet to join");
    }
}
