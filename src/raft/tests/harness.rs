//! Members in one process: real logs and stores in temporary folders, joined by loopback.

use crate::{RaftNode, RaftOptions};
use bytes::Bytes;
use detcd_core::api::{LeaseId, Member as ApiMember, MemberId, PutRequest};
use detcd_core::codec;
use detcd_core::command::{Command, Proposal};
use detcd_core::event::Event;
use detcd_core::status::Published;
use detcd_core::view::{Direction, Table, View};
use detcd_peer::{Kind, Receiver, Transport, TransportError};
use detcd_storage::disk::{Disk, RealDisk};
use detcd_storage::log::{Log, LogError, LogOptions};
use detcd_storage::store::{FjallStore, OpenError, StoreOptions};
use futures::future::{BoxFuture, FutureExt};
use futures::stream::{BoxStream, StreamExt};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;

/// Far beyond what anything here takes.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// A call as it was sent.
#[derive(Clone)]
pub(super) struct Sent {
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) kind: Kind,
    pub(super) body: Bytes,
}

/// The wires between members of one process.
#[derive(Default)]
pub(super) struct Net {
    /// What is sent, once it is recorded.
    record: Mutex<Option<Vec<Sent>>>,
    receivers: Mutex<BTreeMap<u64, Arc<dyn Receiver>>>,
    cut_off: Mutex<BTreeSet<u64>>,
}

impl Net {
    pub(super) fn cut_off(&self, id: u64) {
        self.cut_off.lock().unwrap().insert(id);
    }

    pub(super) fn heal(&self) {
        self.cut_off.lock().unwrap().clear();
    }

    /// Keeps every call from now on.
    pub(super) fn record(&self) {
        *self.record.lock().unwrap() = Some(Vec::new());
    }

    pub(super) fn recorded(&self) -> Vec<Sent> {
        self.record.lock().unwrap().clone().unwrap_or_default()
    }

    fn way(&self, from: u64, to: u64) -> Result<Arc<dyn Receiver>, TransportError> {
        let cut_off = self.cut_off.lock().unwrap();
        let receiver = self.receivers.lock().unwrap().get(&to).cloned();
        match receiver {
            Some(receiver) if !cut_off.contains(&from) && !cut_off.contains(&to) => Ok(receiver),
            _ => Err(TransportError::Unreachable(to, "cut off".to_owned())),
        }
    }
}

pub(super) struct Loopback {
    pub(super) from: u64,
    pub(super) net: Arc<Net>,
}

impl Transport for Loopback {
    fn set_peer(&self, _id: u64, _peer_urls: Vec<String>) {}

    fn remove_peer(&self, _id: u64) {}

    fn call(
        &self,
        to: u64,
        kind: Kind,
        body: Bytes,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        let way = self.net.way(self.from, to);
        let from = self.from;
        if let Some(record) = &mut *self.net.record.lock().unwrap() {
            let body = body.clone();
            record.push(Sent {
                from,
                to,
                kind,
                body,
            });
        }
        async move {
            let answer = way?.call(from, kind, body);
            match detcd_rt::timeout(timeout, answer).await {
                Ok(answer) => answer.map_err(|reason| TransportError::Refused(to, reason)),
                Err(_) => Err(TransportError::Lost(to, "too late".to_owned())),
            }
        }
        .boxed()
    }

    fn stream(
        &self,
        to: u64,
        kind: Kind,
        chunks: BoxStream<'static, Bytes>,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        let way = self.net.way(self.from, to);
        let from = self.from;
        async move {
            let answer = way?.stream(from, kind, chunks.map(Ok).boxed()).await;
            answer.map_err(|reason| TransportError::Refused(to, reason))
        }
        .boxed()
    }
}

/// A member that runs; its folder outlives it.
pub(super) struct Member {
    pub(super) node: RaftNode<FjallStore>,
    pub(super) store: Arc<FjallStore>,
    pub(super) events: Arc<Mutex<Vec<Event>>>,
    id: u64,
    net: Arc<Net>,
    writer: detcd_rt::JoinHandle<Result<(), LogError>>,
}

impl Member {
    pub(super) async fn start(id: u64, folder: &TempDir, net: &Arc<Net>, snapshots: u64) -> Member {
        let options = RaftOptions {
            snapshot_count: snapshots,
            catch_up_entries: 10,
            ..RaftOptions::new(MemberId(id))
        };
        let transport = Arc::new(Loopback {
            from: id,
            net: net.clone(),
        });
        let mut member = Member::start_with(&options, folder, transport).await;
        net.receivers
            .lock()
            .unwrap()
            .insert(id, Arc::new(member.node.receiver()));
        member.net = net.clone();
        member
    }

    pub(super) async fn start_with(
        options: &RaftOptions,
        folder: &TempDir,
        transport: Arc<dyn Transport>,
    ) -> Member {
        let disk = RealDisk::open(folder.path().join("log")).unwrap();
        Member::start_on(disk, options, folder, transport).await
    }

