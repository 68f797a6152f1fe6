//! Rows that another member sent: each must be readable before it replaces a row of this member.

use super::rows::{
    MEMBER_LOG_PREFIX, META_COMPACTED, META_DOWNGRADE, META_MVCC, REMOVED_PREFIX, decode_alarm,
    decode_compacted, decode_current, decode_downgrade, decode_event, decode_is_tombstone,
    decode_lease, decode_lease_key, decode_lease_keys_key, decode_member, decode_member_log,
    decode_member_log_key, decode_meta, decode_removed_key, decode_revision, split_version_key,
};
use crate::auth::{self, META_AUTH, decode_auth_meta};
use crate::v2;
use crate::view::{Fault, Table};
use alloc::format;
use bytes::Bytes;

/// Whether a row of this table can be read. Rows of `Meta` that the core does not know are not
/// judged here: other rooms keep theirs there.
pub fn check_row(table: Table, key: &Bytes, value: &Bytes) -> Result<(), Fault> {
    if key.is_empty() {
        let name = table.name();
        return Err(Fault(format!("a row of table {name} without a key")));
    }
    match table {
        Table::Meta if key.as_ref() == META_MVCC => decode_meta(value).map(drop),
        Table::Meta if key.as_ref() == META_COMPACTED => decode_compacted(value).map(drop),
        Table::Meta if key.as_ref() == META_DOWNGRADE => decode_downgrade(value).map(drop),
        Table::Meta if key.starts_with(REMOVED_PREFIX) => decode_removed_key(key).map(drop),
        Table::Meta if key.starts_with(MEMBER_LOG_PREFIX) => {
            decode_member_log_key(key)?;
            decode_member_log(value).map(drop)
        }
        Table::Meta if key.as_ref() == META_AUTH => decode_auth_meta(value).map(drop),
        Table::Meta => Ok(()),
        Table::Current => decode_current(key.clone(), value).map(drop),
        Table::Events => decode_event(decode_revision(key)?, value).map(drop),
        Table::Versions => {
            split_version_key(key)?;
            decode_is_tombstone(value).map(drop)
        }
        Table::Lease => {
            decode_lease_key(key)?;
            decode_lease(value).map(drop)
        }
        Table::LeaseKeys => decode_lease_keys_key(key).map(drop),
        Table::Member => decode_member(key, value).map(drop),
        Table::Alarm => decode_alarm(key, value).map(drop),
        Table::V2 => v2::check_row(key, value),
        Table::User => auth::check_user_row(key, value),
        Table::Role => auth::check_role_row(key, value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Revision;
    use crate::api::{KeyValue, LeaseId};
    use crate::codec::{PutRows, VERSION_PUT, encode_lease, lease_key, version_key};

    #[test]
    fn rows_are_told_from_garbage() {
        let kv = KeyValue {
            key: Bytes::from_static(b"k"),
            value: Bytes::from_static(b"v"),
            create_revision: 2,
            mod_revision: 2,
            version: 1,
            lease: LeaseId(0),
        };
        let rows = PutRows::new(&kv, 0);
        let revision = Revision { main: 2, sub: 0 };
        let sound = [
            (Table::Current, kv.key.clone(), rows.current.clone()),
            (Table::Events, rows.event_key.clone(), rows.event.clone()),
            (
                Table::Versions,
                version_key(b"k", revision).into(),
                VERSION_PUT,
            ),
            (
                Table::Lease,
                Bytes::copy_from_slice(&lease_key(LeaseId(5))),
                encode_lease(60),
            ),
        ];
        for (table, key, value) in sound {
            assert_eq!(check_row(table, &key, &value), Ok(()), "{}", table.name());
        }
        let garbage = Bytes::from_static(b"\xff garbage");
        for table in Table::ALL {
            assert!(check_row(table, &Bytes::new(), &garbage).is_err());
            let is_bound = !matches!(table, Table::Meta | Table::LeaseKeys);
            assert_eq!(check_row(table, &garbage, &garbage).is_err(), is_bound);
        }
        assert!(check_row(Table::Meta, &Bytes::from_static(META_MVCC), &garbage).is_err());
    }
}
