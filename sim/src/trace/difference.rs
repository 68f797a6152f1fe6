//! Where two traces part.

use super::lines::Line;
use std::collections::VecDeque;
use std::fmt;
use std::io::{self, BufRead};

/// Equal events that are shown before the first difference.
const BEFORE_MAX: usize = 5;

/// The first event that two runs do not share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Its number, from 1.
    pub number: u64,
    /// What led there, in both runs.
    pub before: Vec<String>,
    /// The event in each run; `None` if the run ends before it.
    pub sides: [Option<String>; 2],
}

/// Compares two traces in JSON lines; `None` if they are equal.
pub fn first(a: impl BufRead, b: impl BufRead) -> io::Result<Option<Difference>> {
    let (mut a, mut b) = (a.lines(), b.lines());
    let mut before: VecDeque<String> = VecDeque::new();
    for number in 1.. {
        match (a.next().transpose()?, b.next().transpose()?) {
            (None, None) => return Ok(None),
            (Some(a), Some(b)) if a == b => {
                if before.len() == BEFORE_MAX {
                    before.pop_front();
                }
                before.push_back(a);
            }
            (a, b) => {
                return Ok(Some(Difference {
                    number,
                    before: before.into(),
                    sides: [a, b],
                }));
            }
        }
    }
    unreachable!("a trace ends")
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |line: &String| match Line::parse(line) {
            Ok(line) => line.to_string(),
            // Not a line of ours: as it is.
            Err(_) => line.clone(),
        };
        writeln!(f, "the first differing event is number {}:", self.number)?;
        for line in &self.before {
            writeln!(f, "  both    {}", shown(line))?;
        }
        for (run, side) in ["  first  ", "  second "].iter().zip(&self.sides) {
            match side {
                Some(line) => writeln!(f, "{run} {}", shown(line))?,
                None => writeln!(f, "{run} (the run is over)")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(terms: &[u64]) -> String {
        let lines = terms.iter().enumerate().map(|(at, term)| {
            format!("{{\"ns\":{at}000,\"node\":\"m1\",\"kind\":\"raft.role\",\"term\":{term}}}\n")
        });
        lines.collect()
    }

    fn first_of(a: &str, b: &str) -> Option<Difference> {
        first(a.as_bytes(), b.as_bytes()).expect("memory is read without errors")
    }

    #[test]
    fn a_forged_event_is_shown_with_both_sides() {
        let honest = trace(&[1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(first_of(&honest, &honest), None);
        let forged = trace(&[1, 2, 3, 4, 5, 6, 9, 8]);
        let difference = first_of(&honest, &forged).expect("they differ");
        assert_eq!(
            (difference.number, difference.before.len()),
            (7, BEFORE_MAX)
        );
        let text = difference.to_string();
        let text: Vec<&str> = text.lines().collect();
        assert_eq!(text[0], "the first differing event is number 7:");
        assert_eq!(text[6], "  first      0.000006 m1   raft.role term=7");
        assert_eq!(text[7], "  second     0.000006 m1   raft.role term=9");
    }

    #[test]
    fn a_run_that_ends_early_differs_too() {
        let difference = first_of(&trace(&[1, 2]), &trace(&[1]));
        let difference = difference.expect("they differ");
        assert_eq!(difference.number, 2);
        assert_eq!(difference.sides[1], None);
        assert!(
            difference
                .to_string()
                .ends_with("second  (the run is over)\n")
        );
    }
}
