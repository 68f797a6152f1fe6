//! How long a cluster is waited for, once its faults have ended: the limits of what "comes back"
//! means, in one place.
//!
//! What ends is a fault; what stays is the cluster's nature: the latency of its network and the
//! speed of its disks. Nobody may be late for a fault that is over, and nobody can be faster than
//! his disk. So elections are counted from when there is a majority to elect (whoever still reads
//! its log cannot vote), and each takes what its messages and syncs take, besides the timeout.

use crate::scenario::Cluster;
use std::time::Duration;

/// A leader must be there within so many elections.
const ELECTIONS_MAX: u32 = 3;
/// The engine draws an election timeout of up to one and a half times the configured one.
const ELECTION_SPREAD: f64 = 1.5;
/// A candidate asks and is answered twice: before the vote, and in it.
const ELECTION_ROUNDS: u32 = 2;

/// All members serve and agree within this time of healing; so, before it, does a majority serve.
pub const CONVERGE_MAX: Duration = Duration::from_secs(30);
/// Members that differ then must come closer to each other within this time, again and again.
pub const CLOSER_MAX: Duration = Duration::from_secs(5);
/// A healed member answers within this time.
pub const SERVE_MAX: Duration = Duration::from_secs(10);
/// Operators give up by themselves before this.
pub const OPERATE_MAX: Duration = Duration::from_secs(150);
/// Members must have caught up, under load, within this time of the last fault.
pub const CATCH_UP_MAX: Duration = Duration::from_secs(30);

/// How long a majority that serves may be without a leader.
pub fn election_max(cluster: &Cluster) -> Duration {
    let timeout = cluster.election_ms.millis().mul_f64(ELECTION_SPREAD);
    (timeout + ELECTION_ROUNDS * round_max(cluster)) * ELECTIONS_MAX
}

/// What a question, its answer and what must be synced in between take at most.
fn round_max(cluster: &Cluster) -> Duration {
    let disk = &cluster.disk;
    let operations = [disk.write_ms.range(), disk.sync_ms.range()];
    let slowest = operations
        .iter()
        .map(|operation| operation.end() + disk.jitter_ms.value());
    let there_and_back = 2 * cluster.network.latency_ms.range().end();
    Duration::from_millis(there_and_back + slowest.sum::<u64>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;

    fn max_of(cluster: &str) -> Duration {
        let text = format!("[cluster]\nelection_ms = 1000\n{cluster}[[workload]]\nkind = \"kv\"");
        let scenario = Scenario::parse("test.toml", &text).expect("it is right");
        election_max(scenario.resolve(1).cluster())
    }

    #[test]
    fn an_election_takes_what_network_and_disks_take() {
        let calm = "network = { latency_ms = 0 }\ndisk = { sync_ms = 0 }\n";
        assert_eq!(max_of(calm), Duration::from_millis(4500));
        let far = "network = { latency_ms = [1, 50] }\ndisk = { sync_ms = 0 }\n";
        assert_eq!(max_of(far), Duration::from_millis(4500 + 3 * 2 * 100));
        let slow = "network = { latency_ms = 0 }\n\
                    disk = { sync_ms = [1, 20], write_ms = 5, jitter_ms = 10 }\n";
        assert_eq!(max_of(slow), Duration::from_millis(4500 + 3 * 2 * 45));
    }
}
