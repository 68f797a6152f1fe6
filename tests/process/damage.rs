//! Every kind of file of a data-dir, flipped, cut, zeroed and deleted, singly and in pairs: the
//! member has everything that was acknowledged, or refuses with path and advice.
//!
//! The members run in this process, with small segments and tables, on copies of one data-dir as
//! a kill left it. `DETCD_TEST_DAMAGE_PAIRS` asks for more pairs, `DETCD_TEST_DAMAGE_SEED` for
//! others.

use crate::disaster::number;
use bytes::Bytes;
use detcd_core::api::{
    ClusterId, CompactRequest, DeleteRangeRequest, KeyRange, KeyValue, LeaseId, Member as Peer,
    MemberId, Millis, PutRequest, RangeRequest,
};
use detcd_core::error::Error;
use detcd_core::hash::HashKv;
use detcd_core::validate::Limits;
use detcd_driver::{Handle, Member, MemberOptions};
use detcd_peer::tonic::TonicTransport;
use detcd_storage::disk::RealDisk;
use detcd_storage::log::LogOptions;
use detcd_storage::store::{FjallStore, StoreOptions};
use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

const PAIRS: usize = 30;
const SEED: usize = 7;
const ID: MemberId = MemberId(0x1234);
/// What a member may take to serve or to refuse.
const SETTLED_MAX: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(5);
static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];
/// Files of one kind that are tried.
const OF_A_KIND: usize = 2;

fn options() -> MemberOptions {
    let log = LogOptions {
        segment_bytes: 64 * 1024,
        ..LogOptions::new(99)
    };
    MemberOptions {
        cluster_id: ClusterId(0x5678),
        member_id: ID,
        members: vec![Peer {
            id: ID,
            name: "n1".to_owned(),
            peer_urls: vec!["http://127.0.0.1:1".to_owned()],
            ..Peer::default()
        }],
        joins: false,
        strict_reconfig: true,
        heartbeat: Millis(20),
        election_timeout: Millis(100),
        snapshot_count: 60,
        catch_up_entries: 20,
        snapshot_chunk_bytes: 64 * 1024,
        deferred_log_bytes_min: 1024 * 1024,
        away_log_bytes_max: 0,
        limits: Limits {
            request_bytes_max: 1024 * 1024,
            txn_ops_max: 128,
        },
        quota_bytes: None,
        watch_progress_interval: Millis(600_000),
        token_time_to_live: Millis(300_000),
        log,
    }
}

/// A member and the threads that it runs on.
struct Running {
    runtime: tokio::runtime::Runtime,
    member: Member,
}

impl Running {
    fn start(folder: &Path) -> Result<Running, String> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("threads");
        let store_options = StoreOptions {
            write_buffer_bytes: 64 * 1024,
            ..StoreOptions::default()
        };
        let started = runtime.block_on(async {
            let disk = RealDisk::open(folder.join("log")).map_err(|error| error.to_string())?;
            let store = FjallStore::open(folder.join("store"), store_options);
            let store = store.map_err(|error| error.to_string())?;
            let transport = Arc::new(TonicTransport::new(ID.0, 0x5678));
            let started = Member::start(options(), disk, Arc::new(store), transport).await;
            started.map_err(|error| error.to_string())
        });
        match started {
            Ok(member) => Ok(Running { runtime, member }),
            Err(error) => {
                runtime.shutdown_background();
                // As the program does.
                Err(format!("data-dir {}: {error}", folder.display()))
            }
        }
    }

    fn stop(self) {
        let _ = self
            .runtime
            .block_on(async { tokio::time::timeout(SETTLED_MAX, self.member.stop()).await });
        self.runtime.shutdown_background();
    }
}

/// What clients see.
#[derive(Debug, PartialEq)]
struct State {
    kvs: Vec<KeyValue>,
    hash: HashKv,
    /// With the keys that are attached to them.
    leases: Vec<(LeaseId, Vec<Bytes>)>,
}

async fn read(handle: &Handle) -> Result<State, Error> {
    let all = KeyRange::of(Bytes::from_static(b"\0"), Bytes::from_static(b"\0"));
    let (_, reply) = handle.range(RangeRequest::of(all)).await?;
    let (_, hash) = handle.hash_kv(0).await?;
    let (_, mut ids) = handle.leases().await?;
    ids.sort();
    let mut leases = Vec::new();
    for id in ids {
        let (_, info) = handle.time_to_live(id, true).await?;
        let mut keys = info.keys;
        keys.sort();
        leases.push((id, keys));
    }
    Ok(State {
        kvs: reply.kvs,
        hash,
        leases,
    })
}

