//! Proposals on their way into the engine, and refusals on their way back.
//!
//! An entry that is committed needs no answer here: whoever waits for it is answered when the
//! entry is applied. So the engine's responder only looks for refusals, costs no allocation and
//! no task, and forgets everything else (an entry that was discarded has an unknown outcome, and
//! those time out where the request waits).

use crate::node::Sink;
use crate::payload;
use crate::running::Running;
use crate::types::{Command, LogId, Types};
use detcd_core::api::LeaseId;
use detcd_core::command::Proposal;
use detcd_core::event::{Event, Seq};
use detcd_rt::Instant;
use openraft::errors::{ClientWriteError, ForwardReason};
use openraft::raft::ClientWriteResult;
use openraft::raft::responder::Responder;
use openraft::storage::RaftStateMachine;
use openraft::{OptionalSend, Raft};
use std::time::Duration;
use tokio::sync::mpsc;

/// A healthy new leader refuses proposals until it has heard from its quorum, a few milliseconds
/// after its election. They were not proposed, so they are tried again after this.
const RETRY_AFTER: Duration = Duration::from_millis(2);

/// Hands proposals to the engine in order, on a task of its own.
#[derive(Clone)]
pub(crate) struct Proposer {
    queue: mpsc::UnboundedSender<(Vec<Proposal>, Report)>,
}

impl Proposer {
    /// `wait_max`: how long a proposal is tried again while this member leads without a quorum.
    pub(crate) fn start<M>(
        raft: Raft<Types, M>,
        running: Running,
        sink: Sink,
        wait_max: Duration,
    ) -> Proposer
    where
        M: RaftStateMachine<Types>,
    {
        let (queue, proposals) = mpsc::unbounded_channel();
        let (settle, settled) = mpsc::unbounded_channel();
        let engine = Engine {
            raft,
            running,
            settle,
            wait_max,
        };
        detcd_rt::spawn(propose(engine.clone(), proposals, sink.clone()));
        detcd_rt::spawn(settle_refusals(engine, settled, sink));
        Proposer { queue }
    }

    /// Queues proposals; their refusals come as events. The queue is bounded by the writes that a
    /// member lets be pending.
    pub(crate) fn propose(&self, proposals: Vec<Proposal>) {
        // The task is gone only when the process ends.
        let _ = self.queue.send((proposals, Report::Event));
    }

    /// Queues the revocation of a lease, which is refused unless this member leads `term` when it is
    /// taken up.
    pub(crate) fn revoke(&self, term: u64, lease: LeaseId, proposal: Proposal) {
        let report = Report::Revoke { term, lease };
        let _ = self.queue.send((vec![proposal], report));
    }

    /// Queues another member's proposals, waits until the engine is through with each, and gives
    /// back those that it refused.
    pub(crate) async fn propose_and_wait(&self, proposals: Vec<Proposal>) -> Vec<Seq> {
        let (refused, mut refusals) = mpsc::unbounded_channel();
        let _ = self.queue.send((proposals, Report::Waiter(refused)));
        let mut seqs = Vec::new();
        // Ends when the engine has dropped the responder of every proposal.
        while let Some(seq) = refusals.recv().await {
            seqs.push(seq);
        }
        seqs
    }
}

/// Who is told of a refusal.
#[derive(Clone)]
enum Report {
    Event,
    /// The core, which revokes a lease; and the proposal is only for this term.
    Revoke {
        term: u64,
        lease: LeaseId,
    },
    /// Each proposal under way holds a clone.
    Waiter(mpsc::UnboundedSender<Seq>),
}

/// The engine's responder of one proposal.
pub(crate) struct Refusal<T> {
    proposed: Proposed,
    settle: mpsc::UnboundedSender<Settled>,
    judge: fn(Proposed, &mpsc::UnboundedSender<Settled>, T),
}

impl<T: OptionalSend + 'static> Responder<Types, T> for Refusal<T> {
    fn on_commit(&mut self, _log_id: LogId) {}

    fn on_complete(self, result: T) {
        (self.judge)(self.proposed, &self.settle, result);
    }
}

#[derive(Clone)]
struct Proposed {
    seq: Seq,
    command: Command,
    report: Report,
    /// Until when it may be tried again.
    deadline: Instant,
}

