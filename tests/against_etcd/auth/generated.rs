//! Generated users, permissions and requests: whoever may what in etcd may it here, and nobody more.

use super::Both;
use super::call::{Ask, delete, forbid, grant, permit, put, range, revoke, role, user};
use detcd_wire::etcdserverpb as pb;
use pb::compare::{CompareResult, CompareTarget, TargetUnion};
use pb::request_op::Request;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// Requests in a run; `DETCD_AUTH_REQUESTS` asks for more: 10,000 take some minutes.
const REQUESTS: usize = 1200;
/// `DETCD_AUTH_SEED` asks for another one.
const SEED: u64 = 1;

const USERS: &[&str] = &["u1", "u2", "u3"];
const ROLES: &[&str] = &["r1", "r2", "r3"];
const KEYS: &[&str] = &["a", "b", "b\0", "c", "d", "e", "\0", "ee"];

#[derive(Clone, Debug)]
enum Step {
    /// Root changes what others may.
    Change(Vec<Ask>),
    Request(&'static str, Ask),
}

/// Start and end: one key, a range, or whatever comes from a key on. Each has keys in it: of others
/// etcd's trees make what they like.
fn keys() -> impl Strategy<Value = (&'static str, &'static str)> {
    let key = || select(KEYS);
    prop_oneof![
        2 => key().prop_map(|key| (key, "")),
        4 => (key(), key()).prop_map(|(start, end)| match start < end {
            true => (start, end),
            false => (start, ""),
        }),
        1 => key().prop_map(|key| (key, "\0")),
        1 => Just(("\0", "\0")),
    ]
}

fn change() -> impl Strategy<Value = Vec<Ask>> {
    let (user, role) = (|| select(USERS), || select(ROLES));
    prop_oneof![
        // etcd 3.5.1 does not always find the one that it is to replace.
        6 => (role(), 0..3, keys()).prop_map(|(role, kind, (key, end))| {
            vec![forbid(role, key, end), permit(role, kind, key, end)]
        }),
        4 => (role(), keys()).prop_map(|(role, (key, end))| vec![forbid(role, key, end)]),
        3 => (user(), role()).prop_map(|(user, role)| vec![grant(user, role)]),
        2 => (user(), role()).prop_map(|(user, role)| vec![revoke(user, role)]),
        1 => role().prop_map(|role| vec![Ask::RoleDelete(role.to_owned())]),
        2 => role().prop_map(|role| vec![self::role(role)]),
    ]
}

fn a_range() -> impl Strategy<Value = pb::RangeRequest> {
    (keys(), any::<[bool; 3]>(), 0..3i64).prop_map(|((key, end), flags, limit)| {
        let [serializable, keys_only, count_only] = flags;
        pb::RangeRequest {
            serializable,
            keys_only,
            count_only,
            limit,
            ..range(key, end)
        }
    })
}

fn a_put() -> impl Strategy<Value = pb::PutRequest> {
    (select(KEYS), select(&["1", "2"][..])).prop_map(|(key, value)| put(key, value))
}

fn a_delete() -> impl Strategy<Value = pb::DeleteRangeRequest> {
    (keys(), any::<bool>()).prop_map(|((key, end), prev_kv)| pb::DeleteRangeRequest {
        prev_kv,
        ..delete(key, end)
    })
}

fn compare() -> impl Strategy<Value = pb::Compare> {
    (keys(), 0..2i64).prop_map(|((key, end), version)| pb::Compare {
        key: key.into(),
        range_end: end.into(),
        result: CompareResult::Greater.into(),
        target: CompareTarget::Version.into(),
        target_union: Some(TargetUnion::Version(version)),
    })
}

/// Nothing is nested: what is, etcd 3.5.1 does not judge.
fn txn() -> impl Strategy<Value = pb::TxnRequest> {
    let op = prop_oneof![
        a_range().prop_map(Request::RequestRange),
        a_put().prop_map(Request::RequestPut),
        a_delete().prop_map(Request::RequestDeleteRange),
    ];
    let op = op.prop_map(|request| pb::RequestOp {
        request: Some(request),
    });
    let ops = || prop::collection::vec(op.clone(), 0..3);
    (prop::collection::vec(compare(), 0..2), ops(), ops()).prop_map(
        |(compare, success, failure)| pb::TxnRequest {
            compare,
            success,
            failure,
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    let prev = (a_put(), any::<bool>());
    let ask = prop_oneof![
        4 => a_range().prop_map(Ask::Range),
        4 => prev.prop_map(|(put, prev_kv)| Ask::Put(pb::PutRequest { prev_kv, ..put })),
        3 => a_delete().prop_map(Ask::Delete),
        4 => txn().prop_map(Ask::Txn),
        1 => select(USERS).prop_map(|name| Ask::UserGet(name.to_owned())),
    ];
    prop_oneof![
        1 => change().prop_map(Step::Change),
        4 => (select(&["u1", "u2", "u3", "u1", "u2", "u3", "root", ""][..]), ask)
            .prop_map(|(who, ask)| Step::Request(who, ask)),
    ]
}

fn number(name: &str, default: u64) -> u64 {
    let asked = std::env::var(name).ok();
    asked.map_or(default, |it| it.parse().expect("a number"))
}

#[tokio::test]
async fn generated_requests_are_judged_as_etcd_judges_them() {
    let test = "generated_requests_are_judged_as_etcd_judges_them";
    let Some(mut both) = Both::start(test).await else {
        return;
    };
    both.ask("", user("root", "pw")).await;
    both.ask("", grant("root", "root")).await;
    for (name, of) in USERS.iter().zip(ROLES) {
        both.ask("", user(name, "pw")).await;
        both.ask("", role(of)).await;
        both.ask("", grant(name, of)).await;
    }
    both.ask("", Ask::Enable).await;
    for who in ["root"].iter().chain(USERS) {
        both.login(who, "pw").await;
    }
    let seed = number("DETCD_AUTH_SEED", SEED);
    eprintln!("DETCD_AUTH_SEED={seed}");
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let strategy = step();
    let mut answered = [0; 2];
    for _ in 0..number("DETCD_AUTH_REQUESTS", REQUESTS as u64) {
        match strategy.new_tree(&mut runner).expect("a step").current() {
            Step::Change(asks) => {
                for ask in asks {
                    both.ask("root", ask).await;
                }
            }
            Step::Request(who, ask) => {
                let answer = both.ask(who, ask).await;
                answered[usize::from(answer.contains("permission denied"))] += 1;
            }
        }
    }
    // Neither almost everything is refused nor almost nothing.
    let [granted, denied] = answered;
    assert!(
        granted > denied / 10 && denied > granted / 10,
        "{answered:?}"
    );
    both.end();
}
