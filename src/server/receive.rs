//! The messages of the client port's calls.

pub(crate) use detcd_net::message::{Expected, Unfinished, WholeMessages};

use detcd_net::limits::{BYTES_PER_SECOND_MIN, UNFINISHED_BYTES_MAX};
use detcd_net::message::MessageError;
use tonic::Status;

/// What the calls of clients have received of messages that are not whole.
pub(crate) fn unfinished() -> Unfinished {
    Unfinished::new(UNFINISHED_BYTES_MAX, BYTES_PER_SECOND_MIN, |error| {
        let status = match error {
            MessageError::TimedOut => Status::unavailable("etcdserver: request timed out"),
            MessageError::TooLarge => Status::resource_exhausted("etcdserver: too many requests"),
        };
        status.into()
    })
}
