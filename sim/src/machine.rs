//! One machine of the cluster: its disk, its place in the cluster, and the process that runs on
//! it, from start to crash.

use crate::disk::defects::{Defect, DiskFault, DiskFaultId, Part};
use crate::disk::{DiskImage, Loss};
use crate::fault::reconfigure::Changes;
use crate::fault::{Backup, Trap};
use crate::framing;
use crate::net::transport::{self, Directory, SimTransport};
use crate::net::{Host, Net};
use crate::observer;
use crate::rng::Rng;
use crate::scenario::choice::Choice as _;
use crate::start::{self, Asker, Flags, IdentifyError, Identity};
use crate::store::StoreImage;
use crate::time;
use crate::trace;
use detcd_core::api::MemberId;
use detcd_driver::{Handle, Member, MemberOptions, ShutdownReason, StartError};
use detcd_storage::log::LogOptions;
use futures::future;
use madsim::runtime::NodeHandle;
use madsim::task::NodeId;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::watch;

/// The pause before a member tries again to tell the cluster its name.
const PUBLISH_PAUSE: Duration = Duration::from_millis(200);

/// The pause before a process that stopped by itself is started again, once its storage works.
const REVIVE_PAUSE: Duration = Duration::from_millis(200);
/// A process whose storage failed has stopped after this time.
const STOP_MAX: Duration = Duration::from_secs(5);

/// What members told when they stopped by themselves, which none should unless a fault allows it.
pub type Failures = Arc<Mutex<Vec<String>>>;

/// Who a machine's member is, as its operator knows it.
#[derive(Clone, Debug)]
pub struct Place {
    pub id: MemberId,
    /// What its process is started with.
    pub flags: Flags,
}

/// Cheap to clone: the operators hold their machines, too.
#[derive(Clone)]
pub struct Machine {
    inner: Arc<Inner>,
}

struct Inner {
    parts: Parts,
    node: NodeId,
    state: Arc<Mutex<State>>,
}

/// What a machine is made of.
#[derive(Clone)]
pub struct Parts {
    /// Counted from 0.
    pub index: usize,
    /// What its member is started with, but for its place.
    pub options: MemberOptions,
    pub net: Net,
    pub directory: Directory,
    pub disk_image: DiskImage,
    pub store_image: StoreImage,
    pub failures: Failures,
    pub place: Arc<watch::Sender<Option<Place>>>,
    /// A machine of nobody, for what has to be done from outside.
    pub outside_node: NodeHandle,
}

struct State {
    host: Host,
    /// Where the other members reach it.
    peer_url: String,
    up: bool,
    paused: bool,
    /// How many processes there were.
    life: u64,
    allowed_stop: AllowedStop,
    /// Asks the process to stop.
    stop: watch::Sender<bool>,
    /// Gone for good, with its disk.
    lost: bool,
    /// Its member has told the cluster its name.
    known: bool,
    /// Its member has stopped for good.
    departed: bool,
    /// What is otherwise than the cluster's settings.
    changes: Changes,
    /// The process's handle, once it serves.
    serving: Option<Handle>,
}

/// Why a process may stop by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum AllowedStop {
    None,
    /// Its storage fails now and then. It is started again once that is over.
    Failing,
    /// What it has stored is not what it wrote. It need not come back.
    Damaged,
}

impl Machine {
    pub fn start(parts: Parts, host: Host, peer_url: String) -> Machine {
        let name = format!("m{}", parts.index + 1);
        let state = Arc::new(Mutex::new(State {
            host,
            peer_url,
            up: true,
            paused: false,
            life: 0,
            allowed_stop: AllowedStop::None,
            stop: watch::Sender::new(false),
            lost: false,
            known: false,
            departed: false,
            changes: Changes::default(),
            serving: None,
        }));
        let (process, shared) = (parts.clone(), state.clone());
        let engine = madsim::runtime::Handle::current();
        let builder = engine.create_node().name(&name);
        let node = builder
            .init(move || run(process.clone(), shared.clone()))
            .build();
        trace::name_node(node.id(), &name);
        observer::name_member(node.id(), parts.index, parts.disk_image.clone());
        let inner = Inner {
            parts,
            node: node.id(),
            state,
        };
        Machine {
            inner: Arc::new(inner),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.inner.state)
    }

