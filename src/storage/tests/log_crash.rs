//! The log against a model, through power failures and failing disks.

mod support;

use bytes::Bytes;
use detcd_storage::conformance;
use detcd_storage::conformance::log::options;
use detcd_storage::log::{Log, LogEntry, LogError, LogWriter, Position, Receipt, Recovered};
use futures::FutureExt;
use futures::executor::block_on;
use futures::future::BoxFuture;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use support::{CrashDisk, Draws};

#[derive(Clone, Debug)]
enum Step {
    Append {
        count: u64,
        bytes: usize,
        new_term: bool,
    },
    Truncate {
        back: u64,
    },
    Purge {
        forward: u64,
    },
    /// As after a snapshot: beyond the last entry.
    PurgeBeyond {
        by: u64,
    },
    Vote,
    Commit {
        back: u64,
    },
    Read {
        back: u64,
        count: u64,
    },
    /// Lets the writer make this many calls to the disk.
    Run {
        calls: u32,
    },
    Close,
    /// The process is killed: what it wrote can be read, synced or not.
    Kill,
    /// The power fails.
    Crash {
        seed: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (1..6u64, 0..3000usize, prop::bool::weighted(0.2))
            .prop_map(|(count, bytes, new_term)| Step::Append { count, bytes, new_term }),
        2 => (0..8u64).prop_map(|back| Step::Truncate { back }),
        2 => (1..30u64).prop_map(|forward| Step::Purge { forward }),
        1 => (0..50u64).prop_map(|by| Step::PurgeBeyond { by }),
        2 => Just(Step::Vote),
        3 => (0..5u64).prop_map(|back| Step::Commit { back }),
        2 => (0..60u64, 1..60u64).prop_map(|(back, count)| Step::Read { back, count }),
        8 => (0..40u32).prop_map(|calls| Step::Run { calls }),
        1 => Just(Step::Close),
        2 => Just(Step::Kill),
        2 => any::<u64>().prop_map(|seed| Step::Crash { seed }),
    ]
}

/// The log as it must be after some prefix of the calls.
#[derive(Clone, Debug, Default, PartialEq)]
struct Model {
    purged: Option<Position>,
    entries: BTreeMap<u64, LogEntry>,
}

impl Model {
    fn last(&self) -> Option<Position> {
        self.entries
            .values()
            .next_back()
            .map(LogEntry::position)
            .or(self.purged)
    }

    fn next(&self) -> u64 {
        self.last().map_or(1, |last| last.index + 1)
    }

    fn purge(&mut self, through: Position) {
        if self
            .purged
            .is_none_or(|purged| purged.index < through.index)
        {
            self.purged = Some(through);
            self.entries = self.entries.split_off(&(through.index + 1));
        }
    }
}

type Ack = Arc<Mutex<Option<Result<(), LogError>>>>;

/// A running log, its model after every call, and what was acknowledged.
struct Run {
    disk: CrashDisk,
    log: Option<Log>,
    writer: BoxFuture<'static, Result<(), LogError>>,
    /// What the writer returned.
    ended: Option<Result<(), LogError>>,
    models: Vec<Model>,
    /// For each call after the first model.
    acks: Vec<Ack>,
    /// Receipts by the number of their call.
    receipts: Vec<(usize, Receipt)>,
    votes: Vec<(Bytes, usize)>,
    commits: Vec<Position>,
    term: u64,
}

impl Run {
    fn start(disk: CrashDisk, term: u64) -> (Run, Recovered) {
        let (log, writer, found): (Log, LogWriter<CrashDisk>, Recovered) =
            block_on(Log::open(disk.clone(), options())).expect("a crash never corrupts");
        let mut run = Run {
            disk,
            log: Some(log.clone()),
            writer: writer.run().boxed(),
            ended: None,
            models: Vec::new(),
            acks: Vec::new(),
            receipts: Vec::new(),
            votes: found.vote.iter().map(|vote| (vote.clone(), 0)).collect(),
            commits: found.committed.into_iter().collect(),
            term,
        };
        let mut model = Model {
            purged: found.state.purged,
            ..Model::default()
        };
        let entries = run.complete(log.read(0..u64::MAX)).expect("a read");
        model.entries = entries
            .into_iter()
            .map(|entry| (entry.index, entry))
            .collect();
        assert_eq!(model.last(), found.state.last);
        assert!(
            found
                .committed
                .is_none_or(|committed| committed.index < model.next())
        );
        run.models.push(model);
        (run, found)
    }

