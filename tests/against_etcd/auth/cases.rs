//! Cases by hand: each call of the service Auth with its options and errors, and what clients may do with
//! keys, leases and members.

use super::call::{
    Ask, authenticate, delete, forbid, grant, no_password, passwd, permit, put, range, revoke,
    role, user,
};
use super::{ANSWERED, Both, DENIED, INVALID, NOBODY};
use detcd_wire::etcdserverpb as pb;
use pb::compare::{CompareResult, CompareTarget, TargetUnion};
use pb::request_op::Request;

/// Makes and unmakes users and roles while authentication is off.
async fn switched_off(both: &mut Both) {
    both.ask("", authenticate("root", "pw")).await;
    both.ask("", Ask::AuthStatus).await;
    both.ask("", Ask::UserList).await;
    both.ask("", Ask::RoleList).await;
    both.ask("", Ask::Enable).await;
    both.ask("", Ask::Disable).await;
    for ask in [
        user("", "pw"),
        user("a", "pw"),
        user("a", "pw"),
        user("empty", ""),
        no_password("certified"),
        no_password("certified"),
        no_password(""),
        Ask::UserAdd(pb::AuthUserAddRequest {
            name: "both".to_owned(),
            password: "pw".to_owned(),
            options: Some(detcd_wire::authpb::UserAddOptions { no_password: true }),
            ..Default::default()
        }),
        Ask::UserAdd(pb::AuthUserAddRequest {
            name: "hashed".to_owned(),
            password: "pw".to_owned(),
            hashed_password: "nonsense".to_owned(),
            ..Default::default()
        }),
        Ask::UserGet("a".to_owned()),
        Ask::UserGet("none".to_owned()),
        Ask::UserGet(String::new()),
        passwd("a", "new"),
        passwd("a", ""),
        passwd("certified", "pw"),
        passwd("none", "pw"),
        passwd("", "pw"),
        role(""),
        role("r"),
        role("r"),
        role("s"),
        Ask::RoleGet("r".to_owned()),
        Ask::RoleGet("none".to_owned()),
        Ask::RoleGet("root".to_owned()),
        grant("a", "r"),
        grant("a", "r"),
        grant("a", "s"),
        grant("a", "none"),
        grant("none", "r"),
        grant("", ""),
        grant("a", "root"),
        Ask::UserGet("a".to_owned()),
        revoke("a", "root"),
        revoke("a", "none"),
        revoke("none", "r"),
        revoke("a", "s"),
        revoke("a", "s"),
        Ask::UserGet("a".to_owned()),
        Ask::UserList,
        Ask::RoleList,
        Ask::AuthStatus,
    ] {
        both.ask("", ask).await;
    }
    permissions(both).await;
    for ask in [
        Ask::RoleDelete("none".to_owned()),
        Ask::RoleDelete(String::new()),
        Ask::RoleDelete("r".to_owned()),
        Ask::UserGet("a".to_owned()),
        Ask::UserDelete("none".to_owned()),
        Ask::UserDelete(String::new()),
        Ask::UserDelete("a".to_owned()),
        Ask::UserDelete("both".to_owned()),
        Ask::UserDelete("hashed".to_owned()),
        Ask::RoleDelete("s".to_owned()),
        Ask::UserList,
        Ask::RoleList,
        Ask::AuthStatus,
        Ask::Enable,
        user("root", "pw"),
        Ask::Enable,
        Ask::RoleAdd("root".to_owned()),
        Ask::Enable,
        grant("root", "root"),
        Ask::AuthStatus,
    ] {
        both.ask("", ask).await;
    }
}

/// Permissions as they are granted, shown and taken back.
async fn permissions(both: &mut Both) {
    let show = || Ask::RoleGet("r".to_owned());
    for ask in [
        permit("none", 0, "a", ""),
        permit("", 0, "a", ""),
        permit("r", 0, "", ""),
        permit("r", 0, "b", ""),
        permit("r", 1, "a", ""),
        permit("r", 2, "c", ""),
        permit("r", 1, "c", ""),
        permit("r", 0, "d", "e"),
        permit("r", 0, "f", "\0"),
        permit("r", 0, "e", "d"),
        permit("r", 0, "g", "g"),
        permit("r", 0, "\0", "\0"),
        permit("r", 0, "", "\0"),
        permit("r", 0, "", "x"),
        Ask::Permit(pb::AuthRoleGrantPermissionRequest {
            name: "r".to_owned(),
            perm: None,
        }),
        show(),
        forbid("r", "a", ""),
        forbid("r", "a", ""),
        forbid("r", "d", ""),
        forbid("r", "d", "e"),
        forbid("r", "f", "\0"),
        forbid("none", "f", ""),
        forbid("", "", ""),
        forbid("r", "", "x"),
        forbid("r", "", ""),
        show(),
    ] {
        both.ask("", ask).await;
    }
}

