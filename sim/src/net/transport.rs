//! The network as members see it: `detcd_peer`'s transport and receiver. Messages travel as the
//! very frames that the real transport sends, and a damaged one ends the connection as it does
//! there.

use super::stream::Stream;
use super::{Head, Host, Incoming, Net, NetError, Port, Reply};
use crate::trace;
use bytes::{BufMut, Bytes, BytesMut};
use detcd_core::api::{ClusterId, Member};
use detcd_core::membership::join::ToldCluster;
use detcd_driver::Handle;
use detcd_peer::frame::{self, Frame, PROTOCOL_VERSION};
use detcd_peer::{Kind, Receiver, Transport, TransportError};
use detcd_wire::etcdserverpb as pb;
use futures::channel::mpsc;
use futures::future::{self, BoxFuture};
use futures::stream::BoxStream;
use futures::{FutureExt, SinkExt, StreamExt};
use prost::Message as _;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// What a request for the page `/members` has for its kind.
const MEMBERS: u8 = 255;
/// Another member answers at this address.
const OTHER_MEMBER: &str = "member ID mismatch";

/// Raft bears its messages twice. A proposal that arrived twice would be two proposals: the real
/// transport never doubles anything.
fn is_idempotent(kind: Kind) -> bool {
    match kind {
        Kind::AppendEntries
        | Kind::Vote
        | Kind::PreVote
        | Kind::ReadIndex
        | Kind::Greeting
        | Kind::Acknowledged => true,
        Kind::TransferLeader | Kind::Snapshot | Kind::Propose | Kind::Lease | Kind::Members => {
            false
        }
    }
}

/// Who is where: what the names in URLs mean on this network.
#[derive(Clone, Default)]
pub struct Directory {
    hosts: Arc<Mutex<BTreeMap<String, Host>>>,
    /// What those speak who do not speak the protocol of this build.
    protocols: Arc<Mutex<BTreeMap<Host, u32>>>,
}

impl Directory {
    pub fn add(&self, peer_url: &str, host: Host) {
        self.hosts
            .lock()
            .expect("no holder panics")
            .insert(peer_url.to_owned(), host);
    }

    /// Who lives there speaks another version of the protocol from now on, or this build's.
    pub fn speaks(&self, host: Host, protocol: u32) {
        let mut protocols = self.protocols.lock().expect("no holder panics");
        protocols.insert(host, protocol);
    }

    fn protocol(&self, host: Host) -> u32 {
        let protocols = self.protocols.lock().expect("no holder panics");
        protocols.get(&host).copied().unwrap_or(PROTOCOL_VERSION)
    }

    /// What the real transport finds in the metadata of every connection.
    fn check_protocol(&self, from: Host, to: Host) -> Result<(), String> {
        let theirs = self.protocol(from).to_string();
        frame::check_protocol(&theirs, self.protocol(to))
            .inspect_err(|_| trace::mark("fault.mixed-versions"))
    }

    pub fn host(&self, url: &str) -> Option<Host> {
        self.hosts
            .lock()
            .expect("no holder panics")
            .get(url)
            .copied()
    }
}

/// One member's way to the others.
pub struct SimTransport {
    net: Net,
    id: u64,
    host: Host,
    directory: Directory,
    peers: Peers,
}

/// Where each is said to be reached; who lives there is looked up for each message.
#[derive(Clone, Default)]
struct Peers(Arc<Mutex<BTreeMap<u64, Peer>>>);

struct Peer {
    urls: Vec<String>,
    /// Which of them is used: the next one, once a call has failed.
    at: usize,
    /// Whether the last call was answered.
    is_connected: bool,
}

impl Peers {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Peer>> {
        self.0.lock().expect("no holder panics")
    }

    /// The next call to this member goes to the next of its URLs.
    fn turn_away(&self, id: u64) {
        if let Some(peer) = self.lock().get_mut(&id) {
            peer.at += 1;
            peer.is_connected = false;
        }
    }

    fn answered(&self, id: u64) {
        if let Some(peer) = self.lock().get_mut(&id) {
            peer.is_connected = true;
        }
    }
}

impl SimTransport {
    /// `id`: the member that sends.
    pub fn new(net: Net, id: u64, host: Host, directory: Directory) -> SimTransport {
        SimTransport {
            net,
            id,
            host,
            directory,
            peers: Peers::default(),
        }
    }

    /// Where the next call to a member goes.
    pub(super) fn host(&self, id: u64) -> Result<Host, TransportError> {
        let unreachable = |why: &str| TransportError::Unreachable(id, why.to_owned());
        let mut peers = self.peers.lock();
        let peer = peers
            .get_mut(&id)
            .ok_or_else(|| unreachable("no such member"))?;
        let url = peer.urls.get(peer.at % peer.urls.len().max(1));
        let host = url.and_then(|url| self.directory.host(url));
        host.ok_or_else(|| {
            peer.at += 1;
            peer.is_connected = false;
            unreachable("nobody lives there")
        })
    }

