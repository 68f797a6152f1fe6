//! Every limit has its name here (etcd's defaults where etcd has the limit).

use crate::api::Millis;

/// The largest request, in bytes (`--max-request-bytes`).
pub const REQUEST_BYTES_MAX: usize = 1_572_864;
/// What gRPC adds to the largest request: the transport's limit is the sum of both.
pub const REQUEST_OVERHEAD_BYTES: usize = 512 * 1024;
/// Operations in a transaction (`--max-txn-ops`).
pub const TXN_OPS_MAX: usize = 128;
/// Depth of nested transactions. etcd has no such limit; it bounds recursion here.
pub const TXN_DEPTH_MAX: usize = 64;
/// The longest time-to-live of a lease, in seconds.
pub const LEASE_TTL_MAX: i64 = 9_000_000_000;
/// Expired leases revoked a second, by the leader.
pub const LEASE_REVOKES_PER_SECOND: u32 = 1_000;
/// Revokes by expiry under way at once.
pub const LEASE_REVOKES_PENDING_MAX: usize = 16 * 16;
/// How long the count of revokes by expiry runs: the rate holds over each such window.
pub const LEASE_REVOKE_WINDOW: Millis = Millis(100);
/// Keepalives and time-to-lives under way at once; the next is `too many requests`.
pub const PENDING_LEASE_CALLS_MAX: usize = 64 * 1024;
/// Writes that a member has taken and not yet answered; the next is `too many requests`.
pub const PENDING_WRITES_MAX: usize = 64 * 1024;
/// Bytes of the commands of those writes.
pub const PENDING_WRITE_BYTES_MAX: usize = 256 * 1024 * 1024;
/// A write whose command has more bytes is large.
pub const LARGE_WRITE_BYTES: usize = 64 * 1024;
/// Bytes of large writes that are on their way into the log at a time: small writes come behind
/// these, and before the other large ones.
pub const LARGE_WRITES_SENT_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Linearizable reads under way at once; the next is `too many requests`.
pub const PENDING_READS_MAX: usize = 256 * 1024;
/// How old the store's size may be while there seems to be room below the quota.
pub const QUOTA_MEASURE_PERIOD: Millis = Millis(100);
/// How old it may be when there seems to be none.
pub const QUOTA_MEASURE_PAUSE: Millis = Millis(10);
/// A batch of proposals is closed once it has this many bytes (etcd's largest raft message).
pub const PROPOSE_BATCH_BYTES: usize = 1024 * 1024;
/// How long a round of reads may take before it is asked again (etcd: readIndex retry).
pub const READ_ROUND_TIMEOUT: Millis = Millis(500);
/// The first pause before something that was refused is tried again.
pub const RETRY_PAUSE_MIN: Millis = Millis(2);
/// The longest such pause.
pub const RETRY_PAUSE_MAX: Millis = Millis(64);
/// How far the applied index may lag behind the committed index before writes are refused.
pub const APPLY_LAG_MAX: u64 = 5_000;
/// Versions removed in one step of a compaction.
pub const COMPACTION_BATCH: usize = 1_000;
/// Deleted keys that the index of keys looks at in one step of a compaction.
pub const INDEX_PRUNE_BATCH: usize = 256;
/// Events in one catch-up read of watchers that lag.
pub const CATCH_UP_EVENTS_MAX: usize = 1_000;
/// Bytes of one catch-up read of watchers that lag.
pub const CATCH_UP_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Bytes of keys and values in one chunk of a streamed range.
pub const RANGE_CHUNK_BYTES: usize = 1024 * 1024;
/// Rows of a snapshot are gathered into a chunk until it has this many bytes.
pub const SNAPSHOT_CHUNK_BYTES: usize = 256 * 1024;
/// About so many bytes of rows are read at a time for a snapshot that an operator asks for.
pub const SNAPSHOT_STEP_BYTES: usize = 256 * 1024;
/// Bytes of such a snapshot in one message (as etcd's).
pub const SNAPSHOT_MESSAGE_BYTES: usize = 32 * 1024;
/// Responses that a watch stream may have queued before its watchers count as slow.
pub const WATCH_STREAM_CREDITS: u32 = 128;
/// Answers that a watch stream may have waiting for credit before it is ended: its client sends
/// requests and does not read.
pub const WATCH_STREAM_ANSWERS_MAX: usize = 128 * 1024;
/// What the watch hub does in a round of the member's loop before requests are served again: visits
/// to watchers, and events sent to them.
pub const WATCH_WORK_PER_ROUND: u64 = 128;
/// For each so many changes that wait to be sent to watchers, the hub may do as much again.
pub const WATCH_BACKLOG_SHARE: usize = 64;
/// Watchers of one stream.
pub const WATCHERS_PER_STREAM_MAX: usize = 1_000_000;
/// Events of v2 that are kept for those who ask for the past (etcd: 1000).
pub const V2_HISTORY_EVENTS: u64 = 1_000;
/// Components of a path of v2. etcd has no such limit; it bounds recursion here.
pub const V2_DEPTH_MAX: usize = 512;
/// Events that a watcher of v2 may have waiting before it has to read them from the history.
pub const V2_WATCH_QUEUE: usize = 100;
/// What hashing a password may cost (`--bcrypt-cost`): each step doubles the time.
pub const BCRYPT_COST_MIN: u32 = 4;
pub const BCRYPT_COST_MAX: u32 = 31;
pub const BCRYPT_COST_DEFAULT: u32 = 10;
/// Checks and hashes of passwords that wait for their turn; the next is `too many requests`.
pub const PASSWORDS_WAITING_MAX: usize = 128;
/// Threads that check and hash passwords.
pub const PASSWORD_THREADS_MAX: usize = 4;
/// Members of a cluster, learners among them. No membership with more is believed.
pub const MEMBERS_MAX: usize = 256;
/// The peer URLs of a member.
pub const MEMBER_PEER_URLS_MAX: usize = 64;
/// The name and the peer URLs of a member, in bytes.
pub const MEMBER_BYTES_MAX: usize = 64 * 1024;
/// What a client waits for an outcome before it is told that it is unknown, beyond two election
/// timeouts (etcd: 5 s + 2 x election timeout).
pub const REQUEST_TIMEOUT_BASE: Millis = Millis(5_000);
/// Learners that a cluster may have at once (etcd: `--max-learners`).
pub const LEARNERS_MAX: usize = 1;
/// How much of the leader's log, in percent, a learner must have to be promoted.
pub const LEARNER_READY_PERCENT: u64 = 90;
/// How many entries a member that was added may lag and still become a voter.
pub const VOTER_LAG_MAX: u64 = 500;
/// File descriptors that neither storage nor connections of others take: the runtime's, the
/// listeners', standard output, and connections to other members.
pub const DESCRIPTORS_INTERNAL: u64 = 24;
/// With fewer file descriptors a member does not start.
pub const DESCRIPTORS_MIN: u64 = 256;
/// Of the descriptors that are left for connections, one in so many is for those of other members.
pub const DESCRIPTORS_PEER_SHARE: u64 = 8;
/// Connections of other members: each of the largest clusters' holds one, and at times three.
pub const PEER_CONNECTIONS_MIN: u64 = 32;
pub const PEER_CONNECTIONS_MAX: u64 = 256;
/// How often the free space of the data-dir's file system is measured.
pub const FREE_SPACE_PERIOD: Millis = Millis(2_000);
/// Less free space than this is warned of at any rate of writing: a segment of the log, a journal
/// of the store, and what merging its tables takes meanwhile.
pub const FREE_BYTES_MIN: u64 = 256 * 1024 * 1024;
/// So long must the rest do, at the rate of the last minute.
pub const FREE_SPACE_AHEAD: Millis = Millis(5 * 60 * 1_000);
/// The time over which that rate is taken.
pub const FREE_SPACE_RATE_WINDOW: Millis = Millis(60 * 1_000);
/// How much more than what is needed has to be free until the next warning may come, in percent.
pub const FREE_SPACE_RELIEF_PERCENT: u64 = 125;
/// So much log does a member keep for another one that is sent the state, however small the state is,
/// unless it is configured otherwise. Beyond it the log may grow as large as the state.
pub const DEFERRED_LOG_BYTES_MIN: u64 = 1024 * 1024 * 1024;
/// So much log does a member keep while another one is away, unless it is configured otherwise: the
/// other one is then sent what it missed, and not the whole state.
pub const AWAY_LOG_BYTES_MAX: u64 = 64 * 1024 * 1024;
const _: () = assert!(AWAY_LOG_BYTES_MAX < DEFERRED_LOG_BYTES_MIN);
/// So many entries of the log does it keep for that at most, as etcd 3.5 does by default: what has to be
/// read at a start is bounded.
pub const AWAY_LOG_ENTRIES_MAX: u64 = 100_000;
/// How long a member that was removed lives on once it knows: so long can it tell the others what
/// is committed.
pub const REMOVED_STOP_DELAY: Millis = Millis(1_000);
/// The pause before a member that has yet to be admitted greets another one again.
pub const GREETING_PAUSE: Millis = Millis(50);
/// How long another member may take to answer a greeting.
pub const GREETING_TIMEOUT: Millis = Millis(1_000);
/// How often a member that has yet to be admitted tells the operator who does not answer.
pub const GREETING_WARNING: Millis = Millis(5_000);
/// The pause before a member tries again to publish itself.
pub const PUBLISH_PAUSE: Millis = Millis(100);

