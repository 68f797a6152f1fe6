//! The time that clients give a call is the time that the member takes for it at most.

use crate::cluster::{Cluster, Node, WAIT_MAX, put};
use detcd_wire::etcdserverpb as pb;
use pb::watch_client::WatchClient;
use prost::Message as _;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tonic::{Code, Request};

fn timeout<T>(message: T, value: &'static str) -> Request<T> {
    let mut request = Request::new(message);
    request
        .metadata_mut()
        .insert("grpc-timeout", value.parse().expect("letters"));
    request
}

/// What a put is answered: the status and its text. Straight over HTTP/2, because tonic's client
/// watches the time itself.
async fn put_within(node: &Node, timeout: &str) -> (String, String) {
    let socket = TcpStream::connect(("127.0.0.1", node.client_port))
        .await
        .expect("the member listens");
    let (mut requests, connection) = h2::client::handshake(socket).await.expect("HTTP/2");
    tokio::spawn(connection);
    let request = http::Request::post(format!("{}/etcdserverpb.KV/Put", node.client_url()))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-timeout", timeout)
        .body(())
        .expect("a request");
    let (response, mut body) = requests.send_request(request, false).expect("a stream");
    let message = pb::PutRequest {
        key: "a".into(),
        value: "1".into(),
        ..Default::default()
    }
    .encode_to_vec();
    let mut framed = vec![0; 5];
    framed[4] = u8::try_from(message.len()).expect("a small message");
    framed.extend(message);
    body.send_data(framed.into(), true).expect("room for it");
    let response = tokio::time::timeout(WAIT_MAX, response).await;
    let response = response.expect("an answer in time").expect("an answer");
    let mut headers = response.headers().clone();
    if !headers.contains_key("grpc-status") {
        let mut body = response.into_body();
        while let Some(data) = body.data().await {
            data.expect("the answer");
        }
        headers = body.trailers().await.expect("an end").expect("trailers");
    }
    let text = |name| {
        headers
            .get(name)
            .map_or("", |value| value.to_str().expect("letters"))
            .to_owned()
    };
    (text("grpc-status"), text("grpc-message"))
}

fn status(code: Code, text: &str) -> (String, String) {
    ((code as i32).to_string(), text.to_owned())
}

#[tokio::test]
async fn a_call_ends_when_its_time_is_up() {
    let mut cluster = Cluster::started(3, &[]).await;
    assert_eq!(
        put_within(&cluster.nodes[0], "60S").await,
        status(Code::Ok, "")
    );
    // Without a quorum a put waits for longer than this.
    cluster.nodes[1].kill();
    cluster.nodes[2].kill();
    let begun = Instant::now();
    let answer = put_within(&cluster.nodes[0], "300m").await;
    let took = begun.elapsed();
    let exceeded = status(Code::DeadlineExceeded, "context%20deadline%20exceeded");
    assert_eq!(answer, exceeded);
    assert!(took >= Duration::from_millis(300), "{took:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[tokio::test]
async fn a_time_that_makes_no_sense_fails_the_call() {
    let cluster = Cluster::started(1, &[]).await;
    let (code, text) = put_within(&cluster.nodes[0], "soon").await;
    assert_eq!(code, (Code::Internal as i32).to_string());
    assert!(text.contains("grpc-timeout"), "{text}");
}

#[tokio::test]
async fn a_stream_ends_when_its_time_is_up() {
    let cluster = Cluster::started(1, &[]).await;
    let node = &cluster.nodes[0];
    put(&mut node.kv(), "a", "0").await.unwrap();
    let create = pb::WatchCreateRequest {
        key: "a".into(),
        start_revision: 2,
        ..Default::default()
    };
    let create = pb::WatchRequest {
        request_union: Some(pb::watch_request::RequestUnion::CreateRequest(create)),
    };
    let requests = tokio_stream::StreamExt::chain(
        tokio_stream::once(create),
        tokio_stream::pending::<pb::WatchRequest>(),
    );
    let mut client = WatchClient::new(node.channel());
    let mut stream = client
        .watch(timeout(requests, "4000m"))
        .await
        .unwrap()
        .into_inner();
    let mut told = Vec::new();
    let end = loop {
        let message = tokio::time::timeout(WAIT_MAX, stream.message()).await;
        match message.expect("the stream ends") {
            Ok(Some(response)) => told.push(response),
            end => break end,
        }
    };
    assert!(told.iter().any(|response| !response.events.is_empty()));
    assert_eq!(end.unwrap_err().code(), Code::DeadlineExceeded);
    node.wait_healthy().await;
}
