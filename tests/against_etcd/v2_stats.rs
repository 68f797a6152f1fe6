//! `/v2/stats`, `/version`, `/health` and `/config/local/log` of detcd and of etcd 3.4.23. What is
//! measured is held against its field: names, order and kind of each.

use crate::cluster::{Cluster, eventually};
use crate::tools::{Tool, find};
use crate::v2_keys::{Seen, Sent};
use serde_json::Value;

const FORM: &str = "application/x-www-form-urlencoded";

/// Method, path and body of requests whose replies are the same.
const CASES: &[(&str, &str, &str)] = &[
    ("HEAD", "/v2/stats/self", ""),
    ("POST", "/v2/stats/self", "x=1"),
    ("POST", "/v2/stats/leader", ""),
    ("DELETE", "/v2/stats/store", ""),
    ("OPTIONS", "/v2/stats/store", ""),
    ("GET", "/v2/stats", ""),
    ("GET", "/v2/stats/", ""),
    ("GET", "/v2/stats/x", ""),
    ("GET", "/v2/stats/self/", ""),
    ("GET", "/v2", ""),
    ("GET", "/", ""),
    ("GET", "/v2/config/local/proxy", ""),
    ("POST", "/version", ""),
    ("HEAD", "/version", ""),
    ("GET", "/version/", ""),
    ("GET", "/versionx", ""),
    ("POST", "/health", ""),
    ("HEAD", "/health", ""),
    ("GET", "/health/", ""),
    ("GET", "/config/local/log", ""),
    ("POST", "/config/local/log", "{\"Level\":\"INFO\"}"),
    ("PUT", "/config/local/log", "{\"Level\":\"DEBUG\"}"),
    ("PUT", "/config/local/log", "{\"level\":\"info\"} and more"),
    ("PUT", "/config/local/log", "{\"Level\":\"N\"}"),
    ("PUT", "/config/local/log", "{\"Level\":\"FOO\"}"),
    ("PUT", "/config/local/log", "{\"Level\":null}"),
    ("PUT", "/config/local/log", "{\"Level\":1}"),
    ("PUT", "/config/local/log", "{}"),
    ("PUT", "/config/local/log", "[]"),
    ("PUT", "/config/local/log", "x"),
    ("PUT", "/config/local/log", ""),
    ("PUT", "/config/local/log/", "{\"Level\":\"INFO\"}"),
];

/// Method, path below `/v2/keys` and form of requests that the store counts.
const COUNTED: &[(&str, &str, &str)] = &[
    ("PUT", "/a", "value=1"),
    ("PUT", "/a", "value=2"),
    ("PUT", "/a/b", "value=2"),
    ("PUT", "/b", "value=1&prevExist=false"),
    ("PUT", "/b", "value=1&prevExist=false"),
    ("PUT", "/b", "value=2&prevExist=true"),
    ("PUT", "/c", "value=2&prevExist=true"),
    ("PUT", "/b", "value=3&prevValue=2"),
    ("PUT", "/b", "value=3&prevValue=2"),
    ("POST", "/q", "value=1"),
    ("POST", "/a", "value=1"),
    ("GET", "/a", ""),
    ("GET", "/nothing", ""),
    ("HEAD", "/a", ""),
    ("GET", "/a?wait=true&waitIndex=4", ""),
    ("DELETE", "/b?prevValue=1", ""),
    ("DELETE", "/b?prevValue=3", ""),
    ("DELETE", "/a", ""),
    ("DELETE", "/a", ""),
    ("PUT", "/short", "value=1&ttl=1"),
];

fn ask(port: u16, method: &str, path: &str, body: &str) -> Seen {
    let sent = Sent {
        method,
        path,
        content_type: FORM,
        body,
    };
    sent.ask(port)
}

fn read(port: u16, page: &str) -> Value {
    let seen = ask(port, "GET", &format!("/v2/stats/{page}"), "");
    assert_eq!(seen.status, "HTTP/1.1 200 OK");
    serde_json::from_str(&seen.body).expect("a page of JSON")
}

/// The names of the fields in their order, without ids and without what is told of traffic alone.
fn names(page: &str) -> Vec<&str> {
    let before = page.split("\":").map(|part| part.rsplit('"').next());
    let names: Vec<&str> = before.flatten().collect();
    let (_, names) = names.split_last().expect("a last value");
    let is_id = |name: &str| name.bytes().all(|byte| byte.is_ascii_hexdigit());
    let always = names.iter().copied();
    always
        .filter(|name| !is_id(name) && !name.ends_with("Rate"))
        .collect()
}

async fn one_of_each(test: &str) -> Option<(Cluster, Cluster)> {
    let etcd = find(Tool::EtcdV2, test)?;
    let mut etcd = Cluster::of(etcd, 1, &["--enable-v2"]);
    let mut detcd = Cluster::new(1, &[]);
    for cluster in [&mut etcd, &mut detcd] {
        cluster.start(0);
        cluster.wait_healthy().await;
    }
    Some((etcd, detcd))
}

#[tokio::test]
async fn pages_of_v2_are_answered_as_etcd_answers_them() {
    let test = "pages_of_v2_are_answered_as_etcd_answers_them";
    let Some((etcd, detcd)) = one_of_each(test).await else {
        return;
    };
    let ports = (etcd.nodes[0].client_port, detcd.nodes[0].client_port);
    for (method, path, body) in CASES {
        let (theirs, ours) = (
            ask(ports.0, method, path, body),
            ask(ports.1, method, path, body),
        );
        assert_eq!(ours, theirs, "{method} {path} {body}");
    }
    // Later versions tell more in these two; their other fields are the same.
    for path in ["/version", "/health"] {
        let (mut theirs, ours) = (ask(ports.0, "GET", path, ""), ask(ports.1, "GET", path, ""));
        let page = |seen: &Seen| -> Value { serde_json::from_str(&seen.body).expect("JSON") };
        let (known, shown) = (page(&theirs), page(&ours));
        for name in known.as_object().expect("fields").keys() {
            assert!(shown.get(name).is_some_and(Value::is_string), "{shown}");
        }
        theirs.body.clone_from(&ours.body);
        assert_eq!(ours, theirs, "{path}");
    }
}

