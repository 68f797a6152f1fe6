//! Requests of v2 between simulated clients and members, in place of HTTP, and what clients write
//! down of them.

use crate::client::{CallError, Client};
use crate::framing::Frame;
use crate::net::stream::{Stream, StreamSender};
use bytes::Bytes;
use detcd_core::encoding::{DecodeError, Reader, Writer};
use detcd_core::v2::{Event, Refused, ShownNode};
use detcd_service::{Caller, Failure, KeysBody, KeysMethod, KeysReply, KeysRequest, Service};
use std::time::Duration;

/// The number of `/v2/keys` among the calls: no method of v3's has it.
pub const V2_KEYS: u8 = u8::MAX;

/// What a client is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum V2Reply {
    Done {
        index: u64,
        event: Box<V2Event>,
    },
    Refused {
        code: u16,
        index: u64,
    },
    /// A watch has begun.
    Watching {
        index: u64,
    },
}

/// An event, or what a read finds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct V2Event {
    pub action: String,
    pub node: V2Node,
    pub prev: Option<V2Node>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct V2Node {
    pub key: Bytes,
    pub value: Option<Bytes>,
    pub dir: bool,
    pub modified: u64,
    pub created: u64,
    /// Nanoseconds since 1970, by some member's clock; zero for none.
    pub expiration: i64,
    /// Seconds.
    pub ttl: i64,
    pub nodes: Vec<V2Node>,
}

impl V2Event {
    pub fn index(&self) -> u64 {
        self.node.modified
    }
}

/// One request, from its call to its end.
#[derive(Clone, Debug)]
pub struct V2Operation {
    pub client: String,
    pub called: Duration,
    pub ended: Duration,
    pub request: KeysRequest,
    /// `None`: it may have taken effect.
    pub reply: Option<V2Reply>,
}

/// What one follower was told of everything, over all its connections, from the first event on.
#[derive(Clone, Debug, Default)]
pub struct V2Followed {
    pub client: String,
    /// The index of its own last event, once it has come.
    pub end: Option<u64>,
    pub events: Vec<V2Event>,
    /// What it could not be told any more: from here to before there.
    pub gaps: Vec<(u64, u64)>,
}

/// A node with a time-to-live, and when it was first seen to be gone.
#[derive(Clone, Debug)]
pub struct V2Life {
    pub client: String,
    pub key: Bytes,
    pub ttl_s: u64,
    /// When the last write was called for that was answered and gave it its time.
    pub set: Duration,
    /// When the last such write ended, answered or not.
    pub begun: Duration,
    /// When the last read was called for that found it, and when the first ended that did not.
    pub seen: Option<Duration>,
    pub gone: Option<Duration>,
}

#[derive(Clone, Debug, Default)]
pub struct V2History {
    pub operations: Vec<V2Operation>,
    pub followed: Vec<V2Followed>,
    pub lives: Vec<V2Life>,
}

impl Client {
    /// One request to the member that it talks to.
    pub async fn v2(&self, request: &KeysRequest, timeout: Duration) -> Result<V2Reply, CallError> {
        let answer = self.call_encoded(V2_KEYS, encode_request(request), timeout);
        Ok(decode_reply(&answer.await?).expect("a server encodes what it sends"))
    }
}

/// Serves one request of a client's.
pub async fn serve(service: Service, body: Bytes) -> Bytes {
    let request = decode_request(&body).expect("clients encode what they send");
    let done = service.v2_keys(&Caller::default(), request).await;
    let reply = match done {
        Ok(KeysReply {
            body: KeysBody::Watch(mut watch),
            index,
        }) => match watch.next().await {
            Ok(event) => encode_event(index, &event),
            Err(error) => return failed(format!("{error:?}")),
        },
        Ok(KeysReply {
            body: KeysBody::Event(event),
            index,
        }) => encode_event(index, &event),
        // The outcome of a write is unknown.
        Err(refused) if refused.code as u16 == 300 => return failed(format!("{refused:?}")),
        Err(refused) => encode_refused(&refused),
    };
    Frame::Message(reply).encode()
}

fn failed(text: String) -> Bytes {
    let text = text.into();
    Frame::End(Err(Failure { code: 2, text })).encode()
}

/// Serves a client that watches.
pub async fn serve_stream(service: Service, mut stream: Stream) {
    let Some(Ok(body)) = stream.recv().await else {
        return;
    };
    let request = decode_request(&body).expect("clients encode what they send");
    let sender = stream.sender();
    let gone = async { while let Some(Ok(_)) = stream.recv().await {} };
    tokio::select! {
        biased;
        () = gone => {}
        () = send_events(service, request, &sender) => {}
    }
}

