//! Clients of v2: comparisons, nodes in order, directories, times-to-live, and waits; and followers
//! who stream everything and go on where they were.

use crate::client::Client;
use crate::framing::Frame;
use crate::rng::Rng;
use crate::scenario::settings::settings;
use crate::scenario::units::{Count, Counts, Times};
use crate::time;
use crate::trace;
use crate::v2_calls::{
    V2_KEYS, V2Event, V2Followed, V2Life, V2Operation, V2Reply, decode_reply, encode_request,
};
use crate::workload::lease::WAIT_MAX;
use crate::workload::{ClientStarter, Until, Work, job};
use bytes::Bytes;
use detcd_core::v2::Code;
use detcd_service::{KeysMethod, KeysRequest};
use futures::FutureExt;
use std::time::Duration;

settings! {
    /// Clients of the v2 keys API: comparisons, nodes in order, directories, times-to-live, waits,
    /// and streams that go on where they were.
    pub struct V2 {
        /// How many clients.
        pub clients: Count [1..=1000] = 4,
        /// How many clients stream every event.
        pub followers: Count [1..=1000] = 2,
        /// How many files they share.
        keys: Count [1..=1000] = 3,
        /// Requests of each client.
        ops: Count [1..=10_000] = 60,
        /// Time-to-live of nodes, in seconds; drawn for each.
        ttl_s: Counts [1..=600] = (2, 4),
        /// What a client waits between two requests.
        pause: Times = ("0ms", "150ms"),
        /// What a client waits for an answer.
        timeout: Times = ("2s", "6s"),
        /// How long a follower stays with a member.
        stays: Times = ("300ms", "4s"),
    }
}

impl Work for V2 {
    fn start(&self, name: &str, clients: &mut dyn ClientStarter) {
        for _ in 0..self.followers.value() {
            let (settings, root) = (self.clone(), format!("/{name}"));
            let run = move |client: Client, until| {
                let follower = Follower::new(settings, client, root);
                follower.run(until).boxed()
            };
            clients.follow("f", Box::new(run));
        }
        for _ in 0..self.clients.value() {
            let (settings, root) = (self.clone(), format!("/{name}"));
            let run = job(async move |client: Client| {
                let rng = client.rng("v2");
                let mut user = User {
                    settings,
                    client,
                    rng,
                    root,
                    made: 0,
                    known: (0, Bytes::new()),
                };
                for _ in 0..user.settings.ops.value() {
                    user.step().await;
                }
            });
            clients.start("u", run);
        }
    }
}

struct User {
    settings: V2,
    client: Client,
    rng: Rng,
    root: String,
    made: u64,
    /// The index and the value that it read last.
    known: (u64, Bytes),
}

impl User {
    async fn step(&mut self) {
        let number = self.rng.index(self.settings.keys.value() as usize);
        let file = format!("{}/k{number}", self.root);
        match self.rng.weighted(&[4, 4, 4, 2, 1, 2, 2, 1, 1, 1]) {
            0 => {
                let value = self.value();
                self.put(file, |set| set.value = value).await;
            }
            1 => drop(self.read(file).await),
            2 => self.compare_and_swap(file).await,
            3 => {
                let value = self.value();
                let queue = format!("{}/queue", self.root);
                let post = KeysRequest {
                    value,
                    ..self.request(KeysMethod::Post, queue)
                };
                self.ask(post).await;
            }
            4 => self.directory().await,
            5 => self.live().await,
            6 => self.wait(file).await,
            7 => {
                // As this member has it.
                let get = self.request(KeysMethod::Get, file);
                self.ask(get).await;
            }
            8 => self.list().await,
            _ => self.come_and_go(number).await,
        }
        let pause = self.settings.pause.pick(&mut self.rng);
        time::sleep(pause).await;
    }

    fn request(&self, method: KeysMethod, path: String) -> KeysRequest {
        KeysRequest::new(method, Bytes::from(path))
    }

    fn value(&mut self) -> Bytes {
        self.made += 1;
        Bytes::from(format!("{}-{}", self.client.name(), self.made))
    }

    async fn ask(&mut self, request: KeysRequest) -> Option<V2Reply> {
        let timeout = self.settings.timeout.pick(&mut self.rng);
        ask(&mut self.client, request, timeout).await
    }

