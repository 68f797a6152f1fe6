//! Steps of members as text, for the tests of the invariants.
//!
//! A story is a paragraph, and its steps are lines, or parts of one line between `;`. A step that is
//! to be found wrong begins with `!`. `m1,2 appended 5@1` is of two members, and `5@1` is entry 5 of
//! term 1. Files are all the same one, and `as 3` is its third change.

use super::logs::{Logs, Voters};
use super::members::{Config, set};
use super::steps::{Invariant, Place, Step, What};

/// Tells each story to an invariant that has heard nothing yet.
pub fn judge<I: Invariant + Default>(stories: &str) {
    for story in stories.split("\n\n") {
        let (mut invariant, mut logs) = (I::default(), Logs::default());
        for (step, text) in steps(story) {
            let found = invariant.step(&step, &logs);
            logs.follow(&step);
            let is_wrong = text.starts_with('!');
            assert_eq!(found.is_err(), is_wrong, "{text} in\n{story}\n{found:?}");
        }
    }
}

/// The logs that a story leaves.
pub fn logs(story: &str) -> Logs {
    let mut logs = Logs::default();
    steps(story).for_each(|(step, _)| logs.follow(&step));
    logs
}

fn steps(story: &str) -> impl Iterator<Item = (Step, &str)> {
    let texts = story.split(['\n', ';']).map(str::trim);
    texts.filter(|text| !text.is_empty()).flat_map(|text| {
        let words: Vec<&str> = text.trim_start_matches(['!', ' ']).split(' ').collect();
        let members = words[0].strip_prefix('m').expect("a step is a member's");
        let steps = members.split(',').map(|member| {
            let member = number(member) as usize - 1;
            let what = what(member, &words[1..]).unwrap_or_else(|| panic!("{text} is no step"));
            (Step { member, what }, text)
        });
        steps.collect::<Vec<_>>()
    })
}

fn what(member: usize, words: &[&str]) -> Option<What> {
    Some(match words {
        ["started"] => What::Started,
        ["died"] => What::Died { lost: false },
        ["died", "lost"] => What::Died { lost: true },
        ["robbed"] => What::Robbed,
        ["recovered", end, committed] => What::Recovered {
            end: number(end),
            committed: number(committed),
        },
        ["vote", term, node] => {
            let (term, node) = (number(term), number(node));
            let hash = vote_hash(term, node);
            What::Vote { term, node, hash }
        }
        ["vote-written", term, node, "as", change] => What::VoteWritten {
            hash: vote_hash(number(term), number(node)),
            place: place(change),
        },
        ["granted", term, node] => What::Granted {
            term: number(term),
            node: number(node),
        },
        ["leads", term] => What::Leads {
            term: number(term),
            node: member as u64 + 1,
        },
        ["appended", entry] => {
            let (index, term, hash) = entry_of(entry);
            What::Appended { index, term, hash }
        }
        ["applied", entry] => {
            let (index, term, hash) = entry_of(entry);
            What::Applied { index, term, hash }
        }
        ["truncated", last] => What::Truncated { last: number(last) },
        ["purged", through] => What::Purged {
            through: number(through),
        },
        ["restored", index] => What::Restored {
            index: number(index),
        },
        ["configured", index, voters] => What::Configured {
            index: number(index),
            voters: groups(voters),
        },
        ["written", first, last, "as", change] => {
            let (last, term, _) = entry_of(last);
            let (first, place) = (number(first), place(change));
            What::Written {
                first,
                last,
                term,
                place,
            }
        }
        ["synced", change] => What::Synced {
            place: place(change),
        },
        ["acked", entry] => {
            let (index, term, _) = entry_of(entry);
            What::Acked { index, term }
        }
        ["committed", entry] => {
            let (index, term, _) = entry_of(entry);
            What::Committed { index, term }
        }
        ["state", index, hash] => What::State {
            index: number(index),
            hash: number(hash),
        },
        ["revision", revision] => What::Revision {
            revision: number(revision) as i64,
        },
        ["membership", index, voters, removed @ ..] => What::Membership {
            index: number(index),
            own: (member + 1).to_string(),
            config: Config::parse(1, voters, ""),
            removed: set(removed.get(1).unwrap_or(&"")),
            places: (1..=9).map(|id| (id.to_string(), id - 1)).collect(),
        },
        _ => return None,
    })
}

fn number(word: &str) -> u64 {
    word.parse()
        .unwrap_or_else(|_| panic!("{word} is no number"))
}

/// `5@1`, or `5@1#7` with a hash.
fn entry_of(word: &str) -> (u64, u64, u64) {
    let (index, rest) = word.split_once('@').expect("an entry is as 5@1");
    let (term, hash) = rest.split_once('#').unwrap_or((rest, "0"));
    (number(index), number(term), number(hash))
}

fn vote_hash(term: u64, node: u64) -> u64 {
    term * 100 + node
}

fn place(change: &str) -> Place {
    let (file, change) = (3, number(change));
    Place { file, change }
}

/// `1,2|2,3` are two groups of members.
fn groups(voters: &str) -> Voters {
    let groups = voters.split('|');
    let group = |group: &str| {
        let members = group.split(',').map(number);
        members.map(|member| member as usize - 1).collect()
    };
    groups.map(group).collect()
}
