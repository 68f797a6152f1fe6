//! The mark: what of the store is known to be durable, apart from fjall's own files.
//!
//! fjall takes a journal that is cut short, or a keyspace whose folder lost its files, for what a
//! crash left, goes on without them and removes the rest. So every sync of the journal writes the
//! next number to a row first, and then to this file, with the keyspaces that must be there: a row
//! behind the file, or a keyspace without files, is damage, and found before fjall touches it.
//!
//! ```text
//! file  two slots of a page, written in turn
//! slot  copy, zeros to 2048 bytes, copy, zeros
//! copy  magic 8 | number 8 | count 8 | keyspaces, 8 each | crc 4
//! ```

use super::OpenError;
use bytes::Bytes;
use detcd_core::encoding::{DecodeError, Reader, Writer};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

const FILE: &str = "mark";
const FILE_NEW: &str = "mark.new";
const MAGIC: [u8; 8] = *b"detcdmrk";
const SLOT_BYTES: usize = 4096;
const COPY_BYTES: usize = SLOT_BYTES / 2;
const HEAD_BYTES: usize = 24;
/// fjall's files: that of the database, and that of a keyspace.
const VERSION: &str = "version";
const CURRENT: &str = "current";

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) number: u64,
    /// The numbers of the keyspaces that hold the state, in fjall's count.
    pub(super) keyspaces: Vec<u64>,
}

