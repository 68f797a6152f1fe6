//! A thread to itself for each run.
//!
//! The standard library draws the keys of hash maps once for each thread, and tokio's `watch` draws
//! the order of its wakes from them. The engine stands between a run and the machine's entropy, but
//! only once it runs: a map that was made before (by a parser, say) has true entropy, and so would
//! all later ones of its thread.

use crate::time;
use crate::trace;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Enough for deep recursion in a build that optimises little.
const STACK_BYTES: usize = 32 * 1024 * 1024;

/// Runs `work` on a thread on which nothing has happened.
pub fn run<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
        let thread = thread.spawn_scoped(scope, work).expect("a thread starts");
        match thread.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// A number that tells this thread's keys: in the trace it shows whether they are the seed's.
pub fn hash_keys() -> u64 {
    RandomState::new().hash_one(0)
}

/// Puts the engine's draws into the trace, and has the engine forget ended tasks, of which it
/// otherwise keeps a piece each.
pub async fn record_engine_draws() {
    trace::event("keys", format_args!("{:x}", hash_keys()));
    for round in 0u64.. {
        time::sleep(Duration::from_millis(100)).await;
        trace::event("draw", format_args!("{:x}", detcd_rt::random_u64()));
        if round % 50 == 0 {
            madsim::runtime::Handle::current().metrics().num_tasks();
        }
    }
}
