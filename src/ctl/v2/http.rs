//! One HTTP request to one endpoint, and errors as Go's client words them.

use super::error::RequestError;
use super::url::Endpoint;
use crate::ctl::go;
use bytes::Bytes;
use detcd_net::{Address, Dialer, Place};
use detcd_rt as rt;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper_util::rt::TokioIo;
use std::io;
use std::time::Duration;

/// What is asked of a server.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: &'static str,
    /// As the URL has it, with its escapes.
    pub path: String,
    /// Empty if there is none.
    pub query: String,
    pub content_type: Option<&'static str>,
    pub body: Option<String>,
}

impl Request {
    pub fn new(method: &'static str, path: impl Into<String>) -> Request {
        Request {
            method,
            path: path.into(),
            query: String::new(),
            content_type: None,
            body: None,
        }
    }

    pub fn json(self, body: String) -> Request {
        Request {
            content_type: Some("application/json"),
            body: Some(body),
            ..self
        }
    }

    pub fn form(self, body: String) -> Request {
        Request {
            content_type: Some("application/x-www-form-urlencoded"),
            body: Some(body),
            ..self
        }
    }

    /// The path and the query, below the endpoint's own path.
    pub fn target(&self, endpoint: &Endpoint) -> String {
        let base = endpoint.path.trim_end_matches('/');
        let mark = if self.query.is_empty() { "" } else { "?" };
        format!("{base}{}{mark}{}", self.path, self.query)
    }
}

pub struct Response {
    pub status: u16,
    pub etcd_index: Option<String>,
    pub location: Option<String>,
    pub body: Bytes,
}

/// How requests are sent.
#[derive(Clone, Debug)]
pub struct Sender {
    pub dialer: Dialer,
    /// The header of basic authentication.
    pub authorization: Option<String>,
}

impl Sender {
    /// Sends `request` over a connection of its own; `headers` limits the time until the head of
    /// the response.
    pub async fn send(
        &self,
        endpoint: &Endpoint,
        request: &Request,
        headers: Option<Duration>,
    ) -> Result<Response, RequestError> {
        let head = self.head(endpoint, request);
        let response = match headers {
            None => head.await?,
            Some(limit) => match rt::timeout(limit, head).await {
                Ok(response) => response?,
                Err(_) => {
                    let why = format!("client: endpoint {endpoint} exceeded header timeout");
                    return Err(RequestError::Other(why));
                }
            },
        };
        let (parts, body) = response.into_parts();
        let text = |name: &str| {
            let value = parts.headers.get(name)?;
            Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        let body = body.collect().await.map_err(|error| lost(&error))?;
        Ok(Response {
            status: parts.status.as_u16(),
            etcd_index: text("x-etcd-index"),
            location: text("location"),
            body: body.to_bytes(),
        })
    }

    async fn head(
        &self,
        endpoint: &Endpoint,
        request: &Request,
    ) -> Result<hyper::Response<hyper::body::Incoming>, RequestError> {
        let address = address(endpoint)?;
        let stream = self.dialer.dial(&address).await;
        let stream = stream.map_err(|error| not_dialed(&address, &error))?;
        let handshake = http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(|error| lost(&error))?;
        // It ends with the response, or when the sender is dropped.
        drop(rt::spawn(connection));
        let mut builder = hyper::Request::builder()
            .method(request.method)
            .uri(request.target(endpoint))
            .header(HOST, address.authority());
        if let Some(kind) = request.content_type {
            builder = builder.header(CONTENT_TYPE, kind);
        }
        if let Some(authorization) = &self.authorization {
            builder = builder.header(AUTHORIZATION, authorization);
        }
        let body = Full::new(Bytes::from(request.body.clone().unwrap_or_default()));
        let request = builder
            .body(body)
            .map_err(|error| RequestError::other(error.to_string()))?;
        sender
            .send_request(request)
            .await
            .map_err(|error| lost(&error))
    }
}

fn address(endpoint: &Endpoint) -> Result<Address, RequestError> {
    let host = match &endpoint.scheme[..] {
        "http" | "https" => &endpoint.authority,
        "unix" | "unixs" => return unix_address(endpoint),
        other => {
            let why = format!("unsupported protocol scheme \"{other}\"");
            return Err(RequestError::Other(why));
        }
    };
    let (_, host) = host.rsplit_once('@').unwrap_or(("", host));
    if host.is_empty() {
        return Err(RequestError::other("http: no Host in request URL"));
    }
    let has_port = host.rfind(':') > host.rfind(']');
    let is_tls = endpoint.scheme == "https";
    let port = match (has_port, is_tls) {
        (true, _) => "",
        (false, true) => ":443",
        (false, false) => ":80",
    };
    Ok(Address {
        is_tls,
        ..Address::tcp(format!("{host}{port}"))
    })
}

fn unix_address(endpoint: &Endpoint) -> Result<Address, RequestError> {
    Address::of_url(&endpoint.to_string()).map_err(|error| RequestError::other(error.to_string()))
}

/// Nobody listens there, or there is no such host.
fn not_dialed(address: &Address, error: &io::Error) -> RequestError {
    let (network, place) = match &address.place {
        Place::Tcp(address) => ("tcp", address.clone()),
        Place::Unix(path) => ("unix", path.display().to_string()),
    };
    if address.is_tls && error.kind() == io::ErrorKind::InvalidData {
        return RequestError::Connection(error.to_string());
    }
    let why = match (error.raw_os_error(), error.kind()) {
        (Some(_), _) => format!("dial {network} {place}: connect: {}", lower(error)),
        (None, io::ErrorKind::TimedOut) => format!("dial {network} {place}: i/o timeout"),
        (None, _) => {
            let (host, _) = place.rsplit_once(':').unwrap_or((&place, ""));
            format!("dial {network}: lookup {host}: no such host")
        }
    };
    RequestError::Connection(why)
}

/// An error of the system as Go writes it: in small letters, without its number.
fn lower(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    text.to_lowercase()
}

/// The connection ended, or what came is not HTTP.
fn lost(error: &hyper::Error) -> RequestError {
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        if let Some(error) = inner.downcast_ref::<io::Error>() {
            return RequestError::Connection(format!("read: {}", lower(error)));
        }
        cause = inner.source();
    }
    match error.is_parse() {
        true => RequestError::other("malformed HTTP response"),
        false => RequestError::other("EOF"),
    }
}

/// What is shown of a request with `--debug`.
pub fn curl_line(endpoint: &Endpoint, request: &Request) -> String {
    let url = endpoint.with_path("");
    let mut line = format!(
        "cURL Command: curl -X {} {url}{}",
        request.method,
        request.target(endpoint)
    );
    if let Some(body) = &request.body {
        line.push_str(&format!(" -d {}", go::quote(body.as_bytes())));
    }
    line
}
