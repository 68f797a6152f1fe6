//! Snapshots of a leader: received whole and checked, then installed.

use super::{Receiving, text};
use crate::machine::SnapshotData;
use crate::message;
use crate::snapshot::{self, Chunk, Header, Totals};
use crate::types::Vote;
use crate::validate::{self, Known};
use bytes::Bytes;
use detcd_rt::Instant;
use detcd_storage::store::{Stage, Store};
use futures::poll;
use futures::stream::{BoxStream, StreamExt};
use openraft::async_runtime::WatchReceiver;
use openraft::storage::Snapshot;
use std::pin::pin;
use std::task::Poll;
use tokio::sync::{Mutex, watch};
use tracing::info;

/// At most one snapshot is being received. A newer stream ends the one before: its sender may
/// long have stopped to lead.
pub(crate) struct Installing {
    turn: Mutex<()>,
    newest: watch::Sender<u64>,
}

impl Default for Installing {
    fn default() -> Installing {
        Installing {
            turn: Mutex::new(()),
            newest: watch::Sender::new(0),
        }
    }
}

impl<S: Store> Receiving<S> {
    pub(super) async fn install(
        &self,
        from: u64,
        mut chunks: BoxStream<'static, Result<Bytes, String>>,
    ) -> Result<Bytes, String> {
        let mut totals = Totals::default();
        let first = chunks.next().await.ok_or("an empty snapshot stream")??;
        let first = self.read(from, snapshot::decode(first, &mut totals))?;
        let Chunk::Header(header) = first else {
            return Err(self.refuse(from, &"a snapshot does not start with its header"));
        };
        let check = |known: &Known<'_>| validate::snapshot::check_header(from, &header, known);
        self.check(from, None, check)?;
        if let Some(newer) = self.newer_vote(&header) {
            return Ok(message::encode_vote(&newer));
        }
        let mut newest = self.installing.newest.subscribe();
        self.installing.newest.send_modify(|newest| *newest += 1);
        newest.mark_unchanged();
        let _turn = self.installing.turn.lock().await;
        if let Some(left_out) = self.lines.take("receiving", Instant::now()) {
            let from = format_args!("{from:x}");
            info!(from, meta = %header.meta, left_out, "receiving a snapshot");
        }
        let superseded = async {
            // The sender lives in `self`: only a newer stream ends this wait.
            let _ = newest.changed().await;
        };
        let received = self.receive(from, &header, chunks, totals);
        let stage = tokio::select! {
            biased;
            () = superseded => return Err("a newer snapshot stream has begun".to_owned()),
            stage = received => stage?,
        };
        self.hand_over(from, header, stage).await
    }

    /// Has the engine install what was received.
    async fn hand_over(&self, from: u64, header: Header, stage: S::Stage) -> Result<Bytes, String> {
        let mut taken = self.taken.lock().await;
        self.settle(&mut taken).await?;
        // What was committed meanwhile must not be contradicted either.
        self.check(from, taken.accepted, |known| {
            validate::snapshot::check_header(from, &header, known)
        })?;
        let Header { vote, meta } = header;
        let last = meta.last_log_id;
        let snapshot = Snapshot {
            meta,
            snapshot: SnapshotData::Staged(stage),
        };
        let mut response = pin!(self.raft.install_full_snapshot(vote, snapshot));
        let early = poll!(response.as_mut());
        taken.give(vote, last);
        self.settle(&mut taken).await?;
        drop(taken);
        let response = match early {
            Poll::Ready(response) => response,
            Poll::Pending => response.await,
        };
        Ok(message::encode_vote(&response.map_err(text)?.vote))
    }

    /// This member's vote, if it is ahead of the sender's: nothing need be received then.
    fn newer_vote(&self, header: &Header) -> Option<Vote> {
        let vote = self.raft.metrics().borrow_watched().vote;
        (vote > header.vote).then_some(vote)
    }

    /// Writes all rows into a stage, which is returned only if nothing is missing and everything
    /// can be read.
    async fn receive(
        &self,
        from: u64,
        header: &Header,
        mut chunks: BoxStream<'static, Result<Bytes, String>>,
        mut totals: Totals,
    ) -> Result<S::Stage, String> {
        let mut stage = self.store.stage().await.map_err(text)?;
        let mut rows = validate::snapshot::Rows::default();
        while let Some(chunk) = chunks.next().await {
            match self.read(from, snapshot::decode(chunk?, &mut totals))? {
                Chunk::Rows(batch) => {
                    let checked = rows.check(&batch);
                    checked.map_err(|refusal| self.refuse(from, &refusal))?;
                    stage.write(batch).await.map_err(text)?;
                }
                Chunk::End(expected) if expected == totals => {
                    let checked = rows.end(&header.meta);
                    checked.map_err(|refusal| self.refuse(from, &refusal))?;
                    return Ok(stage);
                }
                Chunk::End(expected) => {
                    return Err(format!(
                        "the snapshot has {totals:?}, but was sent {expected:?}"
                    ));
                }
                Chunk::Header(_) => return Err("a second header in a snapshot".to_owned()),
            }
        }
        Err("the snapshot ends early".to_owned())
    }
}
