//! Members.

use super::{fail, ok};
use crate::server::Context;
use detcd_core::api::{Member, MemberId};
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
        let response = pb::MemberListResponse {
            header: None,
            members: messages(members),
        };
        ok(without_revision(header), response)
    }

    async fn member_add(
        &self,
        request: Request<pb::MemberAddRequest>,
    ) -> Result<Response<pb::MemberAddResponse>, Status> {
        let request = request.into_inner();
        let handle = &self.context.handle;
        let added = handle
            .member_add(&request.peer_urls, request.is_learner)
            .await;
        let (header, member, members) = added.map_err(|error| fail(&error))?;
        let response = pb::MemberAddResponse {
            header: None,
            member: Some(member.into()),
            members: messages(members),
        };
        ok(without_revision(header), response)
    }

    async fn member_remove(
        &self,
        request: Request<pb::MemberRemoveRequest>,
    ) -> Result<Response<pb::MemberRemoveResponse>, Status> {
        let id = MemberId(request.into_inner().id);
        let removed = self.context.handle.member_remove(id).await;
        let (header, members) = removed.map_err(|error| fail(&error))?;
        let response = pb::MemberRemoveResponse {
            header: None,
            members: messages(members),
        };
        ok(without_revision(header), response)
    }

    async fn member_update(
        &self,
        request: Request<pb::MemberUpdateRequest>,
    ) -> Result<Response<pb::MemberUpdateResponse>, Status> {
        let request = request.into_inner();
        let id = MemberId(request.id);
        let updated = self
            .context
            .handle
            .member_update(id, &request.peer_urls)
            .await;
        let (header, members) = updated.map_err(|error| fail(&error))?;
        let response = pb::MemberUpdateResponse {
            header: None,
            members: messages(members),
        };
        ok(without_revision(header), response)
    }

    async fn member_promote(
        &self,
        request: Request<pb::MemberPromoteRequest>,
    ) -> Result<Response<pb::MemberPromoteResponse>, Status> {
        let id = MemberId(request.into_inner().id);
        let promoted = self.context.handle.member_promote(id).await;
        let (header, members) = promoted.map_err(|error| fail(&error))?;
        let response = pb::MemberPromoteResponse {
            header: None,
            members: messages(members),
        };
        ok(without_revision(header), response)
    }
}

fn messages(members: Vec<Member>) -> Vec<pb::Member> {
    members.into_iter().map(Into::into).collect()
}

/// Membership is no part of the store: etcd's answers about it name no revision.
fn without_revision(header: Header) -> Header {
    Header {
        revision: 0,
        ..header
    }
}
