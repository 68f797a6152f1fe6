//! The tree of v2.

use super::Handle;
use super::write::unreachable_reply;
use crate::v2_watch::{V2Watch, V2WatchError};
use bytes::Bytes;
use detcd_core::api::Reply;
use detcd_core::command::Command;
use detcd_core::error::Error;
use detcd_core::v2::auth::Asked;
use detcd_core::v2::history::Interest;
use detcd_core::v2::{self, Event, Refused, TreeError, UnixNanos};
use detcd_core::{query::QueryError, validate};
use std::sync::Arc;

/// This member's wall clock.
fn wall_clock() -> UnixNanos {
    let nanos = detcd_rt::wall_unix_ms().saturating_mul(1_000_000);
    UnixNanos(i64::try_from(nanos).unwrap_or(i64::MAX))
}

impl Handle {
    /// Writes to the tree. The clock of this member is that of the write.
    pub async fn v2_write(&self, write: v2::Write) -> Result<Result<Arc<Event>, Refused>, Error> {
        validate::v2_path(&write.path)?;
        let time = wall_clock();
        match self.write(Command::V2(v2::Write { time, ..write })).await? {
            (_, Reply::V2(_, result)) => Ok(result),
            (_, other) => unreachable_reply("write of v2", &other),
        }
    }

    /// Reads a node, if who asks may, and gives the index of the tree. Without `quorum` this member answers by what
    /// it has applied, with or without a leader.
    pub async fn v2_get(
        &self,
        asked: &Asked,
        path: Bytes,
        recursive: bool,
        quorum: bool,
    ) -> Result<Result<(Event, u64), Refused>, Error> {
        let is_local = !quorum || detcd_core::mutant!(V2LocalQuorum);
        let published = self.view_for(is_local).await?;
        let may = v2::auth::may(&*published.view, asked, recursive, false);
        if !self.settle_fault(may)? {
            return Ok(Err(Refused::unauthorized()));
        }
        let now = wall_clock();
        let is_short = v2::tree::is_short(&*published.view, &path);
        let get = move || v2::tree::get(&*published.view, &path, recursive, now);
        let found = match self.settle_fault(is_short)? {
            true => self.settle_v2(get())?,
            false => self.query_aside(move || refusal(get())).await?,
        };
        self.stats().v2.gets.count(found.is_ok());
        Ok(found)
    }

    /// Watches a path, if who asks may, from the index `since` on; zero is from now on.
    pub async fn v2_watch(
        &self,
        asked: &Asked,
        interest: Interest,
        stream: bool,
        since: u64,
    ) -> Result<V2Watch, V2WatchError> {
        if !self.v2_may(asked, interest.recursive, false)? {
            return Err(Refused::unauthorized().into());
        }
        V2Watch::open(self.clone(), interest, stream, since).await
    }

    /// The first event of the past that concerns a watcher.
    pub(crate) async fn v2_find(
        &self,
        interest: &Interest,
        since: u64,
    ) -> Result<Result<Option<Arc<Event>>, Refused>, Error> {
        let published = self.shared.engine.published();
        let interest = interest.clone();
        self.query_aside(move || refusal(v2::history::find(&*published.view, &interest, since)))
            .await
    }

    fn settle_v2<T>(&self, result: Result<T, TreeError>) -> Result<Result<T, Refused>, Error> {
        self.settle(refusal(result))
    }
}

fn refusal<T>(result: Result<T, TreeError>) -> Result<Result<T, Refused>, QueryError> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(TreeError::Refused(refused)) => Ok(Err(refused)),
        Err(TreeError::Fault(fault)) => Err(fault.into()),
    }
}
