//! The bytes of the log's files, all little-endian. A change of meaning needs a new [`VERSION`];
//! the tests below pin every byte.
//!
//! ```text
//! segment   header, zeros to a page, then frames
//! header    magic 8 | version 4 | crc 4 | segment 8 | salt 8
//! frame     magic 4 | crc 4 | sequence 8 | body length 4 | records 4 | body crc 4 | flags 4
//!           | committed term 8, index 8 | purged term 8, index 8 | records, zeros to 8 bytes
//! record    crc 4 | payload length 4 | kind 4 | term 8 | index 8 | payload
//! ```
//! The checksums of frames and records are seeded with the log's salt and the segment's number,
//! see [`Seal`]. The body crc covers the checksums of the records, so that a frame never takes in
//! records of another one.

use super::Position;
use bytes::{BufMut, Bytes, BytesMut};
use detcd_core::encoding::{u32_le_at, u64_le_at};
use std::fmt;

pub(super) const VERSION: u32 = 1;
/// What is written at once, and the unit in which the end of the log is rewritten: a write that
/// covers whole pages never makes the kernel read one first.
pub(super) const PAGE: u64 = 4096;
pub(super) const SEGMENT_MAGIC: [u8; 8] = *b"detcdlog";
pub(super) const SEGMENT_HEADER_BYTES: usize = 32;
const FRAME_MAGIC: u32 = u32::from_le_bytes(*b"dfrm");
pub(super) const FRAME_HEADER_BYTES: usize = 64;
pub(super) const RECORD_HEADER_BYTES: usize = 28;
/// Frames begin at multiples of this.
pub(super) const FRAME_ALIGN: u64 = 8;
const KIND_ENTRY: u32 = 1;
const KIND_TRUNCATE: u32 = 2;
const FLAG_COMMITTED: u32 = 1;
const FLAG_PURGED: u32 = 2;

const _: () = assert!(PAGE.is_multiple_of(FRAME_ALIGN) && FRAME_HEADER_BYTES < PAGE as usize);

/// Binds checksums to one life of one segment of one log. For a given salt, different segments
/// have different seeds (a CRC tells apart any two inputs that differ within 32 bits).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seal(u32);

impl Seal {
    pub(super) fn new(salt: u64, segment: u64) -> Seal {
        Seal(crc32c::crc32c_append(
            crc32c::crc32c(&salt.to_le_bytes()),
            &segment.to_le_bytes(),
        ))
    }

    fn crc(self, bytes: &[u8]) -> u32 {
        crc32c::crc32c_append(self.0, bytes)
    }
}

/// The head of a segment file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) segment: u64,
    pub(super) salt: u64,
}

/// Why bytes are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bad {
    /// All zeros: nothing was written here.
    Blank,
    Version(u32),
    Broken(&'static str),
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bad::Blank => f.write_str("nothing was written here"),
            Bad::Version(version) => write!(f, "format version {version} is not known"),
            Bad::Broken(what) => f.write_str(what),
        }
    }
}

impl SegmentHeader {
    pub(super) fn encode(self) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        bytes[0..8].copy_from_slice(&SEGMENT_MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.segment.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.salt.to_le_bytes());
        let crc = SegmentHeader::crc(&bytes);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<SegmentHeader, Bad> {
        if bytes.len() < SEGMENT_HEADER_BYTES {
            return Err(Bad::Broken("the segment header is cut short"));
        }
        if bytes[0..8] != SEGMENT_MAGIC {
            return Err(Bad::Broken("the segment header's magic is wrong"));
        }
        if SegmentHeader::crc(bytes) != u32_le_at(bytes, 12) {
            return Err(Bad::Broken("the segment header's checksum is wrong"));
        }
        match u32_le_at(bytes, 8) {
            VERSION => Ok(SegmentHeader {
                segment: u64_le_at(bytes, 16),
                salt: u64_le_at(bytes, 24),
            }),
            version => Err(Bad::Version(version)),
        }
    }

    fn crc(bytes: &[u8]) -> u32 {
        crc32c::crc32c_append(
            crc32c::crc32c(&bytes[0..12]),
            &bytes[16..SEGMENT_HEADER_BYTES],
        )
    }
}

