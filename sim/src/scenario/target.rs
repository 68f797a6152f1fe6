//! Which members a fault is about.

use super::reader::{Problem, Reader};
use crate::rng::Rng;
use std::fmt;

/// A rule that names members. Those that depend on who leads are looked up when the fault begins,
/// which is a function of the seed too; the others are settled in the plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The n-th member, from 1.
    Member(usize),
    /// Some member, drawn for the plan.
    Any,
    /// Who leads when the fault begins (or, if nobody does, the first member).
    Leader,
    /// The n-th member after the leader, from 1.
    Follower(usize),
    /// Some follower, drawn for the plan.
    AnyFollower,
    /// The most members without which the others are a majority, the leader not among them.
    Minority,
    All,
    /// Whoever no other group of a split names.
    Rest,
}

impl Target {
    /// Reads one rule of the value of `key`.
    pub fn parse(reader: &Reader<'_>, key: &'static str, text: &str) -> Result<Target, Problem> {
        let numbered = |prefix: &str| {
            let number = text.strip_prefix(prefix)?.parse::<usize>().ok();
            number.filter(|number| *number > 0)
        };
        let target = match text {
            "any" => Target::Any,
            "leader" => Target::Leader,
            "follower" => Target::AnyFollower,
            "minority" => Target::Minority,
            "all" => Target::All,
            "rest" => Target::Rest,
            _ => match (numbered("member:"), numbered("follower:")) {
                (Some(number), _) => Target::Member(number),
                (_, Some(number)) => Target::Follower(number),
                (None, None) => {
                    let message = format!(
                        "`{text}` names no member; there are leader, follower, follower:N, \
                         member:N, any, minority, all and rest"
                    );
                    return Err(reader.problem_at(key, message));
                }
            },
        };
        Ok(target)
    }

    pub fn draw(&self, members: usize, rng: &mut Rng) -> Target {
        match self {
            Target::Any => Target::Member(rng.index(members) + 1),
            Target::AnyFollower if members > 1 => Target::Follower(rng.index(members - 1) + 1),
            Target::AnyFollower => Target::Member(1),
            settled => settled.clone(),
        }
    }

    /// The members (counted from 0), given who leads.
    pub fn members(&self, members: usize, leader: Option<usize>) -> Vec<usize> {
        let leader = leader.unwrap_or(0);
        let after = |n: usize| (leader + n) % members;
        match self {
            Target::Member(number) => vec![(number - 1) % members],
            Target::Leader => vec![leader],
            // Beyond the last follower it starts again with the first.
            Target::Follower(_) if members == 1 => vec![0],
            Target::Follower(number) => vec![after((number - 1) % (members - 1) + 1)],
            Target::Minority => (1..=(members - 1) / 2).map(after).collect(),
            Target::All => (0..members).collect(),
            Target::Any | Target::AnyFollower | Target::Rest => {
                unreachable!("{self} is settled in the plan or by its split")
            }
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Member(number) => write!(f, "member:{number}"),
            Target::Any => f.write_str("any"),
            Target::Leader => f.write_str("leader"),
            Target::Follower(number) => write!(f, "follower:{number}"),
            Target::AnyFollower => f.write_str("follower"),
            Target::Minority => f.write_str("minority"),
            Target::All => f.write_str("all"),
            Target::Rest => f.write_str("rest"),
        }
    }
}
