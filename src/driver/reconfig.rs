//! Changes of the membership, asked of whoever leads. Their encodings are little-endian, led by a
//! version byte, and private to this file.

use crate::handle::{Handle, Header};
use crate::shared::Shared;
use bytes::Bytes;
use detcd_core::api::{Member, MemberId, Millis};
use detcd_core::codec;
use detcd_core::encoding::{Reader, Writer};
use detcd_core::error::Error;
use detcd_core::membership::id::member_id;
use detcd_core::membership::{
    self, ChangeError, ChangeRequest, ClusterState, LeaderReply, MembershipChange, Replication,
    RequestEffect, RequestEvent, RequestView,
};
use detcd_core::query;
use detcd_core::view::Fault;
use detcd_peer::{Kind, TransportError};
use std::time::Duration;

const VERSION: u8 = 1;

impl Handle {
    /// Adds a member; gives it and the members after the change.
    pub async fn member_add(
        &self,
        peer_urls: &[String],
        is_learner: bool,
    ) -> Result<(Header, Member, Vec<Member>), Error> {
        let peer_urls = membership::peer_urls(peer_urls)?;
        let seconds = detcd_rt::wall_unix_ms() / 1000;
        let member = Member {
            id: member_id(&peer_urls, "", Some(seconds)),
            peer_urls,
            is_learner,
            ..Member::default()
        };
        let (header, members) = self
            .change_members(MembershipChange::Add(member.clone()))
            .await?;
        Ok((header, member, members))
    }

    pub async fn member_remove(&self, id: MemberId) -> Result<(Header, Vec<Member>), Error> {
        self.change_members(MembershipChange::Remove(id)).await
    }

    pub async fn member_update(
        &self,
        id: MemberId,
        peer_urls: &[String],
    ) -> Result<(Header, Vec<Member>), Error> {
        let peer_urls = membership::peer_urls(peer_urls)?;
        self.change_members(MembershipChange::Update { id, peer_urls })
            .await
    }

    pub async fn member_promote(&self, id: MemberId) -> Result<(Header, Vec<Member>), Error> {
        self.change_members(MembershipChange::Promote(id)).await
    }

    async fn change_members(
        &self,
        change: MembershipChange,
    ) -> Result<(Header, Vec<Member>), Error> {
        self.full_member()?;
        tracing::info!(%change, "a change of the membership is asked for");
        let members = ask_leader(&self.shared, &change).await?;
        self.catch_up(&change).await?;
        tracing::info!(%change, "the membership has changed");
        Ok((self.header_now(), members))
    }

    /// Waits until this member has applied a change that the leader has made: its client may ask it
    /// for its own list next. As in etcd, who cannot does not know what came of the change. It does
    /// not ask the leader: that may be the member that is about to move, and is called at its new
    /// address already.
    async fn catch_up(&self, change: &MembershipChange) -> Result<(), Error> {
        // One that was removed is told nothing more.
        if *change == MembershipChange::Remove(self.shared.member_id()) {
            return Ok(());
        }
        let mut roster = self.shared.lifecycle.roster.subscribe();
        let applied = roster.wait_for(|roster| change.is_seen(&roster.members));
        match detcd_rt::timeout(self.shared.settings.call_timeout, applied).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(Error::Stopped),
            Err(_) => Err(Error::Timeout),
        }
    }
}

/// Has the leader make a change, whoever leads.
async fn ask_leader(shared: &Shared, change: &MembershipChange) -> Result<Vec<Member>, Error> {
    let deadline = now() + Millis(shared.settings.call_timeout.as_millis() as u64);
    let mut request = ChangeRequest::new(shared.member_id(), change.clone(), deadline);
    let mut leader = shared.leader.clone();
    let mut event = RequestEvent::Tick;
    loop {
        let view = request_view(shared, *leader.borrow_and_update())?;
        request.handle(now(), event, &view);
        event = match request.poll() {
            Some(RequestEffect::Reply(result)) => return result,
            Some(RequestEffect::AskHere) => {
                RequestEvent::Replied(change_here(shared, change).await)
            }
            Some(RequestEffect::Ask { leader }) => {
                RequestEvent::Replied(ask(shared, leader, change).await)
            }
            None => {
                let pause = request.deadline().map_or(Millis(0), |due| due - now());
                let pause = Duration::from_millis(pause.0);
                if let Ok(Err(_)) = detcd_rt::timeout(pause, leader.changed()).await {
                    return Err(Error::Stopped);
                }
                RequestEvent::Tick
            }
        };
    }
}

