//! Clients that watch much on one stream each: ids of their own choice or of the server's, watchers
//! that come and go, fragments, and progress on request.

use crate::client::Client;
use crate::client_records::{Connection, Heard};
use crate::framing::{Broken, StreamedCall};
use crate::history::{Gap, Watched};
use crate::net::NetError;
use crate::rng::Rng;
use crate::scenario::settings::settings;
use crate::scenario::units::{Count, Ratio, Times};
use crate::time;
use crate::trace;
use crate::workload::feed::{self, WatchMessage};
use crate::workload::{ClientStarter, Until, Work, ops};
use bytes::Bytes;
use detcd_core::api::{KeyChange, KeyRange, WatchCreate, WatchId, WatchRequest, WatchResponse};
use detcd_service::Rpc;
use futures::FutureExt;
use std::collections::VecDeque;
use std::time::Duration;

/// How often a client looks up whether the end has come.
const POLL_EVERY: Duration = Duration::from_millis(500);
/// Ids of a client's own choice begin here: far from those that a server chooses.
const OWN_IDS: i64 = 1_000_000;

settings! {
    /// Clients that watch much on one stream each: under ids of their own choice or of the
    /// server's, with watchers that come and go, fragments, filters and progress on request.
    pub struct Streams {
        /// How many clients, each with a stream.
        pub streams: Count [1..=1000] = 2,
        /// How many watchers each stream has.
        pub watchers: Count [1..=10_000] = 6,
        /// What they watch: all of it, or single keys of it.
        prefix: String = "k/",
        /// How likely a watcher agrees to fragments.
        fragments: Ratio = 0.5,
        /// What passes until some watcher is canceled, and created anew where it was.
        change: Times = ("200ms", "2s"),
        /// What passes until a client asks how far it is.
        progress: Times = ("200ms", "2s"),
        /// How likely a client asks for an id that is taken, when it changes something.
        taken: Ratio = 0.1,
        /// How long a client waits on a silent stream before it connects elsewhere; drawn for each
        /// connection.
        stream_timeout: Times = ("1s", "5s"),
    }
}

impl Work for Streams {
    fn start(&self, _name: &str, clients: &mut dyn ClientStarter) {
        for _ in 0..self.streams.value() {
            let settings = self.clone();
            let run = move |client: Client, until| {
                let follower = Follower::new(settings, client, until);
                follower.run().boxed()
            };
            clients.follow("s", Box::new(run));
        }
    }
}

/// One client, over all its connections.
struct Follower {
    settings: Streams,
    client: Client,
    until: Until,
    rng: Rng,
    slots: Vec<Slot>,
    /// What was asked for and is not answered yet, in order.
    asked: VecDeque<Asked>,
    /// How many ids it has chosen.
    chosen: i64,
    heard: Vec<Heard>,
}

/// One watcher, over all its lives.
struct Slot {
    seen: Watched,
    /// `start_revision` is the first revision not yet seen.
    create: WatchCreate,
    /// Parts of a response whose end has not come yet.
    parts: Vec<KeyChange>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed,
    Asked,
    Open(i64),
    /// It is to be canceled.
    Closing(i64),
}

/// What a creation was for.
#[derive(Clone, Copy, Debug)]
enum Asked {
    Slot(usize),
    /// To be refused: the id is taken.
    Taken,
}

impl Follower {
    fn new(settings: Streams, client: Client, until: Until) -> Follower {
        let mut rng = client.rng("streams");
        let slots = (0..settings.watchers.value()).map(|number| {
            let name = format!("{}/{number}", client.name());
            Slot::new(&settings, &name, &mut rng)
        });
        Follower {
            slots: slots.collect(),
            settings,
            client,
            until,
            rng,
            asked: VecDeque::new(),
            chosen: 0,
            heard: Vec::new(),
        }
    }

    /// Watches until every watcher has seen everything up to the revision that is told in the end.
    async fn run(mut self) {
        loop {
            let ended = self.connect().await;
            let connection = Connection {
                client: self.client.number(),
                ended: time::now(),
                heard: std::mem::take(&mut self.heard),
            };
            self.client
                .note(|history| history.connections.push(connection));
            if ended.is_ok() {
                break;
            }
            self.client.go_elsewhere();
            let pause = self.rng.range(10..=200);
            time::sleep(Duration::from_millis(pause)).await;
        }
        let seen: Vec<Watched> = self.slots.drain(..).map(|slot| slot.seen).collect();
        self.client.note(|history| history.watchers.extend(seen));
    }

