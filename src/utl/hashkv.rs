//! `hashkv`: the hash that members compare, of a snapshot or of the state of a stopped member.

use super::file::{failure, open};
use super::memory::Memory;
use super::{Context, Failure};
use crate::ctl::output::json::Json;
use crate::ctl::output::table::Table;
use crate::ctl::output::{Show, Style, line};
use crate::daemon::restored;
use detcd_core::query::{At, HashKv, hash_kv};
use detcd_core::view::View;
use std::path::Path;

pub(super) fn run(context: &mut Context) -> Result<(), Failure> {
    let path = context.only_argument("hashkv")?;
    context.style()?;
    let revision = context.flags.number("rev");
    let hash = if Path::new(&path).is_dir() {
        let stopped = restored::stopped(Path::new(&path));
        let (store, _lock) = stopped.map_err(|error| Failure::error(error.to_string()))?;
        hash(&store, revision)?
    } else {
        let memory = Memory::of(open(&path, "open")?).map_err(|error| match error {
            restored::RestoreError::Read(error) => failure(error),
            error => Failure::error(error.to_string()),
        })?;
        hash(&memory, revision)?
    };
    context.show(&Shown(hash))
}

fn hash(view: &dyn View, revision: i64) -> Result<HashKv, Failure> {
    let at = At::load(view).map_err(|fault| Failure::error(fault.0))?;
    hash_kv(view, at, revision).map_err(|error| Failure::error(error.to_string()))
}

struct Shown(HashKv);

impl Show for Shown {
    fn simple(&self, _style: Style, out: &mut Vec<u8>) {
        let HashKv {
            hash,
            hash_revision,
            compact_revision,
        } = self.0;
        line!(out, "{hash}, {hash_revision}, {compact_revision}");
    }

    fn json(&self, _style: Style) -> Json {
        Json::object()
            .with("hash", self.0.hash)
            .with("hashRevision", self.0.hash_revision)
            .with("compactRevision", self.0.compact_revision)
    }

    fn fields(&self, out: &mut Vec<u8>) {
        line!(out, "\"Hash\" : {}", self.0.hash);
        line!(out, "\"Hash revision\" : {}", self.0.hash_revision);
        line!(out, "\"Compact revision\" : {}", self.0.compact_revision);
    }

    fn table(&self) -> Option<Table> {
        let row = vec![
            self.0.hash.to_string(),
            self.0.hash_revision.to_string(),
            self.0.compact_revision.to_string(),
        ];
        Some(Table {
            headings: vec!["hash", "hash revision", "compact revision"],
            rows: vec![row],
        })
    }
}
