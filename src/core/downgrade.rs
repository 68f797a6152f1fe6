//! The announcement that all members are to be replaced by those of the version before. It is kept
//! and shown; what detcd stores has versions of its own, and is not changed by it.

use crate::codec::{META_DOWNGRADE, decode_downgrade};
use crate::error::Error;
use crate::view::{Fault, Table, View};
use alloc::format;
use alloc::string::String;

/// The version that the members are to be downgraded to, if they are.
pub fn target(view: &dyn View) -> Result<Option<String>, Fault> {
    let row = view.get(Table::Meta, META_DOWNGRADE)?;
    row.as_ref().map(decode_downgrade).transpose()
}

/// Whether a downgrade may be announced or called off while this one is.
pub fn admit(announced: Option<&str>, asked: Option<&str>) -> Result<(), Error> {
    match (announced, asked) {
        (Some(_), Some(_)) => Err(Error::DowngradeInProcess),
        (None, None) => Err(Error::NoInflightDowngrade),
        _ => Ok(()),
    }
}

/// The version of the cluster that is asked for, which must be the minor version below its own.
pub fn parse_target(cluster_version: &str, asked: &str) -> Result<String, Error> {
    let (major, minor) = minor_version(asked).ok_or(Error::WrongDowngradeFormat)?;
    let own = minor_version(cluster_version);
    match own == minor.checked_add(1).map(|above| (major, above)) {
        true => Ok(format!("{major}.{minor}.0")),
        false => Err(Error::InvalidDowngradeTarget),
    }
}

/// Of a version as etcd reads it: `3.6`, `3.6.1` or `3.6.1-rc.0+x`.
fn minor_version(text: &str) -> Option<(u64, u64)> {
    let text = text.split_once('+').map_or(text, |(version, _)| version);
    let text = text.split_once('-').map_or(text, |(version, _)| version);
    let mut parts = text.split('.');
    let mut number = || {
        let digits = parts.next()?;
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| digits.parse::<u64>().ok()).flatten()
    };
    let (major, minor) = (number()?, number()?);
    match parts.next() {
        None => Some((major, minor)),
        Some(patch) => {
            let is_number = !patch.is_empty() && patch.bytes().all(|byte| byte.is_ascii_digit());
            (is_number && parts.next().is_none()).then_some((major, minor))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As etcd 3.5.1 answered, for the versions below its own.
    #[test]
    fn targets_are_those_of_etcd() {
        let of = |asked| parse_target("3.5.0", asked);
        for asked in ["3.4", "3.4.0", "3.4.7", "3.4.0-rc1", "03.4"] {
            assert_eq!(of(asked), Ok("3.4.0".into()), "{asked}");
        }
        for asked in ["", "3", "x", "v3.4.0", "3.4.0.0", "3.-4"] {
            assert_eq!(of(asked), Err(Error::WrongDowngradeFormat), "{asked}");
        }
        for asked in ["3.5", "3.3", "3.6", "2.4", "4.4"] {
            assert_eq!(of(asked), Err(Error::InvalidDowngradeTarget), "{asked}");
        }
    }
}
