//! The cluster under test: real members on simulated machines, and those who operate it.

use crate::client::{Client, Hosts};
use crate::disk::defects::{DiskFault, DiskFaultId, Part};
use crate::disk::speed::Speed;
use crate::disk::{DiskImage, Latency, Loss};
use crate::fault::load::{ExtraLoad, ExtraLoadId};
use crate::fault::members::Order;
use crate::fault::reconfigure::Changes;
use crate::fault::{Backup, ClockChange, Trap, World};
use crate::history::HistoryRecorder;
use crate::load::Load;
use crate::machine::{Failures, Machine, Parts, Place};
use crate::net::link::{LinkSettings, Links};
use crate::net::transport::Directory;
use crate::net::{Host, Net};
use crate::observer;
use crate::operator::{Newcomer, Operator};
use crate::quorum_loss::ClusterAfterLoss;
use crate::rng::Rng;
use crate::scenario::Cluster as Plan;
use crate::scenario::units::Count;
use crate::start::Flags;
use crate::store::StoreImage;
use crate::{record, time, trace};
use detcd_core::api::{ClusterId, Member as MemberInfo, MemberId, Millis};
use detcd_core::membership::identity::Founding;
use detcd_core::url::Url;
use detcd_core::validate::Limits;
use detcd_driver::{MemberOptions, MemberStatus};
use detcd_peer::frame::PROTOCOL_VERSION;
use detcd_rt::clock;
use detcd_storage::log::LogOptions;
use madsim::runtime::NodeHandle;
use madsim::task::JoinHandle;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::watch;

/// Segments of the log are whole pages.
const PAGE: u64 = 4096;
/// Operators' machines, and addresses beyond the founders', are numbered from here.
const OPERATORS: u32 = 5000;
const ADDRESSES: u32 = 500;

pub struct Cluster {
    plan: Plan,
    seed: u64,
    net: Net,
    /// What operators ask and are told.
    recorder: HistoryRecorder,
    directory: Directory,
    machines: Vec<Machine>,
    failures: Failures,
    /// Where clients find the members.
    hosts: Hosts,
    /// A machine of nobody.
    outside_node: NodeHandle,
    /// Who changes the membership.
    operators: Vec<JoinHandle<()>>,
    /// Whom operators were told to remove.
    leaving: BTreeSet<usize>,
    /// The clients that faults bring; set before there are any.
    load: Option<Load>,
    /// How many addresses were given out.
    addresses: u32,
}

/// The run's network, which rings its alarms on a machine of its own.
pub fn network(plan: &Plan, seed: u64) -> Net {
    let node = madsim::runtime::Handle::current()
        .create_node()
        .name("network")
        .build();
    trace::name_node(node.id(), "net");
    let link_settings = LinkSettings {
        latency_ms: plan.network.latency_ms.range(),
        loss: plan.network.loss.value(),
        duplicate: plan.network.duplicate.value(),
    };
    let links = Links::new(link_settings, Rng::of(seed, "net/faults"));
    let itself: Arc<OnceLock<Net>> = Arc::default();
    let net = Net::new(Rng::of(seed, "net"), links, {
        let itself = itself.clone();
        move |at| ring(&node, itself.clone(), at)
    });
    itself
        .set(net.clone())
        .ok()
        .expect("the network is set once");
    net
}

/// Lets the network do what is due at this time. A timer for each event: one timer for the
/// earliest would be late for those that follow closely, by the engine's millisecond.
fn ring(node: &NodeHandle, net: Arc<OnceLock<Net>>, at: Duration) {
    node.spawn(async move {
        time::sleep(at.saturating_sub(time::now())).await;
        let net = net
            .get()
            .expect("the network is set before its first event");
        net.advance(time::now());
    });
}