impl Mark {
    /// The mark of the store in `folder`; `None` in a new one, and in those of before there were
    /// marks. What must be there is there.
    pub(super) fn find(folder: &Path) -> Result<Option<Mark>, OpenError> {
        let damaged = |what: &str| OpenError::damaged(folder, what);
        if !folder.join(VERSION).exists() && holds_anything(folder) {
            return Err(damaged("its file \"version\" is missing"));
        }
        let bytes = match fs::read(folder.join(FILE)) {
            Ok(bytes) => Bytes::from(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(OpenError::io(folder, FILE, &error)),
        };
        let mark = decode(&bytes).ok_or_else(|| damaged("its file \"mark\" makes no sense"))?;
        for keyspace in &mark.keyspaces {
            let name = format!("keyspaces/{keyspace}/{CURRENT}");
            let current = fs::read(folder.join(&name)).unwrap_or_default();
            if current.iter().all(|byte| *byte == 0) {
                return Err(damaged(&format!("its file \"{name}\" is missing or blank")));
            }
        }
        Ok(Some(mark))
    }

    /// Whether the store that was opened has what the mark speaks of; `stored` is its row.
    pub(super) fn check(
        mark: Option<&Mark>,
        stored: Option<u64>,
        folder: &Path,
    ) -> Result<(), OpenError> {
        let what = match (mark, stored) {
            (None, None) => return Ok(()),
            (Some(mark), stored) if stored.unwrap_or(0) >= mark.number => return Ok(()),
            (Some(_), _) => "writes that were durable are gone from its journal",
            (None, Some(_)) => "its file \"mark\" is missing",
        };
        Err(OpenError::damaged(folder, what))
    }

    /// Writes the file, durably: in place if there is one, so that a full disk has room for it.
    pub(super) fn write(&self, folder: &Path) -> io::Result<()> {
        let slot = self.encode();
        let path = folder.join(FILE);
        if let Ok(file) = OpenOptions::new().write(true).open(&path) {
            let at = (self.number % 2) * SLOT_BYTES as u64;
            file.write_all_at(&slot, at)?;
            return file.sync_data();
        }
        let draft = folder.join(FILE_NEW);
        let file = File::create(&draft)?;
        file.write_all_at(&[&slot[..], &slot[..]].concat(), 0)?;
        file.sync_all()?;
        fs::rename(draft, path)?;
        File::open(folder)?.sync_all()
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Writer::with_capacity(COPY_BYTES);
        out.slice(&MAGIC);
        let count = self.keyspaces.len() as u64;
        for number in [self.number, count].iter().chain(&self.keyspaces) {
            out.u64_le(*number);
        }
        let crc = crc32c::crc32c(out.as_slice());
        out.u32_le(crc);
        assert!(out.len() <= COPY_BYTES, "{count} keyspaces");
        let mut slot = out.finish().to_vec();
        slot.resize(COPY_BYTES, 0);
        slot.extend_from_within(..);
        slot
    }
}

/// Whether fjall has begun a database here.
fn holds_anything(folder: &Path) -> bool {
    let is_journal = |entry: fs::DirEntry| entry.path().extension().is_some_and(|it| it == "jnl");
    let mut entries = fs::read_dir(folder).into_iter().flatten().flatten();
    folder.join(FILE).exists() || entries.any(is_journal)
}

/// The newest mark. A slot that the power cut short is not missed: the other is the one before.
fn decode(bytes: &Bytes) -> Option<Mark> {
    if bytes.len() != 2 * SLOT_BYTES || bytes.chunks(SLOT_BYTES).any(|slot| slot[..8] != MAGIC) {
        return None;
    }
    let copies = (0..bytes.len()).step_by(COPY_BYTES);
    let copies = copies.map(|at| bytes.slice(at..at + COPY_BYTES));
    let marks = copies.filter_map(|copy| decode_copy(&copy).ok());
    marks.max_by_key(|mark| mark.number)
}

fn decode_copy(copy: &Bytes) -> Result<Mark, DecodeError> {
    let mut reader = Reader::new("mark", copy);
    let magic = reader.u64_le()?;
    let number = reader.u64_le()?;
    let count = reader.u64_le()?;
    let keyspaces = (0..count).map(|_| reader.u64_le());
    let keyspaces: Vec<u64> = keyspaces.collect::<Result<_, _>>()?;
    let summed = &copy[..HEAD_BYTES + 8 * keyspaces.len()];
    let crc = reader.u32_le()?;
    if magic != u64::from_le_bytes(MAGIC) || crc != crc32c::crc32c(summed) {
        return Err(reader.error("its checksum does not match"));
    }
    Ok(Mark { number, keyspaces })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(number: u64) -> Mark {
        Mark {
            number,
            keyspaces: vec![0, 1, 0x0203],
        }
    }

    fn file(first: u64, second: u64) -> Bytes {
        Bytes::from([mark(first).encode(), mark(second).encode()].concat())
    }

    #[test]
    fn mark_bytes_are_pinned() {
        let bytes = mark(0x41).encode();
        let hex: String = bytes[..52]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(hex, GOLDEN);
        assert_eq!(bytes[..COPY_BYTES], bytes[COPY_BYTES..]);
        assert!(bytes[52..COPY_BYTES].iter().all(|byte| *byte == 0));
        assert_eq!(decode(&file(7, 8)), Some(mark(8)));
        assert_eq!(decode(&file(9, 8)), Some(mark(9)));
    }

    #[test]
    fn one_flipped_bit_takes_nothing_back() {
        let whole = file(8, 7);
        for bit in 0..whole.len() * 8 {
            let mut bad = whole.to_vec();
            bad[bit / 8] ^= 1 << (bit % 8);
            let read = decode(&Bytes::from(bad));
            assert!(
                read.is_none() || read == Some(mark(8)),
                "bit {bit}: {read:?}"
            );
        }
    }

    #[test]
    fn what_is_cut_or_blank_makes_no_sense() {
        let whole = file(8, 7);
        assert_eq!(decode(&whole.slice(..SLOT_BYTES)), None);
        assert_eq!(decode(&Bytes::from(vec![0; whole.len()])), None);
        let mut half = whole.to_vec();
        half[..SLOT_BYTES].fill(0);
        assert_eq!(decode(&Bytes::from(half)), None);
    }

    #[test]
    fn a_row_behind_the_mark_is_damage() {
        let folder = Path::new("/d/store");
        let check = |mark: Option<&Mark>, row| Mark::check(mark, row, folder).is_ok();
        assert!(check(None, None));
        assert!(check(Some(&mark(3)), Some(3)) && check(Some(&mark(3)), Some(4)));
        assert!(!check(Some(&mark(3)), Some(2)) && !check(Some(&mark(3)), None));
        assert!(!check(None, Some(1)));
    }

    const GOLDEN: &str = "64657463646d726b410000000000000003000000000000000000000000000000\
        0100000000000000030200000000000009d5370c";
}
