//! Each rule, and what it must let pass.

use super::{
    INDEX_LEAP_MAX, INDEX_MAX, Known, Refusal, TERM_LEAP_MAX, TERM_MAX, answer, append, entry,
    snapshot, vote,
};
use crate::payload;
use crate::snapshot::Header;
use crate::types::{
    Command, Entry, LogId, Membership, Peer, SnapshotMeta, StoredMembership, Types, Vote, log_id,
};
use bytes::Bytes;
use detcd_core::api::{MemberId, PutRequest};
use detcd_core::codec::encode_command;
use detcd_core::command::{Command as CoreCommand, Proposal};
use detcd_core::view::{Batch, Table};
use openraft::EntryPayload;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, TransferLeaderRequest, VoteRequest, VoteResponse,
};
use std::collections::{BTreeMap, BTreeSet};

const SELF: u64 = 1;
const LEADER: u64 = 2;
const STRANGER: u64 = 9;

/// Member 1 of three in term 5. Its log has entries of terms 1 to 4, up to 40; those to 20 are
/// committed, and those to 10 purged.
struct Member {
    vote: Option<Vote>,
    last: Option<LogId>,
    committed: Option<LogId>,
    accepted: Option<LogId>,
    is_founded: bool,
}

impl Member {
    fn new() -> Member {
        Member {
            vote: Some(Vote::new_committed(5, LEADER)),
            last: Some(log_id(4, 40)),
            committed: Some(log_id(2, 20)),
            accepted: Some(log_id(3, 25)),
            is_founded: true,
        }
    }

    /// A member that was added, and has heard from nobody.
    fn newcomer() -> Member {
        Member {
            vote: None,
            last: None,
            committed: None,
            accepted: None,
            is_founded: false,
        }
    }

