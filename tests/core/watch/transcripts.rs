//! Runs `tests/core/watch/*.txt`.
//!
//! Commands: `hub revision=… compacted=… credits=… recent=… fragment=… interval=…` (first),
//! `open`, `close`, `create`, `cancel`, `progress`, `credit n=…` (each with `stream=…`),
//! `write` (a line of `key=value` and `-key` for each revision; `batch` hands them over as one),
//! `unseen` (the same, but the hub is not told), `compact`, `compact-unseen`, `restore`, `read limit=…` (answers the
//! read that was asked for), `tick now=…`, `stats`. Everything that the hub wants done is shown.

use crate::transcript::{self, Command};
use crate::world::{World, watch};
use bytes::Bytes;
use detcd_core::api::{KeyChange, KeyRange, Millis, StreamId, WatchCreate, WatchId, WatchRequest};
use detcd_core::effect::Effect;
use detcd_core::watch::{Hub, HubConfig};
use std::fmt::Write as _;

#[test]
fn transcripts() {
    transcript::run("watch", || {
        let mut state: Option<State> = None;
        move |command: &Command| {
            if command.name == "hub" {
                state = Some(State::new(command));
                return String::new();
            }
            state
                .as_mut()
                .expect("a transcript begins with hub")
                .run(command)
        }
    });
}

struct State {
    hub: Hub,
    world: World,
    now: Millis,
    asked: Option<(u64, i64, i64)>,
}

impl State {
    fn new(command: &Command) -> State {
        let fragment = command.or("fragment", 1 << 20);
        let config = HubConfig {
            stream_credits: command.or("credits", 100),
            recent_events_max: command.or("recent", 1000),
            ..HubConfig::new(Millis(command.or("interval", 1000)), fragment)
        };
        let mut world = World::new();
        world.revision = command.or("revision", 1);
        world.compact_revision = command.or("compacted", 0);
        let hub = Hub::new(config, world.revision, world.compact_revision);
        State {
            hub,
            world,
            now: Millis(0),
            asked: None,
        }
    }

    fn run(&mut self, command: &Command) -> String {
        let stream = || StreamId(command.need("stream"));
        match command.name.as_str() {
            "open" => self.hub.open(stream()),
            "close" => self.hub.close(stream()),
            "credit" => self.hub.credit(stream(), command.need("n")),
            "create" => self.request(stream(), WatchRequest::Create(create(command))),
            "cancel" => self.request(stream(), WatchRequest::Cancel(WatchId(command.need("id")))),
            "progress" => self.request(stream(), WatchRequest::Progress),
            "write" => self.write(&command.input, command.flag("batch")),
            "unseen" => {
                self.changes(&command.input);
            }
            "compact" => {
                self.world.compact_revision = command.need("revision");
                self.hub.compacted(self.world.compact_revision);
            }
            "compact-unseen" => self.world.compact_revision = command.need("revision"),
            "restore" => self
                .hub
                .restored(self.world.revision, self.world.compact_revision),
            "read" => {
                let Some((id, from, to)) = self.asked.take() else {
                    return "no read was asked for".into();
                };
                let answer = self.world.read(from, to, command.or("limit", usize::MAX));
                self.hub.caught_up(id, answer);
            }
            "tick" => {
                self.now = Millis(command.need("now"));
                self.hub.tick(self.now);
            }
            "stats" => return self.stats(),
            other => panic!("{}: what is {other}?", command.at),
        }
        self.drain()
    }

    fn request(&mut self, stream: StreamId, request: WatchRequest) {
        self.hub.request(self.now, stream, request);
    }

    fn write(&mut self, input: &str, batch: bool) {
        let revisions = self.changes(input);
        if batch {
            let changes: Vec<KeyChange> = revisions.into_iter().flatten().collect();
            self.hub.changes(self.world.revision, &changes);
        } else {
            for changes in revisions {
                self.hub.changes(changes[0].kv.mod_revision, &changes);
            }
        }
    }

    fn changes(&mut self, input: &str) -> Vec<Vec<KeyChange>> {
        input
            .lines()
            .map(|line| self.world.write(&writes(line)))
            .collect()
    }

    fn drain(&mut self) -> String {
        let mut out = String::new();
        self.hub.check();
        while let Some(effect) = self.hub.poll() {
            self.hub.check();
            if let Effect::CatchUp { catch_up, from, to } = effect {
                self.asked = Some((catch_up, from, to));
            }
            writeln!(out, "{effect}").unwrap();
        }
        out
    }

    fn stats(&self) -> String {
        let stats = self.hub.stats();
        let deadline = self
            .hub
            .deadline()
            .map_or("none".into(), |at| format!("{} ms", at.0));
        format!(
            "{} streams, {} watchers, {} lagging, {} events sent, deadline {deadline}",
            stats.streams, stats.watchers, stats.unsynced, stats.events_sent
        )
    }
}

fn writes(line: &str) -> Vec<(Bytes, Option<Bytes>)> {
    let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    line.split(' ')
        .map(|word| match word.split_once('=') {
            Some((key, value)) => (bytes(key), Some(bytes(value))),
            None => (
                bytes(word.strip_prefix('-').expect("key=value or -key")),
                None,
            ),
        })
        .collect()
}

fn create(command: &Command) -> WatchCreate {
    // As on the wire: `end=0` stands for the one zero byte that means "and all behind".
    let end: String = command.or("end", String::new());
    let end = if end == "0" { "\0".into() } else { end };
    let range = KeyRange::of(command.or("key", String::new()).into(), end.into());
    WatchCreate {
        id: WatchId(command.or("id", 0)),
        start_revision: command.or("start", 0),
        progress_notify: command.flag("progress"),
        no_put: command.flag("no_put"),
        no_delete: command.flag("no_delete"),
        prev_kv: command.flag("prev_kv"),
        fragment: command.flag("fragment"),
        ..watch(range)
    }
}
