//! WebSockets of the gateway, of detcd and of etcd.

use super::http::normalized;
use super::members;
use futures::{SinkExt as _, StreamExt as _};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::handshake::client::Response;
use tokio_tungstenite::tungstenite::{Error, Message};

const ANSWER_MAX: Duration = Duration::from_secs(30);

/// Path, what is sent, and how many messages come back.
const CASES: &[(&str, &[&str], usize)] = &[
    ("/v3/watch", &[r#"{"create_request":{"key":"Zm9v"}}"#], 1),
    (
        "/v3/watch",
        &[
            r#"{"create_request":{"key":"Zm9v"}}"#,
            r#"{"progress_request":{}}"#,
            r#"{"cancel_request":{"watch_id":0}}"#,
        ],
        3,
    ),
    (
        "/v3/watch",
        &[r#"{"create_request":"#, r#"{"key":"Zm9v"}}"#],
        1,
    ),
    ("/v3/watch", &["x"], 1),
    ("/v3/watch", &[r#"{"create_request":{"key":5}}"#], 1),
    ("/v3/lease/keepalive", &[r#"{"ID":5}"#, r#"{"ID":"6"}"#], 2),
    ("/v3beta/lease/keepalive", &[r#"{"ID":5}{"ID":6}"#], 2),
    ("/v3/nothing", &["{}"], 1),
];

pub async fn open(
    port: u16,
    path: &str,
    protocol: Option<&str>,
) -> Result<(WebSocketStream<TcpStream>, Response), Error> {
    let stream = TcpStream::connect(("127.0.0.1", port))
        .await
        .expect("a member");
    let mut request = format!("ws://127.0.0.1:{port}{path}").into_client_request()?;
    if let Some(protocol) = protocol {
        let name = "sec-websocket-protocol";
        request
            .headers_mut()
            .insert(name, protocol.parse().expect("a header"));
    }
    tokio_tungstenite::client_async(request, stream).await
}

pub async fn next(socket: &mut WebSocketStream<TcpStream>) -> Option<String> {
    let next = tokio::time::timeout(ANSWER_MAX, socket.next()).await;
    match next.expect("an answer in time") {
        Some(Ok(Message::Text(text))) => Some(normalized(text.as_str())),
        // Whether the end is said before it comes is not compared.
        None | Some(Ok(Message::Close(_)) | Err(_)) => None,
        Some(Ok(other)) => panic!("{other:?}"),
    }
}

async fn ask(port: u16, path: &str, messages: &[&str], count: usize) -> Vec<String> {
    let (mut socket, _) = open(port, path, None).await.expect("a socket");
    for message in messages {
        socket.send(Message::text(*message)).await.expect("sent");
    }
    let mut seen = Vec::new();
    while seen.len() < count {
        let Some(message) = next(&mut socket).await else {
            break;
        };
        seen.push(message);
    }
    seen
}

#[tokio::test]
async fn websockets_are_answered_as_etcd_answers_them() {
    let test = "websockets_are_answered_as_etcd_answers_them";
    let Some(members) = members(test, &[]).await else {
        return;
    };
    let [etcd, detcd] = [0, 1].map(|i| members[i].nodes[0].client_port);
    for (path, messages, count) in CASES {
        let theirs = ask(etcd, path, messages, *count).await;
        let ours = ask(detcd, path, messages, *count).await;
        assert_eq!(ours, theirs, "{path} {messages:?}");
        assert_eq!(ours.len(), *count, "{path} {messages:?}");
    }
    for protocol in ["Bearer, abc", "Bearer,abc"] {
        for port in [etcd, detcd] {
            let opened = open(port, "/v3/watch", Some(protocol)).await;
            let (_, response) = opened.expect("a socket");
            let agreed = response.headers().get("sec-websocket-protocol");
            assert_eq!(agreed.expect("a protocol"), "Bearer");
        }
    }
}

#[tokio::test]
async fn websockets_end_with_their_client_and_with_their_member() {
    let mut detcd = crate::cluster::Cluster::started(1, &[]).await;
    let port = detcd.nodes[0].client_port;
    let create = r#"{"create_request":{"key":"Zm9v"}}"#;
    let mut socket = open(port, "/v3/watch", None).await.expect("a socket").0;
    socket.send(Message::text(create)).await.expect("sent");
    assert!(
        next(&mut socket)
            .await
            .expect("created")
            .contains("created")
    );
    let streams = async || {
        let (_, page) = crate::cluster::http_get(port, "/metrics").await?;
        let name = "etcd_debugging_mvcc_watch_stream_total ";
        let line = page.lines().find_map(|line| line.strip_prefix(name))?;
        line.parse::<u32>().ok()
    };
    assert_eq!(streams().await, Some(1));
    socket.send(Message::Ping("x".into())).await.expect("sent");
    let pong = tokio::time::timeout(ANSWER_MAX, socket.next()).await;
    assert!(matches!(pong, Ok(Some(Ok(Message::Pong(_))))), "{pong:?}");
    drop(socket);
    crate::cluster::eventually("the stream is closed", || async {
        (streams().await? == 0).then_some(())
    })
    .await;
    let mut socket = open(port, "/v3/watch", None).await.expect("a socket").0;
    socket.send(Message::text(create)).await.expect("sent");
    assert!(next(&mut socket).await.is_some());
    let (status, _) = detcd.nodes[0].stop().await;
    assert!(status.success());
    assert_eq!(next(&mut socket).await, None);
}