impl Cluster {
    /// The machines of the founders; their stores are the observer's to look into.
    pub fn start(plan: &Plan, seed: u64, net: Net, recorder: HistoryRecorder) -> Cluster {
        let size = plan.size();
        let named: BTreeMap<String, Vec<Url>> = (1..=size).map(founder).collect();
        let first = named.keys().next().expect("every plan has members");
        let Founding { members, .. } = Flags::of_founder(first, &named).founding();
        let outside_node = madsim::runtime::Handle::current()
            .create_node()
            .name("hands")
            .build();
        trace::name_node(outside_node.id(), "hands");
        let mut cluster = Cluster {
            plan: plan.clone(),
            seed,
            net,
            recorder,
            directory: Directory::default(),
            machines: Vec::new(),
            failures: Failures::default(),
            hosts: Hosts::default(),
            outside_node,
            operators: Vec::new(),
            leaving: BTreeSet::new(),
            load: None,
            addresses: 0,
        };
        for member in &members {
            let host = Host(cluster.machines.len() as u32 + 1);
            let url = member.peer_urls[0].clone();
            cluster.directory.add(&url, host);
            let place = Place {
                id: member.id,
                flags: Flags::of_founder(&member.name, &named),
            };
            let machine = cluster.build(Some(place), host, url);
            observer::name_id(member.id.0, machine.index());
            observer::name_place(machine.index(), cluster.hosts.add(host));
        }
        cluster
    }

    /// A machine more, which waits for its place if it has none.
    fn build(&mut self, place: Option<Place>, host: Host, peer_url: String) -> Machine {
        let index = self.machines.len();
        let rng = |part: &str| Rng::of(self.seed, &format!("m{}/{part}", index + 1));
        let store_image = StoreImage::new(rng("store"), self.plan.disk.sync_ms.range());
        observer::add_store_image(store_image.clone());
        let sync_ms = self.plan.disk.sync_ms.range();
        let disk_image = DiskImage::new(rng("disk"), Latency { sync_ms });
        let speed = Speed::new(&self.plan.disk, rng("speed"));
        disk_image.defects().set_speed(speed);
        let parts = Parts {
            index,
            options: options(&self.plan, rng("salt").next_u64()),
            net: self.net.clone(),
            directory: self.directory.clone(),
            store_image: store_image.on(disk_image.defects()),
            disk_image,
            failures: self.failures.clone(),
            place: Arc::new(watch::Sender::new(place)),
            outside_node: self.outside_node.clone(),
        };
        let machine = Machine::start(parts, host, peer_url);
        self.machines.push(machine.clone());
        machine
    }

    pub fn hosts(&self) -> Hosts {
        self.hosts.clone()
    }

    pub fn failures(&self) -> Vec<String> {
        self.failures
            .lock()
            .expect("no member panics while it fails")
            .clone()
    }

    /// What each machine's member says of itself; `None` for those that do not serve.
    pub fn statuses(&self) -> Vec<Option<MemberStatus>> {
        self.machines
            .iter()
            .map(|machine| Some(machine.handle()?.status()))
            .collect()
    }

    /// The machines whose members belong to the cluster, as its leader sees it.
    pub fn living(&self) -> Vec<usize> {
        let members = self.membership();
        let belongs = |machine: &&Machine| match (machine.id(), &members) {
            (None, _) => false,
            (Some(_), None) => !machine.has_departed(),
            (Some(id), Some(members)) => members.iter().any(|member| member.id == id),
        };
        let known = self.machines.iter().filter(|machine| !machine.is_lost());
        known.filter(belongs).map(Machine::index).collect()
    }

    /// Those of them that answer every request.
    pub fn serving(&self) -> Vec<usize> {
        let members = self.membership().unwrap_or_default();
        let is_learner = |index: &usize| {
            let id = self.machines[*index].id();
            members
                .iter()
                .any(|member| Some(member.id) == id && member.is_learner)
        };
        let living = self.living().into_iter();
        living.filter(|index| !is_learner(index)).collect()
    }

    /// Machines whose members were removed, and that have not stopped.
    pub fn removed_but_running(&self) -> Vec<usize> {
        let living = self.living();
        let others = self.machines.iter().filter(|machine| {
            machine.id().is_some() && machine.is_up() && !living.contains(&machine.index())
        });
        others.map(Machine::index).collect()
    }

