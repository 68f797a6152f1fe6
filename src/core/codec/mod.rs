//! The bytes of whatever is stored or enters the log. Every format starts with a tag that also
//! says its version; a tag that is not known is a [`Fault`], never a guess.
//!
//! Numbers are LEB128 varints (a negative number takes ten bytes; none is common), byte strings
//! have their length before them, and keys that must sort as numbers are big-endian. Decoding
//! slices the input instead of copying it, and survives any garbage.

mod command;
mod received;
mod rows;

pub use command::{decode_command, decode_proposal, encode_command, encode_proposal};
pub use received::check_row;
use rows::alarm_kind;
pub use rows::*;

use crate::view::Fault;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;

/// How many bytes the varint of `n` takes.
fn varint_len(n: u64) -> usize {
    let bits = 64 - (n | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

pub(crate) fn put_varint(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

fn put_i64(out: &mut Vec<u8>, n: i64) {
    put_varint(out, n as u64);
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// A cursor over bytes of which nothing is trusted.
struct Reader<'a> {
    what: &'static str,
    source: &'a Bytes,
    at: usize,
}

impl<'a> Reader<'a> {
    fn new(what: &'static str, source: &'a Bytes) -> Reader<'a> {
        Reader {
            what,
            source,
            at: 0,
        }
    }

    fn fault(&self, why: &str) -> Fault {
        Fault(format!(
            "cannot decode a {} of {} bytes: {why} at byte {}",
            self.what,
            self.source.len(),
            self.at
        ))
    }

    fn byte(&mut self) -> Result<u8, Fault> {
        let byte = *self
            .source
            .get(self.at)
            .ok_or_else(|| self.fault("it ends early"))?;
        self.at += 1;
        Ok(byte)
    }

    fn flag(&mut self) -> Result<bool, Fault> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.fault("neither true nor false")),
        }
    }

    fn varint(&mut self) -> Result<u64, Fault> {
        let mut n = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(self.fault("a number beyond 64 bits"));
            }
            n |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(n);
            }
        }
        Err(self.fault("a number that does not end"))
    }

    fn i64(&mut self) -> Result<i64, Fault> {
        Ok(self.varint()? as i64)
    }

    /// The length of a list whose elements take at least one byte each: what remains bounds it, so
    /// that garbage cannot make us reserve memory.
    fn count(&mut self) -> Result<usize, Fault> {
        let count = self.varint()?;
        let rest = (self.source.len() - self.at) as u64;
        if count > rest {
            Err(self.fault("a length beyond the end"))
        } else {
            Ok(count as usize)
        }
    }

    fn take(&mut self, len: usize) -> Result<Bytes, Fault> {
        if len > self.source.len() - self.at {
            return Err(self.fault("a length beyond the end"));
        }
        let bytes = self.source.slice(self.at..self.at + len);
        self.at += len;
        Ok(bytes)
    }

    fn bytes(&mut self) -> Result<Bytes, Fault> {
        let len = self.count()?;
        self.take(len)
    }

    fn string(&mut self) -> Result<String, Fault> {
        let bytes = self.bytes()?;
        match core::str::from_utf8(&bytes) {
            Ok(text) => Ok(String::from(text)),
            Err(_) => Err(self.fault("text that is not UTF-8")),
        }
    }

    fn strings(&mut self) -> Result<Vec<String>, Fault> {
        (0..self.count()?).map(|_| self.string()).collect()
    }

    fn rest(&mut self) -> Bytes {
        let rest = self.source.slice(self.at..);
        self.at = self.source.len();
        rest
    }

    fn end(&self) -> Result<(), Fault> {
        if self.at == self.source.len() {
            Ok(())
        } else {
            Err(self.fault("bytes left over"))
        }
    }
}
