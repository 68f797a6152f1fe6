//! Faults of the network. Those that change what becomes of packets are lines of one table: whose
//! links, and what happens there.

use super::{FaultKind, Length, Ongoing, World};
use crate::net::Host;
use crate::net::link::{Effect, FaultId, LinkFault, Paths};
use crate::scenario::choice::choices;
use crate::scenario::settings::settings;
use crate::scenario::target::{Split, Targets};
use crate::scenario::units::{Count, Counts, Ratio};
use crate::trace;
use std::ops::RangeInclusive;

/// A link is one direction between two members.
type Links = Vec<(Host, Host)>;

/// For each kind: the mark of its first effect, the links, and what happens on each of them.
macro_rules! link_faults {
    ($($kind:ident: $mark:literal, |$fault:ident, $world:ident| $links:expr
        => [$($effect:expr),+];)*) => {$(
        impl FaultKind for $kind {
            fn begin(&self, world: &mut dyn World) -> Ongoing {
                let ($fault, $world) = (self, &*world);
                let links = $links;
                Ongoing::Links(vec![$(begin($world, $mark, Paths::Pairs(links.clone()), $effect)),+])
            }
        }
    )*};
}

link_faults! {
    Partition: "fault.partition", |fault, world| fault.links(world) => [Effect::Cut];
    Ring: "fault.ring", |fault, world| fault.links(world) => [Effect::Cut];
    Bridge: "fault.bridge", |fault, world| fault.links(world) => [Effect::Cut];
    Clog: "fault.clog", |fault, world| directed(world, &fault.target, fault.direction)
        => [Effect::Clog];
    Loss: "fault.loss", |fault, world| paths_of(world, &fault.target)
        => [Effect::Loss(fault.probability.value())];
    Delay: "fault.delay", |fault, world| paths_of(world, &fault.target)
        => [late(1.0, fault.by_ms.range())];
    Jitter: "fault.jitter", |fault, world| paths_of(world, &fault.target)
        => [late(1.0, 0..=fault.up_to_ms.value())];
    Reorder: "fault.reorder", |fault, world| paths_of(world, &fault.target)
        => [late(fault.probability.value(), fault.by_ms.range())];
    Duplicate: "fault.duplicate", |fault, world| paths_of(world, &fault.target)
        => [Effect::Duplicate(fault.probability.value())];
    Corrupt: "fault.corrupt", |fault, world| paths_of(world, &fault.target)
        => [Effect::Corrupt(fault.probability.value())];
    Bandwidth: "fault.bandwidth", |fault, world| paths_of(world, &fault.target)
        => [Effect::Bandwidth(fault.bytes_per_s.value())];
    SlowLink: "fault.slow-link", |fault, world| fault.links(world)
        => [late(1.0, fault.by_ms.range()), Effect::Bandwidth(fault.bytes_per_s.value())];
}

settings! {
    /// Groups of members that cannot reach each other, in both directions or in one.
    pub struct Partition {
        /// The groups; `rest` is whoever no other group names.
        split: Split,
        /// Which way is cut.
        direction: Direction = Direction::Both,
    }
}

choices! {
    /// Which way is cut, as the first group sees it.
    pub enum Direction {
        /// Nothing gets from any group into any other.
        Both = "both",
        /// Nothing gets into the first group.
        In = "in",
        /// Nothing gets out of the first group.
        Out = "out",
    }
}

settings! {
    /// The members stand in a ring, and each hears only as many of those next to it as make a
    /// majority with itself: no two hear the same.
    pub struct Ring {
        /// Whom each member hears.
        hears: Neighbours = Neighbours::Next,
    }
}

choices! {
    /// Which way round the ring.
    pub enum Neighbours {
        /// Those after it.
        Next = "next",
        /// Those before it.
        Previous = "previous",
    }
}

settings! {
    /// The members fall into two halves, which only the bridge reaches.
    pub struct Bridge {
        /// Who reaches both halves.
        target: Targets,
    }
}

settings! {
    /// What some members send or are sent stays on the way, and all of it arrives when the fault
    /// ends.
    pub struct Clog {
        /// Whose packets.
        target: Targets,
        /// Which way is clogged.
        direction: Direction = Direction::Both,
    }
}

settings! {
    /// Packets to and from some members are lost more often.
    pub struct Loss {
        /// Whose packets.
        target: Targets,
        /// How likely each is lost.
        probability: Ratio,
    }
}

