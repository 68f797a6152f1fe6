//! Leases.

use crate::{Call, CallError, response_header};
use detcd_core::api::{LeaseId, LeaseInfo};
use detcd_core::error::Error;
use detcd_wire::etcdserverpb as pb;
use futures::stream::{Stream, StreamExt as _};
use std::sync::Arc;

/// Keepalives of one stream that may be under way at once. Replies keep the order of requests.
const KEEP_ALIVES_AHEAD: usize = 64;

impl Call {
    pub(crate) async fn lease_grant(
        self,
        request: pb::LeaseGrantRequest,
    ) -> Result<pb::LeaseGrantResponse, Error> {
        let id = LeaseId(request.id);
        let (header, id, ttl) = self.handle().lease_grant(id, request.ttl).await?;
        Ok(pb::LeaseGrantResponse {
            header: response_header(header),
            id: id.0,
            ttl,
            error: String::new(),
        })
    }

    pub(crate) async fn lease_revoke(
        self,
        request: pb::LeaseRevokeRequest,
    ) -> Result<pb::LeaseRevokeResponse, Error> {
        let header = self.handle().lease_revoke(LeaseId(request.id)).await?;
        Ok(pb::LeaseRevokeResponse {
            header: response_header(header),
        })
    }

    pub(crate) fn lease_keep_alive(
        self,
        requests: impl Stream<Item = Result<pb::LeaseKeepAliveRequest, CallError>> + Send + 'static,
    ) -> impl Stream<Item = Result<pb::LeaseKeepAliveResponse, CallError>> + Send {
        let call = Arc::new(self);
        requests
            .map(move |request| keep_alive(call.clone(), request))
            .buffered(KEEP_ALIVES_AHEAD)
    }

    pub(crate) async fn time_to_live(
        self,
        request: pb::LeaseTimeToLiveRequest,
    ) -> Result<pb::LeaseTimeToLiveResponse, Error> {
        let id = LeaseId(request.id);
        let (header, info) = self.handle().time_to_live(id, request.keys).await?;
        Ok(pb::LeaseTimeToLiveResponse {
            header: response_header(header),
            ..info.into()
        })
    }

    pub(crate) async fn leases(
        self,
        _: pb::LeaseLeasesRequest,
    ) -> Result<pb::LeaseLeasesResponse, Error> {
        let (header, leases) = self.handle().leases().await?;
        Ok(pb::LeaseLeasesResponse {
            header: response_header(header),
            leases: leases.into_iter().map(Into::into).collect(),
        })
    }
}

async fn keep_alive(
    call: Arc<Call>,
    request: Result<pb::LeaseKeepAliveRequest, CallError>,
) -> Result<pb::LeaseKeepAliveResponse, CallError> {
    let handle = call.handle();
    let lease = LeaseId(request?.id);
    let (header, info) = match handle.keep_alive(lease).await {
        // To a client, a lease that is gone is one with nothing left.
        Err(Error::LeaseNotFound) => {
            let gone = LeaseInfo {
                id: lease,
                ..LeaseInfo::default()
            };
            (handle.header_now(), gone)
        }
        kept => kept?,
    };
    Ok(pb::LeaseKeepAliveResponse {
        header: response_header(header),
        ..info.into()
    })
}
