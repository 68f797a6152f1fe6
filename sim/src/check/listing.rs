//! Ranges that are read in pages: all pages together are what was there at the revision of the
//! first, each in its place; each tells rightly how many there are, and whether there are more.

use super::{Check, Finding, Violation};
use crate::client_records::Listing;
use crate::history::{History, text};
use crate::model::State;
use detcd_core::api::KeyValue;
use std::collections::BTreeMap;

pub fn check(history: &History) -> Vec<Violation> {
    let mut listings: BTreeMap<i64, Vec<&Listing>> = BTreeMap::new();
    for listing in &history.listings {
        listings.entry(listing.revision).or_default().push(listing);
    }
    let mut findings = Vec::new();
    let mut state = State::empty();
    let mut judge = |state: &State| {
        for listing in listings.remove(&state.revision).unwrap_or_default() {
            if let Some(what) = problem(state, listing) {
                let Listing {
                    client, revision, ..
                } = listing;
                let what = format!("client {client} at revision {revision}: {what}");
                findings.push(Finding::new(what).revision(*revision));
            }
        }
    };
    judge(&state);
    for changes in history.revisions.values() {
        state = state.follow(changes);
        judge(&state);
    }
    findings
        .into_iter()
        .map(|finding| finding.of(Check::Listing))
        .collect()
}

fn problem(state: &State, listing: &Listing) -> Option<String> {
    let there = state
        .keys
        .iter()
        .filter(|(key, _)| listing.range.contains(key));
    let there: Vec<&KeyValue> = there.map(|(_, kv)| kv).collect();
    let limit = usize::try_from(listing.limit).expect("limits are positive");
    let mut rest = &there[..];
    for (number, page) in listing.pages.iter().enumerate() {
        let number = number + 1;
        let (due, behind) = rest.split_at(limit.min(rest.len()));
        if !page.kvs.iter().eq(due.iter().copied()) {
            let list = |kvs: &mut dyn Iterator<Item = &KeyValue>| {
                let kvs = kvs.map(|kv| format!("{}@{}", text(&kv.key), kv.mod_revision));
                kvs.collect::<Vec<_>>().join(", ")
            };
            let (got, due) = (list(&mut page.kvs.iter()), list(&mut due.iter().copied()));
            return Some(format!("page {number} has [{got}] where [{due}] was due"));
        }
        if page.more == behind.is_empty() {
            let rest = behind.len();
            return Some(format!(
                "page {number} says more = {}, and there are {rest}",
                page.more
            ));
        }
        if page.count != rest.len() as i64 {
            let (count, rest) = (page.count, rest.len());
            return Some(format!(
                "page {number} counts {count} keys, and there are {rest}"
            ));
        }
        rest = behind;
    }
    let left = rest.len();
    (left > 0).then(|| format!("the pages end, and there are {left} more keys"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client_records::Page;
    use crate::history::Request;
    use crate::workload::ops;
    use bytes::Bytes;

    /// Five keys in pages of two.
    fn plain() -> History {
        let (mut history, mut state) = (History::default(), State::empty());
        for number in 0..5 {
            let put = ops::put(&Bytes::from(format!("l/{number}")), "x");
            let step = state.apply(&Request::Put(put));
            state = step.state;
            history.revisions.insert(state.revision, step.changes);
        }
        let kvs: Vec<KeyValue> = state.keys.iter().map(|(_, kv)| kv.clone()).collect();
        let pages = kvs.chunks(2).enumerate().map(|(number, kvs)| Page {
            kvs: kvs.to_vec(),
            more: number < 2,
            count: 5 - 2 * number as i64,
        });
        history.listings = vec![Listing {
            client: 1,
            range: ops::prefix("l/"),
            revision: 6,
            limit: 2,
            pages: pages.collect(),
        }];
        history
    }

    fn is_wrong(forge: impl FnOnce(&mut Listing)) -> bool {
        let mut history = plain();
        forge(&mut history.listings[0]);
        let found = check(&history);
        println!("{found:#?}");
        !found.is_empty()
    }

    #[test]
    fn whole_listings_are_fine() {
        assert!(!is_wrong(|_| {}));
    }

    #[test]
    fn forged_listings_are_found() {
        assert!(is_wrong(|listing| drop(listing.pages.pop())));
        assert!(is_wrong(|listing| drop(listing.pages.remove(1))));
        assert!(is_wrong(|listing| listing.pages[1].kvs.reverse()));
        assert!(is_wrong(|listing| listing.pages[0].more = false));
        assert!(is_wrong(|listing| listing.pages[2].more = true));
        assert!(is_wrong(|listing| listing.pages[1].count = 2));
        // The last key was not there yet.
        assert!(is_wrong(|listing| listing.revision = 5));
    }
}
