//! Alarms: what is wrong with a member so badly that the whole cluster holds back until an
//! operator says otherwise. They are rows like all else: raised and disarmed through the log, so
//! that every member refuses the same commands at the same index.

use crate::api::{Alarm, AlarmKind, Op, TxnRequest};
use crate::codec::{alarm_key, decode_alarm};
use crate::command::Command;
use crate::error::Error;
use crate::view::{Direction, Fault, Table, View};
use alloc::vec::Vec;
use core::ops::Bound;

/// Which kinds of alarm are raised, by whatever member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Alarms {
    no_space: bool,
    corrupt: bool,
}

impl Alarms {
    pub fn load(view: &dyn View) -> Result<Alarms, Fault> {
        let mut alarms = Alarms::default();
        for alarm in raised(view)? {
            match alarm.kind {
                AlarmKind::NoSpace => alarms.no_space = true,
                AlarmKind::Corrupt => alarms.corrupt = true,
            }
        }
        Ok(alarms)
    }

    /// Refuses what may not be applied while alarms are raised: nothing that grows the store when
    /// a member has no space, no change of keys or leases at all when a member's data is damaged.
    /// (etcd 3.5 lets everything pass again once the last alarm of *one* kind is disarmed; here
    /// each kind holds until it is disarmed itself.)
    pub fn admit(self, command: &Command) -> Result<(), Error> {
        match command {
            Command::Put(_)
            | Command::DeleteRange(_)
            | Command::Txn(_)
            | Command::Compact(_)
            | Command::LeaseGrant { .. }
            | Command::LeaseRevoke { .. }
            | Command::V2(_)
            | Command::V2Expire { .. }
            | Command::V2Auth(_)
                if self.corrupt =>
            {
                Err(Error::Corrupt)
            }
            _ if self.no_space && grows(command) => Err(Error::NoSpace),
            _ => Ok(()),
        }
    }
}

/// The alarms that are raised, by member and kind.
pub fn raised(view: &dyn View) -> Result<Vec<Alarm>, Fault> {
    let all = (Bound::Unbounded, Bound::Unbounded);
    view.scan(Table::Alarm, all, Direction::Forward)
        .map(|row| {
            let (key, row) = row?;
            decode_alarm(&key, &row)
        })
        .collect()
}

/// Whether `alarm` is raised.
pub fn is_raised(view: &dyn View, alarm: Alarm) -> Result<bool, Fault> {
    Ok(view.get(Table::Alarm, &alarm_key(alarm))?.is_some())
}

/// Whether a command may add to the store. A transaction may if any of its branches puts: which
/// of them runs is known only at apply, and a refusal must not depend on it.
pub fn grows(command: &Command) -> bool {
    match command {
        Command::Put(_) | Command::LeaseGrant { .. } => true,
        Command::Txn(txn) => has_put(txn),
        Command::V2(write) => write.operation.grows(),
        Command::V2Auth(write) => write.change.grows(),
        Command::DeleteRange(_)
        | Command::Compact(_)
        | Command::LeaseRevoke { .. }
        | Command::MemberPublish { .. }
        | Command::AlarmRaise(_)
        | Command::AlarmDisarm(_)
        | Command::Downgrade(_)
        | Command::V2Expire { .. }
        | Command::Auth(_) => false,
    }
}

fn has_put(txn: &TxnRequest) -> bool {
    txn.success.iter().chain(&txn.failure).any(|op| match op {
        Op::Put(_) => true,
        Op::Range(_) | Op::DeleteRange(_) => false,
        Op::Txn(txn) => has_put(txn),
    })
}
