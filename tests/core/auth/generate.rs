//! Few users, few roles and few keys, so that they meet.

use bytes::Bytes;
use detcd_core::api::*;
use detcd_core::auth::{AuthCommand, AuthInfo, Permission, PermissionKind, Principal};
use detcd_core::command::Command;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, FileFailurePersistence};

/// A property's settings; what fails is kept among the regressions.
pub fn config(cases: u32) -> Config {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../proptest-regressions/core-auth.txt"
    );
    Config {
        cases,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(path))),
        ..Config::default()
    }
}

pub fn key() -> impl Strategy<Value = Bytes> {
    select(vec![
        &b"a"[..],
        b"a\0",
        b"a\0\0",
        b"aa",
        b"b",
        b"b\0",
        b"c",
        b"\xff",
    ])
    .prop_map(Bytes::from_static)
}

pub fn key_range() -> impl Strategy<Value = KeyRange> {
    prop_oneof![
        3 => key().prop_map(KeyRange::One),
        3 => (key(), key()).prop_map(|(start, end)| KeyRange::Span { start, end: Some(end) }),
        1 => key().prop_map(|start| KeyRange::Span { start, end: None }),
        1 => Just(KeyRange::Span { start: Bytes::from_static(b"\0"), end: None }),
    ]
}

pub fn permission() -> impl Strategy<Value = Permission> {
    let kind = select(vec![
        PermissionKind::Read,
        PermissionKind::Write,
        PermissionKind::ReadWrite,
    ]);
    (kind, key_range()).prop_map(|(kind, range)| Permission { kind, range })
}

fn user() -> impl Strategy<Value = String> {
    select(vec!["root", "alice", "bob", "nobody"]).prop_map(String::from)
}

fn role() -> impl Strategy<Value = String> {
    select(vec!["root", "one", "two", "none"]).prop_map(String::from)
}

pub fn auth_command() -> impl Strategy<Value = AuthCommand> {
    let password = || select(vec![&b"x"[..], b"y"]).prop_map(Bytes::from_static);
    prop_oneof![
        2 => Just(AuthCommand::Enable),
        1 => Just(AuthCommand::Disable),
        3 => (user(), any::<bool>(), 0u64..40).prop_map(|(user, is_simple, checked_revision)| {
            let token_prefix = if is_simple { "t" } else { "" }.into();
            AuthCommand::Authenticate { user, token_prefix, checked_revision }
        }),
        3 => (user(), password(), any::<bool>()).prop_map(|(name, password, no_password)| {
            AuthCommand::UserAdd { name, password, no_password }
        }),
        1 => user().prop_map(|name| AuthCommand::UserDelete { name }),
        1 => (user(), password()).prop_map(|(name, password)| {
            AuthCommand::UserChangePassword { name, password }
        }),
        4 => (user(), role()).prop_map(|(user, role)| AuthCommand::UserGrantRole { user, role }),
        1 => (user(), role()).prop_map(|(user, role)| AuthCommand::UserRevokeRole { user, role }),
        3 => role().prop_map(|name| AuthCommand::RoleAdd { name }),
        1 => role().prop_map(|name| AuthCommand::RoleDelete { name }),
        4 => (role(), prop::option::weighted(0.9, permission())).prop_map(|(role, permission)| {
            AuthCommand::RoleGrantPermission { role, permission }
        }),
        2 => (role(), key_range()).prop_map(|(role, range)| {
            AuthCommand::RoleRevokePermission { role, range }
        }),
    ]
}

/// On whose behalf, with an auth revision that lies so far back.
pub fn asker() -> impl Strategy<Value = Asker> {
    prop_oneof![
        1 => Just(Asker::Member),
        1 => Just(Asker::Anonymous),
        8 => (user(), select(vec![0, 0, 0, 0, 1, 5])).prop_map(|(user, behind)| Asker::User { user, behind }),
    ]
}

#[derive(Clone, Debug)]
pub enum Asker {
    Member,
    Anonymous,
    User { user: String, behind: u64 },
}

impl Asker {
    pub fn principal(&self, auth_revision: u64) -> Principal {
        match self {
            Asker::Member => Principal::Member,
            Asker::Anonymous => Principal::Anonymous,
            Asker::User { user, behind } => Principal::User(AuthInfo {
                user: user.clone(),
                revision: auth_revision.saturating_sub(*behind),
            }),
        }
    }
}

fn put() -> impl Strategy<Value = PutRequest> {
    let lease = select(vec![0, 0, 1, 2]).prop_map(LeaseId);
    (key(), lease, any::<bool>()).prop_map(|(key, lease, prev_kv)| PutRequest {
        key,
        lease,
        prev_kv,
        ..PutRequest::default()
    })
}

fn delete_range() -> impl Strategy<Value = DeleteRangeRequest> {
    (key_range(), any::<bool>()).prop_map(|(range, prev_kv)| DeleteRangeRequest { range, prev_kv })
}

pub fn txn() -> impl Strategy<Value = TxnRequest> {
    let op = prop_oneof![
        put().prop_map(Op::Put),
        delete_range().prop_map(Op::DeleteRange),
        key_range().prop_map(|range| Op::Range(RangeRequest::of(range))),
    ];
    let txn = |op: BoxedStrategy<Op>| {
        (
            prop::collection::vec(compare(), 0..2),
            prop::collection::vec(op.clone(), 0..3),
            prop::collection::vec(op, 0..3),
        )
            .prop_map(|(compare, success, failure)| TxnRequest {
                compare,
                success,
                failure,
            })
            .boxed()
    };
    let op = op.boxed();
    let nested = txn(op.clone());
    txn(prop_oneof![4 => op, 1 => nested.prop_map(Op::Txn)].boxed())
}

fn compare() -> impl Strategy<Value = Compare> {
    key_range().prop_map(|range| Compare {
        range,
        op: CompareOp::Equal,
        target: CompareTarget::Version(0),
    })
}

pub fn command() -> impl Strategy<Value = Command> {
    let lease = || (1i64..3).prop_map(LeaseId);
    prop_oneof![
        12 => auth_command().prop_map(Command::Auth),
        5 => put().prop_map(Command::Put),
        3 => delete_range().prop_map(Command::DeleteRange),
        3 => txn().prop_map(Command::Txn),
        2 => lease().prop_map(|id| Command::LeaseGrant { id, ttl: 60 }),
        1 => lease().prop_map(|id| Command::LeaseRevoke { id }),
        1 => Just(Command::Compact(CompactRequest { revision: 2, physical: false })),
    ]
}
