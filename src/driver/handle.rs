//! The door through which every protocol serves: requests and replies in core's types.

use crate::inbox::{Answer, Input, Requests};
use crate::run::Shared;
use crate::stats::Stats;
use crate::watch::Watch;
use detcd_core::api::*;
use detcd_core::command::Command;
use detcd_core::error::Error;
use detcd_core::event::{Asker, Event, Seq};
use detcd_core::membership::admission::ShutdownReason;
use detcd_core::query::{self, At, HashKv, QueryError};
use detcd_core::{codec, lease, quota, validate};
use detcd_raft::{Published, RaftStatus};
use detcd_rt::buggify::{Place, linger};
use futures::future::{self, Either};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::oneshot;

/// What stands on every response (etcd: ResponseHeader).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub cluster_id: ClusterId,
    pub member_id: MemberId,
    pub revision: i64,
    pub raft_term: u64,
}

/// A member as Maintenance.Status tells it.
#[derive(Clone, Debug)]
pub struct MemberStatus {
    pub raft: RaftStatus,
    pub db_size: i64,
    pub db_size_in_use: i64,
}

/// A member's service. Cheap to clone; every method may be called on any task.
///
/// A write's error is definite unless it is one of the `Timeout` family or `Stopped`: then the
/// write may take effect at any later time, or never.
#[derive(Clone)]
pub struct Handle {
    pub(crate) shared: Arc<Shared>,
    pub(crate) requests: Requests,
}

impl Handle {
    pub async fn range(&self, request: RangeRequest) -> Result<(Header, RangeReply), Error> {
        validate::range(&request)?;
        let published = self.view_for(request.serializable).await?;
        let at = at(&published);
        let header = self.header(at.revision);
        let reply = if query::is_short(&*published.view, at, &request) {
            self.settle(query::range(&*published.view, at, &request))?
        } else {
            self.query_aside(move || query::range(&*published.view, at, &request))
                .await?
        };
        self.shared.stats.ranges.add(1);
        Ok((header, reply))
    }

    /// The chunks of a range read, in key order, all of one revision. The last one alone carries
    /// `count` and `more`.
    pub async fn range_stream(
        &self,
        request: RangeRequest,
    ) -> Result<(Header, RangeStream), Error> {
        validate::range(&request)?;
        let published = self.view_for(request.serializable).await?;
        let header = self.header(at(&published).revision);
        let rest = Some(Rest {
            request,
            from: None,
        });
        let stream = RangeStream {
            handle: self.clone(),
            published,
            rest,
        };
        self.shared.stats.ranges.add(1);
        Ok((header, stream))
    }

    pub async fn put(&self, request: PutRequest) -> Result<(Header, PutReply), Error> {
        validate::put(&request)?;
        match self.write(Command::Put(request)).await? {
            (header, Reply::Put(reply)) => Ok((header, reply)),
            (_, other) => unreachable_reply("put", &other),
        }
    }

    pub async fn delete_range(
        &self,
        request: DeleteRangeRequest,
    ) -> Result<(Header, DeleteRangeReply), Error> {
        validate::delete_range(&request)?;
        match self.write(Command::DeleteRange(request)).await? {
            (header, Reply::DeleteRange(reply)) => Ok((header, reply)),
            (_, other) => unreachable_reply("delete range", &other),
        }
    }

    /// A transaction without writes is a read: it never enters the log.
    pub async fn txn(&self, request: TxnRequest) -> Result<(Header, TxnReply), Error> {
        validate::txn(&request, &self.shared.limits)?;
        if request.is_read_only() {
            let published = self.view_for(request.is_serializable()).await?;
            let at = at(&published);
            let header = self.header(at.revision);
            let reply = self
                .query_aside(move || query::txn(&*published.view, at, &request))
                .await?;
            self.shared.stats.read_txn(&reply);
            return Ok((header, reply));
        }
        match self.write(Command::Txn(request)).await? {
            (header, Reply::Txn(reply)) => Ok((header, reply)),
            (_, other) => unreachable_reply("txn", &other),
        }
    }

    /// With `physical`, answers only when this member has removed the rows.
    pub async fn compact(&self, request: CompactRequest) -> Result<Header, Error> {
        let (header, _) = self.write(Command::Compact(request)).await?;
        if request.physical {
            let mut finished = self.shared.compacted.subscribe();
            finished
                .wait_for(|revision| *revision >= request.revision)
                .await
                .map_err(|_| Error::Stopped)?;
        }
        Ok(header)
    }

