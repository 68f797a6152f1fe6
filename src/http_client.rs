//! Requests over HTTP/1.1 to other programs: the registry of a discovery, the members behind a
//! proxy. A connection that has served a request serves the next one to the same place.

use axum::body::Body;
use detcd_net::{Address, Dialer};
use http::{HeaderValue, Request, Response, header};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Idle connections that are kept to one place.
const IDLE_MAX: usize = 64;

/// Sends requests. Cheap to clone.
#[derive(Clone)]
pub(crate) struct HttpClient {
    dialer: Dialer,
    idle: Arc<Mutex<BTreeMap<String, Vec<SendRequest<Body>>>>>,
}

impl HttpClient {
    pub fn new(dial_timeout: Duration) -> HttpClient {
        HttpClient {
            dialer: Dialer::within(dial_timeout),
            idle: Arc::default(),
        }
    }

    /// Ends connections whose other side leaves untaken for so long what was sent.
    pub fn with_write_timeout(self, timeout: Option<Duration>) -> HttpClient {
        HttpClient {
            dialer: self.dialer.with_write_timeout(timeout),
            ..self
        }
    }

    /// Sends a request to the place that a URL names, and gives the head of the answer. The error
    /// says why there is none.
    pub async fn send(
        &self,
        url: &str,
        mut request: Request<Body>,
    ) -> Result<Response<Incoming>, String> {
        let address = Address::of_url(url).map_err(text)?;
        if !request.headers().contains_key(header::HOST) {
            let host = HeaderValue::from_str(address.authority()).map_err(text)?;
            request.headers_mut().insert(header::HOST, host);
        }
        let place = address.to_string();
        while let Some(mut sender) = self.take(&place) {
            if sender.ready().await.is_err() {
                continue;
            }
            match sender.try_send_request(request).await {
                Ok(response) => return Ok(self.give_back(place, sender, response)),
                // The connection has ended before it took the request.
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(text(error.into_error())),
                },
            }
        }
        let stream = self.dialer.dial(&address).await;
        let stream = TokioIo::new(stream.map_err(|error| format!("dial tcp {place}: {error}"))?);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(stream)
            .await
            .map_err(text)?;
        // It ends with its sender.
        detcd_rt::spawn(async move { drop(connection.await) });
        let response = sender.send_request(request).await.map_err(text)?;
        Ok(self.give_back(place, sender, response))
    }

    fn take(&self, place: &str) -> Option<SendRequest<Body>> {
        let mut idle = self.idle.lock().expect("nothing panics while it holds it");
        idle.get_mut(place)?.pop()
    }

    /// The connection is idle once the answer has been read.
    fn give_back(
        &self,
        place: String,
        mut sender: SendRequest<Body>,
        response: Response<Incoming>,
    ) -> Response<Incoming> {
        let idle = self.idle.clone();
        detcd_rt::spawn(async move {
            if sender.ready().await.is_ok() {
                let mut idle = idle.lock().expect("nothing panics while it holds it");
                let senders = idle.entry(place).or_default();
                if senders.len() < IDLE_MAX {
                    senders.push(sender);
                }
            }
        });
        response
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
