//! A simulated client: etcd's messages over the simulated network, to one member at a time.

use crate::cluster_calls::{Asked, ClusterCall};
use crate::framing::{Broken, Frame, StreamedCall};
use crate::history::{Header, History, HistoryRecorder, Operation, Outcome, Reply, Request};
use crate::net::stream::Stream;
use crate::net::{Host, Net, NetError, Port};
use crate::rng::Rng;
use crate::scenario::settings::settings;
use crate::scenario::units::{Counts, Ratio, Span, Times};
use crate::time;
use crate::trace;
use bytes::Bytes;
use detcd_core::api::{
    DeleteRangeReply, LeaseId, PutReply, RangeReply, RangeRequest, SortOrder, SortTarget, TxnReply,
};
use detcd_service::{Failure, Rpc};
use detcd_wire::etcdserverpb as pb;
use prost::Message;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Codes of gRPC that say that nothing was done. Every other error leaves a write's outcome open,
/// as it does for real clients.
const REFUSALS: [i32; 5] = [
    3,  // InvalidArgument
    5,  // NotFound
    8,  // ResourceExhausted
    9,  // FailedPrecondition
    11, // OutOfRange
];

settings! {
    /// How clients deal with failures. A write is never repeated: it may have taken effect.
    pub struct ClientSettings {
        /// How often a client asks again for a read that failed.
        retries: Counts [0..=100] = (0, 2),
        /// How likely it stays with its member after a failure, and goes to no other.
        stays: Ratio = 0.2,
        /// How likely it goes to another member for no reason, before an operation.
        wanders: Ratio = 0.01,
        /// What it waits after a failure.
        backoff: Times = ("5ms", "100ms"),
        /// How likely it reads a range with RangeStream, where that can be.
        range_streams: Ratio = 0.2,
    }
}

impl ClientSettings {
    /// Those of a client that asks one member, once.
    pub fn steady() -> ClientSettings {
        ClientSettings {
            retries: Counts(Span::one(0)),
            stays: Ratio::one(1.0),
            wanders: Ratio::one(0.0),
            backoff: Times(Span::of(5, 100)),
            range_streams: Ratio::one(0.0),
        }
    }
}

pub struct Client {
    net: Net,
    recorder: HistoryRecorder,
    host: Host,
    number: u32,
    name: String,
    seed: u64,
    /// Where each member serves.
    members: Hosts,
    /// The member that it talks to.
    at: usize,
    rng: Rng,
    /// Draws which ranges are read as streams.
    range_streams: Rng,
    settings: ClientSettings,
}

/// Where clients find the members. Members that come and go change it for every client.
#[derive(Clone, Default)]
pub struct Hosts(Arc<Mutex<Vec<Host>>>);

impl Hosts {
    /// Gives the place in this list: whoever takes over a host is found where the other one was.
    pub fn add(&self, host: Host) -> usize {
        let mut hosts = self.0.lock().expect("no holder panics");
        let known = hosts.iter().position(|known| *known == host);
        known.unwrap_or_else(|| {
            hosts.push(host);
            hosts.len() - 1
        })
    }

    /// A member has moved.
    pub fn replace(&self, old: Host, new: Host) {
        let mut hosts = self.0.lock().expect("no holder panics");
        hosts
            .iter_mut()
            .filter(|host| **host == old)
            .for_each(|host| *host = new);
    }

    pub fn len(&self) -> usize {
        self.0.lock().expect("no holder panics").len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Which of them this host is.
    pub fn position(&self, host: Host) -> Option<usize> {
        let hosts = self.0.lock().expect("no holder panics");
        hosts.iter().position(|known| *known == host)
    }

    fn of(&self, index: usize) -> Host {
        self.0.lock().expect("no holder panics")[index]
    }
}

/// Why a call has no message as its answer.
#[derive(Debug)]
pub enum CallError {
    Failed(Failure),
    Net(NetError),
    TimedOut,
}

impl From<Broken> for CallError {
    fn from(broken: Broken) -> CallError {
        match broken {
            Broken::Failed(failure) => CallError::Failed(failure),
            Broken::Net(error) => CallError::Net(error),
        }
    }
}

impl Client {
    pub fn new(
        net: Net,
        recorder: HistoryRecorder,
        (host, number, name): (Host, u32, String),
        members: Hosts,
        seed: u64,
    ) -> Client {
        let mut rng = Rng::of(seed, &name);
        let at = rng.index(members.len());
        Client {
            net,
            recorder,
            host,
            number,
            range_streams: Rng::of(seed, &format!("{name}/range-streams")),
            name,
            seed,
            members,
            at,
            rng,
            settings: ClientSettings::steady(),
        }
    }

