//! The connection to a cluster: the first endpoint that speaks HTTP/2, the next one when it is
//! unavailable, until the command's time is up.

use super::context::Context;
use super::dial::{Connected, Dials, Keepalive, was_not_sent};
use super::failure::{DEADLINE, Failure, code, status_text};
use super::secure::Secure;
use detcd_rt as rt;
use detcd_wire::etcdserverpb as pb;
use std::time::Duration;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};

/// What requests go through: a connection, and the token of the user if there is one.
pub type Service = InterceptedService<Channel, Token>;

/// Go's client reads answers of any size; so do we.
pub const ANSWER_BYTES_MAX: usize = i32::MAX as usize;
/// How often a request is sent when members answer that they are unavailable.
const ATTEMPTS_MAX: u32 = 100;
/// The pause once so many members as make a quorum have answered so.
pub const RETRY_PAUSE: Duration = Duration::from_millis(25);
/// What a learner answers to whatever it does not carry out.
const LEARNER: &str = "etcdserver: rpc not supported for learner";
const KEEPALIVE_MIN: Duration = Duration::from_secs(10);

/// Whether a request may be sent again after it may have been carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    Read,
    Write,
}

pub struct Client {
    options: Options,
    /// How many endpoints there are.
    endpoints: u32,
    dials: Dials,
    connected: Option<(String, Service)>,
}

#[derive(Clone, Debug)]
struct Options {
    /// What signing in may take; zero is for ever.
    dial_timeout: Duration,
    command_timeout: Duration,
    credentials: Option<(String, String)>,
}

#[derive(Clone, Debug, Default)]
pub struct Token(Option<MetadataValue<Ascii>>);

impl Interceptor for Token {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("token", token.clone());
        }
        Ok(request)
    }
}

impl Client {
    /// A client of the endpoints that the command names. Nothing is connected yet.
    pub fn new(context: &mut Context) -> Result<Client, Failure> {
        let endpoints = context.flags.list("endpoints");
        Client::of(context, endpoints)
    }

    /// A client of some of the cluster's endpoints.
    pub fn of(context: &mut Context, endpoints: Vec<String>) -> Result<Client, Failure> {
        let secure = Secure::of(context, &endpoints)?;
        if endpoints.is_empty() {
            let why = "etcdclient: no available endpoints";
            return Err(Failure::new(code::BAD_CONNECTION, why));
        }
        let flags = &context.flags;
        let keepalive = Keepalive {
            time: flags.duration("keepalive-time").max(KEEPALIVE_MIN),
            timeout: flags.duration("keepalive-timeout"),
        };
        let options = Options {
            dial_timeout: flags.duration("dial-timeout"),
            command_timeout: flags.duration("command-timeout"),
            credentials: credentials(context)?,
        };
        Ok(Client {
            options,
            endpoints: u32::try_from(endpoints.len()).unwrap_or(u32::MAX),
            dials: Dials::new(&endpoints, keepalive, &secure),
            connected: None,
        })
    }

    /// The time by which a short command must be done.
    pub fn deadline(&self) -> rt::Instant {
        rt::Instant::now() + self.options.command_timeout
    }

    /// Sends a request until it is answered or the command's time is up.
    pub async fn call<R>(
        &mut self,
        repeat: Repeat,
        send: impl AsyncFn(Service) -> Result<Response<R>, Status>,
    ) -> Result<R, Failure> {
        self.call_within(repeat, self.deadline(), send).await
    }

    pub async fn call_within<R>(
        &mut self,
        repeat: Repeat,
        deadline: rt::Instant,
        send: impl AsyncFn(Service) -> Result<Response<R>, Status>,
    ) -> Result<R, Failure> {
        let attempts = self.attempts(repeat, send);
        match rt::timeout_at(deadline, attempts).await {
            Ok(answer) => answer,
            Err(_) => Err(Failure::error(DEADLINE).with_hint(self.dials.problem())),
        }
    }

    async fn attempts<R>(
        &mut self,
        repeat: Repeat,
        send: impl AsyncFn(Service) -> Result<Response<R>, Status>,
    ) -> Result<R, Failure> {
        let mut attempt = 1;
        let mut signed_in_again = false;
        let quorum = self.endpoints / 2 + 1;
        loop {
            let service = self.service().await?;
            let status = match send(service).await {
                Ok(response) => return Ok(response.into_inner()),
                Err(status) => status,
            };
            if self.options.credentials.is_some() && wants_other_token(&status) && !signed_in_again
            {
                // The request was refused, so that it may be sent again whatever it is.
                signed_in_again = true;
                self.leave();
                continue;
            }
            // For a write that no endpoint takes, nothing changes by waiting.
            let attempts_max = match repeat {
                Repeat::Write if status.message() == LEARNER => self.endpoints,
                _ => ATTEMPTS_MAX,
            };
            if !is_repeatable(repeat, &status) || attempt >= attempts_max {
                return Err(Failure::error(status_text(&status)));
            }
            let is_broken = std::error::Error::source(&status).is_some();
            if is_broken || self.endpoints > 1 {
                self.leave();
            }
            // Each of a quorum is asked before any waits for things to change.
            if attempt.is_multiple_of(quorum) {
                rt::sleep(RETRY_PAUSE).await;
            }
            attempt += 1;
        }
    }