async fn send_events(service: Service, request: KeysRequest, sender: &StreamSender) {
    let mut watch = match service.v2_keys(&Caller::default(), request).await {
        Ok(KeysReply {
            body: KeysBody::Watch(watch),
            ..
        }) => watch,
        Ok(_) => panic!("a stream watches"),
        Err(refused) => {
            let refused = Frame::Message(encode_refused(&refused)).encode();
            let _ = sender.send(refused).await;
            return;
        }
    };
    let mut head = Writer::default();
    head.u8(2);
    head.varint(watch.index());
    let mut message = head.finish();
    loop {
        if sender.send(Frame::Message(message).encode()).await.is_err() {
            return;
        }
        message = match watch.next().await {
            Ok(event) => encode_event(0, &event),
            Err(_) => return,
        };
    }
}

pub fn encode_request(request: &KeysRequest) -> Bytes {
    let mut out = Writer::default();
    out.u8(request.method as u8);
    for bytes in [&request.path, &request.value, &request.prev_value] {
        out.bytes(bytes);
    }
    out.varint(request.prev_index);
    out.varint(request.wait_index);
    out.varint(request.ttl.map_or(0, |ttl| ttl + 1));
    out.u8(request.prev_exist.map_or(0, |exists| 1 + u8::from(exists)));
    for flag in [
        request.dir,
        request.refresh,
        request.recursive,
        request.wait,
        request.stream,
        request.quorum,
    ] {
        out.flag(flag);
    }
    out.finish()
}

fn decode_request(bytes: &Bytes) -> Result<KeysRequest, DecodeError> {
    const METHODS: [KeysMethod; 5] = [
        KeysMethod::Get,
        KeysMethod::Head,
        KeysMethod::Put,
        KeysMethod::Post,
        KeysMethod::Delete,
    ];
    let mut reader = Reader::new("request of v2", bytes);
    let method = METHODS[usize::from(reader.u8()?)];
    let path = reader.bytes()?;
    Ok(KeysRequest {
        value: reader.bytes()?,
        prev_value: reader.bytes()?,
        prev_index: reader.varint()?,
        wait_index: reader.varint()?,
        ttl: reader.varint()?.checked_sub(1),
        prev_exist: reader.u8()?.checked_sub(1).map(|exists| exists > 0),
        dir: reader.flag()?,
        refresh: reader.flag()?,
        recursive: reader.flag()?,
        wait: reader.flag()?,
        stream: reader.flag()?,
        quorum: reader.flag()?,
        ..KeysRequest::new(method, path)
    })
}

fn encode_refused(refused: &Refused) -> Bytes {
    let mut out = Writer::default();
    out.u8(0);
    out.varint(refused.code as u64);
    out.varint(refused.index);
    out.finish()
}

fn encode_event(index: u64, event: &Event) -> Bytes {
    let mut out = Writer::default();
    out.u8(1);
    out.varint(index);
    out.bytes(event.action.name().as_bytes());
    put_node(&mut out, &event.node);
    out.flag(event.prev.is_some());
    if let Some(prev) = &event.prev {
        put_node(&mut out, prev);
    }
    out.finish()
}

fn put_node(out: &mut Writer, node: &ShownNode) {
    out.bytes(&node.key);
    out.flag(node.value.is_some());
    out.bytes(node.value.as_deref().unwrap_or_default());
    out.flag(node.dir);
    out.varint(node.modified);
    out.varint(node.created);
    out.varint(node.expiration.map_or(0, |at| at.0.cast_unsigned()));
    out.varint(node.ttl.cast_unsigned());
    out.varint(node.nodes.len() as u64);
    node.nodes.iter().for_each(|node| put_node(out, node));
}

pub fn decode_reply(bytes: &Bytes) -> Result<V2Reply, DecodeError> {
    let mut reader = Reader::new("reply of v2", bytes);
    let tag = reader.u8()?;
    if tag == 0 {
        let code = reader.varint()? as u16;
        let index = reader.varint()?;
        return Ok(V2Reply::Refused { code, index });
    }
    let index = reader.varint()?;
    if tag == 2 {
        return Ok(V2Reply::Watching { index });
    }
    let action = reader.string()?;
    let node = read_node(&mut reader)?;
    let has_prev = reader.flag()?;
    let prev = has_prev.then(|| read_node(&mut reader)).transpose()?;
    let event = Box::new(V2Event { action, node, prev });
    Ok(V2Reply::Done { index, event })
}

fn read_node(reader: &mut Reader<'_>) -> Result<V2Node, DecodeError> {
    let key = reader.bytes()?;
    let has_value = reader.flag()?;
    let value = Some(reader.bytes()?).filter(|_| has_value);
    let mut node = V2Node {
        key,
        value,
        dir: reader.flag()?,
        modified: reader.varint()?,
        created: reader.varint()?,
        expiration: reader.varint()?.cast_signed(),
        ttl: reader.varint()?.cast_signed(),
        nodes: Vec::new(),
    };
    for _ in 0..reader.varint()? {
        node.nodes.push(read_node(reader)?);
    }
    Ok(node)
}
