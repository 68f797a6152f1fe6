//! Elections: who has the oldest key of the queue leads, and the key's value is what it proclaims.

use crate::concurrency::{Changes, Queue, created_at, is_put, leave, operations, take_turn};
use crate::error::ConcurrencyError;
use crate::{Call, CallError};
use bytes::Bytes;
use detcd_core::error::Error;
use detcd_wire::etcdserverpb as pb;
use detcd_wire::mvccpb::KeyValue;
use detcd_wire::v3electionpb::{
    CampaignRequest, CampaignResponse, LeaderKey, LeaderRequest, LeaderResponse, ProclaimRequest,
    ProclaimResponse, ResignRequest, ResignResponse,
};
use futures::stream::{self, Stream};
use pb::request_op::Request;
use std::collections::VecDeque;
use std::mem;

impl Call {
    pub(crate) async fn campaign(
        self,
        request: CampaignRequest,
    ) -> Result<CampaignResponse, ConcurrencyError> {
        let lease = self.session_lease(request.lease).await?;
        let (name, value) = (request.name, request.value);
        let queue = Queue::new(self, &name);
        let (entering, first_value) = (queue.clone(), value.clone());
        let enter = async move { Ok(entering.enter(lease, first_value).await?) };
        take_turn(queue, enter, move |queue, entry| async move {
            let leader = LeaderKey {
                name,
                key: entry.key,
                rev: entry.create_revision,
                lease,
            };
            // A candidate that comes back may have another value than before.
            if entry.found.is_some_and(|found| found != value) {
                proclaim(queue.call(), &leader, lease, value).await?;
            }
            if !entry.is_first {
                queue.wait_until_first(leader.rev).await?;
            }
            Ok(CampaignResponse {
                header: entry.header,
                leader: Some(leader),
            })
        })
        .await
    }

    pub(crate) async fn proclaim(
        self,
        request: ProclaimRequest,
    ) -> Result<ProclaimResponse, ConcurrencyError> {
        let leader = request.leader.ok_or(ConcurrencyError::MissingLeader)?;
        let lease = self.session_lease(leader.lease).await?;
        let header = proclaim(&self, &leader, lease, request.value).await?;
        Ok(ProclaimResponse { header })
    }

    /// Who does not lead any more has nothing to resign from, and is told so by nothing.
    pub(crate) async fn resign(
        self,
        request: ResignRequest,
    ) -> Result<ResignResponse, ConcurrencyError> {
        let leader = request.leader.ok_or(ConcurrencyError::MissingLeader)?;
        let header = leave(&self, leader.key, leader.rev).await?;
        Ok(ResignResponse { header })
    }

    pub(crate) async fn leader(
        self,
        request: LeaderRequest,
    ) -> Result<LeaderResponse, ConcurrencyError> {
        let first = Queue::new(self.clone(), &request.name).first();
        let found = self.inner_range(first).await?;
        let kv = found.kvs.into_iter().next();
        Ok(LeaderResponse {
            header: found.header,
            kv: Some(kv.ok_or(ConcurrencyError::NoLeader)?),
        })
    }

    pub(crate) fn observe(
        self,
        request: LeaderRequest,
    ) -> impl Stream<Item = Result<LeaderResponse, CallError>> + Send {
        let observer = Observer {
            queue: Queue::new(self, &request.name),
            state: State::Look,
            ready: VecDeque::new(),
            told: (Bytes::new(), 0),
        };
        stream::unfold(Some(observer), |observer| async {
            let mut observer = observer?;
            let response = observer.next().await.map_err(|error| match error {
                ConcurrencyError::Request(Error::Stopped) => Error::Stopped.into(),
                // etcd does not tell why.
                _ => ConcurrencyError::ObserveClosed.into(),
            });
            let rest = response.is_ok().then_some(observer);
            Some((response, rest))
        })
    }
}

