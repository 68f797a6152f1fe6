//! The events of the past: a row for each of the last indexes.

use super::codec::{decode_event, event_key};
use super::error::{Code, Refused, TreeError};
use super::tree;
use super::types::{Action, Event};
use crate::limits::V2_HISTORY_EVENTS;
use crate::view::{Direction, Table, View};
use alloc::format;
use alloc::sync::Arc;
use bytes::Bytes;
use core::ops::Bound;

/// What a watcher waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interest {
    pub path: Bytes,
    pub recursive: bool,
}

/// The first event from `since` on that concerns a watcher; `None` if it is yet to come.
pub fn find(
    view: &dyn View,
    interest: &Interest,
    since: u64,
) -> Result<Option<Arc<Event>>, TreeError> {
    let index = tree::index(view)?;
    let first = first_kept(index);
    if since < first {
        let cause = format!("the requested history has been cleared [{first}/{since}]");
        let code = Code::EventIndexCleared;
        let cause = Bytes::from(cause);
        return Err(Refused { code, cause, index }.into());
    }
    let (start, end) = (event_key(since), event_key(u64::MAX));
    let bounds = (Bound::Included(&start[..]), Bound::Included(&end[..]));
    for row in view.scan(Table::V2, bounds, Direction::Forward) {
        let event = decode_event(&row?.1)?;
        if concerns(interest, &event) {
            return Ok(Some(Arc::new(event)));
        }
    }
    Ok(None)
}

/// The first index whose event is kept when `index` is the last.
pub(super) fn first_kept(index: u64) -> u64 {
    (index + 1).saturating_sub(V2_HISTORY_EVENTS).max(1)
}

fn concerns(interest: &Interest, event: &Event) -> bool {
    let (path, key) = (&interest.path, &event.node.key);
    if event.refresh {
        return false;
    }
    let ends = matches!(event.action, Action::Delete | Action::Expire);
    let was_dir = event.prev.as_ref().is_some_and(|prev| prev.dir);
    path == key
        || interest.recursive && is_below(key, path)
        || ends && was_dir && is_below(path, key)
}

/// Whether a path lies somewhere below a directory.
pub(super) fn is_below(path: &[u8], directory: &[u8]) -> bool {
    path.strip_prefix(directory)
        .is_some_and(|rest| rest.starts_with(b"/"))
}
