//! Stored bytes: what they are, and that garbage is refused and never panics.

use crate::generate::{asker, command, config};
use crate::store::Store;
use bytes::Bytes;
use detcd_core::api::KeyRange;
use detcd_core::auth::{
    AuthCommand, AuthInfo, AuthState, META_AUTH, Permission, PermissionKind, Principal,
};
use detcd_core::codec::{check_row, decode_asked, decode_command, encode_asked, encode_command};
use detcd_core::command::Command;
use detcd_core::view::Table;
use proptest::prelude::*;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn permission() -> Permission {
    Permission {
        kind: PermissionKind::ReadWrite,
        range: KeyRange::of(Bytes::from_static(b"a"), Bytes::from_static(b"b")),
    }
}

fn grant(user: &str, role: &str) -> AuthCommand {
    AuthCommand::UserGrantRole {
        user: user.into(),
        role: role.into(),
    }
}

fn user_add(name: &str, no_password: bool) -> AuthCommand {
    let password = if no_password { &b""[..] } else { b"$h" };
    AuthCommand::UserAdd {
        name: name.into(),
        password: Bytes::from_static(password),
        no_password,
    }
}

#[test]
fn commands_have_these_bytes() {
    let golden = [
        (AuthCommand::Enable, "010f01"),
        (AuthCommand::Disable, "010f02"),
        (
            AuthCommand::Authenticate {
                user: "u".into(),
                token_prefix: "t".into(),
                checked_revision: 300,
            },
            "010f0301750174ac02",
        ),
        (user_add("u", false), "010f04017502246800"),
        (user_add("u", true), "010f0401750001"),
        (AuthCommand::UserDelete { name: "u".into() }, "010f050175"),
        (
            AuthCommand::UserChangePassword {
                name: "u".into(),
                password: Bytes::from_static(b"$h"),
            },
            "010f060175022468",
        ),
        (grant("u", "r"), "010f0701750172"),
        (
            AuthCommand::UserRevokeRole {
                user: "u".into(),
                role: "r".into(),
            },
            "010f0801750172",
        ),
        (AuthCommand::RoleAdd { name: "r".into() }, "010f090172"),
        (AuthCommand::RoleDelete { name: "r".into() }, "010f0a0172"),
        (
            AuthCommand::RoleGrantPermission {
                role: "r".into(),
                permission: Some(permission()),
            },
            "010f0b017201030101610162",
        ),
        (
            AuthCommand::RoleGrantPermission {
                role: "r".into(),
                permission: None,
            },
            "010f0b017200",
        ),
        (
            AuthCommand::RoleRevokePermission {
                role: "r".into(),
                range: KeyRange::One(Bytes::from_static(b"k")),
            },
            "010f0c017200016b",
        ),
    ];
    for (command, bytes) in golden {
        let command = Command::Auth(command);
        let encoded = encode_command(&command);
        assert_eq!(hex(&encoded), bytes, "{command:?}");
        assert_eq!(decode_command(&encoded), Ok(command));
    }
}

#[test]
fn principals_stand_in_front_and_earlier_commands_have_none() {
    let command = Command::Auth(AuthCommand::Enable);
    let user = Principal::User(AuthInfo {
        user: "u".into(),
        revision: 300,
    });
    let golden = [
        (Principal::Anonymous, "010f01"),
        (Principal::Member, "02010f01"),
        (user, "0202ac0201750f01"),
    ];
    for (principal, bytes) in golden {
        let encoded = encode_asked(&principal, &command);
        assert_eq!(hex(&encoded), bytes);
        assert_eq!(decode_asked(&encoded), Ok((principal, command.clone())));
    }
}

#[test]
fn rows_have_these_bytes() {
    let mut store = Store::new();
    let changes = [
        AuthCommand::RoleAdd { name: "r".into() },
        AuthCommand::RoleGrantPermission {
            role: "r".into(),
            permission: Some(permission()),
        },
        user_add("root", false),
        user_add("u", true),
        grant("root", "root"),
        grant("u", "r"),
        AuthCommand::Enable,
    ];
    for change in changes {
        let applied = store.apply(Command::Auth(change));
        assert!(applied.outcome.result.is_ok());
    }
    let rows = |table| {
        let rows = store.rows(table);
        let mut shown = rows.into_iter().map(|(key, row)| {
            assert_eq!(check_row(table, &key, &row), Ok(()));
            format!("{} {}", key.escape_ascii(), hex(&row))
        });
        shown.by_ref().collect::<Vec<_>>()
    };
    assert_eq!(rows(Table::Meta), ["auth 01010700"]);
    assert_eq!(
        rows(Table::User),
        ["root 0102246800040104726f6f74", "u 01000105010172"]
    );
    assert_eq!(rows(Table::Role), ["r 0101030101610162"]);
}

#[test]
fn data_without_users_is_as_before() {
    let auth = AuthState::load(&Store::new().tables).unwrap();
    assert_eq!(auth, AuthState::default());
    assert_eq!((auth.is_enabled(), auth.revision()), (false, 1));
}

#[test]
fn rows_are_told_from_garbage() {
    let garbage = Bytes::from_static(b"\xff garbage");
    let name = Bytes::from_static(b"name");
    for (table, key) in [
        (Table::User, name.clone()),
        (Table::Role, name),
        (Table::Meta, Bytes::from_static(META_AUTH)),
    ] {
        assert!(check_row(table, &key, &garbage).is_err());
    }
}

proptest! {
    #![proptest_config(config(300))]

    #[test]
    fn damaged_commands_never_panic(
        (asker, command) in (asker(), command()),
        at in any::<prop::sample::Index>(),
        flip in 1u8..,
    ) {
        let asked = (asker.principal(9), command);
        let mut bytes = encode_asked(&asked.0, &asked.1).to_vec();
        let at = at.index(bytes.len());
        prop_assert!(decode_asked(&Bytes::from(bytes[..at].to_vec())).is_err());
        bytes[at] ^= flip;
        if let Ok(other) = decode_asked(&Bytes::from(bytes)) {
            prop_assert_ne!(other, asked);
        }
    }
}
