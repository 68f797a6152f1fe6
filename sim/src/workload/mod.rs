//! Workloads: what clients do, and what they write down of it. A file for each kind, which has its
//! settings, perhaps something to set up, and its clients. What they wrote into the run's
//! [`History`](crate::history::History) is judged by the checks once the run is over.

pub mod append;
pub mod bank;
pub mod compaction;
pub mod cycle;
pub mod election;
pub mod feed;
pub mod keep_alives;
pub mod kubernetes;
pub mod kv;
pub mod large;
pub mod lease;
pub mod leases;
pub mod lock;
pub mod operator;
pub mod ops;
pub mod script;
pub mod session;
pub mod snapshots;
pub mod streams;
pub mod turns_by_service;
pub mod unusual;
pub mod v2;
pub mod watch;

use crate::client::Client;
use crate::rng::Rng;
use crate::scenario::reader::{Problem, Reader};
use crate::scenario::settings::{Settings, kinds, toml};
use crate::scenario::units::Times;
use crate::time;
use futures::FutureExt;
use futures::future::BoxFuture;
use std::fmt;
use tokio::sync::watch as tokio_watch;

/// What a client does from its start to its end.
pub type Job = BoxFuture<'static, ()>;

/// The revision that watchers have to reach, once the run knows it.
pub type Until = tokio_watch::Receiver<Option<i64>>;

/// Where clients come from.
pub trait ClientStarter {
    /// A client on a machine of its own, whose job ends by itself: the run waits for it.
    fn start(&mut self, kind: &str, job: Box<dyn FnOnce(Client) -> Job + Send>);
    /// A client whose job goes on until the rest is over, and ends at the revision that it is told
    /// of then.
    fn follow(&mut self, kind: &str, job: Box<dyn FnOnce(Client, Until) -> Job + Send>);
}

/// What the kinds of workload have in common.
///
/// `name` is the workload's own within its scenario: keys that begin so are nobody else's.
pub trait Work: Settings {
    /// What must be there before any client starts, put there in calm; the job may be given up
    /// and done again, by another client.
    fn setup(&self, _name: &str) -> Option<Box<dyn FnOnce(Client) -> Job + Send>> {
        None
    }

    /// Starts the clients.
    fn start(&self, name: &str, clients: &mut dyn ClientStarter);
}

kinds! {
    /// What clients do. To add a workload, write a file with its settings and a line here.
    pub enum Workload: Work {
        "kv" => Kv(kv::Kv),
        "watch" => Watch(watch::Watch),
        "streams" => Streams(streams::Streams),
        "lease" => Lease(lease::Lease),
        "leases" => Leases(leases::Leases),
        "append" => Append(append::Append),
        "bank" => Bank(bank::Bank),
        "cycle" => Cycle(cycle::Cycle),
        "operator" => Operator(operator::Operator),
        "script" => Script(script::Script),
        "lock" => Lock(lock::Lock),
        "election" => Election(election::Election),
        "snapshots" => Snapshots(snapshots::Snapshots),
        "compaction" => Compaction(compaction::Compaction),
        "large" => Large(large::Large),
        "kubernetes" => Kubernetes(kubernetes::Kubernetes),
        "v2" => V2(v2::V2),
    }
}

impl Workload {
    /// Reads the whole of a table.
    pub fn read_whole(reader: &Reader<'_>) -> Result<Workload, Problem> {
        let workload = Workload::read(reader)?;
        reader.done()?;
        Ok(workload)
    }
}

/// One client of a workload, with what it works with.
pub struct Worker<S> {
    pub settings: S,
    /// The workload's name.
    pub name: String,
    pub client: Client,
    pub rng: Rng,
}

/// Starts clients of a kind that share `ops` between them. Their draws are the stream `stream`.
pub fn share<S, F>(
    settings: &S,
    name: &str,
    clients: &mut dyn ClientStarter,
    (kind, stream): (&str, &'static str),
    ops: impl Iterator<Item = u64>,
    work: impl FnOnce(Worker<S>, u64) -> F + Copy + Send + 'static,
) where
    S: Clone + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    for ops in ops {
        let (settings, name) = (settings.clone(), name.to_owned());
        let run = job(move |client: Client| {
            let worker = Worker {
                settings,
                name,
                rng: client.rng(stream),
                client,
            };
            work(worker, ops)
        });
        clients.start(kind, run);
    }
}

impl<S> Worker<S> {
    pub async fn pause(&mut self, pause: Times) {
        time::sleep(pause.pick(&mut self.rng)).await;
    }
}

/// The names of a scenario's workloads: the kind, and from the second of a kind on its number.
pub fn names(workloads: &[Workload]) -> Vec<String> {
    let kinds: Vec<&str> = workloads.iter().map(Workload::name).collect();
    let names = kinds.iter().enumerate().map(|(index, kind)| {
        match kinds[..index].iter().filter(|other| *other == kind).count() {
            0 => (*kind).to_owned(),
            before => format!("{kind}-{}", before + 1),
        }
    });
    names.collect()
}

/// A client's job, boxed.
pub fn job<F: Future<Output = ()> + Send + 'static>(
    work: impl FnOnce(Client) -> F + Send + 'static,
) -> Box<dyn FnOnce(Client) -> Job + Send> {
    Box::new(move |client| work(client).boxed())
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "kind = \"{}\"", self.name())?;
        f.write_str(&toml(&self.inner().entries(), "workload"))
    }
}
