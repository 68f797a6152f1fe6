//! WebSockets, as etcd has them in front of its gateway: each message is a value of the body of a
//! request, and each line of its reply a message.

use super::super::problem;
use super::Gateway;
use super::values::Broken;
use crate::server::listen::Reply;
use crate::server::takeover::Takeover;
use ::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use bytes::{Bytes, BytesMut};
use detcd_net::limits::DRAIN_TIMEOUT;
use futures::{SinkExt as _, StreamExt as _, stream};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

const VERSION: HeaderValue = HeaderValue::from_static("13");
const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");
const UPGRADE: HeaderValue = HeaderValue::from_static("upgrade");
/// Browsers can give a WebSocket no other header: a token comes as a protocol after this one.
const BEARER: &str = "Bearer";
/// What etcd passes on of a request's headers.
const PASSED_ON: [HeaderName; 2] = [header::ORIGIN, header::REFERER];
/// The cookie that may hold a token.
const TOKEN_COOKIE: &str = "token";

/// Whether the client wants a WebSocket.
pub fn is_wanted(headers: &HeaderMap) -> bool {
    has_word(headers, &header::CONNECTION, "upgrade")
        && has_word(headers, &header::UPGRADE, "websocket")
}

fn has_word(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    let values = headers.get_all(name).iter();
    let mut words = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    words.any(|it| it.trim().eq_ignore_ascii_case(word))
}

/// Agrees to speak WebSocket, and leaves the speaking to the connection's task.
pub fn open(gateway: Arc<Gateway>, mut request: Request<Incoming>) -> Reply {
    let takeover = request.extensions_mut().remove::<Takeover>();
    let key = request.headers().get(header::SEC_WEBSOCKET_KEY);
    let version = request.headers().get(header::SEC_WEBSOCKET_VERSION);
    let (Some(takeover), Some(key)) = (takeover, key) else {
        return refusal();
    };
    if request.method() != Method::GET || version != Some(&VERSION) {
        return refusal();
    }
    let Ok(accept) = HeaderValue::try_from(derive_accept_key(key.as_bytes())) else {
        return refusal();
    };
    let mut reply = Response::new(tonic::body::Body::empty());
    *reply.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = reply.headers_mut();
    headers.insert(header::UPGRADE, WEBSOCKET);
    headers.insert(header::CONNECTION, UPGRADE);
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    if protocol(request.headers()).is_some_and(|protocol| protocol.starts_with(BEARER)) {
        let bearer = HeaderValue::from_static(BEARER);
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, bearer);
    }
    let headers = passed_on(request.headers());
    let path = request.uri().path().to_owned();
    takeover.set(Box::pin(async move {
        if let Ok(upgraded) = hyper::upgrade::on(request).await {
            let bytes_max = gateway.value_bytes_max();
            let config = WebSocketConfig::default()
                .max_message_size(Some(bytes_max))
                .max_frame_size(Some(bytes_max));
            let io = TokioIo::new(upgraded);
            let socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
            speak(&gateway, &path, &headers, socket).await;
        }
    }));
    reply
}

fn refusal() -> Reply {
    let mut reply = problem(StatusCode::BAD_REQUEST, "Bad Request");
    let headers = reply.headers_mut();
    headers.insert(header::SEC_WEBSOCKET_VERSION, VERSION);
    reply
}

fn protocol(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::SEC_WEBSOCKET_PROTOCOL)?.to_str().ok()
}

/// The headers of the request that the socket stands for.
fn passed_on(headers: &HeaderMap) -> HeaderMap {
    let mut passed = HeaderMap::new();
    for name in &PASSED_ON {
        if let Some(value) = headers.get(name) {
            passed.insert(name.clone(), value.clone());
        }
    }
    let by_protocol = protocol(headers)
        .and_then(|protocol| protocol.split_once("Bearer,"))
        .map(|(_, token)| token.trim());
    let cookies = headers.get(header::COOKIE).and_then(|it| it.to_str().ok());
    let by_cookie = cookies.unwrap_or_default().split(';').find_map(|cookie| {
        let (name, value) = cookie.trim().split_once('=')?;
        (name == TOKEN_COOKIE).then_some(value)
    });
    let token = by_cookie.or(by_protocol).map(HeaderValue::try_from);
    if let Some(Ok(token)) = token {
        passed.insert(header::AUTHORIZATION, token);
    }
    passed
}

/// Has the gateway answer what the client says, until either of them ends.
async fn speak<S>(gateway: &Gateway, path: &str, headers: &HeaderMap, socket: WebSocketStream<S>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut to_client, mut from_client) = socket.split();
    let (sender, receiver) = mpsc::channel(1);
    let read = async {
        while let Some(Ok(message)) = from_client.next().await {
            if message.is_text() || message.is_binary() {
                let mut value = BytesMut::from(&message.into_data()[..]);
                value.extend_from_slice(b"\n");
                // Who has failed reads no more, and is told to the client.
                let _ = sender.send(value.freeze()).await;
            }
        }
    };
    let body = stream::unfold(receiver, |mut receiver: mpsc::Receiver<Bytes>| async {
        let value = receiver.recv().await?;
        Some((Ok::<_, Broken>(value), receiver))
    });
    let answer = async {
        let reply = gateway
            .answer(path, &Method::POST, headers, body.boxed())
            .await;
        let mut body = reply.into_body();
        let mut line = BytesMut::new();
        while let Some(Ok(frame)) = body.frame().await {
            line.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
            while let Some(end) = line.iter().position(|byte| *byte == b'\n') {
                let whole = line.split_to(end + 1);
                to_client.send(text(&whole[..end])).await?;
            }
        }
        if !line.is_empty() {
            to_client.send(text(&line)).await?;
        }
        to_client.close().await
    };
    tokio::select! {
        biased;
        () = read => {}
        // A client that is gone needs no answer.
        _ = answer => {}
    }
    // What was written last is sent with the end.
    if let Ok(mut socket) = to_client.reunite(from_client) {
        let shutdown = socket.get_mut().shutdown();
        let _ = detcd_rt::timeout(DRAIN_TIMEOUT, shutdown).await;
    }
}

fn text(line: &[u8]) -> Message {
    Message::text(String::from_utf8_lossy(line).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_as_a_protocol_or_as_a_cookie() {
        let token = |protocol: Option<&'static str>, cookie: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            for (name, value) in [
                (header::SEC_WEBSOCKET_PROTOCOL, protocol),
                (header::COOKIE, cookie),
                (header::AUTHORIZATION, Some("other")),
            ] {
                if let Some(value) = value {
                    headers.insert(name, HeaderValue::from_static(value));
                }
            }
            let passed = passed_on(&headers);
            let token = passed.get(header::AUTHORIZATION);
            token.map(|token| token.to_str().unwrap().to_owned())
        };
        assert_eq!(token(None, None), None);
        assert_eq!(token(Some("Bearer, t.1"), None).as_deref(), Some("t.1"));
        assert_eq!(token(Some("chat"), None), None);
        let cookies = Some("a=b; token=c");
        assert_eq!(token(Some("Bearer, t"), cookies).as_deref(), Some("c"));
    }

    #[test]
    fn an_upgrade_is_asked_for_in_two_headers() {
        let mut headers = HeaderMap::new();
        headers.insert(header::UPGRADE, HeaderValue::from_static("WebSocket"));
        assert!(!is_wanted(&headers));
        headers.insert(
            header::CONNECTION,
            HeaderValue::from_static("keep-alive, Upgrade"),
        );
        assert!(is_wanted(&headers));
    }
}
