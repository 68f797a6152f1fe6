//! The judge and the changes against the naive model.

use crate::generate::{asker, command, config, key_range, txn};
use crate::model::{Model, covers};
use crate::store::Store;
use detcd_core::api::{KeyRange, LeaseId, TxnRequest};
use detcd_core::auth::KeyRanges;
use detcd_core::command::Command;
use detcd_core::error::Error;
use detcd_core::query::{self, QueryError};
use proptest::prelude::*;
use std::collections::BTreeMap;

proptest! {
    #![proptest_config(config(300))]

    #[test]
    fn a_union_covers_what_its_ranges_do(
        granted in prop::collection::vec(key_range(), 0..6),
        asked in prop::collection::vec(key_range(), 1..10),
    ) {
        let union = KeyRanges::union(&granted);
        for range in asked {
            prop_assert_eq!(union.covers(&range), covers(&granted, &range), "{} in {:?}", range, granted);
            let (KeyRange::One(key) | KeyRange::Span { start: key, .. }) = &range;
            prop_assert_eq!(union.contains(key), granted.iter().any(|it| it.contains(key)));
        }
    }

    #[test]
    fn commands_are_judged_when_they_are_applied(
        steps in prop::collection::vec((asker(), command()), 1..60),
    ) {
        let (mut store, mut model) = (Store::new(), Model::default());
        for (asker, command) in steps {
            let principal = asker.principal(model.revision());
            let lease_keys = lease_keys(&store);
            let mut expected = model.judge(&principal, &command, &lease_keys);
            if let (Ok(()), Command::Auth(change)) = (&expected, &command) {
                expected = model.change(change);
            }
            let before = store.tables.clone();
            let applied = store.apply_batch_for(&[(principal, command.clone())]).remove(0);
            match (&applied.outcome.result, &expected) {
                (Err(refused), Err(expected)) => prop_assert_eq!(refused, expected),
                (Ok(_), Ok(())) => {}
                // Of what may be done some cannot be: there is no such lease.
                (Err(error), Ok(())) if !matches!(command, Command::Auth(_)) => {
                    prop_assert!(!is_refusal(error), "{error}");
                }
                (result, expected) => prop_assert!(false, "{result:?}, not {expected:?}"),
            }
            if expected.is_err() {
                prop_assert_eq!(&store.tables, &before);
            }
            let auth = store.machine.auth();
            auth.check();
            prop_assert_eq!((auth.is_enabled(), auth.revision()), (model.enabled, model.revision()));
            prop_assert!(auth.users().eq(model.users.keys()));
            prop_assert!(auth.roles().eq(model.roles.keys()));
        }
    }

    #[test]
    fn reads_are_judged_as_writes_are(
        steps in prop::collection::vec((asker(), command()), 1..40),
        (asker, txn) in (asker(), txn()),
    ) {
        let (mut store, mut model) = (Store::new(), Model::default());
        for (asker, command) in steps {
            let principal = asker.principal(model.revision());
            if let (Ok(()), Command::Auth(change)) = (
                model.judge(&principal, &command, &lease_keys(&store)),
                &command,
            ) {
                let _ = model.change(change);
            }
            store.apply_batch_for(&[(principal, command)]);
        }
        let txn = TxnRequest { failure: Vec::new(), ..txn };
        let principal = asker.principal(model.revision());
        let expected = model.judge(&principal, &Command::Txn(txn.clone()), &lease_keys(&store));
        let auth = store.machine.auth();
        let judged = auth.judge(&principal).txn(&txn, &store.tables);
        prop_assert_eq!(judged, expected.map_err(QueryError::Request));
    }
}

fn is_refusal(error: &Error) -> bool {
    matches!(
        error,
        Error::UserEmpty | Error::PermissionDenied | Error::AuthOldRevision
    )
}

fn lease_keys(store: &Store) -> BTreeMap<LeaseId, Vec<bytes::Bytes>> {
    let leases = (1..3).map(LeaseId);
    leases
        .map(|id| (id, query::lease_keys(&store.tables, id).unwrap()))
        .collect()
}
