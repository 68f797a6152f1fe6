//! What a lease has left, in its two forms.

use crate::etcdserverpb as pb;
use detcd_core::api::{LeaseId, LeaseInfo};

impl From<LeaseInfo> for pb::LeaseTimeToLiveResponse {
    fn from(info: LeaseInfo) -> Self {
        pb::LeaseTimeToLiveResponse {
            header: None,
            id: info.id.0,
            ttl: info.ttl,
            granted_ttl: info.granted_ttl,
            keys: info.keys,
        }
    }
}

impl From<pb::LeaseTimeToLiveResponse> for LeaseInfo {
    fn from(response: pb::LeaseTimeToLiveResponse) -> Self {
        LeaseInfo {
            id: LeaseId(response.id),
            ttl: response.ttl,
            granted_ttl: response.granted_ttl,
            keys: response.keys,
        }
    }
}

impl From<LeaseInfo> for pb::LeaseKeepAliveResponse {
    /// A keepalive of an unknown lease answers zero, where time-to-live answers -1.
    fn from(info: LeaseInfo) -> Self {
        pb::LeaseKeepAliveResponse {
            header: None,
            id: info.id.0,
            ttl: info.ttl.max(0),
        }
    }
}

impl From<LeaseId> for pb::LeaseStatus {
    fn from(id: LeaseId) -> Self {
        pb::LeaseStatus { id: id.0 }
    }
}