    pub fn handle(&self) -> Option<Handle> {
        self.state().serving.clone()
    }

    pub fn node(&self) -> NodeId {
        self.inner.node
    }

    pub fn host(&self) -> Host {
        self.state().host
    }

    pub fn peer_url(&self) -> String {
        self.state().peer_url.clone()
    }

    pub fn index(&self) -> usize {
        self.inner.parts.index
    }

    /// The id of its member, once it has a place.
    pub fn id(&self) -> Option<MemberId> {
        let place = self.inner.parts.place.borrow();
        place.as_ref().map(|place| place.id)
    }

    pub fn place(&self) -> Arc<watch::Sender<Option<Place>>> {
        self.inner.parts.place.clone()
    }

    pub fn is_lost(&self) -> bool {
        self.state().lost
    }

    /// Whether its disk is gone, or need not hold what was written.
    pub fn is_broken(&self) -> bool {
        let state = self.state();
        state.lost || state.allowed_stop == AllowedStop::Damaged
    }

    /// Whether the others know its member: if that comes back with nothing, they can tell.
    pub fn is_known(&self) -> bool {
        self.state().known
    }

    pub fn has_departed(&self) -> bool {
        self.state().departed
    }

    pub fn is_up(&self) -> bool {
        self.state().up
    }

    /// Whether its member has found out who it is.
    pub fn is_identified(&self) -> bool {
        self.inner.parts.disk_image.identity().is_some()
    }

    /// What is otherwise than the cluster's settings in its next process.
    pub fn configure(&self, changes: Changes) {
        self.state().changes = changes;
    }

    /// It never comes back.
    pub fn lose(&self) {
        self.state().lost = true;
    }

    /// Kills the process. False if there is none.
    pub fn crash(&self, loss: Loss) -> bool {
        if !self.state().up {
            return false;
        }
        // What stands still is dropped only when it is next looked at.
        self.resume();
        bury(&self.inner.parts, &self.inner.state, self.inner.node, loss);
        true
    }

    /// Starts a dead machine's process, unless the machine is lost.
    pub fn boot(&self) {
        boot(&self.inner.parts, &self.inner.state, self.inner.node);
    }

    /// Takes the process down as by a power cut, and up again at another address.
    pub fn relocate(&self, host: Host, peer_url: String) {
        let was_up = self.crash(Loss::LoseUnsynced);
        let mut state = self.state();
        (state.host, state.peer_url) = (host, peer_url);
        drop(state);
        if was_up {
            self.boot();
        }
    }

    /// Asks the process to stop in good order. False if there is none that serves.
    pub fn stop(&self) -> bool {
        let state = self.state();
        let asked = state.up && state.serving.is_some();
        if asked {
            state.stop.send_replace(true);
        }
        asked
    }

    /// Lets the process stand still. False if there is none.
    pub fn pause(&self) -> bool {
        let mut state = self.state();
        if state.up && !state.paused {
            madsim::runtime::Handle::current().pause(self.inner.node);
            state.paused = true;
            return true;
        }
        false
    }

    pub fn resume(&self) {
        if std::mem::replace(&mut self.state().paused, false) {
            madsim::runtime::Handle::current().resume(self.inner.node);
        }
    }

    /// Kills the process when it comes to a point, and starts it again.
    pub fn arm(&self, trap: Trap) {
        let machine = self.clone();
        let defects = self.inner.parts.disk_image.defects();
        defects
            .traps()
            .arm(trap.point, trap.side, trap.skip, move || {
                trace::mark("fault.crash-point");
                let (point, side) = (trap.point.word(), trap.side.word());
                trace::mark(&format!("fault.crash-point.{point}.{side}"));
                machine.crash(trap.loss);
                let outside_node = machine.inner.parts.outside_node.clone();
                outside_node.spawn(async move {
                    time::sleep(trap.down).await;
                    machine.boot();
                });
            });
    }

