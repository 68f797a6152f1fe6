//! The shell of one member: who waits for what, and what must be done next.
//!
//! A driver owns the [`Node`] and loops:
//!
//! 1. Tell it what happened: [`Node::handle`], as often as there is news. What is told together is
//!    proposed, forwarded and asked together.
//! 2. Do what it wants: [`Node::poll`] until it gives `None`. Effects may be executed in the
//!    background; how they end is the next news.
//! 3. Serve watchers: [`Node::poll_watches`] until it gives `None`. If its budget is spent by then,
//!    look for news without waiting, and go on.
//! 4. Wait for news, at most until [`Node::deadline`], then tell it [`Event::Tick`].
//!
//! Every request is answered exactly once, at the latest when the first news after its deadline
//! comes in, unless it was forgotten.

mod backoff;
mod leadership;
mod lease_requests;
mod reads;
mod room;
mod v2;
mod waiting;
mod writes;

use crate::api::{Alarm, AlarmKind, LeaseId, MemberId, Millis, Outcome, Reply};
use crate::auth::AuthState;
use crate::codec::encode_asked;
use crate::command::Command;
use crate::effect::Effect;
use crate::error::Error;
use crate::event::{Applied, Asker, Event, LeaseChange, Seq, V2State};
use crate::lease::Lessor;
use crate::limits::APPLY_LAG_MAX;
use crate::watch::{Budget, Hub, HubConfig, HubStats};
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::Bytes;
use leadership::{Leadership, Route};
use lease_requests::{LeaseRequests, Step};
use reads::{Reader, Reads};
use room::{Room, Verdict};
use v2::V2;
use writes::Writes;

/// The bit by which the names of a member's own proposals differ from those of requests.
pub const OWN_SEQ: u64 = 1 << 63;

/// What a node is told once.
#[derive(Clone, Copy, Debug)]
pub struct NodeConfig {
    pub id: MemberId,
    /// How long a request waits for its outcome (etcd: 5 s and two election timeouts).
    pub request_timeout: Millis,
    pub election_timeout: Millis,
    /// How often a watcher that wants progress and sees no events is told the revision.
    pub watch_progress_interval: Millis,
    /// Watch responses beyond this size are split, for watchers that allow it.
    pub fragment_bytes: usize,
    /// The store's size at which this member raises the alarm NOSPACE. `None`: no quota.
    pub quota_bytes: Option<u64>,
    /// Names the member's own proposals, and those after it: no request, and nothing in an earlier
    /// life of the process, has such a name.
    pub first_own_seq: Seq,
}

/// One member's shell.
pub struct Node {
    now: Millis,
    leadership: Leadership,
    committed: u64,
    applied: u64,
    revision: i64,
    compact_revision: i64,
    writes: Writes,
    reads: Reads,
    room: Room,
    next_own_seq: Seq,
    lease_requests: LeaseRequests,
    lessor: Lessor,
    hub: Hub,
    v2: V2,
    out: VecDeque<Effect>,
}

impl Node {
    /// A member that has applied everything up to `applied`, in whose state `leases` exist and
    /// `alarms` are raised, and the tree of v2 stands where `v2` says.
    pub fn new(
        config: NodeConfig,
        (leases, alarms, v2): (&[(LeaseId, i64)], &[Alarm], &V2State),
        revision: i64,
        compact_revision: i64,
        applied: u64,
    ) -> Node {
        Node {
            now: Millis(0),
            leadership: Leadership::new(config.id),
            committed: applied,
            applied,
            revision,
            compact_revision,
            writes: Writes::new(config.id, config.request_timeout, config.election_timeout),
            reads: Reads::new(config.request_timeout),
            room: Room::new(config.quota_bytes, alarms.contains(&no_space(config.id))),
            next_own_seq: config.first_own_seq,
            lease_requests: LeaseRequests::new(config.request_timeout),
            lessor: Lessor::new(config.election_timeout, leases),
            hub: Hub::new(
                HubConfig::new(config.watch_progress_interval, config.fragment_bytes),
                revision,
                compact_revision,
            ),
            v2: V2::new(config.election_timeout, v2),
            out: VecDeque::new(),
        }
    }

