//! Those who run the cluster: they change its membership as people do, through some member's
//! client port, and try again when they are not sure.

use crate::client::{CallError, Client};
use crate::machine::{Machine, Place};
use crate::start::Flags;
use crate::time;
use crate::trace;
use detcd_core::api::{Member, MemberId};
use detcd_service::Rpc;
use detcd_wire::etcdserverpb as pb;
use pb::alarm_request::AlarmAction;
use prost::Message;
use std::time::Duration;

/// How long an operator tries before the cluster is left as it is.
const TRY_MAX: Duration = Duration::from_secs(60);
/// How long one call may take; a member gives up a little earlier itself.
const CALL_MAX: Duration = Duration::from_secs(10);
/// After so many answers without an alarm none is expected.
const QUIET_ANSWERS: u32 = 2;
const POLL_EVERY: Duration = Duration::from_millis(500);
const PAUSE_MS: std::ops::RangeInclusive<u64> = 50..=500;

/// An operator at work, with a client of its own.
pub struct Operator {
    client: Client,
}

/// A machine that waits to be told its place in the cluster.
pub struct Newcomer {
    pub peer_url: String,
    pub machine: Machine,
    /// Called with the new id, before the machine hears of its place.
    pub settle: Box<dyn FnOnce(MemberId) + Send>,
}

/// A cluster with its new member.
struct Added {
    id: MemberId,
    members: Vec<Member>,
}

impl Added {
    /// `None` if there is no member of this address.
    fn of(peer_url: &str, reported: pb::MemberAddResponse) -> Option<Added> {
        let members: Vec<Member> = reported.members.into_iter().map(Member::from).collect();
        let new = members
            .iter()
            .find(|member| member.peer_urls == [peer_url])?;
        let id = new.id;
        Some(Added { id, members })
    }
}

impl Operator {
    pub fn new(client: Client) -> Operator {
        Operator { client }
    }

    pub async fn add(&mut self, newcomer: Newcomer, learner: bool, promote: bool) {
        let Some(added) = self.add_url(&newcomer.peer_url, learner).await else {
            return;
        };
        let id = added.id;
        trace::mark(if learner {
            "fault.add-learner"
        } else {
            "fault.add-member"
        });
        (newcomer.settle)(id);
        // The member that has added it shows it in its own list at once.
        self.ask_list(false).await;
        self.see_join(&newcomer.machine, id, added.members).await;
        if learner && promote {
            self.promote(id).await;
        }
    }

    /// Starts the machine of a member that was added, and gives it other flags when others have come
    /// or gone before it has joined.
    async fn see_join(&mut self, machine: &Machine, id: MemberId, mut members: Vec<Member>) {
        let place = machine.place();
        while members.iter().any(|member| member.id == id) {
            let flags = Flags::of_newcomer(id, &members);
            place.send_replace(Some(Place { id, flags }));
            time::sleep(POLL_EVERY).await;
            if machine.is_identified() || machine.is_lost() {
                return;
            }
            if let Some(listed) = self.ask_list(true).await {
                members = listed.members.into_iter().map(Member::from).collect();
            }
            self.client.go_elsewhere();
        }
    }

    pub async fn remove(&mut self, id: MemberId) -> bool {
        let request = pb::MemberRemoveRequest { id: id.0 };
        let removed = self
            .insist::<pb::MemberRemoveResponse>(Rpc::MemberRemove, &request, "member not found")
            .await;
        if removed.is_some() {
            trace::mark("fault.remove-member");
        }
        removed.is_some()
    }

    pub async fn promote(&mut self, id: MemberId) {
        let request = pb::MemberPromoteRequest { id: id.0 };
        let done = "can only promote a learner member";
        let promoted = self
            .insist::<pb::MemberPromoteResponse>(Rpc::MemberPromote, &request, done)
            .await;
        if promoted.is_some() {
            trace::mark("fault.promote");
        }
    }

