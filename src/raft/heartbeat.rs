//! The leader's heartbeats.
//!
//! The engine gives a heartbeat no longer for its answer than until the next one is due. Where a
//! round trip takes longer than that (a cluster across continents with the default of 100 ms),
//! no heartbeat would ever count as answered: the followers would follow, but the leader could
//! confirm no read and renew no lease. So the engine is told a longer interval, which is what an
//! answer may take, and the pace is set here. While an answer is on its way, the engine sends that
//! follower no other heartbeat.

use crate::machine::MachineAdapter;
use crate::node::RaftOptions;
use crate::running::Running;
use crate::types::Types;
use detcd_storage::store::Store;
use openraft::async_runtime::WatchReceiver;
use openraft::{Raft, ServerState};
use std::time::Duration;

/// What a heartbeat's answer may take. Two that are lost one after the other, and a third that is
/// late, must not make a follower stand for election, which it does three quarters of an election
/// timeout after the last that it got, at the earliest.
pub(crate) fn answer_timeout_ms(options: &RaftOptions) -> u64 {
    options.heartbeat_ms.max(options.election_ms / 4)
}

/// Has the engine send heartbeats at this pace, as long as it leads and runs.
pub(crate) async fn beat<S: Store>(
    raft: Raft<Types, MachineAdapter<S>>,
    running: Running,
    pace: Duration,
) {
    let metrics = raft.metrics();
    loop {
        detcd_rt::sleep(pace).await;
        let (leads, runs) = {
            let metrics = metrics.borrow_watched();
            let leads = metrics.state == ServerState::Leader;
            (leads, metrics.running_state.is_ok())
        };
        if !runs {
            return;
        }
        if leads && running.call(raft.trigger().heartbeat()).await.is_err() {
            return;
        }
    }
}
