//! Changes of the membership, asked of whoever leads. Their encodings are little-endian, led by a
//! version byte, and private to this file.

use crate::handle::{Handle, Header};
use crate::run::Shared;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use detcd_core::api::{Member, MemberId};
use detcd_core::codec;
use detcd_core::error::Error;
use detcd_core::membership::id::member_id;
use detcd_core::membership::{self, MembershipChange};
use detcd_peer::{Kind, TransportError};
use detcd_raft::ChangeError;
use detcd_rt::Instant;
use std::time::Duration;

const VERSION: u8 = 1;

/// The pause before a leader is looked for again.
const LEADER_PAUSE: Duration = Duration::from_millis(20);

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

    /// Hands leadership to `to`; only the leader does that. `TimeoutLeaderTransfer` if it did not
    /// come to pass.
    pub async fn move_leader(&self, to: MemberId) -> Result<Header, Error> {
        let own_id = self.shared.member_id;
        let mut leader = self.leader();
        if *leader.borrow() != Some(own_id) {
            return Err(Error::NotLeader);
        }
        membership::check_transferee(&self.shared.engine.voters(), to)?;
        self.transfer(&mut leader, to, self.shared.call_timeout)
            .await?;
        Ok(self.header_now())
    }

    /// Before this member stops: if it leads, it has another one lead, so that nobody has to wait
    /// for an election. It takes at most an election timeout, and may fail.
    pub async fn hand_over(&self) {
        let mut leader = self.leader();
        if *leader.borrow() != Some(self.shared.member_id) {
            return;
        }
        let timeout = Duration::from_millis(self.shared.election_timeout.0);
        for to in self.shared.engine.successors() {
            let outcome = tokio::select! {
                biased;
                outcome = self.transfer(&mut leader, to, timeout) => outcome,
                // One that has gone a moment ago still counts as active.
                () = self.disconnected(to) => continue,
            };
            match outcome {
                Ok(()) => tracing::info!(new_leader = %to, "leadership was handed over"),
                Err(error) => tracing::warn!(%error, "leadership could not be handed over"),
            }
            return;
        }
        tracing::info!("no other member is there to take over the leadership");
    }

    /// Waits until a call would not reach the member.
    async fn disconnected(&self, id: MemberId) {
        while self.shared.transport.is_connected(id.0) {
            detcd_rt::sleep(LEADER_PAUSE).await;
        }
    }

    async fn transfer(
        &self,
        leader: &mut tokio::sync::watch::Receiver<Option<MemberId>>,
        to: MemberId,
        patience: Duration,
    ) -> Result<(), Error> {
        let shared = &self.shared;
        let election = Duration::from_millis(shared.election_timeout.0);
        let start = Instant::now();
        let mut asked = false;
        while Instant::now() < start + patience {
            let now = *leader.borrow_and_update();
            if now == Some(to) {
                return Ok(());
            }
            if now.is_some_and(|now| now != shared.member_id) {
                // It went to a third one.
                break;
            }
            // A leader that hands over takes no writes until another one leads, and cannot change
            // its mind: so `to` has to be there, and to have what it needs.
            let leads = now == Some(shared.member_id);
            asked |= leads && shared.engine.is_ready_to_lead(to);
            if !asked && Instant::now() >= start + election {
                break;
            }
            // The message may be lost, or its receiver lag: it is sent again while this one leads.
            if leads && asked {
                shared.engine.transfer_leader(to);
            }
            let pause = if asked { election / 2 } else { LEADER_PAUSE };
            // Without news the loop looks again.
            if let Ok(Err(_)) = detcd_rt::timeout(pause, leader.changed()).await {
                return Err(Error::Stopped);
            }
        }
        Err(Error::TimeoutLeaderTransfer)
    }

    async fn change_members(
        &self,
        change: MembershipChange,
    ) -> Result<(Header, Vec<Member>), Error> {
        self.full_member()?;
        tracing::info!(%change, "a change of the membership is asked for");
        let members = ask_leader(&self.shared, &change).await?;
        tracing::info!(%change, "the membership has changed");
        Ok((self.header_now(), members))
    }
}

/// Has the leader make a change, whoever leads. Only what was surely not proposed is asked again.
async fn ask_leader(shared: &Shared, change: &MembershipChange) -> Result<Vec<Member>, Error> {
    let deadline = Instant::now() + shared.call_timeout;
    let mut leader = shared.leader.clone();
    loop {
        let known = *leader.borrow_and_update();
        let answer = match known {
            // A leader without a quorum is in contact with nobody, and yet knows what to refuse.
            Some(id) if id != shared.member_id => {
                let body = encode_change(change);
                // The leader itself may wait for its whole patience.
                let patience = shared.call_timeout + shared.call_timeout;
                let call = shared.transport.call(id.0, Kind::Members, body, patience);
                match call.await {
                    Ok(body) => decode_answer(&body).unwrap_or(Answer::Failed(Error::Timeout)),
                    Err(TransportError::Lost(..)) => Answer::Failed(Error::TimeoutConnectionLost),
                    Err(TransportError::Unreachable(..) | TransportError::Refused(..)) => {
                        Answer::NotLeader
                    }
                }
            }
            _ => change_here(shared, change).await,
        };
        match answer {
            Answer::Done(members) => return Ok(members),
            Answer::Failed(error) => return Err(error),
            Answer::NotLeader if Instant::now() < deadline => {
                let _ = detcd_rt::timeout(LEADER_PAUSE, leader.changed()).await;
            }
            Answer::NotLeader => return Err(Error::Timeout),
        }
    }
}

/// A change that another member asks for, checked as a client's own call is.
pub(crate) fn read_change(body: Bytes) -> Result<MembershipChange, String> {
    let change = decode_change(body).ok_or("a malformed change of the membership")?;
    membership::check_forwarded(&change).map_err(|error| format!("{change}: {error}"))?;
    Ok(change)
}

