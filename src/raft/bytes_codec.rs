//! Little writers and readers for the formats of this room. All integers are big-endian.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use thiserror::Error;

/// Bytes that are not what they should be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{what}: {problem}")]
pub(crate) struct DecodeError {
    pub(crate) what: &'static str,
    pub(crate) problem: String,
}

/// Reads fields off the front of some bytes, and names what it was reading when they end early.
pub(crate) struct Reader {
    what: &'static str,
    rest: Bytes,
}

impl Reader {
    pub(crate) fn new(what: &'static str, bytes: Bytes) -> Reader {
        Reader { what, rest: bytes }
    }

    pub(crate) fn error(&self, problem: impl Into<String>) -> DecodeError {
        DecodeError {
            what: self.what,
            problem: problem.into(),
        }
    }

    pub(crate) fn u8(&mut self) -> Result<u8, DecodeError> {
        self.need(1)?;
        Ok(self.rest.get_u8())
    }

    pub(crate) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.need(4)?;
        Ok(self.rest.get_u32())
    }

    pub(crate) fn u64(&mut self) -> Result<u64, DecodeError> {
        self.need(8)?;
        Ok(self.rest.get_u64())
    }

    pub(crate) fn flag(&mut self) -> Result<bool, DecodeError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(self.error(format!("a flag is {other}"))),
        }
    }

    /// A length, and that many bytes: a slice of the input, not a copy.
    pub(crate) fn bytes(&mut self) -> Result<Bytes, DecodeError> {
        let length = self.u32()? as usize;
        self.need(length)?;
        Ok(self.rest.split_to(length))
    }

    pub(crate) fn string(&mut self) -> Result<String, DecodeError> {
        String::from_utf8(self.bytes()?.to_vec()).map_err(|_| self.error("a text is not UTF-8"))
    }

    /// A count of things that take at least `least` bytes each: never more than the rest can
    /// hold, so that it is safe to allocate for.
    pub(crate) fn count(&mut self, least: usize) -> Result<usize, DecodeError> {
        let count = self.u32()? as usize;
        if count.saturating_mul(least) > self.rest.len() {
            return Err(self.error(format!(
                "{count} items do not fit {} bytes",
                self.rest.len()
            )));
        }
        Ok(count)
    }

    /// The expected version byte.
    pub(crate) fn version(&mut self, expected: u8) -> Result<(), DecodeError> {
        let version = self.u8()?;
        if version != expected {
            return Err(self.error(format!("format version {version}, expected {expected}")));
        }
        Ok(())
    }

    /// Everything that is left.
    pub(crate) fn rest(self) -> Bytes {
        self.rest
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Nothing may be left.
    pub(crate) fn end(self) -> Result<(), DecodeError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(self.error(format!("{} bytes too many", self.rest.len())))
        }
    }

    fn need(&self, length: usize) -> Result<(), DecodeError> {
        if self.rest.len() < length {
            return Err(self.error(format!(
                "ends early: {} bytes left, {length} needed",
                self.rest.len()
            )));
        }
        Ok(())
    }
}

pub(crate) fn put_bytes(out: &mut BytesMut, bytes: &[u8]) {
    out.put_u32(u32::try_from(bytes.len()).expect("fields are far below 4 GiB"));
    out.put_slice(bytes);
}

pub(crate) fn put_count(out: &mut BytesMut, count: usize) {
    out.put_u32(u32::try_from(count).expect("counts are far below 2^32"));
}

pub(crate) fn put_flag(out: &mut BytesMut, flag: bool) {
    out.put_u8(u8::from(flag));
}
