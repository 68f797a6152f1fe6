//! One member's raft engine, as the driver sees it.

use crate::acknowledged::Acknowledged;
use crate::heartbeat;
use crate::leader_liveness::Liveness;
use crate::log::LogAdapter;
use crate::machine::{MachineAdapter, Persisted};
use crate::network::Network;
use crate::observe::{self, Listeners};
use crate::peer_addresses::Addresses;
use crate::proposer::Proposer;
use crate::purge::Purge;
use crate::receiver::{self, RaftReceiver};
use crate::reconfig;
use crate::running::Running;
use crate::types::{Peer, Types};
use arc_swap::ArcSwap;
use detcd_core::api::{LeaseId, Member, MemberId};
use detcd_core::command::Proposal;
use detcd_core::event::{Event, Seq};
use detcd_core::limits;
use detcd_core::membership::PurgeDeferral;
use detcd_core::status::{Published, RaftStatus};
use detcd_core::view::Fault;
use detcd_peer::Transport;
use detcd_rt::RepeatedLines;
use detcd_storage::log::{Log, Recovered};
use detcd_storage::store::Store;
use openraft::async_runtime::WatchReceiver;
use openraft::errors::{InitializeError, RaftError};
use openraft::raft::ReadPolicy;
use openraft::{Config, Raft, SnapshotPolicy};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use thiserror::Error;
use tokio::sync::{mpsc, watch};

/// Where the engine's events go. It is called from the engine's tasks and must not block.
pub type Sink = Arc<dyn Fn(Event) + Send + Sync>;

/// What an engine needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RaftOptions {
    pub id: MemberId,
    pub heartbeat_ms: u64,
    /// A member that has not heard from a leader for this long, at most one and a half times this
    /// long, stands for election.
    pub election_ms: u64,
    /// Applied entries after which the state is synced and the log purged.
    pub snapshot_count: u64,
    /// Entries kept in the log for members that lag.
    pub catch_up_entries: u64,
    /// Rows of a snapshot are gathered into a chunk until it has this many bytes.
    pub snapshot_chunk_bytes: usize,
    /// So much log is kept for a member that is sent the state, however small the state is.
    pub deferred_log_bytes_min: u64,
    /// So much log is kept for a member that is away.
    pub away_log_bytes_max: u64,
    /// The members that this one is told of when it starts for the first time.
    pub founders: Vec<Member>,
}

impl RaftOptions {
    /// etcd's defaults.
    pub fn new(id: MemberId) -> RaftOptions {
        RaftOptions {
            id,
            heartbeat_ms: 100,
            election_ms: 1000,
            snapshot_count: 100_000,
            catch_up_entries: 5_000,
            snapshot_chunk_bytes: limits::SNAPSHOT_CHUNK_BYTES,
            deferred_log_bytes_min: limits::DEFERRED_LOG_BYTES_MIN,
            away_log_bytes_max: 0,
            founders: Vec::new(),
        }
    }
}

