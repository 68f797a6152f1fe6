//! The client of a cluster: its endpoints in an order of chance, the next one when one fails, and
//! the members' own URLs in their place once the cluster has told them.

use super::context::Context;
use super::error::{RequestError, code};
use super::http::{Request, Response, Sender, curl_line};
use super::members;
use super::url::Endpoint;
use crate::ctl::failure::Failure;
use crate::ctl::secure::{Secure, TlsFlags};
use crate::ctl::srv::{self, Discovery};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use detcd_net::Dialer;
use detcd_net::tls::Alpn;
use detcd_rt as rt;
use std::time::Duration;

/// What reaching a server may take, if the command may take longer.
const DIAL_TIMEOUT: Duration = Duration::from_secs(30);
const REDIRECTS_MAX: usize = 10;
const DEFAULT_ENDPOINTS: &str = "http://127.0.0.1:2379,http://127.0.0.1:4001";
/// Where endpoints may be named: the flags, and the variables in their place.
const ENDPOINTS: [(&str, &str); 3] = [
    ("endpoints", "ETCDCTL_ENDPOINTS"),
    ("endpoint", "ETCDCTL_ENDPOINT"),
    ("peers", "ETCDCTL_PEERS"),
];

pub struct Client {
    endpoints: Vec<Endpoint>,
    /// The endpoint that answered last.
    pinned: usize,
    sender: Sender,
    /// What a server may take to begin its response.
    timeout: Option<Duration>,
    debug: bool,
}

/// How a request may be sent.
#[derive(Clone, Copy, Debug)]
pub struct Sending {
    /// To one endpoint only: it must not be carried out twice.
    pub once: bool,
    /// The response may take as long as it likes to begin.
    pub waits: bool,
    pub deadline: Option<rt::Instant>,
}

impl Sending {
    pub fn until(deadline: rt::Instant) -> Sending {
        Sending {
            once: false,
            waits: false,
            deadline: Some(deadline),
        }
    }
}

impl Client {
    /// A client of the endpoints that the command line names.
    pub async fn of_flags(context: &mut Context) -> Result<Client, Failure> {
        let client = Client::new(context).await?;
        if client.debug {
            let endpoints = client.shown(", ");
            context
                .terminal
                .complain(&format!("Cluster-Endpoints: {endpoints}"))?;
        }
        Ok(client)
    }

    /// A client of the members' own URLs, unless it is told not to ask for them.
    pub async fn synced(context: &mut Context) -> Result<Client, Failure> {
        let mut client = Client::new(context).await?;
        if !context.global.switch("no-sync") {
            client.tell(
                context,
                |at| format!("start to sync cluster using endpoints({at})"),
                ",",
            )?;
            client.sync(context).await?;
            client.tell(context, |at| format!("got endpoints({at}) after sync"), ",")?;
        }
        client.tell(context, |at| format!("Cluster-Endpoints: {at}"), ", ")?;
        Ok(client)
    }

    async fn new(context: &mut Context) -> Result<Client, Failure> {
        let (endpoints, secure) = endpoints(context).await?;
        let dial_timeout = match context.global.duration("total-timeout") {
            (limit, false) if !limit.is_zero() => limit.min(DIAL_TIMEOUT),
            _ => DIAL_TIMEOUT,
        };
        let timeout = context.global.duration("timeout");
        Ok(Client {
            endpoints: shuffled(endpoints),
            pinned: 0,
            sender: Sender {
                dialer: Dialer::within(dial_timeout)
                    .with_tls(secure.client())
                    .speaking(Alpn::Http1),
                authorization: authorization(context)?,
            },
            timeout: Some(timeout.0).filter(|limit| !timeout.1 && !limit.is_zero()),
            debug: context.global.switch("debug"),
        })
    }

