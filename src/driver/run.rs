//! The loop: input -> event -> node -> effect -> IO.

use crate::compactor::Compactor;
use crate::inbox::{Completions, Inbox, Input, V2Notice};
use crate::peers::{self, LeaseQuestion};
use crate::shared::Shared;
use crate::stats::Stats;
use crate::waiters::{Waiters, Waiting};
use detcd_core::api::{Alarm, LeaseId, MemberId, Millis, Reply, StreamId, WatchResponse};
use detcd_core::codec;
use detcd_core::command::{Command, Proposal};
use detcd_core::effect::Effect;
use detcd_core::error::Error;
use detcd_core::event::{Applied, Asker, Event, Seq};
use detcd_core::node::Node;
use detcd_core::query;
use detcd_core::watch::Budget;
use detcd_peer::{Kind, TransportError};
use detcd_rt::Instant;
use detcd_rt::buggify::{Place, maybe_wait, takes_rare_path};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::mpsc;

/// Inputs handled before their effects run: what came together is proposed together.
const INPUTS_PER_ROUND: usize = 1024;
/// A read round that takes longer is slow (etcd asks again after this time).
const SLOW_READ_ROUND: Duration = Duration::from_millis(500);

/// The loop's own state.
pub(crate) struct Run {
    shared: Arc<Shared>,
    node: Node,
    completions: Completions,
    compactor: Compactor,
    waiters: Waiters,
    streams: BTreeMap<StreamId, mpsc::UnboundedSender<Result<WatchResponse, Error>>>,
    v2_watchers: BTreeMap<StreamId, mpsc::Sender<V2Notice>>,
    /// Whether the last round's work for watchers was cut off.
    watchers_wait: bool,
}

impl Run {
    pub fn new(
        shared: Arc<Shared>,
        node: Node,
        completions: Completions,
        compactor: Compactor,
    ) -> Run {
        Run {
            shared,
            node,
            completions,
            compactor,
            waiters: Waiters::default(),
            streams: BTreeMap::new(),
            v2_watchers: BTreeMap::new(),
            watchers_wait: false,
        }
    }

    /// Runs until a stop is asked for or every handle is gone.
    pub async fn run(mut self, mut inbox: Inbox) {
        let mut inputs = Vec::with_capacity(INPUTS_PER_ROUND);
        loop {
            match self.wait(&mut inbox).await {
                Some(first) => inputs.extend(first),
                // Every handle and every source of completions is gone.
                None => return,
            }
            // What queued up meanwhile joins this round.
            let inputs_max = match takes_rare_path(Place::InputSingly) {
                true => 1,
                false => INPUTS_PER_ROUND,
            };
            while inputs.len() < inputs_max {
                let Ok(input) = inbox
                    .completions
                    .try_recv()
                    .or_else(|_| inbox.requests.try_recv())
                else {
                    break;
                };
                inputs.push(input);
            }
            let now = now();
            for input in inputs.drain(..) {
                if matches!(input, Input::Stop) {
                    return;
                }
                self.take(now, input);
            }
            self.drain();
            self.count();
        }
    }

    /// Waits for the first input of a round, unless watchers wait: then others who are ready run
    /// first, and the round may have none.
    async fn wait(&self, inbox: &mut Inbox) -> Option<Option<Input>> {
        let deadline = self.node.deadline();
        if self.watchers_wait {
            detcd_rt::yield_now().await;
            let is_due = deadline.is_some_and(|deadline| deadline <= now());
            return Some(is_due.then_some(Input::Event(Event::Tick)));
        }
        let first = tokio::select! {
            biased;
            input = inbox.completions.recv() => input,
            input = inbox.requests.recv() => input,
            () = sleep_until(deadline) => Some(Input::Event(Event::Tick)),
        };
        first.map(Some)
    }

