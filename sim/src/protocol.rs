//! How simulated clients and members talk: etcd's messages, encoded, each with a method's number,
//! and answers that begin with a status. The stand-in for gRPC's framing, and for nothing else.

use bytes::{Buf, BufMut, Bytes, BytesMut};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Method {
    Range = 1,
    Put = 2,
    DeleteRange = 3,
    Txn = 4,
    Compact = 5,
    LeaseGrant = 6,
    LeaseRevoke = 7,
    LeaseKeepAlive = 8,
    LeaseTimeToLive = 9,
    HashKv = 10,
    Status = 11,
    MemberList = 12,
    /// A stream.
    Watch = 13,
    MemberAdd = 14,
    MemberRemove = 15,
    MemberUpdate = 16,
    MemberPromote = 17,
    MoveLeader = 18,
    Alarm = 19,
}

impl Method {
    const ALL: [Method; 19] = [
        Method::Range,
        Method::Put,
        Method::DeleteRange,
        Method::Txn,
        Method::Compact,
        Method::LeaseGrant,
        Method::LeaseRevoke,
        Method::LeaseKeepAlive,
        Method::LeaseTimeToLive,
        Method::HashKv,
        Method::Status,
        Method::MemberList,
        Method::Watch,
        Method::MemberAdd,
        Method::MemberRemove,
        Method::MemberUpdate,
        Method::MemberPromote,
        Method::MoveLeader,
        Method::Alarm,
    ];

    pub fn from_number(number: u8) -> Option<Method> {
        Method::ALL
            .into_iter()
            .find(|method| *method as u8 == number)
    }
}

/// An error as it travels: a gRPC code and a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub code: u32,
    pub text: String,
}

/// An answer's bytes: the code (0 is good), then the message or the error's text.
pub fn encode(answer: Result<Bytes, Failure>) -> Bytes {
    let (code, body) = match answer {
        Ok(body) => (0, body),
        Err(failure) => {
            assert!(failure.code != 0, "code 0 is no failure");
            (failure.code, Bytes::from(failure.text))
        }
    };
    let mut bytes = BytesMut::with_capacity(4 + body.len());
    bytes.put_u32_le(code);
    bytes.extend_from_slice(&body);
    bytes.freeze()
}

pub fn decode(mut bytes: Bytes) -> Result<Bytes, Failure> {
    assert!(bytes.len() >= 4, "an answer has a status");
    match bytes.get_u32_le() {
        0 => Ok(bytes),
        code => Err(Failure {
            code,
            text: String::from_utf8_lossy(&bytes).into_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_and_methods_come_back_as_they_were() {
        let answers = [
            Ok(Bytes::from_static(b"body")),
            Err(Failure {
                code: 14,
                text: "gone".to_owned(),
            }),
        ];
        for answer in answers {
            assert_eq!(decode(encode(answer.clone())), answer);
        }
        for method in Method::ALL {
            assert_eq!(Method::from_number(method as u8), Some(method));
        }
        assert_eq!(Method::from_number(0), None);
    }
}
