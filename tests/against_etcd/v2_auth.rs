//! `/v2/auth`, and what users may do, of detcd and of etcd 3.4.23: the same requests to both, one
//! after the other, and every status, header and body compared.

use crate::cluster::Cluster;
use crate::tools::{Tool, find};
use crate::v2_keys::{Sent, await_index};

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";
/// What a client says of who it is: nobody, and those below with their passwords.
const NOBODY: &str = "";
const ROOT: &str = "Basic cm9vdDpy";
const ROOT_OF_BEFORE: &str = "Basic cm9vdDpvbGQ=";
const ANN: &str = "basic YW5uOnA=";
const ANN_OF_BEFORE: &str = "Basic YW5uOnAw";
const BOB: &str = "Basic Ym9iOnE6cQ==";

/// Who asks, method, path below `/v2`, and body.
type Case = (&'static str, &'static str, &'static str, &'static str);

/// Before anything is judged.
const OPEN: &[Case] = &[
    (NOBODY, "GET", "/auth/enable", ""),
    (NOBODY, "HEAD", "/auth/enable", ""),
    (NOBODY, "POST", "/auth/enable", "{}"),
    (NOBODY, "GET", "/auth/enable/", ""),
    (NOBODY, "GET", "/auth", ""),
    (NOBODY, "DELETE", "/auth/enable", ""),
    (NOBODY, "PUT", "/auth/enable", ""),
    (NOBODY, "GET", "/auth/users", ""),
    (NOBODY, "GET", "/auth/users/", ""),
    (NOBODY, "PUT", "/auth/users", "{}"),
    (NOBODY, "PUT", "/auth/users/", "{}"),
    (NOBODY, "POST", "/auth/users/ann", "{}"),
    (NOBODY, "GET", "/auth/users/ann/x", ""),
    (NOBODY, "GET", "/auth/users/ann", ""),
    (NOBODY, "GET", "/keys", ""),
    (NOBODY, "DELETE", "/auth/users/ann", ""),
    (NOBODY, "GET", "/keys", ""),
    (NOBODY, "PUT", "/auth/users/ann", "{\"user\":\"ann\"}"),
    (NOBODY, "PUT", "/auth/users/ann", "{\"user\":\"bob\"}"),
    (NOBODY, "PUT", "/auth/users/ann", "{"),
    (NOBODY, "PUT", "/auth/users/ann", ""),
    (NOBODY, "PUT", "/auth/users/ann", "{\"user\":1}"),
    (
        NOBODY,
        "PUT",
        "/auth/users/ann",
        "{\"User\":\"ann\",\"PASSWORD\":\"p0\"} x",
    ),
    (NOBODY, "GET", "/keys", ""),
    (NOBODY, "PUT", "/auth/users/ann", "{\"user\":\"ann\"}"),
    (NOBODY, "PUT", "/auth/users/ann", "{\"user\":\"ann\"}"),
    (
        NOBODY,
        "PUT",
        "/auth/users/ann",
        "{\"user\":\"ann\",\"password\":\"p\"}",
    ),
    (
        NOBODY,
        "PUT",
        "/auth/users/ann",
        "{\"user\":\"ann\",\"password\":\"p\",\"roles\":[\"a\"]}",
    ),
    (
        NOBODY,
        "PUT",
        "/auth/users/ann",
        "{\"user\":\"ann\",\"roles\":[\"a\"]}",
    ),
    (
        NOBODY,
        "PUT",
        "/auth/users/ann",
        "{\"user\":\"ann\",\"grant\":[\"b\",\"a\"]}",
    ),
    (
        NOBODY,
        "PUT",
        "/auth/users/ann",
        "{\"user\":\"ann\",\"grant\":[\"b\"]}",
    ),
    (
        NOBODY,
        "PUT",
        "/auth/users/ann",
        "{\"user\":\"ann\",\"revoke\":[\"z\"]}",
    ),
    (
        NOBODY,
        "PUT",
        "/auth/users/ann",
        "{\"user\":\"ann\",\"revoke\":[\"b\"],\"roles\":[\"a\"]}",
    ),
    (
        NOBODY,
        "PUT",
        "/auth/users/cat",
        "{\"user\":\"cat\",\"revoke\":[\"b\"]}",
    ),
    (
        NOBODY,
        "PUT",
        "/auth/users/bob",
        "{\"user\":\"bob\",\"password\":\"q:q\",\"roles\":[\"b\",\"a\"]}",
    ),
    (NOBODY, "PUT", "/auth/users/bob", "{\"user\":\"bob\"}"),
    (NOBODY, "PUT", "/auth/users/%3Cb%3E", "{\"user\":\"<b>\"}"),
    (NOBODY, "GET", "/auth/users/%3Cb%3E", ""),
    (NOBODY, "GET", "/auth/users/ann", ""),
    (NOBODY, "GET", "/auth/users", ""),
    (NOBODY, "GET", "/auth/roles", ""),
    (NOBODY, "GET", "/auth/roles/", ""),
    (NOBODY, "GET", "/auth/roles/root", ""),
    (NOBODY, "GET", "/auth/roles/guest", ""),
    (NOBODY, "GET", "/auth/roles/a/b", ""),
    (NOBODY, "PATCH", "/auth/roles/a", ""),
    (NOBODY, "PUT", "/auth/roles/b", "{\"role\":\"b\"}"),
    (NOBODY, "PUT", "/auth/roles/b", "{\"role\":\"b\"}"),
    (NOBODY, "PUT", "/auth/roles/b", "{\"role\":\"c\"}"),
    (NOBODY, "PUT", "/auth/roles/b", "x"),
    (
        NOBODY,
        "PUT",
        "/auth/roles/a",
        "{\"role\":\"a\",\"permissions\":{\"kv\":{\"read\":[\"/x/*\",\"/<\"]}}}",
    ),
    (NOBODY, "GET", "/auth/users/ann", ""),
    (NOBODY, "GET", "/auth/users", ""),
    (
        NOBODY,
        "PUT",
        "/auth/roles/a",
        "{\"role\":\"a\",\"grant\":{\"kv\":{\"read\":[\"/x/*\"]}}}",
    ),
    (
        NOBODY,
        "PUT",
        "/auth/roles/a",
        "{\"role\":\"a\",\"grant\":{\"kv\":{\"write\":[\"/x/y\",\"/x/y\"]}}}",
    ),
    (
        NOBODY,
        "PUT",
        "/auth/roles/a",
        "{\"role\":\"a\",\"grant\":{\"kv\":{\"write\":[\"/x/y\"]}}}",
    ),
    (
        NOBODY,
        "PUT",
        "/auth/roles/a",
        "{\"role\":\"a\",\"revoke\":{\"kv\":{\"write\":[\"/z\"]}}}",
    ),
    (
        NOBODY,
        "PUT",
        "/auth/roles/a",
        "{\"role\":\"a\",\"revoke\":{\"kv\":{\"read\":[\"/<\",\"/q\"]}}}",
    ),
    (
        NOBODY,
        "PUT",
        "/auth/roles/a",
        "{\"role\":\"a\",\"revoke\":{\"kv\":{\"read\":[\"/z\"]}},\"permissions\":{\"kv\":{\"read\":[\"/z\"]}}}",
    ),
    (
        NOBODY,
        "PUT",
        "/auth/roles/z",
        "{\"role\":\"z\",\"revoke\":{\"kv\":{\"write\":[\"/a\"]}}}",
    ),
    (NOBODY, "PUT", "/auth/roles/root", "{\"role\":\"root\"}"),
    (
        NOBODY,
        "PUT",
        "/auth/roles/root",
        "{\"role\":\"root\",\"grant\":{\"kv\":{\"write\":[\"/a\"]}}}",
    ),
    (NOBODY, "DELETE", "/auth/roles/root", ""),
    (NOBODY, "DELETE", "/auth/roles/z", ""),
    (NOBODY, "DELETE", "/auth/roles/b", ""),
    (NOBODY, "GET", "/auth/roles", ""),
    (
        NOBODY,
        "PUT",
        "/auth/users/root",
        "{\"user\":\"root\",\"password\":\"old\"}",
    ),
    (
        NOBODY,
        "PUT",
        "/auth/users/root",
        "{\"user\":\"root\",\"grant\":[\"root\"]}",
    ),
    (
        NOBODY,
        "PUT",
        "/auth/users/root",
        "{\"user\":\"root\",\"revoke\":[\"root\"]}",
    ),
    (NOBODY, "GET", "/auth/users/root", ""),
    (
        NOBODY,
        "PUT",
        "/auth/users/root",
        "{\"user\":\"root\",\"password\":\"r\"}",
    ),
    // Whoever says something wrong of itself may do what everybody may.
    (ROOT_OF_BEFORE, "PUT", "/keys/x/y", "value=1"),
    (NOBODY, "PUT", "/keys/b", "value=1"),
    (NOBODY, "PUT", "/auth/enable", ""),
];

