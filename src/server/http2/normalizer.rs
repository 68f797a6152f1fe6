//! The bytes of an HTTP/2 connection on their way to h2.
//!
//! As long as h2 takes a client's header blocks, every byte is handed on as it came. From the first
//! one on that it would not take and etcd does, all blocks of the connection are written anew,
//! without the dynamic table, as h2's has then another content than the client's. A client whose
//! calls are alike sends the same block again and again, which is compared and not decoded.

use super::head::{Head, Verdict, refused};
use super::hpack::{self, Decoder};
use super::repeated::RepeatedBlocks;
use std::io;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_HEAD_BYTES: usize = 9;
/// The longest payload of a frame, which is HTTP/2's default.
const PAYLOAD_BYTES_MAX: usize = 16 * 1024;
/// The longest header block. No list that is short enough needs more.
const BLOCK_BYTES_MAX: usize = hpack::LIST_SIZE_MAX;
/// The frames of a header block. h2 has the same limit.
const BLOCK_FRAMES_MAX: usize = BLOCK_BYTES_MAX / PAYLOAD_BYTES_MAX * 5 / 4;
/// Bytes that are made ready before the first of them are taken.
const READY_BYTES_MAX: usize = 64 * 1024;

const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

/// Takes in what arrives with [`take`](Normalizer::take), and hands on what is in `ready`. When
/// that is empty, [`go_on`](Normalizer::go_on) fills it from what was taken in and not looked at.
#[derive(Default)]
pub(super) struct Normalizer {
    phase: Phase,
    /// How much of the frame at hand is still to be handed on.
    rest: usize,
    /// What was taken in: a frame's head that is not whole, or a header block, and what came after.
    held: Vec<u8>,
    /// How far the header block at the beginning of `held` is known.
    scanned: Scanned,
    decoder: Decoder,
    repeated: RepeatedBlocks,
    /// Whether header blocks are written anew.
    rewrites: bool,
    /// The last stream that was opened.
    stream: u32,
    /// What is to be handed on before anything else.
    pub ready: Vec<u8>,
    /// The sizes of the header lists that went by, until somebody takes note of them.
    pub lists_size: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// So much of the preface has arrived.
    Preface(usize),
    Frames,
    /// It is not HTTP/2, or h2 will end the connection.
    Unseen,
}

impl Default for Phase {
    fn default() -> Phase {
        Phase::Preface(0)
    }
}

#[derive(Default)]
struct Scanned {
    bytes: usize,
    frames: usize,
}

/// What stands at the beginning of some bytes.
enum Step {
    /// So many bytes are handed on, not all of which need to be there.
    Pass(usize),
    /// A header block of so many bytes. What is to be handed on in its place is ready.
    Replaced(usize),
    /// More bytes are needed.
    Incomplete,
    /// h2 will end the connection.
    GiveUp,
}

struct FrameHead {
    length: usize,
    kind: u8,
    flags: u8,
    stream: u32,
}

impl FrameHead {
    fn read(bytes: &[u8]) -> Option<FrameHead> {
        let head: &[u8; FRAME_HEAD_BYTES] = bytes.first_chunk()?;
        let [a, b, c, kind, flags, stream @ ..] = *head;
        Some(FrameHead {
            length: u32::from_be_bytes([0, a, b, c]) as usize,
            kind,
            flags,
            stream: u32::from_be_bytes(stream) & (u32::MAX >> 1),
        })
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&(self.length as u32).to_be_bytes()[1..]);
        out.extend([self.kind, self.flags]);
        out.extend_from_slice(&self.stream.to_be_bytes());
    }
}

/// A header block: the flags and the stream of its first frame, and what its frames contain.
struct Block<'a> {
    flags: u8,
    stream: u32,
    fragments: std::borrow::Cow<'a, [u8]>,
    depends_on_itself: bool,
}