/// What this member sees of its cluster, and judges by where nobody leads.
fn request_view(shared: &Shared, leader: Option<MemberId>) -> Result<RequestView, Error> {
    let published = shared.engine.published();
    let read = |fault: Fault| {
        shared.halt(&fault.to_string());
        Error::Corrupt
    };
    let members = query::members(&*published.view).map_err(read)?;
    let others = members.iter().map(|member| member.id);
    let connected = others.filter(|id| shared.transport.is_connected(id.0));
    let replication = Replication {
        active: connected.collect(),
        ..Replication::default()
    };
    let cluster = ClusterState {
        own_id: shared.member_id(),
        replication,
        strict: shared.settings.strict_reconfig,
        voters: shared.engine.voters().into_iter().collect(),
        removed: query::removed(&*published.view).map_err(read)?,
        members,
    };
    Ok(RequestView { leader, cluster })
}

/// Asks another member, which leads.
async fn ask(shared: &Shared, leader: MemberId, change: &MembershipChange) -> LeaderReply {
    let body = encode_change(change);
    // The leader itself may wait as long as it has time.
    let timeout = shared.settings.call_timeout + shared.settings.call_timeout;
    let call = shared
        .transport
        .call(leader.0, Kind::Members, body, timeout);
    match call.await {
        Ok(body) => decode_reply(&body).unwrap_or(LeaderReply::Unreadable),
        Err(TransportError::Lost(..)) => LeaderReply::Lost,
        Err(TransportError::Unreachable(..) | TransportError::Refused(..)) => {
            LeaderReply::Unreachable
        }
    }
}

/// A change that another member asks for, checked as a client's own call is.
pub(crate) fn read_change(body: Bytes) -> Result<MembershipChange, String> {
    let change = decode_change(&body).map_err(|fault| fault.to_string())?;
    membership::check_forwarded(&change).map_err(|error| format!("{change}: {error}"))?;
    Ok(change)
}

/// Makes a change that another member asks for.
pub(crate) async fn serve(shared: &Shared, change: &MembershipChange) -> Bytes {
    encode_reply(&change_here(shared, change).await)
}

async fn change_here(shared: &Shared, change: &MembershipChange) -> LeaderReply {
    let strict = shared.settings.strict_reconfig;
    let made = shared
        .engine
        .change_members(change.clone(), strict, shared.settings.call_timeout);
    match made.await {
        Ok(members) => LeaderReply::Made(members),
        Err(ChangeError::Refused(error)) => LeaderReply::Failed(error),
        Err(ChangeError::NotLeader) => LeaderReply::NotLeader,
        Err(ChangeError::Busy) => LeaderReply::Failed(Error::Timeout),
        Err(ChangeError::Unknown) => LeaderReply::Failed(Error::TimeoutLeaderLost),
    }
}

/// The errors that travel. Any other becomes an unknown outcome.
const ERRORS: [(u8, Error); 10] = [
    (1, Error::MemberNotFound),
    (2, Error::MemberExists),
    (3, Error::PeerUrlExists),
    (4, Error::MemberNotEnoughStarted),
    (5, Error::MemberNotLearner),
    (6, Error::LearnerNotReady),
    (7, Error::TooManyLearners),
    (8, Error::Unhealthy),
    (9, Error::TimeoutLeaderLost),
    (10, Error::Timeout),
];

const MADE: u8 = 0;
const NOT_LEADER: u8 = 255;

const ADD: u8 = 1;
const REMOVE: u8 = 2;
const UPDATE: u8 = 3;
const PROMOTE: u8 = 4;

fn encode_change(change: &MembershipChange) -> Bytes {
    let mut out = Writer::default();
    out.u8(VERSION);
    match change {
        MembershipChange::Add(member) => {
            out.u8(ADD);
            put_member(&mut out, member);
        }
        MembershipChange::Remove(id) => {
            out.u8(REMOVE);
            out.u64_le(id.0);
        }
        MembershipChange::Update { id, peer_urls } => {
            out.u8(UPDATE);
            let member = Member {
                id: *id,
                peer_urls: peer_urls.clone(),
                ..Member::default()
            };
            put_member(&mut out, &member);
        }
        MembershipChange::Promote(id) => {
            out.u8(PROMOTE);
            out.u64_le(id.0);
        }
    }
    out.finish()
}