/// Every call of the service Auth, by those who may and those who may not.
async fn switched_on(both: &mut Both) {
    for ask in [
        user("alice", "pw"),
        user("bob", "pw"),
        role("r"),
        permit("r", 2, "a/", "a0"),
        grant("alice", "r"),
        Ask::Enable,
        Ask::Enable,
    ] {
        both.ask("", ask).await;
    }
    for (name, password) in [
        ("root", "no"),
        ("none", "pw"),
        ("", ""),
        ("alice", ""),
        ("empty", ""),
        ("certified", ""),
        ("certified", "pw"),
        ("root", "pw"),
    ] {
        both.ask("", authenticate(name, password)).await;
        both.ask("not a token", authenticate(name, password)).await;
    }
    for who in ["root", "alice", "bob"] {
        both.login(who, "pw").await;
    }
    for who in ["", "not a token", "none.7", "alice", "bob", "root"] {
        for ask in [
            Ask::UserGet("alice".to_owned()),
            Ask::UserGet("root".to_owned()),
            Ask::UserGet("none".to_owned()),
            Ask::UserList,
            Ask::RoleGet("r".to_owned()),
            Ask::RoleGet("root".to_owned()),
            Ask::RoleGet("none".to_owned()),
            Ask::RoleList,
            user("x", "pw"),
            user("", "pw"),
            passwd("none", "pw"),
            grant("x", "r"),
            revoke("x", "r"),
            Ask::UserDelete("x".to_owned()),
            role("x"),
            permit("x", 0, "a", ""),
            forbid("x", "a", ""),
            Ask::RoleDelete("x".to_owned()),
            Ask::Enable,
        ] {
            both.ask(who, ask).await;
        }
        if who != "root" {
            both.ask(who, Ask::Disable).await;
        }
    }
    both.differ("", Ask::AuthStatus, NOBODY, ANSWERED).await;
    both.differ("alice", Ask::AuthStatus, DENIED, ANSWERED)
        .await;
    both.ask("root", Ask::AuthStatus).await;
    // What root is protected from.
    for ask in [
        Ask::UserDelete("root".to_owned()),
        Ask::RoleDelete("root".to_owned()),
        revoke("root", "root"),
        grant("root", "r"),
        revoke("root", "r"),
        Ask::UserGet("root".to_owned()),
        grant("bob", "root"),
    ] {
        both.ask("root", ask).await;
    }
    both.ask("bob", Ask::UserList).await;
    both.ask("bob", revoke("bob", "root")).await;
    both.ask("bob", Ask::UserList).await;
}

/// Tokens end with their passwords, their users and with authentication.
async fn tokens(both: &mut Both) {
    let read = || Ask::Range(range("a/1", ""));
    both.ask("alice", read()).await;
    both.keep("alice", "alice before");
    both.ask("root", passwd("alice", "new")).await;
    both.ask("alice before", read()).await;
    both.ask("", authenticate("alice", "pw")).await;
    both.login("alice", "new").await;
    both.ask("alice", read()).await;
    both.ask("alice before", read()).await;
    both.ask("root", Ask::UserDelete("bob".to_owned())).await;
    both.ask("bob", read()).await;
    both.ask("bob", Ask::UserList).await;
    both.ask("root", user("bob", "pw")).await;
    both.ask("bob", read()).await;
    both.login("bob", "pw").await;
    both.ask("bob", read()).await;
    both.keep("root", "root before");
    both.ask("root", Ask::Disable).await;
    both.ask("", read()).await;
    // What a token is worth nobody asks then; etcd 3.5.1 does.
    both.differ("root before", read(), INVALID, ANSWERED).await;
    both.ask("", authenticate("root", "pw")).await;
    both.ask("", Ask::Enable).await;
    both.ask("root before", read()).await;
    for (who, password) in [("root", "pw"), ("alice", "new"), ("bob", "pw")] {
        both.login(who, password).await;
    }
}

fn compare(key: &str, end: &str) -> pb::Compare {
    pb::Compare {
        key: key.to_owned().into(),
        range_end: end.to_owned().into(),
        result: CompareResult::Greater.into(),
        target: CompareTarget::Version.into(),
        target_union: Some(TargetUnion::Version(0)),
    }
}

fn op(request: Request) -> pb::RequestOp {
    pb::RequestOp {
        request: Some(request),
    }
}

fn txn(compare: &[pb::Compare], success: &[Request], failure: &[Request]) -> pb::TxnRequest {
    let ops = |of: &[Request]| of.iter().cloned().map(op).collect();
    pb::TxnRequest {
        compare: compare.to_vec(),
        success: ops(success),
        failure: ops(failure),
    }
}

