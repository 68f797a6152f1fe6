//! The content of a simulated file: sparse pages, so that preallocating costs nothing.

use crate::rng::Rng;
use bytes::{Bytes, BytesMut};
use std::collections::BTreeMap;

const PAGE: u64 = 4096;

/// Bytes of which most may be zeros.
#[derive(Clone, Debug, Default)]
pub struct SparseBytes {
    len: u64,
    pages: BTreeMap<u64, Box<[u8; PAGE as usize]>>,
}

impl SparseBytes {
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Up to `len` bytes from `offset`, fewer only at the end.
    pub fn read_at(&self, offset: u64, len: usize) -> Bytes {
        let end = offset.saturating_add(len as u64).min(self.len);
        let mut out = BytesMut::with_capacity(end.saturating_sub(offset) as usize);
        let mut at = offset;
        while at < end {
            let (page, start, stop) = piece(at, end);
            match self.pages.get(&page) {
                Some(bytes) => out.extend_from_slice(&bytes[start..stop]),
                None => out.resize(out.len() + stop - start, 0),
            }
            at += (stop - start) as u64;
        }
        out.freeze()
    }

    pub fn write_at(&mut self, offset: u64, data: &[u8]) {
        let end = offset + data.len() as u64;
        let mut at = offset;
        while at < end {
            let (page, start, stop) = piece(at, end);
            let bytes = self
                .pages
                .entry(page)
                .or_insert_with(|| Box::new([0; PAGE as usize]));
            let from = (at - offset) as usize;
            bytes[start..stop].copy_from_slice(&data[from..from + stop - start]);
            at += (stop - start) as u64;
        }
        self.len = self.len.max(end);
    }

    /// The offset of some byte that is not zero, each page as likely as the others.
    pub fn draw_written(&self, rng: &mut Rng) -> Option<u64> {
        let pages = self.pages.iter();
        let written = pages.filter(|(_, bytes)| bytes.iter().any(|byte| *byte != 0));
        let written: Vec<_> = written.collect();
        if written.is_empty() {
            return None;
        }
        let (page, bytes) = written[rng.index(written.len())];
        let places: Vec<u64> = (0..PAGE).filter(|at| bytes[*at as usize] != 0).collect();
        Some(page * PAGE + rng.pick(&places))
    }

    /// Where the last byte stands that is not zero.
    pub fn last_written(&self) -> Option<u64> {
        let mut pages = self.pages.iter().rev();
        pages.find_map(|(page, bytes)| {
            let place = bytes.iter().rposition(|byte| *byte != 0)?;
            Some(page * PAGE + place as u64)
        })
    }

    /// Cuts, or extends with zeros.
    pub fn resize(&mut self, len: u64) {
        if len < self.len {
            self.pages.split_off(&len.div_ceil(PAGE));
            if let Some(bytes) = self.pages.get_mut(&(len / PAGE)) {
                bytes[(len % PAGE) as usize..].fill(0);
            }
        }
        self.len = len;
    }
}

/// The page at `at`, and which of its bytes lie before `end`.
fn piece(at: u64, end: u64) -> (u64, usize, usize) {
    let page = at / PAGE;
    let start = at % PAGE;
    let stop = (end - page * PAGE).min(PAGE);
    (page, start as usize, stop as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_and_extended_file_reads_as_zeros() {
        let mut bytes = SparseBytes::default();
        bytes.write_at(4090, &[7; 20]);
        assert_eq!(bytes.len(), 4110);
        assert_eq!(&bytes.read_at(4088, 4)[..], &[0, 0, 7, 7]);
        assert_eq!(bytes.read_at(4100, 100).len(), 10);
        bytes.resize(4095);
        bytes.resize(4100);
        assert_eq!(
            &bytes.read_at(4090, 100)[..],
            &[7, 7, 7, 7, 7, 0, 0, 0, 0, 0]
        );
        bytes.resize(4096);
        bytes.resize(9000);
        assert_eq!(&bytes.read_at(4094, 6)[..], &[7, 0, 0, 0, 0, 0]);
        assert!(bytes.read_at(9000, 5).is_empty() && bytes.read_at(10_000, 5).is_empty());
    }
}