    /// Grants a lease; `id = 0` chooses one. Answers the id and the time-to-live in seconds, which
    /// may be more than what was asked for.
    pub async fn lease_grant(
        &self,
        id: LeaseId,
        ttl: i64,
    ) -> Result<(Header, LeaseId, i64), Error> {
        let ttl = validate::lease_ttl(ttl, lease::ttl_min(self.shared.election_timeout))?;
        let id = lease::settle_id(id, detcd_rt::random_u64());
        match self.write(Command::LeaseGrant { id, ttl }).await? {
            (header, Reply::LeaseGrant { id, ttl }) => Ok((header, id, ttl)),
            (_, other) => unreachable_reply("lease grant", &other),
        }
    }

    pub async fn lease_revoke(&self, id: LeaseId) -> Result<Header, Error> {
        Ok(self.write(Command::LeaseRevoke { id }).await?.0)
    }

    /// Renews a lease. `ttl` is 0 if there is no such lease.
    pub async fn keep_alive(&self, lease: LeaseId) -> Result<(Header, LeaseInfo), Error> {
        let info = self
            .ask_lease(|seq| Event::KeepAlive {
                asker: Asker::Local(seq),
                lease,
            })
            .await?;
        Ok((self.header_now(), info))
    }

    /// What a lease has left, and with `keys` the keys attached to it.
    pub async fn time_to_live(
        &self,
        lease: LeaseId,
        keys: bool,
    ) -> Result<(Header, LeaseInfo), Error> {
        let mut info = self
            .ask_lease(|seq| Event::TimeToLive {
                asker: Asker::Local(seq),
                lease,
            })
            .await?;
        if keys && info.ttl >= 0 {
            let published = self.view_for(false).await?;
            info.keys = self.settle_fault(query::lease_keys(&*published.view, lease))?;
        }
        Ok((self.header_now(), info))
    }

    /// The leases that there are. Without a leader, or if none answers, those that this member
    /// knows of: its clients have to go on by them.
    pub async fn leases(&self) -> Result<(Header, Vec<LeaseId>), Error> {
        self.full_member()?;
        let mut leader = self.leader();
        let lost = pin!(leader.wait_for(Option::is_none));
        if let Either::Left((Err(Error::Stopped), _)) =
            future::select(pin!(self.confirm_read()), lost).await
        {
            return Err(Error::Stopped);
        }
        let published = self.shared.engine.published();
        let leases = self.settle_fault(query::leases(&*published.view))?;
        Ok((
            self.header(at(&published).revision),
            leases.into_iter().map(|(id, _)| id).collect(),
        ))
    }

    /// Opens a watch stream.
    pub async fn watch(&self) -> Result<Watch, Error> {
        self.full_member()?;
        let stream = StreamId(self.shared.next_seq.fetch_add(1, Ordering::Relaxed));
        Watch::open(stream, self.requests.clone(), self.shared.stats.clone())
            .await
            .ok_or(Error::Stopped)
    }

    /// The members by their ids. A member that has applied nothing yet lists those that it was
    /// started with: they are who is to be asked about the cluster.
    pub async fn member_list(&self, linearizable: bool) -> Result<(Header, Vec<Member>), Error> {
        let published = self.view_for(!linearizable).await?;
        let mut members = self.settle_fault(query::members(&*published.view))?;
        if members.is_empty() {
            members = self.shared.founders.clone();
            members.sort_unstable_by_key(|member| member.id);
        }
        Ok((self.header(at(&published).revision), members))
    }

    /// The hash of all key-value rows up to `revision` (0: the latest) and its header.
    pub async fn hash_kv(&self, revision: i64) -> Result<(Header, HashKv), Error> {
        let published = self.shared.engine.published();
        let at = at(&published);
        let begun = detcd_rt::Instant::now();
        let hash = self
            .query_aside(move || query::hash_kv(&*published.view, at, revision))
            .await?;
        self.shared.stats.hashes.observe_seconds(begun.elapsed());
        Ok((self.header(at.revision), hash))
    }

