//! Whatever the domain can say survives the way through the messages and their bytes.

use super::generate as g;
use crate::etcdserverpb as pb;
use crate::watch::{watch_request, watch_response};
use detcd_core::api::*;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use prost::Message;

fn config() -> ProptestConfig {
    ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../proptest-regressions/wire.txt"
        )))),
        ..ProptestConfig::default()
    }
}

fn through_bytes<M: Message + Default>(message: M) -> M {
    M::decode(&message.encode_to_vec()[..]).expect("own bytes decode")
}

/// domain -> message -> bytes -> message -> domain.
macro_rules! round_trips {
    ($($name:ident: $strategy:expr => $message:ty => $domain:ty;)*) => {
        proptest! {
            #![proptest_config(config())]
            $(#[test]
            fn $name(value in $strategy) {
                let message = through_bytes(<$message>::from(value.clone()));
                prop_assert_eq!(<$domain>::try_from(message).expect("own message converts"), value);
            })*
        }
    };
}

round_trips! {
    range_requests: g::range_request() => pb::RangeRequest => RangeRequest;
    range_replies: g::range_reply() => pb::RangeResponse => RangeReply;
    put_requests: g::put_request() => pb::PutRequest => PutRequest;
    put_replies: g::put_reply() => pb::PutResponse => PutReply;
    delete_requests: g::delete_request() => pb::DeleteRangeRequest => DeleteRangeRequest;
    delete_replies: g::delete_reply() => pb::DeleteRangeResponse => DeleteRangeReply;
    txn_requests: g::txn_request() => pb::TxnRequest => TxnRequest;
    txn_replies: g::txn_reply() => pb::TxnResponse => TxnReply;
    leases: g::lease_info() => pb::LeaseTimeToLiveResponse => LeaseInfo;
    members: g::member() => pb::Member => Member;
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn watch_requests(request in g::watch_request()) {
        let message = through_bytes(pb::WatchRequest::from(request.clone()));
        prop_assert_eq!(watch_request(message), Some(request));
    }

    #[test]
    fn watch_responses(response in g::watch_response(), header_revision: i64) {
        let header = pb::ResponseHeader { revision: header_revision, ..Default::default() };
        let message = through_bytes(watch_response(response.clone(), header));
        prop_assert_eq!(WatchResponse::try_from(message), Ok(response));
    }
}
