//! Stored bytes: what they are, and that garbage is refused and never panics.

use crate::generate::{any_txn, command, config};
use bytes::Bytes;
use detcd_core::api::*;
use detcd_core::codec::*;
use detcd_core::command::{Command, Proposal};
use detcd_core::limits::TXN_DEPTH_MAX;
use proptest::prelude::*;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn kv(key: &'static [u8], value: &'static [u8]) -> KeyValue {
    KeyValue {
        key: Bytes::from_static(key),
        value: Bytes::from_static(value),
        create_revision: 2,
        mod_revision: 300,
        version: 4,
        lease: LeaseId(-1),
    }
}

#[test]
fn rows_have_these_bytes() {
    let put = PutRows::new(&kv(b"k\0e", b"val"), 5);
    assert_eq!(
        hex(&put.current),
        "0102ac020504ffffffffffffffffff010376616c"
    );
    assert_eq!(
        hex(&put.event),
        "0102ac020504ffffffffffffffffff010376616c6b0065"
    );
    assert_eq!(hex(&put.event_key), "000000000000012c0000000000000005");
    assert_eq!(put.kv, kv(b"k\0e", b"val"));

    let revision = Revision { main: 300, sub: 5 };
    let delete = TombstoneRows::new(b"k\0e", revision);
    assert_eq!(hex(&delete.event), "026b0065");
    assert_eq!(delete.event_key, put.event_key);
    assert_eq!(
        hex(&delete.version_key),
        "6b00ff650001000000000000012c0000000000000005"
    );
    assert_eq!(delete.version_key, version_key(b"k\0e", revision));
    assert_eq!(hex(&VERSION_PUT), "01");
    assert_eq!(hex(&VERSION_TOMBSTONE), "02");

    assert_eq!(hex(&lease_key(LeaseId(1))), "8000000000000001");
    assert_eq!(hex(&lease_key(LeaseId(-1))), "7fffffffffffffff");
    assert_eq!(
        hex(&lease_keys_key(LeaseId(1), b"k\0")),
        "80000000000000016b00"
    );
    assert_eq!(hex(&encode_lease(600)), "01d804");
    let member = Member {
        id: MemberId(0x0102),
        name: "n1".into(),
        peer_urls: vec!["http://p".into()],
        client_urls: vec!["c".into(), "d".into()],
        is_learner: true,
    };
    assert_eq!(hex(&member_key(member.id)), "0000000000000102");
    assert_eq!(
        hex(&encode_member(&member)),
        "01026e310108687474703a2f2f70020163016401"
    );
    let row = encode_member(&member);
    assert_eq!(decode_member(&member_key(member.id), &row), Ok(member));
    let meta = MvccMeta {
        revision: 300,
        compact_revision: -1,
    };
    assert_eq!(hex(&encode_meta(meta)), "01ac02ffffffffffffffffff01");
    assert_eq!(decode_meta(&encode_meta(meta)), Ok(meta));
    assert_eq!(hex(&encode_compacted(300)), "01ac02");
}

