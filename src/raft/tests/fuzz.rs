//! Frames of a real cluster, changed at random and sent again with right checksums, to a member
//! that may become anything but dead: it lives, takes real frames, and starts again.
//!
//! A frame that keeps to the protocol is obeyed, whoever sends it: so the member that is attacked
//! is alone, and no quorum depends on it. What cannot be obeyed is sent to whole clusters
//! elsewhere ([`super::forged`], `tests/against_etcd/peer_port.rs`).
//!
//! The cases follow from the seed and from `frames.txt`, where frames of a real cluster stand.
//! `DETCD_FUZZ_SEED` and `DETCD_FUZZ_ROUNDS` choose others, `DETCD_FUZZ_TRACE` names each frame
//! before it is sent (`--nocapture`), and `DETCD_FUZZ_RECORD` writes `frames.txt` anew.

use super::harness::{Cluster, Member, Net, Sent, wait_for};
use crate::message;
use crate::meta::RaftRows;
use crate::payload;
use crate::snapshot::{self, Header};
use crate::types::{Entry, Membership, Payload, Peer, Vote, log_id, term_of};
use bytes::{BufMut, Bytes, BytesMut};
use detcd_core::api::{
    CompactRequest, DeleteRangeRequest, KeyRange, LeaseId, Member as ApiMember, MemberId, Op,
    PutRequest, TxnRequest,
};
use detcd_core::codec;
use detcd_core::command::{Command as CoreCommand, Proposal};
use detcd_peer::{Kind, Receiver};
use detcd_storage::store::Store;
use futures::stream::{self, StreamExt};
use openraft::EntryPayload;
use openraft::raft::{AppendEntriesRequest, TransferLeaderRequest, VoteRequest};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

const ROUNDS: u64 = 10;
/// Changed frames between two real ones.
const CHANGED_PER_FRAME: u64 = 60;
const FRAMES_PER_ROUND: usize = 120;
/// A call that is not answered is given up, as a connection that is closed does.
const CALL_TIMEOUT: Duration = Duration::from_millis(20);
/// What the process may grow by: caches of stores that were opened, and no more.
const GROWTH_BYTES_MAX: u64 = 384 << 20;

/// The member that is attacked.
const TARGET: u64 = 3;

/// SplitMix64.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    fn one_of<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len())]
    }

    /// A number that something may trip over.
    fn number(&mut self) -> u64 {
        let edge = self.one_of(&[0, 1, 2, 3, 9, 1 << 16, 1 << 32, 1 << 40, 1 << 62, 1 << 63]);
        match self.below(4) {
            0 => u64::MAX - edge,
            1 => self.next() % 64,
            _ => edge.wrapping_add(self.next() % 3).wrapping_sub(1),
        }
    }

    /// Changes bytes in one to three places.
    fn change(&mut self, bytes: &[u8], other: &[u8]) -> Bytes {
        let mut out = bytes.to_vec();
        for _ in 0..=self.below(3) {
            let at = self.below(out.len() + 1);
            let number = self.number().to_be_bytes();
            let width = self.one_of(&[1, 4, 8]);
            match self.below(6) {
                0 if at < out.len() => out[at] ^= 1 << self.below(8),
                1 => out.truncate(at),
                2 => drop(out.splice(at..at, number)),
                3 => {
                    let from = self.below(other.len() + 1);
                    out.truncate(at);
                    out.extend_from_slice(&other[from..]);
                }
                _ => {
                    let end = out.len().min(at + width);
                    let width = end - at;
                    out[at..end].copy_from_slice(&number[8 - width..]);
                }
            }
        }
        out.into()
    }
}

/// Where the recorded frames stand.
const FRAMES: &str = "tests/frames.txt";

/// What members said to [`TARGET`], and the chunks of a snapshot, as they were recorded.
fn frames() -> (Vec<Sent>, Vec<Bytes>) {
    let text = std::fs::read_to_string(FRAMES).unwrap();
    let (mut frames, mut chunks) = (Vec::new(), Vec::new());
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [from, kind, body] = words[..] else {
            panic!("a line of {FRAMES}: {line}");
        };
        let hex = |at: usize| u8::from_str_radix(&body[at..at + 2], 16).unwrap();
        let body: Bytes = (0..body.len()).step_by(2).map(hex).collect();
        let kind = Kind::from_tag(kind.parse().unwrap()).unwrap();
        match kind {
            Kind::Snapshot => chunks.push(body),
            _ => frames.push(Sent {
                from: from.parse().unwrap(),
                to: TARGET,
                kind,
                body,
            }),
        }
    }
    (frames, chunks)
}

