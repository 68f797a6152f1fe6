//! How a command fails: an exit code, and what is said about it.

use std::fmt;
use tonic::{Code, Status};

/// etcdctl's exit codes.
pub mod code {
    pub const ERROR: u8 = 1;
    pub const BAD_CONNECTION: u8 = 2;
    pub const INVALID_INPUT: u8 = 3;
    pub const BAD_FEATURE: u8 = 4;
    pub const INTERRUPTED: u8 = 5;
    pub const IO: u8 = 6;
    pub const BAD_ARGS: u8 = 128;
}

/// Ends the command. An empty message means that all has been said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub code: u8,
    pub message: String,
    /// What may be the cause, where etcdctl's message names none.
    pub hint: Option<String>,
}

impl Failure {
    pub fn new(code: u8, message: impl Into<String>) -> Failure {
        Failure {
            code,
            message: message.into(),
            hint: None,
        }
    }

    pub fn with_hint(self, hint: Option<String>) -> Failure {
        Failure { hint, ..self }
    }

    pub fn args(message: impl Into<String>) -> Failure {
        Failure::new(code::BAD_ARGS, message)
    }

    pub fn error(message: impl Into<String>) -> Failure {
        Failure::new(code::ERROR, message)
    }

    pub fn silent(code: u8) -> Failure {
        Failure::new(code, "")
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Failure {
        Failure::new(code::IO, error.to_string())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

pub const DEADLINE: &str = "context deadline exceeded";

/// A server's refusal as etcdctl words it: etcd's own texts stand alone, others keep their code.
pub fn status_text(status: &Status) -> String {
    match status.code() {
        Code::DeadlineExceeded => DEADLINE.to_owned(),
        _ if status.message().starts_with("etcdserver: ") => status.message().to_owned(),
        code => format!("rpc error: code = {code:?} desc = {}", status.message()),
    }
}
