//! The two messages of the handshake. Each starts with a format version.

use crate::encoding::{DecodeError, Reader, Writer};
use bytes::Bytes;
use core::fmt;

/// Since 2 a greeting names the log, since 3 it says whether it confirms.
const VERSION: u8 = 3;

/// What a member tells of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// The number of its raft log.
    pub log: u64,
    /// Whether the receiver is to remember the number: the sender is about to take part.
    pub confirms: bool,
}

/// How a greeting is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum GreetingReply {
    NoOtherLog = 0,
    /// The sender is known by another log.
    OtherLog = 1,
}

impl Greeting {
    pub fn encode(self) -> Bytes {
        let mut out = Writer::default();
        out.u8(VERSION);
        out.u64_le(self.log);
        out.flag(self.confirms);
        out.finish()
    }

    pub fn decode(bytes: &Bytes) -> Result<Greeting, DecodeError> {
        let mut reader = Reader::new("greeting", bytes);
        reader.version(VERSION)?;
        let greeting = Greeting {
            log: reader.u64_le()?,
            confirms: reader.flag()?,
        };
        reader.end()?;
        Ok(greeting)
    }
}

impl GreetingReply {
    pub fn encode(self) -> Bytes {
        let mut out = Writer::default();
        out.u8(VERSION);
        out.u8(self as u8);
        out.finish()
    }

    pub fn decode(bytes: &Bytes) -> Result<GreetingReply, DecodeError> {
        let mut reader = Reader::new("reply to a greeting", bytes);
        reader.version(VERSION)?;
        let reply = match reader.u8()? {
            0 => GreetingReply::NoOtherLog,
            1 => GreetingReply::OtherLog,
            _ => return Err(reader.error("an unknown reply")),
        };
        reader.end()?;
        Ok(reply)
    }
}

impl fmt::Display for Greeting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let step = match self.confirms {
            true => "confirms",
            false => "asks about",
        };
        write!(f, "{step} log {}", self.log)
    }
}

impl fmt::Display for GreetingReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            GreetingReply::NoOtherLog => "no other log",
            GreetingReply::OtherLog => "another log",
        })
    }
}
