//! What every implementation of [`crate::disk::Disk`] and [`crate::store::Store`] must do, as
//! functions that panic if it does not. The real ones are held to it by this crate's tests, the
//! simulated ones by the simulator's: whoever relies on the traits is tested on neither or both.

pub mod disk;
pub mod log;
pub mod store;
