//! Where clients of etcd 0.2 look for members: `/_etcd/machines` of the v2 tree.
//!
//! The first member's row is the first write of the tree, which from then on counts as etcd 0.2 did.

use crate::config::Config;
use bytes::Bytes;
use detcd_core::v2::auth::{Asked, Asker};
use detcd_core::v2::{Dialect, Operation, UnixNanos, Write};
use detcd_driver::Handle;
use std::time::Duration;

/// The pause before it is tried again.
const PAUSE: Duration = Duration::from_millis(500);

/// Writes where this member is to be found, unless that is what stands there.
pub(super) async fn register(handle: &Handle, config: &Config) {
    let path = Bytes::from(format!("/_etcd/machines/{}", config.name));
    let first = |urls: &[crate::config::url::Url]| match urls {
        [url, ..] => url.to_string(),
        [] => String::new(),
    };
    let (raft, etcd) = (
        first(&config.initial_advertise_peer_urls),
        first(&config.advertise_client_urls),
    );
    let value = Bytes::from(format!("raft={raft}&etcd={etcd}"));
    loop {
        let asked = Asked {
            asker: Asker::Guest,
            path: path.clone(),
        };
        let known = handle.v2_get(&asked, path.clone(), false, true).await;
        if let Ok(Ok((found, _))) = &known
            && found.node.value.as_ref() == Some(&value)
        {
            return;
        }
        let write = Write {
            operation: Operation::Set,
            time: UnixNanos::default(),
            path: path.clone(),
            value: value.clone(),
            prev_value: Bytes::new(),
            prev_index: 0,
            ttl: None,
            dir: false,
            recursive: false,
            refresh: false,
            dialect: Dialect::Etcd02,
            asked: None,
        };
        match handle.v2_write(write).await {
            Ok(Ok(_)) => return,
            Ok(Err(refused)) => {
                let code = refused.code as u16;
                return tracing::warn!(code, "the v2 tree does not take this member's addresses");
            }
            Err(error) => tracing::warn!(%error, "cannot register this member yet"),
        }
        detcd_rt::sleep(PAUSE).await;
    }
}
