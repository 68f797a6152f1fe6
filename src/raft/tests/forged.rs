//! Messages that no member sends: whoever reaches the peer port can. Each is refused, and the
//! members live, serve and start again.

use super::harness::{Cluster, Member, wait_for};
use crate::message;
use crate::meta::RaftRows;
use crate::payload;
use crate::snapshot::{self, Header};
use crate::types::{Command, Entry, LogId, Membership, Peer, Types, Vote, log_id, term_of};
use bytes::{BufMut, Bytes, BytesMut};
use detcd_core::view::{Direction, Fault, KeyBounds, Rows, Table, View};
use detcd_peer::{Kind, Receiver};
use detcd_storage::store::Store;
use futures::stream::StreamExt;
use openraft::EntryPayload;
use openraft::raft::{AppendEntriesRequest, TransferLeaderRequest, VoteRequest};
use std::collections::{BTreeMap, BTreeSet};

const ALL: [usize; 3] = [0, 1, 2];

/// Three members with some entries, and what a forger can find out about them.
struct Target {
    cluster: Cluster,
    /// The positions of the leader and of a follower.
    leader: usize,
    follower: usize,
    vote: Vote,
    last: LogId,
    puts: i64,
}

impl Target {
    async fn start() -> Target {
        let cluster = Cluster::found(3, 100_000).await;
        let leader = cluster.leader(&ALL).await;
        cluster.members[leader].put(0..20);
        cluster.converged(21).await;
        Target::of(cluster, 20).await
    }

    async fn of(cluster: Cluster, puts: i64) -> Target {
        let leader = cluster.leader(&ALL).await;
        let status = cluster.members[leader].node.status();
        Target {
            leader,
            follower: (leader + 1) % 3,
            vote: Vote::new_committed(status.term, leader as u64 + 1),
            last: log_id(status.term, status.last_log_index),
            cluster,
            puts,
        }
    }

    fn id(&self, position: usize) -> u64 {
        position as u64 + 1
    }

    fn member(&self, position: usize) -> &Member {
        &self.cluster.members[position]
    }

    /// The leader's next append, without entries.
    fn append(&self) -> AppendEntriesRequest<Types> {
        AppendEntriesRequest {
            vote: self.vote,
            prev_log_id: Some(self.last),
            entries: Vec::new(),
            leader_commit: Some(self.last),
        }
    }

    fn append_of(&self, payloads: Vec<EntryPayload<Command, u64, Peer>>) -> Bytes {
        let mut request = self.append();
        let term = term_of(&self.last);
        request.entries = (self.last.index() + 1..)
            .zip(payloads)
            .map(|(index, payload)| Entry {
                log_id: log_id(term, index),
                payload,
            })
            .collect();
        message::encode_append(&request, 0)
    }

    /// Sends to the follower in the leader's name.
    async fn refuses(&self, kind: Kind, body: Bytes) -> String {
        self.refuses_from(self.id(self.leader), self.follower, kind, body)
            .await
    }

    async fn refuses_from(&self, from: u64, to: usize, kind: Kind, body: Bytes) -> String {
        let receiver = self.member(to).node.receiver();
        let answer = receiver.call(from, kind, body.clone()).await;
        answer.expect_err(&format!("{kind:?} of {body:02x?} is refused"))
    }

    async fn refuses_snapshot(&self, header: &Header, view: Sent) -> String {
        let chunks = snapshot::chunks(header, view, 100, |fault| panic!("{fault}"));
        let receiver = self.member(self.follower).node.receiver();
        let answer = receiver.stream(self.id(self.leader), Kind::Snapshot, chunks.map(Ok).boxed());
        answer
            .await
            .expect_err(&format!("a snapshot of {header:?} is refused"))
    }

    /// All members serve, now and after a restart.
    async fn lives(mut self) {
        self.serves().await;
        self.cluster.stop().await;
        self.cluster.start().await;
        let puts = self.puts;
        self = Target::of(self.cluster, puts).await;
        self.serves().await;
    }