    fn take(&mut self, now: Millis, input: Input) {
        let event = match input {
            Input::Event(event) => event,
            Input::Write {
                seq,
                command,
                growth,
                waiter,
            } => {
                self.waiters
                    .insert(Asker::Local(seq), Waiting::Write(waiter));
                Event::Write {
                    seq,
                    command,
                    growth,
                }
            }
            Input::Read { seq, waiter } => {
                self.waiters
                    .insert(Asker::Local(seq), Waiting::Read(waiter));
                Event::Read { seq }
            }
            Input::Lease { seq, event, waiter } => {
                self.waiters
                    .insert(Asker::Local(seq), Waiting::Lease(waiter));
                event
            }
            Input::PeerLease {
                ticket,
                event,
                waiter,
            } => {
                self.waiters
                    .insert(Asker::Peer(ticket), Waiting::Lease(waiter));
                event
            }
            Input::WatchOpen { stream, responses } => {
                self.streams.insert(stream, responses);
                Event::WatchOpen { stream }
            }
            Input::V2WatchOpen {
                watcher,
                watch,
                notices,
            } => {
                self.v2_watchers.insert(watcher, notices);
                Event::V2WatchOpen { watcher, watch }
            }
            Input::Defragment(done) => {
                self.compactor.defragment(done);
                return;
            }
            Input::Stop => unreachable!("the loop ends before it takes a stop"),
        };
        let compacted = self.observe(&event);
        self.node.handle(now, event);
        // Only now, when the watchers know: rows that they still need must not go before.
        if let Some(revision) = compacted {
            self.compactor.compact(revision);
        }
    }

    /// What the driver itself learns from an event, besides telling the node; gives the revision
    /// to remove rows up to, if the event moved it.
    fn observe(&mut self, event: &Event) -> Option<i64> {
        match event {
            Event::Role { term, .. } => self.shared.term.store(*term, Ordering::Relaxed),
            Event::Applied { index, entries, .. } => {
                self.shared.tokens.applied(*index, entries);
                self.shared.stats.applied(entries);
                log_alarms(entries);
                self.shared.note_members();
                return entries.iter().filter_map(|entry| entry.compacted).max();
            }
            Event::Restored {
                index,
                compact_revision,
                ..
            } => {
                self.shared.tokens.restored(*index);
                self.shared.note_members();
                return Some(*compact_revision);
            }
            Event::ReadFailed { .. } => self.shared.stats.read_rounds_failed.add(1),
            Event::Forget { seq } => {
                self.waiters.forget(Asker::Local(*seq));
            }
            Event::WatchClose { stream } => {
                self.streams.remove(stream);
            }
            Event::V2WatchClose { watcher } => {
                self.v2_watchers.remove(watcher);
            }
            _ => {}
        }
        None
    }

    /// What only the node knows.
    fn count(&self) {
        let (stats, watches) = (&self.shared.stats, self.node.watches());
        stats
            .proposals_pending
            .set(self.node.pending_writes() as u64);
        stats.leases_renewed.set(self.node.renewals());
        stats.watchers.set(watches.watchers as u64);
        stats.watchers_lagging.set(watches.unsynced as u64);
    }

    fn drain(&mut self) {
        while let Some(effect) = self.node.poll() {
            self.execute(effect);
        }
        let mut budget = match takes_rare_path(Place::WatchSingly) {
            true => Budget::new(1),
            false => self.node.watch_budget(),
        };
        while let Some(effect) = self.node.poll_watches(&mut budget) {
            self.execute(effect);
        }
        self.watchers_wait = budget.is_spent();
    }

