//! Laws of the node, under any order of events.
//!
//! The world around the node is a model of its own: an index of what is committed, proposals under
//! way that are refused, lost or applied at most once, read rounds that are answered late, twice
//! or never. Everything is drawn from the case; time only moves where the case says so.

use bytes::Bytes;
use detcd_core::api::{LeaseId, LeaseInfo, MemberId, Millis, Outcome, Reply};
use detcd_core::effect::Effect;
use detcd_core::error::Error;
use detcd_core::event::{Applied, Asker, Event, LeaseChange, Proposals, Seq, V2State};
use detcd_core::node::{Node, NodeConfig, OWN_SEQ};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use std::collections::{BTreeMap, BTreeSet};

const TIMEOUT_MS: u64 = 7000;
const ME: MemberId = MemberId(1);
/// Effects of one drain at most: requests are few here.
const EFFECTS_MAX: usize = 10_000;

/// What a case consists of. Numbers choose among what there is, whatever it is.
#[derive(Clone, Debug)]
enum Step {
    Pass {
        ms: u64,
    },
    Write,
    Read,
    Lease {
        id: i64,
        keep_alive: bool,
        peer: bool,
    },
    Forget {
        which: usize,
    },
    Refuse {
        which: usize,
    },
    Lose {
        which: usize,
    },
    /// Commits and applies the proposal under way, if it is in the log of the current term.
    Apply {
        which: usize,
    },
    ApplyEmpty,
    Grant {
        id: i64,
        ttl: i64,
    },
    Revoke {
        id: i64,
    },
    Confirm {
        which: usize,
    },
    Fail {
        which: usize,
    },
    AnswerLease {
        which: usize,
        ok: bool,
    },
    Role {
        leader: u64,
    },
    Acked {
        ago: u64,
    },
    Restore,
    /// Handle what follows without draining in between.
    Hold,
}

fn step() -> impl Strategy<Value = Step> {
    let which = 0..64usize;
    prop_oneof![
        4 => prop_oneof![0..20u64, 0..1000u64, Just(TIMEOUT_MS)].prop_map(|ms| Step::Pass { ms }),
        6 => Just(Step::Write),
        5 => Just(Step::Read),
        4 => (1..6i64, any::<bool>(), any::<bool>())
            .prop_map(|(id, keep_alive, peer)| Step::Lease { id, keep_alive, peer }),
        1 => which.clone().prop_map(|which| Step::Forget { which }),
        2 => which.clone().prop_map(|which| Step::Refuse { which }),
        2 => which.clone().prop_map(|which| Step::Lose { which }),
        6 => which.clone().prop_map(|which| Step::Apply { which }),
        3 => Just(Step::ApplyEmpty),
        2 => (1..6i64, 2..5i64).prop_map(|(id, ttl)| Step::Grant { id, ttl }),
        1 => (1..6i64).prop_map(|id| Step::Revoke { id }),
        6 => which.clone().prop_map(|which| Step::Confirm { which }),
        2 => which.clone().prop_map(|which| Step::Fail { which }),
        2 => (which, any::<bool>()).prop_map(|(which, ok)| Step::AnswerLease { which, ok }),
        2 => (0..4u64).prop_map(|leader| Step::Role { leader }),
        4 => (0..3000u64).prop_map(|ago| Step::Acked { ago }),
        1 => Just(Step::Restore),
        3 => Just(Step::Hold),
    ]
}

/// A read round that the node asked for.
#[derive(Clone, Copy)]
struct Round {
    number: u64,
    /// What was committed when it was asked: the least index that an honest answer can have.
    committed: u64,
    /// When it was asked, counted in events.
    asked: u64,
    asked_ms: u64,
}

struct World {
    node: Node,
    now: u64,
    /// Counts events.
    clock: u64,
    term: u64,
    index: u64,
    revision: i64,
    next: u64,
    leads: bool,
    /// When each open request arrived: (milliseconds, events).
    open: BTreeMap<u64, (u64, u64)>,
    reads: BTreeSet<u64>,
    /// Requests of other members.
    peers: BTreeSet<u64>,
    /// What was committed when each open read arrived.
    committed_at: BTreeMap<u64, u64>,
    answered: BTreeSet<u64>,
    /// Proposals that may still be refused, lost or applied.
    under_way: Vec<u64>,
    /// How often each write was given away, less how often it was refused.
    sent: BTreeMap<u64, u32>,
    /// Every round that the node asked for.
    rounds: Vec<Round>,
    /// What rounds were told: the proofs that reads rest on.
    confirmed: Vec<(Round, u64)>,
    calls: Vec<u64>,
    leases: BTreeMap<i64, i64>,
    /// The last time at which the quorum is known to have followed.
    acked: u64,
    /// Until when each lease was promised to somebody, or runs from its grant.
    promised: BTreeMap<i64, u64>,
}

