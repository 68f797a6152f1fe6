//! Members.

use crate::{Call, response_header};
use detcd_core::api::{Member, MemberId};
use detcd_core::error::Error;
use detcd_driver::Header;
use detcd_wire::etcdserverpb as pb;

impl Call {
    pub(crate) async fn member_list(
        self,
        request: pb::MemberListRequest,
    ) -> Result<pb::MemberListResponse, Error> {
        let (header, members) = self.handle().member_list(request.linearizable).await?;
        Ok(pb::MemberListResponse {
            header: without_revision(header),
            members: messages(members),
        })
    }

    pub(crate) async fn member_add(
        self,
        request: pb::MemberAddRequest,
    ) -> Result<pb::MemberAddResponse, Error> {
        let added = self
            .handle()
            .member_add(&request.peer_urls, request.is_learner);
        let (header, member, members) = added.await?;
        Ok(pb::MemberAddResponse {
            header: without_revision(header),
            member: Some(member.into()),
            members: messages(members),
        })
    }

    pub(crate) async fn member_remove(
        self,
        request: pb::MemberRemoveRequest,
    ) -> Result<pb::MemberRemoveResponse, Error> {
        let (header, members) = self.handle().member_remove(MemberId(request.id)).await?;
        Ok(pb::MemberRemoveResponse {
            header: without_revision(header),
            members: messages(members),
        })
    }

    pub(crate) async fn member_update(
        self,
        request: pb::MemberUpdateRequest,
    ) -> Result<pb::MemberUpdateResponse, Error> {
        let id = MemberId(request.id);
        let updated = self.handle().member_update(id, &request.peer_urls);
        let (header, members) = updated.await?;
        Ok(pb::MemberUpdateResponse {
            header: without_revision(header),
            members: messages(members),
        })
    }

    pub(crate) async fn member_promote(
        self,
        request: pb::MemberPromoteRequest,
    ) -> Result<pb::MemberPromoteResponse, Error> {
        let (header, members) = self.handle().member_promote(MemberId(request.id)).await?;
        Ok(pb::MemberPromoteResponse {
            header: without_revision(header),
            members: messages(members),
        })
    }
}

fn messages(members: Vec<Member>) -> Vec<pb::Member> {
    members.into_iter().map(Into::into).collect()
}

/// Membership is no part of the store: etcd's replies about it name no revision.
fn without_revision(header: Header) -> Option<pb::ResponseHeader> {
    response_header(Header {
        revision: 0,
        ..header
    })
}
