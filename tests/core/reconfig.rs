//! What members decide about the membership, as transcripts (`tests/core/reconfig/*.txt`), each a
//! story. The first command of a file chooses the machine.

mod transcript;

use detcd_core::api::{Member, MemberId, Millis};
use detcd_core::error::Error;
use detcd_core::membership::{
    AcknowledgedEntries, AppendReply, ChangeRequest, ClusterState, EngineLeader, EntryId, HandOver,
    LeaderEvent, LeaderLiveness, LeaderReply, LeaderTerm, LeaderTransfer, LeaderView, LogEnd,
    LogSize, LostEntries, MembershipChange, MembershipLeader, PeerAddresses, ProposalOutcome,
    PurgeDeferral, RequestEvent, RequestView, TransferView,
};
use std::collections::BTreeSet;
use std::fmt::Display;
use transcript::Command;

#[test]
fn transcripts() {
    transcript::run("reconfig", || {
        let mut session = Session::default();
        move |command: &Command| session.run(command)
    });
}

/// A machine, its clock, and what it sees. `see` changes what is seen; every other command is one
/// event at the time `at=…`, which then stands. After it the machine is drained.
#[derive(Default)]
struct Session {
    machine: Option<Machine>,
    now: Millis,
    deadline: Option<Millis>,
}

enum Machine {
    Leader(MembershipLeader, LeaderView),
    Request(ChangeRequest, RequestView),
    Transfer(LeaderTransfer, TransferView),
    HandOver(HandOver, Others),
    Liveness(LeaderLiveness, EngineLeader),
    Entries(AcknowledgedEntries, LostEntries),
    Purge(PurgeDeferral, Vec<Millis>),
    Addresses(PeerAddresses),
}

/// What a leader that stops sees of the others.
#[derive(Default)]
struct Others {
    leader: Option<MemberId>,
    ready: BTreeSet<MemberId>,
    connected: BTreeSet<MemberId>,
}

impl Session {
    fn run(&mut self, c: &Command) -> String {
        self.now = c.get("at").map_or(self.now, Millis);
        if let Some(machine) = start(c, self.now) {
            self.machine = Some(machine);
            self.deadline = None;
        }
        let machine = self.machine.as_mut();
        let machine = machine.unwrap_or_else(|| panic!("{}: no machine", c.at));
        let mut out = match machine {
            Machine::Leader(leader, view) => on_leader(leader, view, self.now, c),
            Machine::Request(request, view) => on_request(request, view, self.now, c),
            Machine::Transfer(transfer, view) => on_transfer(transfer, view, self.now, c),
            Machine::HandOver(hand_over, others) => on_hand_over(hand_over, others, self.now, c),
            Machine::Liveness(liveness, engine) => on_liveness(liveness, engine, self.now, c),
            Machine::Entries(leader, follower) => on_entries(leader, follower, c),
            Machine::Purge(purge, begun) => on_purge(purge, begun, self.now, c),
            Machine::Addresses(addresses) => on_addresses(addresses, c),
        };
        let deadline = match machine {
            Machine::Leader(leader, _) => Some(leader.deadline()),
            Machine::Request(request, _) => request.deadline(),
            Machine::Transfer(transfer, _) => transfer.deadline(),
            Machine::HandOver(hand_over, _) => hand_over.deadline(),
            _ => None,
        };
        if deadline != self.deadline {
            self.deadline = deadline;
            out += &match deadline {
                Some(Millis(ms)) => format!("wake at {ms}\n"),
                None => "sleep\n".into(),
            };
        }
        out
    }
}

