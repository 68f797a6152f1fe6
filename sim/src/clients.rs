//! The clients of a run: each on a machine of its own, all writing into one history.

use crate::client::{Client, ClientSettings, Hosts};
use crate::history::HistoryRecorder;
use crate::net::{Host, Net};
use crate::trace;
use crate::workload::{ClientStarter, Job, Until};
use madsim::runtime::NodeHandle;
use madsim::task::JoinHandle;
use tokio::sync::watch as tokio_watch;

pub struct Clients {
    net: Net,
    recorder: HistoryRecorder,
    seed: u64,
    members: Hosts,
    settings: ClientSettings,
    count: u32,
    /// Clients with a job that ends by itself.
    working: Vec<JoinHandle<()>>,
    /// Clients that go on until the last revision is known.
    following: Vec<JoinHandle<()>>,
    last_revision: tokio_watch::Sender<Option<i64>>,
}

impl Clients {
    pub fn new(
        net: Net,
        recorder: HistoryRecorder,
        seed: u64,
        members: Hosts,
        settings: ClientSettings,
    ) -> Clients {
        Clients {
            net,
            recorder,
            seed,
            members,
            settings,
            count: 0,
            working: Vec::new(),
            following: Vec::new(),
            last_revision: tokio_watch::Sender::new(None),
        }
    }

    /// How many there are: the last one's number.
    pub fn count(&self) -> u32 {
        self.count
    }

    pub fn recorder(&self) -> &HistoryRecorder {
        &self.recorder
    }

    /// A new client on a machine of its own.
    pub fn client(&mut self, kind: &str) -> (NodeHandle, Client) {
        let settings = self.settings.clone();
        let (node, client) = self.steady_client(kind);
        (node, client.with_settings(settings))
    }

    /// A new client that asks one member and no other.
    pub fn steady_client(&mut self, kind: &str) -> (NodeHandle, Client) {
        self.count += 1;
        let (number, name) = (self.count, format!("{kind}{}", self.count));
        let engine = madsim::runtime::Handle::current();
        let node = engine.create_node().name(&name).build();
        trace::name_node(node.id(), &name);
        let identity = (Host(1000 + number), number, name);
        let (net, recorder) = (self.net.clone(), self.recorder.clone());
        let client = Client::new(net, recorder, identity, self.members.clone(), self.seed);
        (node, client)
    }

    /// The clients whose end is to be waited for, once.
    pub fn working(&mut self) -> Vec<JoinHandle<()>> {
        std::mem::take(&mut self.working)
    }

    /// Lets the others end at this revision; they are to be waited for, too.
    pub fn end_at(&mut self, last: i64) -> Vec<JoinHandle<()>> {
        self.last_revision.send_replace(Some(last));
        std::mem::take(&mut self.following)
    }
}

impl ClientStarter for Clients {
    fn start(&mut self, kind: &str, job: Box<dyn FnOnce(Client) -> Job + Send>) {
        let (node, client) = self.client(kind);
        self.working.push(node.spawn(job(client)));
    }

    fn follow(&mut self, kind: &str, job: Box<dyn FnOnce(Client, Until) -> Job + Send>) {
        let (node, client) = self.client(kind);
        let until = self.last_revision.subscribe();
        self.following.push(node.spawn(job(client, until)));
    }
}
