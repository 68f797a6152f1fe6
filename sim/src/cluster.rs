//! The cluster under test: real members on simulated machines.

use crate::disk::{Latency, Loss, Platter};
use crate::fault::{ClockChange, World};
use crate::net::link::{Links, Manners};
use crate::net::transport::{self, Directory, SimTransport};
use crate::net::{Host, Net};
use crate::observer;
use crate::rng::Rng;
use crate::scenario::Cluster as Plan;
use crate::server;
use crate::store::Vault;
use crate::{time, trace};
use detcd_core::api::{ClusterId, Member as MemberInfo, MemberId, Millis};
use detcd_core::member::{cluster_id, member_id};
use detcd_core::validate::Limits;
use detcd_driver::{Handle, Member, MemberOptions, MemberStatus};
use detcd_rt::clock;
use detcd_storage::log::LogOptions;
use futures::future;
use madsim::runtime::NodeHandle;
use madsim::task::NodeId;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

/// Segments are small, so that a short run rolls, recycles and purges them.
const SEGMENT_BYTES: u64 = 256 * 1024;

/// What members told when they stopped by themselves, which none should.
pub type Failures = Arc<Mutex<Vec<String>>>;

pub struct Cluster {
    net: Net,
    machines: Vec<Machine>,
    failures: Failures,
}

struct Machine {
    node: NodeId,
    host: Host,
    platter: Platter,
    vault: Vault,
    up: bool,
    /// The process's handle, once it serves.
    serving: Arc<Mutex<Option<Handle>>>,
}

/// What a member's process is started with, each time.
struct Setup {
    index: usize,
    options: MemberOptions,
    net: Net,
    host: Host,
    directory: Directory,
    platter: Platter,
    vault: Vault,
    serving: Arc<Mutex<Option<Handle>>>,
    failures: Failures,
}

/// The run's network, which rings its alarms on a machine of its own.
pub fn network(plan: &Plan, seed: u64) -> Net {
    let node = madsim::runtime::Handle::current()
        .create_node()
        .name("network")
        .build();
    trace::name_node(node.id(), "net");
    let manners = Manners {
        latency_ms: plan.network.latency_ms.range(),
        loss: plan.network.loss.value(),
        duplicate: plan.network.duplicate.value(),
    };
    let links = Links::new(manners, Rng::of(seed, "net/faults"));
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
    pub fn start(plan: &Plan, seed: u64, net: Net, vaults: Vec<Vault>) -> Cluster {
        let failures = Failures::default();
        let directory = Directory::default();
        let members: Vec<MemberInfo> = (1..=vaults.len()).map(member).collect();
        let ids: Vec<MemberId> = members.iter().map(|member| member.id).collect();
        let setups = vaults.into_iter().enumerate().map(|(index, vault)| {
            let host = Host(index as u32 + 1);
            directory.add(&members[index].peer_urls[0], host, ids[index].0);
            let rng = Rng::of(seed, &format!("m{}/disk", index + 1));
            let sync_ms = plan.disk.sync_ms.range();
            Setup {
                index,
                options: options(plan, cluster_id(&ids), &members, index, seed),
                net: net.clone(),
                host,
                directory: directory.clone(),
                platter: Platter::new(rng, Latency { sync_ms }),
                vault,
                serving: Arc::default(),
                failures: failures.clone(),
            }
        });
        let setups: Vec<Arc<Setup>> = setups.map(Arc::new).collect();
        let machines = setups.into_iter().map(Machine::start).collect();
        Cluster {
            net,
            machines,
            failures,
        }
    }

    pub fn hosts(&self) -> Vec<Host> {
        self.machines.iter().map(|machine| machine.host).collect()
    }

    pub fn failures(&self) -> Vec<String> {
        self.failures
            .lock()
            .expect("no member panics while it fails")
            .clone()
    }

    /// What each member says of itself; `None` for those that do not serve.
    pub fn statuses(&self) -> Vec<Option<MemberStatus>> {
        self.machines
            .iter()
            .map(|machine| Some(machine.handle()?.status()))
            .collect()
    }

    /// Ends all faults: links, clocks, and members that are down.
    pub fn heal(&mut self) {
        trace::event("fault.heal", format_args!(""));
        self.net.change_links(|links| links.heal());
        for member in 0..self.machines.len() {
            self.change_clock(member, ClockChange::Heal);
            if !self.machines[member].up {
                World::start(self, member);
            }
        }
    }
}

fn member(number: usize) -> MemberInfo {
    let peer_urls = vec![format!("http://m{number}:2380")];
    MemberInfo {
        id: member_id(&peer_urls, "sim", None),
        name: format!("m{number}"),
        peer_urls,
        client_urls: vec![format!("http://m{number}:2379")],
        is_learner: false,
    }
}