    fn checks<R>(&self, check: impl FnOnce(&Known<'_>) -> R) -> R {
        check(&Known {
            id: SELF,
            vote: self.vote,
            last: self.last,
            committed: self.committed,
            accepted: self.accepted,
            is_founded: self.is_founded,
            is_member: &|id| (1..=3).contains(&id),
            term_at: &|index| (10..=40).contains(&index).then(|| index.div_ceil(10)),
        })
    }

    fn append(
        &self,
        from: u64,
        request: &AppendEntriesRequest<Types>,
        acknowledged: u64,
    ) -> Result<(), Refusal> {
        self.checks(|known| append::check(from, request, acknowledged, known))
    }

    fn votes(&self, request: &VoteRequest<Types>) -> Result<(), Refusal> {
        let from = request.vote.leader_id().voted_for;
        self.checks(|known| vote::check(from, request, known))
    }

    fn header(&self, header: &Header) -> Result<(), Refusal> {
        let from = header.vote.leader_id().voted_for;
        self.checks(|known| snapshot::check_header(from, header, known))
    }
}

fn blank(term: u64, index: u64) -> Entry {
    Entry {
        log_id: log_id(term, index),
        payload: EntryPayload::Blank,
    }
}

fn appended(
    vote: Vote,
    prev: LogId,
    terms: &[u64],
    commit: Option<LogId>,
) -> AppendEntriesRequest<Types> {
    let entries = (prev.index() + 1..).zip(terms);
    AppendEntriesRequest {
        vote,
        prev_log_id: Some(prev),
        entries: entries.map(|(index, term)| blank(*term, index)).collect(),
        leader_commit: commit,
    }
}

fn leader(term: u64) -> Vote {
    Vote::new_committed(term, LEADER)
}

fn candidate(term: u64, id: u64, last: Option<LogId>) -> VoteRequest<Types> {
    VoteRequest {
        vote: Vote::new(term, id),
        last_log_id: last,
        leadership_transfer: false,
    }
}

#[test]
fn what_leaders_send_passes() {
    let member = Member::new();
    let commit = Some(log_id(3, 30));
    for request in [
        // The next entries, a heartbeat, and a probe of what was purged here.
        appended(leader(5), log_id(4, 40), &[4, 5, 5], commit),
        appended(leader(5), log_id(4, 40), &[], commit),
        appended(leader(5), log_id(1, 3), &[], Some(log_id(1, 3))),
        // What was sent before, and comes late.
        appended(leader(5), log_id(1, 10), &[2; 10], commit),
        // Another end of the log than this member's, whose own was never committed.
        appended(leader(6), log_id(3, 30), &[5, 6], commit),
        appended(leader(6), log_id(5, 35), &[6], commit),
        // Far ahead of it.
        appended(leader(900), log_id(899, 1 << 40), &[900], None),
        // A leader that was deposed, and is to hear so.
        appended(leader(3), log_id(3, 50), &[3], commit),
        // From the beginning.
        AppendEntriesRequest {
            vote: leader(5),
            prev_log_id: None,
            entries: vec![blank(0, 0), blank(1, 1)],
            leader_commit: None,
        },
    ] {
        assert_eq!(member.append(LEADER, &request, 41), Ok(()), "{request:?}");
    }
}

#[test]
fn a_sender_speaks_for_itself() {
    let member = Member::new();
    let heartbeat = |id| appended(Vote::new_committed(6, id), log_id(4, 40), &[], None);
    assert_eq!(member.append(3, &heartbeat(3), 0), Ok(()));
    let refused = |from, id| member.append(from, &heartbeat(id), 0).unwrap_err();
    assert_eq!(refused(SELF, SELF), Refusal::OwnName);
    assert_eq!(refused(SELF, LEADER), Refusal::OwnName);
    assert_eq!(refused(LEADER, SELF), Refusal::OwnName);
    assert_eq!(refused(0, 0), Refusal::NoName);
    let (from, named) = (3, LEADER);
    assert_eq!(refused(from, named), Refusal::OtherName { from, named });
}

/// Whoever was added by entries that this member lacks shows them.
#[test]
fn strangers_show_what_this_member_lacks() {
    let mut member = Member::new();
    let vote = Vote::new_committed(6, STRANGER);
    let behind = appended(vote, log_id(4, 40), &[], Some(log_id(3, 30)));
    let refused = member.append(STRANGER, &behind, 0);
    assert_eq!(refused, Err(Refusal::Stranger(STRANGER)));
    for ahead in [
        appended(vote, log_id(4, 40), &[6], None),
        appended(vote, log_id(4, 41), &[], None),
        appended(vote, log_id(3, 30), &[], Some(log_id(5, 35))),
    ] {
        assert_eq!(member.append(STRANGER, &ahead, 0), Ok(()));
    }
    let refused = member.votes(&candidate(6, STRANGER, member.last));
    assert_eq!(refused, Err(Refusal::Stranger(STRANGER)));
    let ahead = candidate(6, STRANGER, Some(log_id(5, 30)));
    assert_eq!(member.votes(&ahead), Ok(()));
    // Once it has this member's vote, it may send anything that a leader sends.
    member.vote = Some(Vote::new(6, STRANGER));
    assert_eq!(member.append(STRANGER, &behind, 0), Ok(()));
    assert_eq!(Member::newcomer().append(STRANGER, &behind, 0), Ok(()));
}

#[test]
fn terms_and_indexes_do_not_leap() {
    let member = Member::new();
    let far = 5 + TERM_LEAP_MAX;
    let heartbeat = |term| appended(leader(term), log_id(4, 40), &[], None);
    let leap = |term| Err(Refusal::TermLeap { term, own: 5 });
    assert_eq!(member.append(LEADER, &heartbeat(far), 0), Ok(()));
    assert_eq!(member.votes(&candidate(far, 3, None)), Ok(()));
    for term in [far + 1, TERM_MAX, u64::MAX] {
        assert_eq!(member.append(LEADER, &heartbeat(term), 0), leap(term));
        assert_eq!(member.votes(&candidate(term, 3, None)), leap(term));
        let transfer = TransferLeaderRequest::new(leader(term), SELF, None);
        let refused = member.checks(|known| vote::check_transfer(LEADER, &transfer, known));
        assert_eq!(refused, leap(term));
    }
    // One that has heard from nobody knows no term to compare with.
    let newcomer = Member::newcomer();
    assert_eq!(newcomer.append(LEADER, &heartbeat(far + 1), 0), Ok(()));
    let beyond = newcomer.append(LEADER, &heartbeat(TERM_MAX + 1), 0);
    assert!(matches!(beyond, Err(Refusal::TermLeap { .. })));

    let index = INDEX_MAX + 1;
    let refused = Err(Refusal::Index(index));
    let request = appended(leader(5), log_id(4, index), &[], None);
    assert_eq!(member.append(LEADER, &request, 0), refused);
    let request = appended(leader(5), log_id(4, 40), &[], Some(log_id(4, index)));
    assert_eq!(member.append(LEADER, &request, 0), refused);
    assert_eq!(member.append(LEADER, &heartbeat(5), index), refused);
    let request = candidate(6, 3, Some(log_id(5, index)));
    assert_eq!(member.votes(&request), refused);
}

#[test]
fn leaders_are_elected_and_candidates_are_not() {
    let member = Member::new();
    let request = appended(Vote::new(6, LEADER), log_id(4, 40), &[], None);
    let refused = member.append(LEADER, &request, 0);
    assert_eq!(refused, Err(Refusal::NotElected));
    let mut request = candidate(6, 3, member.last);
    assert_eq!(member.votes(&request), Ok(()));
    request.vote = Vote::new_committed(6, 3);
    assert_eq!(member.votes(&request), Err(Refusal::AlreadyElected));
    let own_term = candidate(6, 3, Some(log_id(6, 41)));
    let refused = member.votes(&own_term);
    assert!(matches!(refused, Err(Refusal::EntryTerm { .. })));
}

#[test]
fn terms_of_entries_grow_up_to_the_leaders() {
    let member = Member::new();
    for terms in [&[6][..], &[4, 6]] {
        let request = appended(leader(5), log_id(4, 40), terms, None);
        let refused = member.append(LEADER, &request, 0);
        assert!(matches!(refused, Err(Refusal::EntryTerm { .. })));
    }
    for terms in [&[3][..], &[5, 4]] {
        let request = appended(leader(5), log_id(4, 40), terms, None);
        let refused = member.append(LEADER, &request, 0);
        assert!(matches!(refused, Err(Refusal::TermsDecrease { .. })));
    }
}

#[test]
fn what_is_committed_is_not_contradicted() {
    let member = Member::new();
    for request in [
        // Another term at a committed index, and a term that is too new for one.
        appended(leader(6), log_id(1, 15), &[], None),
        appended(leader(6), log_id(3, 5), &[], None),
        appended(leader(6), log_id(2, 18), &[3], None),
        appended(leader(6), log_id(1, 30), &[], None),
        appended(leader(6), log_id(4, 40), &[], Some(log_id(1, 15))),
        appended(leader(6), log_id(4, 40), &[], Some(log_id(1, 21))),
    ] {
        let refused = member.append(LEADER, &request, 0);
        assert!(
            matches!(refused, Err(Refusal::Contradicts { .. })),
            "{request:?}: {refused:?}"
        );
    }
}

#[test]
fn a_leader_does_not_contradict_what_it_sent() {
    let member = Member::new();
    for (request, passes) in [
        // The entries after what was taken from it may be another leader's.
        (appended(leader(5), log_id(3, 25), &[5], None), true),
        (appended(leader(5), log_id(2, 20), &[3, 3], None), true),
        (appended(leader(5), log_id(2, 20), &[5], None), false),
        (appended(leader(5), log_id(2, 24), &[], None), false),
        (appended(leader(5), log_id(2, 26), &[], None), false),
        (
            appended(leader(5), log_id(3, 25), &[], Some(log_id(2, 26))),
            false,
        ),
        // Another leader may have other entries there.
        (appended(leader(6), log_id(2, 20), &[5], None), true),
    ] {
        let checked = member.append(LEADER, &request, 0);
        assert_eq!(checked.is_ok(), passes, "{request:?}: {checked:?}");
    }
}

#[test]
fn what_is_committed_stands_in_what_is_shown() {
    let member = Member::new();
    for (commit, passes) in [
        (log_id(4, 40), true),
        (log_id(4, 35), true),
        (log_id(5, 42), true),
        (log_id(5, 50), true),
        (log_id(4, 42), false),
        (log_id(5, 40), false),
        (log_id(4, 50), false),
    ] {
        let request = appended(leader(5), log_id(4, 40), &[4, 5], Some(commit));
        let checked = member.append(LEADER, &request, 0);
        assert_eq!(checked.is_ok(), passes, "{commit}: {checked:?}");
    }
}

#[test]
fn entries_can_be_applied() {
    let entry_of = |payload| Entry {
        log_id: log_id(5, 41),
        payload,
    };
    let put = PutRequest {
        key: Bytes::from_static(b"k"),
        ..PutRequest::default()
    };
    let command = payload::encode_proposal(&Proposal {
        origin: MemberId(SELF),
        seq: 7,
        command: encode_command(&CoreCommand::Put(put)),
    });
    let good = entry_of(EntryPayload::Normal(command));
    assert_eq!(entry::check(&good), Ok(()));
    for bytes in [&b"\x01 garbage"[..], b""] {
        let command = Command(Bytes::from_static(bytes));
        let refused = entry::check(&entry_of(EntryPayload::Normal(command)));
        assert!(matches!(refused, Err(Refusal::Command { .. })));
    }
}

fn peer(url: &str) -> Peer {
    Peer {
        name: "m".to_owned(),
        peer_urls: vec![url.to_owned()],
        learner: false,
    }
}

fn membership(configs: &[&[u64]], ids: std::ops::Range<u64>, url: &str) -> Membership {
    let nodes: BTreeMap<u64, Peer> = ids.map(|id| (id, peer(url))).collect();
    let configs = configs
        .iter()
        .map(|ids| ids.iter().copied().collect::<BTreeSet<u64>>());
    Membership::new(configs.collect(), nodes).unwrap()
}

#[test]
fn memberships_have_voters_that_can_be_reached() {
    let url = "http://m:1";
    let good = [
        membership(&[&[1]], 1..4, url),
        membership(&[&[1, 2], &[2, 3]], 1..4, "HTTPS://[::1]:1"),
        membership(&[&[1]], 1..2, "unix:///run/m"),
    ];
    for membership in good {
        assert_eq!(entry::check_membership(&membership), Ok(()));
    }
    let bad = [
        Membership::default(),
        membership(&[&[0]], 0..4, url),
        membership(&[&[1]], 0..4, url),
        membership(&[&[1]], 1..1000, url),
        membership(&[&[1]], 1..4, "x y z"),
        membership(&[&[1]], 1..4, "http://"),
        membership(&[&[1]], 1..4, "http://a b:1"),
        membership(&[&[1]], 1..4, &format!("http://{}", "x".repeat(1 << 20))),
    ];
    for membership in bad {
        let refused = entry::check_membership(&membership);
        assert!(
            matches!(refused, Err(Refusal::Membership(_))),
            "{membership:?}"
        );
    }
    let mut urls = peer(url);
    urls.peer_urls.clear();
    let nobody = Membership::new(vec![BTreeSet::from([1])], BTreeMap::from([(1, urls)]));
    assert!(entry::check_membership(&nobody.unwrap()).is_err());
}

fn header(vote: Vote, last: Option<LogId>, configured: Option<LogId>) -> Header {
    let membership = membership(&[&[1, 2, 3]], 1..4, "http://m:1");
    Header {
        vote,
        meta: SnapshotMeta {
            last_log_id: last,
            last_membership: StoredMembership::new(configured, membership),
        },
    }
}

#[test]
fn a_snapshot_covers_what_follows_what_is_committed() {
    let member = Member::new();
    let founded = Some(log_id(0, 0));
    for last in [log_id(4, 50), log_id(5, 41), log_id(2, 20), log_id(1, 10)] {
        let header = header(leader(5), Some(last), founded);
        assert_eq!(member.header(&header), Ok(()), "{last}");
    }
    let bad = [
        header(leader(5), None, founded),
        header(leader(5), Some(log_id(6, 50)), founded),
        header(leader(5), Some(log_id(4, INDEX_MAX + 1)), founded),
        header(leader(5), Some(log_id(4, 41 + INDEX_LEAP_MAX)), founded),
        header(leader(5), Some(log_id(3, 15)), founded),
        header(leader(5), Some(log_id(1, 30)), founded),
        header(leader(5), Some(log_id(4, 50)), None),
        header(leader(5), Some(log_id(4, 50)), Some(log_id(4, 51))),
        header(leader(5), Some(log_id(4, 50)), Some(log_id(3, 51))),
        header(Vote::new(5, LEADER), Some(log_id(4, 50)), founded),
        header(Vote::new_committed(6, SELF), Some(log_id(4, 50)), founded),
        header(leader(u64::MAX), Some(log_id(4, 50)), founded),
    ];
    for header in bad {
        assert!(member.header(&header).is_err(), "{header:?}");
    }
}

#[test]
fn rows_are_in_order_and_can_be_read() {
    let row = |table, key: &'static str, value: &'static [u8]| {
        let mut batch = Batch::default();
        batch.put(table, key, value);
        batch
    };
    let lease = |key| row(Table::Lease, key, b"\x01\x3c");
    let mut rows = snapshot::Rows::default();
    assert_eq!(rows.check(&lease("00000001")), Ok(()));
    assert_eq!(rows.check(&lease("00000002")), Ok(()));
    for batch in [
        lease("00000002"),
        lease("00000001"),
        row(Table::Meta, "mvcc", b"\x01\x02\x00"),
        row(Table::Member, "00000001", b"garbage"),
        row(Table::LeaseKeys, "", b""),
    ] {
        assert!(rows.check(&batch).is_err(), "{batch:?}");
    }
    assert!(
        rows.end(&header(leader(5), Some(log_id(1, 1)), None).meta)
            .is_err()
    );
    assert_eq!(rows.end(&SnapshotMeta::default()), Ok(()));
}

#[test]
fn answers_are_ones_to_the_question() {
    let request = appended(leader(5), log_id(4, 40), &[5, 5], None);
    let check = |response| answer::check_append(&request, &response);
    for response in [
        AppendEntriesResponse::Success,
        AppendEntriesResponse::Conflict,
        AppendEntriesResponse::PartialSuccess(None),
        AppendEntriesResponse::PartialSuccess(Some(log_id(5, 42))),
        AppendEntriesResponse::HigherVote(leader(6)),
    ] {
        assert_eq!(check(response), Ok(()));
    }
    for response in [
        AppendEntriesResponse::PartialSuccess(Some(log_id(5, 43))),
        AppendEntriesResponse::PartialSuccess(Some(log_id(6, 41))),
        AppendEntriesResponse::HigherVote(leader(u64::MAX)),
    ] {
        assert!(check(response).is_err());
    }
    let request = candidate(6, SELF, None);
    let voted = |term, last| {
        let response = VoteResponse::<Types> {
            vote: leader(term),
            vote_granted: false,
            last_log_id: Some(last),
        };
        answer::check_voted(&request, &response)
    };
    assert_eq!(voted(7, log_id(7, 50)), Ok(()));
    assert!(voted(u64::MAX, log_id(7, 50)).is_err());
    assert!(voted(7, log_id(8, 50)).is_err());
    assert!(voted(7, log_id(7, u64::MAX)).is_err());
}
