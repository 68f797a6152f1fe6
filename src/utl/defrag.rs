//! `defrag`: gives back the space of what was removed from a stopped member's state.

use super::{Context, Failure};
use crate::daemon::restored;
use detcd_storage::store::{Reclaim, Store as _};
use std::path::Path;

pub(super) async fn run(context: &mut Context) -> Result<(), Failure> {
    let data_dir = context.flags.text("data-dir").to_owned();
    let told = |why: String| {
        Failure::error(format!(
            "Failed to defragment etcd data[{data_dir}] ({why})"
        ))
    };
    let stopped = restored::stopped(Path::new(&data_dir));
    let (store, _lock) = stopped.map_err(|error| told(error.to_string()))?;
    let done = async {
        store.reclaim(Reclaim::All).await?;
        store.persist().await
    };
    done.await.map_err(|fault| told(fault.0))
}
