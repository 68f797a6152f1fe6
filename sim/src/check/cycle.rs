//! The ring: at every revision, and in whatever is read of all its keys at once, following the
//! links from any key comes by all the others before it comes back.

use super::group::{self, Group};
use super::{Facts, Finding};
use crate::client_records::Ring;
use crate::history::{first_number, text};
use std::collections::BTreeSet;

pub fn check(facts: &Facts<'_>) -> Vec<Finding> {
    let rings = facts.history.rings.iter();
    rings
        .flat_map(|ring| group::judge(facts, &ring.range, |links| is_right(ring, links)))
        .collect()
}

fn is_right(ring: &Ring, links: &Group) -> Result<(), String> {
    if links.len() != ring.nodes {
        let (there, nodes) = (links.len(), ring.nodes);
        return Err(format!("there are {there} keys of {nodes}"));
    }
    // Keys are numbered in the order in which they sort.
    let next: Option<Vec<usize>> = links
        .values()
        .map(|value| first_number::<usize>(value))
        .collect();
    let reported = || {
        let links: Vec<String> = links.values().map(|value| text(value)).collect();
        links.join(", ")
    };
    let next = next.ok_or_else(|| format!("there is no link in one of {}", reported()))?;
    let (mut at, mut passed) = (0, BTreeSet::new());
    while passed.insert(at) {
        match next.get(at) {
            Some(next) if *next < ring.nodes => at = *next,
            _ => return Err(format!("a link leads nowhere: {}", reported())),
        }
    }
    if at != 0 || passed.len() != ring.nodes {
        return Err(format!("the keys are not one ring: {}", reported()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Clocks;
    use crate::workload::ops;

    fn is_wrong(written: &[&[&str]], seen: &[&str]) -> bool {
        let mut history = group::forged("cycle", written, seen);
        history.rings.push(Ring {
            range: ops::prefix("cycle/"),
            nodes: 4,
        });
        !check(&Facts::of(&history, Clocks::TRUE)).is_empty()
    }

    const CLOSED: &[&str] = &["1 a", "2 b", "3 c", "0 d"];

    #[test]
    fn a_ring_that_stays_one_is_fine() {
        // Keys 1 and 2 change places.
        let written: [&[&str]; 2] = [CLOSED, &["2 e", "3 e", "1 e", "0 d"]];
        assert!(!is_wrong(&written, written[1]));
        assert!(!is_wrong(&written, written[0]));
    }

    #[test]
    fn forged_histories_are_found() {
        // Two rings of two; a tail that leads into a ring; a link to nowhere; a key too few.
        assert!(is_wrong(&[CLOSED, &["1 e", "0 e", "3 e", "2 e"]], CLOSED));
        assert!(is_wrong(&[CLOSED], &["1 a", "2 b", "3 c", "1 d"]));
        assert!(is_wrong(&[CLOSED], &["1 a", "2 b", "3 c", "9 d"]));
        assert!(is_wrong(&[CLOSED], &["1 a", "2 b", "0 c"]));
    }
}
