//! How things are before any fault: a network and clocks that are not ideal. They heal with the
//! faults.

use crate::fault::{ClockChange, World, paths_of};
use crate::net::link::{Effect, LinkFault, Paths};
use crate::scenario::Cluster;
use crate::scenario::cluster::Network;
use crate::scenario::target::{Target, Targets};

/// Sets the conditions of a plan.
pub fn set(plan: &Cluster, world: &mut dyn World) {
    for (mark, effect) in effects(&plan.network) {
        let paths = paths_of(world, &Targets::one(Target::All));
        let fault = LinkFault {
            mark,
            paths: Paths::Pairs(paths),
            effect,
        };
        world.net().change_links(|links| links.begin(fault));
    }
    for member in 0..world.members() {
        let rate = plan.clock.rate.of(member).map_or(1.0, |rate| rate.value());
        if rate != 1.0 {
            let ppm = (rate * 1e6).round() as u64;
            world.change_clock(member, ClockChange::Rate { ppm });
        }
        let milliseconds = plan.clock.wall.of(member).map_or(0, |wall| wall.value());
        if milliseconds != 0 {
            world.change_clock(member, ClockChange::StepWall { milliseconds });
        }
    }
}

fn effects(network: &Network) -> Vec<(&'static str, Effect)> {
    let mut effects = Vec::new();
    if network.jitter_ms.value() > 0 {
        let by_ms = 0..=network.jitter_ms.value();
        let probability = 1.0;
        effects.push(("network.jitter", Effect::Delay { probability, by_ms }));
    }
    if network.reorder.value() > 0.0 {
        let (probability, by_ms) = (network.reorder.value(), network.reorder_by_ms.range());
        effects.push(("network.reorder", Effect::Delay { probability, by_ms }));
    }
    if network.corrupt.value() > 0.0 {
        effects.push(("network.corrupt", Effect::Corrupt(network.corrupt.value())));
    }
    if let Some(bandwidth) = network.bandwidth {
        effects.push(("network.bandwidth", Effect::Bandwidth(bandwidth.value())));
    }
    effects
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::testing::RecordingWorld;
    use crate::scenario::Scenario;

    #[test]
    fn each_member_has_the_clock_that_the_plan_gives_it() {
        let text = "[cluster]\nclock = { rate = { m1 = 1.25 }, wall = { m1 = \"-2s\", m3 = \"3s\" } }\n\
                    [[workload]]\nkind = \"kv\"";
        let scenario = Scenario::parse("test.toml", text).expect("it is right");
        let mut world = RecordingWorld::new(None);
        set(scenario.resolve(1).cluster(), &mut world);
        let expected = [
            (0, ClockChange::Rate { ppm: 1_250_000 }),
            (
                0,
                ClockChange::StepWall {
                    milliseconds: -2000,
                },
            ),
            (2, ClockChange::StepWall { milliseconds: 3000 }),
        ];
        assert_eq!(world.clocks, expected);
    }
}
