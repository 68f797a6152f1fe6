//! Ranges that are read in pages: all pages together are what was there at the revision of the
//! first, each in its place; each tells rightly how many there are, and whether there are more.

use super::{Facts, Finding};
use crate::client_records::Listing;
use crate::history::text;
use crate::model::State;
use detcd_core::api::KeyValue;

pub fn check(facts: &Facts<'_>) -> Vec<Finding> {
    let listings = facts.history.listings.iter();
    let findings = listings.filter_map(|listing| {
        let (client, revision) = (listing.client, listing.revision);
        let what = problem(facts.states().get(&revision)?, listing)?;
        let what = format!("client {client} at revision {revision}: {what}");
        Some(Finding::new(what).revision(revision))
    });
    findings.collect()
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
    use crate::check::{Clocks, forge};
    use crate::client_records::Page;
    use crate::workload::ops;

    fn is_wrong(change: impl FnOnce(&mut Listing)) -> bool {
        // Five keys in pages of two.
        let effects = [
            "put l/0 x",
            "put l/1 x",
            "put l/2 x",
            "put l/3 x",
            "put l/4 x",
        ];
        let mut history = forge::history(&effects, Vec::new());
        let kvs: Vec<KeyValue> = forge::state(&effects).keys.values().cloned().collect();
        let pages = kvs.chunks(2).enumerate().map(|(number, kvs)| Page {
            kvs: kvs.to_vec(),
            more: number < 2,
            count: 5 - 2 * number as i64,
        });
        let mut listing = Listing {
            client: 1,
            range: ops::prefix("l/"),
            revision: 6,
            limit: 2,
            pages: pages.collect(),
        };
        change(&mut listing);
        history.listings.push(listing);
        !check(&Facts::of(&history, Clocks::TRUE)).is_empty()
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
