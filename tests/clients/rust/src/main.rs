//! What the crate etcd-client offers, against the endpoints of the command line.

use etcd_client::{
    Client, Compare, CompareOp, DeleteOptions, Error, EventType, GetOptions, PutOptions, SortOrder,
    SortTarget, Txn, TxnOp, TxnOpResponse, WatchOptions,
};
use std::time::Duration;

type Outcome = Result<(), Error>;

const WAIT_MAX: Duration = Duration::from_secs(30);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome {
    let endpoints = std::env::args().nth(1).expect("endpoints");
    let endpoints: Vec<&str> = endpoints.split(',').collect();
    let mut client = Client::connect(&endpoints, None).await?;
    tokio::time::timeout(WAIT_MAX, async {
        keys(&mut client).await?;
        transactions(&mut client).await?;
        watches(&mut client).await?;
        leases(&mut client).await?;
        cluster(&mut client, endpoints.len()).await
    })
    .await
    .expect("all of it ends in time")
}

async fn keys(client: &mut Client) -> Outcome {
    client.put("dir/a", "1", None).await?;
    client.put("dir/b", "2", None).await?;
    let before = client
        .put("dir/a", "3", Some(PutOptions::new().with_prev_key()))
        .await?;
    assert_eq!(before.prev_key().expect("there was one").value(), b"1");

    let options = GetOptions::new()
        .with_prefix()
        .with_sort(SortTarget::Mod, SortOrder::Descend);
    let all = client.get("dir/", Some(options)).await?;
    let all: Vec<_> = all.kvs().iter().map(|kv| (kv.key(), kv.value())).collect();
    assert_eq!(all, [(&b"dir/a"[..], &b"3"[..]), (b"dir/b", b"2")]);

    let options = GetOptions::new()
        .with_prefix()
        .with_limit(1)
        .with_keys_only();
    let one = client.get("dir/", Some(options)).await?;
    assert_eq!((one.kvs().len(), one.count(), one.more()), (1, 2, true));

    let gone = client
        .delete("dir/", Some(DeleteOptions::new().with_prefix()))
        .await?;
    assert_eq!(gone.deleted(), 2);
    Ok(())
}

async fn transactions(client: &mut Client) -> Outcome {
    let txn = || {
        Txn::new()
            .when([Compare::create_revision("t", CompareOp::Equal, 0)])
            .and_then([TxnOp::put("t", "created", None), TxnOp::get("t", None)])
            .or_else([TxnOp::txn(Txn::new().and_then([TxnOp::get("t", None)]))])
    };
    let first = client.txn(txn()).await?;
    assert!(first.succeeded());
    let TxnOpResponse::Get(get) = &first.op_responses()[1] else {
        panic!("{first:?}")
    };
    assert_eq!(get.kvs()[0].value(), b"created");
    let second = client.txn(txn()).await?;
    assert!(!second.succeeded());
    let TxnOpResponse::Txn(nested) = &second.op_responses()[0] else {
        panic!("{second:?}")
    };
    assert!(nested.succeeded());

    let twice = Txn::new().and_then([TxnOp::put("t", "1", None), TxnOp::put("t", "2", None)]);
    let Err(Error::GRpcStatus(status)) = client.txn(twice).await else {
        panic!("it is refused")
    };
    assert_eq!(
        status.message(),
        "etcdserver: duplicate key given in txn request"
    );
    Ok(())
}

async fn watches(client: &mut Client) -> Outcome {
    let start = client
        .put("w", "1", None)
        .await?
        .header()
        .expect("a header")
        .revision();
    client.put("w", "2", None).await?;
    let options = WatchOptions::new()
        .with_start_revision(start)
        .with_prev_key();
    let mut stream = client.watch("w", Some(options)).await?;
    client.delete("w", None).await?;
    let mut seen = Vec::new();
    while seen.len() < 3 {
        let response = stream.message().await?.expect("the stream goes on");
        for event in response.events() {
            let before = event.prev_kv().map(|kv| kv.value().to_vec());
            seen.push((event.event_type(), before));
        }
    }
    let expected = [
        (EventType::Put, None),
        (EventType::Put, Some(b"1".to_vec())),
        (EventType::Delete, Some(b"2".to_vec())),
    ];
    assert_eq!(seen, expected);

    client.compact(start + 1, None).await?;
    let options = WatchOptions::new().with_start_revision(start);
    // The member that is asked may have yet to apply the compaction, and tells the events once more: its
    // watcher is then past what is compacted, and stays.
    loop {
        let mut stream = client.watch("w", Some(options.clone())).await?;
        loop {
            let response = stream
                .message()
                .await?
                .expect("the stream tells before it ends");
            if response.canceled() {
                assert_eq!(response.compact_revision(), start + 1);
                return Ok(());
            }
            if !response.events().is_empty() {
                break;
            }
        }
    }
}

async fn leases(client: &mut Client) -> Outcome {
    let id = client.lease_grant(600, None).await?.id();
    client
        .put("leased", "v", Some(PutOptions::new().with_lease(id)))
        .await?;
    let (mut renewals, mut answers) = client.lease_keep_alive(id).await?;
    renewals.keep_alive().await?;
    assert_eq!(answers.message().await?.expect("an answer").ttl(), 600);
    let left = client.lease_time_to_live(id, None).await?;
    assert_eq!(left.granted_ttl(), 600);
    let leases = client.leases().await?;
    assert!(leases.leases().iter().any(|lease| lease.id() == id));
    client.lease_revoke(id).await?;
    assert_eq!(client.get("leased", None).await?.count(), 0);
    Ok(())
}

async fn cluster(client: &mut Client, size: usize) -> Outcome {
    assert_eq!(client.member_list().await?.members().len(), size);
    let status = client.status().await?;
    assert_ne!(status.leader(), 0);
    client.hash_kv(0).await?;
    Ok(())
}
