//! Bytes, written and read field by field. Every format of detcd's own (commands, rows, log
//! entries, messages between members) is made with [`Writer`] and read with [`Reader`].
//!
//! New formats use varints (LEB128; a negative number takes ten bytes): [`Reader::varint`], and
//! byte strings and lists with a varint before them. Numbers of a fixed width, and lengths that
//! are such numbers, have their byte order in their names.
//!
//! Reading slices the input instead of copying it, and survives any garbage: a length is checked
//! against what is left before anything is reserved for it.

use crate::view::Fault;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;
use core::fmt;

/// Bytes that are not what they should be, in words: what was read, what is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeError(String);

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl core::error::Error for DecodeError {}

/// Stored rows and committed entries must be readable.
impl From<DecodeError> for Fault {
    fn from(error: DecodeError) -> Fault {
        Fault(error.0)
    }
}

/// Reads fields off the front of bytes of which nothing is trusted.
pub struct Reader<'a> {
    what: &'static str,
    source: &'a Bytes,
    at: usize,
}

impl<'a> Reader<'a> {
    /// `what` names the format in errors.
    pub fn new(what: &'static str, source: &'a Bytes) -> Reader<'a> {
        Reader {
            what,
            source,
            at: 0,
        }
    }

    /// The error of a field that was read and makes no sense.
    pub fn error(&self, problem: impl fmt::Display) -> DecodeError {
        DecodeError(format!(
            "cannot decode a {} of {} bytes: {problem} at byte {}",
            self.what,
            self.source.len(),
            self.at
        ))
    }

    fn left(&self) -> usize {
        self.source.len() - self.at
    }

    pub fn is_empty(&self) -> bool {
        self.left() == 0
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let field = self.source[self.at..].first_chunk::<N>();
        let field = *field.ok_or_else(|| self.error("it ends early"))?;
        self.at += N;
        Ok(field)
    }

    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array().map(|[byte]| byte)
    }

    pub fn flag(&mut self) -> Result<bool, DecodeError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.error("neither true nor false")),
        }
    }

    /// The byte that says the version of the format, which must be this one.
    pub fn version(&mut self, expected: u8) -> Result<(), DecodeError> {
        match self.u8()? {
            version if version == expected => Ok(()),
            version => Err(self.error(format_args!("format {version} instead of {expected}"))),
        }
    }

    pub fn u32_be(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    pub fn u64_be(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_be_bytes)
    }

    pub fn u32_le(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_le_bytes)
    }

    pub fn u64_le(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_le_bytes)
    }

    pub fn i64_le(&mut self) -> Result<i64, DecodeError> {
        self.array().map(i64::from_le_bytes)
    }

    pub fn varint(&mut self) -> Result<u64, DecodeError> {
        let mut n = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(self.error("a number beyond 64 bits"));
            }
            n |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(n);
            }
        }
        Err(self.error("a number that does not end"))
    }

    /// A signed number, as a varint.
    pub fn i64(&mut self) -> Result<i64, DecodeError> {
        Ok(self.varint()? as i64)
    }

    /// Checks a count of items that take at least `item_bytes_min` bytes each.
    fn bounded(&self, count: u64, item_bytes_min: usize) -> Result<usize, DecodeError> {
        match count.saturating_mul(item_bytes_min as u64) <= self.left() as u64 {
            true => Ok(count as usize),
            false => Err(self.error("a length beyond the end")),
        }
    }

    /// The length of a list whose items take at least one byte each.
    pub fn count(&mut self) -> Result<usize, DecodeError> {
        let count = self.varint()?;
        self.bounded(count, 1)
    }

    /// The length of a list whose items take at least `item_bytes_min` bytes each.
    pub fn count_be(&mut self, item_bytes_min: usize) -> Result<usize, DecodeError> {
        let count = self.u32_be()?.into();
        self.bounded(count, item_bytes_min)
    }

    /// The length of a list whose items take at least `item_bytes_min` bytes each.
    pub fn count_le(&mut self, item_bytes_min: usize) -> Result<usize, DecodeError> {
        let count = self.u32_le()?.into();
        self.bounded(count, item_bytes_min)
    }

    /// So many bytes.
    fn take(&mut self, length: usize) -> Bytes {
        let bytes = self.source.slice(self.at..self.at + length);
        self.at += length;
        bytes
    }

    pub fn bytes(&mut self) -> Result<Bytes, DecodeError> {
        let length = self.count()?;
        Ok(self.take(length))
    }

    pub fn bytes_be(&mut self) -> Result<Bytes, DecodeError> {
        let length = self.count_be(1)?;
        Ok(self.take(length))
    }

    pub fn bytes_le(&mut self) -> Result<Bytes, DecodeError> {
        let length = self.count_le(1)?;
        Ok(self.take(length))
    }

    fn text(&self, bytes: &Bytes) -> Result<String, DecodeError> {
        match core::str::from_utf8(bytes) {
            Ok(text) => Ok(String::from(text)),
            Err(_) => Err(self.error("text that is not UTF-8")),
        }
    }

    pub fn string(&mut self) -> Result<String, DecodeError> {
        let bytes = self.bytes()?;
        self.text(&bytes)
    }

    pub fn string_be(&mut self) -> Result<String, DecodeError> {
        let bytes = self.bytes_be()?;
        self.text(&bytes)
    }

    pub fn strings(&mut self) -> Result<Vec<String>, DecodeError> {
        (0..self.count()?).map(|_| self.string()).collect()
    }

    /// Everything that is left.
    pub fn rest(&mut self) -> Bytes {
        self.take(self.left())
    }

    /// Nothing may be left.
    pub fn end(&self) -> Result<(), DecodeError> {
        match self.is_empty() {
            true => Ok(()),
            false => Err(self.error("bytes left over")),
        }
    }
}

