//! `/v2/members` and `/v2/machines` of detcd and of etcd 3.4.23: the same requests to both, and
//! every status, header and body compared. Ids and addresses are normalised.

use crate::cluster::{Cluster, Node};
use crate::tools::{Tool, find};
use crate::v2_keys::{Seen, Sent, await_index};

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

/// Method, path, content type and body. `ID` is the member's, `PEER` its URL for others.
const CASES: &[(&str, &str, &str, &str)] = &[
    ("GET", "/v2/members", "", ""),
    ("GET", "/v2/members/", "", ""),
    ("GET", "/v2/members/leader", "", ""),
    ("GET", "/v2/members/ID", "", ""),
    ("GET", "/v2/members/x", "", ""),
    ("HEAD", "/v2/members", "", ""),
    ("PATCH", "/v2/members", JSON, "{}"),
    ("OPTIONS", "/v2/members", "", ""),
    ("GET", "/v2/machines", "", ""),
    ("HEAD", "/v2/machines", "", ""),
    ("POST", "/v2/machines", FORM, "x=1"),
    ("GET", "/v2/machines/", "", ""),
    (
        "POST",
        "/v2/members",
        FORM,
        "{\"peerURLs\":[\"http://127.0.0.1:1\"]}",
    ),
    ("POST", "/v2/members", "Text/Plain; charset=utf-8", "{}"),
    ("POST", "/v2/members", "", "{}"),
    ("POST", "/v2/members", JSON, "{}"),
    ("POST", "/v2/members", JSON, "{\"peerURLs\":[]}"),
    ("POST", "/v2/members", JSON, "{\"peerURLs\":[\"x\"]}"),
    (
        "POST",
        "/v2/members",
        JSON,
        "{\"peerURLs\":[\"http://a/b\"]}",
    ),
    (
        "POST",
        "/v2/members",
        JSON,
        "{\"peerURLs\":[\"http://a:1/b\"]}",
    ),
    (
        "POST",
        "/v2/members",
        "Application/JSON; charset=utf-8",
        "{\"peerURLs\":[\"PEER\"]}",
    ),
    ("POST", "/v2/members", JSON, "{\"peerURLs\":[\"PEER\"]}"),
    ("DELETE", "/v2/members", "", ""),
    ("DELETE", "/v2/members/", "", ""),
    ("DELETE", "/v2/members/zz", "", ""),
    ("DELETE", "/v2/members/+1", "", ""),
    ("DELETE", "/v2/members/1f", "", ""),
    ("DELETE", "/v2/members/001F", "", ""),
    ("PUT", "/v2/members", JSON, "{}"),
    ("PUT", "/v2/members/zz", JSON, "{}"),
    ("PUT", "/v2/members/1f", FORM, "{}"),
    ("PUT", "/v2/members/1f", JSON, "{\"peerURLs\":[\"x\"]}"),
    (
        "PUT",
        "/v2/members/1f",
        JSON,
        "{\"peerURLs\":[\"http://127.0.0.1:1\"]}",
    ),
    ("PUT", "/v2/members/ID", JSON, "{\"peerURLs\":[\"PEER\"]}"),
    (
        "PUT",
        "/v2/members/ID",
        JSON,
        "{\"peerURLs\":[\"http://127.0.0.1:1\",\"PEER\"]}",
    ),
    ("GET", "/v2/members", "", ""),
    ("PUT", "/v2/members/ID", JSON, "{\"peerURLs\":[\"PEER\"]}"),
    ("GET", "/v2/members", "", ""),
];

/// The id of the only member, as it is shown.
fn id(node: &Node) -> String {
    let sent = Sent {
        method: "GET",
        path: "/v2/members",
        content_type: "",
        body: "",
    };
    let seen = sent.ask(node.client_port);
    let (_, rest) = seen.body.split_once("\"id\":\"").expect("a member");
    rest.split('"').next().expect("an id").to_owned()
}

fn outcomes(node: &Node) -> Vec<Seen> {
    let id = id(node);
    let peer = node.peer_url();
    let own = |text: &str| text.replace("ID", &id).replace("PEER", &peer);
    let all = CASES.iter().map(|(method, path, content_type, body)| {
        let (path, body) = (own(path), own(body));
        let sent = Sent {
            method,
            path: &path,
            content_type,
            body: &body,
        };
        let mut seen = sent.ask(node.client_port);
        seen.body = seen
            .body
            .replace(&id, "ID")
            .replace(&peer, "PEER")
            .replace(&node.client_url(), "CLIENT");
        seen
    });
    all.collect()
}

#[tokio::test]
async fn v2_members_are_told_and_changed_as_etcd_does() {
    let test = "v2_members_are_told_and_changed_as_etcd_does";
    let Some(etcd) = find(Tool::EtcdV2, test) else {
        return;
    };
    let mut theirs = Cluster::of(etcd, 1, &["--enable-v2"]);
    theirs.start(0);
    theirs.wait_healthy().await;
    let ours = Cluster::started(1, &[]).await;
    // A member that has not published itself yet counts for nothing in etcd's checks.
    await_index(&theirs.nodes[0]).await;
    await_index(&ours.nodes[0]).await;
    let (theirs, ours) = (outcomes(&theirs.nodes[0]), outcomes(&ours.nodes[0]));
    let mut differences = 0;
    for ((case, theirs), ours) in CASES.iter().zip(&theirs).zip(&ours) {
        if theirs != ours {
            differences += 1;
            eprintln!("{case:?}\n etcd  {theirs:?}\n detcd {ours:?}");
        }
    }
    assert_eq!(differences, 0);
}