    pub fn disarm(&self) {
        self.inner.parts.disk_image.defects().traps().disarm();
    }

    /// Empties the dead machine's storage.
    pub fn wipe(&self) {
        self.allowed_stop(AllowedStop::Damaged);
        observer::robbed(self.index());
        self.inner.parts.disk_image.wipe();
        self.inner.parts.store_image.wipe();
    }

    /// Takes the end of the dead machine's log, and what would tell of it.
    pub fn lose_note(&self) -> bool {
        let lost = self.inner.parts.disk_image.lose_note();
        if lost {
            self.allowed_stop(AllowedStop::Damaged);
        }
        lost
    }

    pub fn backup(&self) -> Backup {
        Backup {
            files: self.inner.parts.disk_image.backup(),
            state: self.inner.parts.store_image.tables(),
        }
    }

    pub fn restore(&self, backup: &Backup) {
        self.allowed_stop(AllowedStop::Damaged);
        observer::robbed(self.index());
        self.inner.parts.disk_image.restore(&backup.files);
        self.inner.parts.store_image.restore(&backup.state);
    }

    pub fn begin_defect(&self, fault: DiskFault) -> DiskFaultId {
        let allowed_stop = match fault.defect {
            Defect::Slow(_) | Defect::Stall | Defect::ShortReads(_) => AllowedStop::None,
            Defect::Fails { .. } | Defect::Full => AllowedStop::Failing,
            Defect::LostWrites(_) | Defect::StrayWrites(_) => AllowedStop::Damaged,
        };
        self.allowed_stop(allowed_stop);
        if allowed_stop == AllowedStop::Failing {
            let machine = self.clone();
            let outside_node = self.inner.parts.outside_node.clone();
            outside_node.spawn(async move { machine.watch_it_stop().await });
        }
        self.inner.parts.disk_image.defects().begin(fault)
    }

    pub fn end_defect(&self, defect: DiskFaultId) {
        self.inner.parts.disk_image.defects().end(defect);
    }

    pub fn rot(&self, part: Part, bits: u64) -> u64 {
        let rotten = match part {
            Part::State => u64::from(self.inner.parts.store_image.rot()),
            Part::Log | Part::Vote => self.inner.parts.disk_image.rot(part, bits),
        };
        if rotten > 0 {
            self.allowed_stop(AllowedStop::Damaged);
        }
        rotten
    }

    /// Ends whatever is wrong with the machine, but for what is lost.
    pub fn heal(&self) {
        self.inner.parts.disk_image.defects().heal();
        self.resume();
        self.boot();
    }

    /// Sees to it that a process whose storage failed does not go on.
    async fn watch_it_stop(&self) {
        let defects = self.inner.parts.disk_image.defects();
        let life = self.state().life;
        loop {
            time::sleep(STOP_MAX / 10).await;
            let state = self.state();
            if state.life != life || !state.up {
                return;
            }
            let late = defects
                .failing_since()
                .map(|at| time::now() - at > STOP_MAX);
            match late {
                Some(true) if !state.paused => {
                    drop(state);
                    let why = format!("goes on {STOP_MAX:?} after its storage failed");
                    return self.inner.parts.fail(&why);
                }
                None if !defects.is_failing() => return,
                _ => {}
            }
        }
    }

