//! The clients that faults bring: see [`crate::fault::load`].

use crate::client::{Client, ClientSettings, Hosts};
use crate::fault::load::{CompactionStorm, ExtraLoad, ExtraLoadId};
use crate::history::{HistoryRecorder, Outcome, Request};
use crate::net::{Host, Net};
use crate::time;
use crate::trace;
use crate::workload::kv::Kv;
use crate::workload::ops;
use detcd_core::api::{CompactRequest, RangeRequest};
use madsim::task::JoinHandle;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Their machines are numbered from here, and themselves as well.
const EXTRA_CLIENTS: u32 = 20_000;
/// So many compactions are a storm.
const COMPACTIONS_MIN: u64 = 3;

/// Puts clients to work, and lets them end.
pub struct Load {
    net: Net,
    hosts: Hosts,
    recorder: HistoryRecorder,
    settings: ClientSettings,
    seed: u64,
    count: u32,
    /// Whether each fault's clients are to end.
    ends: Vec<Arc<AtomicBool>>,
    working: Vec<JoinHandle<()>>,
}

impl Load {
    /// Clients that write into this history.
    pub fn new(
        net: Net,
        hosts: Hosts,
        recorder: HistoryRecorder,
        settings: ClientSettings,
        seed: u64,
    ) -> Load {
        Load {
            net,
            hosts,
            recorder,
            settings,
            seed,
            count: 0,
            ends: Vec::new(),
            working: Vec::new(),
        }
    }

    pub fn start_load(&mut self, extra_load: ExtraLoad) -> ExtraLoadId {
        let id = self.ends.len();
        let end = Arc::new(AtomicBool::new(false));
        self.ends.push(end.clone());
        match extra_load {
            ExtraLoad::Burst { kv, mark } => {
                let clients = kv.clients.value();
                let answered = Arc::new(AtomicU64::new(0));
                for _ in 0..clients {
                    let extra_clients = ExtraClients {
                        end: end.clone(),
                        answered: answered.clone(),
                        clients,
                        mark,
                    };
                    let kv = kv.clone();
                    self.employ("burst", move |client| burst(kv, client, extra_clients));
                }
            }
            ExtraLoad::Compactions(storm) => {
                let done = Arc::new(AtomicU64::new(0));
                for _ in 0..storm.clients.value() {
                    let (storm, end, done) = (storm.clone(), end.clone(), done.clone());
                    self.employ("storm", move |client| compact(storm, client, end, done));
                }
            }
        }
        ExtraLoadId(id as u64)
    }

    pub fn stop_load(&mut self, ExtraLoadId(id): ExtraLoadId) {
        self.ends[id as usize].store(true, Ordering::Relaxed);
    }

    /// Those whose end is to be waited for, once; all of them end now.
    pub fn working(&mut self) -> Vec<JoinHandle<()>> {
        let ends = self.ends.iter();
        ends.for_each(|end| end.store(true, Ordering::Relaxed));
        std::mem::take(&mut self.working)
    }

    /// A client more, on a machine of its own.
    fn employ<F>(&mut self, kind: &str, work: impl FnOnce(Client) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.count += 1;
        let name = format!("{kind}{}", self.count);
        let node = madsim::runtime::Handle::current()
            .create_node()
            .name(&name)
            .build();
        trace::name_node(node.id(), &name);
        let number = EXTRA_CLIENTS + self.count;
        let client = Client::new(
            self.net.clone(),
            self.recorder.clone(),
            (Host(number), number, name),
            self.hosts.clone(),
            self.seed,
        );
        let client = client.with_settings(self.settings.clone());
        self.working.push(node.spawn(work(client)));
    }
}

/// What the clients of a burst share.
struct ExtraClients {
    end: Arc<AtomicBool>,
    /// How many of them were answered, or gave up waiting, at least once.
    answered: Arc<AtomicU64>,
    clients: u64,
    mark: Option<&'static str>,
}

async fn burst(kv: Kv, client: Client, extra_clients: ExtraClients) {
    let mut operations = 0;
    let goes_on = || {
        operations += 1;
        if operations == 2
            && extra_clients.answered.fetch_add(1, Ordering::Relaxed) + 1 == extra_clients.clients
            && let Some(mark) = extra_clients.mark
        {
            trace::mark(mark);
        }
        !extra_clients.end.load(Ordering::Relaxed)
    };
    kv.start_load(client, goes_on).await;
}

async fn compact(
    storm: CompactionStorm,
    mut client: Client,
    end: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
) {
    let mut rng = client.rng("storm");
    let timeout = storm.timeout.duration();
    while !end.load(Ordering::Relaxed) {
        let count = RangeRequest {
            count_only: true,
            ..RangeRequest::of(ops::prefix("k/"))
        };
        let newest = client.execute(Request::Range(count), timeout).await;
        if let Some((_, newest, _)) = newest {
            let behind = rng.range(storm.behind.range()) as i64;
            let request = CompactRequest {
                revision: (newest - behind).max(1),
                physical: rng.chance(storm.physical.value()),
            };
            let outcome = client.attempt(Request::Compact(request), timeout).await;
            if matches!(outcome, Outcome::Done { .. })
                && done.fetch_add(1, Ordering::Relaxed) + 1 == COMPACTIONS_MIN
            {
                trace::mark("fault.compaction-storm");
            }
        }
        time::sleep(storm.every.pick(&mut rng)).await;
    }
}