/// Makes a change that another member asks for.
pub(crate) async fn serve(shared: &Shared, change: &MembershipChange) -> Bytes {
    encode_answer(&change_here(shared, change).await)
}

async fn change_here(shared: &Shared, change: &MembershipChange) -> Answer {
    let strict = shared.strict_reconfig;
    let made = shared
        .engine
        .change_members(change.clone(), strict, shared.call_timeout);
    match made.await {
        Ok(members) => Answer::Done(members),
        Err(ChangeError::Refused(error)) => Answer::Failed(error),
        Err(ChangeError::NotLeader) => Answer::NotLeader,
        Err(ChangeError::Busy) => Answer::Failed(Error::Timeout),
        Err(ChangeError::Unknown) => Answer::Failed(Error::TimeoutLeaderLost),
        Err(ChangeError::Fault(fault)) => {
            shared.halt(&fault.to_string());
            Answer::Failed(Error::Corrupt)
        }
    }
}

/// What the leader makes of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer {
    Done(Vec<Member>),
    /// Nothing was proposed, and another member may be asked.
    NotLeader,
    Failed(Error),
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

const DONE: u8 = 0;
const NOT_LEADER: u8 = 255;

const ADD: u8 = 1;
const REMOVE: u8 = 2;
const UPDATE: u8 = 3;
const PROMOTE: u8 = 4;

fn encode_change(change: &MembershipChange) -> Bytes {
    let mut out = BytesMut::new();
    out.put_u8(VERSION);
    match change {
        MembershipChange::Add(member) => {
            out.put_u8(ADD);
            put_member(&mut out, member);
        }
        MembershipChange::Remove(id) => {
            out.put_u8(REMOVE);
            out.put_u64_le(id.0);
        }
        MembershipChange::Update { id, peer_urls } => {
            out.put_u8(UPDATE);
            let member = Member {
                id: *id,
                peer_urls: peer_urls.clone(),
                ..Member::default()
            };
            put_member(&mut out, &member);
        }
        MembershipChange::Promote(id) => {
            out.put_u8(PROMOTE);
            out.put_u64_le(id.0);
        }
    }
    out.freeze()
}

fn decode_change(mut body: Bytes) -> Option<MembershipChange> {
    if body.len() < 2 || body.get_u8() != VERSION {
        return None;
    }
    let change = match body.get_u8() {
        ADD => MembershipChange::Add(read_member(&mut body)?),
        REMOVE => MembershipChange::Remove(MemberId(read_u64(&mut body)?)),
        UPDATE => {
            let Member { id, peer_urls, .. } = read_member(&mut body)?;
            MembershipChange::Update { id, peer_urls }
        }
        PROMOTE => MembershipChange::Promote(MemberId(read_u64(&mut body)?)),
        _ => return None,
    };
    body.is_empty().then_some(change)
}

fn encode_answer(answer: &Answer) -> Bytes {
    let mut out = BytesMut::new();
    out.put_u8(VERSION);
    match answer {
        Answer::Done(members) => {
            out.put_u8(DONE);
            for member in members {
                put_member(&mut out, member);
            }
        }
        Answer::NotLeader => out.put_u8(NOT_LEADER),
        Answer::Failed(error) => {
            let known = ERRORS.iter().find(|(_, known)| known == error);
            out.put_u8(known.map_or(10, |(tag, _)| *tag));
        }
    }
    out.freeze()
}

fn decode_answer(body: &Bytes) -> Option<Answer> {
    let mut body = body.clone();
    if body.len() < 2 || body.get_u8() != VERSION {
        return None;
    }
    match body.get_u8() {
        DONE => {
            let mut members = Vec::new();
            while !body.is_empty() {
                members.push(read_member(&mut body)?);
            }
            Some(Answer::Done(members))
        }
        NOT_LEADER => body.is_empty().then_some(Answer::NotLeader),
        tag => {
            let (_, error) = ERRORS.iter().find(|(known, _)| *known == tag)?;
            body.is_empty().then(|| Answer::Failed(error.clone()))
        }
    }
}

/// A member is written as its row is, under its id.
fn put_member(out: &mut BytesMut, member: &Member) {
    let row = codec::encode_member(member);
    out.put_u64_le(member.id.0);
    out.put_u32_le(row.len() as u32);
    out.put_slice(&row);
}

fn read_member(body: &mut Bytes) -> Option<Member> {
    let id = MemberId(read_u64(body)?);
    if body.len() < 4 {
        return None;
    }
    let len = body.get_u32_le() as usize;
    if body.len() < len {
        return None;
    }
    codec::decode_member(&codec::member_key(id), &body.split_to(len)).ok()
}

fn read_u64(body: &mut Bytes) -> Option<u64> {
    (body.len() >= 8).then(|| body.get_u64_le())
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
            assert_eq!(decode_change(bytes.clone()), Some(change));
            for len in 0..bytes.len() {
                assert_eq!(decode_change(bytes.slice(..len)), None, "cut at {len}");
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
    fn answers_round_trip() {
        let errors = ERRORS.map(|(_, error)| Answer::Failed(error));
        let done = [Answer::Done(vec![member(1), member(2)]), Answer::NotLeader];
        for answer in errors.into_iter().chain(done) {
            assert_eq!(decode_answer(&encode_answer(&answer)), Some(answer));
        }
        let other = encode_answer(&Answer::Failed(Error::Corrupt));
        assert_eq!(decode_answer(&other), Some(Answer::Failed(Error::Timeout)));
        assert_eq!(decode_answer(&Bytes::from_static(b"\x01\x63")), None);
    }
}
