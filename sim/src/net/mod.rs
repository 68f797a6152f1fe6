//! The simulated network: encoded bytes between hosts, late, lost, cut off, doubled.
//!
//! The network decides and does nothing by itself: [`Net::advance`] does what is due, and the
//! `alarm` given at construction is asked to call it in time. Two services run over it, as over
//! the real one:
//!
//! - **Calls**: a request and its answer, each a datagram of its own. Either may be lost, and
//!   calls overtake each other. Requests of an idempotent kind may arrive twice.
//! - **Streams** ([`stream`]): reliable and ordered in both directions, as TCP. Loss becomes
//!   delay, a cut hangs the stream until it breaks, a crash of one end resets the other as soon as
//!   the news gets through.
//!
//! All calls from one host to another count as one connection when it [breaks](breaking).

mod breaking;
pub mod link;
mod packet;
pub mod stream;
#[cfg(test)]
mod tests;
pub mod transport;

use crate::profile::{self, Part};
use crate::rng::Rng;
use crate::time;
use bytes::Bytes;
use futures::channel::oneshot;
use link::{Links, Verdict};
use packet::{Due, Packet};
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use stream::{Conn, Stream};
use tokio::sync::mpsc;

/// A machine on the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Host(pub u32);

/// Machines of clients are numbered from here on, those of members below.
pub const CLIENTS: u32 = 1000;

impl Host {
    pub fn is_client(self) -> bool {
        self.0 >= CLIENTS
    }
}

/// A port of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Port {
    Peer,
    Client,
}

/// What goes before a request, as the metadata of a real one does: it is never damaged on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub kind: u8,
    /// The member that sends, and the one that is meant; nobody, for requests of clients.
    pub from: u64,
    pub to: u64,
}

impl From<u8> for Head {
    fn from(kind: u8) -> Head {
        let (from, to) = (0, 0);
        Head { kind, from, to }
    }
}

/// Why a call or a stream has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetError {
    /// Nobody listens there: the request was not seen.
    Refused,
    /// The connection broke: the request may or may not have been seen.
    Reset,
}

/// What arrives at a port.
pub enum Incoming {
    Call {
        from: Host,
        head: Head,
        body: Bytes,
        reply: Reply,
    },
    Open {
        from: Host,
        head: Head,
        stream: Stream,
    },
}

/// Answers a call. Dropped unused, the caller waits in vain, as if the process hung.
pub struct Reply {
    net: Net,
    call: u64,
    from: Host,
    to: Host,
}

impl Reply {
    pub fn send(self, body: Bytes) {
        let Reply {
            net,
            call,
            from,
            to,
        } = self;
        net.with(|inner| inner.send(from, to, Packet::Answer { call, body }));
    }
}

/// The network. Cheap to clone.
#[derive(Clone)]
pub struct Net {
    inner: Arc<Mutex<Inner>>,
    alarm: Arc<dyn Fn(Duration) + Send + Sync>,
}

pub(crate) struct Inner {
    links: Links,
    rng: Rng,
    queue: BinaryHeap<Due>,
    /// When the alarm is to ring for what was queued just now.
    alarms: Vec<Duration>,
    /// What arrived at a clogged link, in order.
    held: Vec<Due>,
    /// What must be dropped after the network is unlocked, because its drop locks it.
    pub(crate) garbage: Vec<Incoming>,
    seq: u64,
    listeners: BTreeMap<(Host, Port), mpsc::UnboundedSender<Incoming>>,
    calls: BTreeMap<u64, Call>,
    call_next: u64,
    pub(crate) conns: BTreeMap<u64, Conn>,
    conn_next: u64,
}

struct Call {
    from: Host,
    to: Host,
    /// The other side knows nothing of the connection any more.
    forgotten: bool,
    answer: oneshot::Sender<Result<Bytes, NetError>>,
}

impl Net {
    /// `alarm` must see to it that [`Net::advance`] is called at the time that it is given.
    pub fn new(rng: Rng, links: Links, alarm: impl Fn(Duration) + Send + Sync + 'static) -> Net {
        let inner = Inner {
            links,
            rng,
            queue: BinaryHeap::new(),
            alarms: Vec::new(),
            held: Vec::new(),
            garbage: Vec::new(),
            seq: 0,
            listeners: BTreeMap::new(),
            calls: BTreeMap::new(),
            call_next: 0,
            conns: BTreeMap::new(),
            conn_next: 0,
        };
        Net {
            inner: Arc::new(Mutex::new(inner)),
            alarm: Arc::new(alarm),
        }
    }