/// The head of a frame: which group commit this is, and where the log stood after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameHeader {
    pub(super) sequence: u64,
    pub(super) body_bytes: u32,
    pub(super) records: u32,
    pub(super) body_crc: u32,
    pub(super) committed: Option<Position>,
    pub(super) purged: Option<Position>,
}

impl FrameHeader {
    pub(super) fn encode(&self, seal: Seal) -> [u8; FRAME_HEADER_BYTES] {
        let mut bytes = [0; FRAME_HEADER_BYTES];
        let mut flags = 0;
        let mut positions = [Position { term: 0, index: 0 }; 2];
        let both = [(self.committed, FLAG_COMMITTED), (self.purged, FLAG_PURGED)];
        for (slot, (position, flag)) in positions.iter_mut().zip(both) {
            if let Some(position) = position {
                *slot = position;
                flags |= flag;
            }
        }
        let mut rest = &mut bytes[8..];
        rest.put_u64_le(self.sequence);
        rest.put_u32_le(self.body_bytes);
        rest.put_u32_le(self.records);
        rest.put_u32_le(self.body_crc);
        rest.put_u32_le(flags);
        for position in positions {
            rest.put_u64_le(position.term);
            rest.put_u64_le(position.index);
        }
        let crc = seal.crc(&bytes[8..]);
        bytes[0..4].copy_from_slice(&FRAME_MAGIC.to_le_bytes());
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8], seal: Seal) -> Result<FrameHeader, Bad> {
        if bytes.iter().all(|byte| *byte == 0) {
            return Err(Bad::Blank); // also when the file ends here
        }
        if bytes.len() < FRAME_HEADER_BYTES {
            return Err(Bad::Broken("a frame header is cut short"));
        }
        if u32_le_at(bytes, 0) != FRAME_MAGIC {
            return Err(Bad::Broken("a frame header's magic is wrong"));
        }
        if u32_le_at(bytes, 4) != seal.crc(&bytes[8..FRAME_HEADER_BYTES]) {
            return Err(Bad::Broken("a frame header's checksum is wrong"));
        }
        let flags = u32_le_at(bytes, 28);
        let position = |at, flag| {
            let position = Position {
                term: u64_le_at(bytes, at),
                index: u64_le_at(bytes, at + 8),
            };
            (flags & flag != 0).then_some(position)
        };
        Ok(FrameHeader {
            sequence: u64_le_at(bytes, 8),
            body_bytes: u32_le_at(bytes, 16),
            records: u32_le_at(bytes, 20),
            body_crc: u32_le_at(bytes, 24),
            committed: position(32, FLAG_COMMITTED),
            purged: position(48, FLAG_PURGED),
        })
    }

    /// The length of the frame with its padding.
    pub(super) fn frame_bytes(&self) -> u64 {
        frame_bytes(self.body_bytes as usize)
    }
}

/// The length of a frame whose records take `body` bytes.
pub(super) fn frame_bytes(body: usize) -> u64 {
    ((FRAME_HEADER_BYTES + body) as u64).next_multiple_of(FRAME_ALIGN)
}

/// Offsets in `bytes` at which a frame header may begin, judged by its magic alone.
pub(super) fn frame_candidates(bytes: &[u8]) -> impl Iterator<Item = usize> + '_ {
    let step = FRAME_ALIGN as usize;
    let magic = FRAME_MAGIC.to_le_bytes();
    bytes
        .chunks_exact(step)
        .enumerate()
        .filter(move |(_, chunk)| chunk[..4] == magic)
        .map(move |(at, _)| at * step)
}

/// A record as it stands in a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Record {
    Entry {
        position: Position,
        payload: Bytes,
    },
    /// Entries from this index on are gone.
    Truncate {
        from: u64,
    },
}

/// Collects the records of one frame behind the place of its header.
pub(super) struct FrameBuilder<'a> {
    buffer: &'a mut BytesMut,
    seal: Seal,
    start: usize,
    records: u32,
    body_crc: u32,
}