fn start(c: &Command, now: Millis) -> Option<Machine> {
    let id = MemberId(c.or("id", 1));
    let election = Millis(c.or("election", 1000));
    Some(match c.name.as_str() {
        "leader" => {
            let pace = Millis(c.or("pace", 100));
            let leader = MembershipLeader::new(id, election, pace);
            Machine::Leader(leader, LeaderView::default())
        }
        "ask" => {
            let deadline = now + Millis(c.or("timeout", 7000));
            let request = ChangeRequest::new(id, change(c), deadline);
            Machine::Request(request, RequestView::default())
        }
        "transfer" => {
            let to = MemberId(c.need("to"));
            let timeout = Millis(c.or("timeout", 7000));
            let transfer = LeaderTransfer::new(id, to, now, timeout, election);
            Machine::Transfer(transfer, TransferView::default())
        }
        "hand-over" => {
            let successors = ids(c, "to").into_iter().collect();
            let hand_over = HandOver::new(id, successors, now, election);
            Machine::HandOver(hand_over, Others::default())
        }
        "liveness" => Machine::Liveness(LeaderLiveness::new(election), EngineLeader::default()),
        "entries" => Machine::Entries(AcknowledgedEntries::default(), LostEntries::default()),
        "purge" => {
            let log_bytes_min = c.or("log-min", 1024) << 20;
            let away_log_bytes_max = c.or("away-max", 0) << 20;
            let purge = PurgeDeferral::new(log_bytes_min, away_log_bytes_max);
            Machine::Purge(purge, Vec::new())
        }
        "addresses" => Machine::Addresses(PeerAddresses::new(id)),
        _ => return None,
    })
}

fn on_leader(
    leader: &mut MembershipLeader,
    view: &mut LeaderView,
    now: Millis,
    c: &Command,
) -> String {
    let event = match c.name.as_str() {
        "leader" => return String::new(),
        "see" => {
            see(view, c);
            return String::new();
        }
        "tick" => LeaderEvent::Tick,
        "stopped" => LeaderEvent::Stopped,
        "request" => LeaderEvent::Requested {
            ticket: c.word(0),
            change: change(c),
            strict: !c.flag("lax"),
            deadline: now + Millis(c.or("timeout", 7000)),
        },
        "confirmed" => LeaderEvent::Confirmed {
            ticket: c.word(0),
            index: Some(c.need("index")),
        },
        "unconfirmed" => LeaderEvent::Confirmed {
            ticket: c.word(0),
            index: None,
        },
        "proposed" => LeaderEvent::Proposed {
            number: c.word(0),
            outcome: match c.word::<String>(1).as_str() {
                "made" => ProposalOutcome::Made,
                "superseded" => ProposalOutcome::Superseded,
                "not-leader" => ProposalOutcome::NotLeader,
                "not-ready" => ProposalOutcome::NotReady,
                "nobody-left" => ProposalOutcome::NobodyLeft,
                "unknown" => ProposalOutcome::Unknown,
                other => panic!("{}: unknown outcome {other}", c.at),
            },
        },
        other => panic!("{}: unknown command {other}", c.at),
    };
    leader.handle(now, event, view);
    leader.check();
    drain(|| leader.poll())
}

/// `see lead members=1,2,3 learners=4 unstarted=5 voters=1,2,3 entry=9 newest=9 joint active=2,3
/// has=2:10 last=10 applied=10`: what is not named stays.
fn see(view: &mut LeaderView, c: &Command) {
    view.is_leader = (view.is_leader || c.flag("lead")) && !c.flag("follow");
    view.lacks_quorum = (view.lacks_quorum || c.flag("no-quorum")) && !c.flag("quorum");
    view.is_joint = (view.is_joint || c.flag("joint")) && !c.flag("settled");
    view.applied = c.or("applied", view.applied);
    let entry = |index| EntryId { term: 1, index };
    if let Some(index) = c.get("entry") {
        (view.membership, view.newest) = (Some(entry(index)), Some(entry(index)));
    }
    if let Some(index) = c.get("newest") {
        view.newest = Some(entry(index));
    }
    let cluster = &mut view.cluster;
    see_cluster(cluster, c);
    if c.get::<String>("active").is_some() {
        cluster.replication.active = ids(c, "active");
    }
    for pair in c.list::<String>("has") {
        let (id, index) = pair.split_once(':').expect("member:index");
        let matched = &mut cluster.replication.matched;
        matched.insert(MemberId(id.parse().unwrap()), index.parse().unwrap());
    }
    cluster.replication.last_log_index = c.or("last", cluster.replication.last_log_index);
}