impl Normalizer {
    /// Takes in what has arrived. Of it, so many bytes from the beginning on are to be handed on as
    /// they are, and then what is ready.
    pub fn take(&mut self, arrived: &[u8]) -> io::Result<usize> {
        if !self.held.is_empty() {
            self.held.extend_from_slice(arrived);
            self.go_on()?;
            return Ok(0);
        }
        let mut done = self.preface(arrived);
        while done < arrived.len() {
            if self.phase == Phase::Unseen {
                return Ok(arrived.len());
            }
            done += self.skip(arrived.len() - done);
            if done == arrived.len() {
                break;
            }
            match self.step(&arrived[done..])? {
                Step::Pass(bytes) => self.rest = bytes,
                Step::GiveUp => self.phase = Phase::Unseen,
                Step::Incomplete => {
                    self.held.extend_from_slice(&arrived[done..]);
                    break;
                }
                Step::Replaced(bytes) => {
                    self.held.extend_from_slice(&arrived[done + bytes..]);
                    self.go_on()?;
                    break;
                }
            }
        }
        Ok(done)
    }

    /// Makes more ready of what was taken in.
    pub fn go_on(&mut self) -> io::Result<()> {
        let held = std::mem::take(&mut self.held);
        let mut done = 0;
        while done < held.len() && self.ready.len() < READY_BYTES_MAX {
            let rest = match self.phase {
                Phase::Unseen => held.len() - done,
                _ => self.skip(held.len() - done),
            };
            self.ready.extend_from_slice(&held[done..done + rest]);
            done += rest;
            if done == held.len() {
                break;
            }
            match self.step(&held[done..])? {
                Step::Pass(bytes) => self.rest = bytes,
                Step::GiveUp => self.phase = Phase::Unseen,
                Step::Incomplete => break,
                Step::Replaced(bytes) => done += bytes,
            }
        }
        self.held = match done {
            0 => held,
            _ => held[done..].to_vec(),
        };
        Ok(())
    }

    /// Whether a header block has begun that is not whole.
    pub fn waits(&self) -> bool {
        !self.held.is_empty()
    }

    /// How much of `arrived` belongs to the preface.
    fn preface(&mut self, arrived: &[u8]) -> usize {
        let Phase::Preface(seen) = self.phase else {
            return 0;
        };
        let missing = &PREFACE[seen..];
        let part = missing.len().min(arrived.len());
        self.phase = if arrived[..part] != missing[..part] {
            Phase::Unseen
        } else if part == missing.len() {
            Phase::Frames
        } else {
            Phase::Preface(seen + part)
        };
        part
    }

    /// How many of the next bytes belong to a frame that is handed on.
    fn skip(&mut self, bytes: usize) -> usize {
        let skipped = self.rest.min(bytes);
        self.rest -= skipped;
        skipped
    }

    /// Looks at the frame at the beginning of `bytes`.
    fn step(&mut self, bytes: &[u8]) -> io::Result<Step> {
        let Some(head) = FrameHead::read(bytes) else {
            return Ok(Step::Incomplete);
        };
        if head.kind != HEADERS {
            return Ok(Step::Pass(FRAME_HEAD_BYTES + head.length));
        }
        if let Some(length) = self.repeat(&head, bytes) {
            return Ok(Step::Pass(length));
        }
        let end = match self.scan(bytes) {
            Ok(Some(end)) => end,
            Ok(None) if self.scanned.bytes + FRAME_HEAD_BYTES > BLOCK_BYTES_MAX => {
                return Err(invalid("a header block is too long"));
            }
            Ok(None) => return Ok(Step::Incomplete),
            Err(hpack::Malformed) => return Ok(Step::GiveUp),
        };
        self.scanned = Scanned::default();
        let Some(block) = Block::read(&bytes[..end]) else {
            return Ok(Step::GiveUp);
        };
        self.block(&block).map(|replaced| match replaced {
            true => Step::Replaced(end),
            false => Step::Pass(end),
        })
    }

    /// The length of the frame at the beginning of `bytes` if it is a whole block that was handed on
    /// before and means the same again.
    fn repeat(&mut self, head: &FrameHead, bytes: &[u8]) -> Option<usize> {
        let is_plain = head.flags & (END_HEADERS | PADDED | PRIORITY) == END_HEADERS;
        if self.rewrites || !is_plain || head.stream <= self.stream {
            return None;
        }
        let end = FRAME_HEAD_BYTES + head.length;
        let block = bytes.get(FRAME_HEAD_BYTES..end)?;
        self.lists_size += self.repeated.find(block)?;
        self.stream = head.stream;
        Some(end)
    }