    /// The same member, in whose state these are the users and roles.
    pub fn with_auth(mut self, auth: Arc<AuthState>) -> Node {
        self.hub.auth_changed(auth);
        self
    }

    /// Takes in what happened. A clock that went back stands still.
    pub fn handle(&mut self, now: Millis, event: Event) {
        self.now = self.now.max(now);
        match event {
            Event::Tick => {}
            Event::Write {
                seq,
                command,
                growth,
            } => self.on_write(seq, command, growth),
            Event::StoreSize { bytes } => self.on_store_size(bytes),
            Event::Read { seq } => self.on_read(seq),
            Event::Forget { seq } => self.on_forget(seq),
            Event::NotProposed { seqs } => self.writes.not_proposed(self.now, &seqs),
            Event::RevokesRefused { leases } => {
                self.lessor.refused(self.now, &leases);
                self.v2.ttls.refused(self.now, &leases);
            }
            Event::ProposalsLost { seqs } => self.writes.lost(self.now, &seqs),
            Event::ReadConfirmed { round, index } => self.on_read_confirmed(round, index),
            Event::ReadFailed { round } => self.reads.failed(self.now, round),
            Event::Committed { index } => self.committed = self.committed.max(index),
            Event::Applied {
                index,
                term,
                revision,
                entries,
            } => self.on_applied((index, term), revision, entries),
            Event::Restored {
                index,
                revision,
                compact_revision,
                leases,
                alarms,
                v2,
                auth,
            } => {
                match alarms.contains(&no_space(self.leadership.me)) {
                    true => self.room.raised(),
                    false => self.room.disarmed(),
                }
                if index > self.applied {
                    self.on_restored(index, (revision, compact_revision), &leases, &v2);
                    self.hub.auth_changed(auth);
                }
            }
            Event::Role {
                term,
                leader,
                is_leader,
            } => self.on_role(term, leader, is_leader),
            Event::QuorumAcked { since } => self.quorum_acked(since),
            Event::KeepAlive { asker, lease } => self.on_lease_request(asker, lease, true),
            Event::TimeToLive { asker, lease } => self.on_lease_request(asker, lease, false),
            Event::LeaseAnswer { seq, result } => {
                let answer = self.lease_requests.answered(self.now, seq, result);
                self.out.extend(answer);
            }
            Event::WatchOpen { stream } => self.hub.open(stream),
            Event::WatchRequest {
                stream,
                request,
                principal,
            } => self.hub.request_for(self.now, stream, request, principal),
            Event::WatchRefused { stream, error } => self.hub.refuse(stream, &error),
            Event::WatchCredit { stream, n } => self.hub.credit(stream, n),
            Event::WatchClose { stream } => self.hub.close(stream),
            Event::V2WatchOpen { watcher, watch } => self.v2.hub.open(watcher, watch),
            Event::V2WatchClose { watcher } => self.v2.hub.close(watcher),
            Event::CaughtUp { catch_up, result } => self.hub.caught_up(catch_up, result),
        }
        // After the event: an outcome that comes in time with the deadline is still told.
        self.settle();
    }

    /// The next thing to do, but for watchers. Proposals come first: they take longest.
    pub fn poll(&mut self) -> Option<Effect> {
        if let Some(effect) = self.writes.send(&self.leadership) {
            return Some(effect);
        }
        self.route_lease_requests();
        let contact = self.wants_contact();
        if let Some(effect) = self.reads.ask(self.now, &self.leadership, contact) {
            return Some(effect);
        }
        if let Some(effect) = self.out.pop_front() {
            return Some(effect);
        }
        if self.room.take_measure() {
            return Some(Effect::MeasureStore);
        }
        let leases = self.lessor.take_expired(self.now);
        if !leases.is_empty() {
            let term = self.leadership.term;
            return Some(Effect::RevokeExpired { term, leases });
        }
        let ids = self.v2.ttls.take_expired(self.now);
        if !ids.is_empty() {
            let term = self.leadership.term;
            return Some(Effect::ExpireV2 { term, ids });
        }
        None
    }

    /// What may be done for watchers before news is taken in again.
    pub fn watch_budget(&self) -> Budget {
        self.hub.budget()
    }

