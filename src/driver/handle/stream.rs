//! A range that is read in chunks.

use super::Handle;
use detcd_core::api::{RangeReply, RangeRequest};
use detcd_core::error::Error;
use detcd_core::query::{self, ChunkCursor};
use detcd_core::status::Published;
use std::sync::Arc;

/// A streamed range under way.
pub struct RangeStream {
    handle: Handle,
    published: Arc<Published>,
    /// `None` once the last chunk or an error was given.
    rest: Option<Rest>,
}

struct Rest {
    request: RangeRequest,
    from: Option<ChunkCursor>,
}

impl RangeStream {
    pub(crate) fn new(
        handle: Handle,
        published: Arc<Published>,
        request: RangeRequest,
    ) -> RangeStream {
        let from = None;
        RangeStream {
            handle,
            published,
            rest: Some(Rest { request, from }),
        }
    }

    /// The next chunk, or `None` after the last.
    pub async fn next(&mut self) -> Option<Result<RangeReply, Error>> {
        let Rest { request, from } = self.rest.take()?;
        let published = self.published.clone();
        let is_short = query::is_short(&*published.view, published.at(), &request);
        let chunk = move || {
            let (reply, next) =
                query::range_chunk(&*published.view, published.at(), &request, from)?;
            Ok((
                reply,
                next.map(|next| Rest {
                    request,
                    from: Some(next),
                }),
            ))
        };
        let chunk = match is_short {
            true => self.handle.settle(chunk()),
            false => self.handle.query_aside(chunk).await,
        };
        match chunk {
            Err(error) => Some(Err(error)),
            Ok((reply, rest)) => {
                self.rest = rest;
                Some(Ok(reply))
            }
        }
    }
}
