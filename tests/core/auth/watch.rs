//! Watchers see what their client may read, and nothing after that was taken back.

use crate::store::Store;
use bytes::Bytes;
use detcd_core::api::*;
use detcd_core::auth::{AuthCommand, AuthInfo, Permission, PermissionKind, Principal};
use detcd_core::command::Command;
use detcd_core::effect::Effect;
use detcd_core::error::Error;
use detcd_core::watch::{Hub, HubConfig};
use std::sync::Arc;

const STREAM: StreamId = StreamId(1);
const DENIED: &str = "rpc error: code = PermissionDenied desc = etcdserver: permission denied";

struct Session {
    store: Store,
    hub: Hub,
}

impl Session {
    /// Authentication is on, and alice may read `k`.
    fn new() -> Session {
        let store = Store::new();
        let mut hub = Hub::new(HubConfig::new(Millis(1_000), 1 << 20), 1, -1);
        hub.open(STREAM);
        let mut session = Session { store, hub };
        for (user, role) in [("root", "root"), ("alice", "r")] {
            session.change(AuthCommand::RoleAdd { name: role.into() });
            session.change(AuthCommand::UserAdd {
                name: user.into(),
                password: Bytes::new(),
                no_password: false,
            });
            session.change(AuthCommand::UserGrantRole {
                user: user.into(),
                role: role.into(),
            });
        }
        session.grant();
        session
    }

    fn grant(&mut self) {
        self.change(AuthCommand::RoleGrantPermission {
            role: "r".into(),
            permission: Some(Permission {
                kind: PermissionKind::Read,
                range: one("k"),
            }),
        });
    }

    fn change(&mut self, command: AuthCommand) {
        let command = (Principal::Member, Command::Auth(command));
        let applied = self.store.apply_batch_for(&[command]).remove(0);
        self.hub.auth_changed(applied.auth.expect("a change").state);
        self.hub.check();
    }

    fn put(&mut self) {
        let put = PutRequest {
            key: Bytes::from_static(b"k"),
            ..PutRequest::default()
        };
        let put = (Principal::Member, Command::Put(put));
        let applied = self.store.apply_batch_for(&[put]).remove(0);
        self.hub.changes(applied.outcome.revision, &applied.changes);
    }

    fn watch(&mut self, user: Option<&str>, range: KeyRange) -> Vec<WatchResponse> {
        let create = WatchCreate {
            id: WatchId(0),
            range,
            start_revision: 0,
            progress_notify: false,
            no_put: false,
            no_delete: false,
            prev_kv: false,
            fragment: false,
        };
        let principal = user.map(|user| {
            Arc::new(Principal::User(AuthInfo {
                user: user.into(),
                revision: 1,
            }))
        });
        let create = WatchRequest::Create(create);
        self.hub.request_for(Millis(0), STREAM, create, principal);
        self.told()
    }

    fn told(&mut self) -> Vec<WatchResponse> {
        self.hub.check();
        let effects = std::iter::from_fn(|| self.hub.poll());
        let responses = effects.map(|effect| match effect {
            Effect::WatchSend { response, .. } => response,
            other => panic!("{other:?}"),
        });
        responses.collect()
    }
}

fn one(key: &'static str) -> KeyRange {
    KeyRange::One(Bytes::from_static(key.as_bytes()))
}

fn is_refused(told: &[WatchResponse], reason: &str) -> bool {
    let [told] = told else { return false };
    told.created && told.canceled && told.watch_id == -1 && told.cancel_reason == reason
}

#[test]
fn watcher_is_created_for_whoever_may_read() {
    let mut session = Session::new();
    session.change(AuthCommand::Enable);
    let from_k = KeyRange::Span {
        start: Bytes::from_static(b"k"),
        end: None,
    };
    // The permission to read one key opens no watch of those behind it.
    assert!(is_refused(
        &session.watch(Some("alice"), from_k.clone()),
        DENIED
    ));
    assert!(is_refused(&session.watch(Some("alice"), one("l")), DENIED));
    assert!(is_refused(&session.watch(Some("nobody"), one("k")), DENIED));
    let anonymous = "rpc error: code = InvalidArgument desc = etcdserver: user name is empty";
    assert!(is_refused(&session.watch(None, one("k")), anonymous));
    for (user, range) in [("alice", one("k")), ("root", from_k)] {
        let [created] = &session.watch(Some(user), range)[..] else {
            panic!("{user} may watch");
        };
        assert!(created.created && !created.canceled);
    }
}

#[test]
fn watcher_ends_when_its_permission_is_taken_back() {
    let mut session = Session::new();
    session.change(AuthCommand::Enable);
    session.watch(Some("alice"), one("k"));
    session.put();
    assert_eq!(session.told()[0].events.len(), 1);
    session.change(AuthCommand::RoleRevokePermission {
        role: "r".into(),
        range: one("k"),
    });
    session.put();
    let [ended] = &session.told()[..] else {
        panic!("it is told of its end alone");
    };
    assert!(ended.canceled && ended.cancel_reason == DENIED && ended.events.is_empty());
    session.grant();
    session.put();
    assert_eq!(session.told(), []);
}

#[test]
fn watchers_that_nobody_answers_for_end_when_authentication_is_switched_on() {
    let mut session = Session::new();
    session.watch(None, one("k"));
    session.change(AuthCommand::Enable);
    session.put();
    let told = session.told();
    assert!(told.len() == 1 && told[0].canceled, "{told:?}");
}

#[test]
fn client_that_is_not_who_it_says_is_refused() {
    let mut session = Session::new();
    session.hub.refuse(STREAM, &Error::InvalidAuthToken);
    let reason = "rpc error: code = Unauthenticated desc = etcdserver: invalid auth token";
    assert!(is_refused(&session.told(), reason));
}