    /// The next thing to do for watchers, within the budget. Nothing that happens between two calls
    /// takes anything from them.
    pub fn poll_watches(&mut self, budget: &mut Budget) -> Option<Effect> {
        let effect = self.hub.poll_within(budget);
        effect.or_else(|| self.v2.poll_within(budget))
    }

    /// When the node wants to hear of the time at the latest. Ask it when `poll` gave `None`.
    pub fn deadline(&self) -> Option<Millis> {
        let contact = self.wants_contact();
        let deadlines = [
            self.writes.deadline(&self.leadership),
            self.reads.deadline(&self.leadership, contact),
            self.lease_requests.deadline(&self.leadership),
            self.lessor.deadline(self.now),
            self.v2.ttls.deadline(self.now),
            self.hub.deadline(),
        ];
        deadlines.into_iter().flatten().min()
    }

    pub fn term(&self) -> u64 {
        self.leadership.log_term()
    }

    pub fn leader(&self) -> Option<MemberId> {
        self.leadership.leader
    }

    pub fn is_leader(&self) -> bool {
        self.leadership.is_leader
    }

    pub fn applied(&self) -> u64 {
        self.applied
    }

    pub fn revision(&self) -> i64 {
        self.revision
    }

    pub fn compact_revision(&self) -> i64 {
        self.compact_revision
    }

    /// Writes that wait for their outcome.
    pub fn pending_writes(&self) -> usize {
        self.writes.len()
    }

    pub fn leases(&self) -> usize {
        self.lessor.len()
    }

    /// Leases renewed so far, by this member as leader.
    pub fn renewals(&self) -> u64 {
        self.lessor.renewals()
    }

    /// What the watch hub has to look after.
    pub fn watches(&self) -> HubStats {
        self.hub.stats()
    }

    /// Watchers of v2.
    pub fn v2_watchers(&self) -> usize {
        self.v2.hub.len()
    }

    fn wants_contact(&self) -> bool {
        self.lessor.wants_contact(self.now) || self.v2.ttls.wants_contact(self.now)
    }

    fn quorum_acked(&mut self, since: Millis) {
        self.lessor.quorum_acked(since);
        self.v2.ttls.quorum_acked(since);
    }

    fn on_write(&mut self, seq: Seq, command: Bytes, growth: u64) {
        let unapplied = self.committed.saturating_sub(self.applied);
        let admitted = match unapplied > APPLY_LAG_MAX {
            true => Err(Error::TooManyRequests),
            false => self.writes.admit(self.now, seq, command),
        };
        match admitted {
            Ok(()) => self.find_room(seq, growth),
            Err(error) => self.end_write(seq, Err(error)),
        }
    }

    /// Holds a write that was admitted until it is known that there is room for it.
    fn find_room(&mut self, seq: Seq, growth: u64) {
        match self.room.judge(self.now, growth) {
            Verdict::Fits => self.writes.hold(seq),
            Verdict::Unsure => self.room.wait_for_size(seq, growth),
            Verdict::Full => {
                self.room.wait_for_alarm(seq);
                self.refuse_full();
            }
        }
    }

    fn on_store_size(&mut self, bytes: u64) {
        for (seq, growth) in self.room.measured(self.now, bytes) {
            self.find_room(seq, growth);
        }
        self.refuse_full();
    }

    /// Raises the alarm if nothing more fits, and refuses the writes that waited for it.
    fn refuse_full(&mut self) {
        if self.room.must_raise() {
            let seq = self.next_own_seq;
            self.next_own_seq = Seq(seq.0.wrapping_add(1) | OWN_SEQ);
            let command = Command::AlarmRaise(no_space(self.leadership.me));
            let principal = self.hub.auth().member_principal();
            let command = encode_asked(&principal, &command);
            let admitted = self.writes.admit(self.now, seq, command);
            // A member that has too many writes waiting raises it later.
            if admitted.is_ok() {
                self.room.raise(seq);
                self.writes.hold(seq);
            }
        }
        for seq in self.room.take_refused() {
            self.writes.forget(seq);
            self.end_write(seq, Err(Error::NoSpace));
        }
    }

