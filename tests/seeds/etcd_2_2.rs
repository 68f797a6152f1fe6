//! The keys of the article of 2016 (rows 24 to 28 and 55): three members, and each key written
//! through one and read, replaced and deleted through another.

use crate::cluster::{Cluster, Node, eventually, http_call};

const FAST: &[&str] = &["--heartbeat-interval=50", "--election-timeout=500"];

/// `curl -XMETHOD http://ADDR/v2/keys/message -d FORM`.
async fn curl(node: &Node, method: &str, form: &str) -> Option<(u16, String)> {
    http_call(node.client_port, method, "/v2/keys/message", form).await
}

async fn comes_to_show(node: &Node, expected: (u16, &str)) {
    eventually(&format!("{expected:?} from {}", node.name), || async {
        let (status, body) = curl(node, "GET", "").await?;
        ((status, &body[..]) == expected).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_one_member_writes_all_show_as_in_2016() {
    let cluster = Cluster::started(3, FAST).await;
    let [docker, h104, h102] = &cluster.nodes[..] else {
        panic!("three members")
    };
    let missing = |index: u64| {
        format!(
            "{{\"errorCode\":100,\"message\":\"Key not found\",\"cause\":\"/message\",\
             \"index\":{index}}}\n"
        )
    };
    // Every member has told its name and URLs.
    for node in &cluster.nodes {
        comes_to_show(node, (404, &missing(7))).await;
    }
    for form in ["value=a", "value=b", "value=abc"] {
        curl(docker, "PUT", form).await.expect("a reply");
    }
    let abc = "{\"key\":\"/message\",\"value\":\"abc\",\"modifiedIndex\":10,\"createdIndex\":10}";
    let got = format!("{{\"action\":\"get\",\"node\":{abc}}}\n");
    for node in &cluster.nodes {
        comes_to_show(node, (200, &got)).await;
    }
    let by_h104 = "{\"key\":\"/message\",\"value\":\"set by h104\",\"modifiedIndex\":11,\
                   \"createdIndex\":11}";
    let set = curl(h104, "PUT", "value=set by h104").await;
    let expected = format!("{{\"action\":\"set\",\"node\":{by_h104},\"prevNode\":{abc}}}\n");
    assert_eq!(set, Some((200, expected)));
    let got = format!("{{\"action\":\"get\",\"node\":{by_h104}}}\n");
    for node in &cluster.nodes {
        comes_to_show(node, (200, &got)).await;
    }
    let deleted = curl(h102, "DELETE", "").await;
    let expected = format!(
        "{{\"action\":\"delete\",\"node\":{{\"key\":\"/message\",\"modifiedIndex\":12,\
         \"createdIndex\":11}},\"prevNode\":{by_h104}}}\n"
    );
    assert_eq!(deleted, Some((200, expected)));
    for node in &cluster.nodes {
        comes_to_show(node, (404, &missing(12))).await;
    }
}