    #[cfg(test)]
    pub(super) fn turn_away(&self, id: u64) {
        self.peers.turn_away(id);
    }

    fn head(&self, to: u64, kind: Kind) -> Head {
        Head {
            kind: kind as u8,
            from: self.id,
            to,
        }
    }
}

impl Transport for SimTransport {
    fn set_peer(&self, id: u64, peer_urls: Vec<String>) {
        let mut peers = self.peers.lock();
        if peers.get(&id).is_none_or(|peer| peer.urls != peer_urls) {
            let peer = Peer {
                urls: peer_urls,
                at: 0,
                is_connected: true,
            };
            peers.insert(id, peer);
        }
    }

    fn remove_peer(&self, id: u64) {
        self.peers.lock().remove(&id);
    }

    fn call(
        &self,
        to: u64,
        kind: Kind,
        body: Bytes,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        let host = match self.host(to) {
            Ok(host) => host,
            Err(error) => return future::ready(Err(error)).boxed(),
        };
        let (net, from) = (self.net.clone(), self.host);
        // Every call of the simulated network has an answer of its own: numbers tell none apart.
        let body = encode(&Frame::Request {
            call: 0,
            kind,
            body,
        });
        let way = (from, host, Port::Peer);
        let call = net.call(way, self.head(to, kind), body, is_idempotent(kind));
        let peers = self.peers.clone();
        async move {
            let answer = match detcd_rt::timeout(timeout, call).await {
                Err(_) => {
                    peers.turn_away(to);
                    return Err(TransportError::Lost(to, "timed out".to_owned()));
                }
                Ok(Err(error)) => {
                    peers.turn_away(to);
                    return Err(broken(to, error));
                }
                Ok(Ok(answer)) => answer,
            };
            match Frame::decode(answer) {
                Ok(Frame::Answer { body, .. }) => {
                    peers.answered(to);
                    Ok(body)
                }
                Ok(Frame::Refusal { reason, .. }) if reason == OTHER_MEMBER => {
                    peers.turn_away(to);
                    Err(TransportError::Unreachable(to, reason))
                }
                Ok(Frame::Refusal { reason, .. }) => Err(TransportError::Refused(to, reason)),
                Ok(Frame::Request { .. }) => Err(broken(to, NetError::Reset)),
                Err(damage) => {
                    damaged(&damage);
                    net.hang_up(from, host);
                    Err(TransportError::Lost(to, damage))
                }
            }
        }
        .boxed()
    }

    fn stream(
        &self,
        to: u64,
        kind: Kind,
        mut chunks: BoxStream<'static, Bytes>,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        let host = match self.host(to) {
            Ok(host) => host,
            Err(error) => return future::ready(Err(error)).boxed(),
        };
        let way = (self.host, host, Port::Peer);
        let mut stream = self.net.open(way, self.head(to, kind));
        async move {
            while let Some(chunk) = chunks.next().await {
                // Whoever reads no more has answered, or is gone: either is received below.
                if stream.send(frame::seal(&chunk)).await.is_err() {
                    break;
                }
            }
            stream.finish();
            match stream.recv().await {
                Some(Ok(answer)) => stream_answer(to, answer),
                Some(Err(error)) => Err(broken(to, error)),
                None => Err(broken(to, NetError::Reset)),
            }
        }
        .boxed()
    }

    fn is_connected(&self, to: u64) -> bool {
        self.peers
            .lock()
            .get(&to)
            .is_some_and(|peer| peer.is_connected)
    }
}

fn broken(to: u64, error: NetError) -> TransportError {
    match error {
        NetError::Refused => TransportError::Unreachable(to, "connection refused".to_owned()),
        NetError::Reset => TransportError::Lost(to, "connection reset".to_owned()),
    }
}

fn encode(frame: &Frame) -> Bytes {
    let mut bytes = BytesMut::with_capacity(frame.encoded_len());
    frame.encode(&mut bytes);
    bytes.freeze()
}

/// A frame or a chunk does not have the checksum that it came with.
fn damaged(damage: &str) {
    trace::event("peer.damaged", format_args!("{damage}"));
}

/// The answer to a stream: a tag that stands for gRPC's status, and the sealed message.
fn stream_answer(to: u64, mut answer: Bytes) -> Result<Bytes, TransportError> {
    let tag = answer.split_to(1.min(answer.len()));
    match &tag[..] {
        [0] => frame::open(answer).map_err(|damage| {
            damaged(&damage);
            TransportError::Lost(to, damage)
        }),
        [1] => Err(TransportError::Refused(
            to,
            String::from_utf8_lossy(&answer).into_owned(),
        )),
        _ => Err(broken(to, NetError::Reset)),
    }
}

