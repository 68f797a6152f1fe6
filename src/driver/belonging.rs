//! Whether this member belongs to its cluster: it is let in when it starts for the first time, and
//! it learns when it was removed.
//!
//! A member without a log has promised nothing that it knows of. If its disk was lost, it may have
//! promised much: so before it takes part, it asks the others whether they have seen it before,
//! and waits until most members (itself among them) have answered. One that was seen before is
//! refused, for ever.

use crate::run::Shared;
use bytes::{BufMut, Bytes, BytesMut};
use detcd_core::api::MemberId;
use detcd_core::limits::REMOVED_LINGER;
use detcd_core::query;
use detcd_peer::{Kind, Transport, TransportError};
use detcd_raft::Roster;
use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use futures::stream::BoxStream;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// What a member answers to one that was removed.
pub(crate) const REMOVED: &str = "the member has been permanently removed from the cluster";

/// How long another member may take to answer a greeting.
const HELLO_TIMEOUT: Duration = Duration::from_secs(1);
/// The pause between greetings, as long as too few have answered.
const HELLO_PAUSE: Duration = Duration::from_millis(50);

const VERSION: u8 = 1;

/// Why a member goes for good, though nothing is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Farewell {
    /// It was removed from the cluster.
    Removed,
    /// It starts without a log, but the cluster has seen it before.
    Forgetful,
}

/// Whether `from` may be answered at all; the text refuses it.
pub(crate) fn admit(shared: &Shared, from: u64, kind: Kind) -> Result<(), String> {
    let is_raft = matches!(
        kind,
        Kind::AppendEntries | Kind::Vote | Kind::PreVote | Kind::TransferLeader | Kind::Snapshot
    );
    if is_raft && !*shared.takes_part.borrow() {
        return Err("this member has yet to be let in".to_owned());
    }
    let published = shared.engine.published();
    let roster = &published.roster;
    // A leader that was removed tells the others so: what it sends as leader is still of use.
    let as_leader = matches!(
        kind,
        Kind::AppendEntries | Kind::TransferLeader | Kind::Snapshot
    );
    let comes_back = detcd_core::mutant!(RemovedComesBack);
    if !as_leader && roster.removed.contains(&MemberId(from)) && !comes_back {
        return Err(REMOVED.to_owned());
    }
    if matches!(kind, Kind::Vote | Kind::PreVote) && roster.is_removed() {
        return Err("this member was removed, and votes no more".to_owned());
    }
    Ok(())
}

/// The answer to a greeting. A member that has just started does not know whom it has seen before
/// it has applied what is in its log: until then it says so, and does not count.
pub(crate) fn answer_hello(shared: &Shared, from: u64) -> Result<Bytes, String> {
    let published = shared.engine.published();
    // A leader may have cut off the end of the log: what is gone need not be waited for.
    let log_end = shared.engine.status().last_log_index;
    if published.applied < shared.started_with.min(log_end) {
        return Err("this member has yet to read its log to the end".to_owned());
    }
    let members = query::members(&*published.view).map_err(|fault| fault.to_string())?;
    let seen = members
        .iter()
        .any(|member| member.id == MemberId(from) && !member.client_urls.is_empty());
    let mut out = BytesMut::with_capacity(2);
    out.put_u8(VERSION);
    out.put_u8(u8::from(seen));
    Ok(out.freeze())
}

/// Whether the one who answered has seen this member before.
fn decode_hello(answer: &[u8]) -> Option<bool> {
    match answer {
        [VERSION, 0] => Some(false),
        [VERSION, 1] => Some(true),
        _ => None,
    }
}

/// Greets the other members until most of all have answered. `Err` if one has seen this member
/// before; a member that was removed hears so through [`SensingTransport`], and waits here.
pub(crate) async fn introduce(shared: &Shared, others: &[MemberId]) -> Result<(), Farewell> {
    let members = others.len() + 1;
    loop {
        let answers = join_all(others.iter().map(|other| hello(shared, *other))).await;
        if answers.contains(&Some(true)) {
            return Err(Farewell::Forgetful);
        }
        let answered = answers.iter().flatten().count() + 1;
        if answered > members / 2 {
            return Ok(());
        }
        detcd_rt::sleep(HELLO_PAUSE).await;
    }
}

/// Greets one member; `None` if it does not answer.
pub(crate) async fn hello(shared: &Shared, other: MemberId) -> Option<bool> {
    let transport = &shared.transport;
    let call = transport.call(other.0, Kind::Hello, Bytes::new(), HELLO_TIMEOUT);
    decode_hello(&call.await.ok()?)
}

/// Says farewell once this member knows that it was removed: by its own log, or because another
/// member told it.
pub(crate) async fn await_removal(shared: Arc<Shared>, mut told: watch::Receiver<bool>) {
    let mut applied = shared.removed.subscribe();
    let lingers = tokio::select! {
        biased;
        removed = applied.wait_for(|removed| *removed) => removed.is_ok(),
        told = told.wait_for(|told| *told) => match told {
            Ok(_) => false,
            Err(_) => return,
        },
    };
    tracing::error!("{REMOVED}");
    if detcd_core::mutant!(RemovedServes) {
        return;
    }
    if lingers {
        // The others may not know yet that what they have is committed.
        detcd_rt::sleep(Duration::from_millis(REMOVED_LINGER.0)).await;
    }
    tracing::warn!("the data-dir used by this member must be removed.");
    shared.part(Farewell::Removed);
}

/// Listens to what others refuse: a member that was removed is told so.
pub(crate) struct SensingTransport {
    transport: Arc<dyn Transport>,
    removed: Arc<watch::Sender<bool>>,
}

impl SensingTransport {
    pub fn new(transport: Arc<dyn Transport>) -> (SensingTransport, watch::Receiver<bool>) {
        let removed = Arc::new(watch::Sender::new(false));
        let told = removed.subscribe();
        (SensingTransport { transport, removed }, told)
    }

    fn sense(
        &self,
        call: BoxFuture<'static, Result<Bytes, TransportError>>,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        let removed = self.removed.clone();
        async move {
            let answer = call.await;
            if matches!(&answer, Err(TransportError::Refused(_, reason)) if reason == REMOVED) {
                removed.send_replace(true);
            }
            answer
        }
        .boxed()
    }
}

impl Transport for SensingTransport {
    fn set_peer(&self, id: u64, peer_urls: Vec<String>) {
        self.transport.set_peer(id, peer_urls);
    }

    fn remove_peer(&self, id: u64) {
        self.transport.remove_peer(id);
    }

    fn call(
        &self,
        to: u64,
        kind: Kind,
        body: Bytes,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        let call = self.transport.call(to, kind, body, timeout);
        // Heartbeats and entries are never refused so, and are many.
        match kind {
            Kind::AppendEntries => call,
            _ => self.sense(call),
        }
    }

    fn stream(
        &self,
        to: u64,
        kind: Kind,
        chunks: BoxStream<'static, Bytes>,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        self.transport.stream(to, kind, chunks)
    }
}

/// The members of a roster but this one.
pub(crate) fn others(roster: &Roster) -> Vec<MemberId> {
    let ids = roster.members.iter().map(|member| member.id);
    ids.filter(|id| *id != roster.own_id).collect()
}
