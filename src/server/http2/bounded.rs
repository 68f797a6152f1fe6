//! What the heads of requests hold. A byte of a header block can stand for a field of any length,
//! so a few bytes become many; the heads of one connection are bounded together, and those of all.

use super::super::listen::Reply;
use super::field::is_grpc;
use crate::server::takeover::Takeover;
use detcd_net::tls::PeerName;
use http::header::{CONTENT_TYPE, UPGRADE};
use http::{HeaderMap, Request, StatusCode};
use hyper::body::Incoming;
use hyper::service::Service;
use pin_project_lite::pin_project;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};

/// A head of up to this size counts nothing: its request costs as much by itself.
const FREE_BYTES: usize = 4 * 1024;
/// What the heads of a connection's requests may hold together.
const CONNECTION_BYTES_MAX: usize = 32 * 1024 * 1024;
/// What the heads of all requests to a port may hold together.
const PORT_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Header lists that a connection takes in at a time, before they are requests.
const ARRIVING_BYTES_MAX: usize = 1024 * 1024;
/// What a field takes in memory besides its name and its value.
const FIELD_OVERHEAD: usize = 96;

/// The heads of one connection's requests.
#[derive(Default)]
pub(crate) struct Heads {
    /// The size of what arrived since the connection was polled.
    arriving: AtomicUsize,
    held: AtomicUsize,
    port_held: Arc<AtomicUsize>,
}

impl Heads {
    /// `port_held` is shared by the connections of a port.
    pub fn new(port_held: Arc<AtomicUsize>) -> Heads {
        Heads {
            port_held,
            ..Heads::default()
        }
    }

    /// To be called when the connection is polled: by its end, what arrives becomes requests.
    pub fn polled(&self) {
        self.arriving.store(0, Relaxed);
    }

    /// Takes note of header lists that have arrived.
    pub(super) fn arrived(&self, size: &mut usize) {
        if *size > 0 {
            // Only the connection's own task writes it.
            let arriving = self.arriving.load(Relaxed) + std::mem::take(size);
            self.arriving.store(arriving, Relaxed);
        }
    }

    /// Ready if more may arrive before the connection is polled again.
    pub(super) fn poll_room(&self, context: &Context<'_>) -> Poll<()> {
        if self.arriving.load(Relaxed) <= ARRIVING_BYTES_MAX {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Room for a head of this size, until it is dropped.
    fn room(self: &Arc<Heads>, size: usize) -> Option<Room> {
        let bytes = size.saturating_sub(FREE_BYTES);
        if bytes == 0 {
            return Some(Room(None));
        }
        let held = self.held.fetch_add(bytes, Relaxed) + bytes;
        let port_held = self.port_held.fetch_add(bytes, Relaxed) + bytes;
        let room = Room(Some((self.clone(), bytes)));
        (held <= CONNECTION_BYTES_MAX && port_held <= PORT_BYTES_MAX).then_some(room)
    }
}

/// What a head holds.
struct Room(Option<(Arc<Heads>, usize)>);

impl Drop for Room {
    fn drop(&mut self) {
        if let Some((heads, bytes)) = &self.0 {
            heads.held.fetch_sub(*bytes, Relaxed);
            heads.port_held.fetch_sub(*bytes, Relaxed);
        }
    }
}

/// A service for the requests of one connection, whose heads are bounded.
#[derive(Clone)]
pub(crate) struct Bounded<S> {
    pub service: S,
    pub heads: Arc<Heads>,
    /// Who has connected, if the certificate was asked for.
    pub peer: Option<PeerName>,
    pub is_tls: bool,
    pub takeover: Takeover,
}

/// What a request has that came over TLS.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OverTls;

impl<S> Service<Request<Incoming>> for Bounded<S>
where
    S: Service<Request<Incoming>, Response = Reply, Error = Infallible>,
{
    type Response = Reply;
    type Error = Infallible;
    type Future = Answering<S::Future>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        if let Some(peer) = &self.peer {
            request.extensions_mut().insert(peer.clone());
        }
        if self.is_tls {
            request.extensions_mut().insert(OverTls);
        }
        if request.headers().contains_key(UPGRADE) {
            request.extensions_mut().insert(self.takeover.clone());
        }
        match self.heads.room(size(request.headers())) {
            Some(room) => Answering::Called {
                answer: self.service.call(request),
                _room: room,
            },
            None => Answering::Refused {
                reply: Some(Box::new(refusal(request.headers()))),
            },
        }
    }
}

fn size(headers: &HeaderMap) -> usize {
    headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + FIELD_OVERHEAD)
        .sum()
}

fn refusal(headers: &HeaderMap) -> Reply {
    let is_call = headers
        .get(CONTENT_TYPE)
        .is_some_and(|value| is_grpc(value.as_bytes()));
    let words = "the metadata of the calls under way is too large";
    let mut reply = tonic::Status::resource_exhausted(words).into_http();
    if !is_call {
        *reply.status_mut() = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
    }
    reply
}

pin_project! {
    /// The answer to a request whose head holds room, or has found none.
    #[project = AnsweringProjected]
    pub(crate) enum Answering<F> {
        Called { #[pin] answer: F, _room: Room },
        Refused { reply: Option<Box<Reply>> },
    }
}

impl<F: Future<Output = Result<Reply, Infallible>>> Future for Answering<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        match self.project() {
            AnsweringProjected::Called { answer, .. } => answer.poll(context),
            AnsweringProjected::Refused { reply } => match reply.take() {
                Some(reply) => Poll::Ready(Ok(*reply)),
                None => Poll::Pending,
            },
        }
    }
}
