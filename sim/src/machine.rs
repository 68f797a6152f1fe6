//! One machine of the cluster: its disk, its place in the cluster, and the process that runs on
//! it, from start to crash.

use crate::disk::{Loss, Platter};
use crate::net::transport::{self, Directory, SimTransport};
use crate::net::{Host, Net};
use crate::observer;
use crate::server;
use crate::store::Vault;
use crate::time;
use crate::trace;
use detcd_core::api::{ClusterId, Member as MemberInfo, MemberId};
use detcd_driver::{Farewell, Handle, Member, MemberOptions, StartError};
use futures::future;
use madsim::runtime::NodeHandle;
use madsim::task::NodeId;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::watch;

/// The pause before a member tries again to tell the cluster its name.
const PUBLISH_PAUSE: Duration = Duration::from_millis(200);

/// What members told when they stopped by themselves, which none should.
pub type Failures = Arc<Mutex<Vec<String>>>;

/// Who a machine's member is.
#[derive(Clone, Debug)]
pub struct Place {
    pub cluster_id: ClusterId,
    pub id: MemberId,
    /// Those who found the cluster, or those whom the member joins.
    pub members: Vec<MemberInfo>,
    pub joins: bool,
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
    pub platter: Platter,
    pub vault: Vault,
    pub failures: Failures,
    pub place: Arc<watch::Sender<Option<Place>>>,
    /// A machine of nobody, for what has to be done from outside.
    pub hands: NodeHandle,
}

struct State {
    host: Host,
    /// Where the other members reach it.
    peer_url: String,
    up: bool,
    /// Gone for good, with its disk.
    lost: bool,
    /// Its member has said farewell.
    departed: bool,
    /// The process's handle, once it serves.
    serving: Option<Handle>,
}

impl Machine {
    pub fn start(parts: Parts, host: Host, peer_url: String) -> Machine {
        let name = format!("m{}", parts.index + 1);
        let state = Arc::new(Mutex::new(State {
            host,
            peer_url,
            up: true,
            lost: false,
            departed: false,
            serving: None,
        }));
        let (process, shared) = (parts.clone(), state.clone());
        let engine = madsim::runtime::Handle::current();
        let builder = engine.create_node().name(&name);
        let node = builder
            .init(move || run(process.clone(), shared.clone()))
            .build();
        trace::name_node(node.id(), &name);
        observer::name_member(node.id(), parts.index, parts.platter.clone());
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
        self.inner.state.lock().expect("no holder panics")
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

    pub fn has_departed(&self) -> bool {
        self.state().departed
    }

    pub fn is_up(&self) -> bool {
        self.state().up
    }

    /// It never comes back.
    pub fn lose(&self) {
        self.state().lost = true;
    }

    pub fn crash(&self, loss: Loss) -> bool {
        if !std::mem::replace(&mut self.state().up, false) {
            return false;
        }
        // All in one step: whatever the dead process's destructors try finds closed doors.
        madsim::runtime::Handle::current().kill(self.inner.node);
        bury(&self.inner.parts, &self.inner.state, loss);
        true
    }

    /// Starts a dead machine's process, unless the machine is lost.
    pub fn boot(&self) {
        let mut state = self.state();
        if state.up || state.lost {
            return;
        }
        state.up = true;
        state.departed = false;
        drop(state);
        trace::mark("member.restarted");
        madsim::runtime::Handle::current().restart(self.inner.node);
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
}

/// What is left to do once a process is gone.
fn bury(parts: &Parts, state: &Mutex<State>, loss: Loss) {
    let host = state.lock().expect("no holder panics").host;
    parts.net.process_died(host);
    parts.platter.crash(loss);
    parts.vault.crash(loss);
    state.lock().expect("no holder panics").serving = None;
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
    let host = state.lock().expect("no holder panics").host;
    let transport = SimTransport::new(parts.net.clone(), host, parts.directory.clone());
    let (disk, store) = (parts.platter.mount(), Arc::new(parts.vault.mount()));
    let options = MemberOptions {
        cluster_id: place.cluster_id,
        member_id: place.id,
        members: place.members,
        joins: place.joins,
        ..parts.options.clone()
    };
    let member = match Member::start(options, disk, store, Arc::new(transport)).await {
        Ok(member) => member,
        Err(StartError::Removed) => return depart(parts, state, "member.refused").await,
        Err(error) => return parts.fail(format!("cannot start: {error}")),
    };
    let handle = member.handle();
    let (net, directory) = (parts.net.clone(), parts.directory.clone());
    let peers = transport::serve(net, host, directory, member.receiver());
    detcd_rt::spawn(peers);
    detcd_rt::spawn(server::serve(parts.net.clone(), host, handle.clone()));
    detcd_rt::spawn(publish(handle.clone(), parts.index));
    state.lock().expect("no holder panics").serving = Some(handle.clone());
    trace::event("member.serves", format_args!(""));
    let (mut fatal, mut farewell) = (handle.fatal(), handle.farewell());
    let end = tokio::select! {
        biased;
        farewell = farewell.wait_for(Option::is_some) => {
            Ok(farewell.ok().and_then(|farewell| *farewell))
        }
        fatal = fatal.wait_for(Option::is_some) => Err(match fatal {
            Ok(reason) => reason.clone().unwrap_or_default(),
            Err(_) => "its loop ended".to_owned(),
        }),
    };
    match end {
        Ok(Some(Farewell::Forgetful)) => depart(parts, state, "member.forgetful").await,
        Ok(_) => depart(parts, state, "member.departed").await,
        Err(reason) => parts.fail(format!("halted: {reason}")),
    }
    // The process would exit; here it stays until the run has told of it.
    future::pending::<()>().await;
}

/// Tells the cluster the member's name, as the real program does at each start.
async fn publish(handle: Handle, index: usize) {
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
}

/// Ends a process that has said farewell. A process cannot end itself here: someone else does it.
async fn depart(parts: Parts, state: Arc<Mutex<State>>, mark: &'static str) {
    trace::mark(mark);
    let own = madsim::plugin::node();
    let hands = parts.hands.clone();
    hands.spawn(async move {
        madsim::runtime::Handle::current().kill(own);
        bury(&parts, &state, Loss::KeepAll);
        let mut state = state.lock().expect("no holder panics");
        state.departed = true;
        state.up = false;
    });
}

impl Parts {
    fn fail(&self, why: String) {
        trace::event("member.failed", format_args!("{why}"));
        let why = format!("member {} {why}", self.index + 1);
        self.failures
            .lock()
            .expect("no member panics while it fails")
            .push(why);
    }
}
