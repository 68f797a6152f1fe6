//! The connection to a cluster: the first endpoint that answers, the next one when it fails, until
//! the command's time is up.

use super::context::Context;
use super::failure::{DEADLINE, Failure, code, words};
use detcd_rt as rt;
use detcd_wire::etcdserverpb as pb;
use std::time::Duration;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};

/// What requests go through: a connection, and the token of the user if there is one.
pub type Service = InterceptedService<Channel, Token>;

/// Go's client reads answers of any size; so do we.
pub const ANSWER_BYTES_MAX: usize = i32::MAX as usize;
/// How often a read is tried when members answer that they are unavailable.
const READ_ATTEMPTS_MAX: u32 = 100;
pub const READ_PAUSE: Duration = Duration::from_millis(25);
const CONNECT_PAUSE_MIN: Duration = Duration::from_millis(20);
const CONNECT_PAUSE_MAX: Duration = Duration::from_secs(1);
const KEEPALIVE_MIN: Duration = Duration::from_secs(10);

/// Whether a request may be sent again after it may have been carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    Read,
    Write,
}

pub struct Client {
    endpoints: Vec<String>,
    options: Options,
    /// The endpoint that is tried next.
    next: usize,
    connected: Option<Service>,
}

#[derive(Clone, Debug)]
struct Options {
    dial_timeout: Duration,
    command_timeout: Duration,
    keepalive_time: Duration,
    keepalive_timeout: Duration,
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
        if !context.flags.text("discovery-srv").is_empty() {
            let why = "this version of detcdctl does not look up SRV records: leave out the flag \
                       --discovery-srv, and name the servers with --endpoints";
            return Err(Failure::new(code::BAD_FEATURE, why));
        }
        let endpoints = context.flags.list("endpoints");
        Client::of(context, endpoints)
    }

    /// A client of some of the cluster's endpoints.
    pub fn of(context: &mut Context, endpoints: Vec<String>) -> Result<Client, Failure> {
        check_tls(context, &endpoints)?;
        if endpoints.is_empty() {
            let why = "etcdclient: no available endpoints";
            return Err(Failure::new(code::BAD_CONNECTION, why));
        }
        let flags = &context.flags;
        let options = Options {
            dial_timeout: flags.duration("dial-timeout"),
            command_timeout: flags.duration("command-timeout"),
            keepalive_time: flags.duration("keepalive-time").max(KEEPALIVE_MIN),
            keepalive_timeout: flags.duration("keepalive-timeout"),
            credentials: credentials(context)?,
        };
        Ok(Client {
            endpoints,
            options,
            next: 0,
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
            Err(_) => Err(Failure::error(DEADLINE)),
        }
    }

    async fn attempts<R>(
        &mut self,
        repeat: Repeat,
        send: impl AsyncFn(Service) -> Result<Response<R>, Status>,
    ) -> Result<R, Failure> {
        let mut attempt = 1;
        loop {
            let service = self.service().await?;
            let status = match send(service).await {
                Ok(response) => return Ok(response.into_inner()),
                Err(status) => status,
            };
            let again = repeat == Repeat::Read
                && status.code() == Code::Unavailable
                && attempt < READ_ATTEMPTS_MAX;
            if !again {
                return Err(Failure::error(words(&status)));
            }
            self.leave();
            attempt += 1;
            rt::sleep(READ_PAUSE).await;
        }
    }

    /// A connected service. Waits until some endpoint takes a connection; the caller sets the time
    /// limit.
    pub async fn service(&mut self) -> Result<Service, Failure> {
        if let Some(service) = &self.connected {
            return Ok(service.clone());
        }
        let channel = self.connect().await;
        let token = self.authenticate(channel.clone()).await?;
        let service = InterceptedService::new(channel, token);
        self.connected = Some(service.clone());
        Ok(service)
    }

    /// Turns to the next endpoint.
    pub fn leave(&mut self) {
        self.connected = None;
        self.next += 1;
    }

    async fn connect(&mut self) -> Channel {
        let mut pause = CONNECT_PAUSE_MIN;
        loop {
            for _ in 0..self.endpoints.len() {
                let name = &self.endpoints[self.next % self.endpoints.len()];
                if let Some(endpoint) = endpoint(name, &self.options)
                    && let Ok(channel) = endpoint.connect().await
                {
                    return channel;
                }
                self.next += 1;
            }
            rt::sleep(pause).await;
            pause = (pause * 2).min(CONNECT_PAUSE_MAX);
        }
    }

    /// Fetches a token, if a user is given. A cluster without authentication gives none and needs
    /// none.
    async fn authenticate(&self, channel: Channel) -> Result<Token, Failure> {
        let Some((name, password)) = self.options.credentials.clone() else {
            return Ok(Token(None));
        };
        let fail = |why: String| Failure::new(code::BAD_CONNECTION, why);
        let mut grpc = tonic::client::Grpc::new(channel);
        grpc.ready()
            .await
            .map_err(|error| fail(error.to_string()))?;
        let request = Request::new(pb::AuthenticateRequest { name, password });
        let path = PathAndQuery::from_static("/etcdserverpb.Auth/Authenticate");
        let codec = tonic_prost::ProstCodec::default();
        let answer: Result<Response<pb::AuthenticateResponse>, Status> =
            grpc.unary(request, path, codec).await;
        match answer {
            Ok(response) => {
                let token = MetadataValue::try_from(response.into_inner().token);
                Ok(Token(Some(token.map_err(|error| fail(error.to_string()))?)))
            }
            Err(status) if status.message() == "etcdserver: authentication is not enabled" => {
                Ok(Token(None))
            }
            Err(status) => Err(fail(words(&status))),
        }
    }
}

