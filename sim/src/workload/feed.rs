//! A watcher over one connection after another: it goes on where it was, wherever that is.

use crate::client::Client;
use crate::net::{NetError, stream::Stream};
use crate::protocol::Method;
use crate::time;
use crate::workload::Until;
use bytes::Bytes;
use detcd_core::api::{Change, KeyRange, WatchCreate, WatchId, WatchRequest, WatchResponse};
use detcd_wire::etcdserverpb as pb;
use prost::Message as _;
use std::time::Duration;

/// How often a watcher looks up whether the end has come.
const ASK_EVERY: Duration = Duration::from_millis(500);

/// What a watcher wants, and where it is. `create.start_revision` is the first revision not yet
/// seen; zero until a member has said from where it watches.
pub struct Feed {
    pub create: WatchCreate,
    until: Until,
    /// Parts of a response whose end has not come yet.
    parts: Vec<Change>,
}

/// What a watcher is told.
pub enum Told {
    /// It watches, and the store is at this revision.
    Created(i64),
    /// The changes of one or more whole revisions, and the header's.
    Events(i64, Vec<Change>),
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
        }
    }

    /// Watches at the member that the client talks to, until the connection breaks or is silent
    /// for so long, or the end has come.
    pub async fn follow(
        &mut self,
        client: &Client,
        patience: Duration,
        mut note: impl FnMut(Told),
    ) -> Ended {
        self.parts.clear();
        let mut stream = client.open(Method::Watch);
        let create = WatchRequest::Create(self.create.clone());
        if let Err(error) = send(&stream, create).await {
            return Ended::Broken(format!("{error:?}"));
        }
        let mut silent_since = time::now();
        loop {
            let until = *self.until.borrow();
            // Near the end a watcher asks how far it is: the last change need not be its own.
            if until.is_some() && send(&stream, WatchRequest::Progress).await.is_err() {
                return Ended::Broken("cannot ask for progress".to_owned());
            }
            let response = match detcd_rt::timeout(ASK_EVERY, stream.recv()).await {
                Err(_) if time::now() < silent_since + patience => continue,
                Err(_) => return Ended::Broken("silence".to_owned()),
                Ok(None) => return Ended::Broken("closed".to_owned()),
                Ok(Some(Err(error))) => return Ended::Broken(format!("{error:?}")),
                Ok(Some(Ok(body))) => decode(body),
            };
            silent_since = time::now();
            if response.canceled {
                return match response.compact_revision {
                    0 => Ended::Broken(format!("canceled: {}", response.cancel_reason)),
                    compacted => Ended::Compacted(compacted),
                };
            }
            if let Some(told) = self.take(response) {
                note(told);
            }
            if until.is_some_and(|until| self.create.start_revision > until) {
                return Ended::Complete;
            }
        }
    }

    /// Puts fragments together, and notes how far it came.
    fn take(&mut self, response: WatchResponse) -> Option<Told> {
        let start = &mut self.create.start_revision;
        if response.created {
            if *start == 0 {
                *start = response.revision + 1;
            }
            return Some(Told::Created(response.revision));
        }
        self.parts.extend(response.events);
        if response.fragment {
            return None;
        }
        let events = std::mem::take(&mut self.parts);
        Some(match events.last() {
            Some(last) => {
                *start = (*start).max(last.kv.mod_revision + 1);
                Told::Events(response.revision, events)
            }
            None => {
                *start = (*start).max(response.revision + 1);
                Told::Progress(response.revision)
            }
        })
    }
}

async fn send(stream: &Stream, request: WatchRequest) -> Result<(), NetError> {
    let request = pb::WatchRequest::from(request);
    stream.send(request.encode_to_vec().into()).await
}

fn decode(body: Bytes) -> WatchResponse {
    let response = pb::WatchResponse::decode(body).expect("a server encodes what it sends");
    WatchResponse::try_from(response).expect("a server's events have keys")
}
