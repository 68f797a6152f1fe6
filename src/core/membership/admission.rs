//! A member's way into its cluster: the handshake of a new member, the refusal of one that lost
//! its disk, publishing its name, and learning that it was removed.
//!
//! A driver owns the [`Admission`] and loops as for [`crate::node::Node`]: it tells what happened
//! ([`Admission::handle`]), does what is wanted ([`Admission::poll`] until it gives `None`), and
//! tells [`Event::Tick`] at the latest at [`Admission::deadline`]. Greetings of other members are
//! answered at once ([`Admission::answer`]).
//!
//! # Who holds what it acknowledged
//! A raft log has a *log number*. It is drawn when the log is created, it is durable before the log
//! is used, and it stays with the log: two logs of one member id have two numbers. So the number
//! stands for everything that the member has voted and acknowledged with this disk.
//!
//! A member whose log holds a membership was admitted with this log. It takes part at once. Any
//! other one may be new, or may have lost its disk. It does a handshake:
//!
//! 1. *Ask.* It sends its log number to all other members. Each answers whether it knows the sender
//!    by another log number. Nobody remembers a number from this step.
//! 2. *Confirm.* Once enough others do not know another number, it sends its number again, and each
//!    receiver remembers it before it answers (in memory, the first number that it confirms).
//! 3. *Take part.* Once enough others remember the number, the member votes and takes entries. The
//!    others are sent the confirmation until each has answered, or the next line holds.
//! 4. *Publish.* As soon as there is a leader, the member publishes its name, its client URLs and
//!    its log number through the raft log. The first number that is applied stays, for the life of
//!    the member id.
//!
//! *Enough* is a majority of the members, counted with the new member itself.
//!
//! A receiver answers by the number in its applied state; without one, by whether the sender has
//! published anything (builds before this one published no number); without that, by the number
//! that it remembers. It does not answer before it has applied the log that it started with: it
//! would not know yet whom it has seen.
//!
//! One answer that another number is known ends the member, as long as the applied state does not
//! hold its own number. So does a publish that finds another number applied.
//!
//! # Why this is safe
//! Say that a member took part with log number 1, lost that disk, and returns with number 2.
//! - Once number 1 is published, every member that has applied the entry refuses number 2, after
//!   any restart, and number 2 can never be published.
//! - Before that, the members that confirmed number 1 refuse number 2 as long as they run. They are
//!   at least enough to have let it in, and soon all of them.
//! - The number of a member that comes back with its disk is the same in every answer. So it does
//!   not matter in which order its greetings, its publish and its restarts are seen: none of them
//!   makes another log of it. A late or repeated message of number 1 says the truth about number 1.
//!
//! What is left: the disk is lost before its number is applied by the members that are asked, and
//! all of them that remembered the number were restarted or are down. Asking more members than a
//! majority would close this, but then three members with two whole disks would have no cluster:
//! a member that comes for the first time while another one is lost for good looks the same to the
//! third (swarm seed 453).
//!
//! And a member whose disk is lost after another one has confirmed its number, and before it takes
//! part, is refused though it promised nothing: of three members, one confirmation is enough to take
//! part, so nobody can tell. It is removed and added anew. To let it in, all others would have to say
//! that they took nothing of raft from it, and to refuse from then on what still comes from the log
//! before: of a member that runs twice, with two disks, both may be alive. So each connection would
//! have to name the log.
//!
//! # Why a cluster comes to be
//! - A new member is refused by nobody: no number is known for its id, because ids of removed
//!   members are never used again and nobody publishes for another member.
//! - Three members with two whole disks: the two ask each other, which is enough for both.
//! - A founder that is wiped before it has enough answers has made nobody remember its number. It
//!   is new again.
//! - Each member is asked on its own, again and again: one that is slow or clogged delays nobody.

mod handshake;
mod refusal;
#[cfg(test)]
mod tests;

pub use handshake::{Greeting, GreetingReply};
pub use refusal::{MessageClass, REMOVED, SenderRefusal, check_sender};