    async fn serves(&mut self) {
        for member in &self.cluster.members {
            assert_eq!(*member.node.fatal().borrow(), None);
        }
        let leader = self.cluster.leader(&ALL).await;
        let seq = self.puts as u64;
        self.member(leader).put(seq..seq + 1);
        self.puts += 1;
        self.cluster.converged(self.puts + 1).await;
    }
}

/// Rows as a forger sends them, in the order of the tables.
#[derive(Default)]
struct Sent(Vec<(Table, Bytes, Bytes)>);

impl View for Sent {
    fn get(&self, _table: Table, _key: &[u8]) -> Result<Option<Bytes>, Fault> {
        unreachable!("a snapshot is sent by scans")
    }

    fn scan<'a>(&'a self, table: Table, (after, _): KeyBounds<'_>, _: Direction) -> Rows<'a> {
        let after = match after {
            std::ops::Bound::Excluded(key) => Some(Bytes::copy_from_slice(key)),
            _ => None,
        };
        let rows = self.0.iter().filter(move |row| row.0 == table);
        let rest = rows.filter(move |row| after.as_ref().is_none_or(|after| row.1 > *after));
        Box::new(rest.map(|(_, key, value)| Ok((key.clone(), value.clone()))))
    }
}

fn membership(configs: &[&[u64]], ids: &[u64], url: &str) -> Bytes {
    let mut out = BytesMut::new();
    out.put_u8(0xf1);
    out.put_u32(configs.len() as u32);
    for config in configs {
        out.put_u32(config.len() as u32);
        config.iter().for_each(|id| out.put_u64(*id));
    }
    out.put_u32(ids.len() as u32);
    for id in ids {
        out.put_u64(*id);
        out.put_u32(0);
        out.put_u32(1);
        out.put_u32(url.len() as u32);
        out.put_slice(url.as_bytes());
    }
    out.freeze()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_that_cannot_be_applied_enter_no_log() {
    let target = Target::start().await;
    let good = payload::encode_proposal(&super::harness::put(1, 7)).0;
    let mut commands = vec![
        Bytes::from_static(b"\x01 garbage"),
        Bytes::from_static(b"\x00"),
        good.slice(..good.len() - 1),
    ];
    let mut trailing = good.to_vec();
    trailing.push(0);
    commands.push(trailing.into());
    for command in commands {
        let body = target.append_of(vec![
            EntryPayload::Blank,
            EntryPayload::Normal(Command(command)),
        ]);
        target.refuses(Kind::AppendEntries, body).await;
    }
    target.lives().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn terms_do_not_leap() {
    let target = Target::start().await;
    let leader = target.id(target.leader);
    let now = target.vote.leader_id().term;
    for term in [
        u64::MAX,
        u64::MAX - 1,
        1 << 63,
        1 << 62,
        now + (1 << 32) + 1,
    ] {
        let mut append = target.append();
        append.vote = Vote::new_committed(term, leader);
        let body = message::encode_append(&append, 0);
        target.refuses(Kind::AppendEntries, body).await;
        let last_log_id = Some(log_id(term - 1, u64::MAX));
        for last_log_id in [last_log_id, Some(target.last)] {
            let request = VoteRequest {
                vote: Vote::new(term, leader),
                last_log_id,
                leadership_transfer: true,
            };
            let body = message::encode_vote_request(&request);
            target.refuses(Kind::Vote, body.clone()).await;
            target.refuses(Kind::PreVote, body).await;
        }
        let vote = Vote::new_committed(term, leader);
        let to = target.id(target.follower);
        let body = message::encode_transfer(&TransferLeaderRequest::new(vote, to, None));
        target.refuses(Kind::TransferLeader, body).await;
    }
    target.lives().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_leader_says_what_was_acknowledged() {
    let target = Target::start().await;
    for acknowledged in [1 << 40, target.last.index() + 2, u64::MAX] {
        let body = message::encode_append(&target.append(), acknowledged);
        target.refuses(Kind::AppendEntries, body).await;
    }
    target.lives().await;
}

/// The engine took the first of two memberships for committed, and ended when it was replaced.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_membership_but_one_is_not_contradicted() {
    let target = Target::start().await;
    let peer = |id: u64| Peer {
        peer_urls: vec![format!("http://m{id}:2380")],
        ..Peer::default()
    };
    let peers: BTreeMap<u64, Peer> = (1..=3).map(|id| (id, peer(id))).collect();
    let voters = vec![BTreeSet::from([1, 2, 3])];
    let membership = Membership::new(voters, peers).unwrap();
    // The real leader, and elections, would interfere.
    target.cluster.net.cut_off(target.id(target.follower));
    let (leader, first) = (target.id(target.leader), target.last.index() + 1);
    let forged = |term: u64, payloads: Vec<EntryPayload<Command, u64, Peer>>| {
        let entries = (first..).zip(payloads).map(|(index, payload)| Entry {
            log_id: log_id(term, index),
            payload,
        });
        let request = AppendEntriesRequest {
            vote: Vote::new_committed(term, leader),
            prev_log_id: Some(target.last),
            entries: entries.collect(),
            leader_commit: None,
        };
        message::encode_append(&request, 0)
    };
    let term = term_of(&target.last);
    let two = [(); 2].map(|()| EntryPayload::Membership(membership.clone()));
    let receiver = target.member(target.follower).node.receiver();
    let taken = forged(term + 100, two.to_vec());
    let taken = receiver.call(leader, Kind::AppendEntries, taken).await;
    taken.expect("nothing contradicts it");
    let other = forged(term + 200, vec![EntryPayload::Blank]);
    let refused = target.refuses(Kind::AppendEntries, other).await;
    assert!(
        refused.contains("contradicts what is committed"),
        "{refused}"
    );
    let fatal = target.member(target.follower).node.fatal();
    assert_eq!(*fatal.borrow(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memberships_make_sense() {
    let target = Target::start().await;
    let url = "http://m1:2380";
    let forged = [
        membership(&[], &[], url),
        membership(&[&[]], &[1, 2, 3], url),
        membership(&[&[1], &[]], &[1, 2, 3], url),
        membership(&[], &[1, 2, 3], url),
        membership(&[&[1, 2, 9]], &[1, 2, 3], url),
        membership(&[&[0, 1, 2]], &[0, 1, 2], url),
        membership(&[&[1, 2, 3]], &[1, 2, 3], "x y z"),
        membership(&[&[1, 2, 3]], &[1, 2, 3], "http://"),
        membership(&[&[1], &[2], &[3]], &[1, 2, 3], url),
        membership(&[&[1]], &(1..1000).collect::<Vec<u64>>(), url),
    ];
    for membership in forged {
        let mut body = BytesMut::from(&target.append_of(Vec::new())[..]);
        let count = body.len() - 4;
        body.truncate(count);
        body.put_u32(1);
        body.put_u64(target.last.index() + 1);
        body.put_u64(term_of(&target.last));
        body.put_u32(membership.len() as u32);
        body.put_slice(&membership);
        target.refuses(Kind::AppendEntries, body.freeze()).await;
    }
    target.lives().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_speaks_in_the_name_of_its_receiver_or_of_a_third() {
    let target = Target::start().await;
    let [leader, follower] = [target.leader, target.follower];
    let own = target.id(leader);
    let other = target.id(follower);
    let mut append = target.append();
    let command = payload::encode_proposal(&super::harness::put(1, 7));
    append.entries = vec![Entry {
        log_id: log_id(term_of(&target.last), target.last.index() + 1),
        payload: EntryPayload::Normal(command),
    }];
    for ahead in [0, 1] {
        append.vote = Vote::new_committed(target.vote.leader_id().term + ahead, own);
        for from in [own, other] {
            let body = message::encode_append(&append, 0);
            let kind = Kind::AppendEntries;
            target.refuses_from(from, leader, kind, body).await;
        }
    }
    let vote = VoteRequest {
        vote: Vote::new(target.vote.leader_id().term + 1, own),
        last_log_id: Some(target.last),
        leadership_transfer: true,
    };
    for (from, to) in [
        (own, leader),
        (other, leader),
        (other, follower),
        (0, follower),
    ] {
        let body = message::encode_vote_request(&vote);
        target.refuses_from(from, to, Kind::Vote, body).await;
    }
    // A third one, which nobody knows, and which shows nothing that is not known.
    append.vote = Vote::new_committed(target.vote.leader_id().term + 1, 77);
    append.entries.clear();
    let body = message::encode_append(&append, 0);
    let kind = Kind::AppendEntries;
    target.refuses_from(77, follower, kind, body).await;
    target.lives().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaders_are_elected_and_candidates_are_not() {
    let target = Target::start().await;
    let leader = target.id(target.leader);
    let next = target.vote.leader_id().term + 1;
    for term in [next - 1, next] {
        let mut append = target.append();
        append.vote = Vote::new(term, leader);
        let body = message::encode_append(&append, 0);
        target.refuses(Kind::AppendEntries, body).await;
    }
    let request = VoteRequest {
        vote: Vote::new_committed(next, leader),
        last_log_id: Some(target.last),
        leadership_transfer: true,
    };
    let body = message::encode_vote_request(&request);
    target.refuses(Kind::Vote, body).await;
    // A candidate has no entry of its own term yet.
    let request = VoteRequest {
        vote: Vote::new(next, leader),
        last_log_id: Some(log_id(next, target.last.index())),
        leadership_transfer: true,
    };
    let body = message::encode_vote_request(&request);
    target.refuses(Kind::Vote, body).await;
    target.lives().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_follow_each_other_and_leave_what_is_committed() {
    let target = Target::start().await;
    let (term, index) = (term_of(&target.last), target.last.index());
    let blank = |term, index| Entry {
        log_id: log_id(term, index),
        payload: EntryPayload::Blank,
    };
    let next = Vote::new_committed(term + 1, target.id(target.leader));
    let forged = [
        // Beyond the leader's own term.
        (target.vote, target.last, vec![blank(term + 1, index + 1)]),
        // Terms that decrease.
        (
            next,
            target.last,
            vec![blank(term + 1, index + 1), blank(term, index + 2)],
        ),
        (target.vote, target.last, vec![blank(term - 1, index + 1)]),
        // Other entries in the place of committed ones.
        (
            next,
            log_id(term, index - 2),
            vec![blank(term + 1, index - 1)],
        ),
        (next, log_id(term + 1, index - 2), vec![]),
        (next, log_id(term - 1, index + 5), vec![]),
        // No log is so long.
        (target.vote, log_id(term, u64::MAX), vec![]),
        (target.vote, log_id(term, u64::MAX - 1), vec![]),
    ];
    for (vote, prev, entries) in forged {
        let request = AppendEntriesRequest {
            vote,
            prev_log_id: Some(prev),
            entries,
            leader_commit: Some(target.last),
        };
        let body = message::encode_append(&request, 0);
        target.refuses(Kind::AppendEntries, body).await;
    }
    let mut commits = target.append();
    for commit in [
        log_id(term + 1, index),
        log_id(term, u64::MAX),
        log_id(term - 1, index + 1),
    ] {
        commits.leader_commit = Some(commit);
        let body = message::encode_append(&commits, 0);
        target.refuses(Kind::AppendEntries, body).await;
    }
    // Indexes that overflow while they are read.
    let mut raw = BytesMut::from(&message::encode_append(&target.append(), 0)[..]);
    raw[19..35].fill(0xff);
    let count = raw.len() - 4;
    raw.truncate(count);
    raw.put_u32(1);
    raw.put_u64(0);
    raw.put_u64(term);
    raw.put_u32(1);
    raw.put_u8(0xf0);
    target.refuses(Kind::AppendEntries, raw.freeze()).await;
    target.lives().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_is_the_state_that_it_says() {
    let target = Target::start().await;
    let leader = target.member(target.leader);
    let meta = RaftRows::load(&leader.store.snapshot().unwrap())
        .unwrap()
        .snapshot_meta();
    let (term, index) = (term_of(&target.last), target.last.index());
    let ahead = log_id(term, index + 10);
    let empty = Sent::default;
    let header = |last: Option<LogId>| {
        let mut header = Header {
            vote: target.vote,
            meta: meta.clone(),
        };
        header.meta.last_log_id = last;
        header
    };
    // What the header alone shows.
    for last in [
        None,
        Some(log_id(term + 1, index + 10)),
        Some(log_id(term, u64::MAX)),
        Some(log_id(term, index + (1 << 49))),
        Some(log_id(term - 1, index + 10)),
    ] {
        target.refuses_snapshot(&header(last), empty()).await;
    }
    let mut unelected = header(Some(ahead));
    unelected.vote = Vote::new(term, target.id(target.leader));
    target.refuses_snapshot(&unelected, empty()).await;
    let mut leaps = header(Some(ahead));
    leaps.vote = Vote::new_committed(u64::MAX, target.id(target.leader));
    target.refuses_snapshot(&leaps, empty()).await;
    let mut contradicts = header(Some(log_id(term + 1, index - 1)));
    contradicts.vote = Vote::new_committed(term + 1, target.id(target.leader));
    target.refuses_snapshot(&contradicts, empty()).await;
    for (at, configs) in [
        (Some(ahead), vec![]),
        (None, vec![BTreeSet::from([1, 2, 3])]),
        (
            Some(log_id(term, index + 11)),
            vec![BTreeSet::from([1, 2, 3])],
        ),
    ] {
        let mut forged = header(Some(ahead));
        let membership = match configs.is_empty() {
            true => Membership::default(),
            false => {
                let nodes = meta.last_membership.membership().nodes();
                let nodes: BTreeMap<u64, Peer> =
                    nodes.map(|(id, peer)| (*id, peer.clone())).collect();
                Membership::new(configs, nodes).unwrap()
            }
        };
        forged.meta.last_membership = crate::types::StoredMembership::new(at, membership);
        target.refuses_snapshot(&forged, empty()).await;
    }
    // What its rows show: none, garbage, and those of another state.
    target.refuses_snapshot(&header(Some(ahead)), empty()).await;
    for table in Table::ALL {
        let key = match table {
            Table::Meta => "raft/applied",
            _ => "\u{ff}",
        };
        let garbage = Sent(vec![(table, key.into(), "garbage".into())]);
        target.refuses_snapshot(&header(Some(ahead)), garbage).await;
    }
    let other = Sent(leader.rows());
    let refusal = target.refuses_snapshot(&header(Some(ahead)), other).await;
    assert!(refusal.contains("it was to cover"), "{refusal}");
    target.lives().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_cut_of_a_message_is_refused() {
    let target = Target::start().await;
    let vote = VoteRequest {
        vote: Vote::new(target.vote.leader_id().term + 1, target.id(target.leader)),
        last_log_id: Some(target.last),
        leadership_transfer: false,
    };
    let command = payload::encode_proposal(&super::harness::put(1, 7));
    let whole = [
        (
            Kind::AppendEntries,
            target.append_of(vec![EntryPayload::Normal(command)]),
        ),
        (Kind::Vote, message::encode_vote_request(&vote)),
        (Kind::PreVote, message::encode_vote_request(&vote)),
        (Kind::Acknowledged, message::encode_vote(&target.vote)),
    ];
    for (kind, body) in whole {
        for len in 0..body.len() {
            target.refuses(kind, body.slice(..len)).await;
        }
        let trailing = [&body[..], b"x"].concat();
        target.refuses(kind, trailing.into()).await;
    }
    wait_for("the leader to lead on", || {
        target.member(target.leader).node.status().is_leader
    })
    .await;
    target.lives().await;
}