const _: () = assert!(CATCH_UP_BYTES_MAX > REQUEST_BYTES_MAX);
const _: () = assert!(PENDING_WRITES_MAX > APPLY_LAG_MAX as usize);
const _: () = assert!(LARGE_WRITES_SENT_BYTES_MAX > REQUEST_BYTES_MAX);
const _: () = assert!(PENDING_WRITE_BYTES_MAX > 2 * REQUEST_BYTES_MAX);
const _: () = assert!(RETRY_PAUSE_MIN.0 > 0 && RETRY_PAUSE_MIN.0 <= RETRY_PAUSE_MAX.0);
const _: () = assert!(READ_ROUND_TIMEOUT.0 < REQUEST_TIMEOUT_BASE.0);
const _: () = assert!(LEARNER_READY_PERCENT <= 100);
const _: () = assert!(DESCRIPTORS_INTERNAL + PEER_CONNECTIONS_MIN < DESCRIPTORS_MIN);
const _: () = assert!(PEER_CONNECTIONS_MIN < PEER_CONNECTIONS_MAX);
const _: () = assert!(FREE_SPACE_PERIOD.0 < FREE_SPACE_RATE_WINDOW.0);
const _: () = assert!(FREE_SPACE_RELIEF_PERCENT > 100);
const _: () = assert!(LEASE_REVOKES_PER_SECOND as u64 * LEASE_REVOKE_WINDOW.0 >= 1_000);