#[derive(Debug, Error)]
pub enum StartError {
    #[error("the options make no sense: {0}")]
    Options(String),
    #[error("{0}")]
    State(#[from] Fault),
    #[error("{0}")]
    Log(#[from] std::io::Error),
    #[error("{0}")]
    Engine(String),
}

/// Why there is no read index now. A later attempt may succeed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("no read index: {0}")]
pub struct NoReadIndex(String);

/// One member's raft engine.
///
/// [`RaftNode::start`] recovers: afterwards [`RaftNode::published`] shows everything that was
/// known to be committed, and no event was told. [`RaftNode::run`] then lets it take part, and
/// events begin. So the driver can build core's node from the published state in between, and
/// misses nothing.
pub struct RaftNode<S: Store> {
    id: MemberId,
    pub(crate) raft: Raft<Types, MachineAdapter<S>>,
    proposer: Proposer,
    published: Arc<ArcSwap<Published>>,
    receiver: RaftReceiver<S>,
    sink: Sink,
    fatal: watch::Sender<Option<String>>,
    pub(crate) running: Running,
    leader: watch::Sender<Option<MemberId>>,
    heartbeat: Duration,
    pub(crate) election: Duration,
    pub(crate) requests: reconfig::Requests,
    before_run: Arc<Mutex<Option<BeforeRun>>>,
}

/// What [`RaftNode::run`] hands to the tasks that it starts.
struct BeforeRun {
    liveness: Liveness,
    addresses: Addresses,
    requested: mpsc::UnboundedReceiver<reconfig::Request>,
}

impl<S: Store> Clone for RaftNode<S> {
    fn clone(&self) -> Self {
        RaftNode {
            id: self.id,
            raft: self.raft.clone(),
            proposer: self.proposer.clone(),
            published: self.published.clone(),
            receiver: self.receiver.clone(),
            sink: self.sink.clone(),
            fatal: self.fatal.clone(),
            running: self.running.clone(),
            leader: self.leader.clone(),
            heartbeat: self.heartbeat,
            election: self.election,
            requests: self.requests.clone(),
            before_run: self.before_run.clone(),
        }
    }
}

impl<S: Store> RaftNode<S> {
    /// Recovers the state. The log's writer must be running.
    pub async fn start(
        options: &RaftOptions,
        log: Log,
        recovered: &Recovered,
        store: Arc<S>,
        transport: Arc<dyn Transport>,
        sink: Sink,
    ) -> Result<RaftNode<S>, StartError> {
        let config = Arc::new(config(options)?);
        // Nobody listens before `run`: what recovery applies is told by `published`.
        let started = watch::Sender::new(false);
        let gated = gate(sink, started.subscribe());
        let published = Arc::new(ArcSwap::from_pointee(Published {
            view: Arc::new(store.snapshot()?),
            applied: 0,
            term: 0,
            revision: 0,
            compact_revision: 0,
            roster: Arc::default(),
            auth: Arc::default(),
        }));
        let persisted = Arc::new(Persisted::new(store.clone()));
        let log = LogAdapter::new(options.id.0, log, recovered, persisted.clone())?;
        let deferral =
            PurgeDeferral::new(options.deferred_log_bytes_min, options.away_log_bytes_max);
        let purge = Purge::new(deferral, transport.clone());
        let mut machine = MachineAdapter::load(
            store.clone(),
            persisted,
            published.clone(),
            purge.clone(),
            gated.clone(),
            options.id,
        )?;
        machine.check_against(recovered.state.purged)?;
        machine.count_log(recovered.state.purged);
        let acknowledged = Acknowledged::default();
        let network = Network::new(
            transport.clone(),
            Duration::from_millis(options.election_ms),
            purge,
            options.snapshot_chunk_bytes,
            acknowledged.clone(),
        );
        let raft = Raft::build(options.id.0, config, network, log.clone(), machine)
            .await
            .map_err(|fatal| StartError::Engine(observe::reason(&fatal)))?;
        started.send_replace(true);
        let election = Duration::from_millis(options.election_ms);
        let running = Running::new(raft.metrics());
        let proposer = Proposer::start(raft.clone(), running.clone(), gated.clone(), election);
        let fatal = watch::Sender::new(None);
        let liveness = Liveness::new(election);
        let addresses = Addresses::start(
            transport.clone(),
            options.id,
            &options.founders,
            &published.load().roster.members,
        );
        let (requests, requested) = mpsc::unbounded_channel();
        let receiver = RaftReceiver::new(receiver::Receiving {
            id: options.id.0,
            raft: raft.clone(),
            running: running.clone(),
            store,
            log,
            fatal: fatal.clone(),
            liveness: liveness.clone(),
            published: published.clone(),
            acknowledged,
            transport,
            timeout: election,
            installing: receiver::Installing::default(),
            taken: tokio::sync::Mutex::default(),
            sent_memberships: std::sync::Mutex::default(),
            lost_entries: std::sync::Mutex::default(),
            lines: RepeatedLines::default(),
        });
        Ok(RaftNode {
            id: options.id,
            raft,
            proposer,
            published,
            receiver,
            sink: gated,
            fatal,
            running,
            leader: watch::Sender::new(None),
            heartbeat: Duration::from_millis(options.heartbeat_ms),
            election,
            requests,
            before_run: Arc::new(Mutex::new(Some(BeforeRun {
                liveness,
                addresses,
                requested,
            }))),
        })
    }

    /// Lets the engine vote, lead, follow and apply. Once: a second call does nothing.
    pub fn run(&self) {
        let before_run = self.before_run.lock();
        let before_run = before_run.expect("nothing panics while it holds it").take();
        let Some(BeforeRun {
            liveness,
            addresses,
            requested,
        }) = before_run
        else {
            return;
        };
        self.raft.run();
        let metrics = self.raft.metrics();
        let listeners = Listeners {
            fatal: self.fatal.clone(),
            leader: self.leader.clone(),
        };
        detcd_rt::spawn(observe::observe(
            metrics,
            self.sink.clone(),
            listeners,
            (liveness, addresses),
            self.heartbeat,
        ));
        let beat = heartbeat::beat(self.raft.clone(), self.running.clone(), self.heartbeat);
        detcd_rt::spawn(beat);
        detcd_rt::spawn(reconfig::run(self.clone(), requested, self.heartbeat));
    }

    /// Founds the cluster. Every founding member does this with the same members, once; where a
    /// log exists already, nothing is done.
    pub async fn initialize(&self, members: &[Member]) -> Result<(), StartError> {
        let peers: BTreeMap<u64, Peer> = members
            .iter()
            .map(|member| {
                let peer = Peer {
                    name: member.name.clone(),
                    peer_urls: member.peer_urls.clone(),
                    learner: false,
                };
                (member.id.0, peer)
            })
            .collect();
        match self.raft.initialize(peers).await {
            Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(()),
            Err(error) => Err(StartError::Engine(error.to_string())),
        }
    }

    /// Whether this member has a membership (it was founded, or has heard from a leader).
    pub async fn is_initialized(&self) -> Result<bool, StartError> {
        self.raft
            .is_initialized()
            .await
            .map_err(|fatal| StartError::Engine(observe::reason(&fatal)))
    }

    /// Proposes in order, without waiting. What was surely not proposed comes back as
    /// `Event::NotProposed`; of what was, nothing is heard but its `Event::Applied`.
    pub fn propose(&self, proposals: Vec<Proposal>) {
        self.proposer.propose(proposals);
    }

    /// Proposes to revoke a lease, which is only right while this member leads `term`. If the engine
    /// refuses it, or takes it up in another term, it comes back as `Event::RevokesRefused`.
    pub fn revoke(&self, term: u64, lease: LeaseId, proposal: Proposal) {
        self.proposer.revoke(term, lease, proposal);
    }

    /// Proposes for another member and gives back what was surely not proposed, once the engine is
    /// through with every proposal. Those that are committed are answered by their origin's own
    /// apply.
    pub async fn propose_and_wait(&self, proposals: Vec<Proposal>) -> Vec<Seq> {
        self.proposer.propose_and_wait(proposals).await
    }

    /// Confirms with a quorum that this member leads: `Event::ReadConfirmed` or `ReadFailed`.
    pub fn confirm_read(&self, round: u64) {
        let node = self.clone();
        detcd_rt::spawn(async move {
            let event = match node.read_index().await {
                Ok(index) => Event::ReadConfirmed { round, index },
                Err(_) => Event::ReadFailed { round },
            };
            (node.sink)(event);
        });
    }

    /// As [`RaftNode::confirm_read`], for another member that asks.
    pub async fn read_index(&self) -> Result<u64, NoReadIndex> {
        if detcd_core::mutant!(MinorityRead) && self.status().is_leader {
            return Ok(self.status().committed);
        }
        let asked = self.raft.get_read_linearizer(ReadPolicy::ReadIndex);
        match self.running.call(asked).await {
            Ok(Ok(_)) if detcd_core::mutant!(ReadBeforeFirstCommit) => Ok(self.status().committed),
            Ok(Ok(linearizer)) => Ok(linearizer.read_log_id().index()),
            Ok(Err(error)) => Err(NoReadIndex(error.to_string())),
            Err(stopped) => Err(NoReadIndex(stopped.to_string())),
        }
    }

    /// The applied state; it is replaced before the event of each batch is told.
    pub fn published(&self) -> Arc<ArcSwap<Published>> {
        self.published.clone()
    }

    pub fn status(&self) -> RaftStatus {
        observe::status(&self.raft.metrics().borrow_watched())
    }

    /// Who leads, as long as it was heard from lately. What the engine goes by is told by
    /// `Event::Role`: it leads until another one is elected.
    pub fn leader(&self) -> watch::Receiver<Option<MemberId>> {
        self.leader.subscribe()
    }

    /// Answers other members' raft messages.
    pub fn receiver(&self) -> RaftReceiver<S> {
        self.receiver.clone()
    }

    /// Set once the engine has stopped for good (a failed sync, a corrupt entry): the member must
    /// halt with this error.
    pub fn fatal(&self) -> watch::Receiver<Option<String>> {
        self.fatal.subscribe()
    }

    /// Asks the engine to hand its leadership to `to`. It may not come to pass.
    pub async fn transfer_leader(&self, to: MemberId) -> Result<(), StartError> {
        let trigger = self.raft.trigger();
        let transfer = self.running.call(trigger.transfer_leader(to.0)).await;
        transfer
            .map_err(|stopped| StartError::Engine(stopped.to_string()))?
            .map_err(|fatal| StartError::Engine(observe::reason(&fatal)))
    }

    /// Sends to a member at once that is reached again, if this one leads: a heartbeat tells it who
    /// leads, and what it lacks need not wait for the end of a pause.
    pub async fn resume(&self, to: MemberId) {
        let trigger = self.raft.trigger();
        // An engine that has ended sends nothing, and its end is told elsewhere.
        let _ = self.running.call(trigger.reset_backoff([to.0])).await;
        if self.status().is_leader {
            let _ = self.running.call(trigger.heartbeat()).await;
        }
    }

    /// Syncs the state and purges the log now, without waiting for the snapshot count.
    pub async fn snapshot(&self) -> Result<(), StartError> {
        let snapshot = self.raft.trigger().snapshot().await;
        snapshot.map_err(|fatal| StartError::Engine(observe::reason(&fatal)))
    }

    pub fn id(&self) -> MemberId {
        self.id
    }

    /// The member can go no further.
    pub(crate) fn halt(&self, reason: String) {
        self.fatal.send_replace(Some(reason));
    }

    /// Stops the engine and waits for its end.
    pub async fn shutdown(&self) {
        self.running.stop();
        // An engine that has ended already is what is wanted.
        let _ = self.raft.shutdown().await;
    }
}

fn gate(sink: Sink, started: watch::Receiver<bool>) -> Sink {
    Arc::new(move |event| {
        if *started.borrow() {
            sink(event);
        }
    })
}

/// A follower waits for the lease, which is the longest election timeout, and then for its own
/// election timeout, drawn between the shortest and the longest. Three quarters of etcd's
/// election timeout for the longest and a third of that for the shortest give 1 to 1.5 of it until
/// somebody stands; etcd takes 1 to 2 of it.
fn config(options: &RaftOptions) -> Result<Config, StartError> {
    let longest = options.election_ms * 3 / 4;
    let config = Config {
        cluster_name: "detcd".to_owned(),
        // To the engine this is also what a heartbeat's answer may take. `heartbeat::beat` sets
        // the pace instead.
        enable_heartbeat: false,
        heartbeat_interval: heartbeat::answer_timeout_ms(options),
        // The engine wants it longer than a heartbeat's answer may take.
        election_timeout_min: longest / 3 + 1,
        election_timeout_max: longest,
        max_payload_entries: 4096,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(options.snapshot_count),
        max_in_snapshot_log_to_keep: options.catch_up_entries,
        // Lagging is measured in log entries that are still there: those are always cheaper to
        // send than the whole state.
        replication_lag_threshold: u64::MAX,
        api_channel_size: Some(limits::PENDING_WRITES_MAX as u64),
        enable_pre_vote: Some(true),
        // By default a leader that restarts leads on in its old term, without a vote.
        enable_leader_restore: Some(false),
        ..Config::default()
    };
    config
        .validate()
        .map_err(|error| StartError::Options(error.to_string()))
}
