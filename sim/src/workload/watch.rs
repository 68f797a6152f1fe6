//! Watchers of a prefix that lose their connections and resume where they were.

use crate::client::Client;
use crate::history::{Gap, Watched};
use crate::scenario::settings::settings;
use crate::scenario::units::{Count, Ratio, Time, Times};
use crate::time;
use crate::trace;
use crate::workload::feed::{self, Ended, Feed, WatchMessage};
use crate::workload::{ClientStarter, Until, Work, ops};
use detcd_core::api::WatchCreate;
use futures::FutureExt;
use std::time::Duration;

settings! {
    /// Watchers of a prefix that lose their connections and resume where they were.
    pub struct Watch {
        /// How many watchers.
        pub watchers: Count [1..=100_000] = 2,
        /// What they watch.
        prefix: String = "k/",
        /// How long a watcher waits on a silent stream before it connects elsewhere; drawn for
        /// each connection.
        stream_timeout: Times = ("1s", "5s"),
        /// How likely a watcher begins at the present, whatever revision that is.
        from_now: Ratio = 0.2,
        /// How often it asks how far it is; by default only at the end of the run.
        progress: Option<Time>,
        /// How likely a watcher is slow: it rests after each response.
        slow: Ratio = 0.2,
        /// How long a slow one rests.
        rests: Times = ("0ms", "1500ms"),
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
        let no_delete = !no_put && rng.chance(0.15);
        let seen = Watched {
            prev_kv,
            no_put,
            no_delete,
            ..Watched::new(client.name(), ops::prefix(&self.prefix), start)
        };
        let create = WatchCreate {
            fragment: rng.chance(0.3),
            progress_notify: rng.chance(0.3),
            ..wanted(&seen)
        };
        let mut feed = Feed::new(create, until);
        feed.ask_every(self.progress.map(|every| every.duration()));
        if rng.chance(self.slow.value()) {
            feed.rest(self.rests, client.rng("rest"));
        }
        follow_on(client, seen, feed, self.stream_timeout).await
    }
}

impl Work for Watch {
    fn start(&self, _name: &str, clients: &mut dyn ClientStarter) {
        for _ in 0..self.watchers.value() {
            let watch = self.clone();
            let run = move |client: Client, until| {
                let recorder = client.recorder();
                let seen = async move { watch.run(client, until).await };
                seen.map(move |seen| recorder.note(|history| history.watchers.push(seen)))
                    .boxed()
            };
            clients.follow("w", Box::new(run));
        }
    }
}

/// Watches as `seen` says, over as many connections as it takes. Connects elsewhere when one
/// breaks or is silent for too long.
pub async fn follow(client: Client, seen: Watched, timeout: Times, until: Until) -> Watched {
    let feed = Feed::new(wanted(&seen), until);
    follow_on(client, seen, feed, timeout).await
}

/// The watch that `seen` is to be of.
fn wanted(seen: &Watched) -> WatchCreate {
    WatchCreate {
        prev_kv: seen.prev_kv,
        no_put: seen.no_put,
        no_delete: seen.no_delete,
        ..feed::plain(seen.range.clone(), seen.start)
    }
}

async fn follow_on(
    mut client: Client,
    mut seen: Watched,
    mut feed: Feed,
    timeout: Times,
) -> Watched {
    let mut rng = client.rng("patience");
    loop {
        let timeout = timeout.pick(&mut rng);
        match feed
            .follow(&client, timeout, |message| seen.note(message))
            .await
        {
            Ended::Complete => return seen,
            Ended::Compacted(compacted) => {
                trace::mark("watch.compacted");
                let asked = feed.skip_to(compacted);
                let at = time::now();
                seen.gaps.push(Gap {
                    asked,
                    compacted,
                    at,
                });
            }
            Ended::Broken(why) => {
                trace::event("watch.reconnect", format_args!("{} {why}", client.name()));
            }
        }
        client.go_elsewhere();
        time::sleep(Duration::from_millis(rng.range(10..=200))).await;
    }
}

impl Watched {
    pub(super) fn note(&mut self, message: WatchMessage) {
        match message {
            // Who did not say from where watches from the next revision on.
            WatchMessage::Created(revision) if self.start == 0 => self.start = revision + 1,
            WatchMessage::Created(_) => {}
            WatchMessage::Events(revision, events) => {
                self.responses.push((revision, events));
                self.came.push(time::now());
            }
            WatchMessage::Progress(revision) => {
                self.progress.push((self.responses.len(), revision))
            }
        }
    }
}
