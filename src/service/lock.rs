//! Locks, as etcd's mutex: who has the oldest key of the queue holds the lock.

use crate::Call;
use crate::concurrency::{Queue, take_turn};
use crate::error::ConcurrencyError;
use bytes::Bytes;
use detcd_wire::etcdserverpb as pb;
use detcd_wire::v3lockpb::{LockRequest, LockResponse, UnlockRequest, UnlockResponse};

impl Call {
    pub(crate) async fn lock(self, request: LockRequest) -> Result<LockResponse, ConcurrencyError> {
        let lease = self.session_lease(request.lease).await?;
        let queue = Queue::new(self, &request.name);
        let entering = queue.clone();
        let enter = async move { Ok(entering.enter(lease, Bytes::new()).await?) };
        take_turn(queue, enter, |queue, entry| async move {
            let key = entry.key;
            if entry.is_first {
                let header = entry.header;
                return Ok(LockResponse { header, key });
            }
            queue.wait_until_first(entry.create_revision).await?;
            // While it waited the lease may have ended, and the key with it.
            let get = pb::RangeRequest {
                key: key.clone(),
                ..Default::default()
            };
            let own = queue.call().inner_range(get).await?;
            if own.kvs.is_empty() && !detcd_core::mutant!(LockOutlivesLease) {
                return Err(ConcurrencyError::SessionExpired);
            }
            let header = own.header;
            Ok(LockResponse { header, key })
        })
        .await
    }

    pub(crate) async fn unlock(
        self,
        request: UnlockRequest,
    ) -> Result<UnlockResponse, ConcurrencyError> {
        let header = self.inner_delete(request.key).await?;
        Ok(UnlockResponse { header })
    }
}