fn see_cluster(cluster: &mut ClusterState, c: &Command) {
    cluster.own_id = MemberId(1);
    cluster.strict = true;
    if c.get::<String>("members").is_some() {
        let (learners, unstarted) = (ids(c, "learners"), ids(c, "unstarted"));
        let members = ids(c, "members").into_iter().map(|id| Member {
            name: match unstarted.contains(&id) {
                true => String::new(),
                false => format!("m{id}"),
            },
            is_learner: learners.contains(&id),
            ..newcomer(id)
        });
        cluster.members = members.collect();
        cluster.voters = ids(c, "members").difference(&learners).copied().collect();
    }
    if c.get::<String>("voters").is_some() {
        cluster.voters = ids(c, "voters");
    }
    if c.get::<String>("removed").is_some() {
        cluster.removed = ids(c, "removed");
    }
}

fn on_request(
    request: &mut ChangeRequest,
    view: &mut RequestView,
    now: Millis,
    c: &Command,
) -> String {
    let event = match c.name.as_str() {
        "ask" => return String::new(),
        "see" => {
            if c.flag("leaderless") {
                view.leader = None;
            }
            view.leader = c.get("leader").map(MemberId).or(view.leader);
            see_cluster(&mut view.cluster, c);
            if c.get::<String>("connected").is_some() {
                view.cluster.replication.active = ids(c, "connected");
            }
            return String::new();
        }
        "tick" => RequestEvent::Tick,
        "reply" => RequestEvent::Replied(match c.word::<String>(0).as_str() {
            "made" => LeaderReply::Made(view.cluster.members.clone()),
            "not-leader" => LeaderReply::NotLeader,
            "unhealthy" => LeaderReply::Failed(Error::Unhealthy),
            "unknown" => LeaderReply::Failed(Error::TimeoutLeaderLost),
            "unreachable" => LeaderReply::Unreachable,
            "lost" => LeaderReply::Lost,
            "unreadable" => LeaderReply::Unreadable,
            other => panic!("{}: unknown reply {other}", c.at),
        }),
        other => panic!("{}: unknown command {other}", c.at),
    };
    request.handle(now, event, view);
    drain(|| request.poll())
}

fn on_transfer(
    transfer: &mut LeaderTransfer,
    view: &mut TransferView,
    now: Millis,
    c: &Command,
) -> String {
    match c.name.as_str() {
        "transfer" => return String::new(),
        "see" => {
            if c.flag("leaderless") {
                view.leader = None;
            }
            view.leader = c.get("leader").map(MemberId).or(view.leader);
            view.is_ready = (view.is_ready || c.flag("ready")) && !c.flag("unready");
            return String::new();
        }
        "tick" => {}
        other => panic!("{}: unknown command {other}", c.at),
    }
    transfer.handle(now, view);
    drain(|| transfer.poll())
}

fn on_hand_over(hand_over: &mut HandOver, others: &mut Others, now: Millis, c: &Command) -> String {
    match c.name.as_str() {
        "hand-over" => return drain(|| hand_over.poll()),
        "see" => {
            if c.flag("leaderless") {
                others.leader = None;
            }
            others.leader = c.get("leader").map(MemberId).or(others.leader);
            if c.get::<String>("ready").is_some() {
                others.ready = ids(c, "ready");
            }
            if c.get::<String>("connected").is_some() {
                others.connected = ids(c, "connected");
            }
            return String::new();
        }
        "tick" => {}
        other => panic!("{}: unknown command {other}", c.at),
    }
    if let Some(to) = hand_over.to() {
        let view = TransferView {
            leader: others.leader,
            is_ready: others.ready.contains(&to),
            is_connected: others.connected.contains(&to),
        };
        hand_over.handle(now, &view);
    }
    drain(|| hand_over.poll())
}

fn on_liveness(
    liveness: &mut LeaderLiveness,
    engine: &mut EngineLeader,
    now: Millis,
    c: &Command,
) -> String {
    match c.name.as_str() {
        "liveness" => return String::new(),
        "heard" => liveness.heard_from(now, MemberId(c.word(0))),
        "follow" => {
            *engine = EngineLeader {
                leader: Some(MemberId(c.word(0))),
                ..EngineLeader::default()
            }
        }
        "lead" => {
            *engine = EngineLeader {
                leader: Some(MemberId(1)),
                is_leader: true,
                quorum_acked: None,
            }
        }
        "acked" => engine.quorum_acked = Some(Millis(c.or("since", now.0))),
        "leaderless" => *engine = EngineLeader::default(),
        "look" => {}
        other => panic!("{}: unknown command {other}", c.at),
    }
    match liveness.leader(now, engine) {
        Some(leader) => format!("leader {leader}\n"),
        None => "no leader\n".into(),
    }
}