    /// A process on `host` listens from now on. Ends any earlier one's.
    pub fn listen(&self, host: Host, port: Port) -> mpsc::UnboundedReceiver<Incoming> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.with(|inner| inner.listeners.insert((host, port), sender));
        receiver
    }

    /// The process on `host` died: nobody listens there, its calls and streams are gone, and the
    /// other ends learn of it once the news reaches them.
    pub fn process_died(&self, host: Host) {
        self.with(|inner| inner.process_died(host));
    }

    /// Changes how links behave.
    pub fn change_links<T>(&self, change: impl FnOnce(&mut Links) -> T) -> T {
        self.with(|inner| {
            let changed = change(&mut inner.links);
            inner.release();
            changed
        })
    }

    /// Sends a request and waits for its answer, for ever if need be: the caller's timeout is
    /// the caller's business. `idempotent` requests may be doubled on the way.
    pub fn call(
        &self,
        (from, to, port): (Host, Host, Port),
        head: Head,
        body: Bytes,
        idempotent: bool,
    ) -> impl Future<Output = Result<Bytes, NetError>> + Send + use<> {
        let (sender, receiver) = oneshot::channel();
        let call = self.with(|inner| {
            let call = inner.call_next;
            inner.call_next += 1;
            inner.calls.insert(
                call,
                Call {
                    from,
                    to,
                    forgotten: false,
                    answer: sender,
                },
            );
            let packet = Packet::Request {
                call,
                port,
                head,
                body,
            };
            if idempotent && inner.links.draws_duplicate(from, to, &mut inner.rng) {
                inner.send(from, to, packet.clone());
            }
            inner.send(from, to, packet);
            call
        });
        let given_up = GivenUp {
            net: self.clone(),
            call,
        };
        async move {
            let answer = receiver.await.unwrap_or(Err(NetError::Reset));
            drop(given_up);
            answer
        }
    }

    /// Opens a stream. The opening travels with the first message: whether anybody listens is
    /// learned from the stream.
    pub fn open(&self, (from, to, port): (Host, Host, Port), head: Head) -> Stream {
        self.with(|inner| {
            let conn = inner.conn_next;
            inner.conn_next += 1;
            let (opened, ours) = Conn::open(self, conn, [from, to], port, head);
            inner.conns.insert(conn, opened);
            inner.push_stream(conn, 0);
            ours
        })
    }

    /// Does everything that is due.
    pub fn advance(&self, now: Duration) {
        self.with(|inner| {
            while inner.queue.peek().is_some_and(|due| due.at <= now) {
                let due = inner.queue.pop().expect("it was just seen");
                inner.deliver(self, due);
            }
        });
    }

    /// When something is due next.
    pub fn deadline(&self) -> Option<Duration> {
        self.with(|inner| inner.queue.peek().map(|due| due.at))
    }

    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut Inner) -> T) -> T {
        let (result, alarms, garbage) = {
            let _part = profile::enter(Part::Network);
            let mut inner: MutexGuard<'_, Inner> = self.inner.lock().expect("no holder panics");
            let result = act(&mut inner);
            (
                result,
                std::mem::take(&mut inner.alarms),
                std::mem::take(&mut inner.garbage),
            )
        };
        drop(garbage);
        alarms.into_iter().for_each(|at| (self.alarm)(at));
        result
    }
}

/// Forgets a call whose caller is gone.
struct GivenUp {
    net: Net,
    call: u64,
}

impl Drop for GivenUp {
    fn drop(&mut self) {
        self.net.with(|inner| inner.calls.remove(&self.call));
    }
}

impl Inner {
    fn process_died(&mut self, host: Host) {
        self.listeners
            .retain(|(listening, _), _| *listening != host);
        let dead: Vec<u64> = self
            .calls
            .iter()
            .filter(|(_, call)| call.from == host)
            .map(|(id, _)| *id)
            .collect();
        dead.into_iter().for_each(|id| drop(self.calls.remove(&id)));
        let broken: Vec<(u64, Host)> = self
            .calls
            .iter()
            .filter(|(_, call)| call.to == host)
            .map(|(id, call)| (*id, call.from))
            .collect();
        for (call, from) in broken {
            self.send(host, from, Packet::Reset { call });
        }
        self.break_streams_of(host);
    }

