//! Snapshots on the wire.
//!
//! A snapshot is a stream of chunks: a header (the sender's vote and what the snapshot covers),
//! the rows of every table in order, and an end that counts and hashes them all. Rows are read
//! from a frozen view, a chunk at a time, and written to a stage, a chunk at a time: neither side
//! ever holds the whole.
//!
//! A chunk is `version, kind, CRC-32C of the body, body`.

use crate::message::{put_log_id, put_vote, read_log_id, read_vote};
use crate::meta::{put_stored_membership, read_stored_membership};
use crate::types::{SnapshotMeta, Vote};
use bytes::Bytes;
use detcd_core::encoding::{DecodeError, Reader, Writer};
use detcd_core::view::{Batch, Direction, Fault, Table, View};
use detcd_rt::buggify::{Place, maybe_wait, takes_rare_path};
use futures::stream::{self, BoxStream, StreamExt};
use std::ops::Bound;

const VERSION: u8 = 1;
const KIND_HEADER: u8 = 1;
const KIND_ROWS: u8 = 2;
const KIND_END: u8 = 3;

/// version, kind, checksum.
const CHUNK_HEAD: usize = 1 + 1 + 4;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) vote: Vote,
    pub(crate) meta: SnapshotMeta,
}

/// A chunk, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Chunk {
    Header(Header),
    Rows(Batch),
    /// The transfer is whole: as many rows, and the checksum over all their chunks' bodies.
    End(Totals),
}

/// What both sides count, so that a lost or doubled chunk is seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) rows: u64,
    pub(crate) checksum: u32,
}

impl Totals {
    fn add(&mut self, rows: u64, body: &[u8]) {
        self.rows += rows;
        self.checksum = crc32c::crc32c_append(self.checksum, body);
    }
}

/// The chunks of a snapshot of `view`. Rows are gathered into a chunk until it has so many bytes.
/// A stored row that cannot be read ends the stream without
/// its end chunk, so that the peer discards what it has, and is told to `failed`.
pub(crate) fn chunks<V>(
    header: &Header,
    view: V,
    chunk_bytes: usize,
    failed: impl FnOnce(Fault) + Send + 'static,
) -> BoxStream<'static, Bytes>
where
    V: View + Send + Sync + 'static,
{
    let first = encode_header(header);
    let walk = Walk {
        view,
        chunk_bytes,
        table: 0,
        after: None,
        totals: Totals::default(),
        ended: false,
    };
    let rows = stream::unfold((walk, Some(failed)), |(mut walk, mut failed)| async move {
        maybe_wait(Place::SnapshotChunk).await;
        // It reads many rows: not on a thread that serves others.
        let next = detcd_rt::spawn_blocking(move || {
            let chunk = walk.next();
            (walk, chunk)
        });
        // The runtime is shutting down.
        let (walk, chunk) = next.await.ok()?;
        match chunk {
            Ok(chunk) => chunk.map(|chunk| (chunk, (walk, failed))),
            Err(fault) => {
                if let Some(failed) = failed.take() {
                    failed(fault);
                }
                None
            }
        }
    });
    stream::iter([first]).chain(rows).boxed()
}

/// Where the sender is in the tables.
struct Walk<V> {
    view: V,
    chunk_bytes: usize,
    /// Index into [`Table::ALL`].
    table: usize,
    /// The last key sent of that table.
    after: Option<Bytes>,
    totals: Totals,
    ended: bool,
}

impl<V: View> Walk<V> {
    fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        let chunk_bytes = match takes_rare_path(Place::SnapshotRow) {
            true => 1,
            false => self.chunk_bytes,
        };
        while let Some(table) = Table::ALL.get(self.table) {
            let after = match &self.after {
                Some(key) => Bound::Excluded(key.as_ref()),
                None => Bound::Unbounded,
            };
            let mut body = Writer::with_capacity(chunk_bytes + chunk_bytes / 8);
            body.u8(*table as u8);
            let mut rows = 0;
            let mut last = None;
            for row in self
                .view
                .scan(*table, (after, Bound::Unbounded), Direction::Forward)
            {
                let (key, value) = row?;
                body.bytes_be(&key);
                body.bytes_be(&value);
                rows += 1;
                last = Some(key);
                if body.len() >= chunk_bytes {
                    break;
                }
            }
            if let Some(last) = last {
                self.after = Some(last);
                self.totals.add(rows, body.as_slice());
                return Ok(Some(seal(KIND_ROWS, body.as_slice())));
            }
            self.table += 1;
            self.after = None;
        }
        if self.ended {
            return Ok(None);
        }
        self.ended = true;
        let mut body = Writer::with_capacity(12);
        body.u64_be(self.totals.rows);
        body.u32_be(self.totals.checksum);
        Ok(Some(seal(KIND_END, body.as_slice())))
    }
}

fn encode_header(header: &Header) -> Bytes {
    let mut body = Writer::default();
    put_vote(&mut body, &header.vote);
    put_log_id(&mut body, header.meta.last_log_id.as_ref());
    put_stored_membership(&mut body, &header.meta.last_membership);
    seal(KIND_HEADER, body.as_slice())
}

fn seal(kind: u8, body: &[u8]) -> Bytes {
    let mut chunk = Writer::with_capacity(CHUNK_HEAD + body.len());
    chunk.u8(VERSION);
    chunk.u8(kind);
    chunk.u32_be(crc32c::crc32c(body));
    chunk.slice(body);
    chunk.finish()
}

/// Takes a chunk apart and adds it to the receiver's totals.
pub(crate) fn decode(chunk: Bytes, totals: &mut Totals) -> Result<Chunk, DecodeError> {
    let mut reader = Reader::new("snapshot chunk", &chunk);
    reader.version(VERSION)?;
    let kind = reader.u8()?;
    let checksum = reader.u32_be()?;
    let body = reader.rest();
    let mut reader = Reader::new("snapshot chunk", &body);
    if crc32c::crc32c(&body) != checksum {
        return Err(reader.error("the checksum does not match"));
    }
    match kind {
        KIND_HEADER => {
            let vote = read_vote(&mut reader)?;
            let last_log_id = read_log_id(&mut reader)?;
            let last_membership = read_stored_membership(&mut reader)?;
            reader.end()?;
            Ok(Chunk::Header(Header {
                vote,
                meta: SnapshotMeta {
                    last_log_id,
                    last_membership,
                },
            }))
        }
        KIND_ROWS => {
            let tag = reader.u8()?;
            let table =
                Table::from_tag(tag).ok_or_else(|| reader.error(format!("no table {tag}")))?;
            let mut batch = Batch::default();
            while !reader.is_empty() {
                let key = reader.bytes_be()?;
                let value = reader.bytes_be()?;
                batch.put(table, key, value);
            }
            totals.add(batch.writes.len() as u64, &body);
            Ok(Chunk::Rows(batch))
        }
        KIND_END => {
            let end = Totals {
                rows: reader.u64_be()?,
                checksum: reader.u32_be()?,
            };
            reader.end()?;
            Ok(Chunk::End(end))
        }
        other => Err(reader.error(format!("unknown kind {other}"))),
    }
}
