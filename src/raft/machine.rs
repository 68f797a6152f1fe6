//! The replicated state under openraft's traits: core's machine over the store.
//!
//! Entries are applied in batches. A batch is decoded and applied to one overlay, written to the
//! store in one write together with the applied index, published as one view, and told in one
//! event.

use crate::keys::Keys;
use crate::log::{Persist, unreadable};
use crate::meta::{self, RaftRows};
use crate::node::Sink;
use crate::payload;
use crate::purge::Purge;
use crate::trace_steps;
use crate::types::{Entry, LogId, Membership, SnapshotMeta, StoredMembership, Types, term_of};
use arc_swap::ArcSwap;
use detcd_core::api::{Member, MemberId};
use detcd_core::event::{self, Event};
use detcd_core::kv::index::{Indexed, LiveKeys};
use detcd_core::machine::Machine;
use detcd_core::membership::{LogSize, RaftMembership};
use detcd_core::overlay::Overlay;
use detcd_core::query;
use detcd_core::status::{Published, Roster};
use detcd_core::v2;
use detcd_core::view::{Batch, Fault, Table, View as _};
use detcd_rt::buggify::{Place, maybe_wait, takes_rare_path};
use detcd_storage::RESTORE;
use detcd_storage::log::Position;
use detcd_storage::store::{Stage, Store};
use futures::future::FutureExt;
use futures::stream::{Stream, StreamExt};
use openraft::entry::RaftEntry;
use openraft::storage::{
    ApplyResponder, EntryResponder, RaftSnapshotBuilder, RaftStateMachine, Snapshot,
};
use openraft::{EntryPayload, OptionalSend, alias};
use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Entries in one batch of apply.
const BATCH_ENTRIES_MAX: usize = 1024;
/// Payload bytes in one batch of apply.
const BATCH_BYTES_MAX: usize = 2 * 1024 * 1024;

pub(crate) struct MachineAdapter<S: Store> {
    store: Arc<S>,
    machine: Machine,
    rows: RaftRows,
    keys: Keys,
    published: Arc<ArcSwap<Published>>,
    persisted: Arc<Persisted<S>>,
    purge: Purge,
    /// What was applied since the last snapshot: about what the log holds beyond it.
    log: LogSize,
    sink: Sink,
    own_id: MemberId,
    roster: Arc<Roster>,
}

/// A whole state on its way out (a frozen view) or in (a stage that was received whole).
pub(crate) enum SnapshotData<S: Store> {
    Frozen(S::Snapshot),
    Staged(S::Stage),
}

/// How far the store is known to be durable.
pub(crate) struct Persisted<S> {
    store: Arc<S>,
    /// One more than the index, so that zero is nothing.
    through: AtomicU64,
}

impl<S: Store> Persisted<S> {
    pub(crate) fn new(store: Arc<S>) -> Persisted<S> {
        Persisted {
            store,
            through: AtomicU64::new(0),
        }
    }

    /// Freezes the state, makes it durable and says what it covers.
    async fn freeze(&self) -> Result<(RaftRows, S::Snapshot), Fault> {
        let view = self.store.snapshot()?;
        let rows = RaftRows::load(&view)?;
        self.store.persist().await?;
        if let Some(applied) = &rows.applied {
            self.through
                .fetch_max(applied.index() + 1, Ordering::SeqCst);
        }
        trace_steps::snapshot_built(rows.applied.as_ref());
        Ok((rows, view))
    }
}

impl<S: Store> Persist for Persisted<S> {
    async fn persist_through(&self, index: u64) -> io::Result<()> {
        if self.through.load(Ordering::SeqCst) > index {
            return Ok(());
        }
        self.freeze().await.map_err(io::Error::other)?;
        if self.through.load(Ordering::SeqCst) > index {
            return Ok(());
        }
        Err(io::Error::other(format!(
            "the log up to {index} is to be purged, but the store has not applied it"
        )))
    }
}

/// Publishes the store as it is now, if nothing was applied since it was published last: rows that
/// were removed beside apply are then shown no more.
pub fn refresh(store: &impl Store, published: &ArcSwap<Published>) -> Result<(), Fault> {
    let last = published.load_full();
    let view = store.snapshot()?;
    let applied = RaftRows::load(&view)?.applied;
    // Whoever applies more than that publishes it himself.
    if applied.map_or(0, |applied| applied.index()) == last.applied {
        let keys = last.view.keys().cloned();
        let now = Arc::new(Published {
            view: Arc::new(Indexed { rows: view, keys }),
            roster: last.roster.clone(),
            auth: last.auth.clone(),
            ..*last
        });
        published.compare_and_swap(&last, now);
    }
    Ok(())
}

