//! Planted bugs, for the simulator to catch. They exist only with the feature `mutants`, which
//! nothing but the simulator's own build (`cfg(madsim)`) switches on.
//!
//! A mutant is one line at the place of the mechanism that it breaks:
//! `if detcd_core::mutant!(AckBeforeSync) { ... }`. Without the feature that is `if false`.

/// Every mutant. Each has a scenario under `scenarios/must-fail/` that catches it.
#[cfg(feature = "mutants")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Mutant {
    /// The raft log tells that entries are durable before it syncs them.
    AckBeforeSync = 1,
}

#[cfg(feature = "mutants")]
mod chosen {
    use super::Mutant;
    use core::sync::atomic::{AtomicU8, Ordering};

    /// None is zero. One run is one process, and has one mutant at most.
    static CHOSEN: AtomicU8 = AtomicU8::new(0);

    impl Mutant {
        pub const ALL: [(&'static str, Mutant); 1] = [("ack-before-sync", Mutant::AckBeforeSync)];

        /// Switches the mutant on, for the life of the process.
        pub fn choose(self) {
            let before = CHOSEN.swap(self as u8, Ordering::Relaxed);
            assert!(before == 0, "a process has one mutant at most");
        }

        pub fn is_on(self) -> bool {
            CHOSEN.load(Ordering::Relaxed) == self as u8
        }
    }
}

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