    async fn read(&mut self, path: String) -> Option<V2Reply> {
        let get = KeysRequest {
            quorum: true,
            ..self.request(KeysMethod::Get, path)
        };
        let reply = self.ask(get).await;
        if let Some(V2Reply::Done { event, .. }) = &reply
            && let Some(value) = &event.node.value
        {
            self.known = (event.index(), value.clone());
        }
        reply
    }

    /// Swaps what it has just read, or what it read of another file before.
    async fn compare_and_swap(&mut self, file: String) {
        if self.rng.chance(0.6) {
            self.read(file.clone()).await;
        }
        let (prev_index, prev_value) = self.known.clone();
        if prev_index == 0 {
            return;
        }
        let value = self.value();
        let by_value = self.rng.chance(0.5);
        let swap = KeysRequest {
            value,
            prev_index,
            prev_value: if by_value { prev_value } else { Bytes::new() },
            ..self.request(KeysMethod::Put, file)
        };
        self.ask(swap).await;
    }

    async fn put(&mut self, path: String, with: impl FnOnce(&mut KeysRequest)) -> Option<V2Reply> {
        let mut put = self.request(KeysMethod::Put, path);
        with(&mut put);
        self.ask(put).await
    }

    async fn directory(&mut self) {
        let directory = format!("{}/d-{}", self.root, self.client.name());
        for name in ["a", "b/c"] {
            let value = self.value();
            let path = format!("{directory}/{name}");
            self.put(path, |set| set.value = value).await;
        }
        let delete = KeysRequest {
            recursive: self.rng.chance(0.7),
            dir: self.rng.chance(0.5),
            ..self.request(KeysMethod::Delete, directory)
        };
        self.ask(delete).await;
    }

    /// Looks at everything, or at what lies at the top.
    async fn list(&mut self) {
        let get = KeysRequest {
            quorum: self.rng.chance(0.5),
            recursive: self.rng.chance(0.5),
            ..self.request(KeysMethod::Get, self.root.clone())
        };
        self.ask(get).await;
    }

    /// A file that clients create only if it is not there, update only if it is, and delete.
    async fn come_and_go(&mut self, number: usize) {
        let file = format!("{}/c{number}", self.root);
        let value = self.value();
        let exists = self.rng.chance(0.5);
        let put = self.put(file.clone(), |put| {
            put.value = value.clone();
            put.prev_exist = Some(exists);
        });
        put.await;
        if self.rng.chance(0.4) {
            let delete = KeysRequest {
                prev_value: if exists { Bytes::new() } else { value },
                ..self.request(KeysMethod::Delete, file)
            };
            self.ask(delete).await;
        }
    }

    /// Makes a node that ends by itself, gives it more time once in a while, and looks at it until
    /// it is gone.
    async fn live(&mut self) {
        let value = self.value();
        let path = format!("{}/t-{}", self.root, String::from_utf8_lossy(&value));
        let ttl_s = self.rng.range(self.settings.ttl_s.range());
        let is_dir = self.rng.chance(0.3);
        let set = time::now();
        let made = self.put(path.clone(), |put| {
            put.ttl = Some(ttl_s);
            put.dir = is_dir;
            if !is_dir {
                put.value = value;
            }
        });
        let Some(V2Reply::Done { event, .. }) = made.await else {
            return;
        };
        let created = event.node.created;
        let mut life = V2Life {
            client: self.client.name().to_owned(),
            key: Bytes::from(path.clone()),
            ttl_s,
            set,
            begun: time::now(),
            seen: None,
            gone: None,
        };
        if is_dir {
            let value = self.value();
            self.put(format!("{path}/file"), |put| put.value = value)
                .await;
        }
        let mut refreshes = self.rng.range(0..=1) * u64::from(!is_dir);
        let give_up = set + WAIT_MAX;
        while life.gone.is_none() && time::now() < give_up {
            let called = time::now();
            match self.read(path.clone()).await {
                // A directory that ended before it got its file is made anew by the file, for ever.
                Some(V2Reply::Done { event, .. }) if event.node.created == created => {
                    life.seen = Some(called);
                }
                Some(_) => life.gone = Some(time::now()),
                None => {}
            }
            time::sleep(Duration::from_millis(self.rng.range(50..=400))).await;
            if refreshes > 0 && life.gone.is_none() && self.rng.chance(0.3) {
                refreshes -= 1;
                self.refresh(&path, &mut life).await;
            }
        }
        if life.gone.is_some() {
            trace::mark("v2.expired");
        }
        self.client.note(|history| history.v2.lives.push(life));
    }

