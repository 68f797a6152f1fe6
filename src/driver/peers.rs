//! What members ask of each other besides raft itself: proposals for the leader, its read index,
//! its leases.

use crate::inbox::{Input, Requests};
pub(crate) use crate::peer_bodies::{
    LeaseQuestion, decode_index, decode_lease_answer, decode_refused, encode_proposals,
};
use crate::peer_bodies::{decode_proposals, encode_index, encode_lease_answer, encode_refused};
use crate::shared::Shared;
use crate::{admission, reconfig};
use bytes::Bytes;
use detcd_core::api::{LeaseInfo, Member, MemberId};
use detcd_core::command::Proposal;
use detcd_core::error::Error;
use detcd_core::event::{Asker, Event};
use detcd_core::proposal;
use detcd_peer::{Kind, Receiver};
use detcd_rt::buggify::{Place, maybe_wait};
use detcd_rt::{Instant, RepeatedLines};
use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use futures::stream::BoxStream;
use std::sync::Arc;
use tokio::sync::oneshot;

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
                    maybe_wait(Place::Forwarded).await;
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
        if from == self.shared.member_id().0 {
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
        let engine = &self.shared.engine;
        is_in(&engine.published().roster.members)
            || is_in(&self.shared.founders)
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
    let proposals = decode_proposals(&body).map_err(|error| error.to_string())?;
    for proposal in &proposals {
        proposal::check(from, proposal).map_err(|refusal| refusal.to_string())?;
    }
    Ok(proposals)
}

async fn ask_lease(shared: &Shared, requests: Requests, body: Bytes) -> Result<LeaseInfo, Error> {
    let question = LeaseQuestion::decode(&body).map_err(|_| Error::Malformed("lease question"))?;
    let ticket = shared.names.next();
    let (asker, lease) = (Asker::Peer(ticket), question.lease);
    let event = match question.keep_alive {
        true => Event::KeepAlive { asker, lease },
        false => Event::TimeToLive { asker, lease },
    };
    let (waiter, answered) = oneshot::channel();
    let input = Input::PeerLease {
        ticket,
        event,
        waiter,
    };
    requests.send(input).await.map_err(|_| Error::Stopped)?;
    answered.await.map_err(|_| Error::Stopped)?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer_bodies::encode_proposals;
    use crate::peer_bodies::tests::proposal;
    use detcd_core::membership::admission::Greeting;

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
                let _ = LeaseQuestion::decode(&changed);
                let _ = Greeting::decode(&changed);
            }
        }
    }
}
