//! Which part of the simulator works is told to the whole process: this test has one of its own.

use detcd_sim::profile::{Part, Shares, enter};

#[test]
fn parts_nest() {
    let mut shares = Shares::default();
    let outer = enter(Part::Network);
    let inner = enter(Part::Trace);
    shares.sample();
    drop(inner);
    shares.sample();
    shares.sample();
    drop(outer);
    shares.sample();
    let found = [Part::Trace, Part::Network, Part::Nodes, Part::Storage].map(|it| shares.of(it));
    assert_eq!(found, [0.25, 0.5, 0.25, 0.0]);
}