    /// A connected service. Waits until some endpoint is connected; the caller sets the time limit.
    pub async fn service(&mut self) -> Result<Service, Failure> {
        if let Some((_, service)) = &self.connected {
            return Ok(service.clone());
        }
        let Some(credentials) = self.options.credentials.clone() else {
            let connected = self.dials.next().await;
            return Ok(self.enter(connected, Token(None)));
        };
        let limit = self.options.dial_timeout;
        let signing_in = self.sign_in(credentials);
        if limit.is_zero() {
            return signing_in.await;
        }
        match rt::timeout(limit, signing_in).await {
            Ok(signed_in) => signed_in,
            Err(_) => {
                let failure = Failure::new(code::BAD_CONNECTION, DEADLINE);
                Err(failure.with_hint(self.dials.problem()))
            }
        }
    }

    async fn sign_in(&mut self, credentials: (String, String)) -> Result<Service, Failure> {
        loop {
            let connected = self.dials.next().await;
            let channel = connected.channel.clone();
            match authenticate(channel, credentials.clone()).await {
                Ok(token) => return Ok(self.enter(connected, token)),
                Err(status) if is_unavailable(&status) => {
                    self.dials.again(connected.endpoint);
                }
                Err(status) => {
                    return Err(Failure::new(code::BAD_CONNECTION, status_text(&status)));
                }
            }
        }
    }

    fn enter(&mut self, connected: Connected, token: Token) -> Service {
        let service = InterceptedService::new(connected.channel, token);
        self.connected = Some((connected.endpoint, service.clone()));
        service
    }

    /// Turns to the next endpoint.
    pub fn leave(&mut self) {
        if let Some((endpoint, _)) = self.connected.take() {
            self.dials.again(endpoint);
        }
    }
}

/// Whether a token was refused that was good before, or may be with the next one.
fn wants_other_token(status: &Status) -> bool {
    matches!(
        status.message(),
        "etcdserver: invalid auth token" | "etcdserver: revision of auth store is old"
    )
}

/// A write is sent again only if it was certainly not carried out.
fn is_repeatable(repeat: Repeat, status: &Status) -> bool {
    match repeat {
        Repeat::Read => is_unavailable(status),
        Repeat::Write => status.message() == LEARNER || was_not_sent(status),
    }
}

/// Whether another endpoint may answer what this one did not: it said so, or its connection broke.
pub fn is_unavailable(status: &Status) -> bool {
    let is_broken = std::error::Error::source(status).is_some();
    status.code() == Code::Unavailable || is_broken
}

/// Fetches a token. A cluster without authentication gives none and needs none.
async fn authenticate(channel: Channel, credentials: (String, String)) -> Result<Token, Status> {
    let (name, password) = credentials;
    let mut grpc = tonic::client::Grpc::new(channel);
    let fail = |error: tonic::transport::Error| Status::from_error(error.into());
    grpc.ready().await.map_err(fail)?;
    let request = Request::new(pb::AuthenticateRequest { name, password });
    let path = PathAndQuery::from_static("/etcdserverpb.Auth/Authenticate");
    let codec = tonic_prost::ProstCodec::default();
    let answer: Result<Response<pb::AuthenticateResponse>, Status> =
        grpc.unary(request, path, codec).await;
    match answer {
        Ok(response) => {
            let token = MetadataValue::try_from(response.into_inner().token);
            let token = token.map_err(|error| Status::internal(error.to_string()))?;
            Ok(Token(Some(token)))
        }
        Err(status) if status.message() == "etcdserver: authentication is not enabled" => {
            Ok(Token(None))
        }
        Err(status) => Err(status),
    }
}

/// `--user name:password`, `--user name --password …`, or a password typed in.
fn credentials(context: &mut Context) -> Result<Option<(String, String)>, Failure> {
    let user = context.flags.text("user").to_owned();
    let password = context.flags.text("password").to_owned();
    if user.is_empty() {
        return Ok(None);
    }
    if !password.is_empty() {
        return Ok(Some((user, password)));
    }
    if let Some((name, password)) = user.split_once(':') {
        return Ok(Some((name.to_owned(), password.to_owned())));
    }
    let password = context.terminal.ask_secret("Password: ")?;
    Ok((!password.is_empty()).then_some((user, password)))
}
