//! Reads of users and roles.

use super::codec::{AUTH, ROLE, USER, decode_enabled, decode_role, decode_user, named};
use super::{ROOT, Role, User};
use crate::view::{Direction, Fault, Table, View};
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;
use core::ops::Bound;

/// Whether requests are judged.
pub fn is_enabled(view: &dyn View) -> Result<bool, Fault> {
    let row = view.get(Table::V2, &[AUTH])?;
    row.map_or(Ok(false), |row| decode_enabled(&row))
}

pub fn user(view: &dyn View, name: &str) -> Result<Option<User>, Fault> {
    let row = view.get(Table::V2, &named(USER, name))?;
    row.map(|row| decode_user(name, &row)).transpose()
}

/// The names of all users, in order.
pub fn users(view: &dyn View) -> Result<Vec<String>, Fault> {
    names(view, USER)
}

pub fn role(view: &dyn View, name: &str) -> Result<Option<Role>, Fault> {
    if name == ROOT {
        return Ok(Some(Role::unlimited(ROOT)));
    }
    let row = view.get(Table::V2, &named(ROLE, name))?;
    row.map(|row| decode_role(name, &row)).transpose()
}

/// The names of all roles, in order; that of the root is always there.
pub fn roles(view: &dyn View) -> Result<Vec<String>, Fault> {
    let mut names = names(view, ROLE)?;
    names.push(ROOT.into());
    names.sort_unstable();
    Ok(names)
}

fn names(view: &dyn View, kind: u8) -> Result<Vec<String>, Fault> {
    let (start, end) = ([kind], [kind + 1]);
    let bounds = (Bound::Included(&start[..]), Bound::Excluded(&end[..]));
    let rows = view.scan(Table::V2, bounds, Direction::Forward);
    rows.map(|row| super::codec::name(&row?.0)).collect()
}

/// The row of a user, a role or the switch.
pub(super) fn exists(view: &dyn View, key: &Bytes) -> Result<bool, Fault> {
    Ok(view.get(Table::V2, key)?.is_some())
}
