//! Member rows, and entries that are no commands.

use crate::store::{Store, Tables};
use bytes::Bytes;
use detcd_core::api::{Member, MemberId, Reply};
use detcd_core::command::{Command, Proposal};
use detcd_core::error::Error;
use detcd_core::machine::Machine;
use detcd_core::overlay::Overlay;
use detcd_core::query;
use std::collections::BTreeSet;

fn member(id: u64) -> Member {
    let peer_urls = vec![format!("http://peer{id}")];
    Member {
        id: MemberId(id),
        peer_urls,
        ..Member::default()
    }
}

fn set(store: &mut Store, members: &[Member]) {
    let mut overlay = Overlay::new(&store.tables);
    store
        .machine
        .apply_membership(members, &mut overlay)
        .unwrap();
    let batch = overlay.into_batch();
    store.tables.write(batch);
}

fn publish(id: u64, name: &str) -> Command {
    publish_log(id, name, None)
}

fn publish_log(id: u64, name: &str, log: Option<u64>) -> Command {
    let client_urls = vec![format!("http://client{id}")];
    Command::MemberPublish {
        id: MemberId(id),
        name: name.into(),
        client_urls,
        log,
    }
}

#[test]
fn the_first_log_number_of_a_member_stays_until_it_is_removed() {
    let mut store = Store::new();
    let log = |store: &Store| query::member_log(&store.tables, MemberId(2)).unwrap();
    set(&mut store, &[member(1), member(2)]);
    store.apply(publish(2, "two"));
    assert_eq!(log(&store), None, "builds before published none");
    store.apply(publish_log(2, "two", Some(70)));
    assert_eq!(log(&store), Some(70));
    store.apply(publish_log(2, "zwei", Some(71)));
    assert_eq!(log(&store), Some(70));
    store.apply(publish(2, "two"));
    assert_eq!(log(&store), Some(70));
    set(&mut store, &[member(1)]);
    assert_eq!(log(&store), None);
    let late = store.apply(publish_log(2, "two", Some(70)));
    assert_eq!(late.outcome.result, Err(Error::MemberNotFound));
    assert_eq!(log(&store), None);
}

#[test]
fn a_membership_keeps_what_its_members_published() {
    let mut store = Store::new();
    set(&mut store, &[member(1), member(2)]);
    let published = store.apply(publish(2, "two"));
    assert_eq!(published.outcome.result, Ok(Reply::Done));
    assert_eq!(published.outcome.revision, 1);
    let two = Member {
        name: "two".into(),
        client_urls: vec!["http://client2".into()],
        ..member(2)
    };
    assert_eq!(
        query::members(&store.tables),
        Ok(vec![member(1), two.clone()])
    );

    let moved = Member {
        peer_urls: vec!["http://elsewhere".into()],
        is_learner: true,
        ..member(2)
    };
    set(&mut store, &[moved.clone(), member(3)]);
    let kept = Member {
        name: two.name,
        client_urls: two.client_urls,
        ..moved
    };
    assert_eq!(query::members(&store.tables), Ok(vec![kept, member(3)]));
}

#[test]
fn who_was_removed_is_remembered_for_ever() {
    let mut store = Store::new();
    set(&mut store, &[member(1), member(2), member(3)]);
    assert_eq!(query::removed(&store.tables), Ok(BTreeSet::new()));
    set(&mut store, &[member(1), member(3)]);
    set(&mut store, &[member(1)]);
    let removed = BTreeSet::from([MemberId(2), MemberId(3)]);
    assert_eq!(query::removed(&store.tables), Ok(removed));
}

#[test]
fn who_is_no_member_publishes_nothing() {
    let mut store = Store::new();
    let published = store.apply(publish(9, "nine"));
    assert_eq!(published.outcome.result, Err(Error::MemberNotFound));
    assert_eq!(query::members(&store.tables), Ok(vec![]));
}

#[test]
fn an_entry_without_a_command_changes_nothing() {
    let tables = Tables::default();
    let mut machine = Machine::load(&tables).unwrap();
    let mut overlay = Overlay::new(&tables);
    let applied = machine.apply(1, None, &mut overlay).unwrap();
    assert_eq!(applied.outcome.result, Ok(Reply::Done));
    assert_eq!(applied.origin, None);
    assert!(overlay.into_batch().is_empty());
}

#[test]
fn an_entry_that_cannot_be_read_halts_the_member_and_is_named() {
    let tables = Tables::default();
    let mut machine = Machine::load(&tables).unwrap();
    let mut overlay = Overlay::new(&tables);
    let command = Bytes::from_static(&[9, 9, 9]);
    let proposal = Proposal {
        origin: MemberId(1),
        seq: 1,
        command,
    };
    let fault = machine
        .apply(42, Some(&proposal), &mut overlay)
        .unwrap_err();
    assert_eq!(
        fault.to_string(),
        "log entry 42: cannot decode a command of 3 bytes: format 9 instead of 1 at byte 1"
    );
}