#[test]
fn commands_have_these_bytes() {
    let put = PutRequest {
        key: Bytes::from_static(b"k"),
        value: Bytes::from_static(b"v"),
        lease: LeaseId(3),
        prev_kv: true,
        ignore_value: false,
        ignore_lease: true,
    };
    let span = KeyRange::Span {
        start: Bytes::from_static(b"a"),
        end: Some(Bytes::from_static(b"b")),
    };
    let rest = KeyRange::Span {
        start: Bytes::from_static(b"a"),
        end: None,
    };
    let delete = DeleteRangeRequest {
        range: span.clone(),
        prev_kv: true,
    };
    let range = RangeRequest {
        limit: 1,
        revision: 2,
        sort_order: SortOrder::Descend,
        sort_target: SortTarget::Value,
        serializable: true,
        keys_only: true,
        count_only: true,
        min_mod_revision: 3,
        max_mod_revision: 4,
        min_create_revision: 5,
        max_create_revision: 6,
        range: rest,
    };
    let compare = Compare {
        range: KeyRange::One(Bytes::from_static(b"k")),
        op: CompareOp::NotEqual,
        target: CompareTarget::Value(Bytes::from_static(b"v")),
    };
    let txn = TxnRequest {
        compare: vec![
            compare,
            Compare {
                range: span,
                op: CompareOp::Less,
                target: CompareTarget::Lease(LeaseId(9)),
            },
        ],
        success: vec![Op::Range(range), Op::Put(put.clone())],
        failure: vec![
            Op::DeleteRange(delete.clone()),
            Op::Txn(TxnRequest::default()),
        ],
    };
    let publish = |log| Command::MemberPublish {
        id: MemberId(5),
        name: "n".into(),
        client_urls: vec!["u".into()],
        log,
    };
    let key = member_log_key(MemberId(5));
    assert_eq!(hex(&key), "6c6f672f0000000000000005");
    assert_eq!(decode_member_log_key(&key), Ok(MemberId(5)));
    assert_eq!(hex(&encode_member_log(300)), "01ac02");
    assert_eq!(
        decode_member_log(&encode_member_log(u64::MAX)),
        Ok(u64::MAX)
    );
    let alarm = Alarm {
        member: MemberId(5),
        kind: AlarmKind::NoSpace,
    };
    assert_eq!(hex(&alarm_key(alarm)), "000000000000000501");
    assert_eq!(decode_alarm(&alarm_key(alarm), &ALARM_RAISED), Ok(alarm));
    assert!(decode_alarm(b"12345678\x03", &ALARM_RAISED).is_err());
    let golden = [
        (Command::Put(put), "01010503016b0176"),
        (Command::DeleteRange(delete), "0102010101610162"),
        (
            Command::Txn(txn),
            "0103020300016b0301760201016101620409020807020161020401020304050601050\
            3016b01760202010101610162030000\
            00",
        ),
        (
            Command::Compact(CompactRequest {
                revision: 7,
                physical: true,
            }),
            "01040701",
        ),
        (
            Command::LeaseGrant {
                id: LeaseId(1),
                ttl: 60,
            },
            "0105013c",
        ),
        (
            Command::LeaseRevoke { id: LeaseId(-1) },
            "0106ffffffffffffffffff01",
        ),
        (publish(None), "010705016e010175"),
        (publish(Some(300)), "010c05016e010175ac02"),
        (Command::AlarmRaise(alarm), "010a0501"),
        (Command::AlarmDisarm(alarm), "010b0501"),
        (Command::Downgrade(Some("3.6.0".into())), "011005332e362e30"),
        (Command::Downgrade(None), "0111"),
        (Command::V2(v2_write()), "010d050cac02022f610176017009ac02"),
        (
            Command::V2(v2_asked()),
            "01150103616e6eac02032f612f050cac02022f610176017009ac02",
        ),
        (Command::V2Expire { id: 300 }, "010eac02"),
        (v2_auth_user(), "0114000303616e6e0101680101016100010162"),
        (v2_auth_role(), "0114000501720101022f2a000001000100"),
    ];
    for (command, bytes) in golden {
        let encoded = encode_command(&command);
        assert_eq!(hex(&encoded), bytes, "{command:?}");
        assert_eq!(decode_command(&encoded), Ok(command));
    }
    let proposal = Proposal {
        origin: MemberId(1),
        seq: 2,
        command: Bytes::from_static(&[0xee]),
    };
    let bytes = encode_proposal(&proposal);
    assert_eq!(hex(&bytes), "0100000000000000010000000000000002ee");
    assert_eq!(decode_proposal(&bytes), Ok(proposal));
}

/// The same, asked for by a user.
fn v2_asked() -> detcd_core::v2::Write {
    use detcd_core::v2::auth::{Asked, Asker};
    let asker = Asker::User {
        name: "ann".to_owned(),
        hash_index: 300,
    };
    let path = Bytes::from_static(b"/a/");
    detcd_core::v2::Write {
        asked: Some(Asked { asker, path }),
        ..v2_write()
    }
}

fn v2_auth_user() -> Command {
    use detcd_core::v2::auth::{Asker, AuthChange, AuthWrite};
    Command::V2Auth(AuthWrite {
        asker: Asker::Guest,
        change: AuthChange::PutUser {
            name: "ann".to_owned(),
            hash: Some(Bytes::from_static(b"h")),
            roles: Some(vec!["a".to_owned()]),
            grant: Vec::new(),
            revoke: vec!["b".to_owned()],
        },
    })
}

fn v2_auth_role() -> Command {
    use detcd_core::v2::auth::{Asker, AuthChange, AuthWrite, KeyPaths};
    Command::V2Auth(AuthWrite {
        asker: Asker::Guest,
        change: AuthChange::PutRole {
            name: "r".to_owned(),
            paths: KeyPaths {
                read: Some(vec!["/*".to_owned()]),
                write: None,
            },
            grant: None,
            revoke: Some(KeyPaths {
                read: None,
                write: Some(Vec::new()),
            }),
        },
    })
}

