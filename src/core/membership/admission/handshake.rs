//! The two messages of the handshake. Each starts with a format version.

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
        let mut out = [VERSION; 10];
        out[1..9].copy_from_slice(&self.log.to_le_bytes());
        out[9] = u8::from(self.confirms);
        Bytes::copy_from_slice(&out)
    }

    pub fn decode(bytes: &[u8]) -> Option<Greeting> {
        let (version, rest) = bytes.split_first()?;
        let (log, confirms) = rest.split_first_chunk::<8>()?;
        let confirms = match confirms {
            [0] => false,
            [1] => true,
            _ => return None,
        };
        let log = u64::from_le_bytes(*log);
        (*version == VERSION).then_some(Greeting { log, confirms })
    }
}

impl GreetingReply {
    pub fn encode(self) -> Bytes {
        Bytes::copy_from_slice(&[VERSION, self as u8])
    }

    pub fn decode(bytes: &[u8]) -> Option<GreetingReply> {
        match bytes {
            [VERSION, 0] => Some(GreetingReply::NoOtherLog),
            [VERSION, 1] => Some(GreetingReply::OtherLog),
            _ => None,
        }
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