settings! {
    /// Packets to and from some members take longer.
    pub struct Delay {
        /// Whose packets.
        target: Targets,
        /// How much longer, in milliseconds; drawn for each packet.
        by_ms: Counts [0..=600_000],
    }
}

settings! {
    /// Packets to and from some members take longer, each by another time: calls overtake each
    /// other.
    pub struct Jitter {
        /// Whose packets.
        target: Targets,
        /// The most that a packet is late, in milliseconds.
        up_to_ms: Count [1..=60_000],
    }
}

settings! {
    /// Some packets to and from some members are held back, so that later ones overtake them.
    pub struct Reorder {
        /// Whose packets.
        target: Targets,
        /// How likely a packet is held back.
        probability: Ratio,
        /// For how long, in milliseconds; drawn for each packet.
        by_ms: Counts [1..=60_000] = (5, 200),
    }
}

settings! {
    /// Raft's requests to and from some members arrive twice. Proposals never do: no transport
    /// doubles them, and each would be a proposal of its own.
    pub struct Duplicate {
        /// Whose requests.
        target: Targets,
        /// How likely a request is doubled.
        probability: Ratio,
    }
}

settings! {
    /// Messages between members arrive with a bit flipped, which ends the connection. Clients'
    /// messages have no checksum but TLS's, and stay whole.
    pub struct Corrupt {
        /// Whose messages.
        target: Targets,
        /// How likely a message is damaged.
        probability: Ratio,
    }
}

settings! {
    /// Each direction of each link between some members and the others carries only so much; the
    /// rest waits, and what would wait for more than three seconds is lost.
    pub struct Bandwidth {
        /// Whose links.
        target: Targets,
        /// Bytes a second.
        bytes_per_s: Count [100..=1_000_000_000],
    }
}

settings! {
    /// The links between two groups of members, and no others, are slow and narrow.
    pub struct SlowLink {
        /// The members at one end.
        from: Targets,
        /// The members at the other end.
        to: Targets,
        /// How much longer a packet takes, in milliseconds; drawn for each.
        by_ms: Counts [0..=60_000] = (100, 300),
        /// Bytes a second in each direction.
        bytes_per_s: Count [100..=1_000_000_000] = 50_000,
    }
}

settings! {
    /// Clients are cut off from some members, which reach each other as before.
    pub struct ClientCut {
        /// From whom.
        target: Targets,
        /// Which way is cut: what comes `in` to the member is requests, what goes `out` answers.
        direction: Direction = Direction::Both,
    }
}

settings! {
    /// All connections of some members, with peers and with clients, are reset at once, and both
    /// ends learn of it.
    pub struct Reset {
        /// Whose connections.
        target: Targets,
    }
}

settings! {
    /// Some members lose what they know of their connections, with peers and with clients; the
    /// other ends hold them for open until they send, or until nothing came for too long.
    pub struct HalfOpen {
        /// Who forgets.
        target: Targets,
    }
}

impl Partition {
    fn links(&self, world: &dyn World) -> Links {
        let groups = self.split.groups(world.members(), world.leader());
        let mut links = Links::new();
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
                    links.extend(pairs.map(|(from, to)| (world.host(*from), world.host(*to))));
                }
            }
        }
        links
    }
}

impl Ring {
    fn links(&self, world: &dyn World) -> Links {
        let members = world.members();
        let mut links = Links::new();
        for to in 0..members {
            for ahead in members / 2 + 1..members {
                let from = match self.hears {
                    Neighbours::Next => (to + ahead) % members,
                    Neighbours::Previous => (to + members - ahead) % members,
                };
                links.push((world.host(from), world.host(to)));
            }
        }
        links
    }
}

impl Bridge {
    fn links(&self, world: &dyn World) -> Links {
        let bridge = world.named(&self.target);
        let mut others: Vec<usize> = (0..world.members()).collect();
        others.retain(|member| !bridge.contains(member));
        let (one, other) = others.split_at(others.len() / 2);
        between(world, one, other)
    }
}

impl SlowLink {
    fn links(&self, world: &dyn World) -> Links {
        between(world, &world.named(&self.from), &world.named(&self.to))
    }
}