    fn poll_writer(&mut self) -> Option<Result<(), LogError>> {
        let mut context = Context::from_waker(Waker::noop());
        match self.writer.as_mut().poll(&mut context) {
            std::task::Poll::Ready(result) => {
                self.writer = futures::future::pending().boxed();
                self.ended = Some(result.clone());
                Some(result)
            }
            std::task::Poll::Pending => None,
        }
    }

    /// Lets the writer run until the future is done.
    fn complete<T>(&mut self, future: impl Future<Output = T>) -> T {
        let mut future = std::pin::pin!(future);
        for _ in 0..100_000 {
            if let Some(result) = future.as_mut().now_or_never() {
                return result;
            }
            let _ = self.poll_writer();
        }
        panic!("the log does not answer");
    }

    fn model(&self) -> &Model {
        self.models.last().expect("one at least")
    }

    /// Notes a call that changes the log as `change` does; its answer goes to what is returned.
    fn call(&mut self, change: impl FnOnce(&mut Model)) -> Ack {
        let mut model = self.model().clone();
        change(&mut model);
        self.models.push(model);
        self.acks.push(Ack::default());
        self.acks.last().expect("just pushed").clone()
    }

    fn receipt(&mut self, receipt: Receipt, change: impl FnOnce(&mut Model)) {
        self.call(change);
        self.receipts.push((self.acks.len() - 1, receipt));
    }

    fn step(&mut self, step: &Step) {
        let log = self.log.clone().expect("the log is open");
        let (next, last) = (self.model().next(), self.model().last());
        let floor = self.model().purged.map_or(1, |purged| purged.index + 1);
        match *step {
            Step::Append {
                count,
                bytes,
                new_term,
            } => {
                self.term += u64::from(new_term);
                let entry = |index| LogEntry {
                    term: self.term,
                    index,
                    payload: Bytes::from(format!("{index}/{};", self.term).repeat(1 + bytes / 8)),
                };
                let entries: Vec<_> = (next..next + count).map(entry).collect();
                let added = entries.clone();
                let ack = self.call(|model| {
                    model
                        .entries
                        .extend(added.into_iter().map(|it| (it.index, it)))
                });
                let done = move |result| *ack.lock().unwrap() = Some(result);
                log.append(entries, Box::new(done));
            }
            Step::Truncate { back } => {
                let committed = self
                    .commits
                    .iter()
                    .map(|it| it.index + 1)
                    .max()
                    .unwrap_or(0);
                let from = next.saturating_sub(back).max(floor).max(committed);
                let receipt = log.truncate_after((from > 1).then(|| from - 1));
                self.receipt(receipt, |model| drop(model.entries.split_off(&from)));
                self.term += 1;
            }
            Step::Purge { forward } => {
                let index = (floor - 1 + forward).min(next - 1);
                if let Some(term) = log.term_at(index) {
                    let through = Position { term, index };
                    self.receipt(log.purge(through), |model| model.purge(through));
                }
            }
            Step::PurgeBeyond { by } => {
                let through = Position {
                    term: self.term,
                    index: next + by,
                };
                self.receipt(log.purge(through), |model| model.purge(through));
            }
            Step::Vote => {
                let vote = Bytes::from(format!("vote {} {}", self.votes.len(), self.acks.len()));
                self.receipt(log.save_vote(vote.clone()), |_| ());
                self.votes.push((vote, self.acks.len()));
            }
            Step::Commit { back } => {
                let committed = last.filter(|last| last.index >= floor + back);
                if let Some(index) = committed.map(|last| last.index - back) {
                    let term = log.term_at(index).expect("the log holds it");
                    log.save_committed(Position { term, index })
                        .expect("a running log");
                    self.commits.push(Position { term, index });
                }
            }
            Step::Read { back, count } => {
                let start = next.saturating_sub(back);
                let expected: Vec<_> = self
                    .model()
                    .entries
                    .range(start..start + count)
                    .map(|it| it.1.clone())
                    .collect();
                let read = self
                    .complete(log.read(start..start + count))
                    .expect("a read");
                assert_eq!(read, expected);
            }
            Step::Run { calls } => {
                for _ in 0..calls {
                    let _ = self.poll_writer();
                }
            }
            Step::Close | Step::Kill | Step::Crash { .. } => unreachable!("ends the run"),
        }
        let state = log.state();
        assert_eq!(
            (state.purged, state.last),
            (self.model().purged, self.model().last())
        );
    }

