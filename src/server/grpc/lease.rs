//! Leases.

use super::{fail, leader_lost, ok, pb_header, stream_error, wants_leader};
use crate::server::Context;
use detcd_core::api::{LeaseId, LeaseInfo};
use detcd_core::error::Error;
use detcd_wire::etcdserverpb as pb;
use detcd_wire::header::Headed as _;
use futures::future;
use futures::stream::{self, BoxStream, StreamExt as _};
use std::sync::Arc;
use tonic::{Request, Response, Status, Streaming};

const KEEP_ALIVE: &str = "/etcdserverpb.Lease/LeaseKeepAlive";

/// Keepalives of one stream that may be under way at once. Answers keep the order of requests.
const KEEP_ALIVES_AHEAD: usize = 64;

pub(super) struct Leases {
    context: Arc<Context>,
}

impl Leases {
    pub fn new(context: Arc<Context>) -> Leases {
        Leases { context }
    }
}

#[tonic::async_trait]
impl pb::lease_server::Lease for Leases {
    type LeaseKeepAliveStream = BoxStream<'static, Result<pb::LeaseKeepAliveResponse, Status>>;

    async fn lease_grant(
        &self,
        request: Request<pb::LeaseGrantRequest>,
    ) -> Result<Response<pb::LeaseGrantResponse>, Status> {
        let request = request.into_inner();
        let granted = self
            .context
            .handle
            .lease_grant(LeaseId(request.id), request.ttl)
            .await;
        let (header, id, ttl) = granted.map_err(|error| fail(&error))?;
        ok(
            header,
            pb::LeaseGrantResponse {
                header: None,
                id: id.0,
                ttl,
                error: String::new(),
            },
        )
    }

    async fn lease_revoke(
        &self,
        request: Request<pb::LeaseRevokeRequest>,
    ) -> Result<Response<pb::LeaseRevokeResponse>, Status> {
        let id = LeaseId(request.into_inner().id);
        let header = self
            .context
            .handle
            .lease_revoke(id)
            .await
            .map_err(|error| fail(&error))?;
        ok(header, pb::LeaseRevokeResponse::default())
    }

    async fn lease_keep_alive(
        &self,
        request: Request<Streaming<pb::LeaseKeepAliveRequest>>,
    ) -> Result<Response<Self::LeaseKeepAliveStream>, Status> {
        let wants_leader = wants_leader(request.metadata().as_ref());
        let context = self.context.clone();
        let watched = self.context.clone();
        let lost = stream::once(async move {
            leader_lost(&watched, wants_leader).await;
            Some(Err(fail(&Error::NoLeader)))
        });
        let answers = request
            .into_inner()
            .map(move |request| keep_alive(context.clone(), request))
            .buffered(KEEP_ALIVES_AHEAD)
            .map(Some);
        // The stream ends with the client's requests, or with the loss of the leader.
        let answers = answers.chain(stream::once(future::ready(None)));
        let answers = stream::select(answers, lost).scan((), |_, answer| future::ready(answer));
        Ok(Response::new(answers.boxed()))
    }

    async fn lease_time_to_live(
        &self,
        request: Request<pb::LeaseTimeToLiveRequest>,
    ) -> Result<Response<pb::LeaseTimeToLiveResponse>, Status> {
        let request = request.into_inner();
        let asked = self
            .context
            .handle
            .time_to_live(LeaseId(request.id), request.keys)
            .await;
        let (header, info) = asked.map_err(|error| fail(&error))?;
        ok(header, info)
    }

    async fn lease_leases(
        &self,
        _request: Request<pb::LeaseLeasesRequest>,
    ) -> Result<Response<pb::LeaseLeasesResponse>, Status> {
        let (header, leases) = self
            .context
            .handle
            .leases()
            .await
            .map_err(|error| fail(&error))?;
        let leases = leases.into_iter().map(Into::into).collect();
        ok(
            header,
            pb::LeaseLeasesResponse {
                header: None,
                leases,
            },
        )
    }
}

async fn keep_alive(
    context: Arc<Context>,
    request: Result<pb::LeaseKeepAliveRequest, Status>,
) -> Result<pb::LeaseKeepAliveResponse, Status> {
    let lease = LeaseId(request.map_err(stream_error)?.id);
    let (header, info) = match context.handle.keep_alive(lease).await {
        Ok(kept) => kept,
        // To a client, a lease that is gone is one with nothing left.
        Err(Error::LeaseNotFound) => (
            context.handle.header_now(),
            LeaseInfo {
                id: lease,
                ..LeaseInfo::default()
            },
        ),
        Err(error) => return Err(fail(&error)),
    };
    context.metrics.stream_messages(KEEP_ALIVE, 1, 1);
    Ok(pb::LeaseKeepAliveResponse::from(info).with_header(pb_header(header)))
}
