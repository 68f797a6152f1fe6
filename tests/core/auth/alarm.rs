//! What a member proposes of itself is judged as the member's.

use bytes::Bytes;
use detcd_core::api::{Alarm, AlarmKind, MemberId, Millis};
use detcd_core::auth::{AuthCommand, AuthState, Principal};
use detcd_core::codec::{decode_asked, encode_command};
use detcd_core::command::Command;
use detcd_core::effect::Effect;
use detcd_core::event::{Event, Seq, V2State};
use detcd_core::node::{Node, NodeConfig, OWN_SEQ};
use std::sync::Arc;

use crate::store::Store;

const ME: MemberId = MemberId(1);

fn enabled() -> Arc<AuthState> {
    let mut store = Store::new();
    for change in [
        AuthCommand::UserAdd {
            name: "root".into(),
            password: Bytes::new(),
            no_password: false,
        },
        AuthCommand::UserGrantRole {
            user: "root".into(),
            role: "root".into(),
        },
        AuthCommand::Enable,
    ] {
        assert!(store.apply(Command::Auth(change)).outcome.result.is_ok());
    }
    store.machine.auth().clone()
}

/// What a leader whose store is full proposes when it is asked to write.
fn alarm_raised_with(auth: Arc<AuthState>) -> (Principal, Command) {
    let config = NodeConfig {
        id: ME,
        request_timeout: Millis(7_000),
        election_timeout: Millis(1_000),
        watch_progress_interval: Millis(60_000),
        fragment_bytes: 1 << 20,
        quota_bytes: Some(100),
        first_own_seq: Seq(OWN_SEQ | 1),
    };
    let rows = (&[][..], &[][..], &V2State::default());
    let mut node = Node::new(config, rows, 1, -1, 0).with_auth(auth);
    let now = Millis(0);
    let term = 1;
    node.handle(
        now,
        Event::Role {
            term,
            leader: Some(ME),
            is_leader: true,
        },
    );
    node.handle(
        now,
        Event::Write {
            seq: Seq(7),
            command: encode_command(&Command::AlarmRaise(full())),
            growth: 50,
        },
    );
    for _ in 0..10 {
        match node.poll() {
            Some(Effect::MeasureStore) => node.handle(now, Event::StoreSize { bytes: 100 }),
            Some(Effect::Propose { proposals }) => {
                return decode_asked(&proposals[0].command).unwrap();
            }
            _ => {}
        }
    }
    panic!("a full member raises the alarm");
}

fn full() -> Alarm {
    Alarm {
        member: ME,
        kind: AlarmKind::NoSpace,
    }
}

#[test]
fn member_raises_its_own_alarm_whether_authentication_is_on_or_off() {
    let raised = Command::AlarmRaise(full());
    let (principal, command) = alarm_raised_with(enabled());
    assert_eq!((principal, &command), (Principal::Member, &raised));
    let (principal, command) = alarm_raised_with(Arc::default());
    assert_eq!((principal, &command), (Principal::Anonymous, &raised));
}
