//! The frames on the stream between two members: many calls share it, told apart by correlation
//! ids. One byte says what the frame is, eight name the call, the rest is its own.

use crate::Kind;
use bytes::{Buf, BufMut, Bytes};

/// The version of frames and of what they carry. Both sides must speak the same.
pub const PROTOCOL_VERSION: u32 = 1;

const TAG_REQUEST: u8 = 1;
const TAG_ANSWER: u8 = 2;
const TAG_REFUSAL: u8 = 3;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    Request { call: u64, kind: Kind, body: Bytes },
    Answer { call: u64, body: Bytes },
    Refusal { call: u64, reason: String },
}

impl Frame {
    pub fn encoded_len(&self) -> usize {
        1 + 8
            + match self {
                Frame::Request { body, .. } => 1 + body.len(),
                Frame::Answer { body, .. } => body.len(),
                Frame::Refusal { reason, .. } => reason.len(),
            }
    }

    pub fn encode(&self, out: &mut impl BufMut) {
        match self {
            Frame::Request { call, kind, body } => {
                out.put_u8(TAG_REQUEST);
                out.put_u64(*call);
                out.put_u8(*kind as u8);
                out.put_slice(body);
            }
            Frame::Answer { call, body } => {
                out.put_u8(TAG_ANSWER);
                out.put_u64(*call);
                out.put_slice(body);
            }
            Frame::Refusal { call, reason } => {
                out.put_u8(TAG_REFUSAL);
                out.put_u64(*call);
                out.put_slice(reason.as_bytes());
            }
        }
    }

    /// The frame in `bytes`, which it shares. `Err` says what is wrong with them.
    pub fn decode(mut bytes: Bytes) -> Result<Frame, String> {
        if bytes.len() < 9 {
            return Err(format!("a frame of {} bytes", bytes.len()));
        }
        let tag = bytes.get_u8();
        let call = bytes.get_u64();
        match tag {
            TAG_REQUEST => {
                let Some(&kind) = bytes.first() else {
                    return Err("a request without a kind".to_owned());
                };
                bytes.advance(1);
                let kind = Kind::from_tag(kind).ok_or_else(|| format!("no kind {kind}"))?;
                Ok(Frame::Request {
                    call,
                    kind,
                    body: bytes,
                })
            }
            TAG_ANSWER => Ok(Frame::Answer { call, body: bytes }),
            TAG_REFUSAL => {
                let reason = String::from_utf8_lossy(&bytes).into_owned();
                Ok(Frame::Refusal { call, reason })
            }
            other => Err(format!("no frame starts with {other}")),
        }
    }
}