    /// How many calls were acknowledged; none before them may be missing.
    fn acknowledged(&mut self) -> usize {
        for (call, receipt) in &mut self.receipts {
            if let Some(result) = receipt.now_or_never() {
                *self.acks[*call].lock().unwrap() = Some(result);
                *call = usize::MAX;
            }
        }
        self.receipts.retain(|(call, _)| *call != usize::MAX);
        let durable = |ack: &Ack| matches!(*ack.lock().unwrap(), Some(Ok(())));
        let count = self.acks.iter().take_while(|ack| durable(ack)).count();
        assert!(
            !self.acks[count..].iter().any(durable),
            "acknowledged out of order"
        );
        count
    }

    /// Checks what was found after the run ended, when `acknowledged` calls had been.
    fn check_successor(&self, next: &Run, found: &Recovered, acknowledged: usize) {
        let possible = &self.models[acknowledged..];
        assert!(
            possible.contains(next.model()),
            "after {acknowledged} of {} acknowledged calls: {:?}, but it was {:?}",
            self.acks.len(),
            next.model(),
            possible[0],
        );
        let last_known = self
            .votes
            .iter()
            .rev()
            .find(|(_, call)| *call <= acknowledged);
        let later = self.votes.iter().filter(|(_, call)| *call > acknowledged);
        let possible: Vec<_> = last_known
            .into_iter()
            .chain(later)
            .map(|(vote, _)| vote)
            .collect();
        assert!(
            found.vote.is_none() && last_known.is_none()
                || possible.contains(&found.vote.as_ref().expect("a vote was acknowledged"))
        );
        assert!(
            found
                .committed
                .is_none_or(|committed| self.commits.contains(&committed))
        );
    }

    fn close(mut self) -> (Run, Recovered) {
        self.log = None;
        let closed = (0..100_000).find_map(|_| self.poll_writer());
        assert_eq!(
            closed,
            Some(Ok(())),
            "the writer ends when the log is dropped"
        );
        let acknowledged = self.acknowledged();
        assert_eq!(
            acknowledged,
            self.acks.len(),
            "closing finishes what was begun"
        );
        let (next, found) = Run::start(self.disk.clone(), self.term + 1);
        self.check_successor(&next, &found, acknowledged);
        assert_eq!(found.torn, None);
        (next, found)
    }

    fn crash(self, seed: u64) -> Run {
        let disk = self.disk.crashed(&mut Draws::new(seed));
        self.go_on(disk)
    }

    fn kill(self) -> Run {
        let disk = self.disk.killed();
        self.go_on(disk)
    }

