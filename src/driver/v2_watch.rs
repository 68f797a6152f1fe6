//! A client that waits for events of v2.

use crate::Handle;
use crate::inbox::{Input, Requests, V2Notice};
use detcd_core::api::StreamId;
use detcd_core::error::Error;
use detcd_core::event::Event;
use detcd_core::limits::V2_WATCH_QUEUE;
use detcd_core::v2::history::Interest;
use detcd_core::v2::{self, Refused};
use std::sync::Arc;
use tokio::sync::mpsc;

/// Why a watch ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum V2WatchError {
    /// What it wants is not kept any more.
    Refused(Refused),
    Request(Error),
}

impl From<Error> for V2WatchError {
    fn from(error: Error) -> V2WatchError {
        V2WatchError::Request(error)
    }
}

impl From<Refused> for V2WatchError {
    fn from(refused: Refused) -> V2WatchError {
        V2WatchError::Refused(refused)
    }
}

/// Events of a path, each once and in order. It is over for the member when this is dropped.
///
/// What happened before it was registered comes from the history; after that the node tells it. It
/// goes back to the history if it was too slow, or if a snapshot replaced the state.
pub struct V2Watch {
    handle: Handle,
    interest: Interest,
    stream: bool,
    /// The first index that was not given yet.
    since: u64,
    index: u64,
    registration: Registration,
    _counted: CountedWatcher,
    /// Found when it was opened.
    found: Option<Arc<v2::Event>>,
}

/// One more watcher among those that the member counts, until it is dropped.
struct CountedWatcher(Handle);

impl CountedWatcher {
    fn new(handle: &Handle) -> CountedWatcher {
        handle.stats().v2.watchers.add(1);
        CountedWatcher(handle.clone())
    }
}

impl Drop for CountedWatcher {
    fn drop(&mut self) {
        self.0.stats().v2.watchers.subtract(1);
    }
}

/// A watcher at the node.
struct Registration {
    watcher: StreamId,
    requests: Requests,
    notices: mpsc::Receiver<V2Notice>,
    /// What comes after this index is told.
    index: u64,
}

impl V2Watch {
    pub(crate) async fn open(
        handle: Handle,
        interest: Interest,
        stream: bool,
        since: u64,
    ) -> Result<V2Watch, V2WatchError> {
        let registration = Registration::new(&handle, &interest, stream, since).await?;
        let index = registration.index;
        let since = if since == 0 { index + 1 } else { since };
        let counted = CountedWatcher::new(&handle);
        let mut watch = V2Watch {
            handle,
            interest,
            stream,
            since,
            index,
            registration,
            _counted: counted,
            found: None,
        };
        watch.found = watch.look_back().await?;
        Ok(watch)
    }

    /// The index of the tree when the watch began.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Whether it goes on after the first event.
    pub fn is_stream(&self) -> bool {
        self.stream
    }

    /// The next event.
    pub async fn next(&mut self) -> Result<Arc<v2::Event>, V2WatchError> {
        loop {
            let found = match self.found.take() {
                Some(found) => Some(found),
                None => self.look_back().await?,
            };
            if let Some(event) = found {
                self.since = event.index() + 1;
                return Ok(event);
            }
            match self.registration.notices.recv().await {
                Some(V2Notice::Event(event)) if event.index() >= self.since => {
                    self.since = event.index() + 1;
                    return Ok(event);
                }
                Some(_) => {}
                None => {
                    let anew =
                        Registration::new(&self.handle, &self.interest, self.stream, self.since);
                    self.registration = anew.await?;
                }
            }
        }
    }

    /// The next event of those before the registration; after this, only later ones matter.
    async fn look_back(&mut self) -> Result<Option<Arc<v2::Event>>, V2WatchError> {
        if self.since > self.registration.index {
            return Ok(None);
        }
        let found = match detcd_core::mutant!(V2ResumeGap) {
            true => None,
            false => self.handle.v2_find(&self.interest, self.since).await??,
        };
        let found = found.filter(|event| event.index() <= self.registration.index);
        if found.is_none() {
            self.since = self.registration.index + 1;
        }
        Ok(found)
    }
}

impl Registration {
    async fn new(
        handle: &Handle,
        interest: &Interest,
        stream: bool,
        since: u64,
    ) -> Result<Registration, Error> {
        let watcher = StreamId(handle.shared.names.next());
        let (sender, notices) = mpsc::channel(V2_WATCH_QUEUE);
        let open = Input::V2WatchOpen {
            watcher,
            watch: v2::watch::Watch {
                path: interest.path.clone(),
                recursive: interest.recursive,
                stream,
                since,
            },
            notices: sender,
        };
        let requests = handle.requests.clone();
        requests.send(open).await.map_err(|_| Error::Stopped)?;
        let mut registration = Registration {
            watcher,
            requests,
            notices,
            index: 0,
        };
        match registration.notices.recv().await {
            Some(V2Notice::Registered { index }) => registration.index = index,
            Some(V2Notice::Event(_)) => unreachable!("a watcher is registered first"),
            None => return Err(Error::Stopped),
        }
        Ok(registration)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let watcher = self.watcher;
        let close = Input::Event(Event::V2WatchClose { watcher });
        // A full queue must not block a destructor, and must not lose the close either.
        if let Err(mpsc::error::TrySendError::Full(close)) = self.requests.try_send(close) {
            let requests = self.requests.clone();
            detcd_rt::spawn(async move {
                let _ = requests.send(close).await;
            });
        }
    }
}
