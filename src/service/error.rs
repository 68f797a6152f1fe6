//! Why a call fails, and how clients of every protocol are told.

use crate::method::Method;
use detcd_core::error::Error;
use detcd_wire::status::{Code, status};
use std::borrow::Cow;

/// Why a call or a stream has no further reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallError {
    /// What etcd answers.
    Request(Error),
    /// What etcd answers to calls of locks and elections.
    Concurrency(ConcurrencyError),
    /// The client's bytes are no message of the method, and why.
    Malformed(String),
    /// etcd has the method, this version of detcd does not.
    Unsupported(&'static Method),
    /// The transport could not read the client's stream to its end: what it says is what the client
    /// is told.
    Transport(Failure),
}

/// Why a call of a lock or an election fails. etcd serves them by its own client, on whose way every
/// error keeps its text and loses its code (3.5.1, asked).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConcurrencyError {
    Request(Error),
    /// A watch of the service was refused, with this text.
    Refused(String),
    SessionExpired,
    NotLeader,
    NoLeader,
    MissingLeader,
    ObserveClosed,
}

impl ConcurrencyError {
    fn text(&self) -> Cow<'static, str> {
        match self {
            ConcurrencyError::Request(error) => status(error).1.into(),
            ConcurrencyError::Refused(text) => text.clone().into(),
            ConcurrencyError::SessionExpired => "mutex: session is expired".into(),
            ConcurrencyError::NotLeader => "election: not leader".into(),
            ConcurrencyError::NoLeader => "election: no leader".into(),
            ConcurrencyError::MissingLeader => "\"leader\" field must be provided".into(),
            ConcurrencyError::ObserveClosed => "election: observe closed early".into(),
        }
    }
}

/// An error as a client is told it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// gRPC's code, which the other protocols translate.
    pub code: i32,
    pub text: Cow<'static, str>,
}

impl CallError {
    /// Whether a write that failed so may still take effect at any later time.
    pub(crate) fn leaves_outcome_unknown(&self) -> bool {
        match self {
            CallError::Request(error)
            | CallError::Concurrency(ConcurrencyError::Request(error)) => {
                error.leaves_outcome_unknown()
            }
            _ => false,
        }
    }

    pub fn failure(&self) -> Failure {
        let (code, text) = match self {
            CallError::Request(error) => {
                let (code, text) = status(error);
                (code, text.into())
            }
            CallError::Concurrency(error) => (Code::Unknown, error.text()),
            CallError::Malformed(why) => {
                (Code::Internal, format!("malformed message: {why}").into())
            }
            CallError::Unsupported(method) => {
                let name = method.name;
                let text = format!("etcdserver: {name} is not supported by this version of detcd");
                (Code::Unimplemented, text.into())
            }
            CallError::Transport(failure) => return failure.clone(),
        };
        Failure {
            code: code as i32,
            text,
        }
    }
}

impl From<Error> for CallError {
    fn from(error: Error) -> CallError {
        CallError::Request(error)
    }
}

impl From<Error> for ConcurrencyError {
    fn from(error: Error) -> ConcurrencyError {
        ConcurrencyError::Request(error)
    }
}

impl From<CallError> for ConcurrencyError {
    fn from(error: CallError) -> ConcurrencyError {
        match error {
            CallError::Request(error) => ConcurrencyError::Request(error),
            CallError::Concurrency(error) => error,
            other => ConcurrencyError::Refused(other.failure().text.into_owned()),
        }
    }
}

impl From<ConcurrencyError> for CallError {
    fn from(error: ConcurrencyError) -> CallError {
        CallError::Concurrency(error)
    }
}

impl From<prost::DecodeError> for CallError {
    fn from(error: prost::DecodeError) -> CallError {
        let text = error.to_string();
        let (_, why) = text.split_once(": ").unwrap_or(("", &text));
        CallError::Malformed(without_path(why))
    }
}

/// What is wrong with a message; of the fields around it, which repeat where messages lie in one
/// another, only the outermost.
fn without_path(why: &str) -> String {
    let (Some((field, _)), Some((path, problem))) = (why.split_once(": "), why.rsplit_once(": "))
    else {
        return why.to_owned();
    };
    match (problem, path == field) {
        ("recursion limit reached", _) => {
            format!("{field}: messages lie too deep in one another: nest fewer transactions")
        }
        (_, true) => why.to_owned(),
        (_, false) => format!("{field}: {problem}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_nested_fields_the_outermost_is_named() {
        assert_eq!(without_path("no field"), "no field");
        assert_eq!(without_path("Put.key: too short"), "Put.key: too short");
        assert_eq!(
            without_path("Txn.success: Op.put: Put.key: too short"),
            "Txn.success: too short"
        );
        assert_eq!(
            without_path("Txn.success: Op.txn: recursion limit reached"),
            "Txn.success: messages lie too deep in one another: nest fewer transactions"
        );
    }
}