    pub async fn update(&mut self, id: MemberId, peer_url: String) -> bool {
        let request = pb::MemberUpdateRequest {
            id: id.0,
            peer_urls: vec![peer_url],
        };
        let mut rng = self.client.rng("operator");
        let deadline = time::now() + TRY_MAX;
        while time::now() < deadline {
            let method = Rpc::MemberUpdate;
            let answer = self.client.call(method, &request, CALL_MAX).await;
            let members = match answer {
                Ok(pb::MemberUpdateResponse { members, .. }) => members,
                Err(CallError::Failed(failure)) if failure.text.ends_with("member not found") => {
                    return false;
                }
                Err(error) => {
                    trace::event("operator.fails", format_args!("{method:?}: {error:?}"));
                    let listed = self.listed().await;
                    listed.map_or(Vec::new(), |listed| listed.members)
                }
            };
            // A try that failed may have done it all the same.
            let moved = |member: &pb::Member| {
                member.id == request.id && member.peer_urls == request.peer_urls
            };
            if members.iter().any(moved) {
                trace::mark("fault.update-address");
                return true;
            }
            self.client.go_elsewhere();
            time::sleep(Duration::from_millis(rng.range(PAUSE_MS))).await;
        }
        false
    }

    /// Disarms every alarm, until there is none any more.
    pub async fn disarm(&mut self) {
        let mut quiet = 0;
        while quiet < QUIET_ANSWERS {
            let request = pb::AlarmRequest::default();
            let found = self
                .insist::<pb::AlarmResponse>(Rpc::Alarm, &request, "no such word")
                .await;
            let Some(Some(found)) = found else { return };
            quiet = if found.alarms.is_empty() {
                quiet + 1
            } else {
                0
            };
            for alarm in found.alarms {
                let disarm = pb::AlarmRequest {
                    action: AlarmAction::Deactivate.into(),
                    member_id: alarm.member_id,
                    alarm: alarm.alarm,
                };
                self.insist::<pb::AlarmResponse>(Rpc::Alarm, &disarm, "no such word")
                    .await;
            }
            time::sleep(POLL_EVERY).await;
        }
    }

    /// Every member is asked until the one that leads does it.
    pub async fn move_leader(&mut self, to: MemberId) {
        let request = pb::MoveLeaderRequest { target_id: to.0 };
        let done = "bad leader transferee";
        let moved = self
            .insist::<pb::MoveLeaderResponse>(Rpc::MoveLeader, &request, done)
            .await;
        if let Some(Some(_)) = moved {
            trace::mark("fault.move-leader");
        }
    }

    /// Adds a member. A try that failed may have done it all the same, and what the next one is
    /// refused for may be what it changed: so after each the list is asked.
    async fn add_url(&mut self, peer_url: &str, learner: bool) -> Option<Added> {
        let request = pb::MemberAddRequest {
            peer_urls: vec![peer_url.to_owned()],
            is_learner: learner,
        };
        let mut rng = self.client.rng("operator");
        let deadline = time::now() + TRY_MAX;
        while time::now() < deadline {
            let method = Rpc::MemberAdd;
            let answer = self.client.call(method, &request, CALL_MAX).await;
            let added: pb::MemberAddResponse = match answer {
                Ok(added) => added,
                Err(error) => {
                    trace::event("operator.fails", format_args!("{method:?}: {error:?}"));
                    self.listed().await.unwrap_or_default()
                }
            };
            if let Some(added) = Added::of(peer_url, added) {
                return Some(added);
            }
            self.client.go_elsewhere();
            time::sleep(Duration::from_millis(rng.range(PAUSE_MS))).await;
        }
        None
    }

    /// The members as they are, in the words of who was added.
    async fn listed(&mut self) -> Option<pb::MemberAddResponse> {
        let listed = self.ask_list(true).await?;
        Some(pb::MemberAddResponse {
            header: listed.header,
            member: None,
            members: listed.members,
        })
    }

    async fn ask_list(&mut self, linearizable: bool) -> Option<pb::MemberListResponse> {
        let request = pb::MemberListRequest { linearizable };
        let answer = self.client.call(Rpc::MemberList, &request, CALL_MAX);
        answer.await.ok()
    }

    /// Calls until it is answered, or refused in words that say that it is done already (that is
    /// `Some(None)`). `None` if the operator has given up.
    async fn insist<A: Message + Default>(
        &mut self,
        method: Rpc,
        request: &impl Message,
        done: &str,
    ) -> Option<Option<A>> {
        let mut rng = self.client.rng("operator");
        let deadline = time::now() + TRY_MAX;
        while time::now() < deadline {
            match self.client.call::<A>(method, request, CALL_MAX).await {
                Ok(answer) => return Some(Some(answer)),
                Err(CallError::Failed(failure)) if failure.text.ends_with(done) => {
                    return Some(None);
                }
                Err(error) => {
                    trace::event("operator.fails", format_args!("{method:?}: {error:?}"));
                }
            }
            self.client.go_elsewhere();
            time::sleep(Duration::from_millis(rng.range(PAUSE_MS))).await;
        }
        None
    }
}
