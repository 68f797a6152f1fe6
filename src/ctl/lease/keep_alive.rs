//! `lease keep-alive`: renews a lease, once or until somebody stops it.

use super::{as_connection, id_and_ttl_fields, id_and_ttl_json, parse_id};
use crate::ctl::client::{Client, RETRY_PAUSE, Repeat, Service, is_unavailable};
use crate::ctl::commands::{Action, Command, Verb};
use crate::ctl::context::Context;
use crate::ctl::failure::{Failure, code, status_text};
use crate::ctl::flags::Flag;
use crate::ctl::output::json::Json;
use crate::ctl::output::{Format, Show, Style, line};
use detcd_rt as rt;
use detcd_wire::etcdserverpb as pb;
use detcd_wire::etcdserverpb::lease_client::LeaseClient;
use futures::future::BoxFuture;
use prost::Message as _;
use std::time::Duration;
use tonic::{Response, Status, Streaming};

pub const COMMAND: Command = Command {
    name: "keep-alive",
    usage: "lease keep-alive [options] <leaseID>",
    about: "Renews a lease until interrupted",
    long: "",
    flags: &[Flag::switch("once", "renew it one time and end")],
    action: Action::Run(Verb::LeaseKeepAlive),
};

/// A renewal may be repeated: it does the same again.
const REPEAT: Repeat = Repeat::Read;

pub async fn run(context: &mut Context) -> Result<(), Failure> {
    let [id] = &context.texts()[..] else {
        return Err(Failure::args(
            "lease keep-alive command needs lease ID as argument",
        ));
    };
    let id = parse_id(id)?;
    let style = context.style()?;
    let mut client = Client::new(context)?;
    if context.flags.switch("once") {
        let deadline = client.deadline();
        let response = renew(&mut client, id, deadline)
            .await
            .map_err(as_connection)?;
        if response.ttl <= 0 {
            let why = "etcdserver: requested lease not found";
            return Err(Failure::new(code::BAD_CONNECTION, why));
        }
        return context.show(&LeaseKeptAlive(response));
    }
    let mut deadline = client.deadline();
    let mut stream = None;
    while let Ok(Ok(response)) = rt::timeout_at(deadline, go_on(&mut client, &mut stream, id)).await
        && response.ttl > 0
    {
        let ttl = Duration::from_secs(response.ttl.unsigned_abs());
        deadline = rt::Instant::now() + ttl;
        context.show(&LeaseKeptAlive(response))?;
        rt::sleep(ttl / 3).await;
    }
    // The end is words for people; the other formats are of answers alone.
    match style.format {
        Format::Simple => context
            .terminal
            .say(&format!("lease {id:016x} expired or revoked.")),
        _ => Ok(()),
    }
}

/// Renews a lease for as long as it exists.
pub async fn keep(client: &mut Client, id: i64) {
    let mut deadline = client.deadline();
    let mut stream = None;
    while let Ok(Ok(response)) = rt::timeout_at(deadline, go_on(client, &mut stream, id)).await
        && response.ttl > 0
    {
        let ttl = Duration::from_secs(response.ttl.unsigned_abs());
        deadline = rt::Instant::now() + ttl;
        rt::sleep(ttl / 3).await;
    }
}

/// Renews on the stream that is there, or opens one at the next endpoint that takes it.
async fn go_on(
    client: &mut Client,
    stream: &mut Option<Renewals>,
    id: i64,
) -> Result<pb::LeaseKeepAliveResponse, Failure> {
    loop {
        if stream.is_none() {
            let opened = Renewals::open(client.service().await?);
            *stream = Some(opened);
        }
        let renewals = stream.as_mut().expect("it was opened");
        match renewals.renew(id).await {
            Ok(response) => return Ok(response),
            Err(status) if is_unavailable(&status) => {
                *stream = None;
                client.leave();
                rt::sleep(RETRY_PAUSE).await;
            }
            Err(status) => return Err(Failure::error(status_text(&status))),
        }
    }
}

/// A stream of requests and answers, an answer for each request.
struct Renewals {
    requests: tokio::sync::mpsc::Sender<pb::LeaseKeepAliveRequest>,
    answers: Answers,
}

/// A server may wait for the first request before it answers at all.
enum Answers {
    Opening(BoxFuture<'static, Result<Streaming<pb::LeaseKeepAliveResponse>, Status>>),
    Open(Box<Streaming<pb::LeaseKeepAliveResponse>>),
}

impl Renewals {
    fn open(service: Service) -> Renewals {
        let (requests, stream) = tokio::sync::mpsc::channel(1);
        let stream = tokio_stream::wrappers::ReceiverStream::new(stream);
        let opening = async move {
            let answers = LeaseClient::new(service).lease_keep_alive(stream).await?;
            Ok(answers.into_inner())
        };
        Renewals {
            requests,
            answers: Answers::Opening(Box::pin(opening)),
        }
    }

    async fn renew(&mut self, id: i64) -> Result<pb::LeaseKeepAliveResponse, Status> {
        let ended = || Status::unavailable("the stream ended");
        // There is room: no request is sent before the one before it is answered.
        self.requests
            .try_send(pb::LeaseKeepAliveRequest { id })
            .map_err(|_| ended())?;
        if let Answers::Opening(opening) = &mut self.answers {
            self.answers = Answers::Open(Box::new(opening.await?));
        }
        let Answers::Open(answers) = &mut self.answers else {
            return Err(ended());
        };
        answers.message().await?.ok_or_else(ended)
    }
}

/// One renewal: a stream of one request and its answer.
async fn renew(
    client: &mut Client,
    id: i64,
    deadline: rt::Instant,
) -> Result<pb::LeaseKeepAliveResponse, Failure> {
    client
        .call_within(REPEAT, deadline, async |service| {
            // The stream of requests must stay open until the answer is here.
            let (requests, stream) = tokio::sync::mpsc::channel(1);
            requests
                .try_send(pb::LeaseKeepAliveRequest { id })
                .expect("it has room for one");
            let stream = tokio_stream::wrappers::ReceiverStream::new(stream);
            let mut answers = LeaseClient::new(service)
                .lease_keep_alive(stream)
                .await?
                .into_inner();
            let answer = answers.message().await?;
            drop(requests);
            answer
                .map(Response::new)
                .ok_or_else(|| Status::unavailable("the stream ended"))
        })
        .await
}

pub struct LeaseKeptAlive(pub pb::LeaseKeepAliveResponse);

impl Show for LeaseKeptAlive {
    fn simple(&self, _: Style, out: &mut Vec<u8>) {
        line!(
            out,
            "lease {:016x} keepalived with TTL({})",
            self.0.id,
            self.0.ttl
        );
    }

    fn fields(&self, out: &mut Vec<u8>) {
        id_and_ttl_fields(&self.0.header, self.0.id, self.0.ttl, out);
    }

    fn json(&self, _: Style) -> Json {
        id_and_ttl_json(&self.0.header, self.0.id, self.0.ttl)
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.0.header.unwrap_or_default().encode_to_vec())
    }
}
