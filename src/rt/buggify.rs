//! Buggify: named places at which a simulated member now and then waits, or takes the rarer way.
//!
//! Both must be harmless anywhere: a pause is what a scheduler may do at any await, and the rarer
//! way is what every limit does sooner or later. The simulator decides which places a run has, and
//! how often each fires. In production nothing ever fires, and the calls cost nothing.

use crate::backend;

macro_rules! places {
    ($($(#[doc = $what:literal])* $place:ident = $name:literal,)*) => {
        /// A place. Its doc says what waits there, or what is done otherwise.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Place {
            $($(#[doc = $what])* $place,)*
        }

        impl Place {
            pub const ALL: &[Place] = &[$(Place::$place,)*];

            pub const fn name(self) -> &'static str {
                match self {
                    $(Place::$place => $name,)*
                }
            }

            /// What waits there, or what is done otherwise.
            pub const fn about(self) -> &'static str {
                match self {
                    $(Place::$place => concat!($($what),*),)*
                }
            }
        }
    };
}

places! {
    /// Entries wait before they are handed to the log's writer.
    Append = "append",
    /// The engine learns late that entries are synced.
    Synced = "synced",
    /// A vote that is saved is not yet told.
    VoteSaved = "vote-saved",
    /// Committed entries wait before they are applied.
    Apply = "apply",
    /// One entry is applied at a time.
    ApplySingly = "apply-singly",
    /// Applied entries are not told yet.
    Applied = "applied",
    /// The log waits before it is purged, when what it holds is durable elsewhere.
    Purge = "purge",
    /// One entry is read from the log at a time, to be sent.
    ReadSingly = "read-singly",
    /// A candidate waits before it asks for a vote.
    AskVote = "ask-vote",
    /// A leader waits before it sends entries, or a heartbeat.
    SendAppend = "send-append",
    /// A chunk of a snapshot waits before it is sent.
    SnapshotChunk = "snapshot-chunk",
    /// A chunk of a snapshot has one row.
    SnapshotRow = "snapshot-row",
    /// A snapshot that came whole waits before it is put in place.
    SnapshotInstall = "snapshot-install",
    /// The driver takes one input at a time.
    InputSingly = "input-singly",
    /// A round of the driver does one step of the work for watchers.
    WatchSingly = "watch-singly",
    /// A confirmed read index waits before anybody hears of it.
    ReadIndex = "read-index",
    /// Proposals of another member wait before they are proposed.
    Forwarded = "forwarded",
    /// The outcome of what was asked of another member is told late.
    PeerAnswer = "peer-answer",
    /// A watcher that lags waits before what it missed is read.
    CatchUp = "catch-up",
    /// A compaction waits between two steps.
    CompactionStep = "compaction-step",
    /// A step of a compaction removes one version.
    CompactSingly = "compact-singly",
    /// The outcome of a write is known, and its client is not answered yet.
    Answer = "answer",
    /// The live keys wait before they are indexed.
    IndexKeys = "index-keys",
}

/// Waits here, if the place fires.
pub async fn maybe_wait(place: Place) {
    if let Some(pause) = backend::buggify(place) {
        crate::sleep(pause).await;
    }
}

/// Whether the rarer way is to be taken here.
pub fn takes_rare_path(place: Place) -> bool {
    backend::buggify(place).is_some()
}

/// Does `work` now or, if the place fires, later, in a task of its own.
pub fn defer(place: Place, work: impl FnOnce() + Send + 'static) {
    match backend::buggify(place) {
        None => work(),
        Some(pause) => drop(crate::spawn(async move {
            crate::sleep(pause).await;
            work();
        })),
    }
}