/// While requests are judged; everybody may do what a guest may.
const JUDGED: &[Case] = &[
    (NOBODY, "GET", "/auth/enable", ""),
    (NOBODY, "PUT", "/auth/enable", ""),
    (ROOT, "PUT", "/auth/enable", ""),
    (ROOT_OF_BEFORE, "PUT", "/auth/enable", ""),
    (ANN, "DELETE", "/auth/enable", ""),
    (NOBODY, "GET", "/auth/users", ""),
    (NOBODY, "POST", "/auth/users", "{}"),
    (ANN, "GET", "/auth/users", ""),
    (ROOT, "GET", "/auth/users", ""),
    (NOBODY, "GET", "/auth/roles/guest", ""),
    (ROOT, "GET", "/auth/roles/guest", ""),
    (NOBODY, "GET", "/members", ""),
    (NOBODY, "PATCH", "/members", ""),
    (NOBODY, "POST", "/members", ""),
    (ANN, "DELETE", "/members/1f", ""),
    (ROOT, "DELETE", "/members/1f", ""),
    (NOBODY, "GET", "/machines", ""),
    (NOBODY, "GET", "/keys", ""),
    (NOBODY, "GET", "/keys/?sorted=true", ""),
    (NOBODY, "GET", "/keys/b", ""),
    (NOBODY, "PUT", "/keys/b", "value=2"),
    (ANN_OF_BEFORE, "GET", "/keys/b", ""),
    ("Basic", "GET", "/keys/b", ""),
    ("Bearer x", "GET", "/keys/b", ""),
    ("Basic !", "GET", "/keys/b", ""),
    // Without a guest.
    (
        ROOT,
        "PUT",
        "/auth/roles/guest",
        "{\"role\":\"guest\",\"revoke\":{\"kv\":{\"read\":[\"/*\"],\"write\":[\"/*\"]}}}",
    ),
    (NOBODY, "GET", "/keys/b", ""),
    (NOBODY, "HEAD", "/keys/b", ""),
    (NOBODY, "GET", "/keys/b?wait=q", ""),
    (NOBODY, "GET", "/keys/b?wait=true&waitIndex=1", ""),
    (NOBODY, "GET", "/keys/b?quorum=true", ""),
    (NOBODY, "PUT", "/keys/b", "value=2"),
    (NOBODY, "POST", "/keys/b", "value=2"),
    (NOBODY, "DELETE", "/keys/b", ""),
    (NOBODY, "OPTIONS", "/keys/b", ""),
    (ROOT, "GET", "/keys?sorted=true", ""),
    (ROOT, "GET", "/keys/b", ""),
    (ROOT, "DELETE", "/keys/b", ""),
    (ANN, "GET", "/keys", ""),
    (ANN, "GET", "/keys/x", ""),
    (ANN, "GET", "/keys/x/", ""),
    (ANN, "GET", "/keys/x/y", ""),
    (ANN, "GET", "/keys/x/z?quorum=true", ""),
    (ANN, "GET", "/keys/x/y?recursive=true", ""),
    (ANN, "PUT", "/keys/x/y", "value=3"),
    (ANN, "PUT", "/keys/x/y/", "value=3"),
    (ANN, "PUT", "/keys/x/z", "value=3"),
    (ANN, "PUT", "/keys/x/y?recursive=true", "value=3"),
    (ANN, "DELETE", "/keys/x/y?recursive=true", ""),
    (ANN, "POST", "/keys/x/y", "value=3"),
    (ANN, "DELETE", "/keys/x/y", ""),
    (BOB, "GET", "/keys/x/y", ""),
    (BOB, "GET", "/keys/q", ""),
    // Roles that come back count again, and users that come back are other ones.
    (
        ROOT,
        "PUT",
        "/auth/roles/b",
        "{\"role\":\"b\",\"permissions\":{\"kv\":{\"read\":[\"*\"],\"write\":[\"/q*\"]}}}",
    ),
    (BOB, "GET", "/keys/q", ""),
    (BOB, "GET", "/keys?sorted=true", ""),
    (BOB, "PUT", "/keys/q", "value=1"),
    (BOB, "PUT", "/keys/qq", "value=1"),
    (BOB, "PUT", "/keys/r", "value=1"),
    (
        ROOT,
        "PUT",
        "/auth/users/bob",
        "{\"user\":\"bob\",\"grant\":[\"root\"]}",
    ),
    (BOB, "PUT", "/keys/r", "value=1"),
    (BOB, "DELETE", "/auth/users/ann", ""),
    (ANN, "GET", "/keys/x/y", ""),
    (BOB, "DELETE", "/auth/users/root", ""),
    (BOB, "DELETE", "/auth/roles/root", ""),
    (BOB, "DELETE", "/auth/users/bob", ""),
    (BOB, "GET", "/keys?sorted=true", ""),
    (ROOT, "DELETE", "/auth/roles/guest", ""),
    (NOBODY, "GET", "/keys/q", ""),
    (ROOT, "DELETE", "/auth/enable", ""),
    (NOBODY, "GET", "/keys/q", ""),
    (NOBODY, "DELETE", "/auth/enable", ""),
    (NOBODY, "DELETE", "/auth/users/root", ""),
    (NOBODY, "PUT", "/auth/enable", ""),
];

