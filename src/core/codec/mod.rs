//! The bytes of whatever is stored or enters the log. Every format starts with a tag that also
//! says its version; a tag that is not known is a [`Fault`], never a guess.
//!
//! They are made with [`crate::encoding`]: numbers are varints, and keys that must sort as numbers
//! are big-endian.

mod command;
mod received;
mod rows;

pub use command::{
    decode_asked, decode_command, decode_proposal, encode_asked, encode_command, encode_proposal,
};
pub(crate) use command::{decode_key_range, encode_key_range};
pub use received::check_row;
pub(crate) use rows::alarm_kind;
pub use rows::*;
