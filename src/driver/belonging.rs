//! Whether this member belongs to its cluster: it is let in when it starts for the first time, and
//! it learns when it was removed.
//!
//! A member without a log has promised nothing that it knows of. If its disk was lost, it may have
//! promised much: so before it takes part, it greets the others with the number that was drawn for
//! its log, and waits until enough of them have answered. One that they know by another log, or by
//! what it has told the cluster of itself, is refused, for ever.
//!
//! Enough is a majority with the member itself. More would be safer still, but a member that comes
//! for the first time while another one is lost for good could then never be let in, and a cluster
//! of three with two whole disks would be dead for ever (swarm seed 453 of 2026-11-21). (What is
//! left: those who let a member in remember its log only as long as they run, and the cluster
//! remembers only what the member has told it, which it does as soon as there is a leader.)

use crate::run::Shared;
use bytes::{BufMut, Bytes, BytesMut};
use detcd_core::api::{Member, MemberId};
use detcd_core::limits::REMOVED_LINGER;
use detcd_core::query;
use detcd_peer::{Kind, Transport, TransportError};
use detcd_raft::Roster;
use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use futures::stream::BoxStream;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;

/// What a member answers to one that was removed.
pub(crate) const REMOVED: &str = "the member has been permanently removed from the cluster";

/// What a member is told whose own log alone says that it was removed.
pub(crate) const UNCONFIRMED: &str = "this member's log says that it was removed, and no other \
    member has confirmed it yet: keep its data-dir until `member list`, asked of another member, \
    does not show it any more";

/// How long another member may take to answer a greeting.
const HELLO_TIMEOUT: Duration = Duration::from_secs(1);
/// The pause between greetings, as long as too few have answered.
const HELLO_PAUSE: Duration = Duration::from_millis(50);

/// After so many rounds of greetings, and again after as many, the log tells who has not answered.
const HELLO_ROUNDS_TOLD: u64 = 100;

/// Since 2 a greeting names the log.
const VERSION: u8 = 2;

/// Why a member goes for good, though nothing is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Farewell {
    /// It was removed from the cluster.
    Removed,
    /// It starts without a log, but the cluster has seen it before.
    Forgetful,
}

/// Whether only raft asks and answers messages of this kind.
pub(crate) fn is_raft(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::AppendEntries | Kind::Vote | Kind::PreVote | Kind::TransferLeader | Kind::Snapshot
    )
}

/// Whether `from` may be answered at all; the text refuses it.
pub(crate) fn admit(shared: &Shared, from: u64, kind: Kind) -> Result<(), String> {
    if is_raft(kind) && !*shared.takes_part.borrow() {
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

/// How a member that is greeted stands to the greeter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Standing {
    /// It has never met the greeter.
    New = 0,
    /// It knows the greeter by another log.
    Knows = 1,
}

/// The logs of the members that have greeted this one, as long as it runs.
#[derive(Default)]
pub(crate) struct Acquaintances(Mutex<BTreeMap<MemberId, u64>>);

impl Acquaintances {
    /// Whether the one who greets was here before with another log; `told` is whether the cluster
    /// knows it by what it has told of itself. Whoever is new is remembered.
    fn knows_otherwise(&self, from: MemberId, log: u64, told: bool) -> bool {
        let mut logs = self.0.lock().expect("nothing panics while it holds them");
        match logs.get(&from) {
            Some(known) => *known != log,
            None if told => true,
            None => {
                logs.insert(from, log);
                false
            }
        }
    }
}

/// The answer to a greeting. A member that has just started does not know whom it has seen before
/// it has applied what is in its log: until then it says so, and does not count.
pub(crate) fn answer_hello(shared: &Shared, from: u64, greeting: &[u8]) -> Result<Bytes, String> {
    let log = decode_greeting(greeting).ok_or("a malformed greeting")?;
    let published = shared.engine.published();
    // A leader may have cut off the end of the log: what is gone need not be waited for.
    let log_end = shared.engine.status().last_log_index;
    if published.applied < shared.started_with.min(log_end) {
        return Err("this member has yet to read its log to the end".to_owned());
    }
    let members = query::members(&*published.view).map_err(|fault| fault.to_string())?;
    let is_from = |member: &&Member| member.id == MemberId(from);
    let told = members.iter().find(is_from);
    let told = told.is_some_and(|member| !member.client_urls.is_empty());
    let acquaintances = &shared.acquaintances;
    let standing = match acquaintances.knows_otherwise(MemberId(from), log, told) {
        true => Standing::Knows,
        false => Standing::New,
    };
    Ok(Bytes::copy_from_slice(&[VERSION, standing as u8]))
}

fn encode_greeting(log: u64) -> Bytes {
    let mut out = BytesMut::with_capacity(9);
    out.put_u8(VERSION);
    out.put_u64_le(log);
    out.freeze()
}

pub(crate) fn decode_greeting(greeting: &[u8]) -> Option<u64> {
    let (version, log) = greeting.split_first()?;
    let log: [u8; 8] = log.try_into().ok()?;
    (*version == VERSION).then_some(u64::from_le_bytes(log))
}

fn decode_standing(answer: &[u8]) -> Option<Standing> {
    match answer {
        [VERSION, 0] => Some(Standing::New),
        [VERSION, 1] => Some(Standing::Knows),
        _ => None,
    }
}

/// Greets the other members until enough of them have answered. `Err` if one knows this member by
/// another log; a member that was removed hears so through [`SensingTransport`], and waits here.
pub(crate) async fn introduce(shared: &Shared, others: &[MemberId]) -> Result<(), Farewell> {
    for round in 1_u64.. {
        let answers = greet(shared, others).await;
        if let Some(admitted) = judge(&answers) {
            return admitted;
        }
        if round.is_multiple_of(HELLO_ROUNDS_TOLD) {
            let silent = others.iter().zip(&answers);
            let silent = silent.filter(|(_, answer)| answer.is_none());
            let silent: Vec<String> = silent.map(|(id, _)| id.to_string()).collect();
            tracing::warn!(
                silent = silent.join(" "),
                "this member is new, and waits for more of the others to let it in: start them"
            );
        }
        detcd_rt::sleep(HELLO_PAUSE).await;
    }
    unreachable!("rounds do not end")
}

/// Greets the others as long as this member hears from no leader, and once at its start: they tell
/// it if it was removed while it was down, or before it could hear so from the leader. (A voter
/// would learn it when it stands for election; a learner never does.)
pub(crate) async fn greet_when_alone(shared: Arc<Shared>) {
    let pause = Duration::from_millis(shared.election_timeout.0);
    let mut takes_part = shared.takes_part.subscribe();
    let mut leader = shared.leader.clone();
    // Whoever has yet to be let in greets the others anyway.
    let mut goes_on = takes_part.wait_for(|takes_part| *takes_part).await.is_ok();
    while goes_on && leader.wait_for(Option::is_none).await.is_ok() {
        let others = others(&shared.engine.published().roster);
        greet(&shared, &others).await;
        let parting = shared.farewell.subscribe();
        goes_on = parting.borrow().is_none();
        detcd_rt::sleep(pause).await;
    }
}

/// What each answers; `None` if it does not.
async fn greet(shared: &Shared, others: &[MemberId]) -> Vec<Option<Standing>> {
    let greeting = encode_greeting(shared.log);
    let call = async |other: &MemberId| {
        let transport = &shared.transport;
        let call = transport.call(other.0, Kind::Hello, greeting.clone(), HELLO_TIMEOUT);
        decode_standing(&call.await.ok()?)
    };
    join_all(others.iter().map(call)).await
}

/// Whether the answers of the others let a member in that has no log, or refuse it; `None` if too
/// few have answered.
fn judge(answers: &[Option<Standing>]) -> Option<Result<(), Farewell>> {
    if answers.contains(&Some(Standing::Knows)) && !detcd_core::mutant!(WipedMember) {
        return Some(Err(Farewell::Forgetful));
    }
    let members = answers.len() + 1;
    let answered = answers.iter().flatten().count();
    (answered >= members / 2).then_some(Ok(()))
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
        // Its own log alone may have been written by whoever reaches the peer port.
        greet(&shared, &others(&shared.engine.published().roster)).await;
    }
    match *told.borrow() {
        true => tracing::warn!("the data-dir used by this member must be removed."),
        false => tracing::warn!("{UNCONFIRMED}"),
    }
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

    fn is_connected(&self, to: u64) -> bool {
        self.transport.is_connected(to)
    }

    fn reconnect(&self, to: u64) -> BoxFuture<'static, bool> {
        self.transport.reconnect(to)
    }
}

