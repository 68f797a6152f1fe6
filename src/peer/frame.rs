//! The frames on the stream between two members: many calls share it, told apart by correlation
//! ids. Four bytes check the rest: one byte that says what the frame is, eight that name the call,
//! and what is its own.
//!
//! TCP's checksum lets one in some tens of millions of broken packets through, and machines on the
//! way break bytes after they have checked it. A log entry that arrives with a flipped bit would
//! be stored, applied and acknowledged as if it were right. So every frame, and every chunk of a
//! stream, carries a CRC-32C: whoever finds it wrong ends the connection.
//!
//! HTTP/2 has streams of its own. A request to each call, written on h2 itself and answered by
//! tonic, was measured against these frames: puts of 256 bytes to three members on two busy cores
//! (`detcd bench --case put`, release, three alternating rounds of 4 s, medians):
//!
//! | clients | puts/s, frames | puts/s, requests | CPU s/100k, frames | CPU s/100k, requests |
//! |--|--|--|--|--|
//! | 1 | 338 | 264 | 144 | 167 |
//! | 100 | 5760 | 3350 | 11.8 | 15.2 |
//! | 1000 | 6741 | 6257 | 9.2 | 10.2 |
//!
//! A request costs the heads of two messages and a task; frames cost this file.

use crate::Kind;
use bytes::{Buf, BufMut, Bytes, BytesMut};

/// The version of frames and of what they carry. Both sides must speak the same.
pub const PROTOCOL_VERSION: u32 = 4;

/// Whether a member that speaks `own` takes messages of one that speaks `theirs`; `Err` says why it
/// refuses them.
pub fn check_protocol(theirs: &str, own: u32) -> Result<(), String> {
    match theirs == own.to_string() {
        true => Ok(()),
        false => Err(format!(
            "peer protocol {theirs}, but this member speaks {own}"
        )),
    }
}

const CHECKSUM_BYTES: usize = 4;

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
        let (head, body) = self.parts();
        CHECKSUM_BYTES + head.len() + body.len()
    }

    pub fn encode(&self, out: &mut impl BufMut) {
        let (head, body) = self.parts();
        out.put_u32(crc32c::crc32c_append(crc32c::crc32c(&head), body));
        out.put_slice(&head);
        out.put_slice(body);
    }

    /// What stands before the body, and the body.
    fn parts(&self) -> (Head, &[u8]) {
        match self {
            Frame::Request { call, kind, body } => {
                (Head::new(TAG_REQUEST, *call, Some(*kind as u8)), body)
            }
            Frame::Answer { call, body } => (Head::new(TAG_ANSWER, *call, None), body),
            Frame::Refusal { call, reason } => {
                (Head::new(TAG_REFUSAL, *call, None), reason.as_bytes())
            }
        }
    }

    /// The frame in `bytes`, which it shares. `Err` says what is wrong with them.
    pub fn decode(mut bytes: Bytes) -> Result<Frame, String> {
        if bytes.len() < CHECKSUM_BYTES + 9 {
            return Err(format!("a frame of {} bytes", bytes.len()));
        }
        check(&mut bytes)?;
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

/// The tag, the call and, of a request, the kind.
struct Head {
    bytes: [u8; 10],
    len: usize,
}

impl Head {
    fn new(tag: u8, call: u64, kind: Option<u8>) -> Head {
        let mut bytes = [0; 10];
        bytes[0] = tag;
        bytes[1..9].copy_from_slice(&call.to_be_bytes());
        bytes[9] = kind.unwrap_or(0);
        let len = 9 + usize::from(kind.is_some());
        Head { bytes, len }
    }
}

impl std::ops::Deref for Head {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// A chunk of a stream, or the answer to one, with its checksum before it.
pub fn seal(body: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(CHECKSUM_BYTES + body.len());
    out.put_u32(crc32c::crc32c(body));
    out.put_slice(body);
    out.freeze()
}

/// What was sealed. `Err` says what is wrong with it.
pub fn open(mut sealed: Bytes) -> Result<Bytes, String> {
    check(&mut sealed)?;
    Ok(sealed)
}

/// Takes the checksum off the front.
fn check(bytes: &mut Bytes) -> Result<(), String> {
    if bytes.len() < CHECKSUM_BYTES {
        return Err(format!("{} bytes, and no checksum", bytes.len()));
    }
    let told = bytes.get_u32();
    let found = crc32c::crc32c(bytes);
    if told != found {
        let len = bytes.len();
        return Err(format!(
            "{len} bytes were damaged on the way: their checksum is {found:08x}, not {told:08x}"
        ));
    }
    Ok(())
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
        let golden = |frame: &Frame, crc: u32, rest: &[u8]| {
            let expected = [&crc.to_be_bytes()[..], rest].concat();
            assert_eq!(encoded(frame), expected);
        };
        golden(&request, 0xf96f_e7b3, b"\x01\0\0\0\0\0\0\x01\x02\x02xy");
        let answer = Frame::Answer { call: 3, body };
        golden(&answer, 0x4097_7706, b"\x02\0\0\0\0\0\0\0\x03xy");
        let refusal = Frame::Refusal {
            call: 4,
            reason: "no".to_owned(),
        };
        golden(&refusal, 0xc3e3_649a, b"\x03\0\0\0\0\0\0\0\x04no");
        assert_eq!(&seal(b"123456789")[..], b"\xe3\x06\x92\x83123456789");
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
        fn garbage_is_refused(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            // One in four billion would pass; the generator does not find it.
            prop_assert!(Frame::decode(bytes.clone().into()).is_err());
            prop_assert!(open(bytes.into()).is_err());
        }

        #[test]
        fn what_has_a_right_checksum_is_a_frame_or_refused(
            bytes in proptest::collection::vec(any::<u8>(), 0..64),
            tag in 0_u8..5,
        ) {
            for bytes in [bytes.clone(), [&[tag][..], &bytes].concat()] {
                if let Ok(frame) = Frame::decode(seal(&bytes))
                    && !matches!(frame, Frame::Refusal { .. })
                {
                    prop_assert_eq!(&encoded(&frame)[4..], &bytes[..]);
                }
            }
        }

        #[test]
        fn any_flipped_bit_is_found(
            body in proptest::collection::vec(any::<u8>(), 0..64),
            place in any::<proptest::sample::Index>(),
        ) {
            let flip = |mut bytes: Vec<u8>| {
                let bit = place.index(bytes.len() * 8);
                bytes[bit / 8] ^= 1 << (bit % 8);
                Bytes::from(bytes)
            };
            let sealed = seal(&body);
            prop_assert_eq!(open(sealed.clone()).unwrap(), body.clone());
            prop_assert!(open(flip(sealed.to_vec())).is_err());
            let request = Frame::Request { call: 7, kind: Kind::AppendEntries, body: body.into() };
            prop_assert!(Frame::decode(flip(encoded(&request))).is_err());
        }
    }
}
