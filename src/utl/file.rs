//! Files of snapshots.

use crate::ctl::failure::Failure;
use detcd_bolt::read::{File, ReadError, Source};
use sha2::{Digest as _, Sha256};
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;

/// The last bytes of a snapshot that was saved.
const CHECKSUM_BYTES: u64 = 32;
/// What every length of the pages is a multiple of.
const PAGES_ARE: u64 = 512;

/// A file on the disk, of which nothing is held.
pub struct OnDisk {
    file: std::fs::File,
    length: u64,
}

impl Source for OnDisk {
    fn len(&self) -> u64 {
        self.length
    }

    fn read(&self, at: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, at)?;
        Ok(bytes)
    }
}

/// Opens what is said to be a snapshot. `verb` is what etcd's error says of a file that is not there.
pub fn open(path: &str, verb: &str) -> Result<File<OnDisk>, Failure> {
    let opened = std::fs::File::open(path).and_then(|file| Ok((file.metadata()?.len(), file)));
    let (length, file) = opened.map_err(|error| {
        let why = words(&error);
        Failure::error(format!("{verb} {path}: {why}"))
    })?;
    File::open(OnDisk { file, length }).map_err(failure)
}

/// Holds the snapshot against the checksum at its end.
pub fn check_sum(file: &File<OnDisk>) -> Result<(), Failure> {
    let OnDisk { file, length } = file.source();
    if length % PAGES_ARE != CHECKSUM_BYTES {
        return Err(Failure::error(
            "snapshot missing hash but --skip-hash-check=false",
        ));
    }
    let read = || -> io::Result<([u8; 32], [u8; 32])> {
        let mut expected = [0; 32];
        let pages = length - CHECKSUM_BYTES;
        file.read_exact_at(&mut expected, pages)?;
        let (mut sum, mut bytes) = (Sha256::new(), vec![0; 1024 * 1024]);
        let mut rest = io::BufReader::with_capacity(1, file).take(pages);
        loop {
            match rest.read(&mut bytes)? {
                0 => break,
                length => sum.update(&bytes[..length]),
            }
        }
        Ok((expected, sum.finalize().into()))
    };
    let (expected, found) = read().map_err(|error| Failure::error(words(&error)))?;
    if expected != found {
        let (expected, found) = (numbers(&expected), numbers(&found));
        return Err(Failure::error(format!(
            "expected sha256 [{expected}], got [{found}]"
        )));
    }
    Ok(())
}

fn numbers(bytes: &[u8]) -> String {
    let numbers: Vec<String> = bytes.iter().map(u8::to_string).collect();
    numbers.join(" ")
}

/// What is wrong with a file, in etcd's words where it has them.
pub fn failure(error: ReadError) -> Failure {
    Failure::error(match error {
        ReadError::NoMeta => "invalid database".to_owned(),
        ReadError::Short { .. } => "file size too small".to_owned(),
        ReadError::Damage(_) => {
            format!("snapshot file integrity check failed. 1 errors found.\n{error}")
        }
        ReadError::Source { .. } => error.to_string(),
    })
}

/// The system's words as Go prints them.
pub fn words(error: &io::Error) -> String {
    let text = error.to_string().to_lowercase();
    let end = text.find(" (os error").unwrap_or(text.len());
    text[..end].to_owned()
}