    pub(super) async fn start_on(
        disk: impl Disk,
        options: &RaftOptions,
        folder: &TempDir,
        transport: Arc<dyn Transport>,
    ) -> Member {
        let id = options.id.0;
        let log_options = LogOptions {
            segment_bytes: 1024 * 1024,
            ..LogOptions::new(id)
        };
        let (log, writer, recovered) = Log::open(disk, log_options).await.unwrap();
        let writer = detcd_rt::spawn_io("raft-log", writer.run());
        let store_folder = folder.path().join("store");
        let mut store = None;
        // A view of the store that was open before may live on for a moment.
        wait_for("the store to be free", || {
            let opened = FjallStore::open(&store_folder, StoreOptions::default());
            store = match opened {
                Err(OpenError::InUse { .. }) => None,
                opened => Some(opened.unwrap()),
            };
            store.is_some()
        })
        .await;
        let store = Arc::new(store.expect("it was opened"));
        let events = Arc::new(Mutex::new(Vec::new()));
        let sink_events = events.clone();
        let sink = Arc::new(move |event| sink_events.lock().unwrap().push(event));
        let node = RaftNode::start(options, log, &recovered, store.clone(), transport, sink)
            .await
            .unwrap();
        Member {
            node,
            store,
            events,
            id,
            net: Arc::default(),
            writer,
        }
    }

    /// Ends the member in order; everything of it is gone when this returns.
    pub(super) async fn stop(self) {
        self.net.receivers.lock().unwrap().remove(&self.id);
        self.node.shutdown().await;
        drop(self.node);
        self.writer.await.unwrap().unwrap();
        let store = self.store;
        wait_for("the store's other users to end", || {
            Arc::strong_count(&store) == 1
        })
        .await;
    }

    pub(super) fn published(&self) -> Arc<Published> {
        self.node.published().load_full()
    }

    pub(super) fn put(&self, seqs: std::ops::Range<u64>) {
        let proposals = seqs.map(|seq| put(self.id, seq)).collect();
        self.node.propose(proposals);
    }

    pub(super) fn count(&self, what: impl Fn(&Event) -> bool) -> usize {
        self.events
            .lock()
            .unwrap()
            .iter()
            .filter(|event| what(event))
            .count()
    }

    /// Every row of every table.
    pub(super) fn rows(&self) -> Vec<(Table, Bytes, Bytes)> {
        rows(&*self.published().view)
    }
}

pub(super) fn rows(view: &dyn View) -> Vec<(Table, Bytes, Bytes)> {
    let everything = (Bound::Unbounded, Bound::Unbounded);
    Table::ALL
        .into_iter()
        .flat_map(|table| {
            view.scan(table, everything, Direction::Forward)
                .map(move |row| {
                    let (key, value) = row.unwrap();
                    (table, key, value)
                })
        })
        .collect()
}

/// A put of request `seq`, among a hundred keys.
pub(super) fn put(origin: u64, seq: u64) -> Proposal {
    let command = Command::Put(PutRequest {
        key: Bytes::from(format!("key-{}", seq % 100)),
        value: Bytes::from(format!("value {seq} of {origin}")),
        lease: LeaseId(0),
        prev_kv: false,
        ignore_value: false,
        ignore_lease: false,
    });
    Proposal {
        origin: MemberId(origin),
        seq,
        command: codec::encode_command(&command),
    }
}

pub(super) struct Cluster {
    pub(super) net: Arc<Net>,
    pub(super) folders: Vec<TempDir>,
    pub(super) members: Vec<Member>,
    snapshots: u64,
}

impl Cluster {
    pub(super) async fn found(size: u64, snapshots: u64) -> Cluster {
        let folders = (0..size).map(|_| TempDir::new().unwrap()).collect();
        let net = Arc::new(Net::default());
        let mut cluster = Cluster {
            net,
            folders,
            members: Vec::new(),
            snapshots,
        };
        let founders: Vec<ApiMember> = (1..=size)
            .map(|id| ApiMember {
                id: MemberId(id),
                name: format!("m{id}"),
                peer_urls: vec![format!("http://m{id}:2380")],
                ..ApiMember::default()
            })
            .collect();
        cluster.start().await;
        for member in &cluster.members {
            member.node.initialize(&founders).await.unwrap();
        }
        cluster
    }

    /// Starts every member from its folder.
    pub(super) async fn start(&mut self) {
        assert!(self.members.is_empty());
        for (id, folder) in (1..).zip(&self.folders) {
            let member = Member::start(id, folder, &self.net, self.snapshots).await;
            member.node.run();
            self.members.push(member);
        }
    }

    pub(super) async fn stop(&mut self) {
        for member in self.members.drain(..) {
            member.stop().await;
        }
    }

    /// The position of the one leader whom all of `among` follow, once it may write.
    pub(super) async fn leader(&self, among: &[usize]) -> usize {
        let mut found = None;
        wait_for("a leader", || {
            found = among.iter().copied().find(|position| {
                let status = self.members[*position].node.status();
                status.is_leader
                    && status.last_quorum_acked.is_some()
                    && among.iter().all(|other| {
                        let other = self.members[*other].node.status();
                        other.leader == status.leader && other.term == status.term
                    })
            });
            found.is_some()
        })
        .await;
        found.unwrap()
    }

    /// Waits until all members have applied the same, at least up to `revision`.
    pub(super) async fn converged(&self, revision: i64) {
        wait_for("the members to converge", || {
            let first = self.members[0].published();
            first.revision >= revision
                && self.members.iter().all(|member| {
                    let published = member.published();
                    published.revision == first.revision && published.applied == first.applied
                })
        })
        .await;
    }
}

/// Waits for a condition, and fails loudly if it never comes to be.
pub(super) async fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = detcd_rt::Instant::now() + WAIT_MAX;
    while !condition() {
        assert!(
            detcd_rt::Instant::now() < deadline,
            "waited in vain for {what}"
        );
        detcd_rt::sleep(Duration::from_millis(2)).await;
    }
}
