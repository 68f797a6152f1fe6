//! The network as members see it: `detcd_peer`'s transport and receiver. Messages travel as the
//! very frames that the real transport sends, and a damaged one ends the connection as it does
//! there.

use super::stream::Stream;
use super::{Host, Incoming, Net, NetError, Port};
use crate::trace;
use bytes::{BufMut, Bytes, BytesMut};
use detcd_peer::frame::{self, Frame, PROTOCOL_VERSION};
use detcd_peer::{Kind, Receiver, Transport, TransportError};
use futures::channel::mpsc;
use futures::future::{self, BoxFuture};
use futures::stream::BoxStream;
use futures::{FutureExt, SinkExt, StreamExt};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

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
    ids: Arc<Mutex<BTreeMap<Host, u64>>>,
    /// What those speak who do not speak the protocol of this build.
    protocols: Arc<Mutex<BTreeMap<Host, u32>>>,
}

impl Directory {
    pub fn add(&self, peer_url: &str, host: Host, id: u64) {
        self.hosts
            .lock()
            .expect("no holder panics")
            .insert(peer_url.to_owned(), host);
        self.ids.lock().expect("no holder panics").insert(host, id);
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

    fn host(&self, url: &str) -> Option<Host> {
        self.hosts
            .lock()
            .expect("no holder panics")
            .get(url)
            .copied()
    }

    fn id(&self, host: Host) -> u64 {
        let ids = self.ids.lock().expect("no holder panics");
        *ids.get(&host).expect("only members use the peer port")
    }
}

/// One member's way to the others.
pub struct SimTransport {
    net: Net,
    host: Host,
    directory: Directory,
    /// Where each is said to be reached; who lives there is looked up for each message.
    peers: Mutex<BTreeMap<u64, Vec<String>>>,
}

impl SimTransport {
    pub fn new(net: Net, host: Host, directory: Directory) -> SimTransport {
        SimTransport {
            net,
            host,
            directory,
            peers: Mutex::default(),
        }
    }

    fn peer(&self, id: u64) -> Result<Host, TransportError> {
        let unreachable = |why: &str| TransportError::Unreachable(id, why.to_owned());
        let peers = self.peers.lock().expect("no holder panics");
        let urls = peers
            .get(&id)
            .ok_or_else(|| unreachable("no such member"))?;
        let host = urls.iter().find_map(|url| self.directory.host(url));
        host.ok_or_else(|| unreachable("nobody lives there"))
    }
}

impl Transport for SimTransport {
    fn set_peer(&self, id: u64, peer_urls: Vec<String>) {
        self.peers
            .lock()
            .expect("no holder panics")
            .insert(id, peer_urls);
    }

    fn remove_peer(&self, id: u64) {
        self.peers.lock().expect("no holder panics").remove(&id);
    }

    fn call(
        &self,
        to: u64,
        kind: Kind,
        body: Bytes,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        let host = match self.peer(to) {
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
        let call = net.call(way, kind as u8, body, is_idempotent(kind));
        async move {
            let answer = match detcd_rt::timeout(timeout, call).await {
                Err(_) => return Err(TransportError::Lost(to, "timed out".to_owned())),
                Ok(Err(error)) => return Err(broken(to, error)),
                Ok(Ok(answer)) => answer,
            };
            match Frame::decode(answer) {
                Ok(Frame::Answer { body, .. }) => Ok(body),
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
        let host = match self.peer(to) {
            Ok(host) => host,
            Err(error) => return future::ready(Err(error)).boxed(),
        };
        let mut stream = self.net.open((self.host, host, Port::Peer), kind as u8);
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

/// Hands what arrives at a member's peer port to its receiver, for as long as the process lives.
pub async fn serve(net: Net, host: Host, directory: Directory, receiver: Arc<dyn Receiver>) {
    let mut incoming = net.listen(host, Port::Peer);
    while let Some(incoming) = incoming.recv().await {
        let receiver = receiver.clone();
        match incoming {
            Incoming::Call {
                from, body, reply, ..
            } => match Frame::decode(body) {
                Ok(Frame::Request { call, kind, body }) => {
                    if let Err(reason) = directory.check_protocol(from, host) {
                        reply.send(encode(&Frame::Refusal { call, reason }));
                        continue;
                    }
                    let from = directory.id(from);
                    detcd_rt::spawn(async move {
                        let answer = match receiver.call(from, kind, body).await {
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
            Incoming::Open { from, kind, stream } => {
                if let Err(reason) = directory.check_protocol(from, host) {
                    // Whoever is gone needs no answer.
                    let _ = stream.send(encode_stream_answer(Err(reason))).await;
                    continue;
                }
                let from = directory.id(from);
                detcd_rt::spawn(receive_stream(receiver, from, kind, stream));
            }
        }
    }
}

async fn receive_stream(receiver: Arc<dyn Receiver>, from: u64, kind: u8, mut stream: Stream) {
    let Some(kind) = Kind::from_tag(kind) else {
        let refusal = encode_stream_answer(Err(format!("no kind {kind}")));
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
    let answer = receiver.stream(from, kind, taken.boxed());
    let answer = match future::select(answer, std::pin::pin!(pump)).await {
        future::Either::Left((answer, _)) => answer,
        future::Either::Right(((), _)) => unreachable!("the pump never ends"),
    };
    // If the sender is gone, so is the request for an answer.
    let _ = stream.send(encode_stream_answer(answer)).await;
}