    /// Tells whoever waits for a write what became of it. The alarm's own write concerns nobody else.
    fn end_write(&mut self, seq: Seq, result: Result<Outcome, Error>) {
        if self.room.raise_ended(seq) {
            return;
        }
        // One that was to be refused entered no log, whatever became of the alarm.
        let result = match self.room.forget(seq) {
            true => Err(Error::NoSpace),
            false => result,
        };
        self.out.push_back(Effect::Answer { seq, result });
    }

    /// Takes notice of what an entry says of this member's alarm.
    fn on_alarm(&mut self, reply: &Reply) {
        let own = no_space(self.leadership.me);
        match reply {
            Reply::AlarmRaise(alarm) if *alarm == own => self.room.raised(),
            Reply::AlarmDisarm(Some(alarm)) if *alarm == own => self.room.disarmed(),
            _ => {}
        }
    }

    fn on_read(&mut self, seq: Seq) {
        if let Err(error) = self.reads.admit(self.now, Reader::Client(seq)) {
            let result = Err(error);
            self.out.push_back(Effect::ReadReady { seq, result });
        }
    }

    fn on_lease_request(&mut self, asker: Asker, lease: LeaseId, keep_alive: bool) {
        let call = (lease, keep_alive);
        let admitted = self
            .lease_requests
            .admit(self.now, &self.leadership, asker, call);
        if let Err(error) = admitted {
            self.out
                .push_back(lease_requests::answer(asker, Err(error)));
        }
    }

    fn on_forget(&mut self, seq: Seq) {
        self.writes.forget(seq);
        self.room.forget(seq);
        self.reads.forget(Reader::Client(seq));
        if let Some(reader) = self.lease_requests.forget(Asker::Local(seq)) {
            self.reads.forget(reader);
        }
    }

    fn on_read_confirmed(&mut self, round: u64, index: u64) {
        if let Some(since) = self.reads.confirmed(round, index) {
            self.quorum_acked(since);
        }
        self.release_reads();
    }

    fn on_applied(&mut self, (index, term): (u64, u64), revision: i64, entries: Vec<Applied>) {
        // The state that the node started from may be newer than the news under way, of which
        // only the term is news then.
        if index > self.applied {
            self.applied = index;
            self.committed = self.committed.max(index);
            self.revision = revision;
            self.on_entries(entries);
            self.room.look(self.now);
            self.refuse_full();
        }
        if term > self.leadership.applied_term {
            self.leadership.applied_term = term;
            for seq in self.writes.passed_to_term(term) {
                self.end_write(seq, Err(Error::TimeoutLeaderLost));
            }
            self.lessor.applied_term(self.now, term);
            self.v2.ttls.applied_term(self.now, term);
        }
        self.release_reads();
    }

    fn on_entries(&mut self, entries: Vec<Applied>) {
        let (mut changes, mut compacted) = (Vec::new(), None);
        for mut entry in entries {
            changes.append(&mut entry.changes);
            if let Some(change) = entry.auth.take() {
                // What came before it, watchers may still see.
                self.hub.changes(entry.outcome.revision, &changes);
                changes.clear();
                self.hub.auth_changed(change.state);
            }
            compacted = entry.compacted.or(compacted);
            self.on_entry(entry);
        }
        // Together: a watcher gets the batch as one response.
        self.hub.changes(self.revision, &changes);
        if let Some(compacted) = compacted {
            self.compact_revision = compacted;
            self.hub.compacted(compacted);
        }
    }

    fn on_entry(&mut self, entry: Applied) {
        match entry.lease {
            Some(LeaseChange::Granted { id, ttl }) => self.lessor.granted(self.now, id, ttl),
            Some(LeaseChange::Revoked { id }) => {
                self.lessor.revoked(id);
                self.out.extend(self.lease_requests.revoked(id));
            }
            None => {}
        }
        if let Some(applied) = &entry.v2 {
            self.v2.applied(self.now, applied);
        }
        if let Ok(reply) = &entry.outcome.result {
            self.on_alarm(reply);
        }
        if let Some((origin, seq)) = entry.origin
            && origin == self.leadership.me
            && self.writes.applied(seq)
        {
            self.end_write(seq, Ok(entry.outcome));
        }
    }