    fn execute(&mut self, effect: Effect) {
        match effect {
            Effect::Propose { proposals } => self.shared.engine.propose(proposals),
            Effect::Forward { to, proposals } => self.forward(to, proposals),
            Effect::ConfirmRead { round } => self.confirm_read(round),
            Effect::AskReadIndex { round, leader } => self.ask_read_index(round, leader),
            Effect::ReadReady { seq, result } => self.waiters.end_read(Asker::Local(seq), result),
            Effect::Answer { seq, result } => self.waiters.end_write(Asker::Local(seq), result),
            Effect::AnswerLease { seq, result } => {
                self.waiters.end_lease(Asker::Local(seq), result);
            }
            Effect::AnswerPeer { ticket, result } => {
                self.waiters.end_lease(Asker::Peer(ticket), result);
            }
            Effect::ForwardLease {
                seq,
                leader,
                lease,
                keep_alive,
            } => {
                self.forward_lease(seq, leader, lease, keep_alive);
            }
            Effect::RevokeExpired { term, leases } => {
                // Nobody waits for the outcome: the node sees the revocations applied.
                let principal = self.shared.engine.published().auth.member_principal();
                let revoke = |id| Proposal {
                    origin: self.shared.member_id(),
                    seq: Seq::NOBODY.0,
                    command: codec::encode_asked(&principal, &Command::LeaseRevoke { id }),
                };
                self.shared.stats.leases_expired.add(leases.len() as u64);
                let leader = *self.shared.leader.borrow();
                if detcd_core::mutant!(StalledLeaderRevokes)
                    && let Some(other) = leader.filter(|leader| *leader != self.shared.member_id())
                {
                    return self.forward(other, leases.into_iter().map(revoke).collect());
                }
                for id in leases {
                    self.shared.engine.revoke(term, id, revoke(id));
                }
            }
            Effect::MeasureStore => {
                let bytes = self.shared.engine.size().total_bytes;
                let size = Event::StoreSize { bytes };
                let _ = self.completions.send(Input::Event(size));
            }
            Effect::WatchSend { stream, response } => {
                if let Some(responses) = self.streams.get(&stream) {
                    let events = response.events.len() as u64;
                    let stats = &self.shared.stats;
                    stats.events_pending.add(events);
                    match responses.send(Ok(response)) {
                        Ok(()) => stats.events_sent.add(events),
                        // The stream is closed, which the node hears next.
                        Err(_) => stats.events_pending.subtract(events),
                    }
                }
            }
            Effect::WatchEnd { stream, error } => {
                if let Some(responses) = self.streams.remove(&stream) {
                    let _ = responses.send(Err(error));
                }
            }
            Effect::CatchUp { catch_up, from, to } => self.catch_up(catch_up, from, to),
            Effect::ExpireV2 { term, ids } => {
                for id in ids {
                    let expire = Command::V2Expire { id: id.0 as u64 };
                    let proposal = Proposal {
                        origin: self.shared.member_id(),
                        seq: Seq::NOBODY.0,
                        command: codec::encode_command(&expire),
                    };
                    self.shared.engine.revoke(term, id, proposal);
                }
            }
            Effect::V2Watching { watcher, index } => {
                self.tell_v2(watcher, V2Notice::Registered { index });
            }
            Effect::V2WatchSend {
                watcher,
                event,
                is_last,
            } => {
                self.tell_v2(watcher, V2Notice::Event(event));
                if is_last {
                    self.v2_watchers.remove(&watcher);
                }
            }
            Effect::V2WatchEnd { watcher } => {
                self.v2_watchers.remove(&watcher);
            }
        }
    }

    /// A watcher that is too slow is forgotten, and reads on in the history.
    fn tell_v2(&mut self, watcher: StreamId, notice: V2Notice) {
        let Some(notices) = self.v2_watchers.get(&watcher) else {
            return;
        };
        if notices.try_send(notice).is_err() {
            self.v2_watchers.remove(&watcher);
            let close = Event::V2WatchClose { watcher };
            let _ = self.completions.send(Input::Event(close));
        }
    }

    fn forward(&self, to: MemberId, proposals: Vec<Proposal>) {
        let seqs: Vec<Seq> = proposals.iter().map(|proposal| Seq(proposal.seq)).collect();
        let body = peers::encode_proposals(&proposals);
        self.call(to, Kind::Propose, body, move |result| match result {
            Ok(body) => match peers::decode_refused(&body) {
                Ok(refused) if refused.is_empty() => None,
                Ok(refused) => Some(Event::NotProposed { seqs: refused }),
                Err(_) => Some(Event::ProposalsLost { seqs }),
            },
            Err(TransportError::Unreachable(..) | TransportError::Refused(..)) => {
                Some(Event::NotProposed { seqs })
            }
            Err(TransportError::Lost(..)) => Some(Event::ProposalsLost { seqs }),
        });
    }

    fn confirm_read(&self, round: u64) {
        let read_index = self.shared.engine.read_index();
        let (completions, stats) = (self.completions.clone(), self.shared.stats.clone());
        detcd_rt::spawn(async move {
            let begun = Instant::now();
            let result = read_index.await;
            count_slow(&stats, begun);
            maybe_wait(Place::ReadIndex).await;
            let event = match result {
                Ok(index) => Event::ReadConfirmed { round, index },
                Err(_) => Event::ReadFailed { round },
            };
            let _ = completions.send(Input::Event(event));
        });
    }