/// The members of a roster but this one.
fn others(roster: &Roster) -> Vec<MemberId> {
    let ids = roster.members.iter().map(|member| member.id);
    ids.filter(|id| *id != roster.own_id).collect()
}

#[cfg(test)]
mod tests {
    use super::Standing::{Knows, New};
    use super::*;

    #[test]
    fn greetings_and_answers_are_read_as_they_were_written() {
        let greeting = encode_greeting(0x0102_0304_0506_0708);
        assert_eq!(greeting[..], [2, 8, 7, 6, 5, 4, 3, 2, 1]);
        assert_eq!(decode_greeting(&greeting), Some(0x0102_0304_0506_0708));
        assert_eq!(decode_greeting(&greeting[..8]), None);
        assert_eq!(decode_greeting(&[1, 8, 7, 6, 5, 4, 3, 2, 1]), None);
        for standing in [New, Knows] {
            let answer = [VERSION, standing as u8];
            assert_eq!(decode_standing(&answer), Some(standing));
        }
        assert_eq!(decode_standing(&[VERSION, 2]), None);
    }

    #[test]
    fn who_greets_with_another_log_was_here_before() {
        let acquaintances = Acquaintances::default();
        let [one, two] = [MemberId(1), MemberId(2)];
        assert!(!acquaintances.knows_otherwise(one, 7, false));
        assert!(!acquaintances.knows_otherwise(one, 7, true), "it restarted");
        assert!(acquaintances.knows_otherwise(one, 8, false));
        assert!(acquaintances.knows_otherwise(one, 8, false), "and again");
        assert!(acquaintances.knows_otherwise(two, 8, true));
        assert!(acquaintances.knows_otherwise(two, 8, true), "and again");
    }

    #[test]
    fn a_majority_lets_in() {
        assert_eq!(judge(&[]), Some(Ok(())));
        assert_eq!(judge(&[None]), None);
        assert_eq!(judge(&[Some(New)]), Some(Ok(())));
        assert_eq!(judge(&[Some(New), None]), Some(Ok(())));
        assert_eq!(judge(&[Some(New), None, None]), None);
        assert_eq!(judge(&[Some(New), Some(New), None, None]), Some(Ok(())));
    }

    #[test]
    fn one_who_knows_better_is_enough() {
        let refused = Some(Err(Farewell::Forgetful));
        assert_eq!(judge(&[Some(Knows), None, None, None]), refused);
        assert_eq!(judge(&[Some(New), Some(New), Some(Knows)]), refused);
    }
}