    /// Waits until this member, be it a learner, could serve a linearizable read.
    pub async fn confirm_read(&self) -> Result<(), Error> {
        self.ask(|seq, answer| Input::Read { seq, answer })
            .await
            .map(|_| ())
    }

    /// Answers the alarms that were asked for, raised or disarmed.
    pub async fn alarm(&self, request: AlarmRequest) -> Result<(Header, Vec<Alarm>), Error> {
        match request {
            AlarmRequest::List(kind) => {
                self.full_member()?;
                self.confirm_read().await?;
                let mut alarms = self.alarms_known()?;
                alarms.retain(|alarm| kind.is_none_or(|kind| alarm.kind == kind));
                Ok((self.header_now(), alarms))
            }
            AlarmRequest::Raise(alarm) => match self.write(Command::AlarmRaise(alarm)).await? {
                (header, Reply::AlarmRaise(alarm)) => Ok((header, vec![alarm])),
                (_, other) => unreachable_reply("raise", &other),
            },
            AlarmRequest::Disarm(alarm) => match self.write(Command::AlarmDisarm(alarm)).await? {
                (header, Reply::AlarmDisarm(disarmed)) => {
                    Ok((header, disarmed.into_iter().collect()))
                }
                (_, other) => unreachable_reply("disarm", &other),
            },
            AlarmRequest::Nothing => Ok((self.header_now(), Vec::new())),
        }
    }

    /// The alarms that are raised as far as this member knows.
    pub fn alarms_known(&self) -> Result<Vec<Alarm>, Error> {
        self.settle_fault(query::alarms(&*self.shared.engine.published().view))
    }

    pub fn status(&self) -> MemberStatus {
        let size = self.shared.engine.size();
        MemberStatus {
            raft: self.shared.engine.status(),
            db_size: size.total_bytes as i64,
            db_size_in_use: size.in_use_bytes as i64,
        }
    }

    /// What this member counts of itself.
    pub fn stats(&self) -> &Stats {
        &self.shared.stats
    }

    /// The member that leads, as long as this member hears from it (or, if it leads itself, from a
    /// quorum).
    pub fn leader(&self) -> tokio::sync::watch::Receiver<Option<MemberId>> {
        self.shared.leader.clone()
    }

    /// Why the member had to halt, once it has.
    pub fn fatal(&self) -> tokio::sync::watch::Receiver<Option<String>> {
        self.shared.fatal.subscribe()
    }

    /// Why this member stops for good, once it does: the process is to end.
    pub fn shutdown_reason(&self) -> tokio::sync::watch::Receiver<Option<ShutdownReason>> {
        self.shared.shutdown_reason.subscribe()
    }

    /// What this member has applied and published.
    pub fn published(&self) -> Arc<Published> {
        self.shared.engine.published()
    }

    /// The header of a response that shows `revision`.
    pub fn header(&self, revision: i64) -> Header {
        Header {
            cluster_id: self.shared.cluster_id,
            member_id: self.shared.member_id,
            revision,
            raft_term: self.shared.term.load(Ordering::Relaxed),
        }
    }

    /// The header with the revision applied last.
    pub fn header_now(&self) -> Header {
        self.header(self.shared.engine.published().revision)
    }

    /// A member at its quota refuses what would add to its store, and says so to all the others
    /// before it answers.
    async fn write(&self, command: Command) -> Result<(Header, Reply), Error> {
        self.full_member()?;
        let shared = &self.shared;
        let (growth, size) = (quota::growth(&command), || shared.engine.size().total_bytes);
        if growth > 0 && !shared.quota.admit(detcd_rt::now_ms(), growth, size) {
            if !self.settle_fault(shared.no_space_is_raised())? {
                self.propose(Command::AlarmRaise(shared.no_space())).await?;
            }
            return Err(Error::NoSpace);
        }
        self.propose(command).await
    }

    pub(crate) async fn propose(&self, command: Command) -> Result<(Header, Reply), Error> {
        let command = codec::encode_command(&command);
        validate::command_size(&command, &self.shared.limits)?;
        let outcome = self
            .ask(|seq, answer| Input::Write {
                seq,
                command,
                answer,
            })
            .await?;
        linger(Place::Answer).await;
        Ok((self.header(outcome.revision), outcome.result?))
    }