impl FaultKind for ClientCut {
    fn begin(&self, world: &mut dyn World) -> Ongoing {
        let members = world.named(&self.target);
        let clients = Paths::Clients {
            members: members.iter().map(|member| world.host(*member)).collect(),
            requests: self.direction != Direction::Out,
            answers: self.direction != Direction::In,
        };
        Ongoing::Links(vec![begin(world, "fault.client-cut", clients, Effect::Cut)])
    }
}

impl FaultKind for Reset {
    fn length(&self) -> Length {
        Length::Instant
    }

    fn begin(&self, world: &mut dyn World) -> Ongoing {
        let mut broken = 0;
        for member in world.named(&self.target) {
            let host = world.host(member);
            let others = (0..world.members()).filter(|other| *other != member);
            let peers = others.map(|other| (host, world.host(other))).collect();
            let clients = Paths::Clients {
                members: vec![host],
                requests: true,
                answers: true,
            };
            broken += world.net().reset(&Paths::Pairs(peers)) + world.net().reset(&clients);
        }
        if broken > 0 {
            trace::mark("fault.reset");
        }
        Ongoing::Nothing
    }
}

impl FaultKind for HalfOpen {
    fn length(&self) -> Length {
        Length::Instant
    }

    fn begin(&self, world: &mut dyn World) -> Ongoing {
        let members = world.named(&self.target);
        let forgotten: usize = members
            .iter()
            .map(|member| world.net().forget(world.host(*member)))
            .sum();
        if forgotten > 0 {
            trace::mark("fault.half-open");
        }
        Ongoing::Nothing
    }
}

/// Begins a fault whose first effect leaves `mark`.
fn begin(world: &dyn World, mark: &'static str, paths: Paths, effect: Effect) -> FaultId {
    let fault = LinkFault {
        mark,
        paths,
        effect,
    };
    world.net().change_links(|links| links.begin(fault))
}

fn late(probability: f64, by_ms: RangeInclusive<u64>) -> Effect {
    Effect::Delay { probability, by_ms }
}

/// Both directions of every link between two groups of members.
fn between(world: &dyn World, ones: &[usize], others: &[usize]) -> Links {
    let mut links = Links::new();
    for one in ones {
        for other in others.iter().filter(|other| *other != one) {
            let (one, other) = (world.host(*one), world.host(*other));
            links.extend([(one, other), (other, one)]);
        }
    }
    links
}

/// Every direction of every link between these members and the others.
pub(crate) fn paths_of(world: &dyn World, target: &Targets) -> Links {
    let named = world.named(target);
    let pairs = (0..world.members()).flat_map(|a| (0..world.members()).map(move |b| (a, b)));
    pairs
        .filter(|(a, b)| a != b && (named.contains(a) || named.contains(b)))
        .map(|(a, b)| (world.host(a), world.host(b)))
        .collect()
}

/// The links between these members and the others, in the directions that are wanted.
fn directed(world: &dyn World, target: &Targets, direction: Direction) -> Links {
    let named = world.named(target).into_iter();
    let hosts: Vec<Host> = named.map(|member| world.host(member)).collect();
    let mut links = paths_of(world, target);
    links.retain(|(from, to)| match direction {
        Direction::Both => true,
        Direction::In => hosts.contains(to),
        Direction::Out => hosts.contains(from),
    });
    links
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::end;
    use crate::fault::testing::RecordingWorld;
    use crate::scenario::target::Target;

    #[test]
    fn the_leader_is_a_bridge_between_the_others() {
        let mut world = RecordingWorld::new(Some(1));
        let target = Targets::one(Target::Leader);
        Bridge { target }.begin(&mut world);
        assert_eq!(world.cuts(), [(0, 2), (2, 0)]);
    }

    fn cuts(direction: Direction) -> Vec<(usize, usize)> {
        let split = Split::of(vec![vec![Target::Leader], vec![Target::Rest]]);
        let mut world = RecordingWorld::new(Some(1));
        let ongoing = Partition { split, direction }.begin(&mut world);
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

    #[test]
    fn of_three_each_hears_one_other() {
        for (hears, expected) in [
            (Neighbours::Next, [(0, 1), (1, 2), (2, 0)]),
            (Neighbours::Previous, [(0, 2), (1, 0), (2, 1)]),
        ] {
            let mut world = RecordingWorld::new(None);
            Ring { hears }.begin(&mut world);
            assert_eq!(world.cuts(), expected);
        }
    }
}
