//! Discovery: members that know nothing but a URL in the v2 tree of another cluster, the registry,
//! find each other there. Each registers itself below the URL, and waits until as many have as
//! `_config/size` says; who comes later is left over. As etcd does it, in its words.
//!
//! A driver does what [`Discovery::poll`] gives until it is `None`, tells what came of it
//! ([`Discovery::handle`]), and goes on until [`Effect::Done`].

use crate::api::MemberId;
use crate::url::parse_named;
use alloc::collections::VecDeque;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::fmt;
use thiserror::Error;

/// Pauses after failures double up to this one.
const PAUSE_DOUBLINGS_MAX: u32 = 8;
/// The pause before the registry is read again that has yet to show what was written to it.
const UNSEEN_PAUSE_MS: u64 = 100;

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DiscoveryError {
    #[error("discovery: invalid peer URL")]
    InvalidUrl,
    #[error("discovery: size key is bad")]
    BadSize,
    #[error("discovery: found duplicate id")]
    DuplicateId,
    #[error("discovery: found duplicate name")]
    DuplicateName,
    #[error("discovery: cluster is full")]
    Full,
    #[error("discovery: bad discovery endpoint")]
    BadEndpoint,
    /// The registry refuses, in its own words.
    #[error("{0}")]
    Refused(String),
}

/// Why the registry has not done what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegistryError {
    /// There is such a key already.
    Exists,
    /// The events that are waited for are not kept any more.
    Cleared,
    /// It answers, and not as a registry does.
    NotARegistry,
    /// It does not answer: that may pass.
    Unreachable(String),
    /// Any other of its errors.
    Other(String),
}

/// A member that has registered: `value` is its `NAME=URL`, several of which are separated by
/// commas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// The last part of the key: the member's id, in hexadecimal.
    pub id: String,
    pub value: String,
    pub created_index: u64,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The text of `_config/size`.
    Size(Result<String, RegistryError>),
    /// All that have registered, and the registry's index.
    Listed(Result<(Vec<Registered>, u64), RegistryError>),
    /// This member has registered.
    Created(Result<(), RegistryError>),
    /// Somebody has registered, or something else has changed (`None`); the change's index.
    Changed(Result<(Option<Registered>, u64), RegistryError>),
    /// The pause is over.
    Paused,
}

/// What must be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Read `_config/size`.
    ReadSize,
    /// Read who has registered.
    List,
    /// Create this member's key with this value.
    Create { id: String, value: String },
    /// Wait for the first change below the URL after this index.
    Wait { after: u64 },
    /// Pause.
    Pause { ms: u64 },
    /// Tell the operator.
    Tell(Notice),
    /// Nothing else is done. The members, as `--initial-cluster` would name them.
    Done(Result<String, DiscoveryError>),
}

/// What the operator is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    FoundSelf(String),
    FoundPeer(String),
    Waiting {
        found: usize,
        missing: usize,
    },
    FoundAll(usize),
    /// The step fails, and is tried again after a pause.
    Retry {
        step: &'static str,
        problem: String,
        pause_seconds: u64,
    },
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Notice::FoundSelf(id) => write!(f, "found self {id} in the cluster"),
            Notice::FoundPeer(id) => write!(f, "found peer {id} in the cluster"),
            Notice::Waiting { found, missing } => {
                write!(f, "found {found} peer(s), waiting for {missing} more")
            }
            Notice::FoundAll(count) => write!(f, "found {count} needed peer(s)"),
            Notice::Retry {
                step,
                problem,
                pause_seconds,
            } => write!(
                f,
                "{step}: error connecting to discovery ({problem}), retrying in {pause_seconds}s"
            ),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Reads the size and the list: whoever is left over needs not register.
    Look,
    Create,
    Wait,
}

/// The search of one member.
pub struct Discovery {
    /// The id and value of this member; `None` for a proxy, which only looks.
    own: Option<(String, String)>,
    phase: Phase,
    is_created: bool,
    size: usize,
    found: Vec<Registered>,
    retries: u32,
    out: VecDeque<Effect>,
}

impl Discovery {
    /// The search of a member that wants to take part.
    pub fn join(id: MemberId, value: String) -> Discovery {
        Discovery::begin(Some((id.to_string(), value)))
    }

    /// The search of a proxy, which finds members and is none.
    pub fn look() -> Discovery {
        Discovery::begin(None)
    }

    fn begin(own: Option<(String, String)>) -> Discovery {
        Discovery {
            own,
            phase: Phase::Look,
            is_created: false,
            size: 0,
            found: Vec::new(),
            retries: 0,
            out: VecDeque::from([Effect::ReadSize]),
        }
    }

    pub fn poll(&mut self) -> Option<Effect> {
        self.out.pop_front()
    }

