//! The seam under the applied state: ordered tables with atomic batches.

#[cfg(feature = "fjall")]
mod blocking;
#[cfg(feature = "fjall")]
mod error;
#[cfg(feature = "fjall")]
mod fjall;
#[cfg(feature = "fjall")]
mod mark;
#[cfg(feature = "fjall")]
mod space;

#[cfg(feature = "fjall")]
pub use error::OpenError;
#[cfg(feature = "fjall")]
pub use fjall::{FjallSnapshot, FjallStage, FjallStore, StoreOptions};

use detcd_core::view::{Batch, Fault, View};
use std::future::Future;

/// Keys of rows up to this length are stored as they are; longer ones may be stored in pieces.
pub const WHOLE_KEY_BYTES_MAX: usize = 65_530;

/// The tables of the applied state. Keys have one byte or more. Reading through the store itself
/// sees the latest write.
pub trait Store: View + Send + Sync + 'static {
    type Snapshot: View + Clone + Send + Sync + 'static;
    type Stage: Stage;

    /// A point-in-time view across all tables; cheap, and it never blocks writers.
    fn snapshot(&self) -> Result<Self::Snapshot, Fault>;
    /// Applies the batch atomically. Visible when the future ends; durable after
    /// [`Store::persist`]. After a crash the store is in the state of some batch border between
    /// the last persist and the last write.
    fn write(&self, batch: Batch) -> impl Future<Output = Result<(), Fault>> + Send;
    /// As [`Store::write`], but only if the state that `basis` shows was not replaced since
    /// ([`Stage::commit`]); `false` if it was, and then nothing is written. For work beside apply
    /// that derives a batch from a snapshot.
    fn write_unless_replaced(
        &self,
        basis: &Self::Snapshot,
        batch: Batch,
    ) -> impl Future<Output = Result<bool, Fault>> + Send;
    /// Makes everything written so far durable.
    fn persist(&self) -> impl Future<Output = Result<(), Fault>> + Send;
    /// Starts a replacement of the whole state. Until it is committed nobody sees it; a crash or
    /// a drop leaves the old state.
    fn stage(&self) -> impl Future<Output = Result<Self::Stage, Fault>> + Send;
    /// Gives back the space of rows that were deleted or written over, as far as no snapshot
    /// shows them any more. Beside reads and writes; changes nothing that can be read. Snapshots
    /// that were taken before go on walking over what was removed; new ones do not.
    fn reclaim(&self, reclaim: Reclaim) -> impl Future<Output = Result<(), Fault>> + Send;
    fn size(&self) -> Size;
}

/// A new state under construction (snapshot install).
pub trait Stage: Send + 'static {
    fn write(&mut self, batch: Batch) -> impl Future<Output = Result<(), Fault>> + Send;
    /// Replaces the store's state, atomically and durably. Snapshots taken before go on showing
    /// the old state.
    fn commit(self) -> impl Future<Output = Result<(), Fault>> + Send;
}

/// How much work giving back space may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reclaim {
    /// Only what earlier ones left because snapshots still showed it.
    Leftovers,
    /// Where what was removed is a share of what would be written again for it.
    Worthwhile,
    /// Everywhere.
    All,
}

/// Bytes that the state takes on disk, and the part in use: without what was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    pub total_bytes: u64,
    pub in_use_bytes: u64,
}
