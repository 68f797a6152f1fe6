//! A history that is right, and what the check says of each way to make it wrong.

use super::check;
use crate::check::{Clocks, Facts};
use crate::history::History;
use crate::v2_calls::{
    V2Event, V2Followed, V2History, V2Life, V2Node, V2Operation, V2Reply, decode_reply,
};
use bytes::Bytes;
use detcd_service::{KeysMethod, KeysRequest};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn file(key: &'static str, value: &'static str, modified: u64, created: u64) -> V2Node {
    V2Node {
        key: Bytes::from_static(key.as_bytes()),
        value: Some(Bytes::from_static(value.as_bytes())),
        modified,
        created,
        ..V2Node::default()
    }
}

fn event(action: &str, node: V2Node, prev: Option<V2Node>) -> V2Event {
    V2Event {
        action: action.to_owned(),
        node,
        prev,
    }
}

fn operation(at: u64, request: KeysRequest, index: u64, event: V2Event) -> V2Operation {
    V2Operation {
        client: "u-0".to_owned(),
        called: SECOND * at as u32,
        ended: SECOND * at as u32 + SECOND / 2,
        request,
        reply: Some(V2Reply::Done {
            index,
            event: Box::new(event),
        }),
    }
}

fn request(method: KeysMethod, path: &'static str) -> KeysRequest {
    KeysRequest::new(method, Bytes::from_static(path.as_bytes()))
}

/// Sets, swaps, reads, and a directory that ends: indexes 4 to 7.
fn right() -> V2History {
    let set = KeysRequest {
        value: Bytes::from_static(b"one"),
        ..request(KeysMethod::Put, "/k0")
    };
    let swap = KeysRequest {
        value: Bytes::from_static(b"two"),
        prev_index: 4,
        ..request(KeysMethod::Put, "/k0")
    };
    let read = KeysRequest {
        quorum: true,
        ..request(KeysMethod::Get, "/k0")
    };
    let wait = KeysRequest {
        wait: true,
        wait_index: 5,
        ..request(KeysMethod::Get, "/k0")
    };
    let mortal = KeysRequest {
        dir: true,
        ttl: Some(3),
        ..request(KeysMethod::Put, "/t")
    };
    let directory = V2Node {
        value: None,
        dir: true,
        expiration: 17,
        ttl: 3,
        ..file("/t", "", 6, 6)
    };
    let gone = V2Node {
        expiration: 0,
        ttl: 0,
        modified: 7,
        ..directory.clone()
    };
    let (one, two) = (file("/k0", "one", 4, 4), file("/k0", "two", 5, 4));
    let set_event = event("set", one.clone(), None);
    let swap_event = event("compareAndSwap", two.clone(), Some(one));
    let mortal_event = event("set", directory.clone(), None);
    let expire = event("expire", gone, Some(directory));
    let events = vec![
        set_event.clone(),
        swap_event.clone(),
        mortal_event.clone(),
        expire,
    ];
    let followed = |client: &str| V2Followed {
        client: client.to_owned(),
        end: Some(7),
        events: events.clone(),
        gaps: Vec::new(),
    };
    V2History {
        operations: vec![
            operation(1, set, 4, set_event),
            operation(2, swap, 5, swap_event.clone()),
            operation(3, wait, 5, swap_event),
            operation(4, read, 5, event("get", two, None)),
            operation(5, mortal, 6, mortal_event),
        ],
        followed: vec![followed("f-0"), followed("f-1")],
        lives: vec![V2Life {
            client: "u-0".to_owned(),
            key: Bytes::from_static(b"/t"),
            ttl_s: 3,
            set: SECOND * 5,
            begun: SECOND * 6,
            seen: Some(SECOND * 7),
            gone: Some(SECOND * 9),
        }],
    }
}

fn found(v2: V2History) -> String {
    let mut history = History {
        v2,
        ..History::default()
    };
    history.run_facts.calm_since = Some(Duration::ZERO);
    let findings = check(&Facts::of(&history, Clocks::TRUE));
    findings
        .iter()
        .map(|one| format!("{}\n", one.what))
        .collect()
}

/// What is found once something of the right history is forged.
fn forged(forge: impl FnOnce(&mut V2History)) -> String {
    let mut history = right();
    forge(&mut history);
    found(history)
}

fn reply(history: &mut V2History, at: usize) -> (&mut u64, &mut V2Event) {
    match &mut history.operations[at].reply {
        Some(V2Reply::Done { index, event }) => (index, event),
        _ => panic!("all are done"),
    }
}

#[test]
fn what_is_right_is_found_right() {
    assert_eq!(found(right()), "");
}

#[test]
fn followers_miss_and_repeat_nothing() {
    let missed = forged(|it| drop(it.followed[1].events.remove(1)));
    assert!(missed.contains("f-1 is never told of"), "{missed}");
    let repeated = forged(|it| {
        let event = it.followed[1].events[1].clone();
        it.followed[1].events.insert(2, event);
    });
    assert!(repeated.contains("after index 5"), "{repeated}");
    let differs = forged(|it| it.followed[1].events[1].action = "set".to_owned());
    assert!(differs.contains("another follower"), "{differs}");
    // What the other one heard fills the gap.
    let filled = forged(|it| {
        it.followed[1].events.remove(1);
        it.followed[1].gaps.push((5, 6));
    });
    assert_eq!(filled, "");
}

#[test]
fn writes_are_what_was_asked_for() {
    let other_index = forged(|it| it.operations[1].request.prev_index = 3);
    assert!(other_index.contains("asked for Err(101)"), "{other_index}");
    let lost = forged(|it| {
        for one in &mut it.followed {
            one.events.remove(1);
        }
    });
    assert!(lost.contains("was told of"), "{lost}");
    let twice = forged(|it| {
        for one in &mut it.followed {
            let node = file("/k0", "two", 8, 4);
            let prev = Some(file("/k0", "two", 5, 4));
            one.events.push(event("set", node, prev.clone()));
            let node = file("/k0", "two", 9, 9);
            one.events.push(event("create", node, None));
            one.end = Some(9);
        }
    });
    assert!(twice.contains("a write is done twice"), "{twice}");
    assert!(twice.contains("is not one of what was there"), "{twice}");
}

#[test]
fn quorum_reads_show_the_newest() {
    let stale = forged(|it| *reply(it, 3).0 = 4);
    assert!(stale.contains("was answered with index 4"), "{stale}");
    let wrong = forged(|it| reply(it, 3).1.node = file("/k0", "one", 4, 4));
    assert!(wrong.contains("looked at"), "{wrong}");
    let refused = forged(|it| {
        it.operations[3].reply = Some(V2Reply::Refused {
            code: 100,
            index: 5,
        });
    });
    assert!(refused.contains("looked at"), "{refused}");
}

#[test]
fn who_waits_is_told_of_the_first() {
    let late = forged(|it| it.operations[2].request.wait_index = 4);
    assert!(late.contains("waited from 4 on"), "{late}");
    let early = forged(|it| it.operations[2].request.wait_index = 6);
    assert!(early.contains("waited from 6 on"), "{early}");
}

#[test]
fn nodes_live_their_time() {
    let early = forged(|it| it.lives[0].gone = Some(SECOND * 7));
    assert!(early.contains("is gone before its time"), "{early}");
    let late = forged(|it| {
        it.lives[0].gone = None;
        it.lives[0].seen = Some(SECOND * 15);
    });
    assert!(late.contains("outlives its time"), "{late}");
}

#[test]
fn what_is_no_reply_is_refused() {
    assert!(decode_reply(&Bytes::from_static(b"\x01")).is_err());
}