    /// Where the header block at the beginning of `bytes` ends. It fails if h2 will.
    fn scan(&mut self, bytes: &[u8]) -> Result<Option<usize>, hpack::Malformed> {
        let first = FrameHead::read(bytes).ok_or(hpack::Malformed)?;
        loop {
            let begin = self.scanned.bytes;
            let Some(head) = FrameHead::read(&bytes[begin..]) else {
                return Ok(None);
            };
            let follows = head.kind == CONTINUATION && head.stream == first.stream;
            let is_wrong = (begin > 0 && !follows)
                || head.stream == 0
                || head.length > PAYLOAD_BYTES_MAX
                || self.scanned.frames > BLOCK_FRAMES_MAX;
            if is_wrong {
                return Err(hpack::Malformed);
            }
            let end = begin + FRAME_HEAD_BYTES + head.length;
            if bytes.len() < end {
                return Ok(None);
            }
            self.scanned.bytes = end;
            self.scanned.frames += 1;
            if head.flags & END_HEADERS != 0 {
                return Ok(Some(end));
            }
        }
    }

    /// Decides what becomes of a header block. Whether something else is handed on in its place.
    fn block(&mut self, block: &Block<'_>) -> io::Result<bool> {
        let mut head = Head::default();
        let before = self.decoder.table_version();
        if self
            .decoder
            .decode(&block.fragments, |role| head.add(role))
            .is_err()
        {
            return Err(invalid("a header block cannot be decoded"));
        }
        let list_size = self.decoder.list_size();
        self.lists_size += list_size;
        let opens = block.stream > self.stream;
        let verdict = match opens {
            true => head.verdict(list_size),
            // gRPC's requests have no trailers: etcd resets the stream.
            false => Verdict::Refuse,
        };
        self.stream = self.stream.max(block.stream);
        self.rewrites |= verdict != Verdict::Pass || block.depends_on_itself;
        if !self.rewrites {
            match self.decoder.table_version() == before {
                true => self.repeated.add(&block.fragments, list_size),
                false => self.repeated.clear(),
            }
            return Ok(false);
        }
        let mut fields = Vec::new();
        match verdict {
            Verdict::Refuse => refused(&mut fields),
            Verdict::Pass | Verdict::Rewrite => head.rewrite(&self.decoder, &mut fields),
        }
        frames(&fields, block, &mut self.ready);
        Ok(true)
    }
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

impl<'a> Block<'a> {
    /// The block whose frames `bytes` are. There is none if h2 will end the connection.
    fn read(bytes: &'a [u8]) -> Option<Block<'a>> {
        let head = FrameHead::read(bytes)?;
        let (mut first, mut rest) = bytes[FRAME_HEAD_BYTES..].split_at(head.length);
        let mut padding = 0;
        if head.flags & PADDED != 0 {
            let (length, others) = first.split_first()?;
            (padding, first) = (usize::from(*length), others);
        }
        let mut depends_on_itself = false;
        if head.flags & PRIORITY != 0 {
            let (dependency, others) = first.split_first_chunk::<5>()?;
            let [stream @ .., _] = *dependency;
            depends_on_itself = u32::from_be_bytes(stream) & (u32::MAX >> 1) == head.stream;
            first = others;
        }
        first = &first[..first.len().checked_sub(padding)?];
        let mut fragments = std::borrow::Cow::Borrowed(first);
        while let Some(next) = FrameHead::read(rest) {
            let (fragment, others) = rest[FRAME_HEAD_BYTES..].split_at(next.length);
            fragments.to_mut().extend_from_slice(fragment);
            rest = others;
        }
        Some(Block {
            flags: head.flags,
            stream: head.stream,
            fragments,
            depends_on_itself,
        })
    }
}

/// The frames of a header block in the place of `block`.
fn frames(fields: &[u8], block: &Block<'_>, out: &mut Vec<u8>) {
    let mut pieces = fields.chunks(PAYLOAD_BYTES_MAX).peekable();
    let mut kind = HEADERS;
    let mut flags = block.flags & END_STREAM;
    loop {
        let piece = pieces.next().unwrap_or_default();
        let is_last = pieces.peek().is_none();
        if is_last {
            flags |= END_HEADERS;
        }
        let head = FrameHead {
            length: piece.len(),
            kind,
            flags,
            stream: block.stream,
        };
        head.write(out);
        out.extend_from_slice(piece);
        if is_last {
            return;
        }
        (kind, flags) = (CONTINUATION, 0);
    }
}
