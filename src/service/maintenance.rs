//! What operators ask a member about itself.

use crate::{Call, response_header};
use detcd_core::api::MemberId;
use detcd_core::downgrade::parse_target;
use detcd_core::error::Error;
use detcd_wire::alarm::alarm_text;
use detcd_wire::etcdserverpb as pb;
use detcd_wire::status::status;

impl Call {
    pub(crate) async fn status(self, _: pb::StatusRequest) -> Result<pb::StatusResponse, Error> {
        let (handle, options) = (self.handle(), self.service.options());
        let member = handle.status();
        // A leader that has lost its quorum is none.
        let leader = *handle.leader().borrow();
        let mut errors = Vec::new();
        if leader.is_none() {
            errors.push(status(&Error::NoLeader).1.to_owned());
        }
        for alarm in handle.alarms_known()? {
            errors.push(alarm_text(&alarm.into()));
        }
        let named = match detcd_core::mutant!(StatusLostLeader) {
            true => member.raft.leader,
            false => leader,
        };
        let quota = options.quota_backend_bytes.unwrap_or(0);
        Ok(pb::StatusResponse {
            header: response_header(handle.header_now()),
            version: options.etcd_version.clone(),
            db_size: member.db_size,
            leader: named.unwrap_or_default().0,
            raft_index: member.raft.committed,
            raft_term: member.raft.term,
            raft_applied_index: handle.published().applied,
            errors,
            db_size_in_use: member.db_size_in_use,
            is_learner: member.raft.is_learner,
            storage_version: options.cluster_version(),
            db_size_quota: i64::try_from(quota).unwrap_or(i64::MAX),
            downgrade_info: Some(downgrade_info(handle.downgrade_target()?)),
        })
    }

    pub(crate) async fn alarm(self, request: pb::AlarmRequest) -> Result<pb::AlarmResponse, Error> {
        let (header, alarms) = self.handle().alarm(request.try_into()?).await?;
        Ok(pb::AlarmResponse {
            header: response_header(header),
            alarms: alarms.into_iter().map(Into::into).collect(),
        })
    }

    pub(crate) async fn hash_kv(
        self,
        request: pb::HashKvRequest,
    ) -> Result<pb::HashKvResponse, Error> {
        let (header, hash) = self.handle().hash_kv(request.revision).await?;
        Ok(pb::HashKvResponse {
            header: response_header(header),
            hash: hash.hash,
            compact_revision: hash.compact_revision,
            hash_revision: hash.hash_revision,
        })
    }

    pub(crate) async fn hash(self, _: pb::HashRequest) -> Result<pb::HashResponse, Error> {
        let (header, hash) = self.handle().hash().await?;
        Ok(pb::HashResponse {
            header: response_header(header),
            hash,
        })
    }

    pub(crate) async fn downgrade(
        self,
        request: pb::DowngradeRequest,
    ) -> Result<pb::DowngradeResponse, Error> {
        use pb::downgrade_request::DowngradeAction;
        let version = self.service.options().cluster_version();
        let handle = self.handle();
        let target = || parse_target(&version, &request.version);
        let header = match DowngradeAction::try_from(request.action) {
            Ok(DowngradeAction::Validate) => {
                target()?;
                handle.downgrade_check(true).await?
            }
            Ok(DowngradeAction::Enable) => {
                let target = target()?;
                handle.downgrade_check(true).await?;
                handle.downgrade(Some(target)).await?
            }
            Ok(DowngradeAction::Cancel) => {
                handle.downgrade_check(false).await?;
                handle.downgrade(None).await?
            }
            Err(_) => return Err(Error::Malformed("etcdserver: unknown method")),
        };
        Ok(pb::DowngradeResponse {
            header: response_header(header),
            version,
        })
    }

    /// etcd's answer has no header (3.5.1, asked).
    pub(crate) async fn defragment(
        self,
        _: pb::DefragmentRequest,
    ) -> Result<pb::DefragmentResponse, Error> {
        self.handle().defragment().await?;
        Ok(pb::DefragmentResponse { header: None })
    }

    pub(crate) async fn move_leader(
        self,
        request: pb::MoveLeaderRequest,
    ) -> Result<pb::MoveLeaderResponse, Error> {
        let header = self
            .handle()
            .move_leader(MemberId(request.target_id))
            .await?;
        Ok(pb::MoveLeaderResponse {
            header: response_header(header),
        })
    }
}

fn downgrade_info(target: Option<String>) -> pb::DowngradeInfo {
    pb::DowngradeInfo {
        enabled: target.is_some(),
        target_version: target.unwrap_or_default(),
    }
}