    /// Whether the member has found that its storage is no good, and never comes back.
    pub fn is_lost(&self, member: usize) -> bool {
        self.machines[member].is_lost()
    }

    /// Whether a majority stays whole without these members, whoever else is broken already.
    fn can_go_on_without(&self, members: impl IntoIterator<Item = usize>) -> bool {
        let broken = self.machines.iter().filter(|machine| machine.is_broken());
        let mut configs = observer::configs();
        if configs.is_empty() {
            configs.push(vec![(0..self.plan.size()).collect()]);
        }
        let after_loss = ClusterAfterLoss {
            configs: &configs,
            broken: broken.map(Machine::index).chain(members).collect(),
            leaving: &self.leaving,
        };
        after_loss.has_majority()
    }

    fn membership(&self) -> Option<Vec<MemberInfo>> {
        let leader = World::leader(self)?;
        let handle = self.machines[leader].handle()?;
        Some(handle.status().raft.members)
    }

    /// Ends all faults: links, clocks, storage, and members that are down. Those that were removed are
    /// started, too, as by somebody who has not heard of it.
    pub fn heal(&mut self) {
        trace::event("fault.heal", format_args!(""));
        self.net.change_links(|links| links.heal());
        for member in 0..self.machines.len() {
            self.change_clock(member, ClockChange::Heal);
            self.machines[member].heal();
        }
    }

    /// Where the clients come from that faults bring.
    pub fn set_load(&mut self, load: Load) {
        self.load = Some(load);
    }

    /// The operators' work, and that of the clients that faults brought; it ends by itself once
    /// faults have ended.
    pub fn operators(&mut self) -> Vec<JoinHandle<()>> {
        let mut work = self.load.as_mut().map_or(Vec::new(), Load::working);
        work.append(&mut self.operators);
        work
    }

    fn load(&mut self) -> &mut Load {
        self.load.as_mut().expect("the run sets it at its start")
    }

    /// Puts an operator to work, on a machine of its own.
    fn employ<F: Future<Output = ()> + Send + 'static>(
        &mut self,
        work: impl FnOnce(Operator) -> F,
    ) {
        let number = OPERATORS + self.operators.len() as u32 + 1;
        let name = format!("operator{}", self.addresses + number - OPERATORS);
        let engine = madsim::runtime::Handle::current();
        let node = engine.create_node().name(&name).build();
        trace::name_node(node.id(), &name);
        let identity = (Host(number), number, name);
        let hosts = self.hosts.clone();
        let client = Client::new(
            self.net.clone(),
            self.recorder.clone(),
            identity,
            hosts,
            self.seed,
        );
        self.operators.push(node.spawn(work(Operator::new(client))));
    }

    /// Has a member removed, unless what stays would have no majority that is whole. Where all are
    /// whole, the cluster itself sees to it that enough of them stay.
    fn remove(&mut self, member: usize) {
        let Some(id) = self.machines[member].id() else {
            return;
        };
        let is_new = self.leaving.insert(member);
        let is_whole = !self.machines.iter().any(Machine::is_broken);
        if is_whole || self.can_go_on_without([]) {
            self.employ(|mut operator| async move {
                operator.remove(id).await;
            });
        } else if is_new {
            self.leaving.remove(&member);
        }
    }

    /// Has another member take the place of one that is lost.
    fn replace(&mut self, member: usize, same_address: bool) {
        let lost = self.machines[member].clone();
        let Some(id) = lost.id() else { return };
        lost.lose();
        self.leaving.insert(member);
        let (host, url) = match same_address {
            true => self.address_of(&lost),
            false => self.address(),
        };
        let newcomer = self.newcomer(host, url);
        self.employ(|mut operator| async move {
            if operator.remove(id).await {
                operator.add(newcomer, false, false).await;
                trace::mark("fault.replace-member");
            }
        });
    }

    /// An address that nobody had before.
    fn address(&mut self) -> (Host, String) {
        self.addresses += 1;
        let host = Host(ADDRESSES + self.addresses);
        (host, format!("http://x{}:2380", self.addresses))
    }

    /// The address of a machine that is gone, unless another one has taken it over.
    fn address_of(&mut self, gone: &Machine) -> (Host, String) {
        let others = self.machines.iter();
        let mut others = others.filter(|machine| machine.index() != gone.index());
        match others.any(|machine| machine.host() == gone.host()) {
            true => self.address(),
            false => (gone.host(), gone.peer_url()),
        }
    }

    /// A machine that joins as soon as an operator has added it.
    fn newcomer(&mut self, host: Host, peer_url: String) -> Newcomer {
        let machine = self.build(None, host, peer_url.clone());
        let (directory, hosts, url) =
            (self.directory.clone(), self.hosts.clone(), peer_url.clone());
        Newcomer {
            peer_url,
            machine: machine.clone(),
            settle: Box::new(move |id| {
                observer::name_id(id.0, machine.index());
                directory.add(&url, host);
                observer::name_place(machine.index(), hosts.add(host));
            }),
        }
    }
}

