//! The formats: golden bytes, which must never change, and round trips of anything.

use crate::types::{
    Command, Entry, Membership, Payload, Peer, StoredMembership, Types, Vote, log_id,
};
use crate::{is_heartbeat, message, meta, payload};
use bytes::Bytes;
use detcd_core::api::MemberId;
use detcd_core::command::Proposal;
use detcd_core::encoding::{Reader, Writer};
use detcd_peer::Kind;
use openraft::EntryPayload;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, TransferLeaderError, TransferLeaderRequest,
    VoteRequest, VoteResponse,
};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use std::collections::{BTreeMap, BTreeSet};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn command(seq: u64, text: &'static [u8]) -> Command {
    let command = Bytes::from_static(text);
    payload::encode_proposal(&Proposal {
        origin: MemberId(0x0a),
        seq,
        command,
    })
}

fn membership() -> Membership {
    let peer = |name: &str, urls: &[&str]| Peer {
        name: name.to_owned(),
        peer_urls: urls.iter().map(|url| (*url).to_owned()).collect(),
        learner: false,
    };
    let nodes = BTreeMap::from([
        (1, peer("a", &["http://a", "http://b"])),
        (2, peer("", &[])),
    ]);
    Membership::new(vec![BTreeSet::from([1]), BTreeSet::from([1, 2])], nodes).unwrap()
}

fn append() -> AppendEntriesRequest<Types> {
    AppendEntriesRequest {
        vote: Vote::new_committed(3, 0x0a),
        prev_log_id: Some(log_id(2, 6)),
        leader_commit: Some(log_id(2, 5)),
        entries: vec![
            Entry {
                log_id: log_id(3, 7),
                payload: EntryPayload::Blank,
            },
            Entry {
                log_id: log_id(3, 8),
                payload: EntryPayload::Normal(command(9, b"put")),
            },
        ],
    }
}

#[test]
fn golden_payloads() {
    assert_eq!(hex(&payload::encode(&EntryPayload::Blank)), "f0");
    assert_eq!(
        hex(&payload::encode(&EntryPayload::Normal(command(9, b"put")))),
        "01000000000000000a0000000000000009707574"
    );
    assert_eq!(
        hex(&payload::encode(&EntryPayload::Membership(membership()))),
        "f1\
         00000002\
         000000010000000000000001\
         0000000200000000000000010000000000000002\
         00000002\
         00000000000000010000000161\
         0000000200000008687474703a2f2f6100000008687474703a2f2f62\
         00000000000000020000000000000000"
    );
    let learner = Peer {
        learner: true,
        ..Peer::default()
    };
    let voter = Peer::default();
    let nodes = BTreeMap::from([(1, voter), (2, learner)]);
    let membership = Membership::new(vec![BTreeSet::from([1])], nodes).unwrap();
    assert_eq!(
        hex(&payload::encode(&EntryPayload::Membership(membership))),
        "f1\
         80000001\
         000000010000000000000001\
         00000002\
         0000000000000001000000000000000000\
         0000000000000002000000000000000001"
    );
}

#[test]
fn golden_messages() {
    assert_eq!(
        hex(&message::encode_append(&append(), 6)),
        "02\
         0000000000000003000000000000000a01\
         0100000000000000020000000000000006\
         0100000000000000020000000000000005\
         0000000000000006\
         000000020000000000000007\
         000000000000000300000001f0\
         00000000000000030000001401000000000000000a0000000000000009707574"
    );
    let vote = Vote::new(4, 0x0b);
    let request = VoteRequest {
        vote,
        last_log_id: Some(log_id(3, 8)),
        leadership_transfer: true,
    };
    assert_eq!(
        hex(&message::encode_vote_request(&request)),
        "01\
         0000000000000004000000000000000b00\
         010000000000000003000000000000000801"
    );
    let response = VoteResponse {
        vote,
        vote_granted: true,
        last_log_id: None,
    };
    assert_eq!(
        hex(&message::encode_vote_response(&response)),
        "010000000000000004000000000000000b000100"
    );
    let transfer = TransferLeaderRequest::new(vote, 0x0c, Some(log_id(3, 8)));
    assert_eq!(
        hex(&message::encode_transfer(&transfer)),
        "01\
         0000000000000004000000000000000b00\
         000000000000000c\
         0100000000000000030000000000000008"
    );
    assert_eq!(
        hex(&message::encode_vote(&vote)),
        "010000000000000004000000000000000b00"
    );
}

