//! Watchers of a prefix that lose their connections and resume where they were.

use crate::client::Client;
use crate::history::{Gap, Watched};
use crate::net::{NetError, stream::Stream};
use crate::protocol::Method;
use crate::scenario::settings::settings;
use crate::scenario::units::{Count, Ratio, Time, Times};
use crate::time;
use crate::trace;
use crate::workload::{Stage, Until, Work, ops};
use bytes::Bytes;
use detcd_core::api::{KeyRange, WatchCreate, WatchId, WatchRequest, WatchResponse};
use detcd_wire::etcdserverpb as pb;
use futures::FutureExt;
use prost::Message as _;
use std::time::Duration;

/// How often a watcher looks up whether the end has come.
const ASK_EVERY: Duration = Duration::from_millis(500);

settings! {
    /// Watchers of a prefix that lose their connections and resume where they were.
    pub struct Watch {
        /// How many watchers.
        pub watchers: Count [1..=100_000] = 2,
        /// What they watch.
        prefix: String = "k/",
        /// How long a watcher waits on a silent stream before it connects elsewhere; drawn for
        /// each connection.
        patience: Times = ("1s", "5s"),
        /// How likely a watcher begins at the present, whatever revision that is.
        from_now: Ratio = 0.0,
        /// How often it asks how far it is; by default only at the end of the run.
        progress: Option<Time>,
    }
}

impl Watch {
    /// Watches until it has seen everything up to the revision that `until` says in the end.
    async fn run(&self, client: Client, until: Until) -> Watched {
        let mut rng = client.rng("watch");
        let prev_kv = rng.chance(0.5);
        // From the first revision, or from some one that is perhaps yet to come.
        let start = if rng.chance(0.5) {
            1
        } else {
            rng.range(2..=200) as i64
        };
        let from_now = client.rng("watch/manners").chance(self.from_now.value());
        let start = if from_now { 0 } else { start };
        let no_put = rng.chance(0.15);
        let seen = Watched {
            prev_kv,
            no_put,
            no_delete: !no_put && rng.chance(0.15),
            ..Watched::new(client.name(), ops::prefix(&self.prefix), start)
        };
        let progress = self.progress.map(|every| every.duration());
        follow_with(client, seen, (self.patience, progress), until).await
    }
}

impl Work for Watch {
    fn start(&self, _name: &str, stage: &mut dyn Stage) {
        for _ in 0..self.watchers.value() {
            let watch = self.clone();
            let run = move |client: Client, until| {
                let journal = client.journal();
                let seen = async move { watch.run(client, until).await };
                seen.map(move |seen| journal.note(|history| history.watchers.push(seen)))
                    .boxed()
            };
            stage.follow("w", Box::new(run));
        }
    }
}

/// Watches as `seen` says, over as many connections as it takes. Connects elsewhere when one
/// breaks or is silent for too long.
pub async fn follow(client: Client, seen: Watched, patience: Times, until: Until) -> Watched {
    follow_with(client, seen, (patience, None), until).await
}

/// As [`follow`], asking for progress at such intervals.
async fn follow_with(
    mut client: Client,
    seen: Watched,
    (patience, progress): (Times, Option<Duration>),
    until: Until,
) -> Watched {
    let mut rng = client.rng("patience");
    let next = seen.start;
    let mut session = Session {
        seen,
        next,
        progress,
        until,
    };
    loop {
        let mut stream = client.open(Method::Watch);
        let patience = patience.pick(&mut rng);
        match session.follow(&mut stream, patience).await {
            Ended::Complete => return session.seen,
            Ended::Broken(why) => {
                trace::event("watch.reconnect", format_args!("{} {why}", client.name()));
                client.go_elsewhere();
                time::sleep(Duration::from_millis(rng.range(10..=200))).await;
            }
        }
    }
}

/// Watches a range from `start` on until it changes. Comes back as well when the connection breaks
/// or nothing comes for so long: whoever waits looks again.
pub async fn wait_for_change(
    client: &mut Client,
    range: &KeyRange,
    start: i64,
    patience: Duration,
) {
    wait(client, range, start, patience, false).await;
}