/// Writes fields one after the other.
#[derive(Clone, Debug, Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    pub fn with_capacity(bytes: usize) -> Writer {
        Writer(Vec::with_capacity(bytes))
    }

    pub fn u8(&mut self, n: u8) {
        self.0.push(n);
    }

    pub fn flag(&mut self, flag: bool) {
        self.u8(u8::from(flag));
    }

    pub fn u32_be(&mut self, n: u32) {
        self.slice(&n.to_be_bytes());
    }

    pub fn u64_be(&mut self, n: u64) {
        self.slice(&n.to_be_bytes());
    }

    pub fn u32_le(&mut self, n: u32) {
        self.slice(&n.to_le_bytes());
    }

    pub fn u64_le(&mut self, n: u64) {
        self.slice(&n.to_le_bytes());
    }

    pub fn i64_le(&mut self, n: i64) {
        self.slice(&n.to_le_bytes());
    }

    pub fn varint(&mut self, n: u64) {
        put_varint(&mut self.0, n);
    }

    /// A signed number, as a varint.
    pub fn i64(&mut self, n: i64) {
        self.varint(n as u64);
    }

    /// Bytes without their length.
    pub fn slice(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub fn count(&mut self, count: usize) {
        self.varint(count as u64);
    }

    pub fn count_be(&mut self, count: usize) {
        self.u32_be(u32::try_from(count).expect("lengths are far below 4 GiB"));
    }

    pub fn count_le(&mut self, count: usize) {
        self.u32_le(u32::try_from(count).expect("lengths are far below 4 GiB"));
    }

    /// The length, and the bytes.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.slice(bytes);
    }

    /// The length, and the bytes.
    pub fn bytes_be(&mut self, bytes: &[u8]) {
        self.count_be(bytes.len());
        self.slice(bytes);
    }

    /// The length, and the bytes.
    pub fn bytes_le(&mut self, bytes: &[u8]) {
        self.count_le(bytes.len());
        self.slice(bytes);
    }

    pub fn strings(&mut self, texts: &[String]) {
        self.count(texts.len());
        for text in texts {
            self.bytes(text.as_bytes());
        }
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is written so far.
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }

    pub fn finish(self) -> Bytes {
        Bytes::from(self.0)
    }
}

/// Appends a varint to a buffer that is not a whole format.
pub fn put_varint(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// How many bytes the varint of `n` takes.
pub fn varint_len(n: u64) -> usize {
    let bits = 64 - (n | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

/// The number at a fixed place of a header whose length has been checked.
pub fn u32_le_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// The number at a fixed place of a header whose length has been checked.
pub fn u64_le_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec;

    fn written() -> Bytes {
        let mut out = Writer::default();
        out.u8(7);
        out.flag(true);
        out.u32_be(1);
        out.u64_be(2);
        out.u32_le(3);
        out.u64_le(4);
        out.i64_le(-5);
        out.varint(300);
        out.i64(-1);
        out.bytes(b"varint");
        out.bytes_be(b"big");
        out.bytes_le(b"little");
        out.strings(&["a".to_string(), "b".to_string()]);
        out.slice(b"rest");
        out.finish()
    }

    fn read(bytes: &Bytes) -> Result<Bytes, DecodeError> {
        let mut reader = Reader::new("test", bytes);
        reader.version(7)?;
        assert!(reader.flag()?);
        assert_eq!((reader.u32_be()?, reader.u64_be()?), (1, 2));
        assert_eq!((reader.u32_le()?, reader.u64_le()?), (3, 4));
        assert_eq!((reader.i64_le()?, reader.varint()?), (-5, 300));
        assert_eq!(reader.i64()?, -1);
        assert_eq!(&reader.bytes()?[..], b"varint");
        assert_eq!(&reader.bytes_be()?[..], b"big");
        assert_eq!(&reader.bytes_le()?[..], b"little");
        assert_eq!(reader.strings()?, vec!["a", "b"]);
        let rest = reader.rest();
        reader.end()?;
        Ok(rest)
    }

    #[test]
    fn reader_reads_every_field_as_it_was_written() {
        assert_eq!(read(&written()).as_deref(), Ok(&b"rest"[..]));
    }

    #[test]
    fn reader_refuses_every_cut_before_the_last_field() {
        let bytes = written();
        for length in 0..bytes.len() - b"rest".len() {
            assert!(read(&bytes.slice(..length)).is_err(), "cut at {length}");
        }
    }

    #[test]
    fn reader_reserves_nothing_for_a_length_beyond_the_end() {
        let huge = Bytes::from_static(&[0xff; 16]);
        assert!(Reader::new("list", &huge).count_be(8).is_err());
        assert!(Reader::new("list", &huge).bytes_le().is_err());
        assert!(Reader::new("list", &huge).count().is_err());
        let three = Bytes::from_static(&[3, 0, 0, 0, 1, 2]);
        assert!(Reader::new("list", &three).count_le(1).is_err());
        assert_eq!(Reader::new("list", &three).count(), Ok(3));
    }

    #[test]
    fn errors_name_the_format_the_problem_and_the_place() {
        let bytes = Bytes::from_static(&[2, 0]);
        let error = Reader::new("vote", &bytes).version(1);
        let text = "cannot decode a vote of 2 bytes: format 2 instead of 1 at byte 1";
        assert_eq!(error.map_err(|error| error.to_string()), Err(text.into()));
    }
}