fn line(from: u64, kind: Kind, body: &[u8]) -> String {
    let hex: String = body.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{from} {} {hex}\n", kind as u8)
}

/// What members say to [`TARGET`] while a cluster writes and changes its leader; and the chunks of
/// a snapshot.
async fn record() {
    let cluster = Cluster::found(3, 100_000).await;
    cluster.net.record();
    let all = [0, 1, 2];
    for round in 0..4 {
        let leader = cluster.leader(&all).await;
        cluster.members[leader].put(round * 10..round * 10 + 10);
        cluster.converged(round as i64 * 10 + 11).await;
        // Not to the target, which would then lead, and be sent nothing.
        let to = match leader {
            0 => 2,
            _ => 1,
        };
        let transfer = cluster.members[leader].node.transfer_leader(MemberId(to));
        transfer.await.unwrap();
        wait_for("another leader", || {
            let status = cluster.members[to as usize - 1].node.status();
            status.is_leader && status.last_quorum_acked.is_some()
        })
        .await;
    }
    let leader = cluster.leader(&all).await;
    let view = cluster.members[leader].store.snapshot().unwrap();
    let header = Header {
        vote: Vote::new_committed(90, 1),
        meta: RaftRows::load(&view).unwrap().snapshot_meta(),
    };
    let chunks = snapshot::chunks(&header, view, 500, |fault| panic!("{fault}"));
    let chunks: Vec<Bytes> = chunks.collect().await;
    let sent = cluster.net.recorded();
    let to_target = sent.iter().filter(|sent| sent.to == TARGET);
    let mut text: String = to_target
        .map(|sent| line(sent.from, sent.kind, &sent.body))
        .collect();
    text.extend(chunks.iter().map(|chunk| line(1, Kind::Snapshot, chunk)));
    std::fs::write(FRAMES, text).unwrap();
}

/// A frame as a leader or a candidate might send it to this member now, or nearly so.
fn forged(random: &mut Random, member: &Member) -> (u64, Kind, Bytes) {
    let status = member.node.status();
    let from = random.one_of(&[1, 2, 2, 2, 9]);
    let term = status.term + random.one_of(&[0, 0, 0, 0, 0, 1, 1, 2]);
    let position = |random: &mut Random| {
        let near = random.one_of(&[status.last_log_index, status.committed]);
        let index = (near + random.next() % 4).saturating_sub(random.next() % 4);
        log_id(term.saturating_sub(random.next() % 4), index)
    };
    let last_log_id = Some(position(random));
    match random.below(8) {
        0 | 1 => {
            let request = VoteRequest {
                vote: Vote::new(term + 1, from),
                last_log_id,
                leadership_transfer: random.below(2) == 0,
            };
            let kind = random.one_of(&[Kind::Vote, Kind::PreVote]);
            (from, kind, message::encode_vote_request(&request))
        }
        2 => {
            let vote = Vote::new_committed(term, from);
            let to = random.one_of(&[1, TARGET, TARGET]);
            let request = TransferLeaderRequest::new(vote, to, last_log_id);
            (
                from,
                Kind::TransferLeader,
                message::encode_transfer(&request),
            )
        }
        _ => {
            let prev = position(random);
            let mut entries = Vec::new();
            let mut entry_term = term_of(&prev);
            for index in prev.index() + 1..prev.index() + 1 + random.next() % 4 {
                entry_term = (entry_term + random.next() % 2).min(term);
                entries.push(Entry {
                    log_id: log_id(entry_term, index),
                    payload: forged_payload(random),
                });
            }
            let request = AppendEntriesRequest {
                vote: Vote::new_committed(term, from),
                prev_log_id: Some(prev),
                entries,
                leader_commit: Some(position(random)),
            };
            let acknowledged = random.one_of(&[0, 0, 0, 0, prev.index(), prev.index() + 2]);
            let body = message::encode_append(&request, acknowledged);
            (from, Kind::AppendEntries, body)
        }
    }
}