    pub fn with_settings(self, settings: ClientSettings) -> Client {
        Client { settings, ..self }
    }

    /// The same client, for something that it does beside.
    pub fn fork(&self, part: &str) -> Client {
        Client {
            net: self.net.clone(),
            recorder: self.recorder.clone(),
            name: self.name.clone(),
            members: self.members.clone(),
            rng: self.rng(part),
            range_streams: self.rng(&format!("{part}/range-streams")),
            settings: self.settings.clone(),
            ..*self
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn number(&self) -> u32 {
        self.number
    }

    /// A stream of draws for some part of what this client does.
    pub fn rng(&self, part: &str) -> Rng {
        Rng::of(self.seed, &format!("{}/{part}", self.name))
    }

    /// Talks to another member from now on.
    pub fn go_elsewhere(&mut self) {
        if self.members.len() > 1 {
            let step = self.rng.range(1..=self.members.len() as u64 - 1) as usize;
            self.at = (self.at + step) % self.members.len();
        }
    }

    /// Talks to this member; beyond the last one it starts again with the first.
    pub fn go_to(&mut self, member: usize) {
        self.at = member % self.members.len();
    }

    /// Opens a stream to the member that it talks to.
    pub fn open(&self, rpc: Rpc) -> StreamedCall {
        StreamedCall::new(self.open_encoded(rpc as u8))
    }

    /// As [`Client::open`], for messages that are no method's.
    pub fn open_encoded(&self, kind: u8) -> Stream {
        let way = (self.host, self.members.of(self.at), Port::Client);
        self.net.open(way, kind.into())
    }

    /// The member that it talks to.
    pub fn member(&self) -> usize {
        self.at
    }

    /// Executes and writes down, reads again if they fail; gives the request back with its answer,
    /// if there was one.
    pub async fn execute(
        &mut self,
        request: Request,
        timeout: Duration,
    ) -> Option<(Request, i64, Reply)> {
        let retries = match request.is_write() {
            true => 0,
            false => self.rng.range(self.settings.retries.range()),
        };
        for attempt in 0..=retries {
            if attempt > 0 {
                trace::mark("client.retried");
            }
            let (outcome, is_final) = self.once(&request, timeout).await;
            match outcome {
                Outcome::Done { revision, reply } => return Some((request, revision, reply)),
                Outcome::Refused(_) | Outcome::Failed(_) | Outcome::Unknown(_) if is_final => break,
                Outcome::Refused(_) | Outcome::Failed(_) | Outcome::Unknown(_) => {}
            }
        }
        None
    }

    /// Executes once, and writes down.
    pub async fn attempt(&mut self, request: Request, timeout: Duration) -> Outcome {
        self.once(&request, timeout).await.0
    }

    /// The outcome, and whether it would be the same anywhere and any time.
    async fn once(&mut self, request: &Request, timeout: Duration) -> (Outcome, bool) {
        if self.rng.chance(self.settings.wanders.value()) {
            self.go_elsewhere();
        }
        let called = time::now();
        let member = self.at;
        trace::event(
            "client.call",
            format_args!("{} m{} {request}", self.name, member + 1),
        );
        let operation = Operation {
            client: self.number,
            member,
            called,
            ended: called,
            request: request.clone(),
            outcome: Outcome::Unknown("not answered yet".to_owned()),
        };
        let open = self.recorder.open(operation.clone());
        let streams = self
            .range_streams
            .chance(self.settings.range_streams.value());
        let mut answer = self.dispatch(request, streams, timeout).await;
        if detcd_core::mutant!(RetryNotIdempotent)
            && matches!((request, &answer), (Request::Txn(_), Err(_)))
        {
            self.go_elsewhere();
            answer = self.dispatch(request, streams, timeout).await;
        }
        let is_final = answer.as_ref().map_or_else(is_refusal, |_| true);
        let outcome = match answer {
            Ok((revision, reply)) => Outcome::Done { revision, reply },
            Err(error) => outcome_of(request, error),
        };
        let operation = Operation {
            ended: time::now(),
            outcome: outcome.clone(),
            ..operation
        };
        trace::event("client.done", format_args!("{operation}"));
        self.recorder.close(open, operation);
        if !is_final {
            self.recover().await;
        }
        (outcome, is_final)
    }

    /// What a client does after a failure. Without the back-off a cut-off client would spin.
    pub async fn recover(&mut self) {
        if !self.rng.chance(self.settings.stays.value()) {
            self.go_elsewhere();
            trace::mark("client.moved");
        }
        let pause = self.settings.backoff.pick(&mut self.rng);
        time::sleep(pause).await;
    }

    /// The run's history.
    pub fn recorder(&self) -> HistoryRecorder {
        self.recorder.clone()
    }

    /// Writes something into the run's history.
    pub fn note(&self, write: impl FnOnce(&mut History)) {
        self.recorder.note(write);
    }

    async fn dispatch(
        &self,
        request: &Request,
        streams: bool,
        timeout: Duration,
    ) -> Result<(i64, Reply), CallError> {
        let called = time::now();
        match request.clone() {
            Request::Range(range) if streams && may_stream(&range) => {
                let reading = self.range_stream(range);
                let read = detcd_rt::timeout(timeout, reading).await;
                let (header, reply) = read.unwrap_or(Err(CallError::TimedOut))?;
                trace::mark("client.range-stream");
                Ok((self.heard(called, header.as_ref()), Reply::Range(reply)))
            }
            Request::Range(range) => {
                let request = pb::RangeRequest::from(range);
                let answer: pb::RangeResponse = self.call(Rpc::Range, &request, timeout).await?;
                let revision = self.heard(called, answer.header.as_ref());
                Ok((revision, Reply::Range(RangeReply::from(answer))))
            }
            Request::Put(put) => {
                let request = pb::PutRequest::from(put);
                let answer: pb::PutResponse = self.call(Rpc::Put, &request, timeout).await?;
                let revision = self.heard(called, answer.header.as_ref());
                Ok((revision, Reply::Put(PutReply::from(answer))))
            }
            Request::Delete(delete) => {
                let request = pb::DeleteRangeRequest::from(delete);
                let answer: pb::DeleteRangeResponse =
                    self.call(Rpc::DeleteRange, &request, timeout).await?;
                let revision = self.heard(called, answer.header.as_ref());
                Ok((revision, Reply::Delete(DeleteRangeReply::from(answer))))
            }
            Request::Txn(txn) => {
                let request = pb::TxnRequest::from(txn);
                let answer: pb::TxnResponse = self.call(Rpc::Txn, &request, timeout).await?;
                let revision = self.heard(called, answer.header.as_ref());
                let reply = TxnReply::try_from(answer).expect("a server answers each operation");
                Ok((revision, Reply::Txn(reply)))
            }
            Request::LeaseGrant { id, ttl } => {
                let request = pb::LeaseGrantRequest { id: id.0, ttl };
                let answer: pb::LeaseGrantResponse =
                    self.call(Rpc::LeaseGrant, &request, timeout).await?;
                let (id, ttl) = (LeaseId(answer.id), answer.ttl);
                let revision = self.heard(called, answer.header.as_ref());
                Ok((revision, Reply::LeaseGrant { id, ttl }))
            }
            Request::LeaseRevoke { id } => {
                let request = pb::LeaseRevokeRequest { id: id.0 };
                let answer: pb::LeaseRevokeResponse =
                    self.call(Rpc::LeaseRevoke, &request, timeout).await?;
                Ok((
                    self.heard(called, answer.header.as_ref()),
                    Reply::LeaseRevoke,
                ))
            }
            Request::Compact(compact) => {
                let request = pb::CompactionRequest {
                    revision: compact.revision,
                    physical: compact.physical,
                };
                let answer: pb::CompactionResponse =
                    self.call(Rpc::Compact, &request, timeout).await?;
                Ok((self.heard(called, answer.header.as_ref()), Reply::Compact))
            }
        }
    }

    /// Writes down who answers, and gives the revision that the answer shows.
    fn heard(&self, called: Duration, header: Option<&pb::ResponseHeader>) -> i64 {
        let header = header.expect("every response has a header");
        let reported = Header {
            member: self.at,
            called,
            ended: time::now(),
            cluster_id: header.cluster_id,
            member_id: header.member_id,
            raft_term: header.raft_term,
        };
        self.note(|history| history.headers.push(reported));
        header.revision
    }

    /// Sends encoded bytes to the member that it talks to.
    pub async fn call_encoded(
        &self,
        kind: u8,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, CallError> {
        let way = (self.host, self.members.of(self.at), Port::Client);
        let call = self.net.call(way, kind.into(), body, false);
        let answer = match detcd_rt::timeout(timeout, call).await {
            Err(_) => {
                trace::mark("client.gave-up");
                return Err(CallError::TimedOut);
            }
            Ok(answer) => answer.map_err(CallError::Net)?,
        };
        match Frame::decode(answer) {
            Frame::Message(body) => Ok(body),
            Frame::End(Err(failure)) => Err(CallError::Failed(failure)),
            Frame::End(Ok(())) => panic!("a call of one reply has one"),
        }
    }

    /// Sends one encoded message to the member that it talks to, and decodes the answer.
    pub async fn call<A: Message + Default>(
        &self,
        rpc: Rpc,
        request: &impl Message,
        timeout: Duration,
    ) -> Result<A, CallError> {
        let body = Bytes::from(request.encode_to_vec());
        let asked = Asked::of(rpc, &body).map(|asked| self.note_call(asked));
        let body = self.call_encoded(rpc as u8, body, timeout).await?;
        if let Some(index) = asked {
            self.note(|history| history.cluster_calls[index].answered(time::now(), &body));
        }
        Ok(A::decode(body).expect("a server encodes what it sends"))
    }

    /// As [`Client::call`], on a stream of its own: if nobody waits any more, the member hears of it.
    pub async fn call_until<A: Message + Default>(
        &self,
        rpc: Rpc,
        request: &impl Message,
        timeout: Duration,
    ) -> Result<A, CallError> {
        let call = async {
            let mut call = self.open(rpc);
            call.send(request).await.map_err(CallError::Net)?;
            let answer = call.recv::<A>().await?;
            Ok(answer.expect("a call of one reply has one"))
        };
        match detcd_rt::timeout(timeout, call).await {
            Err(_) => Err(CallError::TimedOut),
            Ok(answer) => answer,
        }
    }

    /// Writes down what a member may do for this client from now on, whether it does or not.
    pub fn may_happen(&self, request: Request) {
        let now = time::now();
        let operation = Operation {
            client: self.number,
            member: self.at,
            called: now,
            ended: now,
            request,
            outcome: Outcome::Unknown("the member's to do".to_owned()),
        };
        let open = self.recorder.open(operation.clone());
        self.recorder.close(open, operation);
    }

    /// Writes down what is asked of the cluster; gives its place in the history.
    fn note_call(&self, asked: Asked) -> usize {
        let call = ClusterCall {
            member: self.at,
            called: time::now(),
            told: None,
            asked,
        };
        self.recorder.note(|history| {
            history.cluster_calls.push(call);
            history.cluster_calls.len() - 1
        })
    }

    /// A range in chunks, put together. The last one alone has a header.
    async fn range_stream(
        &self,
        range: RangeRequest,
    ) -> Result<(Option<pb::ResponseHeader>, RangeReply), CallError> {
        let mut call = self.open(Rpc::RangeStream);
        let sent = call.send(&pb::RangeRequest::from(range)).await;
        sent.map_err(CallError::Net)?;
        let (mut header, mut whole) = (None, RangeReply::default());
        while let Some(chunk) = call.recv::<pb::RangeStreamResponse>().await? {
            assert!(header.is_none(), "nothing follows the last chunk");
            let chunk = chunk.range_response.expect("a chunk is one");
            header = chunk.header;
            let chunk = RangeReply::from(chunk);
            whole.kvs.extend(chunk.kvs);
            (whole.more, whole.count) = (chunk.more, chunk.count);
        }
        Ok((header, whole))
    }
}

/// Whether RangeStream can read it.
fn may_stream(range: &RangeRequest) -> bool {
    let filters = [
        range.min_mod_revision,
        range.max_mod_revision,
        range.min_create_revision,
        range.max_create_revision,
    ];
    let is_sorted = range.sort_order != SortOrder::None || range.sort_target != SortTarget::Key;
    !is_sorted && filters == [0; 4]
}

/// Whether the cluster understood the request and declined it.
fn is_refusal(error: &CallError) -> bool {
    matches!(error, CallError::Failed(failure) if REFUSALS.contains(&failure.code))
}

fn outcome_of(request: &Request, error: CallError) -> Outcome {
    match error {
        // Nobody listened: the request was seen by nobody.
        CallError::Net(NetError::Refused) => Outcome::Failed("connection refused".to_owned()),
        CallError::Failed(failure) if REFUSALS.contains(&failure.code) => {
            Outcome::Refused(failure.text.into_owned())
        }
        error if request.is_write() => Outcome::Unknown(format!("{error:?}")),
        // A read that failed had no effect.
        error => Outcome::Failed(format!("{error:?}")),
    }
}