#[test]
fn golden_rows() {
    let (key, row) = meta::applied_row(&log_id(3, 8));
    assert_eq!(&key[..], b"raft/applied");
    assert_eq!(hex(&row), "010100000000000000030000000000000008");
    let (key, row) = meta::membership_row(&StoredMembership::new(
        Some(log_id(3, 8)),
        Membership::new(
            vec![BTreeSet::from([1])],
            BTreeMap::from([(1, Peer::default())]),
        )
        .unwrap(),
    ));
    assert_eq!(&key[..], b"raft/membership");
    assert_eq!(
        hex(&row),
        "01\
         0100000000000000030000000000000008\
         00000001000000010000000000000001\
         0000000100000000000000010000000000000000"
    );
}

#[test]
fn answers_round_trip() {
    let vote = Vote::new_committed(5, 2);
    for response in [
        AppendEntriesResponse::Success,
        AppendEntriesResponse::PartialSuccess(None),
        AppendEntriesResponse::PartialSuccess(Some(log_id(1, 2))),
        AppendEntriesResponse::Conflict,
        AppendEntriesResponse::HigherVote(vote),
    ] {
        let bytes = message::encode_append_response(&response);
        assert_eq!(message::decode_append_response(bytes).unwrap(), response);
    }
    for response in [
        Ok(()),
        Err(TransferLeaderError::VoteChanged {
            expected: vote,
            actual: Vote::new(6, 1),
        }),
        Err(TransferLeaderError::LogNotFlushed {
            expected: Some(log_id(1, 1)),
            actual: None,
        }),
    ] {
        let bytes = message::encode_transfer_response(&response);
        assert_eq!(message::decode_transfer_response(bytes).unwrap(), response);
    }
}

#[test]
fn entries_that_do_not_follow_their_predecessor_are_refused() {
    let mut request = append();
    request.prev_log_id = Some(log_id(2, 7));
    let error = message::decode_append(message::encode_append(&request, 6)).unwrap_err();
    assert!(error.to_string().contains("do not follow"), "{error}");
}

fn config() -> ProptestConfig {
    let file = "../../proptest-regressions/raft-bytes.txt";
    ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(file))),
        ..ProptestConfig::default()
    }
}

fn any_log_id() -> impl Strategy<Value = crate::types::LogId> {
    (any::<u64>(), 0..u64::MAX - 1_000_000).prop_map(|(term, index)| log_id(term, index))
}

fn any_vote() -> impl Strategy<Value = Vote> {
    (any::<u64>(), any::<u64>(), any::<bool>()).prop_map(|(term, node, committed)| {
        if committed {
            Vote::new_committed(term, node)
        } else {
            Vote::new(term, node)
        }
    })
}

fn any_membership() -> impl Strategy<Value = Membership> {
    let urls = proptest::collection::vec(".{0,16}", 0..3);
    let peer = (".{0,8}", urls, any::<bool>()).prop_map(|(name, peer_urls, learner)| Peer {
        name,
        peer_urls,
        learner,
    });
    proptest::collection::btree_map(any::<u64>(), peer, 1..6).prop_flat_map(|nodes| {
        let ids: Vec<u64> = nodes.keys().copied().collect();
        let voters = proptest::sample::subsequence(ids.clone(), 1..=ids.len())
            .prop_map(|ids| ids.into_iter().collect::<BTreeSet<u64>>());
        proptest::collection::vec(voters, 1..3)
            .prop_map(move |configs| Membership::new(configs, nodes.clone()).unwrap())
    })
}

