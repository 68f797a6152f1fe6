//! Reads: a view that is fresh enough, and queries on it.

use super::Handle;
use crate::inbox::Input;
use detcd_core::error::Error;
use detcd_core::query::QueryError;
use detcd_core::status::Published;
use detcd_core::view::Fault;
use std::sync::Arc;

impl Handle {
    /// Waits until this member, be it a learner, could serve a linearizable read.
    pub async fn confirm_read(&self) -> Result<(), Error> {
        self.ask(|seq, waiter| Input::Read { seq, waiter })
            .await
            .map(|_| ())
    }

    pub(crate) async fn view_for(&self, serializable: bool) -> Result<Arc<Published>, Error> {
        if !serializable {
            self.full_member()?;
            self.confirm_read().await?;
        }
        self.know_client().await;
        Ok(self.shared.engine.published())
    }

    /// Runs a query that may take long beside the tasks that serve others.
    pub(crate) async fn query_aside<T: Send + 'static>(
        &self,
        query: impl FnOnce() -> Result<T, QueryError> + Send + 'static,
    ) -> Result<T, Error> {
        let result = detcd_rt::spawn_blocking(query)
            .await
            .map_err(|_| Error::Stopped)?;
        self.settle(result)
    }

    pub(crate) fn settle<T>(&self, result: Result<T, QueryError>) -> Result<T, Error> {
        match result {
            Ok(value) => Ok(value),
            Err(QueryError::Request(error)) => Err(error),
            Err(QueryError::Fault(fault)) => self.settle_fault(Err(fault)),
        }
    }

    /// Stored rows that make no sense halt the member: nothing that it says can be trusted.
    pub(crate) fn settle_fault<T>(&self, result: Result<T, Fault>) -> Result<T, Error> {
        result.map_err(|fault| {
            self.shared.halt(&fault.to_string());
            Error::Corrupt
        })
    }
}