impl<S: Store> MachineAdapter<S> {
    /// Loads the state from the store.
    pub(crate) fn load(
        store: Arc<S>,
        persisted: Arc<Persisted<S>>,
        published: Arc<ArcSwap<Published>>,
        purge: Purge,
        sink: Sink,
        own_id: MemberId,
    ) -> Result<MachineAdapter<S>, Fault> {
        let machine = Machine::load(&*store)?;
        let rows = RaftRows::load(&*store)?;
        let keys = Keys::build(store.snapshot()?, published.clone());
        let mut adapter = MachineAdapter {
            store,
            machine,
            rows,
            keys,
            published,
            persisted,
            purge,
            log: LogSize::default(),
            sink,
            own_id,
            roster: Arc::default(),
        };
        adapter.follow_membership()?;
        adapter.publish(LiveKeys::of(None))?;
        Ok(adapter)
    }

    /// What the log still holds of the state counts as written since the last snapshot: without it, a log
    /// that is kept for another member would grow by as much in each life of this one.
    pub(crate) fn count_log(&mut self, purged: Option<Position>) {
        let applied = self.rows.applied.map_or(0, |applied| applied.index());
        let purged = purged.map_or(0, |purged| purged.index);
        self.log.entries = applied.saturating_sub(purged);
    }

    /// The log must hold whatever the state lacks: it is purged only of what was durable in it.
    pub(crate) fn check_against(&self, purged: Option<Position>) -> Result<(), Fault> {
        let applied = self.rows.applied.map_or(0, |applied| applied.index());
        match purged {
            Some(purged) if purged.index > applied => Err(Fault(format!(
                "the applied state ends at entry {applied}, but the raft log was purged through \
                 entry {}: the state has lost what was durable; {RESTORE}",
                purged.index
            ))),
            _ => Ok(()),
        }
    }

    /// Takes up the membership that was applied last: who belongs to the cluster, and who was
    /// removed.
    fn follow_membership(&mut self) -> Result<(), Fault> {
        let membership = self.rows.membership.membership();
        let members = members_of(membership);
        let removed = query::removed(&*self.store)?;
        if !members.is_empty() {
            trace_steps::membership(self.own_id, &self.rows.membership, &removed);
        }
        self.roster = Arc::new(Roster {
            own_id: self.own_id,
            members,
            removed,
        });
        Ok(())
    }

    /// Shows the state as the store has it now, after a batch that did this to the live keys.
    fn publish(&self, keys: LiveKeys) -> Result<(), Fault> {
        let rows = self.store.snapshot()?;
        self.keys.advance(keys, |keys| {
            self.published.store(Arc::new(Published {
                view: Arc::new(Indexed { rows, keys }),
                applied: self.rows.applied.map_or(0, |applied| applied.index()),
                term: self.rows.applied.as_ref().map_or(0, term_of),
                revision: self.machine.revision(),
                compact_revision: self.machine.compact_revision(),
                roster: self.roster.clone(),
                auth: self.machine.auth().clone(),
            }));
        });
        Ok(())
    }

    async fn apply_batch(&mut self, entries: Vec<Entry>) -> Result<(), Fault> {
        let Some(last) = entries.last().map(RaftEntry::log_id) else {
            return Ok(());
        };
        let before = *self.rows.membership.log_id();
        let (mut batch, keys, applied) = self.apply_to_overlay(&entries)?;
        if detcd_core::mutant!(AppliedIndexFirst) {
            self.store.write(self.index_row()).await?;
        }
        if detcd_core::mutant!(ReapplyAfterRestart) {
            self.store.write(std::mem::take(&mut batch)).await?;
        }
        let failed = |entry: &event::Applied| entry.outcome.result.is_err();
        if !(detcd_core::mutant!(FailedApplyKeepsIndex) && applied.iter().any(failed)) {
            batch.writes.extend(self.index_row().writes);
        }
        self.store.write(batch).await?;
        if *self.rows.membership.log_id() != before {
            self.follow_membership()?;
        }
        self.publish(keys)?;
        trace_steps::applied(&entries, self.machine.revision());
        (self.sink)(Event::Applied {
            index: last.index(),
            term: term_of(&last),
            revision: self.machine.revision(),
            entries: applied,
        });
        Ok(())
    }