fn encode_stream_answer(answer: Result<Bytes, String>) -> Bytes {
    let (tag, body) = match answer {
        Ok(body) => (0, frame::seal(&body)),
        Err(refusal) => (1, Bytes::from(refusal)),
    };
    let mut bytes = BytesMut::with_capacity(1 + body.len());
    bytes.put_u8(tag);
    bytes.extend_from_slice(&body);
    bytes.freeze()
}

/// What the real transport finds in the metadata of every connection.
fn check_member(head: Head, id: u64) -> Result<(), String> {
    match head.to == id {
        true => Ok(()),
        false => Err(OTHER_MEMBER.to_owned()),
    }
}

/// Asks whoever lives at a URL for its cluster, as the page `/members` of the real peer port tells it.
pub async fn ask_members(
    net: &Net,
    from: Host,
    directory: &Directory,
    url: &str,
) -> Result<ToldCluster, String> {
    let host = directory.host(url).ok_or("nobody lives there")?;
    let call = net.call((from, host, Port::Peer), MEMBERS.into(), Bytes::new(), true);
    let answer = call.await.map_err(|error| format!("{error:?}"))?;
    let told = pb::MemberListResponse::decode(answer).map_err(|error| error.to_string())?;
    Ok(ToldCluster {
        cluster_id: ClusterId(told.header.map_or(0, |header| header.cluster_id)),
        members: told.members.into_iter().map(Member::from).collect(),
    })
}

/// Answers [`ask_members`].
async fn tell_members(handle: Handle, reply: Reply) {
    // The real page is answered with an error; here whoever asks waits in vain.
    let Ok((header, members)) = handle.member_list(false).await else {
        return;
    };
    let header = pb::ResponseHeader {
        cluster_id: header.cluster_id.0,
        ..Default::default()
    };
    let told = pb::MemberListResponse {
        header: Some(header),
        members: members.into_iter().map(pb::Member::from).collect(),
    };
    reply.send(told.encode_to_vec().into());
}

/// Hands what arrives at the peer port of member `id` to its receiver, for as long as the process
/// lives.
pub async fn serve(
    net: Net,
    (id, host): (u64, Host),
    directory: Directory,
    (receiver, handle): (Arc<dyn Receiver>, Handle),
) {
    let mut incoming = net.listen(host, Port::Peer);
    while let Some(incoming) = incoming.recv().await {
        let receiver = receiver.clone();
        match incoming {
            Incoming::Call { head, reply, .. } if head.kind == MEMBERS => {
                detcd_rt::spawn(tell_members(handle.clone(), reply));
            }
            Incoming::Call {
                from,
                head,
                body,
                reply,
            } => match Frame::decode(body) {
                Ok(Frame::Request { call, kind, body }) => {
                    let checked = directory.check_protocol(from, host);
                    if let Err(reason) = checked.and_then(|()| check_member(head, id)) {
                        reply.send(encode(&Frame::Refusal { call, reason }));
                        continue;
                    }
                    detcd_rt::spawn(async move {
                        let answer = match receiver.call(head.from, kind, body).await {
                            Ok(body) => Frame::Answer { call, body },
                            Err(reason) => Frame::Refusal { call, reason },
                        };
                        reply.send(encode(&answer));
                    });
                }
                Ok(other) => panic!("{other:?} is no request"),
                Err(damage) => {
                    damaged(&damage);
                    net.hang_up(from, host);
                }
            },
            Incoming::Open { from, head, stream } => {
                let checked = directory.check_protocol(from, host);
                if let Err(reason) = checked.and_then(|()| check_member(head, id)) {
                    // Whoever is gone needs no answer.
                    let _ = stream.send(encode_stream_answer(Err(reason))).await;
                    continue;
                }
                detcd_rt::spawn(receive_stream(receiver, head, stream));
            }
        }
    }
}

async fn receive_stream(receiver: Arc<dyn Receiver>, head: Head, mut stream: Stream) {
    let Some(kind) = Kind::from_tag(head.kind) else {
        let refusal = encode_stream_answer(Err(format!("no kind {}", head.kind)));
        let _ = stream.send(refusal).await;
        return;
    };
    // The receiver takes a stream, and the answer goes back on the same connection: a pump
    // between them runs as long as the receiver has not answered.
    let (mut chunks, taken) = mpsc::channel(4);
    let pump = async {
        while let Some(chunk) = stream.recv().await {
            let chunk = match chunk {
                Ok(sealed) => frame::open(sealed).inspect_err(|damage| damaged(damage)),
                Err(error) => Err(format!("{error:?}")),
            };
            if chunks.send(chunk).await.is_err() {
                break;
            }
        }
        chunks.close_channel();
        future::pending::<()>().await
    };
    let answer = receiver.stream(head.from, kind, taken.boxed());
    let answer = match future::select(answer, std::pin::pin!(pump)).await {
        future::Either::Left((answer, _)) => answer,
        future::Either::Right(((), _)) => unreachable!("the pump never ends"),
    };
    // If the sender is gone, so is the request for an answer.
    let _ = stream.send(encode_stream_answer(answer)).await;
}
