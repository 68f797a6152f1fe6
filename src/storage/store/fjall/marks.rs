//! How far the store is marked as durable; see [`crate::store::mark`].

use super::generation::Generation;
use crate::store::mark::Mark;
use ::fjall::{Database, Keyspace, PersistMode};
use std::path::{Path, PathBuf};

/// The row that holds the number of the last mark.
pub(super) const MARK_KEY: &[u8] = b"mark";
/// fjall's own keyspace, the list of the others.
const LIST_KEYSPACE: u64 = 0;

pub(super) struct Marks {
    folder: PathBuf,
    number: u64,
}

impl Marks {
    /// `number`: that of the last mark.
    pub(super) fn new(folder: &Path, number: u64) -> Marks {
        Marks {
            folder: folder.to_owned(),
            number,
        }
    }

    /// Makes everything that was written durable, and marks it.
    pub(super) fn advance(
        &mut self,
        database: &Database,
        root: &Keyspace,
        active: &Generation,
    ) -> ::fjall::Result<()> {
        self.number += 1;
        root.insert(MARK_KEY, self.number.to_be_bytes())?;
        database.persist(PersistMode::SyncAll)?;
        Ok(self.write(root, active)?)
    }

    pub(super) fn write(&self, root: &Keyspace, active: &Generation) -> std::io::Result<()> {
        let tables = active.keyspaces().chain([root]).map(Keyspace::id);
        let mark = Mark {
            number: self.number,
            keyspaces: [LIST_KEYSPACE].into_iter().chain(tables).collect(),
        };
        mark.write(&self.folder)
    }
}