/// A key is read by "reader", written by "writer", and both by "both"; ranges by the roles below.
async fn keys(both: &mut Both) {
    for name in [
        "reader", "writer", "span", "from", "merged", "all", "nothing",
    ] {
        both.ask("root", user(name, "pw")).await;
        both.ask("root", role(name)).await;
        both.ask("root", grant(name, name)).await;
    }
    for ask in [
        permit("reader", 0, "k", ""),
        permit("writer", 1, "k", ""),
        permit("span", 2, "k", "m"),
        permit("span", 2, "x", "a"),
        permit("from", 2, "l", "\0"),
        permit("merged", 2, "a", "c"),
        permit("merged", 2, "c", "e"),
        permit("merged", 2, "d", "g"),
        permit("merged", 0, "g", ""),
        permit("merged", 0, "g\0", "i"),
        permit("merged", 1, "h", "j"),
        permit("all", 2, "\0", "\0"),
        permit("nothing", 2, "", "\0"),
    ] {
        both.ask("root", ask).await;
    }
    let users = [
        "reader", "writer", "span", "from", "merged", "all", "nothing",
    ];
    for name in users {
        both.login(name, "pw").await;
    }
    both.login("root", "pw").await;
    for key in ["a", "d", "g", "h", "k", "l", "z"] {
        both.ask("root", Ask::Put(put(key, "0"))).await;
    }
    for who in ["", "not a token", "bob", "root"].iter().chain(&users) {
        for (key, end) in [
            ("a", ""),
            ("a", "g"),
            ("b", "h"),
            ("a", "g\0"),
            ("a", "i"),
            ("c", "d"),
            ("g", "i"),
            ("h", "j"),
            ("k", ""),
            ("k", "k\0"),
            ("k", "l"),
            ("k", "\0"),
            ("l", "\0"),
            ("l", "z"),
            ("z", "\0"),
            ("l", "k"),
            ("\0", "\0"),
            ("k", "k"),
            ("x", "a"),
            ("", ""),
            ("", "\0"),
        ] {
            both.ask(who, Ask::Range(range(key, end))).await;
            let serializable = pb::RangeRequest {
                serializable: true,
                count_only: true,
                ..range(key, end)
            };
            both.ask(who, Ask::Range(serializable)).await;
            both.ask(who, Ask::Delete(delete(key, end))).await;
            let with_previous = pb::DeleteRangeRequest {
                prev_kv: true,
                ..delete(key, end)
            };
            both.ask(who, Ask::Delete(with_previous)).await;
        }
        for key in ["a", "g", "h", "k", "l", "z", ""] {
            both.ask(who, Ask::Put(put(key, "1"))).await;
            let with_previous = pb::PutRequest {
                prev_kv: true,
                ..put(key, "2")
            };
            both.ask(who, Ask::Put(with_previous)).await;
        }
        transactions(both, who).await;
    }
}

async fn transactions(both: &mut Both, who: &str) {
    let read = |key: &str, end: &str| Request::RequestRange(range(key, end));
    let write = |key: &str| Request::RequestPut(put(key, "t"));
    let remove = |key: &str, end: &str| Request::RequestDeleteRange(delete(key, end));
    for txn in [
        txn(&[], &[], &[]),
        txn(&[compare("k", "")], &[], &[]),
        txn(&[compare("k", "m")], &[], &[]),
        txn(&[compare("a", "\0")], &[], &[]),
        txn(&[], &[read("k", "")], &[]),
        txn(&[], &[read("l", "\0")], &[]),
        txn(&[], &[write("k")], &[]),
        // The branch that is not taken is judged as well.
        txn(&[], &[], &[write("k")]),
        txn(&[], &[], &[write("nowhere")]),
        txn(&[], &[read("k", "")], &[read("nowhere", "")]),
        txn(&[], &[remove("k", "l")], &[]),
        txn(&[], &[write("k"), write("l")], &[]),
        txn(&[], &[write("k"), write("k")], &[]),
        txn(&[compare("", "")], &[], &[]),
        txn(&[], &[write("")], &[]),
    ] {
        both.ask(who, Ask::Txn(txn)).await;
    }
}

#[tokio::test]
async fn users_roles_and_tokens_are_as_etcds() {
    let test = "users_roles_and_tokens_are_as_etcds";
    let Some(mut both) = Both::start(test).await else {
        return;
    };
    switched_off(&mut both).await;
    switched_on(&mut both).await;
    tokens(&mut both).await;
    both.end();
}

/// Root, alice with the role r for `a/`, and bob with no role.
pub async fn three_users(both: &mut Both) {
    for ask in [
        user("root", "pw"),
        grant("root", "root"),
        user("alice", "pw"),
        user("bob", "pw"),
        role("r"),
        permit("r", 2, "a/", "a0"),
        grant("alice", "r"),
        Ask::Enable,
    ] {
        both.ask("", ask).await;
    }
    for who in ["root", "alice", "bob"] {
        both.login(who, "pw").await;
    }
}

#[tokio::test]
async fn permissions_on_keys_are_judged_as_etcd_judges_them() {
    let test = "permissions_on_keys_are_judged_as_etcd_judges_them";
    let Some(mut both) = Both::start(test).await else {
        return;
    };
    three_users(&mut both).await;
    keys(&mut both).await;
    both.end();
}
