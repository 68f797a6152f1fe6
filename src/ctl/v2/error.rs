//! Why a request failed, in the words of etcd's v2 client.

use crate::ctl::failure::{DEADLINE, Failure};
use serde::Deserialize;
use std::fmt;

/// The exit codes of v2 commands.
pub mod code {
    /// A mistake on the command line has no code of its own.
    pub const BAD_ARGS: u8 = 1;
    pub const BAD_CONNECTION: u8 = 2;
    pub const NO_HELP: u8 = 3;
    pub const SERVER_ERROR: u8 = 4;
    pub const NOT_HEALTHY: u8 = 5;
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestError {
    /// etcd refused it.
    Refused(Refusal),
    /// No endpoint answered: why, for each that was asked.
    Cluster(Vec<RequestError>),
    /// The server could not be reached, or was lost.
    Connection(String),
    /// The command's time is up.
    Deadline,
    Other(String),
}

/// An error of the keys API.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Refusal {
    #[serde(rename = "errorCode", default)]
    code: i64,
    #[serde(default)]
    message: String,
    #[serde(default)]
    cause: String,
    #[serde(default)]
    index: u64,
}

impl RequestError {
    pub fn other(text: impl Into<String>) -> RequestError {
        RequestError::Other(text.into())
    }

    /// Whether nobody could be reached at all.
    pub fn is_connection(&self) -> bool {
        match self {
            RequestError::Cluster(errors) => errors.iter().all(RequestError::is_connection),
            RequestError::Connection(_) | RequestError::Deadline => true,
            RequestError::Refused(_) | RequestError::Other(_) => false,
        }
    }

    /// Ends the command as those about keys end.
    pub fn fail(self, code: u8) -> Failure {
        let mut text = format!("Error:  {self}");
        if let RequestError::Cluster(errors) = &self {
            text.push('\n');
            for (at, error) in errors.iter().enumerate() {
                text.push_str(&format!("error #{at}: {error}\n"));
            }
        }
        Failure::new(code, text)
    }

    /// Ends the command as those about members and users end.
    pub fn fail_plainly(self) -> Failure {
        Failure::error(self.to_string())
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RequestError::Refused(refusal) => write!(
                f,
                "{}: {} ({}) [{}]",
                refusal.code, refusal.message, refusal.cause, refusal.index
            ),
            RequestError::Cluster(errors) => {
                f.write_str("client: etcd cluster is unavailable or misconfigured")?;
                for (at, error) in errors.iter().enumerate() {
                    writeln!(f, "; error #{at}: {error}")?;
                }
                Ok(())
            }
            RequestError::Connection(text) | RequestError::Other(text) => f.write_str(text),
            RequestError::Deadline => f.write_str(DEADLINE),
        }
    }
}

/// A mistake on the command line, as the commands about keys say it.
pub fn bad_args(why: &str) -> Failure {
    Failure::new(code::BAD_ARGS, format!("Error:  {why}"))
}

impl From<RequestError> for Failure {
    fn from(error: RequestError) -> Failure {
        error.fail(code::SERVER_ERROR)
    }
}
