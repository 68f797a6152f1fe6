//! What clients asked of the cluster itself, its members and its leases, and what they were told.

use crate::history::History;
use detcd_service::Rpc;
use detcd_wire::etcdserverpb as pb;
use prost::Message;
use std::time::Duration;

#[derive(Clone, Debug)]
pub struct ClusterCall {
    /// Who was asked.
    pub member: usize,
    pub called: Duration,
    /// What was answered, and when; `None` if the client knows of no answer.
    pub told: Option<(Duration, Told)>,
    pub asked: Asked,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    Add { peer_urls: Vec<String> },
    Remove { id: u64 },
    Update { peer_urls: Vec<String> },
    MemberList { linearizable: bool },
    Status,
    LeaseLeases,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// All members there are.
    Members(Vec<pb::Member>),
    Status(Box<pb::StatusResponse>),
    Leases(Vec<i64>),
}

impl ClusterCall {
    /// Writes down an encoded reply.
    pub fn answered(&mut self, at: Duration, reply: &[u8]) {
        self.told = Some((at, self.asked.told(reply)));
    }
}

impl Asked {
    /// What an encoded request asks, if it is of these.
    pub fn of(rpc: Rpc, request: &[u8]) -> Option<Asked> {
        Some(match rpc {
            Rpc::MemberAdd => Asked::Add {
                peer_urls: decoded::<pb::MemberAddRequest>(request).peer_urls,
            },
            Rpc::MemberRemove => Asked::Remove {
                id: decoded::<pb::MemberRemoveRequest>(request).id,
            },
            Rpc::MemberUpdate => Asked::Update {
                peer_urls: decoded::<pb::MemberUpdateRequest>(request).peer_urls,
            },
            Rpc::MemberList => Asked::MemberList {
                linearizable: decoded::<pb::MemberListRequest>(request).linearizable,
            },
            Rpc::Status => Asked::Status,
            Rpc::LeaseLeases => Asked::LeaseLeases,
            _ => return None,
        })
    }

    /// What the reply tells.
    fn told(&self, reply: &[u8]) -> Told {
        match self {
            Asked::Add { .. } => Told::Members(decoded::<pb::MemberAddResponse>(reply).members),
            Asked::Remove { .. } => {
                Told::Members(decoded::<pb::MemberRemoveResponse>(reply).members)
            }
            Asked::Update { .. } => {
                Told::Members(decoded::<pb::MemberUpdateResponse>(reply).members)
            }
            Asked::MemberList { .. } => {
                Told::Members(decoded::<pb::MemberListResponse>(reply).members)
            }
            Asked::Status => Told::Status(Box::new(decoded(reply))),
            Asked::LeaseLeases => {
                let leases = decoded::<pb::LeaseLeasesResponse>(reply).leases;
                Told::Leases(leases.into_iter().map(|lease| lease.id).collect())
            }
        }
    }
}

fn decoded<M: Message + Default>(bytes: &[u8]) -> M {
    M::decode(bytes).expect("it was just encoded")
}

impl History {
    /// The calls that were answered, with what was told and when.
    pub fn cluster_answers(&self) -> impl Iterator<Item = (&ClusterCall, Duration, &Told)> {
        self.cluster_calls.iter().filter_map(|call| {
            let (ended, told) = call.told.as_ref()?;
            Some((call, *ended, told))
        })
    }
}
