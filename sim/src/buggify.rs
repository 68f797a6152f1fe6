//! Which of the places that members' code names are on in a run, and when they fire.

use crate::rng::Rng;
use crate::scenario::cluster::Buggify;
use crate::trace;
use detcd_rt::buggify::Place;
use detcd_rt::decide_buggify;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

/// Lets the places of a plan fire from now on. False if none is on.
pub fn start(plan: &Buggify, seed: u64) -> bool {
    let mut decider = Decider::new(plan, seed);
    if decider.places.is_empty() {
        return false;
    }
    let names: Vec<&str> = decider.places.keys().map(|place| place.name()).collect();
    trace::event("buggify.places", format_args!("{}", names.join(" ")));
    decide_buggify(Some(Box::new(move |place| {
        let pause = decider.decide(place)?;
        trace::mark(&format!("buggify.{}", place.name()));
        Some(pause)
    })));
    true
}

/// Nothing fires any more.
pub fn stop() {
    decide_buggify(None);
}

/// Each place draws from a stream of its own, so that one place more shifts no other.
struct Decider {
    places: BTreeMap<Place, Rng>,
    fires: f64,
    pause_us: RangeInclusive<u64>,
}

impl Decider {
    fn new(plan: &Buggify, seed: u64) -> Decider {
        let mut places = BTreeMap::new();
        for place in Place::ALL {
            let mut rng = Rng::of(seed, &format!("buggify/{}", place.name()));
            if rng.chance(plan.places.value()) || plan.with.contains(place) {
                places.insert(*place, rng);
            }
        }
        let pause_ms = plan.pause_ms.range();
        Decider {
            places,
            fires: plan.fires.value(),
            pause_us: pause_ms.start() * 1000..=pause_ms.end() * 1000,
        }
    }

    fn decide(&mut self, place: Place) -> Option<Duration> {
        let rng = self.places.get_mut(&place)?;
        let fires = rng.chance(self.fires);
        fires.then(|| Duration::from_micros(rng.range(self.pause_us.clone())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::units::{Counts, Ratio, Span};

    fn plan(places: f64, with: &[Place]) -> Buggify {
        Buggify {
            places: Ratio::one(places),
            with: with.to_vec(),
            fires: Ratio::one(0.5),
            pause_ms: Counts(Span::of(1, 2)),
        }
    }

    #[test]
    fn a_place_that_is_off_never_fires_and_one_that_is_on_does_now_and_then() {
        let mut decider = Decider::new(&plan(0.0, &[Place::Apply]), 7);
        let fired = (0..1000).filter(|_| decider.decide(Place::Apply).is_some());
        assert!((400..600).contains(&fired.count()));
        assert_eq!(decider.decide(Place::Append), None);
    }

    #[test]
    fn each_seed_has_some_of_the_places() {
        let counts = (0..50).map(|seed| Decider::new(&plan(0.3, &[]), seed).places.len());
        let sum: usize = counts.sum();
        let expected = Place::ALL.len() * 50 * 3 / 10;
        assert!((expected * 3 / 4..expected * 5 / 4).contains(&sum), "{sum}");
    }

    #[test]
    fn names_are_unique_and_told() {
        for place in Place::ALL {
            let same = Place::ALL.iter().filter(|it| it.name() == place.name());
            assert_eq!(same.count(), 1, "{place:?}");
            assert!(place.about().ends_with('.'), "{place:?}");
        }
    }
}