    /// One connection, until it breaks or is silent for too long, or the end has come.
    async fn connect(&mut self) -> Result<(), Broken> {
        self.asked.clear();
        for slot in &mut self.slots {
            slot.close();
        }
        let mut stream = self.client.open(Rpc::Watch);
        let timeout = self.settings.stream_timeout.pick(&mut self.rng);
        let mut silent_since = time::now();
        let mut ask_at = silent_since + self.settings.progress.pick(&mut self.rng);
        let mut change_at = silent_since + self.settings.change.pick(&mut self.rng);
        loop {
            self.ask_for_all(&stream).await?;
            let until = *self.until.borrow();
            if until.is_some() || time::now() >= ask_at {
                feed::send(&stream, WatchRequest::Progress).await?;
                ask_at = time::now() + self.settings.progress.pick(&mut self.rng);
            }
            if until.is_none() && time::now() >= change_at {
                self.change(&stream).await?;
                change_at = time::now() + self.settings.change.pick(&mut self.rng);
            }
            let wait = ask_at.min(change_at).saturating_sub(time::now());
            match detcd_rt::timeout(wait.min(POLL_EVERY), feed::receive(&mut stream)).await {
                Err(_) if time::now() < silent_since + timeout => continue,
                Err(_) => return Err(NetError::Reset.into()),
                Ok(response) => self.hear(response?),
            }
            silent_since = time::now();
            let is_done = |slot: &Slot, until| slot.create.start_revision > until;
            if until.is_some_and(|until| self.slots.iter().all(|slot| is_done(slot, until))) {
                return Ok(());
            }
        }
    }

    /// Creates every watcher that is not there.
    async fn ask_for_all(&mut self, stream: &StreamedCall) -> Result<(), NetError> {
        for index in 0..self.slots.len() {
            if self.slots[index].state == State::Closed {
                let id = match self.rng.chance(0.5) {
                    true => 0,
                    false => {
                        self.chosen += 1;
                        OWN_IDS + self.chosen
                    }
                };
                self.slots[index].state = State::Asked;
                let create = self.slots[index].create.clone();
                self.ask(stream, create, id, Asked::Slot(index)).await?;
            }
        }
        Ok(())
    }

    async fn ask(
        &mut self,
        stream: &StreamedCall,
        create: WatchCreate,
        id: i64,
        what: Asked,
    ) -> Result<(), NetError> {
        let fragment = create.fragment;
        self.heard.push(Heard::Create { id, fragment });
        self.asked.push_back(what);
        let id = WatchId(id);
        feed::send(stream, WatchRequest::Create(WatchCreate { id, ..create })).await
    }

    /// Cancels some watcher, or asks for an id that is taken.
    async fn change(&mut self, stream: &StreamedCall) -> Result<(), NetError> {
        let open = self.slots.iter().enumerate();
        let open = open.filter_map(|(index, slot)| match slot.state {
            State::Open(id) => Some((index, id)),
            _ => None,
        });
        let open: Vec<(usize, i64)> = open.collect();
        if open.is_empty() {
            return Ok(());
        }
        let (index, id) = *self.rng.pick(&open);
        if self.rng.chance(self.settings.taken.value()) && id != 0 {
            let create = self.slots[index].create.clone();
            return self.ask(stream, create, id, Asked::Taken).await;
        }
        // Until what asked for the same id is refused, its owner stays.
        if self.asked.iter().any(|asked| matches!(asked, Asked::Taken)) {
            return Ok(());
        }
        self.slots[index].state = State::Closing(id);
        self.heard.push(Heard::Cancel { id });
        feed::send(stream, WatchRequest::Cancel(WatchId(id))).await
    }

