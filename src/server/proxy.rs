//! The port of a proxy, which is no member: requests of the v2 API go on to a member.

mod endpoints;

pub(crate) use endpoints::Endpoints;

use super::ServerOptions;
use super::http::{JSON, TEXT, allow_browsers, not_found, only_get, respond};
use super::listen::{Listening, Port, Reply, Tuning};
use crate::http_client::HttpClient;
use ::http::{HeaderMap, HeaderName, Method, Request, Response, StatusCode, Uri, Version, header};
use axum::body::Body;
use bytes::Bytes;
use detcd_net::{ConnectionLimit, Listener};
use detcd_rt::Instant;
use futures::future::BoxFuture;
use futures::{Stream, StreamExt as _};
use hyper::body::Incoming;
use serde::Serialize;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// Headers that are between two neighbours.
const HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    HeaderName::from_static("trailers"),
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// How a proxy goes about it.
#[derive(Clone)]
pub(crate) struct ProxyOptions {
    pub server: ServerOptions,
    pub is_readonly: bool,
    pub client: HttpClient,
    /// How long a member may be silent; `None`: for ever.
    pub read_timeout: Option<Duration>,
    /// The members, which whoever refreshes them replaces.
    pub endpoints: Arc<Mutex<Endpoints>>,
}

/// The service of a proxy. Cheap to clone.
#[derive(Clone)]
struct ProxyPort {
    options: Arc<ProxyOptions>,
}

/// Serves clients until it is told to stop.
pub(crate) fn serve(options: ProxyOptions, clients: Vec<Listener>) -> ProxyServer {
    let port = Port {
        tuning: Tuning::of_clients(&options.server),
        limit: ConnectionLimit::new("clients", options.server.client_connections_max),
        traffic: None,
    };
    let service = ProxyPort {
        options: Arc::new(options),
    };
    let serve = |listener| port.serve(listener, service.clone());
    ProxyServer(clients.into_iter().map(serve).collect())
}

/// The port that is being served.
pub(crate) struct ProxyServer(Vec<Listening>);

impl ProxyServer {
    /// Takes no more clients and lets requests under way end, but not for long.
    pub async fn stop(self) {
        super::stop_all(self.0).await;
    }
}

impl hyper::service::Service<Request<Incoming>> for ProxyPort {
    type Response = Reply;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Reply, Infallible>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let options = self.options.clone();
        Box::pin(async move {
            let origin = request.headers().get(header::ORIGIN).cloned();
            let mut reply = match *request.method() {
                Method::OPTIONS => respond(StatusCode::OK, TEXT, Bytes::new()),
                _ => options.answer(request).await,
            };
            allow_browsers(&options.server.cors, origin.as_ref(), reply.headers_mut());
            Ok(reply)
        })
    }
}

#[derive(Serialize)]
struct Known {
    endpoints: Vec<String>,
}

impl ProxyOptions {
    async fn answer(&self, request: Request<Incoming>) -> Reply {
        // Of etcd's own pages, the proxy has this one.
        if request.uri().path() == "/v2/config/local/proxy" {
            return match *request.method() {
                Method::GET => self.known(),
                _ => only_get(),
            };
        }
        // What a member says here it says of itself.
        if request.uri().path() == "/metrics" {
            return not_found();
        }
        if self.is_readonly && request.method() != Method::GET {
            return respond(StatusCode::NOT_IMPLEMENTED, TEXT, Bytes::new());
        }
        self.forward(request).await
    }

    fn known(&self) -> Reply {
        let endpoints = self.endpoints().available(Instant::now());
        line(StatusCode::OK, &Known { endpoints })
    }

    fn endpoints(&self) -> MutexGuard<'_, Endpoints> {
        let endpoints = self.endpoints.lock();
        endpoints.expect("nothing panics while it holds the endpoints")
    }

    async fn forward(&self, request: Request<Incoming>) -> Reply {
        let (head, body) = request.into_parts();
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        let Ok(uri) = path.parse::<Uri>() else {
            return not_found();
        };
        let size_max = self.server.max_request_bytes;
        // It may be sent to several members.
        let body = match axum::body::to_bytes(Body::new(body), size_max).await {
            Ok(body) => body,
            Err(problem) => {
                let text = format!("failed to read request body: {problem}");
                return refusal(StatusCode::INTERNAL_SERVER_ERROR, &text);
            }
        };
        let tried = self.endpoints().in_turn(Instant::now());
        if tried.is_empty() {
            tracing::warn!("zero endpoints currently available");
            let status = StatusCode::SERVICE_UNAVAILABLE;
            return refusal(status, "zero endpoints currently available");
        }
        for endpoint in &tried {
            let mut request = Request::new(Body::from(body.clone()));
            *request.method_mut() = head.method.clone();
            *request.uri_mut() = uri.clone();
            *request.version_mut() = Version::HTTP_11;
            *request.headers_mut() = passed_on(&head.headers);
            request.headers_mut().remove(header::HOST);
            let sent = self.client.send(endpoint, request);
            let answered = match self.read_timeout {
                Some(timeout) => detcd_rt::timeout(timeout, sent)
                    .await
                    .unwrap_or_else(|_| Err("no answer in time".to_owned())),
                None => sent.await,
            };
            match answered {
                Ok(response) => return self.passed_back(response),
                Err(error) => {
                    tracing::warn!("failed to direct request to {endpoint}: {error}");
                    self.endpoints().failed(endpoint, Instant::now());
                }
            }
        }
        let text = format!("unable to get response from {} endpoint(s)", tried.len());
        tracing::warn!("{text}");
        refusal(StatusCode::BAD_GATEWAY, &text)
    }

    fn passed_back(&self, response: Response<Incoming>) -> Reply {
        let (head, body) = response.into_parts();
        let body = Body::new(body);
        let body = match self.read_timeout {
            Some(timeout) => Body::from_stream(limited(body, timeout)),
            None => body,
        };
        let mut reply = Response::new(tonic::body::Body::new(body));
        *reply.status_mut() = head.status;
        *reply.headers_mut() = passed_on(&head.headers);
        reply
    }
}

/// The data of a body, which ends if there is none for longer than `timeout`.
fn limited(body: Body, timeout: Duration) -> impl Stream<Item = Result<Bytes, BoxError>> {
    futures::stream::unfold(Some(body.into_data_stream()), move |data| async move {
        let mut data = data?;
        match detcd_rt::timeout(timeout, data.next()).await {
            Ok(Some(Ok(bytes))) => Some((Ok(bytes), Some(data))),
            Ok(Some(Err(error))) => Some((Err(error.into()), None)),
            Ok(None) => None,
            Err(_) => Some((Err("the member is silent".into()), None)),
        }
    })
}

fn passed_on(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    HOP_BY_HOP
        .iter()
        .for_each(|name| drop(headers.remove(name)));
    headers
}

/// A refusal of the proxy itself, as etcd's v2 API words it.
fn refusal(status: StatusCode, text: &str) -> Reply {
    let message = format!("httpproxy: {text}");
    line(status, &Refusal { message })
}

#[derive(Serialize)]
struct Refusal {
    message: String,
}

/// JSON that ends with a line feed.
fn line(status: StatusCode, value: &impl Serialize) -> Reply {
    let text = serde_json::to_string(value).expect("strings have a JSON form");
    respond(status, JSON, format!("{text}\n"))
}
