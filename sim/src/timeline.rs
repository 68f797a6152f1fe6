//! When each fault of a plan begins, goes on and ends.

use crate::fault::{self, Fault, Ongoing, World};
use crate::record;
use crate::scenario::settings::inline;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub struct Timeline<'a> {
    faults: &'a [Fault],
    due: BTreeSet<(Duration, Step, usize)>,
    ongoing: BTreeMap<usize, Ongoing>,
}

/// What happens at the same time happens in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    End,
    Begin,
    GoOn,
}

impl<'a> Timeline<'a> {
    pub fn new(faults: &'a [Fault]) -> Timeline<'a> {
        let begin = |(index, fault): (usize, &Fault)| (fault.at.duration(), Step::Begin, index);
        Timeline {
            faults,
            due: faults.iter().enumerate().map(begin).collect(),
            ongoing: BTreeMap::new(),
        }
    }

    /// When something is to happen next; `None` once all is over.
    pub fn next(&self) -> Option<Duration> {
        self.due.first().map(|(at, ..)| *at)
    }

    /// Lets everything happen that is due.
    pub fn advance(&mut self, now: Duration, world: &mut dyn World) {
        while let Some((at, step, index)) = self.due.first().copied()
            && at <= now
        {
            self.due.pop_first();
            let fault = &self.faults[index];
            let name = fault.kind.name();
            match step {
                Step::Begin => {
                    let settings = fault.kind.inner().entries();
                    let settings = inline(&settings);
                    record!("begins", fault = index, name = name, settings = %settings);
                    self.ongoing.insert(index, fault.begin(world));
                    self.due
                        .insert((at + fault.lasts.duration(), Step::End, index));
                    self.go_on(at, index, world);
                }
                Step::GoOn => self.go_on(at, index, world),
                Step::End => {
                    if let Some(over) = self.ongoing.remove(&index) {
                        record!("ends", fault = index, name = name);
                        fault::end(over, world);
                    }
                }
            }
        }
    }

    fn go_on(&mut self, now: Duration, index: usize, world: &mut dyn World) {
        if let Some(ongoing) = self.ongoing.get_mut(&index)
            && let Some(pause) = self.faults[index].kind.inner().go_on(ongoing, world)
        {
            self.due.insert((now + pause, Step::GoOn, index));
        }
    }
}
