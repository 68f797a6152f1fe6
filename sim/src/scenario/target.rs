//! Which members a fault is about.

use super::reader::{Problem, Value, nearest};
use super::settings::{Draw, Initial, Limits, Setting, Written};
use crate::rng::Rng;
use std::fmt;

/// A rule that names members. Those that depend on who leads are looked up when the fault begins,
/// which is a function of the run; the others are settled in the plan.
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
    /// All the others: the leader and as few followers as make a majority.
    Majority,
    /// A minority that is drawn for the plan, whoever leads.
    AnyMinority,
    /// A majority that is drawn for the plan, whoever leads.
    AnyMajority,
    /// A minority that is drawn once for the whole plan: whoever is to lose what cannot be got
    /// back, so that all such faults together leave a majority whole.
    Victims,
    All,
    /// Whoever no other group of a split names.
    Rest,
}

const RULES: [(&str, Target); 10] = [
    ("leader", Target::Leader),
    ("any follower", Target::AnyFollower),
    ("any", Target::Any),
    ("minority", Target::Minority),
    ("majority", Target::Majority),
    ("any minority", Target::AnyMinority),
    ("any majority", Target::AnyMajority),
    ("victims", Target::Victims),
    ("all", Target::All),
    ("rest", Target::Rest),
];

impl Target {
    /// The members (counted from 0), given who leads.
    pub fn members(&self, members: usize, leader: Option<usize>) -> Vec<usize> {
        let leader = leader.unwrap_or(0);
        let after = |n: usize| (leader + n) % members;
        let minority = (members - 1) / 2;
        match self {
            Target::Member(number) => vec![(number - 1) % members],
            Target::Leader => vec![leader],
            // Beyond the last follower it starts again with the first.
            Target::Follower(_) if members == 1 => vec![0],
            Target::Follower(number) => vec![after((number - 1) % (members - 1) + 1)],
            Target::Minority => (1..=minority).map(after).collect(),
            Target::Majority => (minority + 1..=members).map(after).collect(),
            Target::All => (0..members).collect(),
            Target::Any
            | Target::AnyFollower
            | Target::AnyMinority
            | Target::AnyMajority
            | Target::Victims
            | Target::Rest => {
                unreachable!("{self} is settled in the plan or by its split")
            }
        }
    }

    fn draw(&self, draw: &Draw) -> Vec<Target> {
        let members = draw.members;
        let rng = &mut match self {
            Target::Victims => draw.common("victims"),
            _ => draw.rng(),
        };
        match self {
            Target::Any => vec![Target::Member(rng.index(members) + 1)],
            Target::AnyFollower if members > 1 => {
                vec![Target::Follower(rng.index(members - 1) + 1)]
            }
            Target::AnyFollower => vec![Target::Member(1)],
            Target::AnyMinority | Target::Victims => some((members - 1) / 2, members, rng),
            Target::AnyMajority => some(members / 2 + 1, members, rng),
            settled => vec![settled.clone()],
        }
    }
}

/// So many members, each as likely as the others.
fn some(number: usize, members: usize, rng: &mut Rng) -> Vec<Target> {
    let mut all: Vec<usize> = (1..=members).collect();
    let mut some: Vec<usize> = (0..number)
        .map(|_| all.swap_remove(rng.index(all.len())))
        .collect();
    some.sort_unstable();
    some.into_iter().map(Target::Member).collect()
}

impl Setting for Target {
    fn kind() -> String {
        "member rule".to_owned()
    }

    fn read(value: &Value<'_>, _: Option<Limits>) -> Result<Target, Problem> {
        let wanted = || value.problem("a member rule, such as \"leader\", belongs here");
        let text = value.text().ok_or_else(wanted)?;
        let numbered = |prefix: &str| {
            let number = text.strip_prefix(prefix)?.parse::<usize>().ok();
            number.filter(|number| *number > 0)
        };
        if let Some((_, target)) = RULES.iter().find(|(rule, _)| *rule == text) {
            return Ok(target.clone());
        }
        match (numbered("member:"), numbered("follower:")) {
            (Some(number), _) => Ok(Target::Member(number)),
            (_, Some(number)) => Ok(Target::Follower(number)),
            (None, None) => {
                let rules = RULES.iter().map(|(rule, _)| *rule);
                let rules: Vec<&str> = rules.chain(["member:N", "follower:N"]).collect();
                let hint = nearest(text, rules.iter().copied());
                let rules = rules.join(", ");
                Err(value.problem(format!("`{text}` names no member; there are {rules}{hint}")))
            }
        }
    }

