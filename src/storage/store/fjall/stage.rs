//! A new state under construction.

use super::Shared;
use super::generation::Generation;
use crate::store::Stage;
use detcd_core::view::{Batch, Fault};
use std::sync::Arc;

/// A new state in a generation of its own.
pub struct FjallStage {
    pub(super) shared: Arc<Shared>,
    pub(super) number: u64,
    /// Taken when it is put in force.
    pub(super) generation: Option<Generation>,
}

impl Stage for FjallStage {
    async fn write(&mut self, batch: Batch) -> Result<(), Fault> {
        let generation = self.generation.as_ref().expect("only commit takes it");
        generation.write(&self.shared, batch)
    }

    async fn commit(mut self) -> Result<(), Fault> {
        let generation = self.generation.take().expect("only commit takes it");
        let (shared, number) = (self.shared.clone(), self.number);
        self.shared
            .blocking
            .run(move || shared.switch(number, generation))
            .await?
    }
}

impl Drop for FjallStage {
    fn drop(&mut self) {
        if let Some(generation) = self.generation.take()
            && let Err(error) = self.shared.delete(&generation)
        {
            tracing::warn!(%error, "an unfinished state was not removed");
        }
    }
}
