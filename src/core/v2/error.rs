//! Why a request of v2 is refused, in etcd's numbers and words.

use super::types::Dialect;
use crate::view::Fault;
use bytes::Bytes;

/// etcd's error codes, as far as they are ever answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u16)]
pub enum Code {
    KeyNotFound = 100,
    CompareFailed = 101,
    NotAFile = 102,
    NotADirectory = 104,
    KeyExists = 105,
    RootReadOnly = 107,
    DirectoryNotEmpty = 108,
    Unauthorized = 110,
    PrevValueRequired = 201,
    TtlNotANumber = 202,
    IndexNotANumber = 203,
    InvalidField = 209,
    InvalidForm = 210,
    RefreshValue = 211,
    RefreshTtlRequired = 212,
    RaftInternal = 300,
    EventIndexCleared = 401,
}

impl Code {
    /// As a member says it that serves this API.
    pub fn message_in(self, dialect: Dialect) -> &'static str {
        match (dialect, self) {
            (Dialect::Etcd02, Code::KeyNotFound) => "Key Not Found",
            (Dialect::Etcd02, Code::CompareFailed) => "Test Failed",
            (Dialect::Etcd02, Code::NotAFile) => "Not A File",
            (Dialect::Etcd02, Code::NotADirectory) => "Not A Directory",
            (Dialect::Etcd02, Code::KeyExists) => "Already exists",
            (_, code) => code.message(),
        }
    }

    pub fn message(self) -> &'static str {
        match self {
            Code::KeyNotFound => "Key not found",
            Code::CompareFailed => "Compare failed",
            Code::NotAFile => "Not a file",
            Code::NotADirectory => "Not a directory",
            Code::KeyExists => "Key already exists",
            Code::RootReadOnly => "Root is read only",
            Code::DirectoryNotEmpty => "Directory not empty",
            Code::Unauthorized => "The request requires user authentication",
            Code::PrevValueRequired => "PrevValue is Required in POST form",
            Code::TtlNotANumber => "The given TTL in POST form is not a number",
            Code::IndexNotANumber => "The given index in POST form is not a number",
            Code::InvalidField => "Invalid field",
            Code::InvalidForm => "Invalid POST form",
            Code::RefreshValue => "Value provided on refresh",
            Code::RefreshTtlRequired => "A TTL must be provided on refresh",
            Code::RaftInternal => "Raft Internal Error",
            Code::EventIndexCleared => "The event in requested index is outdated and cleared",
        }
    }
}

/// A refusal, as the client is told it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub code: Code,
    /// What it is about: a path, or numbers and values; never shown if it is empty.
    pub cause: Bytes,
    /// The index of the tree, or zero where it was not looked at.
    pub index: u64,
}

impl Refused {
    /// A request that who asks may not make.
    pub fn unauthorized() -> Refused {
        Refused::request(Code::Unauthorized, "Insufficient credentials")
    }

    /// A request that was never held against the tree.
    pub fn request(code: Code, cause: impl Into<Bytes>) -> Refused {
        let cause = cause.into();
        Refused {
            code,
            cause,
            index: 0,
        }
    }
}

/// Why a read or a write of the tree came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TreeError {
    Refused(Refused),
    Fault(Fault),
}

impl From<Refused> for TreeError {
    fn from(refused: Refused) -> TreeError {
        TreeError::Refused(refused)
    }
}

impl From<Fault> for TreeError {
    fn from(fault: Fault) -> TreeError {
        TreeError::Fault(fault)
    }
}