fn on_entries(leader: &mut AcknowledgedEntries, follower: &mut LostEntries, c: &Command) -> String {
    let member = || MemberId(c.need("from"));
    let to = || LeaderTerm {
        term: c.need("term"),
        leader: MemberId(1),
    };
    let log = || LogEnd {
        next: c.need("log-end"),
        follows_newer: c.flag("newer"),
    };
    match c.name.as_str() {
        "entries" => String::new(),
        "acked" => {
            let reply = match c.get("sent") {
                Some(sent) => AppendReply::Conflict { sent },
                None => AppendReply::Has(c.need("before")),
            };
            match leader.note(member(), to(), reply) {
                true => "taken\n".into(),
                false => "denies what it has acknowledged\n".into(),
            }
        }
        "tell" => format!("before {}\n", leader.next_of(member(), to())),
        "append" => format!("{:?}\n", follower.on_append(c.need("acknowledged"), log())),
        "confirmed" => {
            let asked = follower.on_confirmed(c.need("acknowledged"), c.word(0), log());
            format!("{asked:?}\n")
        }
        "no-answer" => {
            follower.on_no_answer();
            String::new()
        }
        other => panic!("{}: unknown command {other}", c.at),
    }
}

fn on_purge(
    purge: &mut PurgeDeferral,
    begun: &mut Vec<Millis>,
    now: Millis,
    c: &Command,
) -> String {
    match c.name.as_str() {
        "purge" => {}
        "begin" => {
            purge.begin();
            begun.push(now);
        }
        "end" => purge.end(begun.remove(0), now),
        "wanted" => {
            let mib = |name| c.or(name, 0) << 20;
            let log = LogSize {
                entries: c.or("entries", 1),
                bytes: mib("log"),
            };
            return match purge.may_purge(now, log, mib("state"), c.flag("away")) {
                true => "purged\n".into(),
                false => "deferred\n".into(),
            };
        }
        other => panic!("{}: unknown command {other}", c.at),
    }
    String::new()
}

fn on_addresses(addresses: &mut PeerAddresses, c: &Command) -> String {
    let members = |key: &str| -> Vec<Member> {
        let member = |text: &String| {
            let (id, host) = text.split_once('@').expect("member@host");
            Member {
                peer_urls: vec![format!("http://{host}")],
                ..newcomer(MemberId(id.parse().unwrap()))
            }
        };
        c.list::<String>(key).iter().map(member).collect()
    };
    match c.name.as_str() {
        "addresses" => {
            let given = members("given");
            let mut effects = addresses.start(&given, &members("applied")).into_iter();
            drain(|| effects.next())
        }
        "follow" => {
            let (newest, committed) = (members("newest"), members("committed"));
            let mut effects = addresses.follow(&[&newest, &committed]).into_iter();
            drain(|| effects.next())
        }
        other => panic!("{}: unknown command {other}", c.at),
    }
}

fn change(c: &Command) -> MembershipChange {
    let of = |key: &str| c.get(key).map(MemberId);
    if let Some(id) = of("add") {
        return MembershipChange::Add(newcomer(id));
    }
    if let Some(id) = of("add-learner") {
        let learner = Member {
            is_learner: true,
            ..newcomer(id)
        };
        return MembershipChange::Add(learner);
    }
    if let Some(id) = of("update") {
        let peer_urls = vec!["http://moved:2380".to_owned()];
        return MembershipChange::Update { id, peer_urls };
    }
    if let Some(id) = of("promote") {
        return MembershipChange::Promote(id);
    }
    MembershipChange::Remove(MemberId(c.need("remove")))
}

fn newcomer(id: MemberId) -> Member {
    Member {
        id,
        peer_urls: vec![format!("http://m{id}:2380")],
        ..Member::default()
    }
}

fn ids(c: &Command, key: &str) -> BTreeSet<MemberId> {
    c.list(key).into_iter().map(MemberId).collect()
}

fn drain<T: Display>(mut poll: impl FnMut() -> Option<T>) -> String {
    let mut out = String::new();
    while let Some(effect) = poll() {
        out += &format!("{effect}\n");
    }
    out
}
