//! Lists of kept seeds: runs that once showed a bug, and must not show it again.
//!
//! A line is a scenario, a seed, perhaps what the run is to come to (`pass` if nothing is said),
//! and perhaps a comment behind `#`.

use super::job::{Expected, Job};
use crate::verdict::Verdict;
use std::path::PathBuf;

/// A line of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    pub path: PathBuf,
    pub seed: u64,
    pub expected: Expected,
}

const WORDS: [(&str, Expected); 7] = [
    ("pass", Expected::Verdict(Verdict::Pass)),
    ("unsafe", Expected::Verdict(Verdict::Unsafe)),
    ("not-live", Expected::Verdict(Verdict::NotLive)),
    ("vacuous", Expected::Verdict(Verdict::Usage)),
    ("crash", Expected::Verdict(Verdict::NodeCrash)),
    (
        "nondeterministic",
        Expected::Verdict(Verdict::Nondeterministic),
    ),
    ("caught", Expected::Caught),
];

/// Reads a list; mistakes name their line.
pub fn parse(file: &str, text: &str) -> Result<Vec<Kept>, String> {
    let mut kept = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let words = line.split('#').next().unwrap_or_default();
        let words: Vec<&str> = words.split_whitespace().collect();
        let wrong = |what: &str| Err(format!("{file}:{}: {what}", number + 1));
        let (path, seed, expected) = match words[..] {
            [] => continue,
            [path, seed] => (path, seed, "pass"),
            [path, seed, expected] => (path, seed, expected),
            _ => return wrong("a line is: scenario seed [expected] # comment"),
        };
        let Ok(seed) = seed.parse() else {
            return wrong(&format!("`{seed}` is no seed"));
        };
        let Some((_, expected)) = WORDS.iter().find(|(word, _)| *word == expected) else {
            let words: Vec<&str> = WORDS.iter().map(|(word, _)| *word).collect();
            return wrong(&format!("`{expected}` is none of {}", words.join(", ")));
        };
        kept.push(Kept {
            path: path.into(),
            seed,
            expected: *expected,
        });
    }
    Ok(kept)
}

impl Kept {
    /// The run of this line; a planted bug is switched on where it is to be caught.
    pub fn job(&self, scenario: usize, mutant: Option<&str>) -> Job {
        let planted = self.expected == Expected::Caught;
        Job {
            scenario,
            seed: self.seed,
            mutant: mutant.filter(|_| planted).map(str::to_owned),
            expected: self.expected,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_a_scenario_a_seed_and_what_is_expected() {
        let text = "# kept\n\nsmoke/a.toml 7   # lost a write\nmust-fail/b.toml 12 caught\n";
        let kept = parse("seeds.txt", text).expect("it is right");
        assert_eq!(kept.len(), 2);
        assert_eq!((kept[0].seed, kept[0].expected), (7, WORDS[0].1));
        assert_eq!(kept[1].expected, Expected::Caught);
        assert_eq!(kept[1].job(0, Some("bug")).mutant.as_deref(), Some("bug"));
        assert_eq!(kept[0].job(0, Some("bug")).mutant, None);
    }

    #[test]
    fn mistakes_name_their_line() {
        let cases = [
            (
                "a.toml",
                "s:1: a line is: scenario seed [expected] # comment",
            ),
            ("\na.toml seven", "s:2: `seven` is no seed"),
            ("a.toml 7 fail", "s:1: `fail` is none of pass, unsafe,"),
        ];
        for (text, expected) in cases {
            let problem = parse("s", text).expect_err("it is wrong");
            assert!(problem.starts_with(expected), "{problem}");
        }
    }
}
