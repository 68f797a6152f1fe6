//! Generated requests: messages of odd shapes, and JSON with bytes that do not belong there.

use super::http::Sent;
use super::{Both, members};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

/// Requests in a run; `DETCD_GATEWAY_REQUESTS` asks for more.
const REQUESTS: usize = 1500;

const NAMES: &[&str] = &[
    "key",
    "value",
    "range_end",
    "rangeEnd",
    "limit",
    "revision",
    "keys_only",
    "countOnly",
    "prev_kv",
    "ignoreLease",
    "lease",
    "compare",
    "success",
    "failure",
    "request_put",
    "requestRange",
    "request_delete_range",
    "request_txn",
    "version",
    "mod_revision",
    "ID",
    "TTL",
    "physical",
    "unknown",
];
/// They stand where they belong.
const ENUMS: &[&str] = &["VERSION", "EQUAL", "LESS", "GREATER", "NOT_EQUAL"];
const KEYS: &[&str] = &["YQ==", "YWI=", "YWJj", "AA==", ""];
const PATHS: &[&str] = &[
    "/v3/kv/range",
    "/v3/kv/put",
    "/v3/kv/deleterange",
    "/v3/kv/txn",
    "/v3/kv/compaction",
    "/v3/lease/revoke",
    "/v3/lease/timetolive",
];

fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => prop::sample::select(KEYS).prop_map(Value::from),
        2 => (-2i64..6).prop_map(Value::from),
        2 => (0..6).prop_map(|number: i32| number.to_string().into()),
        1 => any::<bool>().prop_map(Value::from),
        1 => Just(Value::Null),
        1 => any::<i64>().prop_map(Value::from),
        1 => prop::sample::select(&["LESS", "null", "!", "1.5 "][..])
            .prop_map(Value::from),
        1 => Just(json!(0.25)),
    ]
}

/// An object of one level at least.
fn message() -> impl Strategy<Value = Value> {
    let any = leaf().prop_recursive(5, 24, 4, |inner| {
        let member = (prop::sample::select(NAMES), inner.clone());
        prop_oneof![
            3 => prop::collection::vec(member, 0..5).prop_map(object),
            1 => prop::collection::vec(inner, 0..3).prop_map(Value::from),
        ]
    });
    let member = (prop::sample::select(NAMES), any);
    prop::collection::vec(member, 0..5).prop_map(object)
}

fn object(members: Vec<(&str, Value)>) -> Value {
    let members = members.into_iter();
    Value::Object(
        members
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
    )
}

/// Transactions that are well-formed more often than not.
fn transaction() -> impl Strategy<Value = Value> {
    let key = prop::sample::select(&KEYS[..3]);
    let compare = (
        key,
        0..4i64,
        prop_oneof!["EQUAL", "LESS", "GREATER", "NOT_EQUAL"],
    );
    let compare = compare.prop_map(|(key, version, result)| {
        json!({"key": key, "target": "VERSION", "version": version, "result": result})
    });
    let key = prop::sample::select(&KEYS[..3]);
    let op = (key, 0..3, leaf()).prop_map(|(key, kind, value)| match kind {
        0 => json!({"request_put": {"key": key, "value": value, "prev_kv": true}}),
        1 => json!({"requestRange": {"key": key, "rangeEnd": "eg==", "limit": value}}),
        _ => json!({"request_delete_range": {"key": key, "prevKv": true}}),
    });
    let ops = prop::collection::vec(op, 0..3).boxed();
    let compares = prop::collection::vec(compare, 0..3);
    (compares, ops.clone(), ops).prop_map(|(compare, success, failure)| {
        json!({"compare": compare, "success": success, "failure": failure})
    })
}

/// The text, with a few bytes replaced, inserted or cut off.
fn spoilt(text: String) -> impl Strategy<Value = Vec<u8>> {
    let length = text.len().max(1);
    let byte = prop_oneof![any::<u8>(), prop::sample::select(&b"{}[]\":,0 \\enu-."[..])];
    let edits = prop::collection::vec((0..length, byte, 0..3u8), 1..4);
    edits.prop_map(move |edits| {
        let mut bytes = text.clone().into_bytes();
        for (at, byte, kind) in edits {
            let at = at.min(bytes.len());
            match kind {
                0 => bytes.truncate(at),
                1 => bytes.insert(at, byte),
                _ if at < bytes.len() => bytes[at] = byte,
                _ => {}
            }
        }
        bytes
    })
}

fn request() -> impl Strategy<Value = (&'static str, Vec<u8>)> {
    let path = prop::sample::select(PATHS);
    let any = (path, message()).prop_map(|(path, message)| (path, message.to_string()));
    let transaction = transaction().prop_map(|it| ("/v3/kv/txn", it.to_string()));
    let sound = prop_oneof![any, transaction].boxed();
    let whole = sound
        .clone()
        .prop_map(|(path, text)| (path, text.into_bytes()));
    let damaged = sound.prop_flat_map(|(path, text)| (Just(path), spoilt(text)));
    prop_oneof![3 => whole, 1 => damaged]
}

/// Whether etcd 3.5 refuses what is taken here: base64 without padding or of URLs.
fn has_lenient_base64(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body);
    let strings = text.split('"').skip(1).step_by(2);
    let mut strings = strings.filter(|it| !NAMES.contains(it) && !ENUMS.contains(it));
    strings.any(|string| {
        let bare = string.trim_end_matches('=');
        string.contains(['-', '_', '\\']) || bare.len() % 4 > 1 && string.len() % 4 != 0
    })
}

#[tokio::test]
async fn generated_gateway_requests_are_answered_as_etcd_answers_them() {
    let test = "generated_gateway_requests_are_answered_as_etcd_answers_them";
    let Some(members) = members(test, &[]).await else {
        return;
    };
    let mut both = Both::of(&members);
    let count = std::env::var("DETCD_GATEWAY_REQUESTS");
    let count = count.map_or(REQUESTS, |count| count.parse().expect("a number"));
    let mut runner = TestRunner::new(Config::default());
    eprintln!("{:?}", runner.rng());
    let strategy = request();
    for _ in 0..count {
        let (path, body) = strategy.new_tree(&mut runner).expect("a request").current();
        if has_lenient_base64(&body) {
            continue;
        }
        both.ask(Sent {
            method: "POST",
            path,
            headers: "",
            body: &body,
        });
    }
}
