//! What is wrong with a machine's storage at the moment: errors, slowness, lies.
//!
//! One [`DiskDefects`] lies under a machine's disk and its store, and both ask it before and after what
//! they do. A fault concerns one [`Part`] or all of them.

use super::speed::Speed;
use super::trap::Traps;
use crate::rng::Rng;
use crate::time;
use crate::trace;
use std::collections::BTreeMap;
use std::io::{self, Error, ErrorKind};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// A stalled operation looks this often whether it may go on.
const STALL_POLL: Duration = Duration::from_millis(10);

/// What is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The raft log's files.
    Log,
    /// The file of the vote.
    Vote,
    /// The applied state.
    State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Read,
    Write,
    Sync,
    /// Creates a file or makes it longer: what needs room.
    Grow,
    /// Puts a snapshot in place that was received.
    Install,
}

/// What is wrong.
#[derive(Clone, Debug)]
pub enum Defect {
    /// Everything takes so much longer; drawn each time.
    Slow(RangeInclusive<u64>),
    /// Nothing ends while it lasts.
    Stall,
    /// Such operations fail with this probability.
    Fails {
        operation: Operation,
        probability: f64,
    },
    /// There is no room for more.
    Full,
    /// A read gives less than there is.
    ShortReads(f64),
    /// Writes are acknowledged, also by syncs, and never happen.
    LostWrites(f64),
    /// Writes happen at another place of the file.
    StrayWrites(f64),
}

impl Defect {
    /// Whether the storage says that it has what it has not.
    pub fn lies(&self) -> bool {
        matches!(self, Defect::LostWrites(_) | Defect::StrayWrites(_))
    }
}

/// A defect of a disk.
#[derive(Clone, Debug)]
pub struct DiskFault {
    /// The mark that tells of its first effect.
    pub mark: &'static str,
    /// `None` is all.
    pub part: Option<Part>,
    pub defect: Defect,
}

/// Names a fault for its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskFaultId(u64);

/// Where a write goes that does not go where it should.
pub(crate) enum MisdirectedWrite {
    Nowhere,
    /// A draw that says where.
    Elsewhere(u64),
}

#[derive(Clone)]
pub struct DiskDefects {
    state: Arc<Mutex<State>>,
    speed: Arc<Mutex<Speed>>,
    traps: Arc<Traps>,
}

struct State {
    faults: BTreeMap<u64, Active>,
    fault_next: u64,
    /// The ground of each fault's draws.
    rng: Rng,
    /// When an operation of the process's life first failed.
    failed_at: Option<Duration>,
    /// When one first failed that the process cannot do without.
    failing_since: Option<Duration>,
}

struct Active {
    fault: DiskFault,
    rng: Rng,
    is_recorded: bool,
}

impl DiskDefects {
    /// `rng` is for faults alone.
    pub fn new(rng: Rng) -> DiskDefects {
        DiskDefects {
            speed: Arc::new(Mutex::new(Speed::instant(rng.fork("speed")))),
            state: Arc::new(Mutex::new(State {
                faults: BTreeMap::new(),
                fault_next: 0,
                rng,
                failed_at: None,
                failing_since: None,
            })),
            traps: Arc::default(),
        }
    }

    /// How fast it is from now on.
    pub fn set_speed(&self, speed: Speed) {
        *self.speed.lock().expect("no holder of the speed panics") = speed;
    }

    /// Takes the time that an operation on so many bytes takes.
    pub(crate) async fn work(&self, operation: Operation, bytes: usize) {
        let takes = {
            let mut speed = self.speed.lock().expect("no holder of the speed panics");
            speed.time_of(operation, bytes)
        };
        if !takes.is_zero() {
            time::sleep(takes).await;
        }
    }

    /// Where the process can be killed.
    pub fn traps(&self) -> &Arc<Traps> {
        &self.traps
    }

    pub fn begin(&self, fault: DiskFault) -> DiskFaultId {
        let mut state = self.lock();
        let id = state.fault_next;
        state.fault_next += 1;
        let rng = state.rng.fork(&format!("{}/{id}", fault.mark));
        let is_recorded = false;
        state.faults.insert(
            id,
            Active {
                fault,
                rng,
                is_recorded,
            },
        );
        DiskFaultId(id)
    }

    pub fn end(&self, DiskFaultId(id): DiskFaultId) {
        self.lock().faults.remove(&id);
    }

    pub fn heal(&self) {
        self.lock().faults.clear();
        self.traps.disarm();
    }

