//! The thread that looks where a run's time goes.

use crate::profile::Shares;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Between two samples.
const EVERY: Duration = Duration::from_millis(1);

/// Looks a thousand times a second, from its start to its end.
pub struct Sampler {
    over: Arc<AtomicBool>,
    thread: JoinHandle<Shares>,
}

impl Sampler {
    /// Must be called before the engine runs, which allows no threads.
    pub fn start() -> Sampler {
        let over = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let over = over.clone();
            move || {
                let mut shares = Shares::default();
                while !over.load(Ordering::Relaxed) {
                    std::thread::park_timeout(EVERY);
                    shares.sample();
                }
                shares
            }
        });
        Sampler { over, thread }
    }

    pub fn finish(self) -> Shares {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().expect("the sampler does not panic")
    }
}