/// A founder as the flags of every founder name it.
fn founder(number: usize) -> (String, Vec<Url>) {
    let url = Url::parse(&format!("http://m{number}:2380"));
    (format!("m{number}"), vec![url.expect("it is one")])
}

/// What a member is started with, but for its place.
fn options(plan: &Plan, salt: u64) -> MemberOptions {
    let size = |count: Count| usize::try_from(count.value()).expect("settings are small");
    MemberOptions {
        cluster_id: ClusterId(0),
        member_id: MemberId(0),
        members: Vec::new(),
        joins: false,
        strict_reconfig: true,
        heartbeat: Millis(plan.heartbeat_ms.value()),
        election_timeout: Millis(plan.election_ms.value()),
        snapshot_count: plan.snapshot_entries.value(),
        catch_up_entries: plan.catch_up_entries.value(),
        snapshot_chunk_bytes: size(plan.snapshot_chunk_bytes),
        deferred_log_bytes_min: *plan.deferred_log_bytes.value(),
        away_log_bytes_max: *plan.away_log_bytes.value(),
        limits: Limits {
            request_bytes_max: size(plan.max_request_bytes),
            txn_ops_max: size(plan.max_txn_ops),
        },
        quota_bytes: Some(plan.quota_bytes.value()).filter(|bytes| *bytes > 0),
        watch_progress_interval: Millis(plan.watch_progress_ms.value()),
        token_time_to_live: Millis(300_000),
        log: LogOptions {
            segment_bytes: plan.log_segment_bytes.value().next_multiple_of(PAGE),
            cache_bytes: size(plan.log_cache_bytes),
            ..LogOptions::new(salt)
        },
    }
}

impl World for Cluster {
    fn members(&self) -> usize {
        self.machines.len()
    }

    fn leader(&self) -> Option<usize> {
        let statuses = self.statuses().into_iter().enumerate();
        let leading = statuses.filter_map(|(index, status)| {
            let raft = status?.raft;
            raft.is_leader.then_some((raft.term, index))
        });
        // A deposed leader that does not know it yet has an older term.
        leading.max().map(|(_, index)| index)
    }

    fn net(&self) -> &Net {
        &self.net
    }

    fn host(&self, member: usize) -> Host {
        self.machines[member].host()
    }

    fn crash(&mut self, member: usize, loss: Loss) -> bool {
        let died = self.machines[member].crash(loss);
        if died {
            record!("member.died", member = member);
        }
        died
    }

    fn start(&mut self, member: usize) {
        self.machines[member].boot();
    }

    fn stop(&mut self, member: usize) -> bool {
        self.machines[member].stop()
    }

    fn pause(&mut self, member: usize) -> bool {
        self.machines[member].pause()
    }

    fn resume(&mut self, member: usize) {
        self.machines[member].resume();
    }

    fn arm(&mut self, member: usize, trap: Trap) {
        self.machines[member].arm(trap);
    }

    fn disarm(&mut self, member: usize) {
        self.machines[member].disarm();
    }

    fn may_break(&self, member: usize) -> bool {
        self.can_go_on_without([member])
    }

