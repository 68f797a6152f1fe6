//! Operators that save snapshots while others write, and keep what is in them.

use crate::client::Client;
use crate::client_records::{SavedSnapshot, SnapshotContent};
use crate::framing::Broken;
use crate::scenario::settings::settings;
use crate::scenario::units::{Count, Time, Times};
use crate::trace;
use crate::workload::{ClientStarter, Work, Worker, share};
use detcd_bolt::read;
use detcd_service::Rpc;
use detcd_wire::{etcdserverpb as pb, mvccpb};
use prost::Message as _;
use std::collections::BTreeMap;
use std::time::Duration;

/// A member that does not tell its revision in time is passed over.
const STATUS_MAX: Duration = Duration::from_secs(1);

/// The length of a snapshot's last message, its checksum.
const CHECKSUM_BYTES: usize = 32;

settings! {
    /// Operators that save snapshots beside other clients.
    pub struct Snapshots {
        /// How many of them.
        pub clients: Count [1..=100] = 1,
        /// How many snapshots they save together.
        pub count: Count = 6,
        /// What an operator waits before it saves one.
        every: Times = ("200ms", "3s"),
        /// What it waits for a whole snapshot.
        timeout: Time = "5s",
    }
}

impl Work for Snapshots {
    fn start(&self, name: &str, clients: &mut dyn ClientStarter) {
        let counts = self.count.shares(self.clients.value());
        let work = async |mut worker: Worker<Snapshots>, count| {
            for _ in 0..count {
                worker.pause(worker.settings.every).await;
                worker.client.go_elsewhere();
                let timeout = worker.settings.timeout.duration();
                let saved = detcd_rt::timeout(timeout, save(&worker.client)).await;
                if let Ok(Some(saved)) = saved {
                    trace::mark("snapshot.saved");
                    worker.client.note(|history| history.snapshots.push(saved));
                }
            }
        };
        share(self, name, clients, ("s", "snapshots"), counts, work);
    }
}

/// `None` if the member does not give it whole.
async fn save(client: &Client) -> Option<SavedSnapshot> {
    let status = pb::StatusRequest {};
    let status = client.call::<pb::StatusResponse>(Rpc::Status, &status, STATUS_MAX);
    let at_least = status.await.ok()?.header?.revision;
    let file = receive(client).await.ok()??;
    let content = read::buckets(&file).ok();
    let content = content.and_then(|buckets| rows(&buckets));
    Some(SavedSnapshot {
        member: client.member(),
        at_least,
        content,
    })
}

/// The file without its checksum; `None` if the stream is not what it says.
async fn receive(client: &Client) -> Result<Option<Vec<u8>>, Broken> {
    let mut call = client.open(Rpc::Snapshot);
    call.send(&pb::SnapshotRequest {}).await?;
    let mut file = Vec::new();
    let mut whole = None;
    while let Some(message) = call.recv::<pb::SnapshotResponse>().await? {
        file.extend_from_slice(&message.blob);
        let announced = file.len() as u64 + message.remaining_bytes;
        whole.get_or_insert(announced);
    }
    let length = file.len().saturating_sub(CHECKSUM_BYTES);
    file.truncate(length);
    Ok((whole == Some(length as u64)).then_some(file))
}

type Buckets = BTreeMap<Vec<u8>, Vec<read::Row>>;

/// The revision of the compaction, and the changes; `None` if they are not what etcd keeps.
fn rows(buckets: &Buckets) -> Option<SnapshotContent> {
    let number = |bytes: &[u8]| Some(i64::from_be_bytes(bytes.get(..8)?.try_into().ok()?));
    let meta = buckets.get(&b"meta"[..])?;
    let mut scheduled = meta.iter().filter(|(key, _)| key == b"scheduledCompactRev");
    let compacted = scheduled
        .next()
        .map_or(Some(0), |(_, value)| number(value))?;
    let mut changes = Vec::new();
    for (key, value) in buckets.get(&b"key"[..])? {
        let kv = mvccpb::KeyValue::decode(&value[..]).ok()?;
        changes.push((number(key)?, key.ends_with(b"t") && key.len() == 18, kv));
    }
    Some((compacted, changes))
}