    fn allowed_stop(&self, allowed_stop: AllowedStop) {
        let mut state = self.state();
        state.allowed_stop = state.allowed_stop.max(allowed_stop);
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().expect("no holder panics")
}

fn boot(parts: &Parts, state: &Mutex<State>, node: NodeId) {
    {
        let mut state = lock(state);
        if state.up || state.lost {
            return;
        }
        state.up = true;
        state.departed = false;
        state.life += 1;
        state.stop.send_replace(false);
        if state.allowed_stop == AllowedStop::Failing && !parts.disk_image.defects().is_failing() {
            state.allowed_stop = AllowedStop::None;
        }
    }
    trace::mark("member.restarted");
    madsim::runtime::Handle::current().restart(node);
}

/// Ends a process, all in one step: whatever its destructors try fails.
fn bury(parts: &Parts, state: &Mutex<State>, node: NodeId, loss: Loss) {
    let host = {
        let mut state = lock(state);
        state.up = false;
        state.host
    };
    madsim::runtime::Handle::current().kill(node);
    parts.net.process_died(host);
    parts.disk_image.crash(loss);
    parts.store_image.crash(loss);
    lock(state).serving = None;
    observer::died(parts.index);
}

/// A member's process, from start to crash.
async fn run(parts: Parts, state: Arc<Mutex<State>>) {
    let mut place = parts.place.subscribe();
    let place = place.wait_for(Option::is_some).await;
    let place = place.expect("the machine holds its place").clone();
    let place = place.expect("it was waited for");
    observer::started(parts.index);
    trace::event("member.start", format_args!("{}", place.id));
    let (host, life) = {
        let state = lock(&state);
        (state.host, state.life)
    };
    let Some(identity) = identify(&parts, &state, host).await else {
        return future::pending().await;
    };
    assert_eq!(
        identity.own.member_id, place.id,
        "it is who it was added as"
    );
    parts.disk_image.save_identity(identity.clone());
    let transport = SimTransport::new(parts.net.clone(), place.id.0, host, parts.directory.clone());
    let (disk, store) = (
        parts.disk_image.mount(),
        Arc::new(parts.store_image.mount()),
    );
    let mut options = MemberOptions {
        cluster_id: identity.own.cluster_id,
        member_id: identity.own.member_id,
        members: identity.members.clone(),
        joins: identity.joined,
        log: LogOptions {
            // A log that is created anew is another one.
            salt: Rng::of(parts.options.log.salt, &format!("{}/{life}", place.id)).next_u64(),
            ..parts.options.log.clone()
        },
        ..parts.options.clone()
    };
    let changes = lock(&state).changes.clone();
    if !changes.is_empty() {
        changes.apply(&mut options);
        trace::mark("fault.reconfigure");
    }
    let election_timeout = Duration::from_millis(options.election_timeout.0);
    let service = framing::options(options.quota_bytes, election_timeout);
    let member = match Member::start(options, disk, store, Arc::new(transport)).await {
        Ok(member) => member,
        Err(StartError::Removed) => return depart(&parts, &state, "member.refused"),
        Err(error) => return give_up(&parts, &state, &format!("cannot start: {error}")),
    };
    parts.disk_image.save_identity(Identity {
        has_started: true,
        ..identity
    });
    let handle = member.handle();
    let (net, directory) = (parts.net.clone(), parts.directory.clone());
    let peers = {
        let (id, serving) = (place.id.0, (member.receiver(), handle.clone()));
        transport::serve(net, (id, host), directory, serving)
    };
    detcd_rt::spawn(peers);
    let net = parts.net.clone();
    detcd_rt::spawn(framing::serve(net, host, handle.clone(), service));
    detcd_rt::spawn(publish(handle.clone(), parts.index, state.clone()));
    let mut asked = {
        let mut state = lock(&state);
        state.serving = Some(handle.clone());
        state.stop.subscribe()
    };
    trace::event("member.serves", format_args!(""));
    let (mut fatal, mut shutdown) = (handle.fatal(), handle.shutdown_reason());
    let end = tokio::select! {
        biased;
        reason = shutdown.wait_for(Option::is_some) => {
            End::ShutDown(reason.ok().and_then(|reason| *reason))
        }
        _ = asked.wait_for(|asked| *asked) => End::Asked,
        fatal = fatal.wait_for(Option::is_some) => End::Failed(match fatal {
            Ok(reason) => reason.clone().unwrap_or_default(),
            Err(_) => "its loop ended".to_owned(),
        }),
    };
    match end {
        End::ShutDown(Some(ShutdownReason::DiskLost)) => {
            if lock(&state).allowed_stop != AllowedStop::Damaged {
                parts.fail("is refused as one that lost its disk, and nothing was taken from it");
            }
            lock(&state).lost = true;
            depart(&parts, &state, "member.disk-lost");
        }
        End::ShutDown(_) => depart(&parts, &state, "member.departed"),
        End::Failed(reason) => give_up(&parts, &state, &format!("halted: {reason}")),
        End::Asked => match member.stop().await {
            Ok(()) => {
                trace::mark("member.stopped");
                exit(&parts, &state);
            }
            Err(fault) => give_up(&parts, &state, &format!("cannot stop: {fault}")),
        },
    }
    // A process that failed would exit; here it stays until the run has told of it.
    future::pending::<()>().await;
}

/// Who the member is; `None` if the process has ended. One that cannot join is started again, by then
/// perhaps with other flags.
async fn identify(parts: &Parts, state: &Arc<Mutex<State>>, host: Host) -> Option<Identity> {
    let asker = Asker {
        net: parts.net.clone(),
        host,
        directory: parts.directory.clone(),
    };
    loop {
        let place = parts.place.borrow().clone();
        let flags = place.expect("it was waited for").flags;
        match start::identify(&flags, &parts.disk_image, &asker).await {
            Ok(identity) => return Some(identity),
            Err(IdentifyError::Join(error)) if lock(state).allowed_stop != AllowedStop::Damaged => {
                trace::event("member.cannot-join", format_args!("{error}"));
                time::sleep(REVIVE_PAUSE).await;
            }
            Err(error) => {
                give_up(parts, state, &format!("cannot start: {error}"));
                return None;
            }
        }
    }
}

/// Tells the cluster the member's name, as the real program does at each start.
async fn publish(handle: Handle, index: usize, state: Arc<Mutex<State>>) {
    let (name, url) = (
        format!("m{}", index + 1),
        format!("http://m{}:2379", index + 1),
    );
    while let Err(error) = handle.publish(name.clone(), vec![url.clone()]).await {
        if error == detcd_core::error::Error::Stopped {
            return;
        }
        time::sleep(PUBLISH_PAUSE).await;
    }
    lock(&state).known = true;
}

/// How a process comes to its end by itself.
enum End {
    ShutDown(Option<ShutdownReason>),
    Asked,
    Failed(String),
}

/// Ends a process whose member has stopped for good.
fn depart(parts: &Parts, state: &Mutex<State>, mark: &'static str) {
    trace::mark(mark);
    lock(state).departed = true;
    exit(parts, state);
}

/// The process has stopped by itself.
fn give_up(parts: &Parts, state: &Arc<Mutex<State>>, why: &str) {
    let allowed_stop = lock(state).allowed_stop;
    let failed = parts.disk_image.defects().failed_at().is_some();
    match allowed_stop {
        AllowedStop::Damaged => {
            trace::event("member.gave-up", format_args!("{why}"));
            lock(state).lost = true;
            exit(parts, state);
        }
        AllowedStop::Failing if failed => {
            trace::event("member.gave-up", format_args!("{why}"));
            exit(parts, state);
            let (life, node) = (lock(state).life, madsim::plugin::node());
            let (parts, state) = (parts.clone(), state.clone());
            let outside_node = parts.outside_node.clone();
            outside_node.spawn(async move {
                while parts.disk_image.defects().is_failing() {
                    time::sleep(REVIVE_PAUSE).await;
                }
                time::sleep(REVIVE_PAUSE).await;
                if lock(&state).life == life {
                    boot(&parts, &state, node);
                }
            });
        }
        AllowedStop::Failing | AllowedStop::None => parts.fail(why),
    }
}

/// The process ends; the machine does not.
fn exit(parts: &Parts, state: &Mutex<State>) {
    bury(parts, state, madsim::plugin::node(), Loss::KeepAll);
}

impl Parts {
    fn fail(&self, why: &str) {
        trace::event("member.failed", format_args!("{why}"));
        let why = format!("member {} {why}", self.index + 1);
        self.failures
            .lock()
            .expect("no member panics while it fails")
            .push(why);
    }
}