fn options(
    plan: &Plan,
    cluster_id: ClusterId,
    members: &[MemberInfo],
    index: usize,
    seed: u64,
) -> MemberOptions {
    let salt = Rng::of(seed, &format!("m{}/salt", index + 1)).next_u64();
    MemberOptions {
        cluster_id,
        member_id: members[index].id,
        members: members.to_vec(),
        heartbeat: Millis(plan.heartbeat_ms.value()),
        election_timeout: Millis(plan.election_ms.value()),
        snapshot_count: plan.snapshot_entries.value(),
        catch_up_entries: plan.catch_up_entries.value(),
        limits: Limits::default(),
        quota_bytes: None,
        watch_progress_interval: Millis(10_000),
        log: LogOptions {
            segment_bytes: SEGMENT_BYTES,
            ..LogOptions::new(salt)
        },
    }
}

impl Machine {
    fn start(setup: Arc<Setup>) -> Machine {
        let name = format!("m{}", setup.index + 1);
        let process = setup.clone();
        let engine = madsim::runtime::Handle::current();
        let builder = engine.create_node().name(&name);
        let node = builder.init(move || run(process.clone())).build();
        trace::name_node(node.id(), &name);
        observer::name_member(
            node.id(),
            setup.index,
            setup.options.member_id.0,
            setup.platter.clone(),
        );
        Machine {
            node: node.id(),
            host: setup.host,
            platter: setup.platter.clone(),
            vault: setup.vault.clone(),
            up: true,
            serving: setup.serving.clone(),
        }
    }

    fn handle(&self) -> Option<Handle> {
        self.serving.lock().expect("no holder panics").clone()
    }
}

/// A member's process, from start to crash.
async fn run(setup: Arc<Setup>) {
    observer::started(setup.index);
    trace::event("member.start", format_args!(""));
    let transport = SimTransport::new(setup.net.clone(), setup.host, setup.directory.clone());
    let disk = setup.platter.mount();
    let store = Arc::new(setup.vault.mount());
    let options = setup.options.clone();
    let member = match Member::start(options, disk, store, Arc::new(transport)).await {
        Ok(member) => member,
        Err(error) => return setup.fail(format!("cannot start: {error}")),
    };
    let handle = member.handle();
    let peers = transport::serve(
        setup.net.clone(),
        setup.host,
        setup.directory.clone(),
        member.receiver(),
    );
    detcd_rt::spawn(peers);
    detcd_rt::spawn(server::serve(setup.net.clone(), setup.host, handle.clone()));
    *setup.serving.lock().expect("no holder panics") = Some(handle.clone());
    trace::event("member.serves", format_args!(""));
    let mut fatal = handle.fatal();
    let reason = match fatal.wait_for(Option::is_some).await {
        Ok(reason) => reason.clone().unwrap_or_default(),
        Err(_) => "its loop ended".to_owned(),
    };
    setup.fail(format!("halted: {reason}"));
    // The process would exit; here it stays until the run has told of it.
    future::pending::<()>().await;
}

impl Setup {
    fn fail(&self, why: String) {
        trace::event("member.failed", format_args!("{why}"));
        let why = format!("member {} {why}", self.index + 1);
        self.failures
            .lock()
            .expect("no member panics while it fails")
            .push(why);
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
        self.machines[member].host
    }

    fn crash(&mut self, member: usize, loss: Loss) -> bool {
        let machine = &mut self.machines[member];
        if !machine.up {
            return false;
        }
        machine.up = false;
        // All in one step: whatever the dead process's destructors try finds closed doors.
        madsim::runtime::Handle::current().kill(machine.node);
        self.net.process_died(machine.host);
        machine.platter.crash(loss);
        machine.vault.crash(loss);
        *machine.serving.lock().expect("no holder panics") = None;
        observer::died(member);
        true
    }

    fn start(&mut self, member: usize) {
        let machine = &mut self.machines[member];
        if !machine.up {
            machine.up = true;
            trace::mark("member.restarted");
            madsim::runtime::Handle::current().restart(machine.node);
        }
    }

    fn change_clock(&mut self, member: usize, change: ClockChange) {
        let node = self.machines[member].node;
        match change {
            ClockChange::Rate { ppm } => clock::set_rate(node, ppm),
            ClockChange::Jump(forward) => clock::jump(node, forward),
            ClockChange::StepWall { milliseconds } => clock::step_wall(node, milliseconds),
            ClockChange::Heal => clock::heal(node),
        }
    }
}
