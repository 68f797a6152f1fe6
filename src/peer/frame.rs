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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proptest::test_runner::FileFailurePersistence;

    fn encoded(frame: &Frame) -> Vec<u8> {
        let mut out = Vec::new();
        frame.encode(&mut out);
        assert_eq!(out.len(), frame.encoded_len());
        out
    }

    #[test]
    fn golden_frames() {
        let body = Bytes::from_static(b"xy");
        let request = Frame::Request {
            call: 0x0102,
            kind: Kind::Vote,
            body: body.clone(),
        };
        assert_eq!(encoded(&request), b"\x01\0\0\0\0\0\0\x01\x02\x02xy");
        assert_eq!(
            encoded(&Frame::Answer { call: 3, body }),
            b"\x02\0\0\0\0\0\0\0\x03xy"
        );
        let refusal = Frame::Refusal {
            call: 4,
            reason: "no".to_owned(),
        };
        assert_eq!(encoded(&refusal), b"\x03\0\0\0\0\0\0\0\x04no");
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: Some(Box::new(FileFailurePersistence::Direct(
                "../../proptest-regressions/peer-frame.txt",
            ))),
            ..ProptestConfig::default()
        })]

        #[test]
        fn frames_round_trip(
            call in any::<u64>(),
            kind in proptest::sample::select(Kind::ALL.to_vec()),
            body in proptest::collection::vec(any::<u8>(), 0..64),
            reason in ".{0,16}",
        ) {
            let body = Bytes::from(body);
            for frame in [
                Frame::Request { call, kind, body: body.clone() },
                Frame::Answer { call, body },
                Frame::Refusal { call, reason },
            ] {
                prop_assert_eq!(Frame::decode(encoded(&frame).into()).unwrap(), frame);
            }
        }

        #[test]
        fn garbage_is_refused_or_a_frame(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(frame) = Frame::decode(bytes.clone().into()) {
                // Refusals are told as text, whatever their bytes.
                if !matches!(frame, Frame::Refusal { .. }) {
                    prop_assert_eq!(encoded(&frame), bytes);
                }
            }
        }
    }
}