    /// With `--debug`, a line about the endpoints.
    pub fn tell(
        &self,
        context: &mut Context,
        line: impl Fn(&str) -> String,
        separator: &str,
    ) -> Result<(), Failure> {
        match self.debug {
            true => context.terminal.complain(&line(&self.shown(separator))),
            false => Ok(()),
        }
    }

    pub fn sender(&self) -> &Sender {
        &self.sender
    }

    fn shown(&self, separator: &str) -> String {
        let shown: Vec<_> = self.endpoints.iter().map(Endpoint::to_string).collect();
        shown.join(separator)
    }

    /// Takes the members' client URLs. What is not a failed connection is left to the command.
    async fn sync(&mut self, context: &mut Context) -> Result<(), Failure> {
        let deadline = context.deadline();
        let members = match members::list(self, context, Some(deadline)).await {
            Ok(members) => members,
            Err(error) if error.is_connection() => return Err(error.fail(code::BAD_CONNECTION)),
            Err(_) => return Ok(()),
        };
        let urls = members.iter().flat_map(|member| &member.client_urls);
        let mut published: Vec<&str> = urls.map(String::as_str).collect();
        published.sort_unstable();
        let mut known: Vec<_> = self.endpoints.iter().map(Endpoint::to_string).collect();
        known.sort_unstable();
        if published == known {
            return Ok(());
        }
        if published.is_empty() {
            let asked = self.shown(",");
            context
                .terminal
                .complain("etcd cluster has no published client endpoints.")?;
            context.terminal.complain(&format!(
                "Try '--no-sync' if you want to access non-published client endpoints({asked})."
            ))?;
            let none = RequestError::other("client: no endpoints available");
            return Err(none.fail(code::SERVER_ERROR));
        }
        // One that cannot be read is no worse than one that cannot be reached.
        let read: Result<Vec<_>, _> = published.into_iter().map(Endpoint::parse).collect();
        if let Ok(endpoints) = read {
            (self.endpoints, self.pinned) = (shuffled(endpoints), 0);
        }
        Ok(())
    }

    /// Sends `request` to one endpoint after the other until one answers.
    pub async fn send(
        &mut self,
        context: &mut Context,
        request: &Request,
        sending: Sending,
    ) -> Result<Response, RequestError> {
        let attempts = self.attempts(context, request, sending);
        match sending.deadline {
            None => attempts.await,
            Some(deadline) if deadline <= rt::Instant::now() => Err(RequestError::Deadline),
            Some(deadline) => rt::timeout_at(deadline, attempts)
                .await
                .unwrap_or(Err(RequestError::Deadline)),
        }
    }

    async fn attempts(
        &mut self,
        context: &mut Context,
        request: &Request,
        sending: Sending,
    ) -> Result<Response, RequestError> {
        let mut errors = Vec::new();
        let count = self.endpoints.len();
        for at in (self.pinned..self.pinned + count).map(|at| at % count) {
            let endpoint = self.endpoints[at].clone();
            let error = match self.follow(context, &endpoint, request, sending).await {
                Ok(response) if response.status / 100 == 5 => {
                    server_error(&endpoint, response.status)
                }
                Ok(response) => {
                    self.pinned = at;
                    return Ok(response);
                }
                Err(error) => error,
            };
            if sending.once {
                return Err(error);
            }
            errors.push(error);
        }
        Err(RequestError::Cluster(errors))
    }

    /// Asks `endpoint`, and where its response sends the request.
    async fn follow(
        &self,
        context: &mut Context,
        endpoint: &Endpoint,
        request: &Request,
        sending: Sending,
    ) -> Result<Response, RequestError> {
        let (mut endpoint, mut request) = (endpoint.clone(), request.clone());
        for _ in 0..=REDIRECTS_MAX {
            if self.debug {
                // A terminal that is gone shows nothing.
                let _ = context.terminal.complain(&curl_line(&endpoint, &request));
            }
            let limit = self.timeout.filter(|_| !sending.waits);
            let response = self.sender.send(&endpoint, &request, limit).await?;
            if response.status / 100 != 3 {
                return Ok(response);
            }
            let Some(location) = response.location else {
                return Err(RequestError::other("location header not set"));
            };
            let (place, query) = location.split_once('?').unwrap_or((&location, ""));
            let Ok(next) = Endpoint::parse(place) else {
                let why = format!("location header not valid URL: {location}");
                return Err(RequestError::Other(why));
            };
            request.path = next.path.clone();
            request.query = query.to_owned();
            endpoint = next.with_path("");
        }
        Err(RequestError::other("client: too many redirects"))
    }
}