/// What the member shows once it serves, or why it does not.
fn outcome(folder: &Path) -> Result<State, String> {
    let running = Running::start(folder)?;
    let handle = running.member.handle();
    let deadline = Instant::now() + SETTLED_MAX;
    let settled = running.runtime.block_on(async {
        let mut polls = tokio::time::interval(POLL);
        loop {
            polls.tick().await;
            let answer = tokio::time::timeout(SETTLED_MAX, read(&handle)).await;
            if let Some(reason) = handle.fatal().borrow().clone() {
                return Err(reason);
            }
            match answer {
                Ok(Ok(state)) => return Ok(state),
                other if Instant::now() > deadline => panic!("neither serves nor ends: {other:?}"),
                _ => {}
            }
        }
    });
    running.stop();
    settled
}

fn noise(salt: u64, bytes: usize) -> Bytes {
    let mut draws = Draws(salt.wrapping_mul(0x9e37_79b9) | 1);
    (0..bytes).map(|_| draws.below(256) as u8).collect()
}

fn put(key: String, value: Bytes, lease: LeaseId) -> PutRequest {
    PutRequest {
        key: key.into(),
        value,
        lease,
        ..PutRequest::default()
    }
}

/// Fills a data-dir and copies it while the member runs: as a kill would leave it.
fn prepare() -> (Image, State) {
    let live = tempfile::tempdir().expect("a folder");
    let running = Running::start(live.path()).expect("an empty folder");
    let handle = running.member.handle();
    let state = running.runtime.block_on(async {
        let deadline = Instant::now() + SETTLED_MAX;
        let mut polls = tokio::time::interval(POLL);
        while handle.confirm_read().await.is_err() {
            assert!(Instant::now() < deadline, "no leader");
            polls.tick().await;
        }
        let mut leases = vec![LeaseId::default()];
        for round in 0..6u64 {
            let (_, lease, _) = handle
                .lease_grant(LeaseId(0), 10_000)
                .await
                .expect("a lease");
            leases.push(lease);
            for i in 0..60 {
                let key = format!("k{:03}", (round * 37 + i) % 150);
                let lease = leases[(round + i) as usize % leases.len()];
                let value = noise(round * 100 + i, 1500);
                handle.put(put(key, value, lease)).await.expect("a put");
            }
            let gone = KeyRange::One(format!("k{:03}", round * 7).into());
            let gone = DeleteRangeRequest {
                range: gone,
                prev_kv: false,
            };
            let (header, _) = handle.delete_range(gone).await.expect("a delete");
            let compact = CompactRequest {
                revision: header.revision - 30,
                physical: true,
            };
            handle.compact(compact).await.expect("a compaction");
        }
        read(&handle).await.expect("a state")
    });
    let mut image = Image::new();
    load(live.path(), live.path(), &mut image);
    running.stop();
    (image, state)
}

/// The files of a folder, by their names within it.
type Image = BTreeMap<PathBuf, Content>;

/// A file as what is written in it and the zeros behind.
#[derive(Clone)]
struct Content {
    written: Vec<u8>,
    length: u64,
}

fn load(root: &Path, folder: &Path, image: &mut Image) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            load(root, &path, image);
            continue;
        }
        let mut written = fs::read(&path).expect("a file");
        let length = written.len() as u64;
        while written.ends_with(&ZEROS) {
            written.truncate(written.len() - ZEROS.len());
        }
        let last = written.iter().rposition(|byte| *byte != 0);
        written.truncate(last.map_or(0, |last| last + 1));
        let name = path.strip_prefix(root).expect("it is below").to_owned();
        image.insert(name, Content { written, length });
    }
}

fn store(image: &Image, folder: &Path) {
    for (name, content) in image {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        let file = File::create(path).expect("a file");
        file.set_len(content.length).expect("a length");
        file.write_all_at(&content.written, 0).expect("a write");
    }
}

#[derive(Clone, Copy, Debug)]
enum Harm {
    Delete,
    /// The same length, all zeros.
    Zero,
    Empty,
    /// The second half of what is written is gone.
    Halve,
    /// The second half of what is written is zeros.
    Blank,
    /// The last bytes of what is written are gone.
    Shorten(usize),
    /// One bit, so far into what is written.
    Flip(f64),
}

