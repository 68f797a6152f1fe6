//! What operators ask a member about itself.

use super::{fail, ok, unsupported};
use crate::server::Context;
use detcd_core::api::{AlarmRequest, MemberId};
use detcd_core::error::Error;
use detcd_wire::alarm::alarm_text;
use detcd_wire::etcdserverpb as pb;
use detcd_wire::status::status;
use futures::stream::BoxStream;
use std::sync::Arc;
use tonic::{Request, Response, Status};

pub(super) struct Upkeep {
    context: Arc<Context>,
}

impl Upkeep {
    pub fn new(context: Arc<Context>) -> Upkeep {
        Upkeep { context }
    }
}

#[tonic::async_trait]
impl pb::maintenance_server::Maintenance for Upkeep {
    type SnapshotStream = BoxStream<'static, Result<pb::SnapshotResponse, Status>>;

    async fn alarm(
        &self,
        request: Request<pb::AlarmRequest>,
    ) -> Result<Response<pb::AlarmResponse>, Status> {
        let request = AlarmRequest::try_from(request.into_inner());
        let request = request.map_err(|error| fail(&error))?;
        let answered = self.context.handle.alarm(request).await;
        let (header, alarms) = answered.map_err(|error| fail(&error))?;
        let response = pb::AlarmResponse {
            header: None,
            alarms: alarms.into_iter().map(Into::into).collect(),
        };
        ok(header, response)
    }

    async fn status(
        &self,
        _request: Request<pb::StatusRequest>,
    ) -> Result<Response<pb::StatusResponse>, Status> {
        let handle = &self.context.handle;
        let options = &self.context.options;
        let member = handle.status();
        let leader = *handle.leader().borrow();
        let mut errors = Vec::new();
        if leader.is_none() {
            errors.push(status(&Error::NoLeader).1.to_owned());
        }
        for alarm in handle.alarms_known().map_err(|error| fail(&error))? {
            errors.push(alarm_text(&alarm.into()));
        }
        let response = pb::StatusResponse {
            header: None,
            version: options.etcd_version.clone(),
            db_size: member.db_size,
            leader: leader.unwrap_or_default().0,
            raft_index: member.raft.committed,
            raft_term: member.raft.term,
            raft_applied_index: handle.published().applied,
            errors,
            db_size_in_use: member.db_size_in_use,
            is_learner: member.raft.is_learner,
            storage_version: options.cluster_version(),
            db_size_quota: options
                .quota_backend_bytes
                .map_or(0, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX)),
            downgrade_info: Some(pb::DowngradeInfo::default()),
        };
        ok(handle.header_now(), response)
    }

    async fn hash_kv(
        &self,
        request: Request<pb::HashKvRequest>,
    ) -> Result<Response<pb::HashKvResponse>, Status> {
        let hashed = self
            .context
            .handle
            .hash_kv(request.into_inner().revision)
            .await;
        let (header, hash) = hashed.map_err(|error| fail(&error))?;
        let response = pb::HashKvResponse {
            header: None,
            hash: hash.hash,
            compact_revision: hash.compact_revision,
            hash_revision: hash.hash_revision,
        };
        ok(header, response)
    }

    async fn defragment(
        &self,
        _request: Request<pb::DefragmentRequest>,
    ) -> Result<Response<pb::DefragmentResponse>, Status> {
        unsupported("Defragment")
    }

    async fn hash(
        &self,
        _request: Request<pb::HashRequest>,
    ) -> Result<Response<pb::HashResponse>, Status> {
        unsupported("Hash")
    }

    async fn snapshot(
        &self,
        _request: Request<pb::SnapshotRequest>,
    ) -> Result<Response<Self::SnapshotStream>, Status> {
        unsupported("Snapshot")
    }

    async fn move_leader(
        &self,
        request: Request<pb::MoveLeaderRequest>,
    ) -> Result<Response<pb::MoveLeaderResponse>, Status> {
        let to = MemberId(request.into_inner().target_id);
        let moved = self.context.handle.move_leader(to).await;
        let header = moved.map_err(|error| fail(&error))?;
        ok(header, pb::MoveLeaderResponse::default())
    }

    async fn downgrade(
        &self,
        _request: Request<pb::DowngradeRequest>,
    ) -> Result<Response<pb::DowngradeResponse>, Status> {
        unsupported("Downgrade")
    }
}
