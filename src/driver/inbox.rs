//! What reaches the driver loop, and who waits for its outcomes.

use detcd_core::api::{LeaseInfo, Outcome, StreamId, WatchResponse};
use detcd_core::error::Error;
use detcd_core::event::{Event, Seq};
use detcd_core::v2;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// Requests queued for the loop before their tasks wait.
const REQUESTS_MAX: usize = 8 * 1024;

/// Who waits for the outcome of a request.
pub(crate) type Waiter<T> = oneshot::Sender<Result<T, Error>>;

/// An event, with who waits until the node has decided.
pub(crate) enum Input {
    Event(Event),
    Write {
        seq: Seq,
        command: bytes::Bytes,
        growth: u64,
        waiter: Waiter<Outcome>,
    },
    Read {
        seq: Seq,
        waiter: Waiter<()>,
    },
    Lease {
        seq: Seq,
        event: Event,
        waiter: Waiter<LeaseInfo>,
    },
    PeerLease {
        ticket: u64,
        event: Event,
        waiter: Waiter<LeaseInfo>,
    },
    WatchOpen {
        stream: StreamId,
        responses: mpsc::UnboundedSender<Result<WatchResponse, Error>>,
    },
    V2WatchOpen {
        watcher: StreamId,
        watch: v2::watch::Watch,
        notices: mpsc::Sender<V2Notice>,
    },
    /// Told once the space is given back.
    Defragment(oneshot::Sender<()>),
    Stop,
}

/// What a watcher of v2 is told.
pub(crate) enum V2Notice {
    /// It is told of whatever comes after this index.
    Registered {
        index: u64,
    },
    Event(Arc<v2::Event>),
}

/// Where requests enter: bounded, so that a flood waits outside.
pub(crate) type Requests = mpsc::Sender<Input>;
/// Where completions enter. They are as many as the work under way, and never wait.
pub(crate) type Completions = mpsc::UnboundedSender<Input>;

pub(crate) struct Inbox {
    pub requests: mpsc::Receiver<Input>,
    pub completions: mpsc::UnboundedReceiver<Input>,
}

pub(crate) fn inbox() -> (Requests, Completions, Inbox) {
    let (request_sender, requests) = mpsc::channel(REQUESTS_MAX);
    let (completion_sender, completions) = mpsc::unbounded_channel();
    (
        request_sender,
        completion_sender,
        Inbox {
            requests,
            completions,
        },
    )
}