/// As [`wait_for_change`], for the end of a key.
pub async fn wait_for_delete(client: &mut Client, key: &Bytes, start: i64, patience: Duration) {
    wait(client, &ops::one(key), start, patience, true).await;
}

async fn wait(client: &mut Client, range: &KeyRange, start: i64, patience: Duration, no_put: bool) {
    let create = WatchRequest::Create(WatchCreate {
        id: WatchId(0),
        range: range.clone(),
        start_revision: start,
        progress_notify: false,
        no_put,
        no_delete: false,
        prev_kv: false,
        fragment: false,
    });
    let mut stream = client.open(Method::Watch);
    let seen = async {
        send(&stream, create).await?;
        while let Some(body) = stream.recv().await {
            let response = decode(body?);
            if response.canceled || !response.events.is_empty() {
                return Ok(());
            }
        }
        Err(NetError::Reset)
    };
    if let Ok(Err(_)) = detcd_rt::timeout(patience, seen).await {
        client.recover().await;
    }
}

/// A watcher over all its connections.
struct Session {
    seen: Watched,
    /// The first revision not yet seen. Zero is the present, as long as a member has not said
    /// which revision that is.
    next: i64,
    progress: Option<Duration>,
    until: Until,
}

enum Ended {
    Complete,
    Broken(String),
}

impl Session {
    async fn follow(&mut self, stream: &mut Stream, patience: Duration) -> Ended {
        let create = WatchRequest::Create(WatchCreate {
            id: WatchId(0),
            range: self.seen.range.clone(),
            start_revision: self.next,
            progress_notify: false,
            no_put: self.seen.no_put,
            no_delete: self.seen.no_delete,
            prev_kv: self.seen.prev_kv,
            fragment: false,
        });
        if let Err(error) = send(stream, create).await {
            return Ended::Broken(format!("{error:?}"));
        }
        let mut silent_since = time::now();
        let mut ask_at = self.ask_next();
        loop {
            let until = *self.until.borrow();
            // Near the end a watcher asks how far it is: the last change need not be its own.
            let asks = until.is_some() || time::now() >= ask_at;
            if asks && send(stream, WatchRequest::Progress).await.is_err() {
                return Ended::Broken("cannot ask for progress".to_owned());
            }
            if asks {
                ask_at = self.ask_next();
            }
            let wait = ask_at.saturating_sub(time::now()).min(ASK_EVERY);
            let response = match detcd_rt::timeout(wait, stream.recv()).await {
                Err(_) if time::now() < silent_since + patience => continue,
                Err(_) => return Ended::Broken("silence".to_owned()),
                Ok(None) => return Ended::Broken("closed".to_owned()),
                Ok(Some(Err(error))) => return Ended::Broken(format!("{error:?}")),
                Ok(Some(Ok(body))) => decode(body),
            };
            silent_since = time::now();
            if response.canceled {
                if response.compact_revision > 0 {
                    self.skip(response.compact_revision);
                }
                return Ended::Broken(format!("canceled: {}", response.cancel_reason));
            }
            self.note(response);
            if until.is_some_and(|until| self.next > until) {
                return Ended::Complete;
            }
        }
    }

    /// What comes before this revision is gone.
    fn skip(&mut self, compacted: i64) {
        self.seen.gaps.push(Gap {
            asked: self.next,
            compacted,
            at: time::now(),
        });
        self.next = self.next.max(compacted);
    }

    /// When to ask for progress again, if the end has not come.
    fn ask_next(&self) -> Duration {
        self.progress
            .map_or(Duration::MAX, |every| time::now() + every)
    }

    fn note(&mut self, response: WatchResponse) {
        if response.created {
            if self.seen.start == 0 {
                self.seen.start = response.revision + 1;
            }
            if self.next == 0 && !detcd_core::mutant!(WatchRevisionZero) {
                self.next = response.revision + 1;
            }
            return;
        }
        match response.events.last() {
            Some(last) => {
                self.next = self.next.max(last.kv.mod_revision + 1);
                self.seen
                    .responses
                    .push((response.revision, response.events));
            }
            None => {
                self.next = self.next.max(response.revision + 1);
                self.seen
                    .progress
                    .push((self.seen.responses.len(), response.revision));
            }
        }
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