    /// A new process begins: what failed, failed others.
    pub fn restart(&self) {
        let mut state = self.lock();
        (state.failed_at, state.failing_since) = (None, None);
    }

    /// When an operation of the present process first failed.
    pub fn failed_at(&self) -> Option<Duration> {
        self.lock().failed_at
    }

    /// When an operation of the present process first failed that it cannot do without.
    pub fn failing_since(&self) -> Option<Duration> {
        self.lock().failing_since
    }

    /// Whether a process that starts now may meet errors.
    pub fn is_failing(&self) -> bool {
        let state = self.lock();
        let mut defects = state.faults.values().map(|active| &active.fault.defect);
        defects.any(|defect| matches!(defect, Defect::Fails { .. } | Defect::Full))
    }

    /// A stream of draws for what happens to the disk once.
    pub(crate) fn draws(&self) -> Rng {
        let mut state = self.lock();
        state.fault_next += 1;
        state.rng.fork(&format!("once/{}", state.fault_next))
    }

    /// Waits for as long as the disk takes.
    pub(crate) async fn wait(&self, part: Part) {
        let mut late = None;
        loop {
            let mut stalled = false;
            self.each(part, |defect, rng| match defect {
                Defect::Stall => {
                    stalled = true;
                    true
                }
                Defect::Slow(by_ms) if late.is_none() => {
                    late = Some(Duration::from_millis(rng.range(by_ms.clone())));
                    true
                }
                _ => false,
            });
            if !stalled {
                break;
            }
            time::sleep(STALL_POLL).await;
        }
        if let Some(late) = late {
            time::sleep(late).await;
        }
    }

    /// Whether the operation fails, and with what.
    pub(crate) fn check(&self, part: Part, operation: Operation) -> io::Result<()> {
        self.check_room(part, operation).inspect_err(|_| {
            self.lock().failing_since.get_or_insert_with(time::now);
        })
    }

    /// As [`DiskDefects::check`], for what may be done in advance: a process that finds no room for a
    /// file to come goes on with those it has.
    pub(crate) fn check_room(&self, part: Part, operation: Operation) -> io::Result<()> {
        let mut error = None;
        self.each(part, |defect, rng| match defect {
            Defect::Fails {
                operation: failing,
                probability,
            } if fails(*failing, operation) && rng.chance(*probability) => {
                error = Some(Error::from_raw_os_error(5));
                true
            }
            Defect::Full if operation == Operation::Grow => {
                error = Some(Error::new(
                    ErrorKind::StorageFull,
                    "no space left on device",
                ));
                true
            }
            _ => false,
        });
        match error {
            Some(error) => {
                trace::event(
                    "disk.failed",
                    format_args!("{part:?} {operation:?} {error}"),
                );
                self.lock().failed_at.get_or_insert_with(time::now);
                Err(error)
            }
            None => Ok(()),
        }
    }

    /// How many of the bytes that are there a read gives.
    pub(crate) fn shorten(&self, part: Part, len: usize) -> usize {
        let mut given = len;
        self.each(part, |defect, rng| match defect {
            Defect::ShortReads(probability) if len > 1 && rng.chance(*probability) => {
                given = rng.range(1..=len as u64 - 1) as usize;
                true
            }
            _ => false,
        });
        given
    }

    /// Whether a write goes elsewhere.
    pub(crate) fn misdirect(&self, part: Part) -> Option<MisdirectedWrite> {
        let mut misdirected = None;
        self.each(part, |defect, rng| match defect {
            Defect::LostWrites(probability) if rng.chance(*probability) => {
                misdirected = Some(MisdirectedWrite::Nowhere);
                true
            }
            Defect::StrayWrites(probability) if rng.chance(*probability) => {
                misdirected = Some(MisdirectedWrite::Elsewhere(rng.next_u64()));
                true
            }
            _ => false,
        });
        misdirected
    }

    /// Lets each defect of the part say whether it did something.
    fn each(&self, part: Part, mut act: impl FnMut(&Defect, &mut Rng) -> bool) {
        let mut state = self.lock();
        for active in state.faults.values_mut() {
            let concerns = active.fault.part.is_none_or(|its| its == part);
            if concerns && act(&active.fault.defect, &mut active.rng) && !active.is_recorded {
                active.is_recorded = true;
                trace::mark(active.fault.mark);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of the lock panics")
    }
}

/// What cannot be written cannot grow either.
fn fails(failing: Operation, operation: Operation) -> bool {
    failing == operation || (failing == Operation::Write && operation == Operation::Grow)
}