impl World {
    fn new() -> World {
        let config = NodeConfig {
            id: ME,
            request_timeout: Millis(TIMEOUT_MS),
            election_timeout: Millis(1000),
            watch_progress_interval: Millis(600_000),
            fragment_bytes: 1024,
            quota_bytes: None,
            first_own_seq: Seq(OWN_SEQ),
        };
        World {
            node: Node::new(config, (&[], &[], &V2State::default()), 1, 0, 0),
            now: 0,
            clock: 0,
            term: 0,
            index: 0,
            revision: 1,
            next: 0,
            leads: false,
            open: BTreeMap::new(),
            reads: BTreeSet::new(),
            peers: BTreeSet::new(),
            committed_at: BTreeMap::new(),
            answered: BTreeSet::new(),
            under_way: Vec::new(),
            sent: BTreeMap::new(),
            rounds: Vec::new(),
            confirmed: Vec::new(),
            calls: Vec::new(),
            leases: BTreeMap::new(),
            acked: 0,
            promised: BTreeMap::new(),
        }
    }

    fn tell(&mut self, event: Event) {
        self.clock += 1;
        self.node.handle(Millis(self.now), event);
        self.node.check();
    }

    fn request(&mut self) -> u64 {
        self.next += 1;
        self.open.insert(self.next, (self.now, self.clock));
        self.next
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Hold => {}
            Step::Pass { ms } => {
                // An answer promises from when it was decided.
                self.drain();
                self.now += ms;
                self.tell(Event::Tick);
            }
            Step::Write => {
                let seq = Seq(self.request());
                self.tell(Event::Write {
                    seq,
                    command: Bytes::from_static(b"x"),
                    growth: 0,
                });
            }
            Step::Read => {
                let seq = self.request();
                self.reads.insert(seq);
                self.committed_at.insert(seq, self.index);
                self.tell(Event::Read { seq: Seq(seq) });
            }
            Step::Lease {
                id,
                keep_alive,
                peer,
            } => self.call(LeaseId(id), keep_alive, peer),
            Step::Forget { which } => {
                // What is decided already is answered; nobody listens to it then.
                self.drain();
                let ours = self.open.keys().filter(|id| !self.peers.contains(id));
                let Some(seq) = pick(&ours.copied().collect::<Vec<_>>(), which) else {
                    return;
                };
                self.open.remove(&seq);
                self.tell(Event::Forget { seq: Seq(seq) });
            }
            Step::Refuse { which } => {
                if let Some(seq) = take(&mut self.under_way, which) {
                    *self.sent.get_mut(&seq).unwrap() -= 1;
                    self.tell(Event::NotProposed {
                        seqs: vec![Seq(seq)],
                    });
                }
            }
            // It may be applied all the same, later.
            Step::Lose { which } => {
                if let Some(seq) = pick(&self.under_way, which) {
                    self.tell(Event::ProposalsLost {
                        seqs: vec![Seq(seq)],
                    });
                }
            }
            Step::Apply { which } => {
                if let Some(seq) = take(&mut self.under_way, which) {
                    self.revision += 1;
                    self.apply(
                        Some((ME, Seq(seq))),
                        Ok(Reply::Put(Default::default())),
                        None,
                    );
                }
            }
            Step::ApplyEmpty => {
                self.index += 1;
                let (index, term, revision) = (self.index, self.term, self.revision);
                self.tell(Event::Applied {
                    index,
                    term,
                    revision,
                    entries: vec![],
                });
            }
            Step::Grant { id, ttl } => self.grant(id, ttl),
            Step::Revoke { id } => self.revoke(id),
            Step::Confirm { which } => {
                if let Some(round) = pick(&self.rounds, which) {
                    let index =
                        round.committed.max(self.index.saturating_sub(1)) + which as u64 % 2;
                    self.confirmed.push((round, index));
                    if self.leads {
                        self.acked = self.acked.max(round.asked_ms);
                    }
                    self.tell(Event::ReadConfirmed {
                        round: round.number,
                        index,
                    });
                }
            }
            Step::Fail { which } => {
                if let Some(round) = pick(&self.rounds, which) {
                    self.tell(Event::ReadFailed {
                        round: round.number,
                    });
                }
            }
            Step::AnswerLease { which, ok } => {
                if let Some(seq) = take(&mut self.calls, which) {
                    let info = LeaseInfo::default();
                    let result = if ok { Ok(info) } else { Err(Error::NotLeader) };
                    self.tell(Event::LeaseAnswer {
                        seq: Seq(seq),
                        result,
                    });
                }
            }
            Step::Role { leader } => {
                self.term += 1;
                self.leads = leader == ME.0;
                let leader = Some(leader).filter(|id| *id != 0).map(MemberId);
                let (term, is_leader) = (self.term, self.leads);
                self.tell(Event::Role {
                    term,
                    leader,
                    is_leader,
                });
            }
            Step::Acked { ago } => {
                let since = self.now.saturating_sub(ago);
                if self.leads {
                    self.acked = self.acked.max(since);
                    self.tell(Event::QuorumAcked {
                        since: Millis(since),
                    });
                }
            }
            Step::Restore => {
                self.index += 10;
                let leases = self
                    .leases
                    .iter()
                    .map(|(id, ttl)| (LeaseId(*id), *ttl))
                    .collect();
                let (index, revision) = (self.index, self.revision);
                self.tell(Event::Restored {
                    alarms: Vec::new(),
                    v2: V2State::default(),
                    auth: Default::default(),
                    index,
                    revision,
                    compact_revision: 0,
                    leases,
                });
            }
        }
    }

    fn call(&mut self, lease: LeaseId, keep_alive: bool, peer: bool) {
        let id = self.request();
        let asker = match peer {
            true => Asker::Peer(id),
            false => Asker::Local(Seq(id)),
        };
        if peer {
            self.peers.insert(id);
        }
        self.tell(match keep_alive {
            true => Event::KeepAlive { asker, lease },
            false => Event::TimeToLive { asker, lease },
        });
    }

    fn grant(&mut self, id: i64, ttl: i64) {
        self.drain();
        if self.leases.contains_key(&id) {
            return;
        }
        self.leases.insert(id, ttl);
        self.promised.insert(id, self.now + ttl as u64 * 1000);
        let id = LeaseId(id);
        let lease = LeaseChange::Granted { id, ttl };
        self.apply(None, Ok(Reply::LeaseGrant { id, ttl }), Some(lease));
    }

    fn revoke(&mut self, id: i64) {
        self.drain();
        if self.leases.remove(&id).is_some() {
            self.promised.remove(&id);
            let lease = LeaseChange::Revoked { id: LeaseId(id) };
            self.apply(None, Ok(Reply::LeaseRevoke), Some(lease));
        }
    }

    fn apply(
        &mut self,
        origin: Option<(MemberId, Seq)>,
        result: Result<Reply, Error>,
        lease: Option<LeaseChange>,
    ) {
        self.index += 1;
        let outcome = Outcome {
            revision: self.revision,
            result,
        };
        let entry = Applied {
            origin,
            outcome,
            changes: vec![],
            lease,
            compacted: None,
            v2: None,
            auth: None,
        };
        let (index, term, revision) = (self.index, self.term, self.revision);
        self.tell(Event::Applied {
            index,
            term,
            revision,
            entries: vec![entry],
        });
    }

    fn drain(&mut self) {
        let mut effects = 0;
        while let Some(effect) = self.node.poll() {
            self.node.check();
            self.observe(effect);
            effects += 1;
            assert!(effects < EFFECTS_MAX, "the node does not come to rest");
        }
        let deadline = self.node.deadline();
        assert!(
            deadline.is_none_or(|at| at.0 > self.now),
            "woken for nothing: {deadline:?}"
        );
        let overdue = self
            .open
            .values()
            .find(|(at, _)| at + TIMEOUT_MS <= self.now);
        assert_eq!(overdue, None, "a request outlived its deadline");
        if !self.open.is_empty() {
            assert!(
                deadline.is_some(),
                "the node sleeps although somebody waits"
            );
        }
    }

    fn observe(&mut self, effect: Effect) {
        match effect {
            Effect::Propose { proposals } => {
                assert!(self.leads);
                self.take_away(proposals);
            }
            Effect::Forward { to, proposals } => {
                assert!(to != ME && !self.leads);
                self.take_away(proposals);
            }
            Effect::ConfirmRead { round } => self.ask(round),
            Effect::AskReadIndex { round, leader } => {
                assert_ne!(leader, ME);
                self.ask(round);
            }
            Effect::ReadReady { seq, result } => {
                if result.is_ok() {
                    self.justify(seq.0);
                }
                assert!(self.reads.remove(&seq.0));
                self.answer(seq.0);
            }
            Effect::Answer { seq, result } => {
                let sent = self.sent.get(&seq.0).copied().unwrap_or(0);
                match result {
                    Ok(_) => assert_eq!(sent, 1),
                    Err(Error::NoLeader) => assert_eq!(sent, 0, "a definite failure was sent"),
                    Err(_) => assert_eq!(sent, 1, "an unknown outcome was never sent"),
                }
                self.answer(seq.0);
            }
            Effect::AnswerLease { seq, result } => self.answer_lease(seq.0, result),
            Effect::AnswerPeer { ticket, result } => self.answer_lease(ticket, result),
            Effect::ForwardLease { seq, leader, .. } => {
                assert!(leader != ME && !self.leads);
                self.calls.push(seq.0);
            }
            Effect::RevokeExpired { term, leases } => {
                assert_eq!(term, self.term);
                self.expire(&leases);
            }
            Effect::WatchSend { .. } | Effect::WatchEnd { .. } | Effect::CatchUp { .. } => {
                panic!("nobody watches")
            }
            Effect::MeasureStore => panic!("there is no quota"),
            Effect::ExpireV2 { .. }
            | Effect::V2Watching { .. }
            | Effect::V2WatchSend { .. }
            | Effect::V2WatchEnd { .. } => panic!("nobody writes or watches v2"),
        }
    }

    fn take_away(&mut self, proposals: Proposals) {
        assert!(!proposals.is_empty());
        for proposal in proposals {
            assert_eq!(proposal.origin, ME);
            assert!(self.open.contains_key(&proposal.seq), "sent for nobody");
            let sent = self.sent.entry(proposal.seq).or_default();
            *sent += 1;
            assert_eq!(*sent, 1, "a write is in two places");
            self.under_way.push(proposal.seq);
        }
    }

    fn ask(&mut self, number: u64) {
        assert!(
            self.rounds.iter().all(|round| round.number < number),
            "a number is used again"
        );
        self.rounds.push(Round {
            number,
            committed: self.index,
            asked: self.clock,
            asked_ms: self.now,
        });
    }

    /// There must be a round that was asked after the read arrived, whose index is applied and no
    /// less than what was committed when the read arrived.
    fn justify(&self, seq: u64) {
        let (_, arrived) = self.open[&seq];
        let committed = self.committed_at[&seq];
        let proof = |(round, index): &&(Round, u64)| {
            round.asked > arrived && *index <= self.node.applied() && *index >= committed
        };
        assert!(
            self.confirmed.iter().any(|told| proof(&told)),
            "read {seq} is not justified"
        );
    }

    fn answer_lease(&mut self, id: u64, result: Result<LeaseInfo, Error>) {
        if let Ok(info) = &result
            && self.leads
            && info.ttl > 0
        {
            let granted = self.leases.get(&info.id.0).expect("a lease that exists");
            // The election timeout that a new leader adds shows, as in etcd. It is no promise: the
            // next keepalive takes it back.
            assert!(info.ttl <= *granted + 1);
            let until = self.now + info.ttl.min(*granted) as u64 * 1000;
            let promised = self.promised.entry(info.id.0).or_default();
            *promised = until.max(*promised);
        }
        self.answer(id);
    }

    fn expire(&mut self, leases: &[LeaseId]) {
        assert!(self.leads, "only a leader ends leases");
        for id in leases {
            assert!(
                self.leases.contains_key(&id.0),
                "a lease that is gone is revoked"
            );
            let promised = self.promised[&id.0];
            assert!(promised <= self.now, "lease {} ends before its time", id.0);
            assert!(promised <= self.acked, "nobody followed since it expired");
        }
    }

    fn answer(&mut self, id: u64) {
        assert!(self.answered.insert(id), "request {id} is answered twice");
        assert!(
            self.open.remove(&id).is_some(),
            "request {id} is answered although nobody waits"
        );
    }
}

fn pick<T: Copy>(from: &[T], which: usize) -> Option<T> {
    (!from.is_empty()).then(|| from[which % from.len()])
}

fn take<T>(from: &mut Vec<T>, which: usize) -> Option<T> {
    (!from.is_empty()).then(|| from.swap_remove(which % from.len()))
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 256,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../proptest-regressions/core/node.txt"
        )))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_node_keeps_its_promises(steps in prop::collection::vec(step(), 1..200)) {
        let mut world = World::new();
        for step in &steps {
            world.step(step);
            if !matches!(step, Step::Hold) {
                world.drain();
            }
        }
        // In the end everybody has an answer.
        world.now += TIMEOUT_MS;
        world.tell(Event::Tick);
        world.drain();
        prop_assert!(world.open.is_empty());
    }
}
