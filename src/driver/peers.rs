//! What members ask of each other besides raft itself: proposals for the leader, its read index,
//! its leases. Encodings are little-endian, led by a version byte, and private to this file.

use crate::inbox::{Input, Requests};
use crate::run::Shared;
use crate::{admission, reconfig};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use detcd_core::api::{LeaseId, LeaseInfo, Member, MemberId};
use detcd_core::command::Proposal;
use detcd_core::error::Error;
use detcd_core::event::{Asker, Event, Seq};
use detcd_core::proposal;
use detcd_peer::{Kind, Receiver};
use detcd_rt::buggify::{Place, linger};
use detcd_rt::{Instant, RepeatedLines};
use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use futures::stream::BoxStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::oneshot;

const VERSION: u8 = 1;

/// Serves other members.
pub(crate) struct PeerReceiver<R> {
    pub shared: Arc<Shared>,
    pub requests: Requests,
    /// Serves raft's own kinds.
    pub raft: R,
    pub lines: Arc<RepeatedLines>,
}

impl<R: Receiver> Receiver for PeerReceiver<R> {
    fn call(
        &self,
        from: u64,
        kind: Kind,
        body: Bytes,
    ) -> BoxFuture<'static, Result<Bytes, String>> {
        let shared = self.shared.clone();
        if let Err(refusal) = self.admit(from, kind) {
            return ready(Err(refusal)).boxed();
        }
        match kind {
            Kind::Greeting => {
                async move { admission::answer_greeting(&shared, MemberId(from), &body).await }
                    .boxed()
            }
            Kind::Members => {
                let change = reconfig::read_change(body);
                let change = change.map_err(|problem| self.refuse(from, kind, &problem));
                async move { Ok(reconfig::serve(&shared, &change?).await) }.boxed()
            }
            Kind::Propose => {
                let proposals = read_proposals(MemberId(from), body);
                let proposals = proposals.map_err(|problem| self.refuse(from, kind, &problem));
                async move {
                    let proposals = proposals?;
                    linger(Place::Forwarded).await;
                    Ok(encode_refused(
                        &shared.engine.propose_and_wait(proposals).await,
                    ))
                }
                .boxed()
            }
            Kind::ReadIndex => async move {
                let index = shared
                    .engine
                    .read_index()
                    .await
                    .map_err(|error| error.to_string())?;
                Ok(encode_index(index))
            }
            .boxed(),
            Kind::Lease => {
                let requests = self.requests.clone();
                async move {
                    Ok(encode_lease_answer(
                        &ask_lease(&shared, requests, body).await,
                    ))
                }
                .boxed()
            }
            _ => self.raft.call(from, kind, body),
        }
    }

    fn stream(
        &self,
        from: u64,
        kind: Kind,
        chunks: BoxStream<'static, Result<Bytes, String>>,
    ) -> BoxFuture<'static, Result<Bytes, String>> {
        match self.admit(from, kind) {
            Ok(()) => self.raft.stream(from, kind, chunks),
            Err(refusal) => ready(Err(refusal)).boxed(),
        }
    }

    /// A member that has restarted needs not wait until the pauses of those end who lost it.
    fn connected(&self, from: u64) {
        let shared = self.shared.clone();
        detcd_rt::spawn(async move {
            if shared.transport.reconnect(from).await {
                shared.engine.resume(MemberId(from)).await;
            }
        });
    }
}

impl<R> PeerReceiver<R> {
    /// Whether `from` may ask for this at all; the text refuses it.
    fn admit(&self, from: u64, kind: Kind) -> Result<(), String> {
        admission::admit(&self.shared, from, kind)?;
        if from == self.shared.member_id.0 {
            return Err(self.refuse(from, kind, &"it comes in this member's own name"));
        }
        // Raft's own messages may come from members that were added by entries not seen here.
        match admission::is_raft(kind) || self.is_member(MemberId(from)) {
            true => Ok(()),
            false => Err(self.refuse(from, kind, &"the sender is no member of this cluster")),
        }
    }

    /// Whether somebody is a member, by any list that this member has.
    fn is_member(&self, id: MemberId) -> bool {
        let is_in = |members: &[Member]| members.iter().any(|member| member.id == id);
        let Shared {
            engine, founders, ..
        } = &*self.shared;
        is_in(&engine.published().roster.members)
            || is_in(founders)
            || is_in(&engine.status().members)
    }

    /// Says, once for many, why a message is refused.
    fn refuse(&self, from: u64, kind: Kind, reason: &dyn std::fmt::Display) -> String {
        let reason = format!("this message is refused: {reason}");
        if let Some(left_out) = self.lines.take("refused", Instant::now()) {
            let from = MemberId(from);
            tracing::warn!(%from, ?kind, reason, left_out, "refused a message of a peer");
        }
        reason
    }
}