enum Settled {
    Refused(Seq, Report),
    Again(Proposed),
}

/// Tells refusals to whom they concern; those of this member's own proposals in one event.
fn tell(refused: Vec<(Seq, Report)>, sink: &Sink) {
    let (mut seqs, mut leases) = (Vec::new(), Vec::new());
    for (seq, report) in refused {
        match report {
            Report::Event => seqs.push(seq),
            Report::Revoke { lease, .. } => leases.push(lease),
            // The peer that asked may be gone.
            Report::Waiter(waiter) => drop(waiter.send(seq)),
        }
    }
    if !seqs.is_empty() {
        sink(Event::NotProposed { seqs });
    }
    if !leases.is_empty() {
        sink(Event::RevokesRefused { leases });
    }
}

fn judge(
    proposed: Proposed,
    settle: &mpsc::UnboundedSender<Settled>,
    result: ClientWriteResult<Types>,
) {
    let Err(ClientWriteError::ForwardToLeader(forward)) = result else {
        return;
    };
    let again = forward.reason == ForwardReason::LeaseExpired && Instant::now() < proposed.deadline;
    let settled = if again {
        Settled::Again(proposed)
    } else {
        Settled::Refused(proposed.seq, proposed.report)
    };
    // As above: gone only when the process ends.
    let _ = settle.send(settled);
}

struct Engine<M: RaftStateMachine<Types>> {
    raft: Raft<Types, M>,
    running: Running,
    settle: mpsc::UnboundedSender<Settled>,
    wait_max: Duration,
}

impl<M: RaftStateMachine<Types>> Clone for Engine<M> {
    fn clone(&self) -> Self {
        Engine {
            raft: self.raft.clone(),
            running: self.running.clone(),
            settle: self.settle.clone(),
            wait_max: self.wait_max,
        }
    }
}

impl<M: RaftStateMachine<Types>> Engine<M> {
    async fn write(&self, proposed: Proposed) -> Result<(), (Seq, Report)> {
        let refused = (proposed.seq, proposed.report.clone());
        let command = proposed.command.clone();
        let only_in = match proposed.report {
            Report::Revoke { term, .. } => Some(term),
            Report::Event | Report::Waiter(_) => None,
        };
        let refusal = Refusal {
            proposed,
            settle: self.settle.clone(),
            judge,
        };
        let write = async {
            match only_in {
                Some(term) => {
                    let request = self.raft.write(command).responder(refusal);
                    request.with_leader(term).await
                }
                None => self.raft.client_write_ff(command, Some(refusal)).await,
            }
        };
        // An error here means that the engine has stopped: it never saw the proposal.
        match self.running.call(write).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(refused),
        }
    }
}

async fn propose<M: RaftStateMachine<Types>>(
    engine: Engine<M>,
    mut proposals: mpsc::UnboundedReceiver<(Vec<Proposal>, Report)>,
    sink: Sink,
) {
    while let Some((batch, report)) = proposals.recv().await {
        let deadline = Instant::now() + engine.wait_max;
        let mut refused = Vec::new();
        for proposal in batch {
            let command = payload::encode_proposal(&proposal);
            let proposed = Proposed {
                seq: Seq(proposal.seq),
                command,
                report: report.clone(),
                deadline,
            };
            if let Err(refusal) = engine.write(proposed).await {
                refused.push(refusal);
            }
        }
        tell(refused, &sink);
    }
}

async fn settle_refusals<M: RaftStateMachine<Types>>(
    engine: Engine<M>,
    mut settled: mpsc::UnboundedReceiver<Settled>,
    sink: Sink,
) {
    let mut batch = Vec::new();
    while settled.recv_many(&mut batch, 1024).await > 0 {
        let mut refused = Vec::new();
        let mut again = Vec::new();
        for settled in batch.drain(..) {
            match settled {
                Settled::Refused(seq, report) => refused.push((seq, report)),
                Settled::Again(proposed) => again.push(proposed),
            }
        }
        if !again.is_empty() {
            detcd_rt::sleep(RETRY_AFTER).await;
        }
        for proposed in again {
            if let Err(refusal) = engine.write(proposed).await {
                refused.push(refusal);
            }
        }
        tell(refused, &sink);
    }
}