    /// Learners answer only what any member can tell by itself.
    pub(crate) fn full_member(&self) -> Result<(), Error> {
        match self.is_learner() {
            true => Err(Error::LearnerUnsupported),
            false => Ok(()),
        }
    }

    /// Whether this member was added as a learner, and not promoted since.
    pub fn is_learner(&self) -> bool {
        self.shared.engine.published().roster.is_learner()
    }

    async fn view_for(&self, serializable: bool) -> Result<Arc<Published>, Error> {
        if !serializable {
            self.full_member()?;
            self.confirm_read().await?;
        }
        Ok(self.shared.engine.published())
    }

    async fn ask_lease(&self, event: impl FnOnce(Seq) -> Event) -> Result<LeaseInfo, Error> {
        self.full_member()?;
        self.ask(|seq, answer| Input::Lease {
            seq,
            event: event(seq),
            answer,
        })
        .await
    }

    /// Puts a request before the node and waits for its answer. If the caller goes away first,
    /// the node is told to forget the request.
    async fn ask<T>(&self, input: impl FnOnce(Seq, Answer<T>) -> Input) -> Result<T, Error> {
        let seq = Seq(self.shared.next_seq.fetch_add(1, Ordering::Relaxed));
        let (answer, answered) = oneshot::channel();
        self.requests
            .send(input(seq, answer))
            .await
            .map_err(|_| Error::Stopped)?;
        let forget = Forget {
            seq: Some(seq),
            requests: &self.requests,
        };
        let result = answered.await.map_err(|_| Error::Stopped);
        forget.defuse();
        result?
    }

    /// Runs a query that may take long beside the tasks that serve others.
    async fn query_aside<T: Send + 'static>(
        &self,
        query: impl FnOnce() -> Result<T, QueryError> + Send + 'static,
    ) -> Result<T, Error> {
        let result = detcd_rt::spawn_blocking(query)
            .await
            .map_err(|_| Error::Stopped)?;
        self.settle(result)
    }

    fn settle<T>(&self, result: Result<T, QueryError>) -> Result<T, Error> {
        match result {
            Ok(value) => Ok(value),
            Err(QueryError::Request(error)) => Err(error),
            Err(QueryError::Fault(fault)) => self.settle_fault(Err(fault)),
        }
    }

    /// Stored rows that make no sense halt the member: nothing that it says can be trusted.
    fn settle_fault<T>(&self, result: Result<T, detcd_core::view::Fault>) -> Result<T, Error> {
        result.map_err(|fault| {
            self.shared.halt(&fault.to_string());
            Error::Corrupt
        })
    }
}

/// A streamed range under way.
pub struct RangeStream {
    handle: Handle,
    published: Arc<Published>,
    /// `None` once the last chunk or an error was given.
    rest: Option<Rest>,
}

struct Rest {
    request: RangeRequest,
    from: Option<query::ChunkCursor>,
}

impl RangeStream {
    /// The next chunk, or `None` after the last.
    pub async fn next(&mut self) -> Option<Result<RangeReply, Error>> {
        let Rest { request, from } = self.rest.take()?;
        let published = self.published.clone();
        let chunk = self.handle.query_aside(move || {
            let (reply, next) =
                query::range_chunk(&*published.view, at(&published), &request, from)?;
            Ok((
                reply,
                next.map(|next| Rest {
                    request,
                    from: Some(next),
                }),
            ))
        });
        match chunk.await {
            Err(error) => Some(Err(error)),
            Ok((reply, rest)) => {
                self.rest = rest;
                Some(Ok(reply))
            }
        }
    }
}

/// Tells the node that nobody waits any more, when a request's task is dropped.
struct Forget<'a> {
    seq: Option<Seq>,
    requests: &'a Requests,
}

impl Forget<'_> {
    fn defuse(mut self) {
        self.seq = None;
    }
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        if let Some(seq) = self.seq {
            // Under a full queue the request is dropped by its deadline instead.
            let _ = self.requests.try_send(Input::Event(Event::Forget { seq }));
        }
    }
}

fn at(published: &Published) -> At {
    At {
        revision: published.revision,
        compact_revision: published.compact_revision,
    }
}

/// Apply answers each command with its own kind of reply; another kind is a bug of apply.
fn unreachable_reply<T>(asked: &str, got: &Reply) -> T {
    panic!("apply answered a {asked} with {got:?}")
}