    /// The row that says how far the store has applied; it goes with what was applied.
    fn index_row(&self) -> Batch {
        let mut batch = Batch::default();
        if let Some(applied) = &self.rows.applied {
            let (key, value) = meta::applied_row(applied);
            batch.put(Table::Meta, key, value);
        }
        batch
    }

    /// The rows that the entries write, the membership among them, the live keys after them, and
    /// what each entry did.
    fn apply_to_overlay(
        &mut self,
        entries: &[Entry],
    ) -> Result<(Batch, LiveKeys, Vec<event::Applied>), Fault> {
        let mut overlay = Overlay::with_keys(&*self.store, self.keys.current());
        let mut applied = Vec::with_capacity(entries.len());
        let mut membership_changed = false;
        for entry in entries {
            self.check_order(&entry.log_id)?;
            let index = entry.index();
            match &entry.payload {
                EntryPayload::Blank => {
                    applied.push(self.machine.apply(index, None, &mut overlay)?);
                }
                EntryPayload::Normal(command) => {
                    let proposal = payload::decode_proposal(command);
                    let done = proposal.and_then(|proposal| {
                        self.machine.apply(index, Some(&proposal), &mut overlay)
                    });
                    let term = term_of(&entry.log_id);
                    applied.push(done.map_err(|fault| Fault(unreadable(index, term, &fault)))?);
                }
                EntryPayload::Membership(membership) => {
                    applied.push(self.machine.apply(index, None, &mut overlay)?);
                    self.machine
                        .apply_membership(&members_of(membership), &mut overlay)?;
                    self.rows.membership =
                        StoredMembership::new(Some(entry.log_id), membership.clone());
                    membership_changed = true;
                }
            }
            self.rows.applied = Some(entry.log_id);
        }
        let (mut batch, keys) = overlay.into_parts();
        if membership_changed {
            let (key, value) = meta::membership_row(&self.rows.membership);
            batch.put(Table::Meta, key, value);
        }
        Ok((batch, keys, applied))
    }

    fn check_order(&self, next: &LogId) -> Result<(), Fault> {
        let expected = self.rows.applied.map_or(0, |applied| applied.index() + 1);
        if next.index() != expected {
            return Err(Fault(format!(
                "entry {} comes to be applied, but {expected} is next",
                next.index()
            )));
        }
        Ok(())
    }

    async fn install(&mut self, meta: &SnapshotMeta, stage: S::Stage) -> Result<(), Fault> {
        stage.commit().await?;
        self.log = LogSize::default();
        self.machine = Machine::load(&*self.store)?;
        let before = std::mem::replace(&mut self.rows, RaftRows::load(&*self.store)?);
        if self.rows.snapshot_meta() != *meta {
            return Err(Fault(format!(
                "a snapshot that was to cover {:?} covers {:?}",
                meta.last_log_id, self.rows.applied
            )));
        }
        if detcd_core::mutant!(OldIndexOverSnapshot) {
            self.rows.applied = before.applied;
            self.store.write(self.index_row()).await?;
        }
        self.follow_membership()?;
        self.keys.give_up();
        self.keys = Keys::build(self.store.snapshot()?, self.published.clone());
        self.publish(LiveKeys::of(None))?;
        let published = self.published.load_full();
        let membership = &self.rows.membership;
        let configured_at = membership.log_id().map_or(0, |log_id| log_id.index());
        trace_steps::restored(published.applied, published.revision);
        trace_steps::configured(configured_at, membership.membership());
        (self.sink)(Event::Restored {
            index: published.applied,
            revision: published.revision,
            compact_revision: published.compact_revision,
            leases: query::leases(&*published.view)?,
            alarms: query::alarms(&*published.view)?,
            v2: v2::tree::state(&*published.view)?,
            auth: published.auth.clone(),
        });
        Ok(())
    }
}

/// A membership in core's terms.
pub(crate) fn membership_of(membership: &Membership) -> RaftMembership {
    let sets = membership.get_joint_config().iter();
    let set = |ids: &BTreeSet<u64>| ids.iter().copied().map(MemberId).collect();
    RaftMembership {
        voters: sets.map(set).collect(),
        members: members_of(membership),
    }
}