use crate::api::{MemberId, Millis};
use crate::limits::{GREETING_PAUSE, GREETING_WARNING, PUBLISH_PAUSE, REMOVED_STOP_DELAY};
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// What a member is told once, at its start.
#[derive(Clone, Debug)]
pub struct AdmissionConfig {
    /// The number of this member's raft log.
    pub log: u64,
    /// The other members that this one was started with.
    pub others: Vec<MemberId>,
    /// Whether it was added to a cluster that exists, and founds none.
    pub joins: bool,
    /// Whether its log holds a membership: it was admitted before, with this log.
    pub is_admitted: bool,
    pub election_timeout: Millis,
}

/// What the applied state says, at the moment of an event.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The other members; empty before a membership is applied.
    pub others: Vec<MemberId>,
    /// Whether this member was removed.
    pub is_removed: bool,
    /// The log number that is published for this member.
    pub published_log: Option<u64>,
}

/// What the applied state says of a member that greets.
#[derive(Clone, Copy, Debug, Default)]
pub struct SenderFacts {
    /// The log number that it has published.
    pub published_log: Option<u64>,
    /// Whether it has published client URLs.
    pub has_published: bool,
}

/// What happened.
#[derive(Clone, Copy, Debug)]
pub enum Event {
    Tick,
    /// A member has answered the greeting `attempt`, or (`None`) has not.
    Answered {
        from: MemberId,
        attempt: u64,
        reply: Option<GreetingReply>,
    },
    /// Whether this member hears from a leader.
    Leader(bool),
    /// The applied state says something new of this member.
    Applied,
    /// Another member has refused this one as removed.
    ToldRemoved,
    /// The name and the client URLs are to be published.
    Publish,
    /// The attempt to publish has ended.
    Published {
        attempt: u64,
        is_applied: bool,
    },
}

/// What must be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send this greeting, and tell the answer as `Event::Answered`; give up after a time.
    Greet {
        to: MemberId,
        attempt: u64,
        greeting: Greeting,
    },
    /// Let this member vote and take entries. With `founds`, have it found the cluster then.
    TakePart { founds: bool },
    /// Propose the name, the client URLs and the log number, and tell how it ended as
    /// `Event::Published`. The member takes part.
    Publish { attempt: u64 },
    /// Tell whoever waits that the member is published. Its own state shows it.
    TellPublished,
    /// Tell the operator that too few members answer.
    WarnOfSilence { silent: Vec<MemberId> },
    /// Tell the operator that this member was removed.
    WarnOfRemoval,
    /// Stop the member for good.
    ShutDown(ShutdownReason),
}

/// Why a member stops for good, though nothing is wrong with its process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShutdownReason {
    /// It was removed from the cluster. `is_confirmed`: another member says so, too.
    Removed { is_confirmed: bool },
    /// The cluster knows it by another log.
    DiskLost,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Asking,
    Confirming,
    TakesPart,
    ShutDown,
}

