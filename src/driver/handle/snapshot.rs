//! The state as a file of etcd's, for operators (Maintenance.Snapshot).

use super::Handle;
use detcd_bolt::{Layout, Writer};
use detcd_core::backend::{self, Bucket, Cursor, Position, Visitor};
use detcd_core::error::Error;
use detcd_core::limits::SNAPSHOT_STEP_BYTES;
use detcd_core::query::QueryError;
use detcd_core::status::Published;
use std::sync::Arc;

/// A file that is written while it is read, of the state as it was when it was asked for. Nothing
/// of it is kept: the rows are walked over twice, first for the length.
pub struct SnapshotFile {
    handle: Handle,
    published: Arc<Published>,
    bytes: u64,
    /// `None` once all was given.
    rest: Option<Pass>,
}

/// A walk over all rows.
struct Pass {
    writer: Writer,
    cursor: Option<Cursor>,
}

struct Rows<'a>(&'a mut Writer);

impl Visitor for Rows<'_> {
    fn bucket(&mut self, bucket: Bucket) {
        self.0.bucket(bucket.name().as_bytes());
    }

    fn row(&mut self, _: Bucket, key: &[u8], value: &[u8]) {
        self.0.row(key, value);
    }
}

/// What a step of a pass comes to.
enum Step {
    Written(Vec<u8>, Pass),
    Finished(Vec<u8>, Layout),
}

impl Pass {
    fn new(writer: Writer) -> Pass {
        let cursor = Some(Cursor::default());
        Pass { writer, cursor }
    }

    fn step(mut self, published: &Published) -> Result<Step, QueryError> {
        let Some(cursor) = self.cursor.take() else {
            let (bytes, layout) = self.writer.finish();
            return Ok(Step::Finished(bytes, layout));
        };
        let position = Position {
            index: published.applied,
            term: published.term,
        };
        let mut rows = Rows(&mut self.writer);
        let view = &*published.view;
        self.cursor = backend::walk(view, position, cursor, SNAPSHOT_STEP_BYTES, &mut rows)?;
        Ok(Step::Written(self.writer.take(), self))
    }
}

impl Handle {
    /// The state of now as a file. Learners have one, too.
    pub async fn snapshot(&self) -> Result<SnapshotFile, Error> {
        let published = self.shared.engine.published();
        let mut pass = Pass::new(Writer::measuring());
        let layout = loop {
            match self.snapshot_step(&published, pass).await? {
                Step::Written(_, rest) => pass = rest,
                Step::Finished(_, layout) => break layout,
            }
        };
        let writer = Writer::writing(layout, published.applied);
        Ok(SnapshotFile {
            handle: self.clone(),
            published,
            bytes: layout.bytes(),
            rest: Some(Pass::new(writer)),
        })
    }

    /// Reads many rows: not on a thread that serves others.
    async fn snapshot_step(&self, published: &Arc<Published>, pass: Pass) -> Result<Step, Error> {
        let published = published.clone();
        self.query_aside(move || pass.step(&published)).await
    }
}

impl SnapshotFile {
    /// The length of the file.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The next bytes, or `None` after the last. After an error nothing more comes.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, Error> {
        while let Some(pass) = self.rest.take() {
            let bytes = match self.handle.snapshot_step(&self.published, pass).await? {
                Step::Written(bytes, rest) => {
                    self.rest = Some(rest);
                    bytes
                }
                Step::Finished(bytes, _) => bytes,
            };
            if !bytes.is_empty() {
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    }
}
