//! Data-dirs of members that do not run: one that is made of a snapshot, before its member has ever
//! started, and one whose member is stopped.

use super::data_dir::{LOG, STORE};
use super::identity::{Identity, IdentityError};
use super::names;
use crate::config::{BootstrapError, Config};
use detcd_bolt::read::{File, Found, ReadError, Source};
use detcd_core::api::Member;
use detcd_core::membership::identity::{self as membership, Founding, MemberOf};
use detcd_core::query::At;
use detcd_core::restore::{Restore, RestoreOptions};
use detcd_core::view::{Batch, Fault};
use detcd_driver::restored_rows;
use detcd_storage::disk::{DataDirLock, LockError, RealDisk};
use detcd_storage::log::{Log, LogError, LogOptions, LogOwner};
use detcd_storage::store::{FjallStore, OpenError, Store as _, StoreOptions};
use futures::FutureExt as _;
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Rows are written in batches of about so many bytes.
const BATCH_BYTES: usize = 4 * 1024 * 1024;
/// The member's folder while it is not whole.
const UNFINISHED: &str = "member.restoring";
const MEMBER: &str = "member";

#[derive(Debug, Error)]
pub enum RestoreError {
    #[error("the snapshot is damaged: {0}")]
    Read(#[from] ReadError),
    #[error("{0}")]
    Rows(#[from] Fault),
    #[error("{0}")]
    Store(#[from] OpenError),
    #[error("{0}")]
    Log(#[from] LogError),
    #[error("{0}")]
    Identity(#[from] IdentityError),
    #[error("cannot make {path}: {source}")]
    Place { path: PathBuf, source: io::Error },
}

/// Who is to start from a restored state.
#[derive(Clone, Debug)]
pub struct RestoredMember {
    pub own: MemberOf,
    pub name: String,
    /// All members of the new cluster, this one among them.
    pub members: Vec<Member>,
}

/// Makes the data-dir. What is there after an error, or after a crash, is no member's: a data-dir is
/// one only once it has its name.
pub async fn restore<S: Source>(
    data_dir: &Path,
    member: &RestoredMember,
    snapshot: File<S>,
    options: RestoreOptions,
) -> Result<At, RestoreError> {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let folder = data_dir.join(UNFINISHED);
    let place = |source| RestoreError::Place {
        path: folder.clone(),
        source,
    };
    std::fs::create_dir_all(&folder).map_err(place)?;
    let filled = fill(&folder, member, snapshot, options).await;
    let named = filled.and_then(|at| {
        std::fs::rename(&folder, data_dir.join(MEMBER))
            .and_then(|()| std::fs::File::open(data_dir)?.sync_all())
            .map_err(place)?;
        Ok(at)
    });
    if named.is_err() {
        // What is left says the same once more.
        let _ = std::fs::remove_dir_all(&folder);
    }
    named
}

async fn fill<S: Source>(
    folder: &Path,
    member: &RestoredMember,
    snapshot: File<S>,
    options: RestoreOptions,
) -> Result<At, RestoreError> {
    let store = FjallStore::open(folder.join(STORE), StoreOptions::default())?;
    let mut restore = Restore::default();
    let write = |batch: Batch| {
        let written = store.write(batch).now_or_never();
        written.expect("the store writes on the calling thread")
    };
    snapshot.walk::<RestoreError>(&mut |names, found| {
        if let ([bucket], Found::Row { key, value }) = (names, found) {
            restore.row(bucket, key, value)?;
            if let Some(batch) = restore.take(BATCH_BYTES) {
                write(batch)?;
            }
        }
        Ok(())
    })?;
    let (rest, at) = restore.finish(options);
    store.write(rest).await?;
    store.write(restored_rows(&store, &member.members)?).await?;
    store.persist().await?;
    drop(store);
    let identity = Identity {
        cluster_id: member.own.cluster_id,
        member_id: member.own.member_id,
        name: member.name.clone(),
        started: true,
        members: member.members.clone(),
        joined: false,
    };
    make_log(&folder.join(LOG), member.own).await?;
    identity.write(&folder.join(LOG))?;
    identity.write(folder)?;
    Ok(at)
}

/// An empty log: the restored state stands for all that was in it.
async fn make_log(path: &Path, own: MemberOf) -> Result<(), RestoreError> {
    let disk = RealDisk::open(path).map_err(|source| RestoreError::Place {
        path: path.to_owned(),
        source,
    })?;
    let options = LogOptions {
        owner: Some(LogOwner {
            cluster_id: own.cluster_id.0,
            member_id: own.member_id.0,
        }),
        ..LogOptions::new(detcd_rt::random_u64())
    };
    let (log, writer, _) = Log::open(disk, options).await?;
    drop(log);
    writer.run().await?;
    Ok(())
}

/// The member that flags describe, with the ids that etcd gives it in a new cluster.
pub async fn member(config: &Config) -> Result<RestoredMember, BootstrapError> {
    let bootstrap = config.bootstrap()?;
    names::check_advertised(config, &bootstrap).await?;
    let founding = membership::found(&config.name, &bootstrap.members, &bootstrap.token);
    let Founding { own, members } = founding.expect("a bootstrap has the local name");
    Ok(RestoredMember {
        own,
        name: config.name.clone(),
        members,
    })
}

/// The state in the data-dir of a member that does not run, and its lock.
pub fn stopped(data_dir: &Path) -> Result<(FjallStore, DataDirLock), StoppedError> {
    let folder = data_dir.join(MEMBER);
    let state = folder.join(STORE);
    if !state.is_dir() {
        let path = data_dir.to_owned();
        return Err(StoppedError::NoMember { path });
    }
    let lock = DataDirLock::take(&folder)?;
    Ok((FjallStore::open(&state, StoreOptions::default())?, lock))
}

#[derive(Debug, Error)]
pub enum StoppedError {
    #[error("{path} is no data-dir of detcd: it has no member/store")]
    NoMember { path: PathBuf },
    #[error("{0}")]
    Lock(#[from] LockError),
    #[error("{0}")]
    Store(#[from] OpenError),
}
