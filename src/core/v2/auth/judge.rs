//! Whether who asks may do what is asked.

use super::{Asked, Asker, GUEST, KeyPaths, ROOT, Role, User, is_enabled, role, user};
use crate::view::{Fault, View};

/// Whether a request of `/v2/keys` may read, or write, its path.
pub fn may(view: &dyn View, asked: &Asked, recursive: bool, writes: bool) -> Result<bool, Fault> {
    if !is_enabled(view)? {
        return Ok(true);
    }
    let path = &asked.path[..];
    let Some(user) = asking(view, &asked.asker)? else {
        // A guest is judged by the path alone, as in etcd, and a user that is gone has no rights.
        let is_guest = asked.asker == Asker::Guest;
        let guest = if is_guest { role(view, GUEST)? } else { None };
        return Ok(guest.is_some_and(|guest| allows(&guest, path, false, writes)));
    };
    for name in user.role_names() {
        let role = role(view, name)?;
        if role.is_some_and(|role| allows(&role, path, recursive, writes)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether who asks may change members, users and roles, and look at the last two.
pub fn may_change(view: &dyn View, asker: &Asker) -> Result<bool, Fault> {
    if !is_enabled(view)? {
        return Ok(true);
    }
    let user = asking(view, asker)?;
    Ok(user.is_some_and(|user| user.role_names().any(|role| role == ROOT)))
}

/// The user, if it still has the password that was shown.
fn asking(view: &dyn View, asker: &Asker) -> Result<Option<User>, Fault> {
    let Asker::User { name, hash_index } = asker else {
        return Ok(None);
    };
    let user = user(view, name)?;
    Ok(user.filter(|user| user.hash_index == *hash_index))
}

fn allows(role: &Role, path: &[u8], recursive: bool, writes: bool) -> bool {
    let KeyPaths { read, write } = &role.paths;
    let patterns = if writes { write } else { read };
    let mut patterns = patterns.iter().flatten();
    role.name == ROOT || patterns.any(|pattern| matches(pattern.as_bytes(), path, recursive))
}

/// A request for all that lies below a path needs a pattern with a star.
fn matches(pattern: &[u8], path: &[u8], recursive: bool) -> bool {
    match pattern.strip_suffix(b"*") {
        Some(start) => path.starts_with(start),
        None => !recursive && pattern == path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_etcd() {
        assert!(matches(b"/a*", b"/ab/c", true) && matches(b"*", b"", true));
        assert!(matches(b"/a", b"/a", false) && !matches(b"/a", b"/a/", false));
        assert!(!matches(b"/a", b"/a", true) && !matches(b"/*", b"", false));
        assert!(!matches(b"", b"/a", false));
    }
}
