//! The seams under a member, measured: each wrapper does what the thing in it does, and counts.

use crate::stats::{Counter, Held, PeerStats, Snapshots, Stats};
use bytes::Bytes;
use detcd_core::view::{Batch, Direction, Fault, KeyBounds, Rows, Table, View};
use detcd_peer::{Kind, Receiver, Transport, TransportError};
use detcd_raft::is_heartbeat;
use detcd_rt::Instant;
use detcd_storage::disk::{Disk, DiskFile};
use detcd_storage::store::{Reclaim, Size, Store};
use futures::future::{BoxFuture, FutureExt};
use futures::stream::{BoxStream, StreamExt};
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// A write to the store that takes longer is slow (etcd: an apply of 100 ms).
pub(crate) const SLOW_WRITE: Duration = Duration::from_millis(100);

/// The disk under the raft log.
#[derive(Clone)]
pub(crate) struct MeteredDisk<D> {
    disk: D,
    stats: Arc<Stats>,
}

impl<D> MeteredDisk<D> {
    pub fn new(disk: D, stats: Arc<Stats>) -> MeteredDisk<D> {
        MeteredDisk { disk, stats }
    }
}

pub(crate) struct MeteredFile<F> {
    file: F,
    stats: Arc<Stats>,
}

impl<D: Disk> Disk for MeteredDisk<D> {
    type File = MeteredFile<D::File>;

    async fn open(&self, name: &str, create: bool) -> io::Result<Self::File> {
        Ok(MeteredFile {
            file: self.disk.open(name, create).await?,
            stats: self.stats.clone(),
        })
    }

    async fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list().await
    }

    async fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to).await
    }

    async fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name).await
    }

    async fn sync_dir(&self) -> io::Result<()> {
        self.disk.sync_dir().await
    }

    fn display(&self, name: &str) -> String {
        self.disk.display(name)
    }
}

impl<F: DiskFile> DiskFile for MeteredFile<F> {
    async fn len(&self) -> io::Result<u64> {
        self.file.len().await
    }

    async fn read_at(&self, offset: u64, len: usize) -> io::Result<Bytes> {
        self.file.read_at(offset, len).await
    }

    async fn write_at(&self, offset: u64, data: Bytes) -> io::Result<()> {
        self.stats.log_bytes.add(data.len() as u64);
        self.file.write_at(offset, data).await
    }

    async fn sync_data(&self) -> io::Result<()> {
        let begun = Instant::now();
        let synced = self.file.sync_data().await;
        self.stats.log_sync.observe_seconds(begun.elapsed());
        synced
    }

    async fn truncate(&self, len: u64) -> io::Result<()> {
        self.file.truncate(len).await
    }

    async fn allocate(&self, len: u64) -> io::Result<()> {
        self.file.allocate(len).await
    }
}

/// The store of the applied state.
pub(crate) struct MeteredStore<S> {
    store: Arc<S>,
    stats: Arc<Stats>,
}

impl<S> MeteredStore<S> {
    pub fn new(store: Arc<S>, stats: Arc<Stats>) -> MeteredStore<S> {
        MeteredStore { store, stats }
    }

    fn written(&self, begun: Instant) {
        let took = begun.elapsed();
        self.stats.store_write.observe_seconds(took);
        if took > SLOW_WRITE {
            self.stats.slow_writes.add(1);
        }
    }
}

impl<S: View> View for MeteredStore<S> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, Fault> {
        self.store.get(table, key)
    }

    fn scan<'a>(&'a self, table: Table, bounds: KeyBounds<'_>, direction: Direction) -> Rows<'a> {
        self.store.scan(table, bounds, direction)
    }
}

impl<S: Store> Store for MeteredStore<S> {
    type Snapshot = S::Snapshot;
    type Stage = S::Stage;

    fn snapshot(&self) -> Result<S::Snapshot, Fault> {
        self.store.snapshot()
    }

    async fn write(&self, batch: Batch) -> Result<(), Fault> {
        let begun = Instant::now();
        let written = self.store.write(batch).await;
        self.written(begun);
        written
    }

    async fn write_unless_replaced(
        &self,
        basis: &S::Snapshot,
        batch: Batch,
    ) -> Result<bool, Fault> {
        let begun = Instant::now();
        let written = self.store.write_unless_replaced(basis, batch).await;
        self.written(begun);
        written
    }

    async fn persist(&self) -> Result<(), Fault> {
        self.store.persist().await
    }

    async fn stage(&self) -> Result<S::Stage, Fault> {
        self.store.stage().await
    }

    async fn reclaim(&self, reclaim: Reclaim) -> Result<(), Fault> {
        self.store.reclaim(reclaim).await
    }

    fn size(&self) -> Size {
        self.store.size()
    }
}

/// The way to the other members.
pub(crate) struct MeteredTransport {
    transport: Arc<dyn Transport>,
    stats: Arc<Stats>,
}

impl MeteredTransport {
    pub fn new(transport: Arc<dyn Transport>, stats: Arc<Stats>) -> MeteredTransport {
        MeteredTransport { transport, stats }
    }
}

impl Transport for MeteredTransport {
    fn set_peer(&self, id: u64, peer_urls: Vec<String>) {
        self.stats.know_peer(id);
        self.transport.set_peer(id, peer_urls);
    }

    fn remove_peer(&self, id: u64) {
        self.transport.remove_peer(id);
    }

