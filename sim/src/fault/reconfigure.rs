//! Members that are started again with other settings than their cluster's.

use super::members::Order;
use super::{FaultKind, Ongoing, World};
use crate::disk::Loss;
use crate::run_facts::RefusalReasons;
use crate::scenario::settings::settings;
use crate::scenario::target::Targets;
use crate::scenario::units::Count;
use detcd_driver::MemberOptions;

settings! {
    /// Members are killed and started again with other settings, and with the cluster's when the
    /// fault is over. Alarms that a small quota left behind are disarmed then, by an operator.
    pub struct Reconfigure {
        /// Whose settings.
        target: Targets,
        /// The size of the store at which the alarm NOSPACE is raised, in bytes.
        quota_bytes: Option<Count> [1..=1_000_000_000],
        /// Entries between two snapshots.
        snapshot_entries: Option<Count> [1..=10_000_000],
        /// Entries that are kept in the log behind a snapshot.
        catch_up_entries: Option<Count> [0..=10_000_000],
        /// The largest request that is taken, in bytes.
        max_request_bytes: Option<Count> [1_024..=16_777_216],
        /// The most operations that a transaction may have.
        max_txn_ops: Option<Count> [1..=10_000],
        /// Rows of a snapshot are sent in chunks of so many bytes.
        snapshot_chunk_bytes: Option<Count> [1..=16_777_216],
    }
}

/// What is otherwise than the cluster's settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    pub quota_bytes: Option<u64>,
    pub snapshot_entries: Option<u64>,
    pub catch_up_entries: Option<u64>,
    pub max_request_bytes: Option<u64>,
    pub max_txn_ops: Option<u64>,
    pub snapshot_chunk_bytes: Option<u64>,
}

impl Changes {
    /// Whether anything is otherwise.
    pub fn is_empty(&self) -> bool {
        *self == Changes::default()
    }

    /// The options of a member that is started with these changes.
    pub fn apply(&self, options: &mut MemberOptions) {
        let size = |bytes: u64| usize::try_from(bytes).expect("settings are small");
        options.quota_bytes = self.quota_bytes.or(options.quota_bytes);
        let set = |option: &mut u64, change: Option<u64>| *option = change.unwrap_or(*option);
        set(&mut options.snapshot_count, self.snapshot_entries);
        set(&mut options.catch_up_entries, self.catch_up_entries);
        let set = |option: &mut usize, change: Option<u64>| {
            *option = change.map_or(*option, size);
        };
        let limits = &mut options.limits;
        set(&mut limits.request_bytes_max, self.max_request_bytes);
        set(&mut limits.txn_ops_max, self.max_txn_ops);
        set(&mut options.snapshot_chunk_bytes, self.snapshot_chunk_bytes);
    }
}

impl Reconfigure {
    fn changes(&self) -> Changes {
        let value = |setting: Option<Count>| setting.map(Count::value);
        Changes {
            quota_bytes: value(self.quota_bytes),
            snapshot_entries: value(self.snapshot_entries),
            catch_up_entries: value(self.catch_up_entries),
            max_request_bytes: value(self.max_request_bytes),
            max_txn_ops: value(self.max_txn_ops),
            snapshot_chunk_bytes: value(self.snapshot_chunk_bytes),
        }
    }
}

impl FaultKind for Reconfigure {
    fn begin(&self, world: &mut dyn World) -> Ongoing {
        let members = world.named(&self.target);
        for member in &members {
            world.configure(*member, self.changes());
            restart(*member, world);
        }
        Ongoing::Reconfigured {
            members,
            alarms: self.quota_bytes.is_some(),
        }
    }

    fn request_bytes(&self) -> Option<u64> {
        Some(self.max_request_bytes?.value())
    }

    fn add_refusal_reasons(&self, refusal_reasons: &mut RefusalReasons) {
        refusal_reasons.quota |= self.quota_bytes.is_some();
        let txn_ops = self
            .max_txn_ops
            .map_or(refusal_reasons.txn_ops, Count::value);
        refusal_reasons.txn_ops = refusal_reasons.txn_ops.min(txn_ops);
    }
}

/// The members have the cluster's settings again.
pub(super) fn end(members: Vec<usize>, alarms: bool, world: &mut dyn World) {
    for member in members {
        world.configure(member, Changes::default());
        restart(member, world);
    }
    if alarms {
        world.operate(Order::Disarm);
    }
}

/// Settings are read at the start of a process. Who is down stays so for whoever took it down.
pub(super) fn restart(member: usize, world: &mut dyn World) {
    if world.crash(member, Loss::KeepAll) {
        world.start(member);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault;
    use crate::fault::testing::RecordingWorld;
    use crate::scenario::target::Target;

    #[test]
    fn settings_are_given_back_and_alarms_disarmed() {
        let mut world = RecordingWorld::new(Some(0));
        let reconfigure = Reconfigure {
            target: Targets::one(Target::Leader),
            quota_bytes: Some(Count::one(5000)),
            snapshot_entries: None,
            catch_up_entries: None,
            max_request_bytes: None,
            max_txn_ops: None,
            snapshot_chunk_bytes: None,
        };
        let ongoing = reconfigure.begin(&mut world);
        assert_eq!(world.acts, ["configure 0"]);
        fault::end(ongoing, &mut world);
        assert_eq!(world.acts, ["configure 0", "configure 0 back"]);
        assert_eq!(world.orders, [Order::Disarm]);
        assert!(world.down.is_empty());
    }
}
