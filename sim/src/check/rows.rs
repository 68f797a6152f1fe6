//! What a compaction leaves of the history: at most the last change of each key, and on every
//! member the same rows. Looked at in the members' stores, once they have compacted everything.

use super::Finding;
use crate::observer;
use crate::store::tables::Tables;
use crate::time;
use crate::timeouts::CONVERGE_MAX;
use std::time::Duration;

/// Judges members that were told to compact everything, each with the revision to which it said
/// it had. Waits for those that were told by others: each removes rows at its own pace.
pub async fn compacted(reported: &[(usize, Option<i64>)]) -> Vec<Finding> {
    let endless = reported.iter().filter(|(_, revision)| revision.is_none());
    let endless = endless.map(|(member, _)| {
        let what = format!("the compaction of member {} does not end", member + 1);
        Finding::new(what).member(*member)
    });
    let endless: Vec<Finding> = endless.collect();
    let last = reported.iter().filter_map(|(_, revision)| *revision).max();
    let Some(last) = last.filter(|_| endless.is_empty()) else {
        return endless;
    };
    let deadline = time::now() + CONVERGE_MAX;
    loop {
        let stores: Vec<(usize, Tables)> = reported
            .iter()
            .map(|(member, _)| (*member, observer::tables(*member)))
            .collect();
        let found = problem(&stores, last);
        if found.is_none() || time::now() > deadline {
            return found.into_iter().collect();
        }
        time::sleep(Duration::from_millis(50)).await;
    }
}

/// What is wrong with stores that were all compacted to this revision.
fn problem(stores: &[(usize, Tables)], compacted: i64) -> Option<Finding> {
    for (member, tables) in stores {
        let (old, recent) = tables.events_around(compacted);
        let keys = tables.live_keys();
        // What was deleted since then had its last change before.
        if old > keys + recent {
            let what = format!(
                "member {} keeps {old} changes below revision {compacted}, and has {keys} keys",
                member + 1
            );
            return Some(Finding::new(what).member(*member));
        }
    }
    let ((first, tables), others) = stores.split_first()?;
    let other = others
        .iter()
        .find(|(_, other)| !tables.has_history_of(other));
    let (other, _) = other?;
    let what = format!(
        "members {} and {} keep other rows of their history",
        first + 1,
        other + 1
    );
    Some(Finding::new(what).member(*first).member(*other))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use detcd_core::api::Revision;
    use detcd_core::codec::revision_key;
    use detcd_core::view::Table;

    /// A store with changes at these revisions, of so many keys.
    fn store(changes: &[i64], keys: u8) -> Tables {
        let mut tables = Tables::default();
        for main in changes {
            let key = revision_key(Revision {
                main: *main,
                sub: 0,
            });
            tables.write(Table::Events, Bytes::copy_from_slice(&key));
        }
        for key in 0..keys {
            tables.write(Table::Current, Bytes::copy_from_slice(&[b'a' + key]));
        }
        tables
    }

    fn is_wrong(stores: Vec<Tables>) -> bool {
        let stores: Vec<_> = stores.into_iter().enumerate().collect();
        problem(&stores, 9).is_some()
    }

    #[test]
    fn members_that_compacted_keep_the_same_and_no_more_than_they_need() {
        let right = || store(&[4, 9, 10], 2);
        assert!(!is_wrong(vec![right(), right()]));
        assert!(is_wrong(vec![store(&[2, 3, 4, 5, 9], 2)]));
        assert!(is_wrong(vec![right(), store(&[3, 9, 10], 2)]));
        assert!(is_wrong(vec![right(), right(), store(&[9, 10], 2)]));
    }
}
