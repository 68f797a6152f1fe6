//! Clients that do not behave: garbage, silence, crowds. The member must not notice.

use crate::cluster::{Cluster, WAIT_MAX, get, http_get, put};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Things that neither port understands.
pub fn garbage() -> Vec<Vec<u8>> {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    vec![
        vec![0; 4096],
        vec![0xff; 4096],
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        b"GET / HTTP/1.1\r\nbroken".to_vec(),
        b"\r\n\r\n\r\n\r\n".to_vec(),
        preface.to_vec(),
        // A frame of a length that no frame may have.
        [&preface[..], &[0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0]].concat(),
        // A settings frame that is cut off.
        [&preface[..], &[0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 1]].concat(),
        // Headers that are no HPACK.
        [
            &preface[..],
            &[0, 0, 4, 1, 5, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff],
        ]
        .concat(),
        (0..8192u32)
            .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
            .collect(),
    ]
}

#[tokio::test]
async fn garbage_on_both_ports_harms_nobody() {
    let cluster = Cluster::started(1, &[]).await;
    let node = &cluster.nodes[0];
    for port in [node.client_port, node.peer_port] {
        for bytes in garbage() {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            // The other side may hang up in the middle.
            let _ = stream.write_all(&bytes).await;
            let _ = stream.shutdown().await;
            let mut answer = Vec::new();
            let read = stream.read_to_end(&mut answer);
            let _ = tokio::time::timeout(Duration::from_secs(10), read)
                .await
                .expect("garbage is hung up on, not waited for");
        }
    }
    node.wait_healthy().await;
    put(&mut node.kv(), "a", "1").await.unwrap();
    let (status, _) = http_get(node.peer_port, "/members").await.unwrap();
    assert_eq!(status, 200);
}

/// What `port` answers to `words`, up to the end of the head.
pub async fn answer(port: u16, words: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_all(words.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let read = async {
        let is_whole = |answer: &[u8]| answer.windows(4).any(|part| part == b"\r\n\r\n");
        while !is_whole(&answer) && stream.read_buf(&mut answer).await? > 0 {}
        std::io::Result::Ok(())
    };
    let read = tokio::time::timeout(WAIT_MAX, read).await;
    // A reset ends an answer, too.
    let _ = read.expect("an answer or an end");
    String::from_utf8_lossy(&answer).into_owned()
}

/// A CONNECT has no path.
#[tokio::test]
async fn a_request_without_a_path_is_answered() {
    let cluster = Cluster::started(1, &[]).await;
    let node = &cluster.nodes[0];
    let connect = "CONNECT foo:80 HTTP/1.1\r\nHost: foo:80\r\n";
    for (port, more) in [
        (node.peer_port, ""),
        (node.client_port, ""),
        (node.client_port, "Content-Type: application/grpc\r\n"),
    ] {
        let answer = answer(port, &format!("{connect}{more}\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 404"), "{port}: {answer:?}");
    }
    for port in [node.peer_port, node.client_port] {
        let socket = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let (mut requests, connection) = h2::client::handshake(socket).await.unwrap();
        let connection = tokio::spawn(connection);
        let request = http::Request::connect("x:1")
            .header("content-type", "application/grpc")
            .body(())
            .unwrap();
        let (response, _) = requests.send_request(request, false).unwrap();
        let response = tokio::time::timeout(WAIT_MAX, response).await;
        let response = response.expect("an answer in time");
        if port == node.client_port {
            // etcd knows no method of HTTP but POST for a call.
            let reset = response.expect_err("no answer").reason();
            assert_eq!(reset, Some(h2::Reason::PROTOCOL_ERROR));
        } else {
            assert_eq!(response.expect("an answer").status(), 404);
        }
        connection.abort();
    }
    let log = node.log();
    assert!(!log.contains("panicked"), "{log}");
    node.wait_healthy().await;
}

#[tokio::test]
async fn connections_that_say_nothing_or_vanish_cost_nobody_else() {
    let cluster = Cluster::started(1, &[]).await;
    let node = &cluster.nodes[0];
    let mut silent = Vec::new();
    for port in [node.client_port, node.peer_port] {
        for _ in 0..100 {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            if silent.len() % 2 == 0 {
                stream.write_all(b"PRI * HTTP/2.0\r\n").await.unwrap();
            }
            silent.push(stream);
        }
    }
    let mut kv = node.kv();
    for i in 0..100 {
        put(&mut kv, "a", &i.to_string()).await.unwrap();
    }
    assert_eq!(get(&mut kv, "a").await.unwrap().as_deref(), Some("99"));
    drop(silent);
    node.wait_healthy().await;
}