/// What may stand in an entry: mostly commands, and now and then another membership.
fn forged_payload(random: &mut Random) -> Payload {
    let id = LeaseId(random.number() as i64);
    let key = Bytes::from(vec![random.next() as u8; random.below(4)]);
    let put = PutRequest {
        key: key.clone(),
        value: Bytes::from(vec![7; random.below(40)]),
        lease: random.one_of(&[LeaseId(0), LeaseId(0), id]),
        prev_kv: random.below(2) == 0,
        ..PutRequest::default()
    };
    let delete = DeleteRangeRequest {
        range: KeyRange::Span {
            start: key,
            end: None,
        },
        prev_kv: true,
    };
    let command = match random.below(9) {
        0 => return EntryPayload::Blank,
        1 => {
            let learner = random.below(2) == 0;
            let ids = 1..=3 + random.next() % 3;
            let nodes = ids.map(|id| {
                let peer = Peer {
                    name: String::new(),
                    peer_urls: vec![format!("http://m{id}:2380")],
                    learner,
                };
                (id, peer)
            });
            let voters = BTreeSet::from([1, 2, TARGET]);
            let membership = Membership::new(vec![voters], nodes.collect::<BTreeMap<_, _>>());
            return EntryPayload::Membership(membership.unwrap());
        }
        2 => CoreCommand::DeleteRange(delete),
        3 => CoreCommand::Txn(TxnRequest {
            success: vec![Op::DeleteRange(delete), Op::Put(put)],
            ..TxnRequest::default()
        }),
        4 => CoreCommand::LeaseGrant {
            id,
            ttl: random.number() as i64,
        },
        5 => CoreCommand::LeaseRevoke { id },
        6 => CoreCommand::Compact(CompactRequest {
            revision: random.number() as i64,
            physical: false,
        }),
        _ => CoreCommand::Put(put),
    };
    let mut command = codec::encode_command(&command);
    if random.below(4) == 0 {
        command = random.change(&command, b"\x01\x03\x02\x01");
    }
    let proposal = Proposal {
        origin: MemberId(random.number()),
        seq: random.number(),
        command,
    };
    EntryPayload::Normal(payload::encode_proposal(&proposal))
}

/// A chunk with this body instead of its own.
fn sealed(kind: u8, body: &[u8]) -> Bytes {
    let mut chunk = BytesMut::new();
    chunk.put_slice(&[1, kind]);
    chunk.put_u32(crc32c::crc32c(body));
    chunk.put_slice(body);
    chunk.freeze()
}

/// The chunks with one of them changed, and checksums that are right.
fn changed_snapshot(random: &mut Random, chunks: &[Bytes], term: u64) -> Vec<Bytes> {
    // Now and then none is changed.
    let changed = random.below(chunks.len());
    let other = chunks[random.below(chunks.len())].clone();
    let (mut rows, mut checksum) = (0, 0);
    let mut out = Vec::new();
    for (at, chunk) in chunks[..chunks.len() - 1].iter().enumerate() {
        let body = match at == changed {
            true => random.change(&chunk[6..], &other[6..]),
            false => chunk.slice(6..),
        };
        // The header begins with the sender's vote.
        let body = match at == 0 && body.len() > 8 {
            true => [&term.to_be_bytes(), &body[8..]].concat().into(),
            false => body,
        };
        let chunk = sealed(chunk[1], &body);
        let mut totals = snapshot::Totals::default();
        // What cannot be read counts for nothing: it is refused before the count is compared.
        if snapshot::decode(chunk.clone(), &mut totals).is_ok() && chunk[1] == 2 {
            rows += totals.rows;
            checksum = crc32c::crc32c_append(checksum, &body);
        }
        out.push(chunk);
    }
    let mut end = BytesMut::new();
    end.put_u64(rows);
    end.put_u32(checksum);
    out.push(sealed(3, &end));
    out
}

async fn start(folder: &TempDir) -> Member {
    let net = Arc::new(Net::default());
    let member = Member::start(TARGET, folder, &net, 100_000).await;
    member.node.run();
    member
}

/// What became of the frames.
#[derive(Debug, Default)]
struct Count {
    answered: u64,
    refused: u64,
    left: u64,
}

impl Count {
    fn count<T>(&mut self, answer: Result<Result<Bytes, String>, T>) {
        match answer {
            Ok(Ok(_)) => self.answered += 1,
            Ok(Err(_)) => self.refused += 1,
            Err(_) => self.left += 1,
        }
    }
}

async fn send(member: &Member, from: u64, kind: Kind, body: Bytes, count: &mut Count) {
    if std::env::var_os("DETCD_FUZZ_TRACE").is_some() {
        eprintln!("{kind:?} from {from:x}: {body:02x?}");
    }
    let call = member.node.receiver().call(from, kind, body);
    // Any answer will do, and none as well.
    count.count(detcd_rt::timeout(CALL_TIMEOUT, call).await);
}