/// The proposals of member `from`, each of which can be applied.
fn read_proposals(from: MemberId, body: Bytes) -> Result<Vec<Proposal>, String> {
    let proposals = decode_proposals(body).ok_or("malformed proposals")?;
    for proposal in &proposals {
        proposal::check(from, proposal).map_err(|refusal| refusal.to_string())?;
    }
    Ok(proposals)
}

async fn ask_lease(shared: &Shared, requests: Requests, body: Bytes) -> Result<LeaseInfo, Error> {
    let question = LeaseQuestion::decode(body).ok_or(Error::Malformed("lease question"))?;
    let ticket = shared.next_seq.fetch_add(1, Ordering::Relaxed);
    let (asker, lease) = (Asker::Peer(ticket), question.lease);
    let event = match question.keep_alive {
        true => Event::KeepAlive { asker, lease },
        false => Event::TimeToLive { asker, lease },
    };
    let (answer, answered) = oneshot::channel();
    let input = Input::PeerLease {
        ticket,
        event,
        answer,
    };
    requests.send(input).await.map_err(|_| Error::Stopped)?;
    answered.await.map_err(|_| Error::Stopped)?
}

pub(crate) fn encode_proposals(proposals: &[Proposal]) -> Bytes {
    let size: usize = proposals
        .iter()
        .map(|proposal| 20 + proposal.command.len())
        .sum();
    let mut out = BytesMut::with_capacity(5 + size);
    out.put_u8(VERSION);
    out.put_u32_le(proposals.len() as u32);
    for proposal in proposals {
        out.put_u64_le(proposal.origin.0);
        out.put_u64_le(proposal.seq);
        out.put_u32_le(proposal.command.len() as u32);
        out.put_slice(&proposal.command);
    }
    out.freeze()
}

fn decode_proposals(mut body: Bytes) -> Option<Vec<Proposal>> {
    let count = header(&mut body, 4)?.get_u32_le();
    let mut proposals = Vec::new();
    for _ in 0..count {
        if body.len() < 20 {
            return None;
        }
        let origin = MemberId(body.get_u64_le());
        let seq = body.get_u64_le();
        let len = body.get_u32_le() as usize;
        if body.len() < len {
            return None;
        }
        proposals.push(Proposal {
            origin,
            seq,
            command: body.split_to(len),
        });
    }
    body.is_empty().then_some(proposals)
}

fn encode_refused(refused: &[Seq]) -> Bytes {
    let mut out = BytesMut::with_capacity(5 + 8 * refused.len());
    out.put_u8(VERSION);
    out.put_u32_le(refused.len() as u32);
    for seq in refused {
        out.put_u64_le(seq.0);
    }
    out.freeze()
}

pub(crate) fn decode_refused(body: &Bytes) -> Option<Vec<Seq>> {
    let mut body = body.clone();
    let count = header(&mut body, 4)?.get_u32_le() as usize;
    (body.len() == count * 8).then(|| (0..count).map(|_| Seq(body.get_u64_le())).collect())
}

fn encode_index(index: u64) -> Bytes {
    let mut out = BytesMut::with_capacity(9);
    out.put_u8(VERSION);
    out.put_u64_le(index);
    out.freeze()
}

pub(crate) fn decode_index(body: &Bytes) -> Option<u64> {
    let mut body = body.clone();
    let index = header(&mut body, 8)?.get_u64_le();
    body.is_empty().then_some(index)
}

/// A keepalive or a time-to-live, asked of the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LeaseQuestion {
    pub lease: LeaseId,
    pub keep_alive: bool,
}

impl LeaseQuestion {
    pub fn encode(self) -> Bytes {
        let mut out = BytesMut::with_capacity(10);
        out.put_u8(VERSION);
        out.put_i64_le(self.lease.0);
        out.put_u8(u8::from(self.keep_alive));
        out.freeze()
    }

    fn decode(mut body: Bytes) -> Option<LeaseQuestion> {
        let body = header(&mut body, 9)?;
        let lease = LeaseId(body.get_i64_le());
        let keep_alive = match body.get_u8() {
            0 => false,
            1 => true,
            _ => return None,
        };
        body.is_empty()
            .then_some(LeaseQuestion { lease, keep_alive })
    }
}

/// The leader's answers carry few errors; any other becomes an unknown outcome.
fn encode_lease_answer(answer: &Result<LeaseInfo, Error>) -> Bytes {
    let mut out = BytesMut::with_capacity(26);
    out.put_u8(VERSION);
    match answer {
        Ok(info) => {
            out.put_u8(0);
            out.put_i64_le(info.id.0);
            out.put_i64_le(info.ttl);
            out.put_i64_le(info.granted_ttl);
        }
        Err(error) => out.put_u8(match error {
            Error::LeaseNotFound => 1,
            Error::NotLeader => 2,
            Error::NoLeader => 3,
            Error::LeaderChanged => 4,
            _ => 5,
        }),
    }
    out.freeze()
}

