//! A disk that is nearly full is told of before the member ends by it.

use crate::cluster::{Cluster, Node, eventually};
use crate::small_disk::Confined;

const WARNING: &str = "the file system of the data-dir is nearly full";
const RELIEF: &str = "the file system of the data-dir has space again";

async fn metric(node: &Node, name: &str) -> Option<u64> {
    let (_, page) = node.get("/metrics").await?;
    let line = page.lines().find(|line| {
        line.strip_prefix(name)
            .is_some_and(|rest| rest.starts_with(' '))
    })?;
    line.rsplit(' ').next()?.parse().ok()
}

#[tokio::test]
async fn a_nearly_full_disk_is_warned_of_once_until_it_has_space() {
    let cluster = Cluster::new(1, &[]);
    let Some(confined) = Confined::spawn(&cluster, "900m", "a_nearly_full_disk_is_warned_of")
    else {
        return;
    };
    let node = &cluster.nodes[0];
    node.wait_healthy().await;
    let low = async || metric(node, "detcd_disk_free_low").await;
    eventually("a first look at the disk", || async {
        let free = metric(node, "detcd_disk_free_bytes").await;
        free.filter(|free| *free > 300 << 20)
    })
    .await;
    assert_eq!(low().await, Some(0));
    assert!(!node.log().contains(WARNING), "there is space");
    confined.fill_up(100 << 20);
    node.wait_for_log(WARNING).await;
    eventually("the metric", || async {
        low().await.filter(|low| *low == 1)
    })
    .await;
    confined.free();
    node.wait_for_log(RELIEF).await;
    eventually("the metric", || async {
        low().await.filter(|low| *low == 0)
    })
    .await;
    assert_eq!(node.log().matches(WARNING).count(), 1);
}
