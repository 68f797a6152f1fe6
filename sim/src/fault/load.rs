//! Load that comes as a fault: clients beside those of the workloads, at work for as long as the
//! fault lasts. What they do goes into the run's history, and is judged with the rest.

use super::{FaultKind, Ongoing, World};
use crate::scenario::choice::Mix;
use crate::scenario::settings::{Initial, settings};
use crate::scenario::units::{Count, Counts, Ratio, Span, Time, Times};
use crate::workload::kv::{Kv, Operation};

/// What the clients of a fault do.
#[derive(Clone, Debug, PartialEq)]
pub enum ExtraLoad {
    /// They read and write as fast as they are answered. The mark is left once each of them was
    /// answered.
    Burst { kv: Kv, mark: Option<&'static str> },
    /// They compact, again and again.
    Compactions(CompactionStorm),
}

/// Names a fault's clients, for their end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ExtraLoadId(pub u64);

settings! {
    /// Many more clients come at once, and read and write the keys of kv as fast as they are
    /// answered.
    pub struct Burst {
        /// How many more clients.
        clients: Count [1..=1000] = 20,
        /// How many keys they share.
        keys: Count [1..=100_000] = 20,
        /// How long values are.
        value_bytes: Counts [0..=16_777_216] = (8, 64),
        /// What a client waits between two operations.
        pause: Times = ("0ms", "2ms"),
        /// What a client waits for an answer.
        timeout: Time = "3s",
        /// How often each operation is drawn.
        mix: Mix<Operation> = [
            (Operation::Put, 5),
            (Operation::Get, 3),
            (Operation::Txn, 1),
            (Operation::Delete, 1),
            (Operation::Touch, 0),
        ],
    }
}

settings! {
    /// Clients compact the newest revisions away, again and again.
    pub struct CompactionStorm {
        /// How many of them.
        pub clients: Count [1..=100] = 2,
        /// What each waits between two compactions.
        pub every: Times = ("5ms", "60ms"),
        /// How many of the newest revisions are left.
        pub behind: Counts [0..=1_000_000] = (0, 20),
        /// How likely a compaction is answered only when the rows are gone.
        pub physical: Ratio = 0.3,
        /// What a client waits for an answer.
        pub timeout: Time = "3s",
    }
}

impl Burst {
    fn kv(&self) -> Kv {
        Kv {
            clients: self.clients,
            keys: self.keys,
            ops: Count::one(0),
            pause: self.pause,
            timeout: self.timeout,
            value_bytes: self.value_bytes,
            leased: Ratio::one(0.0),
            odd: Ratio::one(0.0),
            mix: self.mix.clone(),
        }
    }
}

impl FaultKind for Burst {
    fn begin(&self, world: &mut dyn World) -> Ongoing {
        let (kv, mark) = (self.kv(), Some("fault.burst"));
        Ongoing::ExtraLoad(world.start_load(ExtraLoad::Burst { kv, mark }))
    }
}

impl FaultKind for CompactionStorm {
    fn begin(&self, world: &mut dyn World) -> Ongoing {
        Ongoing::ExtraLoad(world.start_load(ExtraLoad::Compactions(self.clone())))
    }
}

/// Writers without thoughts of their own, for faults that need the log to grow.
pub(super) fn writers(clients: u64) -> ExtraLoad {
    let kv = Kv {
        clients: Count::one(clients),
        keys: Count::one(10),
        ops: Count::one(0),
        pause: Times(Span::of(0, 10)),
        timeout: Time::ms(3000),
        value_bytes: Counts(Span::of(8, 64)),
        leased: Ratio::one(0.0),
        odd: Ratio::one(0.0),
        mix: Initial::initial([(Operation::Put, 1)]),
    };
    ExtraLoad::Burst { kv, mark: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::end;
    use crate::fault::testing::RecordingWorld;

    #[test]
    fn whoever_presses_stops_when_the_fault_is_over() {
        let mut world = RecordingWorld::new(Some(0));
        let storm = CompactionStorm {
            clients: Count::one(1),
            every: Times(Span::of(1, 1)),
            behind: Counts(Span::one(0)),
            physical: Ratio::one(0.0),
            timeout: Time::ms(1),
        };
        let ongoing = storm.begin(&mut world);
        end(ongoing, &mut world);
        assert_eq!(world.acts, ["press", "relieve 0"]);
    }
}