/// What a response of the 500s says of a member.
fn server_error(endpoint: &Endpoint, status: u16) -> RequestError {
    let why = match status {
        500 | 503 => format!("client: etcd member {endpoint} has no leader"),
        _ => {
            let status = hyper::StatusCode::from_u16(status).ok();
            let reason = status.and_then(|status| status.canonical_reason());
            let reason = reason.unwrap_or_default();
            format!("client: etcd member {endpoint} returns server error [{reason}]")
        }
    };
    RequestError::Other(why)
}

/// The endpoints that the command line names, and what to speak to them with.
async fn endpoints(context: &mut Context) -> Result<(Vec<Endpoint>, Secure), Failure> {
    let domain = context.flag_or_variable("discovery-srv", "ETCDCTL_DISCOVERY_SRV");
    let discovery = Discovery {
        domain: &domain,
        name: "",
        server: Some(context.variable(srv::SERVER)),
        takes_insecure: context.global.switch("insecure-discovery"),
    };
    let (mut urls, ignored) = discovery.endpoints().await.map_err(plain)?;
    srv::complain(&mut context.terminal, &ignored)?;
    // Without any, the flags count, as in etcdctl.
    if urls.is_empty() {
        let named = ENDPOINTS
            .iter()
            .map(|(flag, variable)| context.flag_or_variable(flag, variable))
            .find(|text| !text.is_empty());
        let text = named.unwrap_or_else(|| DEFAULT_ENDPOINTS.to_owned());
        urls = text.split(',').map(str::to_owned).collect();
    }
    let flags = TlsFlags {
        cert: context.flag_or_variable("cert-file", "ETCDCTL_CERT_FILE"),
        key: context.flag_or_variable("key-file", "ETCDCTL_KEY_FILE"),
        cacert: context.flag_or_variable("ca-file", "ETCDCTL_CA_FILE"),
        ..TlsFlags::default()
    };
    let secure = Secure::new(flags, &urls).map_err(plain)?;
    let read = urls.iter().map(|url| Endpoint::of_flag(url));
    let endpoints = read.collect::<Result<_, _>>().map_err(Failure::error)?;
    Ok((endpoints, secure))
}

/// A failure with the code that v2's commands end with.
fn plain(failure: Failure) -> Failure {
    Failure::error(failure.message)
}

/// `--username name:password`, or a password that is typed in.
fn authorization(context: &mut Context) -> Result<Option<String>, Failure> {
    let user = context.flag_or_variable("username", "ETCDCTL_USERNAME");
    if user.is_empty() {
        return Ok(None);
    }
    let (name, password) = match user.split_once(':') {
        Some((name, password)) => (name.to_owned(), password.to_owned()),
        None => (user.clone(), context.terminal.ask_secret("Password: ")?),
    };
    if name.is_empty() {
        return Ok(None);
    }
    let both = BASE64_STANDARD.encode(format!("{name}:{password}"));
    Ok(Some(format!("Basic {both}")))
}

/// Another order each time, so that clients share out over the members.
fn shuffled(mut endpoints: Vec<Endpoint>) -> Vec<Endpoint> {
    for last in (1..endpoints.len()).rev() {
        let count = u64::try_from(last + 1).expect("a few endpoints");
        let chosen = usize::try_from(rt::random_u64() % count).expect("below the count");
        endpoints.swap(last, chosen);
    }
    endpoints
}