fn endpoint(name: &str, options: &Options) -> Option<Endpoint> {
    let address = name.split_once("://").map_or(name, |(_, address)| address);
    let address = address.trim_end_matches('/');
    // A host without a port is no endpoint; a URI would silently take port 80.
    address
        .rsplit_once(':')
        .filter(|(_, port)| port.parse::<u16>().is_ok())?;
    let mut endpoint = Endpoint::from_shared(format!("http://{address}"))
        .ok()?
        .http2_keep_alive_interval(options.keepalive_time)
        .keep_alive_timeout(options.keepalive_timeout)
        .tcp_nodelay(true);
    if !options.dial_timeout.is_zero() {
        endpoint = endpoint.connect_timeout(options.dial_timeout);
    }
    Some(endpoint)
}

/// The flags of TLS are understood, and refused in plain words, so that no command runs less
/// protected than asked for.
fn check_tls(context: &Context, endpoints: &[String]) -> Result<(), Failure> {
    let flags = &context.flags;
    let (cert, key) = (flags.text("cert"), flags.text("key"));
    if cert.is_empty() != key.is_empty() {
        let why = format!("KeyFile and CertFile must both be present[key: {key}, cert: {cert}]");
        return Err(Failure::args(why));
    }
    for path in [cert, key, flags.text("cacert")]
        .into_iter()
        .filter(|path| !path.is_empty())
    {
        if let Err(error) = std::fs::metadata(path) {
            let why = match error.kind() {
                std::io::ErrorKind::NotFound => "no such file or directory".to_owned(),
                _ => error.to_string(),
            };
            return Err(Failure::args(format!("open {path}: {why}")));
        }
    }
    let wanted = !cert.is_empty()
        || !flags.text("cacert").is_empty()
        || flags.switch("insecure-skip-tls-verify")
        || !flags.switch("insecure-transport")
        || endpoints
            .iter()
            .any(|endpoint| endpoint.starts_with("https://"));
    if wanted {
        let why = "this version of detcdctl does not speak TLS: leave out the flags --cacert, \
                   --cert, --key and --insecure-skip-tls-verify, and use http:// endpoints";
        return Err(Failure::new(code::BAD_FEATURE, why));
    }
    Ok(())
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
    use std::io::{BufRead as _, Write as _};
    write!(context.terminal.out, "Password: ")?;
    context.terminal.out.flush()?;
    echo(false);
    let mut password = String::new();
    let read = context.terminal.input.read_line(&mut password);
    echo(true);
    writeln!(context.terminal.out)?;
    read?;
    let password = password.trim_end_matches(['\n', '\r']);
    Ok((!password.is_empty()).then(|| (user, password.to_owned())))
}

/// Whether the terminal shows what is typed. Without a terminal there is nothing to hide from.
fn echo(on: bool) {
    let mode = if on { "echo" } else { "-echo" };
    let _ = std::process::Command::new("stty")
        .arg(mode)
        .stderr(std::process::Stdio::null())
        .status();
}
