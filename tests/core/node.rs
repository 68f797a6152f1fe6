//! What a node decides, as transcripts (`tests/core/node/*.txt`) and as laws.

#[path = "node/laws.rs"]
mod laws;
mod transcript;

use bytes::Bytes;
use detcd_core::api::{
    Alarm, AlarmKind, ChangeKind, KeyChange, KeyRange, KeyValue, LeaseId, LeaseInfo, MemberId,
    Millis, Outcome, Reply, StreamId, WatchCreate, WatchId, WatchRequest,
};
use detcd_core::error::Error;
use detcd_core::event::{Applied, Asker, CaughtUp, Event, LeaseChange, Seq, V2State};
use detcd_core::node::{Node, NodeConfig, OWN_SEQ};
use detcd_core::watch::Budget;
use transcript::Command;

#[test]
fn transcripts() {
    transcript::run("node", || {
        let mut session = Session::start(None);
        move |command: &Command| session.run(command)
    });
}

/// A node, its clock, and when it last wanted to be woken.
///
/// Every command is one event (or several, where it takes lists) at the time `at=…`, which then
/// stands. After it the node is drained, unless the command says `hold`, and what came out is
/// shown, with the new deadline if it moved.
struct Session {
    node: Node,
    now: Millis,
    deadline: Option<Millis>,
    index: u64,
    revision: i64,
}

impl Session {
    fn start(command: Option<&Command>) -> Session {
        let option = |key: &str, default: u64| command.map_or(default, |c| c.or(key, default));
        let config = NodeConfig {
            id: MemberId(option("id", 1)),
            request_timeout: Millis(option("timeout", 7000)),
            election_timeout: Millis(option("election", 1000)),
            watch_progress_interval: Millis(600_000),
            fragment_bytes: 2 * 1024 * 1024,
            quota_bytes: command.and_then(|c| c.get("quota")),
            first_own_seq: Seq(OWN_SEQ),
        };
        let leases = command.map_or(Vec::new(), |c| leases(&c.list("leases")));
        let index = option("applied", 0);
        Session {
            node: Node::new(config, (&leases, &[], &V2State::default()), 1, 0, index),
            now: Millis(0),
            deadline: None,
            index,
            revision: 1,
        }
    }

    fn run(&mut self, command: &Command) -> String {
        if command.name == "start" {
            *self = Session::start(Some(command));
            return String::new();
        }
        self.now = command.get("at").map_or(self.now, Millis);
        for event in self.events(command) {
            self.node.handle(self.now, event);
        }
        self.node.check();
        if command.flag("hold") {
            return String::new();
        }
        let mut out = String::new();
        while let Some(effect) = self.node.poll() {
            self.node.check();
            out += &format!("{effect}\n");
        }
        let mut budget = match command.get("budget") {
            Some(work) => Budget::new(work),
            None => Budget::UNLIMITED,
        };
        while let Some(effect) = self.node.poll_watches(&mut budget) {
            self.node.check();
            out += &format!("{effect}\n");
        }
        if budget.is_spent() {
            out += "watchers wait\n";
        }
        let deadline = self.node.deadline();
        if deadline != self.deadline {
            self.deadline = deadline;
            out += &match deadline {
                Some(Millis(ms)) => format!("wake at {ms}\n"),
                None => "sleep\n".into(),
            };
        }
        out
    }

