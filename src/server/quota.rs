//! The quota of stored bytes. A member at its quota refuses what would add to it.

use detcd_core::api::{Op, TxnRequest};
use detcd_core::error::Error;
use detcd_driver::Handle;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How often the size is looked at. A store grows by less than the room between a sane quota and a
/// full disk in this time.
const PERIOD: Duration = Duration::from_secs(1);

/// Whether the quota is used up, as of a moment ago.
pub(crate) struct Quota {
    exceeded: Arc<AtomicBool>,
}

impl Quota {
    /// Watches the size of the store until the quota is dropped.
    pub fn start(handle: Handle, quota_bytes: Option<u64>) -> Quota {
        let exceeded = Arc::new(AtomicBool::new(false));
        if let Some(quota_bytes) = quota_bytes {
            let exceeded = Arc::downgrade(&exceeded);
            detcd_rt::spawn(async move {
                while let Some(exceeded) = exceeded.upgrade() {
                    let used = u64::try_from(handle.status().db_size).unwrap_or(0);
                    let now = used >= quota_bytes;
                    if now != exceeded.swap(now, Ordering::Relaxed) {
                        tracing::warn!(used, quota_bytes, exceeded = now, "database quota");
                    }
                    drop(exceeded);
                    detcd_rt::sleep(PERIOD).await;
                }
            });
        }
        Quota { exceeded }
    }

    /// Refuses what adds to the store.
    pub fn check(&self) -> Result<(), Error> {
        match self.exceeded.load(Ordering::Relaxed) {
            true => Err(Error::NoSpace),
            false => Ok(()),
        }
    }

    /// Refuses transactions that put: deleting and reading go on.
    pub fn check_txn(&self, txn: &TxnRequest) -> Result<(), Error> {
        match has_put(txn) {
            true => self.check(),
            false => Ok(()),
        }
    }
}

fn has_put(txn: &TxnRequest) -> bool {
    txn.success.iter().chain(&txn.failure).any(|op| match op {
        Op::Put(_) => true,
        Op::Range(_) | Op::DeleteRange(_) => false,
        Op::Txn(txn) => has_put(txn),
    })
}