fn decode_change(body: &Bytes) -> Result<MembershipChange, Fault> {
    let mut reader = Reader::new("change of the membership", body);
    reader.version(VERSION)?;
    let change = match reader.u8()? {
        ADD => MembershipChange::Add(read_member(&mut reader)?),
        REMOVE => MembershipChange::Remove(MemberId(reader.u64_le()?)),
        UPDATE => {
            let Member { id, peer_urls, .. } = read_member(&mut reader)?;
            MembershipChange::Update { id, peer_urls }
        }
        PROMOTE => MembershipChange::Promote(MemberId(reader.u64_le()?)),
        _ => return Err(reader.error("an unknown kind of change").into()),
    };
    reader.end()?;
    Ok(change)
}

fn encode_reply(reply: &LeaderReply) -> Bytes {
    let mut out = Writer::default();
    out.u8(VERSION);
    match reply {
        LeaderReply::Made(members) => {
            out.u8(MADE);
            for member in members {
                put_member(&mut out, member);
            }
        }
        // This member has asked nobody else.
        LeaderReply::NotLeader
        | LeaderReply::Unreachable
        | LeaderReply::Lost
        | LeaderReply::Unreadable => out.u8(NOT_LEADER),
        LeaderReply::Failed(error) => {
            let known = ERRORS.iter().find(|(_, known)| known == error);
            out.u8(known.map_or(10, |(tag, _)| *tag));
        }
    }
    out.finish()
}

fn decode_reply(body: &Bytes) -> Result<LeaderReply, Fault> {
    let mut reader = Reader::new("reply to a change of the membership", body);
    reader.version(VERSION)?;
    let reply = match reader.u8()? {
        MADE => {
            let mut members = Vec::new();
            while !reader.is_empty() {
                members.push(read_member(&mut reader)?);
            }
            LeaderReply::Made(members)
        }
        NOT_LEADER => LeaderReply::NotLeader,
        tag => match ERRORS.iter().find(|(known, _)| *known == tag) {
            Some((_, error)) => LeaderReply::Failed(error.clone()),
            None => return Err(reader.error("an unknown error").into()),
        },
    };
    reader.end()?;
    Ok(reply)
}

/// A member is written as its row is, under its id.
fn put_member(out: &mut Writer, member: &Member) {
    out.u64_le(member.id.0);
    out.bytes_le(&codec::encode_member(member));
}

fn read_member(reader: &mut Reader<'_>) -> Result<Member, Fault> {
    let id = MemberId(reader.u64_le()?);
    codec::decode_member(&codec::member_key(id), &reader.bytes_le()?)
}

fn now() -> Millis {
    Millis(detcd_rt::now_ms())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: u64) -> Member {
        Member {
            id: MemberId(id),
            name: "n".to_owned(),
            peer_urls: vec!["http://a:1".to_owned(), "http://b:1".to_owned()],
            client_urls: vec!["http://a:2".to_owned()],
            is_learner: true,
        }
    }

    #[test]
    fn changes_round_trip_and_every_cut_is_refused() {
        let changes = [
            MembershipChange::Add(member(7)),
            MembershipChange::Remove(MemberId(u64::MAX)),
            MembershipChange::Update {
                id: MemberId(3),
                peer_urls: member(3).peer_urls,
            },
            MembershipChange::Promote(MemberId(1)),
        ];
        for change in changes {
            let bytes = encode_change(&change);
            assert_eq!(decode_change(&bytes), Ok(change));
            for len in 0..bytes.len() {
                assert!(decode_change(&bytes.slice(..len)).is_err(), "cut at {len}");
            }
        }
    }

    #[test]
    fn only_changes_that_a_client_may_ask_for_are_read() {
        let newcomer = |id: u64, url: &str| {
            MembershipChange::Add(Member {
                id: MemberId(id),
                peer_urls: vec![url.to_owned()],
                ..Member::default()
            })
        };
        let good = newcomer(9, "http://a:1");
        assert_eq!(read_change(encode_change(&good)), Ok(good));
        for bad in [
            newcomer(0, "x y z"),
            newcomer(9, "x y z"),
            newcomer(0, "http://a:1"),
            MembershipChange::Add(member(7)),
        ] {
            assert!(read_change(encode_change(&bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn replies_round_trip() {
        let errors = ERRORS.map(|(_, error)| LeaderReply::Failed(error));
        let done = [
            LeaderReply::Made(vec![member(1), member(2)]),
            LeaderReply::NotLeader,
        ];
        for reply in errors.into_iter().chain(done) {
            assert_eq!(decode_reply(&encode_reply(&reply)), Ok(reply));
        }
        let other = encode_reply(&LeaderReply::Failed(Error::Corrupt));
        assert_eq!(
            decode_reply(&other),
            Ok(LeaderReply::Failed(Error::Timeout))
        );
        assert!(decode_reply(&Bytes::from_static(b"\x01\x63")).is_err());
    }
}