/// Gives the leader's key a value, if the leader still leads.
async fn proclaim(
    call: &Call,
    leader: &LeaderKey,
    lease: i64,
    value: Bytes,
) -> Result<Option<pb::ResponseHeader>, ConcurrencyError> {
    let put = Request::RequestPut(pb::PutRequest {
        key: leader.key.clone(),
        value,
        lease,
        ..Default::default()
    });
    let txn = pb::TxnRequest {
        compare: vec![created_at(leader.key.clone(), leader.rev)],
        success: operations([put]),
        failure: Vec::new(),
    };
    let reply = call.inner_txn(txn).await?;
    match reply.succeeded {
        true => Ok(reply.header),
        false => Err(ConcurrencyError::NotLeader),
    }
}

/// Follows who leads and what is proclaimed.
struct Observer {
    queue: Queue,
    state: State,
    ready: VecDeque<LeaderResponse>,
    /// The key and the mod revision of the last response. The key of the next leader may be older.
    told: (Bytes, i64),
}

enum State {
    /// The leader has to be read.
    Look,
    /// Nobody leads: the first put of the queue will.
    Vacant(Changes),
    /// The changes of the leader's key.
    Led(Changes),
}

impl Observer {
    async fn next(&mut self) -> Result<LeaderResponse, ConcurrencyError> {
        loop {
            if let Some(response) = self.ready.pop_front() {
                return Ok(response);
            }
            // Without changes to go on with, the leader is read again.
            match mem::replace(&mut self.state, State::Look) {
                State::Look => self.look().await?,
                State::Vacant(mut changes) => {
                    if let Some(response) = changes.next().await? {
                        self.elected(response, changes).await?;
                    }
                }
                State::Led(mut changes) => {
                    if let Some(response) = changes.next().await? {
                        self.changed(response, changes);
                    }
                }
            }
        }
    }

    async fn look(&mut self) -> Result<(), ConcurrencyError> {
        let call = self.queue.call();
        let found = call.inner_range(self.queue.first()).await?;
        let header = found.header.unwrap_or_default();
        let next = header.revision + 1;
        let Some(kv) = found.kvs.into_iter().next() else {
            let (key, end) = (self.queue.prefix(), self.queue.end());
            self.state = State::Vacant(call.inner_watch(key, end, next).await?);
            return Ok(());
        };
        self.follow(header, kv, next).await
    }

    async fn elected(
        &mut self,
        response: pb::WatchResponse,
        changes: Changes,
    ) -> Result<(), ConcurrencyError> {
        let header = response.header.unwrap_or_default();
        let mut puts = response.events.into_iter().filter(is_put);
        let Some(kv) = puts.next().and_then(|event| event.kv) else {
            self.state = State::Vacant(changes);
            return Ok(());
        };
        let revision = kv.mod_revision;
        let header = pb::ResponseHeader { revision, ..header };
        self.follow(header, kv, revision + 1).await
    }

    /// Tells of the leader and watches its key from a revision on.
    async fn follow(
        &mut self,
        header: pb::ResponseHeader,
        kv: KeyValue,
        start: i64,
    ) -> Result<(), ConcurrencyError> {
        let call = self.queue.call();
        let changes = call.inner_watch(kv.key.clone(), Bytes::new(), start);
        self.state = State::Led(changes.await?);
        self.tell(header, kv);
        Ok(())
    }

    fn changed(&mut self, response: pb::WatchResponse, changes: Changes) {
        let header = response.header.unwrap_or_default();
        for event in response.events {
            if !is_put(&event) {
                return;
            }
            let kv = event.kv.unwrap_or_default();
            let revision = kv.mod_revision;
            self.tell(pb::ResponseHeader { revision, ..header }, kv);
        }
        self.state = State::Led(changes);
    }

    fn tell(&mut self, header: pb::ResponseHeader, kv: KeyValue) {
        // What is read again after a compaction may be known.
        if kv.key != self.told.0 || kv.mod_revision > self.told.1 {
            self.told = (kv.key.clone(), kv.mod_revision);
            self.ready.push_back(LeaderResponse {
                header: Some(header),
                kv: Some(kv),
            });
        }
    }
}
