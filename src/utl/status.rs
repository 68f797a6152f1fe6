//! `snapshot status`: checks a snapshot, and says what is in it.

use super::file::{failure, open};
use super::{Context, Failure};
use crate::ctl::go;
use crate::ctl::output::json::Json;
use crate::ctl::output::table::Table;
use crate::ctl::output::{Show, Style, line};
use detcd_bolt::read::{Found, ReadError};

pub(super) fn run(context: &mut Context) -> Result<(), Failure> {
    let path = context.only_argument("snapshot status")?;
    context.style()?;
    let status = status(&path)?;
    context.show(&status)
}

/// What is in a snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Status {
    hash: u32,
    revision: i64,
    keys: u64,
    bytes: u64,
}

pub(crate) fn status(path: &str) -> Result<Status, Failure> {
    let file = open(path, "stat")?;
    let mut status = Status {
        bytes: file.bytes(),
        ..Status::default()
    };
    let walked = file.walk::<ReadError>(&mut |names, found| {
        let ([name], hash) = (names, &mut status.hash) else {
            // etcd has no buckets in buckets.
            return Ok(());
        };
        match found {
            Found::Bucket => *hash = crc32c::crc32c_append(*hash, name),
            Found::Row { key, value } => {
                *hash = crc32c::crc32c_append(crc32c::crc32c_append(*hash, key), value);
                if name == b"key" {
                    let main = key.get(..8).and_then(|main| main.try_into().ok());
                    status.revision = main.map_or(0, i64::from_be_bytes);
                }
                status.keys += 1;
            }
        }
        Ok(())
    });
    walked.map_err(failure)?;
    Ok(status)
}

impl Show for Status {
    fn simple(&self, _style: Style, out: &mut Vec<u8>) {
        let size = go::show_bytes(self.bytes);
        let (revision, keys) = (self.revision, self.keys);
        line!(out, "{:x}, {revision}, {keys}, {size}", self.hash);
    }

    fn json(&self, _style: Style) -> Json {
        Json::object()
            .with("hash", self.hash)
            .with("revision", self.revision)
            .with("totalKey", self.keys)
            .with("totalSize", self.bytes)
    }

    fn fields(&self, out: &mut Vec<u8>) {
        line!(out, "\"Hash\" : {}", self.hash);
        line!(out, "\"Revision\" : {}", self.revision);
        line!(out, "\"Keys\" : {}", self.keys);
        line!(out, "\"Size\" : {}", self.bytes);
    }

    fn table(&self) -> Option<Table> {
        let row = vec![
            format!("{:x}", self.hash),
            self.revision.to_string(),
            self.keys.to_string(),
            go::show_bytes(self.bytes),
        ];
        Some(Table {
            headings: vec!["hash", "revision", "total keys", "total size"],
            rows: vec![row],
        })
    }
}