/// The members of a membership as clients see them, as far as raft knows them.
pub(crate) fn members_of(membership: &Membership) -> Vec<Member> {
    membership
        .nodes()
        .map(|(id, peer)| Member {
            id: MemberId(*id),
            name: peer.name.clone(),
            peer_urls: peer.peer_urls.clone(),
            client_urls: Vec::new(),
            is_learner: peer.learner,
        })
        .collect()
}

impl<S: Store> RaftStateMachine<Types> for MachineAdapter<S> {
    type SnapshotData = SnapshotData<S>;
    type SnapshotBuilder = SnapshotBuilder<S>;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        Ok((self.rows.applied, self.rows.membership.clone()))
    }

    async fn apply<Entries>(&mut self, entries: Entries) -> io::Result<()>
    where
        Entries: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + OptionalSend,
    {
        let mut entries = entries.fuse();
        while let Some(first) = entries.next().await {
            let (entry, responder) = first?;
            let mut bytes = payload_len(&entry);
            let mut batch = vec![entry];
            let mut responders: Vec<ApplyResponder<Types>> = responder.into_iter().collect();
            // Whatever else is ready without waiting goes into the same batch.
            let entries_max = match takes_rare_path(Place::ApplySingly) {
                true => 1,
                false => BATCH_ENTRIES_MAX,
            };
            while batch.len() < entries_max && bytes < BATCH_BYTES_MAX {
                let Some(Some(next)) = entries.next().now_or_never() else {
                    break;
                };
                let (entry, responder) = next?;
                bytes += payload_len(&entry);
                batch.push(entry);
                responders.extend(responder);
            }
            self.log.bytes += bytes as u64;
            self.log.entries += batch.len() as u64;
            maybe_wait(Place::Apply).await;
            self.apply_batch(batch).await.map_err(io::Error::other)?;
            maybe_wait(Place::Applied).await;
            for responder in responders {
                responder.send(());
            }
        }
        Ok(())
    }

    async fn try_create_snapshot_builder(&mut self, force: bool) -> Option<SnapshotBuilder<S>> {
        let state_bytes = self.store.size().total_bytes;
        let waits = !force && !self.purge.may_purge(self.log, state_bytes, &self.roster);
        if waits && !detcd_core::mutant!(EndlessSync) {
            return None;
        }
        self.log = LogSize::default();
        Some(self.get_snapshot_builder().await)
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder<S> {
        SnapshotBuilder {
            persisted: self.persisted.clone(),
        }
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: SnapshotData<S>,
    ) -> io::Result<()> {
        match snapshot {
            SnapshotData::Staged(stage) => {
                maybe_wait(Place::SnapshotInstall).await;
                self.install(meta, stage).await.map_err(io::Error::other)
            }
            SnapshotData::Frozen(_) => Err(io::Error::other(
                "a view of this very store was given to be installed",
            )),
        }
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> io::Result<Option<alias::SnapshotOf<Types, SnapshotData<S>>>> {
        // The state at this moment is a better snapshot than any that was built before.
        if self.rows.applied.is_none() {
            return Ok(None);
        }
        SnapshotBuilder {
            persisted: self.persisted.clone(),
        }
        .build_snapshot()
        .await
        .map(Some)
    }
}

/// Builds a snapshot without copying anything: the state is synced and frozen.
pub(crate) struct SnapshotBuilder<S> {
    persisted: Arc<Persisted<S>>,
}

impl<S: Store> RaftSnapshotBuilder<Types> for SnapshotBuilder<S> {
    type SnapshotData = SnapshotData<S>;

    async fn build_snapshot(&mut self) -> io::Result<alias::SnapshotOf<Types, SnapshotData<S>>> {
        let (rows, view) = self.persisted.freeze().await.map_err(io::Error::other)?;
        Ok(Snapshot {
            meta: rows.snapshot_meta(),
            snapshot: SnapshotData::Frozen(view),
        })
    }
}

fn payload_len(entry: &Entry) -> usize {
    match &entry.payload {
        EntryPayload::Normal(command) => command.0.len(),
        EntryPayload::Blank | EntryPayload::Membership(_) => 0,
    }
}