    /// Gives a node its time anew.
    async fn refresh(&mut self, path: &str, life: &mut V2Life) {
        let called = time::now();
        let refreshed = self.put(path.to_owned(), |put| {
            put.ttl = Some(life.ttl_s);
            put.refresh = true;
            put.prev_exist = Some(true);
        });
        if let Some(V2Reply::Done { .. }) = refreshed.await {
            life.set = called;
            trace::mark("v2.refreshed");
        }
        life.begun = time::now();
    }

    /// Waits for what comes after the index that it knows.
    async fn wait(&mut self, file: String) {
        let wait = KeysRequest {
            wait: true,
            wait_index: self.known.0 + 1,
            ..self.request(KeysMethod::Get, file)
        };
        if let Some(V2Reply::Done { .. }) = self.ask(wait).await {
            trace::mark("v2.waited");
        }
    }
}

/// Asks once and writes it down.
async fn ask(client: &mut Client, request: KeysRequest, timeout: Duration) -> Option<V2Reply> {
    let called = time::now();
    trace::event("v2.call", format_args!("{} {request:?}", client.name()));
    let answer = client.v2(&request, timeout).await;
    trace::event("v2.done", format_args!("{} {answer:?}", client.name()));
    let is_broken = answer.is_err();
    let operation = V2Operation {
        client: client.name().to_owned(),
        called,
        ended: time::now(),
        request,
        reply: answer.ok(),
    };
    let reply = operation.reply.clone();
    client.note(|history| history.v2.operations.push(operation));
    if is_broken {
        client.recover().await;
    }
    reply
}

struct Follower {
    settings: V2,
    client: Client,
    rng: Rng,
    root: String,
    next: u64,
    followed: V2Followed,
}

impl Follower {
    fn new(settings: V2, client: Client, root: String) -> Follower {
        let rng = client.rng("v2-follower");
        let followed = V2Followed {
            client: client.name().to_owned(),
            ..V2Followed::default()
        };
        Follower {
            settings,
            client,
            rng,
            root,
            next: 1,
            followed,
        }
    }

    async fn run(mut self, mut until: Until) {
        while until.borrow_and_update().is_none() {
            let stays = self.settings.stays.pick(&mut self.rng);
            self.follow(stays).await;
        }
        let end = self.write_end().await;
        while self.next <= end {
            self.follow(Duration::from_secs(5)).await;
        }
        self.followed.end = Some(end);
        self.client
            .note(|history| history.v2.followed.push(self.followed));
    }

    /// Writes the last thing that it is to be told of; the cluster is whole by then.
    async fn write_end(&mut self) -> u64 {
        let path = format!("{}/end-{}", self.root, self.client.name());
        loop {
            let put = KeysRequest::new(KeysMethod::Put, Bytes::from(path.clone()));
            let reply = ask(&mut self.client, put, Duration::from_secs(5)).await;
            if let Some(V2Reply::Done { index, .. }) = reply {
                return index;
            }
        }
    }

    /// Streams from one member for a while.
    async fn follow(&mut self, stays: Duration) {
        let leave_at = time::now() + stays;
        let watch = KeysRequest {
            wait: true,
            stream: true,
            recursive: true,
            wait_index: self.next,
            // Everything: indexes are those of the whole tree.
            ..KeysRequest::new(KeysMethod::Get, Bytes::new())
        };
        let mut stream = self.client.open_encoded(V2_KEYS);
        if stream.sender().send(encode_request(&watch)).await.is_ok() {
            loop {
                let left = leave_at.saturating_sub(time::now());
                let received = detcd_rt::timeout(left, stream.recv()).await;
                let Ok(Some(Ok(frame))) = received else { break };
                let Frame::Message(message) = Frame::decode(frame) else {
                    break;
                };
                match decode_reply(&message).expect("a server encodes what it sends") {
                    V2Reply::Watching { .. } => {}
                    V2Reply::Done { event, .. } => self.take(*event),
                    V2Reply::Refused { code, index } => {
                        if code == Code::EventIndexCleared as u16 {
                            self.followed.gaps.push((self.next, index + 1));
                            self.next = index + 1;
                        }
                        break;
                    }
                }
            }
        }
        trace::mark("v2.resumed");
        self.client.recover().await;
    }

    fn take(&mut self, event: V2Event) {
        self.next = self.next.max(event.index() + 1);
        self.followed.events.push(event);
    }
}