    fn call(
        &self,
        to: u64,
        kind: Kind,
        body: Bytes,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        let Some(peer) = self.stats.peer(to) else {
            return self.transport.call(to, kind, body, timeout);
        };
        let bytes = body.len() as u64;
        let begun = Instant::now();
        let is_heartbeat = is_heartbeat(kind, &body);
        let is_append = kind == Kind::AppendEntries && !is_heartbeat;
        if is_append {
            self.stats.appends_sent.count(bytes);
        }
        let call = self.transport.call(to, kind, body, timeout);
        let stats = self.stats.clone();
        async move {
            let answer = call.await;
            peer.answered(&answer, bytes);
            match &answer {
                Ok(_) if is_heartbeat => peer.round_trip.observe_seconds(begun.elapsed()),
                Err(TransportError::Lost(..)) if is_heartbeat => stats.heartbeats_lost.add(1),
                Ok(_) if is_append => peer.append_latency.answered(begun.elapsed()),
                Err(_) if is_append => peer.append_latency.failed(),
                _ => {}
            }
            answer
        }
        .boxed()
    }

    fn stream(
        &self,
        to: u64,
        kind: Kind,
        chunks: BoxStream<'static, Bytes>,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        let Some(peer) = self.stats.peer(to) else {
            return self.transport.stream(to, kind, chunks);
        };
        let counted = peer.clone();
        let chunks = chunks.inspect(move |chunk| counted.sent_bytes.add(chunk.len() as u64));
        let stream = self.transport.stream(to, kind, chunks.boxed());
        async move {
            let sent = Moving::new((kind == Kind::Snapshot).then_some(&peer.snapshots_sent));
            let answer = stream.await;
            peer.answered(&answer, 0);
            sent.ended(answer.is_ok());
            answer
        }
        .boxed()
    }
    fn is_connected(&self, to: u64) -> bool {
        self.transport.is_connected(to)
    }

    fn reconnect(&self, to: u64) -> BoxFuture<'static, bool> {
        self.transport.reconnect(to)
    }
}

impl PeerStats {
    fn answered(&self, answer: &Result<Bytes, TransportError>, sent_bytes: u64) {
        match answer {
            Ok(body) => {
                self.sent_bytes.add(sent_bytes);
                self.received_bytes.add(body.len() as u64);
                self.set_active(true);
            }
            Err(TransportError::Refused(..)) => {
                self.sent_bytes.add(sent_bytes);
                self.set_active(true);
            }
            Err(TransportError::Lost(..)) => {
                self.sent_bytes.add(sent_bytes);
                self.send_failures.add(1);
            }
            Err(TransportError::Unreachable(..)) => {
                self.send_failures.add(1);
                self.set_active(false);
            }
        }
    }
}

/// A snapshot on its way, if it is one. If it is dropped before its end, it has failed.
struct Moving<'a> {
    snapshots: Option<&'a Snapshots>,
    _under_way: Option<Held<'a>>,
    begun: Instant,
}

impl<'a> Moving<'a> {
    fn new(snapshots: Option<&'a Snapshots>) -> Moving<'a> {
        Moving {
            snapshots,
            _under_way: snapshots.map(|it| Held::of(&it.under_way)),
            begun: Instant::now(),
        }
    }

    fn ended(mut self, well: bool) {
        if let Some(snapshots) = self.snapshots.take() {
            snapshots.ended(well, self.begun.elapsed());
        }
    }
}

impl Drop for Moving<'_> {
    fn drop(&mut self) {
        if let Some(snapshots) = self.snapshots {
            snapshots.ended(false, self.begun.elapsed());
        }
    }
}

/// What other members reach.
pub(crate) struct MeteredReceiver<R> {
    receiver: R,
    stats: Arc<Stats>,
}

impl<R> MeteredReceiver<R> {
    pub fn new(receiver: R, stats: Arc<Stats>) -> MeteredReceiver<R> {
        MeteredReceiver { receiver, stats }
    }
}

impl<R: Receiver> Receiver for MeteredReceiver<R> {
    fn call(
        &self,
        from: u64,
        kind: Kind,
        body: Bytes,
    ) -> BoxFuture<'static, Result<Bytes, String>> {
        let bytes = body.len() as u64;
        if kind == Kind::AppendEntries && !is_heartbeat(kind, &body) {
            self.stats.appends_received.count(bytes);
        }
        let call = self.receiver.call(from, kind, body);
        let Some(peer) = self.stats.peer(from) else {
            return call;
        };
        peer.received_bytes.add(bytes);
        peer.set_active(true);
        call.inspect(move |answer| match answer {
            Ok(body) => peer.sent_bytes.add(body.len() as u64),
            Err(_) => peer.receive_failures.add(1),
        })
        .boxed()
    }

    fn stream(
        &self,
        from: u64,
        kind: Kind,
        chunks: BoxStream<'static, Result<Bytes, String>>,
    ) -> BoxFuture<'static, Result<Bytes, String>> {
        let Some(peer) = self.stats.peer(from) else {
            return self.receiver.stream(from, kind, chunks);
        };
        peer.set_active(true);
        let counted = peer.clone();
        let chunks = chunks.inspect(move |chunk| count(&counted.received_bytes, chunk));
        let stream = self.receiver.stream(from, kind, chunks.boxed());
        let stats = self.stats.clone();
        async move {
            let snapshots = (kind == Kind::Snapshot).then_some(&peer.snapshots_received);
            let _installing = snapshots.map(|_| Held::of(&stats.snapshots_incoming));
            let received = Moving::new(snapshots);
            let answer = stream.await;
            if answer.is_err() {
                peer.receive_failures.add(1);
            }
            received.ended(answer.is_ok());
            answer
        }
        .boxed()
    }

    fn connected(&self, from: u64) {
        self.receiver.connected(from);
    }
}

fn count(bytes: &Counter, chunk: &Result<Bytes, String>) {
    if let Ok(chunk) = chunk {
        bytes.add(chunk.len() as u64);
    }
}
