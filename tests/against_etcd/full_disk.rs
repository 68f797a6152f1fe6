//! A disk that is full: the member ends, and has all that it acknowledged once there is room again.

use crate::cluster::{Cluster, get_eventually, put, put_eventually};
use crate::small_disk::Confined;
use crate::tools::{Tool, find};

const VALUE_BYTES: usize = 500_000;
/// More than the room that is left takes.
const WRITES: usize = 200;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_ends_the_member_and_loses_nothing() {
    let test = "a_full_disk_ends_the_member_and_loses_nothing";
    let Some(etcd) = find(Tool::Etcd, test) else {
        return;
    };
    for program in [etcd, env!("CARGO_BIN_EXE_detcd").into()] {
        let cluster = Cluster::of(program, 1, &[]);
        let Some(confined) = Confined::spawn(&cluster, "400m", test) else {
            return;
        };
        let node = &cluster.nodes[0];
        node.wait_healthy().await;
        confined.fill_up(4 << 20);
        let mut kv = node.kv();
        let mut acknowledged = 0;
        while acknowledged < WRITES {
            // What does not compress.
            let salt = acknowledged as u32;
            let noise = |n: u32| (n.wrapping_mul(2_654_435_761).wrapping_add(salt) >> 13) as u8;
            let letters = (0..VALUE_BYTES as u32).map(|n| char::from(b'a' + noise(n) % 26));
            let value: String = letters.collect();
            match put(&mut kv, &format!("k{acknowledged}"), &value).await {
                Ok(_) => acknowledged += 1,
                Err(_) => break,
            }
        }
        assert!((1..WRITES).contains(&acknowledged), "{acknowledged} writes");
        // The process that ends makes room for the next one.
        put_eventually(node, "after", "x").await;
        for i in 0..acknowledged {
            let value = get_eventually(node, &format!("k{i}")).await;
            assert!(value.is_some(), "k{i} was acknowledged");
        }
    }
}