    fn events(&mut self, c: &Command) -> Vec<Event> {
        let seqs = || -> Vec<Seq> {
            let words = c.words().iter().filter(|word| *word != "hold");
            words.map(|word| Seq(word.parse().unwrap())).collect()
        };
        let each = |event: &dyn Fn(Seq) -> Event| seqs().into_iter().map(event).collect();
        match c.name.as_str() {
            "tick" => vec![Event::Tick],
            "write" => {
                let command = Bytes::from(vec![b'x'; c.or("bytes", 1)]);
                each(&|seq| Event::Write {
                    seq,
                    command: command.clone(),
                    growth: c.or("grows", 0),
                })
            }
            // `writes 1 1000`: as many, without naming each.
            "writes" => (c.word(0)..=c.word(1))
                .map(|seq| Event::Write {
                    seq: Seq(seq),
                    command: Bytes::from_static(b"x"),
                    growth: c.or("grows", 0),
                })
                .collect(),
            "size" => vec![Event::StoreSize { bytes: c.word(0) }],
            "read" => each(&|seq| Event::Read { seq }),
            "forget" => each(&|seq| Event::Forget { seq }),
            "not-proposed" => vec![Event::NotProposed { seqs: seqs() }],
            "revokes-refused" => vec![Event::RevokesRefused {
                leases: seqs()
                    .into_iter()
                    .map(|Seq(id)| LeaseId(id as i64))
                    .collect(),
            }],
            "lost" => vec![Event::ProposalsLost { seqs: seqs() }],
            "confirm" => vec![Event::ReadConfirmed {
                round: c.need("round"),
                index: c.need("index"),
            }],
            "fail" => vec![Event::ReadFailed {
                round: c.need("round"),
            }],
            "committed" => vec![Event::Committed { index: c.word(0) }],
            "apply" => vec![self.apply(c)],
            "restore" => {
                self.index = c.need("index");
                self.revision = c.or("revision", self.revision);
                vec![Event::Restored {
                    index: self.index,
                    revision: self.revision,
                    compact_revision: 0,
                    leases: leases(&c.list("leases")),
                    alarms: Vec::new(),
                    v2: V2State::default(),
                    auth: Default::default(),
                }]
            }
            "lead" => vec![Event::Role {
                term: c.need("term"),
                leader: None,
                is_leader: true,
            }],
            "follow" => {
                let leader = Some(MemberId(c.word(0)));
                vec![Event::Role {
                    term: c.need("term"),
                    leader,
                    is_leader: false,
                }]
            }
            "leaderless" => {
                vec![Event::Role {
                    term: c.need("term"),
                    leader: None,
                    is_leader: false,
                }]
            }
            "acked" => vec![Event::QuorumAcked {
                since: Millis(c.or("since", self.now.0)),
            }],
            "keep-alive" => {
                let lease = LeaseId(c.need("lease"));
                vec![Event::KeepAlive {
                    asker: asker(c),
                    lease,
                }]
            }
            "time-to-live" => {
                let lease = LeaseId(c.need("lease"));
                vec![Event::TimeToLive {
                    asker: asker(c),
                    lease,
                }]
            }
            "lease-answer" => vec![Event::LeaseAnswer {
                seq: Seq(c.word(0)),
                result: answer(c),
            }],
            "open" => vec![Event::WatchOpen {
                stream: StreamId(c.word(0)),
            }],
            "watch" => vec![Event::WatchRequest {
                stream: StreamId(c.word(0)),
                request: watch(c),
                principal: None,
            }],
            "close" => vec![Event::WatchClose {
                stream: StreamId(c.word(0)),
            }],
            "caught-up" => {
                let (through, key) = (c.need("through"), c.need("key"));
                let changes = vec![put(key, through)];
                vec![Event::CaughtUp {
                    catch_up: c.word(0),
                    result: Ok(CaughtUp { through, changes }),
                }]
            }
            other => panic!("{}: unknown command {other}", c.at),
        }
    }

