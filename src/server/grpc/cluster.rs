//! Members.

use super::{fail, ok, unsupported};
use crate::server::Context;
use detcd_driver::Header;
use detcd_wire::etcdserverpb as pb;
use std::sync::Arc;
use tonic::{Request, Response, Status};

pub(super) struct Members {
    context: Arc<Context>,
}

impl Members {
    pub fn new(context: Arc<Context>) -> Members {
        Members { context }
    }
}

#[tonic::async_trait]
impl pb::cluster_server::Cluster for Members {
    async fn member_list(
        &self,
        request: Request<pb::MemberListRequest>,
    ) -> Result<Response<pb::MemberListResponse>, Status> {
        let listed = self
            .context
            .handle
            .member_list(request.into_inner().linearizable)
            .await;
        let (header, members) = listed.map_err(|error| fail(&error))?;
        // etcd's answers about members say no revision.
        let header = Header {
            revision: 0,
            ..header
        };
        let members = members.into_iter().map(Into::into).collect();
        // Membership is no part of the store: etcd's answers about it name no revision.
        let header = Header {
            revision: 0,
            ..header
        };
        ok(
            header,
            pb::MemberListResponse {
                header: None,
                members,
            },
        )
    }

    async fn member_add(
        &self,
        _request: Request<pb::MemberAddRequest>,
    ) -> Result<Response<pb::MemberAddResponse>, Status> {
        unsupported("MemberAdd")
    }

    async fn member_remove(
        &self,
        _request: Request<pb::MemberRemoveRequest>,
    ) -> Result<Response<pb::MemberRemoveResponse>, Status> {
        unsupported("MemberRemove")
    }

    async fn member_update(
        &self,
        _request: Request<pb::MemberUpdateRequest>,
    ) -> Result<Response<pb::MemberUpdateResponse>, Status> {
        unsupported("MemberUpdate")
    }

    async fn member_promote(
        &self,
        _request: Request<pb::MemberPromoteRequest>,
    ) -> Result<Response<pb::MemberPromoteResponse>, Status> {
        unsupported("MemberPromote")
    }
}
