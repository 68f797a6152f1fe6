//! Clients that do not behave: garbage, silence, crowds. The member must not notice.

use crate::cluster::{Cluster, get, http_get, put};
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