    pub fn handle(&mut self, event: Event) {
        match event {
            Event::Size(Ok(text)) => match text.parse::<usize>() {
                Ok(size) if size > 0 => {
                    self.size = size;
                    self.out.push_back(Effect::List);
                }
                _ => self.end(Err(DiscoveryError::BadSize)),
            },
            Event::Listed(Ok((nodes, index))) => self.listed(nodes, index),
            Event::Created(Ok(()) | Err(RegistryError::Exists)) => {
                self.is_created = true;
                self.out.push_back(Effect::List);
            }
            Event::Changed(Ok((node, index))) => self.changed(node, index),
            // What was missed stands in the list.
            Event::Changed(Err(RegistryError::Cleared)) | Event::Paused => {
                self.out.push_back(Effect::ReadSize);
            }
            Event::Size(Err(error))
            | Event::Listed(Err(error))
            | Event::Created(Err(error))
            | Event::Changed(Err(error)) => self.failed(error),
        }
    }

    fn listed(&mut self, mut nodes: Vec<Registered>, index: u64) {
        self.retries = 0;
        nodes.sort_by_key(|node| node.created_index);
        let own_at = self
            .own
            .as_ref()
            .and_then(|(id, _)| nodes.iter().position(|node| node.id == *id));
        let is_in = own_at.is_some_and(|at| at < self.size);
        if !is_in && nodes.len() >= self.size {
            nodes.truncate(self.size);
            self.found = nodes;
            let full = match self.own {
                Some(_) => Err(DiscoveryError::Full),
                None => self.cluster(),
            };
            return self.end(full);
        }
        match (&self.own, own_at) {
            (Some((_, own)), Some(at)) if nodes[at].value != *own => {
                return self.end(Err(DiscoveryError::DuplicateId));
            }
            (Some((id, value)), None) => {
                let (id, value) = (id.clone(), value.clone());
                self.phase = Phase::Create;
                self.out.push_back(match self.is_created {
                    true => Effect::Pause {
                        ms: UNSEEN_PAUSE_MS,
                    },
                    false => Effect::Create { id, value },
                });
                return;
            }
            _ => {}
        }
        self.phase = Phase::Wait;
        nodes.truncate(self.size);
        self.found = nodes;
        for node in &self.found {
            let id = node.id.clone();
            let is_own = self.own.as_ref().is_some_and(|(own, _)| *own == id);
            self.out.push_back(Effect::Tell(match is_own {
                true => Notice::FoundSelf(id),
                false => Notice::FoundPeer(id),
            }));
        }
        self.go_on(index);
    }

    fn changed(&mut self, node: Option<Registered>, index: u64) {
        let is_new = |node: &Registered| self.found.iter().all(|found| found.id != node.id);
        if let Some(node) = node.filter(is_new) {
            let id = node.id.clone();
            self.out.push_back(Effect::Tell(Notice::FoundPeer(id)));
            self.found.push(node);
        }
        self.go_on(index);
    }

    /// Waits for who is missing, or ends.
    fn go_on(&mut self, index: u64) {
        let found = self.found.len();
        let Some(missing) = self.size.checked_sub(found).filter(|missing| *missing > 0) else {
            self.out.push_back(Effect::Tell(Notice::FoundAll(found)));
            let cluster = self.cluster();
            return self.end(cluster);
        };
        let waiting = Notice::Waiting { found, missing };
        self.out.push_back(Effect::Tell(waiting));
        self.out.push_back(Effect::Wait { after: index });
    }

    fn failed(&mut self, error: RegistryError) {
        let problem = match error {
            RegistryError::Unreachable(problem) => problem,
            RegistryError::NotARegistry => return self.end(Err(DiscoveryError::BadEndpoint)),
            RegistryError::Exists => return self.end(Err(DiscoveryError::DuplicateId)),
            RegistryError::Cleared => "its events are not kept any more".to_string(),
            RegistryError::Other(text) => return self.end(Err(DiscoveryError::Refused(text))),
        };
        self.retries += 1;
        let pause_seconds = 1 << self.retries.min(PAUSE_DOUBLINGS_MAX);
        let step = match self.phase {
            Phase::Look => "cluster status check",
            Phase::Create => "registration",
            Phase::Wait => "waiting for other nodes",
        };
        self.out.push_back(Effect::Tell(Notice::Retry {
            step,
            problem,
            pause_seconds,
        }));
        self.out.push_back(Effect::Pause {
            ms: pause_seconds * 1000,
        });
    }

    /// Who was found, as `--initial-cluster` would name them.
    fn cluster(&self) -> Result<String, DiscoveryError> {
        let values: Vec<&str> = self.found.iter().map(|node| &node.value[..]).collect();
        let text = values.join(",");
        let named = parse_named(&text).map_err(|_| DiscoveryError::InvalidUrl)?;
        match named.len() == self.size {
            true => Ok(text),
            false => Err(DiscoveryError::DuplicateName),
        }
    }

    fn end(&mut self, outcome: Result<String, DiscoveryError>) {
        self.out.push_back(Effect::Done(outcome));
    }
}