    fn hear(&mut self, response: WatchResponse) {
        let id = response.watch_id;
        if response.created {
            self.hear_created(&response);
            return;
        }
        let owner = self.slots.iter_mut().find(|slot| slot.id() == Some(id));
        if response.canceled {
            self.heard.push(Heard::Canceled { id });
            if let Some(slot) = owner {
                slot.canceled(response.compact_revision);
            }
        } else if response.events.is_empty() && !response.fragment {
            self.heard.push(Heard::Progress { id });
            let message = |slot: &&mut Slot| match id {
                -1 => slot.id().is_some(),
                id => slot.id() == Some(id),
            };
            let revision = response.revision;
            if id == -1 {
                trace::mark("watch.progress-of-stream");
            }
            let is_early = |slot: &Slot| revision + 1 < slot.create.start_revision;
            let early = self
                .slots
                .iter_mut()
                .filter(message)
                .any(|slot| is_early(slot));
            if early {
                self.heard.push(Heard::EarlyProgress { id });
            }
            self.slots
                .iter_mut()
                .filter(message)
                .for_each(|slot| slot.progress(revision));
        } else {
            let fragment = response.fragment;
            if fragment {
                trace::mark("watch.fragment");
            }
            self.heard.push(Heard::Events { id, fragment });
            if let Some(slot) = owner {
                slot.take(response);
            }
        }
    }

    fn hear_created(&mut self, response: &WatchResponse) {
        let id = response.watch_id;
        let refused = response.canceled;
        self.heard.push(match refused {
            true => Heard::Refused,
            false => Heard::Created { id },
        });
        match self.asked.pop_front() {
            Some(Asked::Slot(index)) if !refused => {
                self.slots[index].created(id, response.revision);
            }
            Some(Asked::Slot(index)) => self.slots[index].close(),
            Some(Asked::Taken) if refused => trace::mark("watch.id-taken"),
            // The check says what is wrong with it.
            Some(Asked::Taken) | None => {}
        }
    }
}

impl Slot {
    fn new(settings: &Streams, name: &str, rng: &mut Rng) -> Slot {
        let range: KeyRange = match rng.range(0..=2) {
            0 => ops::one(&Bytes::from(format!("{}0", settings.prefix))),
            _ => ops::prefix(&settings.prefix),
        };
        let start = *rng.pick(&[0, 1, 1, rng.clone().range(2..=150) as i64]);
        let no_put = rng.chance(0.15);
        let seen = Watched {
            prev_kv: rng.chance(0.5),
            no_put,
            no_delete: !no_put && rng.chance(0.15),
            ..Watched::new(name, range, start)
        };
        let create = WatchCreate {
            prev_kv: seen.prev_kv,
            no_put: seen.no_put,
            no_delete: seen.no_delete,
            fragment: rng.chance(settings.fragments.value()),
            progress_notify: rng.chance(0.2),
            ..feed::plain(seen.range.clone(), seen.start)
        };
        Slot {
            seen,
            create,
            parts: Vec::new(),
            state: State::Closed,
        }
    }

    fn id(&self) -> Option<i64> {
        match self.state {
            State::Open(id) | State::Closing(id) => Some(id),
            State::Closed | State::Asked => None,
        }
    }

    fn close(&mut self) {
        self.state = State::Closed;
        self.parts.clear();
    }

    fn created(&mut self, id: i64, revision: i64) {
        self.state = State::Open(id);
        if self.create.start_revision == 0 {
            self.create.start_revision = revision + 1;
        }
        self.seen.note(WatchMessage::Created(revision));
    }

    fn canceled(&mut self, compacted: i64) {
        self.close();
        if compacted > 0 {
            let asked = self.create.start_revision;
            self.create.start_revision = asked.max(compacted);
            let at = time::now();
            self.seen.gaps.push(Gap {
                asked,
                compacted,
                at,
            });
        } else {
            trace::mark("watch.canceled-by-client");
        }
    }

    fn progress(&mut self, revision: i64) {
        self.create.start_revision = self.create.start_revision.max(revision + 1);
        self.seen.note(WatchMessage::Progress(revision));
    }

    /// Puts fragments together, and notes how far it came.
    fn take(&mut self, response: WatchResponse) {
        self.parts.extend(response.events);
        if response.fragment {
            return;
        }
        let events = std::mem::take(&mut self.parts);
        if let Some(last) = events.last() {
            let next = last.kv.mod_revision + 1;
            self.create.start_revision = self.create.start_revision.max(next);
        }
        self.seen
            .note(WatchMessage::Events(response.revision, events));
    }
}
