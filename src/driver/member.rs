//! A member, assembled from its seams.

use crate::admission::{AdmissionTask, Found, RemovalListener, UNCONFIRMED};
use crate::compactor::Compactor;
use crate::engine::StoredEngine;
use crate::handle::Handle;
use crate::inbox::{Completions, Input, inbox};
use crate::meter::{MeteredDisk, MeteredReceiver, MeteredStore, MeteredTransport};
use crate::peers::PeerReceiver;
use crate::run::Run;
use crate::shared::{Lifecycle, Names, Settings, Shared};
use crate::stats::Stats;
use crate::tokens::Tokens;
use detcd_core::api;
use detcd_core::api::{ClusterId, MemberId, Millis};
use detcd_core::event::Seq;
use detcd_core::limits::REQUEST_TIMEOUT_BASE;
use detcd_core::membership::admission::AdmissionConfig;
use detcd_core::node::{Node, NodeConfig, OWN_SEQ};
use detcd_core::query;
use detcd_core::validate::Limits;
use detcd_core::view::Fault;
use detcd_peer::{Receiver, Transport};
use detcd_raft::{RaftNode, RaftOptions};
use detcd_storage::disk::Disk;
use detcd_storage::log::{Log, LogOptions, LogOwner};
use detcd_storage::store::Store;
use futures::{FutureExt as _, TryFutureExt as _};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use thiserror::Error;
use tokio::sync::{mpsc, watch};

/// What a member is told at its start.
#[derive(Clone, Debug)]
pub struct MemberOptions {
    pub cluster_id: ClusterId,
    pub member_id: MemberId,
    /// The members of a static bootstrap, this one among them; the same on every member. Or the
    /// members of the cluster that this one joins. Ignored by a member that has started before.
    pub members: Vec<api::Member>,
    /// Whether this member was added to a cluster that exists, and founds none.
    pub joins: bool,
    /// Whether changes of the membership that would cost the quorum are refused.
    pub strict_reconfig: bool,
    pub heartbeat: Millis,
    pub election_timeout: Millis,
    /// Applied entries between snapshots.
    pub snapshot_count: u64,
    /// Entries kept in the log behind a snapshot, for members that lag.
    pub catch_up_entries: u64,
    /// Rows of a snapshot are sent in chunks of this many bytes.
    pub snapshot_chunk_bytes: usize,
    /// So much log is kept for a member that is sent the state, however small the state is.
    pub deferred_log_bytes_min: u64,
    /// So much log is kept for a member that is away.
    pub away_log_bytes_max: u64,
    pub limits: Limits,
    /// The store's size at which the member raises the alarm NOSPACE. `None`: no quota.
    pub quota_bytes: Option<u64>,
    pub watch_progress_interval: Millis,
    /// How long a simple token lives that nobody uses.
    pub token_time_to_live: Millis,
    pub log: LogOptions,
}