pub(crate) fn decode_lease_answer(body: &Bytes) -> Result<LeaseInfo, Error> {
    let mut body = body.clone();
    let Some(body) = header(&mut body, 1) else {
        return Err(Error::Timeout);
    };
    match (body.get_u8(), body.len()) {
        (0, 24) => Ok(LeaseInfo {
            id: LeaseId(body.get_i64_le()),
            ttl: body.get_i64_le(),
            granted_ttl: body.get_i64_le(),
            keys: Vec::new(),
        }),
        (1, 0) => Err(Error::LeaseNotFound),
        (2, 0) => Err(Error::NotLeader),
        (3, 0) => Err(Error::NoLeader),
        (4, 0) => Err(Error::LeaderChanged),
        _ => Err(Error::Timeout),
    }
}

/// Skips the version byte; `None` if it is not ours or fewer than `rest` bytes follow.
fn header(body: &mut Bytes, rest: usize) -> Option<&mut Bytes> {
    if body.len() < 1 + rest || body[0] != VERSION {
        return None;
    }
    body.advance(1);
    Some(body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use detcd_core::membership::admission::Greeting;

    fn proposal(seq: u64, command: &'static [u8]) -> Proposal {
        Proposal {
            origin: MemberId(7),
            seq,
            command: Bytes::from_static(command),
        }
    }

    #[test]
    fn proposals_round_trip_and_every_cut_is_refused() {
        let proposals = vec![
            proposal(1, b"one"),
            proposal(u64::MAX, b""),
            proposal(3, b"three"),
        ];
        let bytes = encode_proposals(&proposals);
        assert_eq!(decode_proposals(bytes.clone()), Some(proposals));
        for len in 0..bytes.len() {
            assert_eq!(decode_proposals(bytes.slice(..len)), None, "cut at {len}");
        }
    }

    /// Whatever bytes come, they are read to their end or refused.
    #[test]
    fn what_is_read_is_what_was_sent_or_nothing() {
        let put = b"\x01\x01\x00\x00\x01k\x01v";
        let from = MemberId(7);
        let good = encode_proposals(&[proposal(1, put), proposal(2, put)]);
        assert_eq!(
            read_proposals(from, good.clone()).map(|all| all.len()),
            Ok(2)
        );
        assert!(read_proposals(MemberId(8), good.clone()).is_err());
        let garbage = encode_proposals(&[proposal(1, put), proposal(2, b"\xff garbage")]);
        assert!(read_proposals(from, garbage).is_err());
        for at in 0..good.len() {
            for byte in [0, 0x7f, 0x80, 0xff] {
                let mut changed = good.to_vec();
                changed[at] = byte;
                let changed = Bytes::from(changed);
                if let Ok(proposals) = read_proposals(from, changed.clone()) {
                    assert_eq!(encode_proposals(&proposals), changed, "byte {at}");
                }
                // These are not what was encoded: nothing but their end is certain.
                let _ = reconfig::read_change(changed.clone());
                let _ = LeaseQuestion::decode(changed.clone());
                let _ = Greeting::decode(&changed);
            }
        }
    }

    #[test]
    fn lease_answers_round_trip() {
        let info = LeaseInfo {
            id: LeaseId(-5),
            ttl: 3,
            granted_ttl: 60,
            keys: Vec::new(),
        };
        let known = [
            Error::LeaseNotFound,
            Error::NotLeader,
            Error::NoLeader,
            Error::LeaderChanged,
        ];
        assert_eq!(
            decode_lease_answer(&encode_lease_answer(&Ok(info.clone()))),
            Ok(info)
        );
        for error in known {
            let bytes = encode_lease_answer(&Err(error.clone()));
            assert_eq!(decode_lease_answer(&bytes), Err(error));
        }
        let other = encode_lease_answer(&Err(Error::Stopped));
        assert_eq!(decode_lease_answer(&other), Err(Error::Timeout));
    }

    #[test]
    fn refusals_indexes_and_questions_round_trip() {
        let refused = vec![Seq(4), Seq(9)];
        assert_eq!(decode_refused(&encode_refused(&refused)), Some(refused));
        assert_eq!(decode_index(&encode_index(77)), Some(77));
        let question = LeaseQuestion {
            lease: LeaseId(8),
            keep_alive: true,
        };
        assert_eq!(LeaseQuestion::decode(question.encode()), Some(question));
        assert_eq!(
            LeaseQuestion::decode(Bytes::from_static(b"\x01garbage")),
            None
        );
    }
}