    fn may_forget(&self, member: usize) -> bool {
        // Who is behind relies on the member to remember.
        let behind = (0..self.machines.len()).filter(|other| !observer::is_complete(*other));
        self.machines[member].is_known() && self.can_go_on_without(behind.chain([member]))
    }

    fn wipe(&mut self, member: usize) {
        self.machines[member].wipe();
    }

    fn backup(&mut self, member: usize) -> Backup {
        self.machines[member].backup()
    }

    fn restore(&mut self, member: usize, backup: &Backup) {
        self.machines[member].restore(backup);
    }

    fn begin_defect(&mut self, member: usize, fault: DiskFault) -> DiskFaultId {
        self.machines[member].begin_defect(fault)
    }

    fn end_defect(&mut self, member: usize, defect: DiskFaultId) {
        self.machines[member].end_defect(defect);
    }

    fn lose_note(&mut self, member: usize) -> bool {
        self.machines[member].lose_note()
    }

    fn rot(&mut self, member: usize, part: Part, bits: u64) -> u64 {
        self.machines[member].rot(part, bits)
    }

    fn change_clock(&mut self, member: usize, change: ClockChange) {
        let node = self.machines[member].node();
        match change {
            ClockChange::Rate { ppm } => clock::set_rate(node, ppm),
            ClockChange::Jump(forward) => clock::jump(node, forward),
            ClockChange::StepWall { milliseconds } => clock::step_wall(node, milliseconds),
            ClockChange::Heal => clock::heal(node),
        }
        let now = clock::reading(node);
        record!(
            "clock.change",
            member = member,
            what = %format_args!("{change:?}"),
            rate_ppm = now.rate_ppm,
            gained_us = now.gained_us,
            wall_ms = now.wall_ms,
        );
    }

    fn has_departed(&self, member: usize) -> bool {
        // One that was refused because it lost its disk is still a member.
        let machine = &self.machines[member];
        machine.has_departed() && !machine.is_lost()
    }

    fn configure(&mut self, member: usize, changes: Changes) {
        self.machines[member].configure(changes);
    }

    fn upgrade(&mut self, member: usize, later: bool) {
        let protocol = PROTOCOL_VERSION + u32::from(later);
        self.directory
            .speaks(self.machines[member].host(), protocol);
    }

    fn start_load(&mut self, extra_load: ExtraLoad) -> ExtraLoadId {
        self.load().start_load(extra_load)
    }

    fn stop_load(&mut self, extra_load: ExtraLoadId) {
        self.load().stop_load(extra_load);
    }

    fn operate(&mut self, order: Order) {
        match order {
            Order::Add { learner, promote } => {
                let (host, url) = self.address();
                let newcomer = self.newcomer(host, url);
                self.employ(|mut operator| async move {
                    operator.add(newcomer, learner, promote).await;
                });
            }
            Order::Remove { member } => self.remove(member),
            Order::Replace {
                member,
                same_address,
            } => self.replace(member, same_address),
            Order::Rejoin { member } => {
                let left = self.machines[member].clone();
                left.lose();
                let (host, url) = self.address_of(&left);
                let newcomer = self.newcomer(host, url);
                self.employ(|mut operator| async move {
                    operator.add(newcomer, false, false).await;
                    trace::mark("fault.rejoin-member");
                });
            }
            Order::Disarm => self.employ(|mut operator| async move { operator.disarm().await }),
            Order::UpdateAddress { member } => {
                let machine = self.machines[member].clone();
                let Some(id) = machine.id() else { return };
                let (host, url) = self.address();
                let (directory, hosts) = (self.directory.clone(), self.hosts.clone());
                directory.add(&url, host);
                self.employ(|mut operator| async move {
                    if operator.update(id, url.clone()).await {
                        hosts.replace(machine.host(), host);
                        machine.relocate(host, url);
                    }
                });
            }
            Order::MoveLeader { to } => {
                let Some(to) = self.machines[to].id() else {
                    return;
                };
                self.employ(|mut operator| async move {
                    operator.move_leader(to).await;
                });
            }
        }
    }
}