#[derive(Debug, Error)]
pub enum StartError {
    #[error("cannot open the raft log: {0}")]
    Log(#[from] detcd_storage::log::LogError),
    #[error("cannot read the applied state: {0}")]
    State(#[from] Fault),
    #[error("cannot start the raft engine: {0}")]
    Raft(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("{UNCONFIRMED}")]
    Removed,
}

impl From<detcd_raft::StartError> for StartError {
    fn from(error: detcd_raft::StartError) -> StartError {
        StartError::Raft(error.into())
    }
}

/// A running member. Dropping it does not stop it; [`Member::stop`] does.
pub struct Member {
    handle: Handle,
    completions: Completions,
    receiver: Arc<dyn Receiver>,
    stopped: watch::Receiver<bool>,
    persist: Box<dyn Fn() -> futures::future::BoxFuture<'static, Result<(), Fault>> + Send + Sync>,
}

impl Member {
    /// Opens the log, loads the applied state and starts the engine and the loop. The member
    /// serves (as far as its cluster lets it) when this returns; it needs its
    /// [`Member::receiver`] mounted where other members reach it.
    pub async fn start<D: Disk, S: Store>(
        options: MemberOptions,
        disk: D,
        store: Arc<S>,
        transport: Arc<dyn Transport>,
    ) -> Result<Member, StartError> {
        let stats = Arc::new(Stats::default());
        let disk = MeteredDisk::new(disk, stats.clone());
        let store = Arc::new(MeteredStore::new(store, stats.clone()));
        let transport = Arc::new(MeteredTransport::new(transport, stats.clone()));
        let (admission, admission_inputs) = mpsc::unbounded_channel();
        let transport: Arc<dyn Transport> =
            Arc::new(RemovalListener::new(transport, admission.clone()));
        let (log, writer, recovered) = Log::open(disk, log_options(&options)).await?;
        if let Some(torn) = &recovered.torn {
            tracing::warn!(
                file = torn.file,
                offset = torn.offset,
                dropped_bytes = torn.dropped_bytes,
                "cut off the torn tail of the raft log"
            );
        }
        detcd_rt::spawn_io("raft-log", writer.run());

        let (requests, completions, inbox) = inbox();
        let sink = completions.clone();
        let raft = RaftNode::start(
            &raft_options(&options),
            log,
            &recovered,
            store.clone(),
            transport.clone(),
            Arc::new(move |event| {
                // The loop ends before the engine does; what comes after it is for nobody.
                let _ = sink.send(Input::Event(event));
            }),
        )
        .await?;

        let published = raft.published().load_full();
        if published.roster.is_removed() {
            return Err(StartError::Removed);
        }
        let leases = query::leases(&*published.view)?;
        let alarms = query::alarms(&*published.view)?;
        let v2 = detcd_core::v2::tree::state(&*published.view)?;
        let shared = Arc::new(Shared {
            settings: Settings {
                cluster_id: options.cluster_id,
                member_id: options.member_id,
                limits: options.limits,
                election_timeout: options.election_timeout,
                call_timeout: Duration::from_millis(request_timeout(&options).0),
                strict_reconfig: options.strict_reconfig,
                quota_bytes: options.quota_bytes,
            },
            engine: Box::new(StoredEngine::new(raft.clone(), store.clone())),
            transport,
            stats: stats.clone(),
            tokens: Tokens::new(
                options.token_time_to_live,
                published.applied,
                Duration::from_millis(request_timeout(&options).0),
            ),
            names: Names::new(),
            term: AtomicU64::new(published.term),
            leader: raft.leader(),
            compacted: watch::Sender::new(0),
            founders: options.members.clone(),
            admission,
            lifecycle: Lifecycle::default(),
        });
        watch_engine(&shared);
        let node = Node::new(
            NodeConfig {
                id: options.member_id,
                request_timeout: request_timeout(&options),
                election_timeout: options.election_timeout,
                watch_progress_interval: options.watch_progress_interval,
                fragment_bytes: options.limits.request_bytes_max
                    + detcd_core::limits::REQUEST_OVERHEAD_BYTES,
                quota_bytes: options.quota_bytes,
                first_own_seq: Seq(detcd_rt::random_u64() | OWN_SEQ),
            },
            (&leases, &alarms, &v2),
            published.revision,
            published.compact_revision,
            published.applied,
        )
        .with_auth(published.auth.clone());
        let persisted = store.clone();
        let compactor = Compactor::start(store, shared.clone(), published.compact_revision);
        let run = Run::new(shared.clone(), node, completions.clone(), compactor);
        let (stop, stopped) = watch::channel(false);
        detcd_rt::spawn(async move {
            run.run(inbox).await;
            let _ = stop.send(true);
        });

        let receiver: Arc<dyn Receiver> = Arc::new(MeteredReceiver::new(
            PeerReceiver {
                shared: shared.clone(),
                requests: requests.clone(),
                raft: raft.receiver(),
                lines: Arc::default(),
            },
            stats,
        ));
        raft.run();
        let handle = Handle {
            shared,
            requests,
            client: None,
        };
        let started_with = recovered.state.last.map_or(0, |last| last.index);
        let mut admission = AdmissionTask::new(
            handle.clone(),
            admission_config(&options, recovered.salt, raft.is_initialized().await?),
            started_with,
            found(raft, options.members),
        );
        admission.begin();
        // The others can answer only once this member answers them: nobody waits for it here.
        detcd_rt::spawn(admission.run(admission_inputs, stopped.clone()));
        Ok(Member {
            handle,
            completions,
            receiver,
            stopped,
            persist: Box::new(move || {
                let store = persisted.clone();
                Box::pin(async move { store.persist().await })
            }),
        })
    }

    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Serves what other members send.
    pub fn receiver(&self) -> Arc<dyn Receiver> {
        self.receiver.clone()
    }

    /// Stops the loop (waiters get [`detcd_core::error::Error::Stopped`]), then the engine, and
    /// persists the applied state so that the next start replays little.
    pub async fn stop(mut self) -> Result<(), Fault> {
        let _ = self.completions.send(Input::Stop);
        // The sender is gone only if the loop has ended already.
        let _ = self.stopped.wait_for(|stopped| *stopped).await;
        self.handle.shared.engine.shutdown().await;
        (self.persist)().await
    }
}

fn request_timeout(options: &MemberOptions) -> Millis {
    REQUEST_TIMEOUT_BASE + options.election_timeout + options.election_timeout
}

fn log_options(options: &MemberOptions) -> LogOptions {
    LogOptions {
        owner: Some(LogOwner {
            cluster_id: options.cluster_id.0,
            member_id: options.member_id.0,
        }),
        ..options.log.clone()
    }
}

fn raft_options(options: &MemberOptions) -> RaftOptions {
    RaftOptions {
        id: options.member_id,
        heartbeat_ms: options.heartbeat.0,
        election_ms: options.election_timeout.0,
        snapshot_count: options.snapshot_count,
        catch_up_entries: options.catch_up_entries,
        snapshot_chunk_bytes: options.snapshot_chunk_bytes,
        deferred_log_bytes_min: options.deferred_log_bytes_min,
        away_log_bytes_max: options.away_log_bytes_max,
        founders: options.members.clone(),
    }
}

fn admission_config(options: &MemberOptions, log: u64, is_admitted: bool) -> AdmissionConfig {
    let ids = options.members.iter().map(|member| member.id);
    AdmissionConfig {
        log,
        others: ids.filter(|id| *id != options.member_id).collect(),
        joins: options.joins,
        is_admitted,
        election_timeout: options.election_timeout,
    }
}

fn found<S: Store>(raft: RaftNode<S>, members: Vec<api::Member>) -> Found {
    Box::new(move || {
        let founded = async move { raft.initialize(&members).await };
        founded.map_err(|error| error.to_string()).boxed()
    })
}

/// A fatal error of the engine halts the member.
fn watch_engine(shared: &Arc<Shared>) {
    let mut fatal = shared.engine.fatal();
    let shared = shared.clone();
    detcd_rt::spawn(async move {
        let reason = fatal
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|reason| reason.clone());
        if let Some(reason) = reason {
            shared.halt(&reason);
        }
    });
}