/// A compare-and-swap of `/a` with everything set but two flags.
fn v2_write() -> detcd_core::v2::Write {
    use detcd_core::v2::{Dialect, Operation, UnixNanos, Write};
    Write {
        operation: Operation::CompareAndSwap,
        time: UnixNanos(300),
        path: Bytes::from_static(b"/a"),
        value: Bytes::from_static(b"v"),
        prev_value: Bytes::from_static(b"p"),
        prev_index: 9,
        ttl: Some(300),
        dir: false,
        recursive: false,
        refresh: true,
        dialect: Dialect::default(),
        asked: None,
    }
}

#[test]
fn transactions_nest_to_the_limit_and_no_deeper() {
    // Each level but the innermost: no comparison, one operation, and after it none to fail with.
    let nested = |depth: usize| {
        let mut bytes = vec![1];
        bytes.extend([3, 0, 1].repeat(depth - 1));
        bytes.extend([3, 0, 0, 0]);
        bytes.extend(vec![0; depth - 1]);
        Bytes::from(bytes)
    };
    assert!(decode_command(&nested(TXN_DEPTH_MAX)).is_ok());
    assert!(decode_command(&nested(TXN_DEPTH_MAX + 1)).is_err());
    assert!(decode_command(&nested(1_000_000)).is_err());
}

/// Reads bytes as everything that they could be.
fn decode_all(bytes: &Bytes) {
    let revision = decode_revision(bytes).unwrap_or_default();
    let _ = decode_command(bytes);
    let _ = decode_proposal(bytes);
    let _ = decode_current(Bytes::new(), bytes);
    let _ = decode_event(revision, bytes);
    let _ = decode_is_tombstone(bytes);
    let _ = split_version_key(bytes);
    let _ = decode_lease_key(bytes);
    let _ = decode_lease_keys_key(bytes);
    let _ = decode_lease(bytes);
    let _ = decode_member(bytes, bytes);
    let _ = decode_meta(bytes);
    let _ = decode_compacted(bytes);
}

proptest! {
    #![proptest_config(config("kv-codec", 500))]

    #[test]
    fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        decode_all(&Bytes::from(bytes));
    }

    #[test]
    fn damaged_commands_never_panic(
        command in command(),
        at in any::<prop::sample::Index>(),
        flip in 1u8..,
    ) {
        let mut bytes = encode_command(&command).to_vec();
        let at = at.index(bytes.len());
        prop_assert!(decode_command(&Bytes::from(bytes[..at].to_vec())).is_err());
        bytes[at] ^= flip;
        if let Ok(other) = decode_command(&Bytes::from(bytes)) {
            prop_assert_ne!(other, command);
        }
    }

    #[test]
    fn any_transaction_survives_its_bytes(txn in any_txn()) {
        let command = Command::Txn(txn);
        prop_assert_eq!(decode_command(&encode_command(&command)), Ok(command));
    }

    #[test]
    fn keys_sort_in_the_history_as_they_do_outside(
        a in prop::collection::vec(0u8..3, 0..6),
        b in prop::collection::vec(0u8..3, 0..6),
        main in 0i64..3,
        other in 0i64..3,
    ) {
        let row = |key: &[u8], main| version_key(key, Revision { main, sub: 0 });
        prop_assert_eq!(row(&a, main).cmp(&row(&b, other)), (&a, main).cmp(&(&b, other)));
        prop_assert_eq!(version_start(&a) > row(&b, main), a > b);
        let start = version_start(&a);
        let key = row(&a, main);
        prop_assert_eq!(split_version_key(&key), Ok((&start[..], Revision { main, sub: 0 })));
    }

    #[test]
    fn rows_of_a_version_give_it_back(
        key in prop::collection::vec(any::<u8>(), 1..20),
        value in prop::collection::vec(any::<u8>(), 0..200),
        numbers in [1i64.., 0i64.., 1i64..],
        lease in any::<i64>(),
        sub in 0i64..,
    ) {
        let [create_revision, later, version] = numbers;
        let kv = KeyValue {
            key: Bytes::from(key),
            value: Bytes::from(value),
            create_revision,
            mod_revision: create_revision.saturating_add(later),
            version,
            lease: LeaseId(lease),
        };
        let rows = PutRows::new(&kv, sub);
        let whole = Version { kv: kv.clone(), sub };
        prop_assert_eq!(decode_current(kv.key.clone(), &rows.current), Ok(whole.clone()));
        let revision = decode_revision(&rows.event_key).unwrap();
        prop_assert_eq!(decode_event(revision, &rows.event), Ok(EventRow::Put(whole)));
    }
}