/// Another member, as this one greets it.
#[derive(Clone, Copy, Debug, Default)]
struct Peer {
    /// The greeting under way, and whether it confirms.
    call: Option<(u64, bool)>,
    /// When the next greeting may go out.
    due: Millis,
    /// It has answered that it knows no other log.
    admits: bool,
    /// It has answered a confirmation.
    remembers: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Publishing {
    NotWanted,
    Due(Millis),
    UnderWay(u64),
    Done,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Removal {
    No,
    /// The others may not know yet that what they have is committed.
    StopsAt(Millis),
    /// These are asked whether it is true.
    Asks(BTreeSet<MemberId>),
}

/// One member's admission to its cluster.
pub struct Admission {
    config: AdmissionConfig,
    now: Millis,
    phase: Phase,
    peers: BTreeMap<MemberId, Peer>,
    /// The log numbers that other members have confirmed to this one since it started.
    remembered: BTreeMap<MemberId, u64>,
    has_leader: bool,
    publishing: Publishing,
    removal: Removal,
    told_removed: bool,
    attempts: u64,
    warn_at: Option<Millis>,
    out: VecDeque<Effect>,
}

impl Admission {
    /// Nothing happens before the first event.
    pub fn new(config: AdmissionConfig) -> Admission {
        let phase = match config.is_admitted {
            true => Phase::TakesPart,
            false => Phase::Asking,
        };
        let out = match config.is_admitted {
            true => VecDeque::from([Effect::TakePart { founds: false }]),
            false => VecDeque::new(),
        };
        Admission {
            config,
            now: Millis(0),
            phase,
            peers: BTreeMap::new(),
            remembered: BTreeMap::new(),
            has_leader: false,
            publishing: Publishing::NotWanted,
            removal: Removal::No,
            told_removed: false,
            attempts: 0,
            warn_at: None,
            out,
        }
    }

    /// Takes in what happened.
    pub fn handle(&mut self, now: Millis, event: Event, facts: &Facts) {
        self.now = self.now.max(now);
        if self.phase == Phase::ShutDown {
            return;
        }
        match event {
            Event::Tick | Event::Applied => {}
            Event::Answered {
                from,
                attempt,
                reply,
            } => self.on_answered(from, attempt, reply, facts),
            Event::Leader(has_leader) => self.has_leader = has_leader,
            Event::ToldRemoved => self.told_removed = true,
            Event::Publish if self.publishing == Publishing::NotWanted => {
                self.publishing = Publishing::Due(self.now);
            }
            Event::Publish => {}
            Event::Published {
                attempt,
                is_applied,
            } => self.on_published(attempt, is_applied, facts),
        }
        self.settle(facts);
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<Effect> {
        self.out.pop_front()
    }

    /// When this wants to hear of the time at the latest. Ask it when `poll` gave `None`.
    pub fn deadline(&self) -> Option<Millis> {
        if self.phase == Phase::ShutDown {
            return None;
        }
        let wanted = self.peers.values().filter(|peer| self.wants(peer));
        let greeting = wanted.map(|peer| peer.due).min();
        let publishing = match self.publishing {
            Publishing::Due(at) if self.phase == Phase::TakesPart => Some(at),
            _ => None,
        };
        let removal = match self.removal {
            Removal::StopsAt(until) => Some(until),
            _ => None,
        };
        let warning = self.warn_at.filter(|_| self.phase != Phase::TakesPart);
        let deadlines = [greeting, publishing, removal, warning];
        deadlines.into_iter().flatten().min()
    }

    /// Answers the greeting of another member, of which the applied state says this.
    pub fn answer(
        &mut self,
        from: MemberId,
        greeting: Greeting,
        facts: SenderFacts,
    ) -> GreetingReply {
        let remembered = self.remembered.get(&from).copied();
        let known = match facts {
            SenderFacts {
                published_log: Some(log),
                ..
            } => Some(log),
            SenderFacts {
                has_published: true,
                ..
            } => return GreetingReply::OtherLog,
            SenderFacts { .. } => remembered,
        };
        match known {
            Some(log) if log != greeting.log => GreetingReply::OtherLog,
            _ => {
                if greeting.confirms {
                    self.remembered.entry(from).or_insert(greeting.log);
                }
                GreetingReply::NoOtherLog
            }
        }
    }

    /// Panics if this contradicts itself. For tests and simulation, after each step.
    pub fn check(&self) {
        let is_published = matches!(self.publishing, Publishing::UnderWay(_) | Publishing::Done);
        let has_taken_part = matches!(self.phase, Phase::TakesPart | Phase::ShutDown);
        assert!(has_taken_part || !is_published);
        let remembers = |peer: &Peer| peer.remembers;
        assert!(self.phase != Phase::Asking || !self.peers.values().any(remembers));
    }

    fn on_answered(
        &mut self,
        from: MemberId,
        attempt: u64,
        reply: Option<GreetingReply>,
        facts: &Facts,
    ) {
        if let Removal::Asks(open) = &mut self.removal {
            open.remove(&from);
        }
        let pause = self.pause();
        let Some(peer) = self.peers.get_mut(&from) else {
            return;
        };
        // An answer to an older greeting says nothing about this one.
        let Some((_, confirms)) = peer.call.take_if(|(under_way, _)| *under_way == attempt) else {
            return;
        };
        peer.due = self.now + pause;
        let is_published = facts.published_log == Some(self.config.log);
        match reply {
            None => {}
            Some(GreetingReply::OtherLog) if is_published => {}
            Some(GreetingReply::OtherLog) if !crate::mutant!(WipedMember) => {
                self.shut_down(ShutdownReason::DiskLost);
            }
            Some(_) if confirms => peer.remembers = true,
            Some(_) => peer.admits = true,
        }
    }

    fn on_published(&mut self, attempt: u64, is_applied: bool, facts: &Facts) {
        if self.publishing != Publishing::UnderWay(attempt) {
            return;
        }
        let log = facts.published_log;
        if !is_applied {
            self.publishing = Publishing::Due(self.now + PUBLISH_PAUSE);
        } else if log == Some(self.config.log) || crate::mutant!(WipedMember) {
            self.publishing = Publishing::Done;
            self.out.push_back(Effect::TellPublished);
        } else {
            self.shut_down(ShutdownReason::DiskLost);
        }
    }

    /// Does what follows from what is known now.
    fn settle(&mut self, facts: &Facts) {
        self.settle_removal(facts);
        if self.phase == Phase::ShutDown || self.removal != Removal::No {
            return;
        }
        self.meet(facts);
        self.settle_phase();
        self.greet(facts);
        self.warn();
        if let (Phase::TakesPart, Publishing::Due(at)) = (self.phase, self.publishing)
            && at <= self.now
        {
            self.attempts += 1;
            let attempt = self.attempts;
            self.publishing = Publishing::UnderWay(attempt);
            self.out.push_back(Effect::Publish { attempt });
        }
    }

    /// Keeps the members to greet: those of the applied membership, once there is one.
    fn meet(&mut self, facts: &Facts) {
        let others = match facts.others.is_empty() {
            true => &self.config.others,
            false => &facts.others,
        };
        self.peers.retain(|id, _| others.contains(id));
        let now = self.now;
        for other in others {
            self.peers.entry(*other).or_insert(Peer {
                due: now,
                ..Peer::default()
            });
        }
    }

    fn settle_phase(&mut self) {
        let enough = self.peers.len().div_ceil(2);
        if self.phase == Phase::Asking && self.count(|peer| peer.admits) >= enough {
            self.phase = Phase::Confirming;
            let now = self.now;
            self.peers.values_mut().for_each(|peer| peer.due = now);
        }
        if self.phase == Phase::Confirming && self.count(|peer| peer.remembers) >= enough {
            self.phase = Phase::TakesPart;
            let next = self.now + self.config.election_timeout;
            let told = self.peers.values_mut().filter(|peer| peer.remembers);
            told.for_each(|peer| peer.due = next);
            let founds = !self.config.joins;
            self.out.push_back(Effect::TakePart { founds });
        }
    }

    fn count(&self, has: fn(&Peer) -> bool) -> usize {
        self.peers.values().filter(|peer| has(peer)).count()
    }

    /// Greets everybody who is due.
    fn greet(&mut self, facts: &Facts) {
        if self.phase == Phase::TakesPart && facts.published_log == Some(self.config.log) {
            let peers = self.peers.values_mut();
            peers.for_each(|peer| peer.remembers = true);
        }
        let wanted = |peer: &Peer| self.wants(peer) && peer.due <= self.now;
        let due = self.peers.iter().filter(|(_, peer)| wanted(peer));
        let due: Vec<MemberId> = due.map(|(id, _)| *id).collect();
        due.into_iter().for_each(|to| self.send(to));
    }

    /// Whether a member is to be greeted, once it is due.
    fn wants(&self, peer: &Peer) -> bool {
        let is_idle = peer.call.is_none();
        match self.phase {
            _ if self.removal != Removal::No => false,
            Phase::Asking => is_idle && !peer.admits,
            // What was asked before need not be answered any more.
            Phase::Confirming => !peer.remembers && !matches!(peer.call, Some((_, true))),
            Phase::TakesPart => is_idle && !(self.has_leader && peer.remembers),
            Phase::ShutDown => false,
        }
    }

    fn send(&mut self, to: MemberId) {
        let confirms = self.phase != Phase::Asking;
        self.attempts += 1;
        let attempt = self.attempts;
        let peer = self.peers.entry(to).or_default();
        peer.call = Some((attempt, confirms));
        let greeting = Greeting {
            log: self.config.log,
            confirms,
        };
        self.out.push_back(Effect::Greet {
            to,
            attempt,
            greeting,
        });
    }

    /// The pause before a member is greeted again.
    fn pause(&self) -> Millis {
        match self.phase {
            Phase::TakesPart => self.config.election_timeout,
            _ => GREETING_PAUSE,
        }
    }

    fn warn(&mut self) {
        if matches!(self.phase, Phase::TakesPart | Phase::ShutDown) {
            return;
        }
        let next = self.now + GREETING_WARNING;
        let at = *self.warn_at.get_or_insert(next);
        if at > self.now {
            return;
        }
        self.warn_at = Some(next);
        let answers = |peer: &Peer| match self.phase {
            Phase::Asking => peer.admits,
            _ => peer.remembers,
        };
        let silent = self.peers.iter().filter(|(_, peer)| !answers(peer));
        let silent = silent.map(|(id, _)| *id).collect();
        self.out.push_back(Effect::WarnOfSilence { silent });
    }

    /// A member that was removed tells so, waits if it learned it from its own log, and asks the
    /// others then: its log may have been written by whoever reaches the peer port.
    fn settle_removal(&mut self, facts: &Facts) {
        if self.removal == Removal::No {
            if !self.told_removed && !facts.is_removed {
                return;
            }
            self.out.push_back(Effect::WarnOfRemoval);
            if crate::mutant!(RemovedServes) {
                self.phase = Phase::ShutDown;
                return;
            }
            self.removal = match facts.is_removed {
                true => Removal::StopsAt(self.now + REMOVED_STOP_DELAY),
                false => Removal::Asks(BTreeSet::new()),
            };
        }
        match &self.removal {
            Removal::StopsAt(until) if *until <= self.now => {
                self.meet(facts);
                let others: BTreeSet<MemberId> = self.peers.keys().copied().collect();
                if !self.told_removed {
                    others.iter().for_each(|to| self.send(*to));
                }
                self.removal = Removal::Asks(others);
            }
            _ => {}
        }
        let is_confirmed = self.told_removed;
        if let Removal::Asks(open) = &self.removal
            && (is_confirmed || open.is_empty())
        {
            self.shut_down(ShutdownReason::Removed { is_confirmed });
        }
    }

    fn shut_down(&mut self, reason: ShutdownReason) {
        self.phase = Phase::ShutDown;
        self.out.push_back(Effect::ShutDown(reason));
    }
}

/// Whether a member that has applied `applied` has yet to apply what was in its log when it started
/// (up to `started_with`). A leader may have cut off the end of the log since: what is gone need not
/// be waited for.
pub fn is_behind_its_log(applied: u64, started_with: u64, last_log_index: u64) -> bool {
    applied < started_with.min(last_log_index)
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Effect::Greet {
                to,
                attempt,
                greeting,
            } => write!(f, "greet {to} [{attempt}]: {greeting}"),
            Effect::TakePart { founds: true } => f.write_str("take part, and found the cluster"),
            Effect::TakePart { founds: false } => f.write_str("take part"),
            Effect::Publish { attempt } => write!(f, "publish [{attempt}]"),
            Effect::TellPublished => f.write_str("published"),
            Effect::WarnOfSilence { silent } => {
                let silent: Vec<String> = silent.iter().map(|id| alloc::format!("{id}")).collect();
                write!(f, "warn: no answer from {}", silent.join(" "))
            }
            Effect::WarnOfRemoval => f.write_str("warn: removed"),
            Effect::ShutDown(reason) => write!(f, "shut down: {reason}"),
        }
    }
}

impl fmt::Display for ShutdownReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ShutdownReason::Removed { is_confirmed: true } => "removed",
            ShutdownReason::Removed {
                is_confirmed: false,
            } => "removed, by its own log alone",
            ShutdownReason::DiskLost => "its disk was lost",
        })
    }
}
