//! Clients that compress what they send, and can read what is compressed.

use crate::cluster::{Cluster, Node};
use crate::tools::{self, Tool};
use detcd_wire::etcdserverpb as pb;
use pb::kv_client::KvClient;
use tonic::codec::CompressionEncoding::Gzip;
use tonic::{Code, Request};

const ENCODING: &str = "grpc-encoding";

fn put(bytes: usize) -> pb::PutRequest {
    pb::PutRequest {
        key: "a".into(),
        value: vec![b'x'; bytes].into(),
        ..Default::default()
    }
}

fn get() -> pb::RangeRequest {
    pb::RangeRequest {
        key: "a".into(),
        ..Default::default()
    }
}

/// What etcd and detcd answer alike.
async fn check(node: &Node) {
    let mut client = KvClient::new(node.channel())
        .send_compressed(Gzip)
        .accept_compressed(Gzip);
    client.put(put(100_000)).await.unwrap();
    let reply = client.range(get()).await.unwrap();
    let encoding = reply.metadata().get(ENCODING).cloned();
    assert_eq!(encoding.unwrap(), "gzip");
    assert_eq!(reply.into_inner().kvs[0].value, vec![b'x'; 100_000]);

    // Who only could read it gets it as it is.
    let mut reader = KvClient::new(node.channel()).accept_compressed(Gzip);
    let reply = reader.range(get()).await.unwrap();
    assert_eq!(reply.metadata().get(ENCODING), None);
    assert_eq!(reply.into_inner().kvs.len(), 1);

    // A small message may be a large one, and is refused like it.
    let bomb = client.put(put(64 * 1024 * 1024)).await.unwrap_err();
    assert_eq!(bomb.code(), Code::ResourceExhausted, "{bomb}");
    let words = "grpc: received message larger than max (";
    assert!(bomb.message().starts_with(words), "{bomb}");

    let mut request = Request::new(get());
    let snappy = "snappy".parse().expect("letters");
    request.metadata_mut().insert(ENCODING, snappy);
    let unknown = KvClient::new(node.channel()).range(request).await;
    let unknown = unknown.unwrap_err();
    assert_eq!(
        (unknown.code(), unknown.message()),
        (
            Code::Unimplemented,
            "grpc: Decompressor is not installed for grpc-encoding \"snappy\""
        )
    );
}

#[tokio::test]
async fn compressed_requests_are_read_and_answered_alike() {
    let cluster = Cluster::started(1, &[]).await;
    check(&cluster.nodes[0]).await;
    cluster.nodes[0].wait_healthy().await;
}

#[tokio::test]
async fn etcd_does_with_compression_what_is_said_here() {
    let Some(etcd) = tools::find(Tool::Etcd, "etcd_does_with_compression_what_is_said_here") else {
        return;
    };
    let mut cluster = Cluster::of(etcd, 1, &[]);
    cluster.start(0);
    cluster.wait_healthy().await;
    check(&cluster.nodes[0]).await;
}
