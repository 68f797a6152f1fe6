//! The clocks of simulated nodes, and their control.
//!
//! Each node reads time through its own clock: a piecewise linear map between the run's true time
//! and the node's. Changing the rate keeps the clock continuous; a jump moves the monotonic clock
//! forward; a step moves the wall clock either way.

use madsim::task::NodeId;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

/// Parts per million of a clock that runs true.
pub const RATE_TRUE_PPM: u64 = 1_000_000;

/// The wall clock of every node at the start of a run (2026-01-01), so that no run sees the date
/// of the machine that it happens on.
const WALL_ORIGIN_MS: i128 = 1_767_225_600_000;

#[derive(Clone, Copy, Debug)]
struct Clock {
    /// The last change, in true time and as the node's clock showed it.
    since_true_ns: i128,
    since_local_ns: i128,
    rate_ppm: i128,
    wall_offset_ns: i128,
}

impl Default for Clock {
    fn default() -> Clock {
        Clock {
            since_true_ns: 0,
            since_local_ns: 0,
            rate_ppm: i128::from(RATE_TRUE_PPM),
            wall_offset_ns: 0,
        }
    }
}

impl Clock {
    fn local_at(&self, true_ns: i128) -> i128 {
        self.since_local_ns
            + (true_ns - self.since_true_ns) * self.rate_ppm / i128::from(RATE_TRUE_PPM)
    }

    /// The first moment of true time at which the clock shows `local_ns`.
    fn true_at(&self, local_ns: i128) -> i128 {
        let numerator = (local_ns - self.since_local_ns) * i128::from(RATE_TRUE_PPM);
        self.since_true_ns + (numerator + self.rate_ppm - 1).div_euclid(self.rate_ppm)
    }
}

thread_local! {
    // One run has one thread, and one process has one run.
    static CLOCKS: RefCell<BTreeMap<NodeId, Clock>> = const { RefCell::new(BTreeMap::new()) };
}

/// Lets `node`'s clocks run at `rate_ppm` from now on ([`RATE_TRUE_PPM`] is true).
pub fn set_rate(node: NodeId, rate_ppm: u64) {
    assert!(
        rate_ppm > 0,
        "a clock that stands still never ends a sleep; use a tiny rate"
    );
    change(node, |clock, true_ns| {
        *clock = Clock {
            since_true_ns: true_ns,
            since_local_ns: clock.local_at(true_ns),
            rate_ppm: i128::from(rate_ppm),
            wall_offset_ns: clock.wall_offset_ns,
        };
    });
}

/// Moves `node`'s monotonic clock (and with it the wall clock) forward, as a resumed virtual
/// machine sees it.
pub fn jump(node: NodeId, forward: Duration) {
    change(node, |clock, _| clock.since_local_ns += nanos(forward));
}

/// Steps `node`'s wall clock by `milliseconds`, either way.
pub fn step_wall(node: NodeId, milliseconds: i64) {
    change(node, |clock, _| {
        clock.wall_offset_ns += i128::from(milliseconds) * 1_000_000
    });
}

/// Makes `node`'s clock true again from now on: rate and wall offset. What it has gained stays.
pub fn heal(node: NodeId) {
    set_rate(node, RATE_TRUE_PPM);
    change(node, |clock, _| clock.wall_offset_ns = 0);
}

/// The run's true time.
pub fn true_time() -> Duration {
    madsim::time::TimeHandle::current().elapsed()
}

/// How a clock stands to the true time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    pub rate_ppm: u64,
    /// How far both clocks are ahead of true time.
    pub gained_us: i64,
    /// How far the wall clock is off, besides.
    pub wall_ms: i64,
}

/// How `node`'s clock stands now.
pub fn reading(node: NodeId) -> Reading {
    let (clock, true_ns) = (clock_of(node), nanos(true_time()));
    let small = |number: i128| i64::try_from(number).expect("a clock is off by less than ages");
    Reading {
        rate_ppm: u64::try_from(clock.rate_ppm).expect("a rate was a u64"),
        gained_us: small((clock.local_at(true_ns) - true_ns) / 1000),
        wall_ms: small(clock.wall_offset_ns / 1_000_000),
    }
}

/// What `node`'s monotonic clock shows now.
pub fn local_time(node: NodeId) -> Duration {
    duration(clock_of(node).local_at(nanos(true_time())))
}

/// What the current node's monotonic clock shows.
pub(crate) fn monotonic() -> Duration {
    local_time(madsim::plugin::node())
}

/// What the current node's wall clock shows.
pub(crate) fn wall_unix_ms() -> u64 {
    let clock = clock_of(madsim::plugin::node());
    let since_start_ns = clock.local_at(nanos(true_time())) + clock.wall_offset_ns;
    u64::try_from(WALL_ORIGIN_MS + since_start_ns.div_euclid(1_000_000)).unwrap_or(0)
}

/// How long, in true time, until the current node's clock shows `local`, as it runs now.
pub(crate) fn true_time_until(local: Duration) -> Duration {
    let clock = clock_of(madsim::plugin::node());
    duration((clock.true_at(nanos(local)) - nanos(true_time())).max(0))
}

fn clock_of(node: NodeId) -> Clock {
    CLOCKS.with(|clocks| clocks.borrow().get(&node).copied().unwrap_or_default())
}

fn change(node: NodeId, change: impl FnOnce(&mut Clock, i128)) {
    let true_ns = nanos(true_time());
    CLOCKS.with(|clocks| change(clocks.borrow_mut().entry(node).or_default(), true_ns));
}

fn nanos(duration: Duration) -> i128 {
    i128::try_from(duration.as_nanos()).expect("a duration has at most 95 bits")
}

/// Centuries are all the same: a clock that all but stands still has deadlines that never come.
fn duration(nanos: i128) -> Duration {
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}