    fn write(&self) -> Written {
        Written::Value(format!("\"{self}\""))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Member(number) => write!(f, "member:{number}"),
            Target::Follower(number) => write!(f, "follower:{number}"),
            rule => {
                let known = RULES.iter().find(|(_, known)| known == rule);
                f.write_str(known.expect("every rule has a word").0)
            }
        }
    }
}

/// Members that something happens to: a rule, or a list of rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Targets(Vec<Target>);

impl Targets {
    pub fn one(target: Target) -> Targets {
        Targets(vec![target])
    }

    /// The rules, as the plan has them.
    pub fn rules(&self) -> &[Target] {
        &self.0
    }

    /// The members (counted from 0), given who leads, each once, in the order of the rules.
    pub fn members(&self, members: usize, leader: Option<usize>) -> Vec<usize> {
        let mut named = Vec::new();
        for target in &self.0 {
            for member in target.members(members, leader) {
                if !named.contains(&member) {
                    named.push(member);
                }
            }
        }
        named
    }

    fn read_list(value: &Value<'_>) -> Result<Targets, Problem> {
        let rules = match value.elements() {
            None => vec![Target::read(value, None)?],
            Some(rules) => rules
                .iter()
                .map(|rule| Target::read(rule, None))
                .collect::<Result<_, _>>()?,
        };
        Ok(Targets(rules))
    }
}

impl Initial<Target> for Targets {
    fn initial(target: Target) -> Targets {
        Targets::one(target)
    }
}

impl Setting for Targets {
    fn kind() -> String {
        "[member rule](#member-rules), or a list of them".to_owned()
    }

    fn read(value: &Value<'_>, _: Option<Limits>) -> Result<Targets, Problem> {
        let targets = Targets::read_list(value)?;
        if targets.0.contains(&Target::Rest) {
            return Err(value.problem("`rest` has a meaning in the groups of a split only"));
        }
        Ok(targets)
    }

    fn draw(&self, draw: &Draw) -> Targets {
        let rules = self.0.iter().enumerate();
        let rules = rules.flat_map(|(index, rule)| rule.draw(&draw.part(index)));
        Targets(rules.collect())
    }

    fn write(&self) -> Written {
        match &self.0[..] {
            [one] => one.write(),
            several => several.to_vec().write(),
        }
    }
}

/// Groups of members that are parted from each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split(Vec<Targets>);

impl Split {
    pub fn of(groups: Vec<Vec<Target>>) -> Split {
        Split(groups.into_iter().map(Targets).collect())
    }

    /// The members of each group; who is named twice is in the first group that names it.
    pub fn groups(&self, members: usize, leader: Option<usize>) -> Vec<Vec<usize>> {
        let mut taken = Vec::new();
        let mut groups = Vec::new();
        for Targets(rules) in &self.0 {
            let named = rules.iter().filter(|rule| **rule != Target::Rest);
            let mut group: Vec<usize> = Vec::new();
            for member in named.flat_map(|rule| rule.members(members, leader)) {
                if !taken.contains(&member) {
                    taken.push(member);
                    group.push(member);
                }
            }
            groups.push(group);
        }
        let rest = (0..members).filter(|member| !taken.contains(member));
        let place = self
            .0
            .iter()
            .position(|group| group.0.contains(&Target::Rest));
        if let Some(place) = place {
            groups[place].extend(rest);
        }
        groups
    }
}

impl Setting for Split {
    fn kind() -> String {
        "list of lists of [member rules](#member-rules)".to_owned()
    }

    fn read(value: &Value<'_>, _: Option<Limits>) -> Result<Split, Problem> {
        let groups = value
            .elements()
            .ok_or_else(|| value.problem("a list of lists of member rules belongs here"))?;
        let groups: Vec<Targets> = groups
            .iter()
            .map(Targets::read_list)
            .collect::<Result<_, _>>()?;
        let rules = groups.iter().flat_map(|group| &group.0);
        let rests = rules.filter(|rule| **rule == Target::Rest).count();
        if groups.len() < 2 || rests > 1 {
            let message = "a split has at least two groups, and `rest` stands at most once";
            return Err(value.problem(message));
        }
        Ok(Split(groups))
    }

    fn draw(&self, draw: &Draw) -> Split {
        Split(self.0.draw(draw))
    }

    fn write(&self) -> Written {
        let groups = self.0.iter().map(|Targets(rules)| match rules.write() {
            Written::Value(rules) => rules,
            _ => unreachable!("a list is a value"),
        });
        let groups: Vec<String> = groups.collect();
        Written::Value(format!("[{}]", groups.join(", ")))
    }
}
