//! The quota of stored bytes: when a member's store is full, and how much a command may add to it.

use crate::api::{Op, TxnRequest};
use crate::command::Command;

/// What a put takes beyond its key and value (etcd: kvOverhead).
const PUT_OVERHEAD_BYTES: u64 = 256;
/// What a lease takes (etcd: leaseOverhead).
const LEASE_BYTES: u64 = 64;

/// Whether a store of `size` bytes has room for `growth` more. What adds nothing always has room:
/// deleting is how an operator makes some.
pub fn has_room(quota: u64, size: u64, growth: u64) -> bool {
    growth == 0 || size.saturating_add(growth) < quota
}

/// Whether so little room is left that what is not needed should be given back.
pub fn is_scarce(quota: u64, size: u64) -> bool {
    size >= quota / 8 * 7
}

/// The most that `command` may add to the store, in bytes, and zero only for what adds nothing.
/// Of a transaction's branches the larger one counts. A version of a key is stored twice, for the
/// latest reads and for history.
pub fn growth(command: &Command) -> u64 {
    match command {
        Command::Put(put) => put_growth(put.key.len(), put.value.len()),
        Command::Txn(txn) => txn_growth(txn),
        Command::LeaseGrant { .. } => LEASE_BYTES,
        Command::V2(write) if write.operation.grows() => {
            put_growth(write.path.len(), write.value.len())
        }
        Command::DeleteRange(_)
        | Command::Compact(_)
        | Command::LeaseRevoke { .. }
        | Command::MemberPublish { .. }
        | Command::AlarmRaise(_)
        | Command::AlarmDisarm(_)
        | Command::Downgrade(_)
        | Command::V2(_)
        | Command::V2Expire { .. }
        | Command::V2Auth(_)
        | Command::Auth(_) => 0,
    }
}

fn put_growth(key_bytes: usize, value_bytes: usize) -> u64 {
    2 * (key_bytes as u64 + value_bytes as u64) + PUT_OVERHEAD_BYTES
}

fn txn_growth(txn: &TxnRequest) -> u64 {
    let branch = |ops: &[Op]| -> u64 {
        ops.iter()
            .map(|op| match op {
                Op::Put(put) => put_growth(put.key.len(), put.value.len()),
                Op::Range(_) | Op::DeleteRange(_) => 0,
                Op::Txn(txn) => txn_growth(txn),
            })
            .sum()
    };
    branch(&txn.success).max(branch(&txn.failure))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alarm::grows;
    use crate::api::{DeleteRangeRequest, KeyRange, LeaseId, PutRequest};
    use alloc::vec;
    use alloc::vec::Vec;
    use bytes::Bytes;

    fn put(value: usize) -> Op {
        Op::Put(PutRequest {
            key: Bytes::from_static(b"key"),
            value: Bytes::from(vec![0; value]),
            ..PutRequest::default()
        })
    }

    fn txn(success: Vec<Op>, failure: Vec<Op>) -> TxnRequest {
        TxnRequest {
            success,
            failure,
            ..TxnRequest::default()
        }
    }

    #[test]
    fn the_larger_branch_counts_however_deep() {
        let nested = txn(vec![put(10), put(20)], vec![put(5)]);
        let outer = txn(vec![Op::Txn(nested)], vec![put(1)]);
        let bytes = 2 * (3 + 10) + 2 * (3 + 20) + 2 * PUT_OVERHEAD_BYTES;
        assert_eq!(growth(&Command::Txn(outer)), bytes);
    }

    #[test]
    fn what_grows_has_a_growth_and_nothing_else_has() {
        let delete = DeleteRangeRequest {
            range: KeyRange::One(Bytes::from_static(b"k")),
            prev_kv: false,
        };
        let lease = LeaseId(7);
        let commands = [
            Command::Txn(txn(vec![put(0)], vec![])),
            Command::Txn(txn(vec![], vec![Op::DeleteRange(delete.clone())])),
            Command::LeaseGrant { id: lease, ttl: 1 },
            Command::LeaseRevoke { id: lease },
            Command::DeleteRange(delete),
        ];
        for command in commands {
            assert_eq!(growth(&command) > 0, grows(&command), "{command:?}");
        }
    }

    #[test]
    fn a_full_store_has_room_for_what_adds_nothing() {
        assert!(has_room(100, 89, 10));
        assert!(!has_room(100, 90, 10));
        assert!(has_room(100, 500, 0));
        assert!(!has_room(u64::MAX, u64::MAX, u64::MAX));
    }
}