async fn send_snapshot(member: &Member, from: u64, chunks: Vec<Bytes>, count: &mut Count) {
    if std::env::var_os("DETCD_FUZZ_TRACE").is_some() {
        eprintln!("a snapshot from {from:x}: {chunks:02x?}");
    }
    let chunks = stream::iter(chunks).map(Ok).boxed();
    let sent = member.node.receiver().stream(from, Kind::Snapshot, chunks);
    count.count(detcd_rt::timeout(CALL_TIMEOUT * 250, sent).await);
}

fn assert_lives(member: &Member, when: &str) {
    let fatal = member.node.fatal().borrow().clone();
    assert_eq!(fatal, None, "{when}");
}

async fn attack(random: &mut Random, frames: &[Sent], chunks: &[Bytes], name: &str) {
    let folder = TempDir::new().unwrap();
    let member = start(&folder).await;
    let mut counts: [Count; 4] = Default::default();
    let [real_frames, changed, forgeries, snapshots] = &mut counts;
    let founders: Vec<ApiMember> = (1..=3)
        .map(|id| ApiMember {
            id: MemberId(id),
            name: format!("m{id}"),
            peer_urls: vec![format!("http://m{id}:2380")],
            ..ApiMember::default()
        })
        .collect();
    member.node.initialize(&founders).await.unwrap();
    let first = random.below(frames.len().saturating_sub(FRAMES_PER_ROUND));
    // A leader that was met late sends what it finds lacking: from the beginning on.
    for real in frames[..first].iter().rev().take(20).rev() {
        send(
            &member,
            real.from,
            real.kind,
            real.body.clone(),
            real_frames,
        )
        .await;
    }
    for real in frames[first..].iter().take(FRAMES_PER_ROUND) {
        send(
            &member,
            real.from,
            real.kind,
            real.body.clone(),
            real_frames,
        )
        .await;
        for _ in 0..CHANGED_PER_FRAME {
            if random.below(2) == 0 {
                let (from, kind, body) = forged(random, &member);
                send(&member, from, kind, body, forgeries).await;
                continue;
            }
            let base = &frames[random.below(frames.len())];
            let other = &frames[random.below(frames.len())];
            let body = random.change(&base.body, &other.body);
            let kind = match random.below(10) {
                0 => random.one_of(&Kind::ALL),
                _ => base.kind,
            };
            let from = match random.below(8) {
                0 => random.number(),
                _ => base.from,
            };
            send(&member, from, kind, body, changed).await;
        }
        if random.below(10) == 0 {
            let term = member.node.status().term + random.next() % 2;
            let chunks = changed_snapshot(random, chunks, term);
            send_snapshot(&member, 1, chunks, snapshots).await;
        }
        assert_lives(&member, name);
    }
    member.stop().await;
    let member = start(&folder).await;
    for real in frames.iter().rev().take(20).rev() {
        send(
            &member,
            real.from,
            real.kind,
            real.body.clone(),
            real_frames,
        )
        .await;
    }
    // What was committed is applied by now, or never.
    let status = member.node.status();
    wait_for("what is committed to be applied", || {
        let fatal = member.node.fatal().borrow().is_some();
        fatal || member.published().applied >= status.committed
    })
    .await;
    assert_lives(&member, &format!("{name}, after a restart"));
    eprintln!("{name}: real, changed, forged, snapshots: {counts:?}");
    member.stop().await;
}

fn number(variable: &str, default: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => text.parse().expect("a number"),
        Err(_) => default,
    }
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = status.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_lives_whatever_frames_come() {
    let seed = number("DETCD_FUZZ_SEED", 1);
    let rounds = number("DETCD_FUZZ_ROUNDS", ROUNDS);
    if std::env::var_os("DETCD_FUZZ_RECORD").is_some() {
        record().await;
    }
    let (frames, chunks) = frames();
    assert!(frames.len() > 20 && chunks.len() > 3);
    let mut before = 0;
    for n in 0..rounds {
        let name = format!("DETCD_FUZZ_SEED={} DETCD_FUZZ_ROUNDS=1", seed + n);
        eprintln!("{name}");
        attack(&mut Random::new(seed + n), &frames, &chunks, &name).await;
        if n == 1 {
            before = resident_bytes();
        }
    }
    let grown = resident_bytes().saturating_sub(before);
    eprintln!(
        "{rounds} rounds: the process has grown by {} KiB",
        grown / 1024
    );
    assert!(rounds < 3 || grown < GROWTH_BYTES_MAX, "{grown} bytes");
}

#[test]
fn a_seed_gives_the_same_frames_each_time() {
    let change = |seed| Random::new(seed).change(b"0123456789", b"abcdefghij");
    assert_eq!(change(7), change(7));
    assert_ne!(change(7), change(8));
}
