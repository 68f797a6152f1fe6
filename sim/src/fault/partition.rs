//! Groups of members that cannot reach each other, in both directions or in one.

use super::{Ongoing, World, begin_on_links};
use crate::net::Host;
use crate::net::link::Effect;
use crate::rng::Rng;
use crate::scenario::reader::{Problem, Reader};
use crate::scenario::target::Target;
use crate::scenario::word_list;
use crate::trace;
use std::fmt;

#[derive(Clone, Debug)]
pub struct Partition {
    groups: Vec<Vec<Target>>,
    direction: Direction,
}

/// Which way is cut, as the first group sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Both,
    /// Nothing gets into the first group.
    In,
    /// Nothing gets out of the first group.
    Out,
}

const DIRECTIONS: [(&str, Direction); 3] = [
    ("both", Direction::Both),
    ("in", Direction::In),
    ("out", Direction::Out),
];

impl Partition {
    pub fn read(reader: &Reader<'_>) -> Result<Partition, Problem> {
        let groups = reader.text_lists("split")?;
        let groups: Vec<Vec<Target>> = groups
            .into_iter()
            .map(|group| {
                let rules = group
                    .into_iter()
                    .map(|rule| Target::parse(reader, "split", rule));
                rules.collect::<Result<_, _>>()
            })
            .collect::<Result<_, _>>()?;
        let rests = groups
            .iter()
            .flatten()
            .filter(|rule| **rule == Target::Rest)
            .count();
        if groups.len() < 2 || rests > 1 {
            let message = "a split has at least two groups, and `rest` stands at most once";
            return Err(reader.problem_at("split", message));
        }
        let direction = reader.choice("direction", &DIRECTIONS, Direction::Both)?;
        Ok(Partition { groups, direction })
    }

    pub fn draw(&self, members: usize, rng: &mut Rng) -> Partition {
        let draw = |rule: &Target, rng: &mut Rng| rule.draw(members, rng);
        let groups = self.groups.iter();
        Partition {
            groups: groups
                .map(|group| group.iter().map(|rule| draw(rule, rng)).collect())
                .collect(),
            direction: self.direction,
        }
    }

    pub fn begin(&self, world: &mut dyn World) -> Ongoing {
        let groups = self.members(world);
        trace::event(
            "fault.partition",
            format_args!("{groups:?} {:?}", self.direction),
        );
        let mut paths: Vec<(Host, Host)> = Vec::new();
        for (a, group) in groups.iter().enumerate() {
            for (b, other) in groups.iter().enumerate() {
                let cut = match self.direction {
                    Direction::Both => a != b,
                    Direction::In => a != b && b == 0,
                    Direction::Out => a != b && a == 0,
                };
                if cut {
                    let pairs = group
                        .iter()
                        .flat_map(|from| other.iter().map(move |to| (from, to)));
                    paths.extend(pairs.map(|(from, to)| (world.host(*from), world.host(*to))));
                }
            }
        }
        begin_on_links(world, paths, Effect::Cut)
    }

    /// The members of each group; who is named twice is in the first group that names it.
    fn members(&self, world: &dyn World) -> Vec<Vec<usize>> {
        let mut taken = Vec::new();
        let mut groups = Vec::new();
        for group in &self.groups {
            let mut members = Vec::new();
            for rule in group.iter().filter(|rule| **rule != Target::Rest) {
                for member in rule.members(world.members(), world.leader()) {
                    if !taken.contains(&member) {
                        taken.push(member);
                        members.push(member);
                    }
                }
            }
            groups.push(members);
        }
        let rest: Vec<usize> = (0..world.members())
            .filter(|m| !taken.contains(m))
            .collect();
        let place = self
            .groups
            .iter()
            .position(|group| group.contains(&Target::Rest));
        if let Some(place) = place {
            groups[place].extend(rest);
        }
        groups
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let groups: Vec<String> = self.groups.iter().map(|group| word_list(group)).collect();
        let directions = DIRECTIONS
            .iter()
            .find(|(_, direction)| *direction == self.direction);
        let (direction, _) = directions.expect("every direction has a name");
        writeln!(f, "kind = \"partition\"\nsplit = [{}]", groups.join(", "))?;
        writeln!(f, "direction = \"{direction}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::end;
    use crate::fault::testing::Paper;

    fn cuts(direction: Direction) -> Vec<(usize, usize)> {
        let groups = vec![vec![Target::Leader], vec![Target::Rest]];
        let mut world = Paper::new(Some(1));
        let ongoing = Partition { groups, direction }.begin(&mut world);
        let cuts = world.cuts();
        end(ongoing, &mut world);
        assert!(world.cuts().is_empty());
        cuts
    }

    #[test]
    fn cuts_the_ways_between_the_groups_and_heals_them() {
        assert_eq!(cuts(Direction::Both), [(0, 1), (1, 0), (1, 2), (2, 1)]);
        assert_eq!(cuts(Direction::In), [(0, 1), (2, 1)]);
        assert_eq!(cuts(Direction::Out), [(1, 0), (1, 2)]);
    }
}