    /// `full=SEQ` and `disarmed=SEQ` are entries that raise and disarm this member's alarm.
    ///
    /// `apply own=1,2 other=3 put=a,b compact=5 grant=7:60 revoke=8 term=1`: one entry each, or an empty one.
    fn apply(&mut self, c: &Command) -> Event {
        let me = MemberId(1);
        let mut entries = Vec::new();
        for seq in c.list("own") {
            entries.push(self.entry(Some((me, Seq(seq))), None));
        }
        for seq in c.list("other") {
            entries.push(self.entry(Some((MemberId(2), Seq(seq))), None));
        }
        for key in c.list::<String>("put") {
            let mut entry = self.entry(None, None);
            entry.changes = vec![put(key, self.revision)];
            entries.push(entry);
        }
        let alarm = Alarm {
            member: me,
            kind: AlarmKind::NoSpace,
        };
        for (word, reply) in [
            ("full", Reply::AlarmRaise(alarm)),
            ("disarmed", Reply::AlarmDisarm(Some(alarm))),
        ] {
            if let Some(seq) = c.get(word) {
                let mut entry = self.entry(Some((me, Seq(seq))), None);
                entry.outcome.result = Ok(reply);
                entries.push(entry);
            }
        }
        if let Some(compacted) = c.get("compact") {
            let (revision, result) = (self.revision, Ok(Reply::Compact));
            entries.push(Applied {
                origin: None,
                outcome: Outcome { revision, result },
                changes: Vec::new(),
                lease: None,
                compacted: Some(compacted),
                v2: None,
                auth: None,
            });
        }
        for (id, ttl) in leases(&c.list("grant")) {
            entries.push(self.entry(None, Some(LeaseChange::Granted { id, ttl })));
        }
        for id in c.list("revoke") {
            let id = LeaseId(id);
            entries.push(self.entry(None, Some(LeaseChange::Revoked { id })));
        }
        self.index = c.or("index", self.index + entries.len().max(1) as u64);
        let (index, term, revision) = (self.index, c.need("term"), self.revision);
        Event::Applied {
            index,
            term,
            revision,
            entries,
        }
    }

    fn entry(&mut self, origin: Option<(MemberId, Seq)>, lease: Option<LeaseChange>) -> Applied {
        let result = match lease {
            Some(LeaseChange::Granted { id, ttl }) => Ok(Reply::LeaseGrant { id, ttl }),
            Some(LeaseChange::Revoked { .. }) => Ok(Reply::LeaseRevoke),
            None => {
                self.revision += 1;
                Ok(Reply::Put(Default::default()))
            }
        };
        let outcome = Outcome {
            revision: self.revision,
            result,
        };
        Applied {
            origin,
            outcome,
            changes: Vec::new(),
            lease,
            compacted: None,
            v2: None,
            auth: None,
        }
    }
}

fn put(key: String, revision: i64) -> KeyChange {
    let kv = KeyValue {
        key: key.into(),
        value: Bytes::from_static(b"v"),
        mod_revision: revision,
        ..KeyValue::default()
    };
    KeyChange {
        kind: ChangeKind::Put,
        kv,
        prev_kv: None,
    }
}

fn watch(c: &Command) -> WatchRequest {
    WatchRequest::Create(WatchCreate {
        id: WatchId(0),
        range: KeyRange::One(c.need::<String>("key").into()),
        start_revision: c.or("from", 0),
        progress_notify: c.flag("progress"),
        no_put: false,
        no_delete: false,
        prev_kv: false,
        fragment: false,
    })
}

/// `7:60`: lease 7 of 60 seconds; `1..100:60`: a hundred of them.
fn leases(texts: &[String]) -> Vec<(LeaseId, i64)> {
    let mut leases = Vec::new();
    for text in texts {
        let (ids, ttl) = text.split_once(':').expect("lease:ttl");
        let (first, last) = ids.split_once("..").unwrap_or((ids, ids));
        let (first, last): (i64, i64) = (first.parse().unwrap(), last.parse().unwrap());
        let ttl = ttl.parse().unwrap();
        leases.extend((first..=last).map(|id| (LeaseId(id), ttl)));
    }
    leases
}

fn asker(c: &Command) -> Asker {
    match c.get("peer") {
        Some(ticket) => Asker::Peer(ticket),
        None => Asker::Local(Seq(c.word(0))),
    }
}

fn answer(c: &Command) -> Result<LeaseInfo, Error> {
    match c.or("error", String::new()).as_str() {
        "" => Ok(LeaseInfo {
            id: LeaseId(c.need("lease")),
            ttl: c.need("ttl"),
            granted_ttl: c.or("granted", 0),
            keys: Vec::new(),
        }),
        "not-leader" => Err(Error::NotLeader),
        "connection-lost" => Err(Error::TimeoutConnectionLost),
        "too-many" => Err(Error::TooManyRequests),
        other => panic!("{}: unknown error {other}", c.at),
    }
}
