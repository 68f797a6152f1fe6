//! A watcher over one connection after another: it goes on where it was, wherever that is.

use crate::client::Client;
use crate::framing::{Broken, StreamedCall};
use crate::net::NetError;
use crate::rng::Rng;
use crate::scenario::units::Times;
use crate::time;
use crate::trace;
use crate::workload::{Until, ops};
use bytes::Bytes;
use detcd_core::api::{KeyChange, KeyRange, WatchCreate, WatchId, WatchRequest, WatchResponse};
use detcd_service::Rpc;
use detcd_wire::etcdserverpb as pb;
use std::time::Duration;

/// How often a watcher looks up whether the end has come.
const ASK_EVERY: Duration = Duration::from_millis(500);

/// What a watcher wants, and where it is. `create.start_revision` is the first revision not yet
/// seen; zero until a member has said from where it watches.
pub struct Feed {
    pub create: WatchCreate,
    until: Until,
    /// Parts of a response whose end has not come yet.
    parts: Vec<KeyChange>,
    /// How often it asks for progress before the end is near.
    progress: Option<Duration>,
    /// How long it rests after each response, until the end is near.
    rests: Option<(Times, Rng)>,
}

/// What a watcher is told.
pub enum WatchMessage {
    /// It watches, and the store is at this revision.
    Created(i64),
    /// The changes of one or more whole revisions, and the header's.
    Events(i64, Vec<KeyChange>),
    /// There is nothing more up to this revision.
    Progress(i64),
}

/// Why a connection is no use any more.
#[derive(Debug)]
pub enum Ended {
    /// Everything was seen that the run wants to be seen.
    Complete,
    /// What it asked for is gone; this is the first revision that may be there.
    Compacted(i64),
    Broken(String),
}

/// A watch of this range from this revision on with no options.
pub fn plain(range: KeyRange, start_revision: i64) -> WatchCreate {
    WatchCreate {
        id: WatchId(0),
        range,
        start_revision,
        progress_notify: false,
        no_put: false,
        no_delete: false,
        prev_kv: false,
        fragment: false,
    }
}

impl Feed {
    pub fn new(create: WatchCreate, until: Until) -> Feed {
        Feed {
            create,
            until,
            parts: Vec::new(),
            progress: None,
            rests: None,
        }
    }

    /// Makes it ask for progress now and then.
    pub fn ask_every(&mut self, progress: Option<Duration>) {
        self.progress = progress;
    }

    /// When to ask for progress again, if the end has not come.
    fn ask_next(&self) -> Duration {
        self.progress
            .map_or(Duration::MAX, |every| time::now() + every)
    }

    /// Makes it slow.
    pub fn rest(&mut self, rests: Times, rng: Rng) {
        self.rests = Some((rests, rng));
    }

    /// Goes on behind what is compacted; gives the first revision that it misses.
    pub fn skip_to(&mut self, revision: i64) -> i64 {
        let start = self.create.start_revision;
        self.create.start_revision = start.max(revision);
        start
    }

    /// Watches at the member that the client talks to, until the connection breaks or is silent
    /// for so long, or the end has come.
    pub async fn follow(
        &mut self,
        client: &Client,
        timeout: Duration,
        mut note: impl FnMut(WatchMessage),
    ) -> Ended {
        self.parts.clear();
        let mut stream = client.open(Rpc::Watch);
        let create = WatchRequest::Create(self.create.clone());
        if let Err(error) = send(&stream, create).await {
            return Ended::Broken(format!("{error:?}"));
        }
        let mut silent_since = time::now();
        let mut ask_at = self.ask_next();
        let mut has_asked = false;
        loop {
            let until = *self.until.borrow();
            // Near the end a watcher asks how far it is: the last change need not be its own.
            let asks = until.is_some() || time::now() >= ask_at;
            if asks && send(&stream, WatchRequest::Progress).await.is_err() {
                return Ended::Broken("cannot ask for progress".to_owned());
            }
            if asks {
                has_asked = true;
                ask_at = self.ask_next();
            }
            let wait = ask_at.saturating_sub(time::now()).min(ASK_EVERY);
            let response = match detcd_rt::timeout(wait, receive(&mut stream)).await {
                Err(_) if time::now() < silent_since + timeout => continue,
                Err(_) => return Ended::Broken("silence".to_owned()),
                Ok(Err(error)) => return Ended::Broken(format!("{error:?}")),
                Ok(Ok(response)) => response,
            };
            silent_since = time::now();
            if response.canceled {
                return match response.compact_revision {
                    0 => Ended::Broken(format!("canceled: {}", response.cancel_reason)),
                    compacted => Ended::Compacted(compacted),
                };
            }
            if let Some(message) = self.take(response) {
                if matches!(message, WatchMessage::Progress(_)) && !has_asked {
                    trace::mark("watch.progress-by-interval");
                }
                note(message);
            }
            if until.is_some_and(|until| self.create.start_revision > until) {
                return Ended::Complete;
            }
            if let Some((rests, rng)) = &mut self.rests
                && until.is_none()
            {
                trace::mark("watcher.rested");
                time::sleep(rests.pick(rng)).await;
            }
        }
    }

    /// Puts fragments together, and notes how far it came.
    fn take(&mut self, response: WatchResponse) -> Option<WatchMessage> {
        let start = &mut self.create.start_revision;
        if response.created {
            if *start == 0 && !detcd_core::mutant!(WatchRevisionZero) {
                *start = response.revision + 1;
            }
            return Some(WatchMessage::Created(response.revision));
        }
        self.parts.extend(response.events);
        if response.fragment {
            return None;
        }
        let events = std::mem::take(&mut self.parts);
        Some(match events.last() {
            Some(last) => {
                *start = (*start).max(last.kv.mod_revision + 1);
                WatchMessage::Events(response.revision, events)
            }
            None => {
                *start = (*start).max(response.revision + 1);
                WatchMessage::Progress(response.revision)
            }
        })
    }
}

/// Watches a range from `start` on until it changes. Comes back as well when the connection breaks
/// or nothing comes for so long: whoever waits looks again.
pub async fn wait_for_change(client: &mut Client, range: &KeyRange, start: i64, timeout: Duration) {
    wait(client, plain(range.clone(), start), timeout).await;
}

/// As [`wait_for_change`], for the end of a key.
pub async fn wait_for_delete(client: &mut Client, key: &Bytes, start: i64, timeout: Duration) {
    let create = WatchCreate {
        no_put: true,
        ..plain(ops::one(key), start)
    };
    wait(client, create, timeout).await;
}

async fn wait(client: &mut Client, create: WatchCreate, timeout: Duration) {
    let mut stream = client.open(Rpc::Watch);
    let seen = async {
        send(&stream, WatchRequest::Create(create)).await?;
        loop {
            let response = receive(&mut stream).await?;
            if response.canceled || !response.events.is_empty() {
                return Ok::<(), Broken>(());
            }
        }
    };
    if let Ok(Err(_)) = detcd_rt::timeout(timeout, seen).await {
        client.recover().await;
    }
}

pub(super) async fn send(stream: &StreamedCall, request: WatchRequest) -> Result<(), NetError> {
    stream.send(&pb::WatchRequest::from(request)).await
}

pub(super) async fn receive(stream: &mut StreamedCall) -> Result<WatchResponse, Broken> {
    // A server ends no watch stream without an error.
    let response = stream.recv::<pb::WatchResponse>().await?;
    let response = response.ok_or(Broken::Net(NetError::Reset))?;
    Ok(WatchResponse::try_from(response).expect("a server's events have keys"))
}