impl<'a> FrameBuilder<'a> {
    /// Begins a frame at the end of `buffer`.
    pub(super) fn new(buffer: &'a mut BytesMut, seal: Seal) -> FrameBuilder<'a> {
        let start = buffer.len();
        buffer.put_bytes(0, FRAME_HEADER_BYTES);
        FrameBuilder {
            buffer,
            seal,
            start,
            records: 0,
            body_crc: 0,
        }
    }

    /// Adds an entry and returns where in the frame its record begins.
    pub(super) fn entry(&mut self, position: Position, payload: &[u8]) -> u64 {
        self.record(KIND_ENTRY, position, payload)
    }

    pub(super) fn truncate(&mut self, from: u64) {
        self.record(
            KIND_TRUNCATE,
            Position {
                term: 0,
                index: from,
            },
            &[],
        );
    }

    fn record(&mut self, kind: u32, position: Position, payload: &[u8]) -> u64 {
        let at = self.buffer.len();
        let length = u32::try_from(payload.len()).expect("a payload below 4 GiB");
        self.buffer.put_u32_le(0);
        self.buffer.put_u32_le(length);
        self.buffer.put_u32_le(kind);
        self.buffer.put_u64_le(position.term);
        self.buffer.put_u64_le(position.index);
        self.buffer.put_slice(payload);
        let crc = self.seal.crc(&self.buffer[at + 4..]).to_le_bytes();
        self.buffer[at..at + 4].copy_from_slice(&crc);
        self.body_crc = crc32c::crc32c_append(self.body_crc, &crc);
        self.records += 1;
        (at - self.start) as u64
    }

    /// Writes the header and pads the frame; returns its length.
    pub(super) fn finish(
        self,
        sequence: u64,
        committed: Option<Position>,
        purged: Option<Position>,
    ) -> u64 {
        let body = self.buffer.len() - self.start - FRAME_HEADER_BYTES;
        let header = FrameHeader {
            sequence,
            body_bytes: u32::try_from(body).expect("a frame below 4 GiB"),
            records: self.records,
            body_crc: self.body_crc,
            committed,
            purged,
        };
        let start = self.start;
        self.buffer[start..start + FRAME_HEADER_BYTES].copy_from_slice(&header.encode(self.seal));
        let padding = header.frame_bytes() as usize - (self.buffer.len() - start);
        self.buffer.put_bytes(0, padding);
        header.frame_bytes()
    }
}

/// Takes the records of a frame's body apart; each comes with its offset in the frame.
pub(super) fn decode_body(
    header: &FrameHeader,
    body: &Bytes,
    seal: Seal,
) -> Result<Vec<(u64, Record)>, Bad> {
    let mut records = Vec::with_capacity(header.records.min(1 << 16) as usize);
    let mut at = 0;
    let mut body_crc = 0;
    while at < body.len() {
        let (record, length) = decode_record(body.slice(at..), seal)?;
        body_crc = crc32c::crc32c_append(body_crc, &body[at..at + 4]);
        records.push(((FRAME_HEADER_BYTES + at) as u64, record));
        at += length;
    }
    if records.len() != header.records as usize || body_crc != header.body_crc {
        return Err(Bad::Broken("a frame holds records that are not its own"));
    }
    Ok(records)
}

/// Decodes the record at the start of `bytes`; also returns its length.
pub(super) fn decode_record(bytes: Bytes, seal: Seal) -> Result<(Record, usize), Bad> {
    if bytes.len() < RECORD_HEADER_BYTES {
        return Err(Bad::Broken("a record is cut short"));
    }
    let payload_bytes = u32_le_at(&bytes, 4) as usize;
    let length = RECORD_HEADER_BYTES + payload_bytes;
    if bytes.len() < length {
        return Err(Bad::Broken("a record is cut short"));
    }
    if u32_le_at(&bytes, 0) != seal.crc(&bytes[4..length]) {
        return Err(Bad::Broken("a record's checksum is wrong"));
    }
    let position = Position {
        term: u64_le_at(&bytes, 12),
        index: u64_le_at(&bytes, 20),
    };
    let record = match u32_le_at(&bytes, 8) {
        KIND_ENTRY => Record::Entry {
            position,
            payload: bytes.slice(RECORD_HEADER_BYTES..length),
        },
        KIND_TRUNCATE => Record::Truncate {
            from: position.index,
        },
        _ => return Err(Bad::Broken("a record is of no known kind")),
    };
    Ok((record, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    const SALT: u64 = 0x0807_0605_0403_0201;

    #[test]
    fn segment_header_bytes() {
        let header = SegmentHeader {
            segment: 0x1112,
            salt: SALT,
        };
        let bytes = header.encode();
        assert_eq!(hex(&bytes), GOLDEN_SEGMENT);
        assert_eq!(SegmentHeader::decode(&bytes), Ok(header));
        for at in 0..bytes.len() {
            let mut bad = bytes;
            bad[at] ^= 1;
            assert!(
                matches!(SegmentHeader::decode(&bad), Err(Bad::Broken(_))),
                "byte {at}"
            );
            assert!(SegmentHeader::decode(&bytes[..at]).is_err());
        }
    }

    fn frame() -> (BytesMut, Seal) {
        let seal = Seal::new(SALT, 0x1112);
        let mut buffer = BytesMut::from(&b"tail"[..]);
        let mut builder = FrameBuilder::new(&mut buffer, seal);
        builder.truncate(0x31);
        let at = builder.entry(
            Position {
                term: 0x21,
                index: 0x31,
            },
            b"payload",
        );
        assert_eq!(at as usize, FRAME_HEADER_BYTES + RECORD_HEADER_BYTES);
        let committed = Some(Position {
            term: 0x20,
            index: 0x30,
        });
        let purged = Some(Position {
            term: 0x1f,
            index: 0x2f,
        });
        let length = builder.finish(0x41, committed, purged);
        assert_eq!(length, 128);
        (buffer.split_off(4), seal)
    }

    #[test]
    fn frame_bytes_are_pinned() {
        let (bytes, seal) = frame();
        assert_eq!(hex(&bytes), GOLDEN_FRAME);
        let header = FrameHeader::decode(&bytes, seal).unwrap();
        assert_eq!(
            (header.sequence, header.records, header.frame_bytes()),
            (0x41, 2, 128)
        );
        assert_eq!(
            header.committed,
            Some(Position {
                term: 0x20,
                index: 0x30
            })
        );
        assert_eq!(
            header.purged,
            Some(Position {
                term: 0x1f,
                index: 0x2f
            })
        );
        let body = bytes.freeze().slice(FRAME_HEADER_BYTES..);
        let body = body.slice(..header.body_bytes as usize);
        let entry = Record::Entry {
            position: Position {
                term: 0x21,
                index: 0x31,
            },
            payload: Bytes::from_static(b"payload"),
        };
        let records = decode_body(&header, &body, seal).unwrap();
        assert_eq!(
            records,
            [(64, Record::Truncate { from: 0x31 }), (92, entry)]
        );
    }

    #[test]
    fn a_frame_of_another_segment_or_log_is_not_taken() {
        let (bytes, seal) = frame();
        for other in [Seal::new(SALT, 0x1113), Seal::new(SALT + 1, 0x1112)] {
            assert_ne!(other, seal);
            assert!(FrameHeader::decode(&bytes, other).is_err());
            assert!(decode_record(bytes.clone().freeze().slice(64..), other).is_err());
        }
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let (bytes, seal) = frame();
        let length = FRAME_HEADER_BYTES + 2 * RECORD_HEADER_BYTES + 7;
        for bit in 0..length * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let whole = FrameHeader::decode(&bad, seal).and_then(|header| {
                let end = FRAME_HEADER_BYTES + header.body_bytes as usize;
                decode_body(&header, &bad.freeze().slice(FRAME_HEADER_BYTES..end), seal)
            });
            assert!(whole.is_err(), "bit {bit}");
        }
    }

    const GOLDEN_SEGMENT: &str = "64657463646c6f6701000000a0a33fa112110000000000000102030405060708";
    const GOLDEN_FRAME: &str = "6466726dcde3988b41000000000000003f000000020000004e0c342903000000\
        200000000000000030000000000000001f000000000000002f00000000000000\
        e4ad8487000000000200000000000000000000003100000000000000854d85f2\
        0700000001000000210000000000000031000000000000007061796c6f616400";
}