const HARMS: [Harm; 10] = [
    Harm::Delete,
    Harm::Zero,
    Harm::Empty,
    Harm::Halve,
    Harm::Blank,
    Harm::Shorten(1),
    Harm::Shorten(600),
    Harm::Flip(0.01),
    Harm::Flip(0.5),
    Harm::Flip(0.99),
];

#[derive(Clone)]
struct Fault {
    file: PathBuf,
    harm: Harm,
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}", self.harm, self.file.display())
    }
}

impl Fault {
    fn inflict(&self, image: &mut Image) {
        let Some(content) = image.get_mut(&self.file) else {
            return; // the other fault has deleted it
        };
        let written = content.written.len();
        let keep = match self.harm {
            Harm::Delete => return drop(image.remove(&self.file)),
            Harm::Zero => return content.written.clear(),
            Harm::Blank => return content.written.truncate(written / 2),
            Harm::Flip(part) => {
                let place = (written as f64 * part) as usize;
                return content
                    .written
                    .iter_mut()
                    .skip(place)
                    .take(1)
                    .for_each(|it| *it ^= 0x10);
            }
            Harm::Empty => 0,
            Harm::Halve => written / 2,
            Harm::Shorten(by) => written.saturating_sub(by),
        };
        content.written.truncate(keep);
        content.length = content.length.min(keep as u64);
    }
}

struct Draws(u64);

impl Draws {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
    }
}

/// What is wrong with the outcome, if anything.
fn judge(base: &Image, expected: &State, faults: &[Fault]) -> Option<String> {
    let folder = tempfile::tempdir().expect("a folder");
    let mut image = base.clone();
    faults.iter().for_each(|fault| fault.inflict(&mut image));
    store(&image, folder.path());
    let shown = folder.path().display().to_string();
    let text = match outcome(folder.path()) {
        Ok(state) if state == *expected => return None,
        Ok(state) => {
            let (found, all) = (state.kvs.len(), expected.kvs.len());
            let (leases, all_leases) = (state.leases.len(), expected.leases.len());
            return Some(format!(
                "{faults:?}: serves {found} of {all} keys, {leases} of {all_leases} leases, {:?} \
                 instead of {:?}",
                state.hash, expected.hash
            ));
        }
        Err(text) => text,
    };
    let advice = ["member remove", "make room", "give the user", "look "];
    let helps = text.contains(&shown) && advice.iter().any(|advice| text.contains(advice));
    (!helps || text.contains('\n')).then(|| format!("{faults:?}: says only: {text}"))
}

/// A few files of each kind: kinds are told apart by the letters of their names.
fn kinds(base: &Image) -> Vec<PathBuf> {
    let mut seen = BTreeMap::<String, usize>::new();
    // The newest first.
    let mut kept: Vec<PathBuf> = base.keys().rev().cloned().collect();
    kept.retain(|path| {
        let kind = path.display().to_string();
        let kind = kind.replace(|letter: char| letter.is_ascii_hexdigit(), "");
        let count = seen.entry(kind).or_default();
        *count += 1;
        *count <= OF_A_KIND
    });
    kept
}

#[test]
fn damage_is_refused_or_harmless() {
    let (base, expected) = prepare();
    let kinds = kinds(&base);
    let is_segment = |path: &&PathBuf| path.starts_with("log") && path.extension().is_some();
    let segments = base.keys().filter(is_segment).count();
    assert!(segments > 1, "{kinds:?}");
    assert_eq!(judge(&base, &expected, &[]), None, "nothing is damaged");
    let fault = |file: &PathBuf, harm| Fault {
        file: file.clone(),
        harm,
    };
    let mut trials: Vec<Vec<Fault>> = Vec::new();
    for file in &kinds {
        trials.extend(HARMS.iter().map(|harm| vec![fault(file, *harm)]));
    }
    let mut draws = Draws(number("DETCD_TEST_DAMAGE_SEED", SEED) as u64 | 1);
    for _ in 0..number("DETCD_TEST_DAMAGE_PAIRS", PAIRS) {
        let mut draw = || {
            fault(
                &kinds[draws.below(kinds.len())],
                HARMS[draws.below(HARMS.len())],
            )
        };
        trials.push(vec![draw(), draw()]);
    }
    let start = Instant::now();
    let count = trials.len();
    let wrong: Vec<String> = trials
        .iter()
        .filter_map(|faults| judge(&base, &expected, faults))
        .collect();
    eprintln!(
        "{count} trials of {} files in {:?}",
        kinds.len(),
        start.elapsed()
    );
    assert!(
        wrong.is_empty(),
        "{} of {count}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