    fn go_on(mut self, disk: CrashDisk) -> Run {
        let acknowledged = self.acknowledged();
        let (next, found) = Run::start(disk, self.term + 1);
        self.check_successor(&next, &found, acknowledged);
        next
    }
}

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 256,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../proptest-regressions/storage-log.txt"
        )))),
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_crash_loses_nothing_acknowledged(steps in prop::collection::vec(step(), 1..120)) {
        let mut run = Run::start(CrashDisk::default(), 1).0;
        for step in &steps {
            match step {
                Step::Close => run = run.close().0,
                Step::Kill => run = run.kill(),
                Step::Crash { seed } => run = run.crash(*seed),
                step => run.step(step),
            }
        }
        run.close();
    }

    #[test]
    fn a_failing_disk_stops_the_log(
        steps in prop::collection::vec(step(), 1..60),
        changes in 0..60u32,
        seed in any::<u64>(),
    ) {
        let mut run = Run::start(CrashDisk::default(), 1).0;
        run.disk.fail_after(changes, ErrorKind::Other);
        for step in steps {
            let goes_on = !matches!(
                step,
                Step::Close | Step::Kill | Step::Crash { .. } | Step::Read { .. }
            );
            if goes_on && !run.disk.has_failed() {
                run.step(&step);
            }
        }
        for _ in 0..1000 {
            let _ = run.poll_writer();
        }
        let error = run.ended.clone();
        prop_assert_eq!(error.is_some(), run.disk.has_failed());
        if let Some(result) = error {
            let error = result.expect_err("the writer ends with an error");
            let log = run.log.clone().expect("open");
            prop_assert_eq!(log.stopped(), Some(error.clone()));
            prop_assert_eq!(log.save_vote(Bytes::new()).now_or_never(), Some(Err(error.clone())));
            prop_assert_eq!(log.read(0..9).now_or_never(), Some(Err(error.clone())));
            let refused = Arc::new(Mutex::new(None));
            let seen = refused.clone();
            log.append(vec![], Box::new(move |result| *seen.lock().unwrap() = Some(result)));
            prop_assert_eq!(refused.lock().unwrap().clone(), Some(Err(error)));
            prop_assert!(!run.disk.used_after_failure(), "a failed sync is not tried again");
            run.acknowledged();
            prop_assert!(run.acks.iter().all(|ack| ack.lock().unwrap().is_some()), "all are told");
        }
        run.crash(seed);
    }
}

/// What a log that was opened tells of is durable, though the process that wrote it was killed
/// before it had synced it, and the power fails at once.
#[test]
fn what_is_read_after_a_kill_survives_a_power_failure() {
    let append = Step::Append {
        count: 3,
        bytes: 3000,
        new_term: false,
    };
    let mut unsynced = 0;
    for (calls, seed) in (0..60).flat_map(|calls| (1..9).map(move |seed| (calls, seed))) {
        let mut run = Run::start(CrashDisk::default(), 1).0;
        for step in [&append, &Step::Vote, &append, &Step::Run { calls }] {
            run.step(step);
        }
        let acknowledged = run.acknowledged();
        let run = run.kill();
        unsynced += usize::from(run.model().entries.len() > 3 && acknowledged < 3);
        run.crash(seed);
    }
    assert!(unsynced > 0, "some kill came between a write and its sync");
}

/// The log goes on in the space it has, refuses the rest, and has lost nothing when there is room.
#[test]
fn a_full_disk_never_acknowledges_and_never_corrupts() {
    let mut run = Run::start(CrashDisk::default(), 1).0;
    run.disk.set_full(true);
    let mut failed = None;
    for _ in 0..1000 {
        run.step(&Step::Append {
            count: 1,
            bytes: 1000,
            new_term: false,
        });
        failed = (0..10).find_map(|_| run.poll_writer());
        if failed.is_some() {
            break;
        }
    }
    let error = failed
        .expect("the disk gets full")
        .expect_err("and the log says so");
    assert!(error.is_full(), "{error}");
    let acknowledged = run.acknowledged();
    assert!(acknowledged > 20 && acknowledged < run.acks.len());
    run.disk.set_full(false);
    let (next, found) = Run::start(run.disk.clone(), 2);
    run.check_successor(&next, &found, acknowledged);
    next.close();
}

#[test]
fn the_log_passes_the_suite_on_this_disk() {
    block_on(conformance::log::suite(async || CrashDisk::default()));
    block_on(conformance::disk::suite(&CrashDisk::default()));
}
