//! The bytes of what members ask of each other besides raft itself. All numbers are little-endian,
//! and a version byte leads each body.

use bytes::Bytes;
use detcd_core::api::{LeaseId, LeaseInfo, MemberId};
use detcd_core::command::Proposal;
use detcd_core::encoding::{DecodeError, Reader, Writer};
use detcd_core::error::Error;
use detcd_core::event::Seq;

const VERSION: u8 = 1;

/// Bytes of a proposal beside its command.
const PROPOSAL_OVERHEAD: usize = 8 + 8 + 4;

/// The errors of a lease's holder that travel. Any other becomes an unknown outcome.
const LEASE_ERRORS: [(u8, Error); 5] = [
    (1, Error::LeaseNotFound),
    (2, Error::NotLeader),
    (3, Error::NoLeader),
    (4, Error::LeaderChanged),
    (5, Error::Timeout),
];
const LEASE_FOUND: u8 = 0;

/// A body that says its version first, of the given capacity.
fn body(bytes: usize) -> Writer {
    let mut out = Writer::with_capacity(1 + bytes);
    out.u8(VERSION);
    out
}

/// Reads a whole body behind its version.
fn read<T>(
    what: &'static str,
    body: &Bytes,
    fields: impl FnOnce(&mut Reader<'_>) -> Result<T, DecodeError>,
) -> Result<T, DecodeError> {
    let mut reader = Reader::new(what, body);
    reader.version(VERSION)?;
    let read = fields(&mut reader)?;
    reader.end()?;
    Ok(read)
}

pub(crate) fn encode_proposals(proposals: &[Proposal]) -> Bytes {
    let size: usize = proposals
        .iter()
        .map(|proposal| PROPOSAL_OVERHEAD + proposal.command.len())
        .sum();
    let mut out = body(4 + size);
    out.count_le(proposals.len());
    for proposal in proposals {
        out.u64_le(proposal.origin.0);
        out.u64_le(proposal.seq);
        out.bytes_le(&proposal.command);
    }
    out.finish()
}

/// Each command is a slice of the body.
pub(crate) fn decode_proposals(body: &Bytes) -> Result<Vec<Proposal>, DecodeError> {
    read("batch of proposals", body, |reader| {
        let proposals = (0..reader.count_le(PROPOSAL_OVERHEAD)?).map(|_| {
            Ok(Proposal {
                origin: MemberId(reader.u64_le()?),
                seq: reader.u64_le()?,
                command: reader.bytes_le()?,
            })
        });
        proposals.collect()
    })
}

pub(crate) fn encode_refused(refused: &[Seq]) -> Bytes {
    let mut out = body(4 + 8 * refused.len());
    out.count_le(refused.len());
    for seq in refused {
        out.u64_le(seq.0);
    }
    out.finish()
}

pub(crate) fn decode_refused(body: &Bytes) -> Result<Vec<Seq>, DecodeError> {
    read("list of refused proposals", body, |reader| {
        (0..reader.count_le(8)?)
            .map(|_| Ok(Seq(reader.u64_le()?)))
            .collect()
    })
}

pub(crate) fn encode_index(index: u64) -> Bytes {
    let mut out = body(8);
    out.u64_le(index);
    out.finish()
}

pub(crate) fn decode_index(body: &Bytes) -> Result<u64, DecodeError> {
    read("read index", body, |reader| reader.u64_le())
}

/// A keepalive or a time-to-live, asked of the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LeaseQuestion {
    pub lease: LeaseId,
    pub keep_alive: bool,
}

impl LeaseQuestion {
    pub fn encode(self) -> Bytes {
        let mut out = body(9);
        out.i64_le(self.lease.0);
        out.flag(self.keep_alive);
        out.finish()
    }

    pub fn decode(body: &Bytes) -> Result<LeaseQuestion, DecodeError> {
        read("lease question", body, |reader| {
            Ok(LeaseQuestion {
                lease: LeaseId(reader.i64_le()?),
                keep_alive: reader.flag()?,
            })
        })
    }
}

pub(crate) fn encode_lease_answer(answer: &Result<LeaseInfo, Error>) -> Bytes {
    let mut out = body(25);
    match answer {
        Ok(info) => {
            out.u8(LEASE_FOUND);
            out.i64_le(info.id.0);
            out.i64_le(info.ttl);
            out.i64_le(info.granted_ttl);
        }
        Err(error) => {
            let known = LEASE_ERRORS.iter().find(|(_, known)| known == error);
            let (unknown, _) = LEASE_ERRORS[LEASE_ERRORS.len() - 1];
            out.u8(known.map_or(unknown, |(tag, _)| *tag));
        }
    }
    out.finish()
}

/// What cannot be read leaves the outcome unknown.
pub(crate) fn decode_lease_answer(body: &Bytes) -> Result<LeaseInfo, Error> {
    let answer = read("lease answer", body, |reader| match reader.u8()? {
        LEASE_FOUND => Ok(Ok(LeaseInfo {
            id: LeaseId(reader.i64_le()?),
            ttl: reader.i64_le()?,
            granted_ttl: reader.i64_le()?,
            keys: Vec::new(),
        })),
        tag => match LEASE_ERRORS.iter().find(|(known, _)| *known == tag) {
            Some((_, error)) => Ok(Err(error.clone())),
            None => Err(reader.error("an unknown error")),
        },
    });
    answer.unwrap_or(Err(Error::Timeout))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn proposal(seq: u64, command: &'static [u8]) -> Proposal {
        Proposal {
            origin: MemberId(7),
            seq,
            command: Bytes::from_static(command),
        }
    }

    #[test]
    fn proposals_round_trip_and_every_cut_is_refused() {
        let proposals = vec![
            proposal(1, b"one"),
            proposal(u64::MAX, b""),
            proposal(3, b"three"),
        ];
        let bytes = encode_proposals(&proposals);
        assert_eq!(decode_proposals(&bytes), Ok(proposals));
        for len in 0..bytes.len() {
            assert!(
                decode_proposals(&bytes.slice(..len)).is_err(),
                "cut at {len}"
            );
        }
    }

    #[test]
    fn lease_answers_round_trip() {
        let info = LeaseInfo {
            id: LeaseId(-5),
            ttl: 3,
            granted_ttl: 60,
            keys: Vec::new(),
        };
        let known = [
            Error::LeaseNotFound,
            Error::NotLeader,
            Error::NoLeader,
            Error::LeaderChanged,
        ];
        assert_eq!(
            decode_lease_answer(&encode_lease_answer(&Ok(info.clone()))),
            Ok(info)
        );
        for error in known {
            let bytes = encode_lease_answer(&Err(error.clone()));
            assert_eq!(decode_lease_answer(&bytes), Err(error));
        }
        let other = encode_lease_answer(&Err(Error::Stopped));
        assert_eq!(decode_lease_answer(&other), Err(Error::Timeout));
    }

    #[test]
    fn refusals_indexes_and_questions_round_trip() {
        let refused = vec![Seq(4), Seq(9)];
        assert_eq!(decode_refused(&encode_refused(&refused)), Ok(refused));
        assert_eq!(decode_index(&encode_index(77)), Ok(77));
        let question = LeaseQuestion {
            lease: LeaseId(8),
            keep_alive: true,
        };
        assert_eq!(LeaseQuestion::decode(&question.encode()), Ok(question));
        assert!(LeaseQuestion::decode(&Bytes::from_static(b"\x01garbage")).is_err());
    }
}