    fn ask_read_index(&self, round: u64, leader: MemberId) {
        let (begun, stats) = (Instant::now(), self.shared.stats.clone());
        self.call(
            leader,
            Kind::ReadIndex,
            bytes::Bytes::new(),
            move |result| {
                count_slow(&stats, begun);
                let index = result.ok().and_then(|body| peers::decode_index(&body).ok());
                Some(match index {
                    Some(index) => Event::ReadConfirmed { round, index },
                    None => Event::ReadFailed { round },
                })
            },
        );
    }

    fn forward_lease(&self, seq: Seq, leader: MemberId, lease: LeaseId, keep_alive: bool) {
        let body = LeaseQuestion { lease, keep_alive }.encode();
        self.call(leader, Kind::Lease, body, move |result| {
            let result = match result {
                Ok(body) => peers::decode_lease_answer(&body),
                Err(_) => Err(Error::TimeoutConnectionLost),
            };
            Some(Event::LeaseAnswer { seq, result })
        });
    }

    fn catch_up(&self, catch_up: u64, from: i64, to: i64) {
        let shared = self.shared.clone();
        let completions = self.completions.clone();
        detcd_rt::spawn(async move {
            maybe_wait(Place::CatchUp).await;
            let published = shared.engine.published();
            let at = published.at();
            let read =
                detcd_rt::spawn_blocking(move || query::changes(&*published.view, at, from, to));
            match read.await {
                Ok(Ok(result)) => {
                    let event = Event::CaughtUp { catch_up, result };
                    let _ = completions.send(Input::Event(event));
                }
                Ok(Err(fault)) => shared.halt(&fault.to_string()),
                // The runtime is shutting down.
                Err(_) => {}
            }
        });
    }

    /// Calls another member in a task of its own; the completion is the next event.
    fn call(
        &self,
        to: MemberId,
        kind: Kind,
        body: bytes::Bytes,
        complete: impl FnOnce(Result<bytes::Bytes, TransportError>) -> Option<Event> + Send + 'static,
    ) {
        let call = self
            .shared
            .transport
            .call(to.0, kind, body, self.shared.settings.call_timeout);
        let completions = self.completions.clone();
        detcd_rt::spawn(async move {
            let answer = call.await;
            maybe_wait(Place::PeerAnswer).await;
            if let Some(event) = complete(answer) {
                let _ = completions.send(Input::Event(event));
            }
        });
    }
}

/// Operators read of alarms in every member's log, as etcd tells them.
fn log_alarms(entries: &[Applied]) {
    for entry in entries {
        match &entry.outcome.result {
            Ok(Reply::AlarmRaise(Alarm { member, kind })) => {
                tracing::warn!(alarm = %kind, from = %member, "alarm raised");
            }
            Ok(Reply::AlarmDisarm(Some(Alarm { member, kind }))) => {
                tracing::warn!(alarm = %kind, from = %member, "alarm disarmed");
            }
            Ok(Reply::Downgrade(Some(target))) => {
                tracing::info!(
                    "target-version" = target,
                    "The server is ready to downgrade"
                );
            }
            Ok(Reply::Downgrade(None)) => tracing::info!("the downgrade is called off"),
            _ => {}
        }
    }
}

fn count_slow(stats: &Stats, begun: Instant) {
    if begun.elapsed() > SLOW_READ_ROUND {
        stats.read_rounds_slow.add(1);
    }
}

/// This member's monotonic clock, in the core's unit.
pub(crate) fn now() -> Millis {
    if detcd_core::mutant!(LeaseReadWallClock) {
        return Millis(detcd_rt::wall_unix_ms());
    }
    Millis(detcd_rt::now_ms())
}

async fn sleep_until(deadline: Option<Millis>) {
    match deadline {
        Some(deadline) => detcd_rt::sleep(Duration::from_millis((deadline - now()).0)).await,
        None => std::future::pending().await,
    }
}