    fn on_restored(
        &mut self,
        index: u64,
        revisions: (i64, i64),
        leases: &[(LeaseId, i64)],
        v2: &V2State,
    ) {
        self.applied = index;
        self.committed = self.committed.max(index);
        (self.revision, self.compact_revision) = revisions;
        self.lessor.restored(self.now, leases);
        self.hub.restored(self.revision, self.compact_revision);
        self.v2.restored(self.now, v2);
        self.release_reads();
    }

    fn on_role(&mut self, term: u64, leader: Option<MemberId>, is_leader: bool) {
        let before = self.leadership;
        self.leadership = Leadership {
            term,
            leader: if is_leader { Some(before.me) } else { leader },
            is_leader,
            ..before
        };
        if self.leadership == before {
            return;
        }
        match is_leader {
            true if before.is_leader && before.term == term => {}
            true => {
                self.lessor.elected(term);
                // The news of the first entry of the term may have come before this.
                self.lessor.applied_term(self.now, before.applied_term);
                self.v2.ttls.elected(term);
                self.v2.ttls.applied_term(self.now, before.applied_term);
            }
            false if crate::mutant!(StalledLeaderRevokes) => {}
            false => {
                self.lessor.demote();
                self.v2.ttls.demote();
            }
        }
        self.writes.leadership_changed();
        self.reads.leadership_changed();
        let (answers, attempts) = self.lease_requests.leadership_changed(&self.leadership);
        self.out.extend(answers);
        attempts
            .into_iter()
            .for_each(|attempt| self.reads.forget(attempt));
    }

    /// Lets the reads run whose index is applied.
    fn release_reads(&mut self) {
        for reader in self.reads.take_ready(self.applied) {
            match reader {
                Reader::Client(seq) => {
                    let result = Ok(());
                    self.out.push_back(Effect::ReadReady { seq, result });
                }
                Reader::Lease { attempt, asker } => {
                    let answer =
                        self.lease_requests
                            .read_ready(self.now, attempt, asker, &mut self.lessor);
                    self.out.extend(answer);
                }
            }
        }
    }

    /// Leads calls about leases to the leader or, if this is it, into the next read round.
    fn route_lease_requests(&mut self) {
        while let Some(step) = self.lease_requests.route(&self.leadership) {
            match step {
                Step::Do(effect) => self.out.push_back(effect),
                Step::Read(reader) => {
                    if let (Err(error), Reader::Lease { asker, .. }) =
                        (self.reads.admit(self.now, reader), reader)
                    {
                        self.lease_requests.forget(asker);
                        self.out
                            .push_back(lease_requests::answer(asker, Err(error)));
                    }
                }
            }
        }
    }

    /// Ends what has come due.
    fn settle(&mut self) {
        let now = self.now;
        while let Some((seq, error)) = self.writes.pop_expired(now, &self.leadership) {
            self.end_write(seq, Err(error));
        }
        let leadership = &self.leadership;
        // Before the reads: a request ends the read that it has among them.
        while let Some((answer, attempt)) = self.lease_requests.pop_expired(now, leadership) {
            attempt
                .into_iter()
                .for_each(|attempt| self.reads.forget(attempt));
            self.out.push_back(answer);
        }
        while let Some((reader, error)) = self.reads.pop_expired(now, leadership) {
            if let Reader::Client(seq) = reader {
                let result = Err(error);
                self.out.push_back(Effect::ReadReady { seq, result });
            }
        }
        self.writes.tick(now);
        self.reads.tick(now);
        self.lease_requests.tick(now);
        self.hub.tick(now);
    }

    /// Panics if the node contradicts itself. For tests and simulation, after each step.
    pub fn check(&self) {
        self.writes.check();
        self.reads.check(self.applied);
        self.room.check();
        self.lease_requests.check();
        self.lessor.check();
        self.hub.check();
        self.v2.check();
        assert!(self.applied <= self.committed);
        assert!(self.compact_revision <= self.revision);
        let leadership = &self.leadership;
        assert!(!leadership.is_leader || leadership.leader == Some(leadership.me));
        assert!(!self.lessor.is_primary() || leadership.route() == Some(Route::Here));
    }
}

/// The alarm that a member has no space.
fn no_space(member: MemberId) -> Alarm {
    Alarm {
        member,
        kind: AlarmKind::NoSpace,
    }
}