    /// Puts a datagram on the wire.
    fn send(&mut self, from: Host, to: Host, mut packet: Packet) {
        let bytes = packet.body().map_or(0, |body| body.len());
        match self.links.send(from, to, bytes, &mut self.rng) {
            Verdict::Arrives { after, corrupt } => {
                if let (Some(draw), Some(body)) = (corrupt, packet.body()) {
                    *body = flip(body, draw);
                }
                let at = time::now() + after;
                self.schedule(at, Some((from, to)), packet);
            }
            Verdict::Lost(why) => {
                let now = time::now();
                packet.seen().record("net.lost", (from, to), now, why);
            }
        }
    }

    /// Lets arrive what was held back on links that are clogged no longer.
    fn release(&mut self) {
        for due in std::mem::take(&mut self.held) {
            let (from, to) = due.path.expect("what is held was on its way");
            if self.links.is_clogged(from, to) {
                self.held.push(due);
            } else {
                self.schedule(time::now(), due.path, due.packet);
            }
        }
    }

    /// Queues an event; `path` is what the packet travels over and may be cut under way.
    pub(crate) fn schedule(&mut self, at: Duration, path: Option<(Host, Host)>, packet: Packet) {
        self.seq += 1;
        self.queue.push(Due {
            at,
            seq: self.seq,
            sent: time::now(),
            path,
            packet,
        });
        self.alarms.push(at);
    }

    fn deliver(&mut self, net: &Net, due: Due) {
        // What a stream carries tells of itself, and is sent again.
        let is_datagram = !matches!(due.packet, Packet::Stream { .. });
        if let Some((from, to)) = due.path {
            if self.links.is_clogged(from, to) {
                due.packet
                    .seen()
                    .record("net.held", (from, to), due.sent, "clogged");
                return self.held.push(due);
            }
            if is_datagram && self.links.is_cut(from, to) {
                due.packet
                    .seen()
                    .record("net.lost", (from, to), due.sent, "cut under way");
                return;
            }
            if is_datagram {
                due.packet
                    .seen()
                    .record("net.deliver", (from, to), due.sent, "");
            }
        }
        let Due {
            path, packet, sent, ..
        } = due;
        match packet {
            Packet::Request {
                call,
                port,
                head,
                body,
            } => {
                let (from, to) = path.expect("a request travels");
                let reply = Reply {
                    net: net.clone(),
                    call,
                    from: to,
                    to: from,
                };
                let arrived = match self.listeners.get(&(to, port)) {
                    Some(listener) => listener
                        .send(Incoming::Call {
                            from,
                            head,
                            body,
                            reply,
                        })
                        .is_ok(),
                    None => false,
                };
                if !arrived {
                    self.send(to, from, Packet::Refused { call });
                }
            }
            Packet::Answer { call, body } => {
                if self.calls.get(&call).is_some_and(|call| !call.forgotten) {
                    self.answer(call, Ok(body));
                }
            }
            Packet::Refused { call } => self.answer(call, Err(NetError::Refused)),
            Packet::Reset { call } => self.answer(call, Err(NetError::Reset)),
            Packet::Stream { conn, end } => self.push_stream_now(net, (conn, end), sent),
            Packet::Unanswered { conn } => self.break_stream(conn, NetError::Reset),
        }
    }

    fn answer(&mut self, call: u64, answer: Result<Bytes, NetError>) {
        if let Some(call) = self.calls.remove(&call) {
            // A caller that is gone wants no answer.
            let _ = call.answer.send(answer);
        }
    }

    /// The listener of a stream that arrives.
    pub(crate) fn listener(
        &self,
        host: Host,
        port: Port,
    ) -> Option<&mpsc::UnboundedSender<Incoming>> {
        self.listeners.get(&(host, port))
    }

    pub(crate) fn stream_verdict(&mut self, from: Host, to: Host, bytes: usize) -> Verdict {
        self.links.send(from, to, bytes, &mut self.rng)
    }

    pub(crate) fn is_cut(&mut self, from: Host, to: Host) -> bool {
        self.links.is_cut(from, to)
    }
}

/// The bytes with one bit flipped.
pub(crate) fn flip(body: &Bytes, draw: u64) -> Bytes {
    let mut bytes = body.to_vec();
    let bit = (draw % (bytes.len() as u64 * 8)) as usize;
    bytes[bit / 8] ^= 1 << (bit % 8);
    bytes.into()
}
