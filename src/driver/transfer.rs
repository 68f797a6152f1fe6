//! Handing the leadership over, as [`detcd_core::membership`] decides it.

use crate::handle::{Handle, Header};
use detcd_core::api::{MemberId, Millis};
use detcd_core::error::Error;
use detcd_core::membership::{
    HandOver, HandOverEffect, HandOverEnd, LeaderTransfer, TransferEffect, TransferView,
};
use std::time::Duration;
use tokio::sync::watch;

type Leader = watch::Receiver<Option<MemberId>>;

impl Handle {
    /// Hands leadership to `to`; only the leader does that. `TimeoutLeaderTransfer` if it did not
    /// come to pass.
    pub async fn move_leader(&self, to: MemberId) -> Result<Header, Error> {
        let (own_id, mut leader) = (self.shared.member_id(), self.leader());
        let known = *leader.borrow();
        LeaderTransfer::asked(own_id, to, known, &self.shared.engine.voters())?;
        let timeout = Millis(self.shared.settings.call_timeout.as_millis() as u64);
        let election = self.shared.settings.election_timeout;
        let mut transfer = LeaderTransfer::new(own_id, to, now(), timeout, election);
        loop {
            transfer.handle(now(), &self.transfer_view(&mut leader, to));
            while let Some(effect) = transfer.poll() {
                match effect {
                    TransferEffect::Send { to } => self.shared.engine.transfer_leader(to),
                    TransferEffect::End(result) => return result.map(|()| self.header_now()),
                }
            }
            wait(&mut leader, transfer.deadline()).await?;
        }
    }

    /// Before this member stops: if it leads, it has another one lead, so that nobody has to wait
    /// for an election. It takes at most an election timeout, and may fail.
    pub async fn hand_over(&self) {
        let (own_id, mut leader) = (self.shared.member_id(), self.leader());
        if *leader.borrow() != Some(own_id) {
            return;
        }
        let engine = &self.shared.engine;
        let successors = engine.replication().successors(own_id, &engine.voters());
        let election = self.shared.settings.election_timeout;
        let mut hand_over = HandOver::new(own_id, successors, now(), election);
        loop {
            while let Some(effect) = hand_over.poll() {
                match effect {
                    HandOverEffect::Send { to } => engine.transfer_leader(to),
                    HandOverEffect::End(end) => return log_end(&end),
                }
            }
            let waited = wait(&mut leader, hand_over.deadline()).await;
            let (Ok(()), Some(to)) = (waited, hand_over.to()) else {
                return;
            };
            hand_over.handle(now(), &self.transfer_view(&mut leader, to));
        }
    }

    fn transfer_view(&self, leader: &mut Leader, to: MemberId) -> TransferView {
        TransferView {
            leader: *leader.borrow_and_update(),
            is_ready: self.shared.engine.replication().is_ready(to),
            is_connected: self.shared.transport.is_connected(to.0),
        }
    }
}

/// Waits until another member leads, or for the deadline.
async fn wait(leader: &mut Leader, deadline: Option<Millis>) -> Result<(), Error> {
    let pause = deadline.map_or(Millis(0), |deadline| deadline - now());
    let pause = Duration::from_millis(pause.0);
    match detcd_rt::timeout(pause, leader.changed()).await {
        Ok(Err(_)) => Err(Error::Stopped),
        Ok(Ok(())) | Err(_) => Ok(()),
    }
}

fn log_end(end: &HandOverEnd) {
    match end {
        HandOverEnd::To(to) => tracing::info!(new_leader = %to, "leadership was handed over"),
        HandOverEnd::Failed { error, .. } => {
            tracing::warn!(%error, "leadership could not be handed over");
        }
        HandOverEnd::NobodyThere => {
            tracing::info!("no other member is there to take over the leadership");
        }
    }
}

fn now() -> Millis {
    Millis(detcd_rt::now_ms())
}
