//! Answers that no order allows, each by itself: they show a value that nobody had asked for, or
//! one that was surely replaced before they were asked for. Found by values and real time alone,
//! with no search; so both the search and the replay have to find what is found here.

use super::project::{Act, OnKey, Value};
use crate::history::Operation;
use std::collections::BTreeMap;
use std::time::Duration;

/// A value of the key, from the call that may have brought it to the moment at which it was surely
/// replaced (`None`: it may still be there).
struct Life {
    from: Duration,
    until: Option<Duration>,
}

/// The operations on a key whose answers show a value that cannot have been there.
pub fn impossible<'a>(operations: &[OnKey<'a>]) -> Vec<&'a Operation> {
    let lives = lives(operations);
    let is_possible = |operation: &&OnKey<'a>| {
        let (Some(shown), Some(returned)) = (shown(operation), operation.returned) else {
            return true;
        };
        let mut lives = lives.get(shown).into_iter().flatten();
        lives.any(|life| {
            let ended = life.until.is_some_and(|until| until < operation.called);
            life.from <= returned && !ended
        })
    };
    let wrong = operations.iter().filter(|one| !is_possible(one));
    wrong.map(|one| one.operation).collect()
}

fn lives(operations: &[OnKey<'_>]) -> BTreeMap<Value, Vec<Life>> {
    // Those that wrote for certain, the last call first, each with the earliest end from there on.
    let mut sure: Vec<(Duration, Duration)> = operations
        .iter()
        .filter(|one| one.ways.len() == 1 && one.ways.iter().all(|way| set(way).is_some()))
        .filter_map(|one| Some((one.called, one.returned?)))
        .collect();
    sure.sort_unstable_by(|a, b| b.cmp(a));
    let mut earliest = Duration::MAX;
    for (_, ended) in &mut sure {
        earliest = earliest.min(*ended);
        *ended = earliest;
    }
    // When the first write was over that was called after this moment.
    let replaced_after = |moment: Duration| {
        let later = sure.partition_point(|(called, _)| *called > moment);
        later.checked_sub(1).map(|last| sure[last].1)
    };
    let mut lives: BTreeMap<Value, Vec<Life>> = BTreeMap::new();
    lives.entry(None).or_default().push(Life {
        from: Duration::ZERO,
        until: sure.last().map(|(_, ended)| *ended),
    });
    for one in operations {
        for value in one.ways.iter().filter_map(|way| set(way)) {
            lives.entry(value.clone()).or_default().push(Life {
                from: one.called,
                until: one.returned.and_then(replaced_after),
            });
        }
    }
    lives
}

/// What is there once these acts are done, if they change anything.
fn set(acts: &[Act]) -> Option<&Value> {
    acts.iter().rev().find_map(|act| match act {
        Act::Set(value) => Some(value),
        _ => None,
    })
}

/// The value that an answered operation found, if it tells.
fn shown<'o>(operation: &'o OnKey<'_>) -> Option<&'o Value> {
    let [only] = &operation.ways[..] else {
        return None;
    };
    let found = only.iter().take_while(|act| !matches!(act, Act::Set(_)));
    found.into_iter().find_map(|act| match act {
        Act::Is(value) => Some(value),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::forge;

    /// From second to second; a write of unknown outcome has no end.
    type Forged = (u64, Option<u64>, Act);

    fn written(value: &'static str) -> Act {
        Act::Set(Some(value.into()))
    }

    fn seen(value: &'static str) -> Act {
        Act::Is(Some(value.into()))
    }

    /// How many of these operations are impossible.
    fn count(forged: &[Forged]) -> usize {
        let operation = forge::operation(0.0, 0.0, "compact 1", forge::unknown());
        let on_key = forged.iter().map(|(called, returned, act)| OnKey {
            operation: &operation,
            called: Duration::from_secs(*called),
            returned: returned.map(Duration::from_secs),
            ways: vec![vec![act.clone()]],
        });
        impossible(&on_key.collect::<Vec<_>>()).len()
    }

    #[test]
    fn what_may_have_been_there_is_possible() {
        assert_eq!(count(&[(0, Some(1), Act::Is(None))]), 0);
        let one = (1, Some(2), written("1"));
        assert_eq!(count(&[one.clone(), (3, Some(4), seen("1"))]), 0);
        // The second write overlaps the read, or the first write, or may come at any time.
        for second in [(3, Some(6)), (1, Some(5)), (2, None)] {
            let two = (second.0, second.1, written("2"));
            let forged = [one.clone(), two, (4, Some(5), seen("1"))];
            assert_eq!(count(&forged), 0, "{second:?}");
        }
        let late = (1, None, written("1"));
        let two = (2, Some(3), written("2"));
        assert_eq!(count(&[late, two, (8, Some(9), seen("1"))]), 0);
    }

    #[test]
    fn what_cannot_have_been_there_is_found() {
        let one = (1, Some(2), written("1"));
        assert_eq!(count(&[one.clone(), (0, Some(0), seen("1"))]), 1);
        assert_eq!(count(&[one.clone(), (3, Some(4), seen("other"))]), 1);
        assert_eq!(count(&[one.clone(), (3, Some(4), Act::Is(None))]), 1);
        let two = (3, Some(4), written("2"));
        assert_eq!(count(&[one, two, (5, Some(6), seen("1"))]), 1);
    }
}