#[tokio::test]
async fn users_of_v2_may_do_what_they_may_in_etcd() {
    let test = "users_of_v2_may_do_what_they_may_in_etcd";
    let Some(etcd) = find(Tool::EtcdV2, test) else {
        return;
    };
    let mut theirs = Cluster::of(etcd, 1, &["--enable-v2"]);
    let mut ours = Cluster::new(1, &[]);
    for cluster in [&mut theirs, &mut ours] {
        cluster.start(0);
        cluster.wait_healthy().await;
        await_index(&cluster.nodes[0]).await;
    }
    let mut differences = 0;
    for (who, method, path, body) in OPEN.iter().chain(JUDGED) {
        let sent = Sent {
            method,
            path: &format!("/v2{path}"),
            content_type: if body.starts_with('{') { JSON } else { FORM },
            body,
        };
        let [etcd, detcd] = [&theirs, &ours].map(|cluster| {
            let node = &cluster.nodes[0];
            let mut seen = sent.ask_as(node.client_port, who);
            for (own, shown) in [(node.client_url(), "CLIENT"), (node.peer_url(), "PEER")] {
                seen.body = seen.body.replace(&own, shown);
            }
            if *path == "/members" {
                let (before, after) = seen
                    .body
                    .split_once("\"id\":\"")
                    .unwrap_or(("", &seen.body));
                let rest = after.split_once('"').map_or(after, |(_, rest)| rest);
                seen.body = format!("{before}{rest}");
            }
            seen
        });
        if etcd != detcd {
            differences += 1;
            eprintln!("{who} {method} {path} {body}\n etcd  {etcd:?}\n detcd {detcd:?}");
        }
    }
    assert_eq!(differences, 0);
}