#[tokio::test]
async fn the_store_of_v2_is_counted_as_etcd_counts_it() {
    let test = "the_store_of_v2_is_counted_as_etcd_counts_it";
    let Some((etcd, detcd)) = one_of_each(test).await else {
        return;
    };
    let ports = [etcd.nodes[0].client_port, detcd.nodes[0].client_port];
    for port in ports {
        eventually("the first index", || async move {
            let index = ("x-etcd-index".to_owned(), "3".to_owned());
            ask(port, "GET", "/v2/keys", "")
                .headers
                .contains(&index)
                .then_some(())
        })
        .await;
    }
    let before = ports.map(|port| read(port, "store"));
    for (method, path, form) in COUNTED {
        for port in ports {
            ask(port, method, &format!("/v2/keys{path}"), form);
        }
    }
    let mut differences = Vec::new();
    for (port, before) in ports.into_iter().zip(&before) {
        let after = eventually("the end of a node", || async move {
            let after = read(port, "store");
            (after["expireCount"] == 1).then_some(after)
        })
        .await;
        let fields = after.as_object().expect("fields");
        let counted = fields.iter().map(|(name, value)| {
            let before = before[name].as_u64().expect("a count");
            (name.clone(), value.as_u64().expect("a count") - before)
        });
        differences.push(counted.collect::<Vec<_>>());
    }
    let [theirs, ours] = &differences[..] else {
        unreachable!("one of each");
    };
    for ((name, theirs), (_, ours)) in theirs.iter().zip(ours) {
        assert_eq!(*ours, mended(name, *theirs), "{name}");
    }
    let pages = ports.map(|port| ask(port, "GET", "/v2/stats/store", "").body);
    assert_eq!(names(&pages[1]), names(&pages[0]));
}

/// What etcd would count if it counted each request once, and as it ended.
fn mended(name: &str, theirs: u64) -> u64 {
    match name {
        // With each request it looks whether authentication is on, and finds nothing.
        "getsFail" => theirs - COUNTED.len() as u64,
        // A set below a file counts twice.
        "setsFail" => theirs - 1,
        // A file with another value counts as deleted.
        "compareAndDeleteFail" => theirs + 1,
        "compareAndDeleteSuccess" => theirs - 1,
        _ => theirs,
    }
}

/// Three members of each: what they tell of themselves and of those that follow.
#[tokio::test]
async fn leaders_and_followers_tell_of_themselves_as_in_etcd() {
    let test = "leaders_and_followers_tell_of_themselves_as_in_etcd";
    let Some(program) = find(Tool::EtcdV2, test) else {
        return;
    };
    let mut etcd = Cluster::of(program, 3, &["--enable-v2"]);
    let mut detcd = Cluster::new(3, &[]);
    let mut told = Vec::new();
    for cluster in [&mut etcd, &mut detcd] {
        for i in 0..3 {
            cluster.start(i);
        }
        cluster.wait_healthy().await;
        let ports: Vec<u16> = cluster.nodes.iter().map(|node| node.client_port).collect();
        told.push(members_tell(&ports).await);
    }
    assert_eq!(told[1], told[0]);
}

/// The names in the pages of a leader and of a follower, once what they say holds.
async fn members_tell(ports: &[u16]) -> Vec<String> {
    let state = |port: u16| read(port, "self")["state"].clone();
    let leader = eventually("a leader", || async {
        ports.iter().find(|port| state(**port) == "StateLeader")
    })
    .await;
    let follower = ports.iter().find(|port| *port != leader).expect("two");
    ask(*follower, "PUT", "/v2/keys/a", "value=1");
    let page = eventually("answers of both followers", || async {
        let page = read(*leader, "leader");
        let followers = page["followers"].as_object().expect("followers");
        assert_eq!(followers.len(), 2);
        let all = followers.values().all(|follower| {
            let latency = &follower["latency"];
            let number = |name: &str| latency[name].as_f64().expect("a number");
            let is_answered = follower["counts"]["success"].as_u64().expect("a count") > 0;
            is_answered
                && number("minimum") <= number("current")
                && number("current") <= number("maximum")
                && number("minimum") <= number("average")
                && number("average") <= number("maximum")
        });
        all.then_some(page)
    })
    .await;
    let (leads, follows) = (read(*leader, "self"), read(*follower, "self"));
    assert_eq!(page["leader"], leads["id"]);
    for one in [&leads, &follows] {
        assert_eq!(one["leaderInfo"]["leader"], leads["id"]);
        assert!(one["startTime"].as_str() < one["leaderInfo"]["startTime"].as_str());
    }
    assert!(leads["sendAppendRequestCnt"].as_u64() > Some(0));
    assert!(follows["recvAppendRequestCnt"].as_u64() > Some(0));
    let page = |port: u16, name: &str| ask(port, "GET", &format!("/v2/stats/{name}"), "").body;
    let pages = [
        page(*leader, "self"),
        page(*follower, "self"),
        page(*leader, "leader"),
    ];
    let mut shapes: Vec<String> = pages.iter().map(|page| names(page).join(" ")).collect();
    let refused = ask(*follower, "GET", "/v2/stats/leader", "");
    shapes.push(format!("{refused:?}"));
    shapes
}