fn any_payload() -> impl Strategy<Value = Payload> {
    let proposal = (
        any::<u64>(),
        any::<u64>(),
        proptest::collection::vec(any::<u8>(), 0..64),
    );
    prop_oneof![
        Just(EntryPayload::Blank),
        proposal.prop_map(|(origin, seq, command)| {
            let command = Bytes::from(command);
            let proposal = Proposal {
                origin: MemberId(origin),
                seq,
                command,
            };
            EntryPayload::Normal(payload::encode_proposal(&proposal))
        }),
        any_membership().prop_map(EntryPayload::Membership),
    ]
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn payloads_round_trip(payload in any_payload()) {
        let bytes = payload::encode(&payload);
        prop_assert_eq!(payload::decode(bytes).unwrap(), payload);
    }

    #[test]
    fn appends_round_trip(
        vote in any_vote(),
        prev in proptest::option::of(any_log_id()),
        commit in proptest::option::of(any_log_id()),
        payloads in proptest::collection::vec((any::<u64>(), any_payload()), 0..5),
    ) {
        let first = prev.map_or(0, |prev| prev.index() + 1);
        let entries = payloads
            .into_iter()
            .zip(first..)
            .map(|((term, payload), index)| Entry { log_id: log_id(term, index), payload })
            .collect();
        let request =
            AppendEntriesRequest::<Types> { vote, prev_log_id: prev, leader_commit: commit, entries };
        let encoded = message::encode_append(&request, 6);
        // The first entries of a log are told apart by no length, but they are sent once.
        if prev.is_some() && commit.is_some() {
            let is_empty = request.entries.is_empty();
            prop_assert_eq!(is_heartbeat(Kind::AppendEntries, &encoded), is_empty);
        }
        let (decoded, acknowledged) = message::decode_append(encoded).unwrap();
        prop_assert_eq!(acknowledged, 6);
        prop_assert_eq!(decoded.vote, request.vote);
        prop_assert_eq!(decoded.prev_log_id, request.prev_log_id);
        prop_assert_eq!(decoded.leader_commit, request.leader_commit);
        prop_assert_eq!(decoded.entries, request.entries);
    }

    #[test]
    fn votes_round_trip(
        vote in any_vote(),
        last in proptest::option::of(any_log_id()),
        flag in any::<bool>(),
    ) {
        prop_assert_eq!(message::decode_vote(message::encode_vote(&vote)).unwrap(), vote);
        let request = VoteRequest::<Types> { vote, last_log_id: last, leadership_transfer: flag };
        let bytes = message::encode_vote_request(&request);
        prop_assert_eq!(message::decode_vote_request(bytes).unwrap(), request);
        let response = VoteResponse::<Types> { vote, vote_granted: flag, last_log_id: last };
        let bytes = message::encode_vote_response(&response);
        prop_assert_eq!(message::decode_vote_response(bytes).unwrap(), response);
    }

    #[test]
    fn memberships_round_trip(
        log_id in proptest::option::of(any_log_id()),
        membership in any_membership(),
    ) {
        let stored = StoredMembership::new(log_id, membership);
        let mut out = Writer::default();
        meta::put_stored_membership(&mut out, &stored);
        let bytes = out.finish();
        let mut reader = Reader::new("membership", &bytes);
        prop_assert_eq!(meta::read_stored_membership(&mut reader).unwrap(), stored);
        reader.end().unwrap();
    }

    /// Cut or bent anywhere, bytes are refused or decode to something; nothing panics, and no
    /// count makes the decoder allocate what the bytes cannot hold.
    #[test]
    fn garbage_never_panics(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let whole = message::encode_append(&append(), 6);
        let at = at.index(whole.len());
        prop_assert!(message::decode_append(whole.slice(..at)).is_err());
        let mut bent = whole.to_vec();
        bent[at] = byte;
        let _ = message::decode_append(Bytes::from(bent));
        let whole = payload::encode(&EntryPayload::Membership(membership()));
        let mut bent = whole.to_vec();
        let at = at % bent.len();
        bent[at] = byte;
        let _ = payload::decode(Bytes::from(bent));
    }
}
