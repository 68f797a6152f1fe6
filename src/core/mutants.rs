//! Planted bugs, for the simulator to catch. They exist only with the feature `mutants`, which
//! nothing but the simulator's own build (`cfg(madsim)`) switches on: tests/tidy reads every
//! manifest for it, and tests/process looks for their names in what is built to be used.
//!
//! A mutant is one line at the place of the mechanism that it breaks:
//! `if detcd_core::mutant!(AckBeforeSave) { ... }`. Without the feature that is `if false`. Some
//! bugs of history need two such lines, because more than one mechanism stands in their way here.
//!
//! Most are named after the rows of docs/bugs-of-history.md, which tells what went wrong where.

#[cfg(feature = "mutants")]
mod chosen {
    use core::sync::atomic::{AtomicU8, Ordering};

    /// None is zero. One run is one process, and has one mutant at most.
    static CHOSEN: AtomicU8 = AtomicU8::new(0);

    macro_rules! mutants {
        ($($(#[$what:meta])* $mutant:ident = $name:literal,)*) => {
            /// Every mutant. Each has a scenario under `scenarios/must-fail/` that catches it.
            #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
            #[repr(u8)]
            pub enum Mutant {
                $($(#[$what])* $mutant,)*
            }

            impl Mutant {
                pub const ALL: &[(&str, Mutant)] = &[$(($name, Mutant::$mutant),)*];
            }
        };
    }

    mutants! {
        /// The raft log tells that entries are durable before it syncs them.
        AckBeforeSave = "ack-before-save",
        /// The applied index is stored before the changes that it speaks of.
        AppliedIndexFirst = "applied-index-first",
        /// The applied index is stored after the changes that it speaks of.
        ReapplyAfterRestart = "reapply-after-restart",
        /// An entry whose request fails does not move the stored applied index.
        FailedApplyKeepsIndex = "failed-apply-keeps-index",
        /// The applied index of before a snapshot outlives the snapshot.
        OldIndexOverSnapshot = "old-index-over-snapshot",
        /// What a batch of entries deletes is still there for the later entries of the batch.
        ReadOwnBatch = "read-own-batch",
        /// A key that is deleted behind other changes of its revision goes on to be counted.
        StaleCount = "stale-count",
        /// The order of changes depends on how the entries came in batches.
        MapOrderApply = "map-order-apply",
        /// Compaction removes the newest change, and the revision is taken from what is left.
        CompactionCrash = "compaction-crash",
        /// Leases with negative ids are forgotten by members that restart.
        LeaseIdEdge = "lease-id-edge",

        /// A vote is answered without a sync.
        VoteNotDurable = "vote-not-durable",
        /// The leader counts entries that it has not synced itself.
        LeaderCountsUnsynced = "leader-counts-unsynced",
        /// A vote is granted to whoever asks in a higher term, whatever its log.
        VoteOnSight = "vote-on-sight",
        /// An answer to an earlier request counts for the entries of a later one.
        StaleAck = "stale-ack",
        /// An answer that is lost counts as a conflict.
        LateConflict = "late-conflict",
        /// Entries that conflict with an installed snapshot stay in the log.
        ConflictAfterSnapshot = "conflict-after-snapshot",
        /// A torn last write makes the log unusable.
        TornTail = "torn-tail",
        /// A sync that failed is tried again, and believed.
        FsyncRetried = "fsync-retried",
        /// What is read when a member starts is believed to be synced.
        UnsyncedStart = "unsynced-start",
        /// What rotted in the log is taken for a write that was never completed.
        BitrotLeader = "bitrot-leader",
        /// A log that lost its note of what was synced goes by what it finds.
        LostNote = "lost-note",
        /// A read of the log that fails is taken for the end of the log.
        ReadErrorAsEof = "read-error-as-eof",
        /// The log is purged while the state travels to a member that will need it.
        EndlessSync = "endless-sync",

        /// A change of voters skips the joint membership, in what is stored and sent.
        ConfigSwap = "config-swap",
        /// A learner is promoted, whatever it has of the log.
        UnstartedPromoted = "unstarted-promoted",
        /// A member that learns that it was removed goes on.
        RemovedServes = "removed-serves",
        /// Others go on to answer a member that was removed while it was away.
        RemovedComesBack = "removed-comes-back",
        /// A member with an empty disk takes part, though the others have seen it before.
        WipedMember = "wiped-member",

        /// A member names the leader of its term, though it hears from nobody.
        StatusLostLeader = "status-lost-leader",
        /// A list of members that is to be linearizable is read as it is here.
        MemberListLocal = "member-list-local",
        /// A list of leases is read as it is here, though there is a leader to ask.
        LeaseListLocal = "lease-list-local",
        /// A leader answers linearizable reads without asking its quorum.
        MinorityRead = "minority-read",
        /// A late answer to one round of reads serves the next round.
        ReadIndexReuse = "readindex-reuse",
        /// A new leader's read index is what it knew to be committed before it was elected.
        ReadBeforeFirstCommit = "read-before-first-commit",

        /// Leases end by the wall clock.
        LeaseReadWallClock = "lease-read-wall-clock",
        /// A leader that was deposed goes on to revoke leases.
        StalledLeaderRevokes = "stalled-leader-revokes",
        /// A lease whose revoke is proposed is renewed.
        KeepAliveRevoked = "keepalive-revoked",

        /// After a snapshot watchers start over.
        WatchTimeTravel = "watch-time-travel",
        /// A watcher that history is compacted away from goes on behind the gap.
        SlowWatcherLoss = "slow-watcher-loss",
        /// Progress is told at once, ahead of the events that are on their way.
        ProgressAhead = "progress-ahead",
        /// Watchers that a round of the loop does not reach are told nothing of its changes.
        UnreachedWatchers = "unreached-watchers",
        /// Of a revision with many changes watchers get some twice.
        DoubleWatchEvents = "double-watch-events",

        /// Who waits for a lock or to lead goes by the end of one key before its own.
        LockTrustsOneDelete = "lock-trusts-one-delete",
        /// A lock is given to who waited for it, though its lease has ended.
        LockOutlivesLease = "lock-outlives-lease",

        /// A snapshot for operators leaves out some changes.
        SnapshotMissesRows = "snapshot-misses-rows",

        /// A client that watches from now on watches from a later now after it reconnects.
        WatchRevisionZero = "watch-revision-zero",
        /// A client that waited for a lock does not look whether its lease is still there.
        LockAfterLease = "lock-after-lease",
        /// A client tries a transaction again whose outcome it does not know.
        RetryNotIdempotent = "retry-not-idempotent",

        /// A comparison of v2 holds if either the index or the value does.
        V2CompareEither = "v2-compare-either",
        /// A quorum read of v2 is served by what the member has.
        V2LocalQuorum = "v2-local-quorum",
        /// A watcher of v2 that goes on where it was does not look at what happened meanwhile.
        V2ResumeGap = "v2-resume-gap",
        /// A node of v2 lives half its time.
        V2ShortLife = "v2-short-life",
    }

    impl Mutant {
        /// The mutant of this name.
        pub fn named(name: &str) -> Option<Mutant> {
            let mut all = Mutant::ALL.iter();
            all.find(|(known, _)| *known == name)
                .map(|(_, mutant)| *mutant)
        }

        pub fn name(self) -> &'static str {
            Mutant::ALL[self as usize].0
        }

        /// Switches the mutant on, for the life of the process.
        pub fn choose(self) {
            let before = CHOSEN.swap(self as u8 + 1, Ordering::Relaxed);
            assert!(before == 0, "a process has one mutant at most");
        }

        pub fn is_on(self) -> bool {
            CHOSEN.load(Ordering::Relaxed) == self as u8 + 1
        }
    }
}

#[cfg(feature = "mutants")]
pub use chosen::Mutant;

/// Whether this mutant is switched on.
#[cfg(feature = "mutants")]
#[macro_export]
macro_rules! mutant {
    ($name:ident) => {
        $crate::mutants::Mutant::$name.is_on()
    };
}

/// Whether this mutant is switched on: never, in this build.
#[cfg(not(feature = "mutants"))]
#[macro_export]
macro_rules! mutant {
    ($name:ident) => {
        false
    };
}

/// Planted bugs are no code at all in this build: the compiler knows that they are off.
#[cfg(not(feature = "mutants"))]
const _: () = assert!(
    !mutant!(AckBeforeSave),
    "no build but the simulator's has planted bugs"
);
