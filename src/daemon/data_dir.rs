//! The place of the data: whether it can be used, whether it is another program's, who may read
//! it, and whether what belongs together is there.

use super::identity::{FILE, Identity, IdentityError};
use detcd_core::api::{ClusterId, MemberId};
use detcd_core::membership::identity::{
    DataDirFault, FoundDataDir, MemberOf, StoredIdentity, check_data_dir, is_copy_usable,
};
use detcd_storage::disk::{DataDirLock, LockError, RealDisk};
use detcd_storage::log::{Log, LogOwner};
use detcd_storage::{RESTORE, advice};
use rustix::fs::Mode;
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// The folders of the raft log and of the applied state within the member's.
pub(super) const LOG: &str = "log";
pub(super) const STORE: &str = "store";
/// What only the owner may do with what is in a data-dir.
const FOLDER_MODE: u32 = 0o700;
/// The rights that no new file of this process gives to others.
const OTHERS: Mode = Mode::from_raw_mode(0o077);

#[derive(Debug, Error)]
pub enum DataDirError {
    #[error(
        "data-dir {path} is not a directory: move what is there away, or choose another --data-dir"
    )]
    NoFolder { path: PathBuf },
    #[error(
        "data-dir {path} is a symbolic link to {target}, which does not exist: mount what should be \
         there, or mend the link"
    )]
    Dangling { path: PathBuf, target: PathBuf },
    #[error("data-dir {path} cannot be used: {source}; {}", advice(source))]
    Unusable { path: PathBuf, source: io::Error },
    #[error(
        "data-dir {path} holds the data of etcd ({found}), which detcd does not read: start etcd on \
         it, save a snapshot (etcdctl snapshot save) and restore that (detcdutl snapshot restore), or \
         choose an empty --data-dir"
    )]
    Etcd { path: PathBuf, found: String },
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(
        "data-dir {path} has lost its {part}: this member cannot know what it has promised and \
         must not vote; {RESTORE}"
    )]
    Lost { path: PathBuf, part: &'static str },
    #[error("data-dir {path} has data, but no {FILE}, which says whose it is; {restore}")]
    Nobodys { path: PathBuf, restore: String },
    #[error("{problem}; {restore}")]
    Identity {
        problem: IdentityError,
        restore: String,
    },
    #[error(
        "data-dir {path} is mixed up: {FILE} is of member {own} of cluster {cluster}, and its copy \
         in log/ of another one; put back the files of one data-dir"
    )]
    MixedUp {
        path: PathBuf,
        own: MemberId,
        cluster: ClusterId,
    },
}

/// Takes the data-dir for this process, and makes it if it is not there; gives the member's folder.
pub(super) fn take(data_dir: &Path) -> Result<(PathBuf, DataDirLock), DataDirError> {
    // Not only here: the store's own threads make files as long as the member runs.
    rustix::process::umask(OTHERS);
    check_place(data_dir)?;
    let folder = data_dir.join("member");
    if let Some(found) = found_of_etcd(data_dir) {
        if !folder.join(FILE).exists() {
            let path = data_dir.to_owned();
            return Err(DataDirError::Etcd { path, found });
        }
        tracing::warn!(
            data_dir = %data_dir.display(),
            found,
            "the data-dir holds data of etcd, too, which is not read"
        );
    }
    [data_dir, &folder].into_iter().for_each(warn_if_open);
    let lock = DataDirLock::take(&folder)?;
    Ok((folder, lock))
}

/// Takes back what [`take`] made for a member that has not started.
pub(super) fn leave(data_dir: &Path) -> Result<(), DataDirError> {
    let path = data_dir.join("member");
    let removed = std::fs::remove_file(path.join("lock")).and_then(|()| std::fs::remove_dir(&path));
    removed.map_err(|source| DataDirError::Unusable { path, source })
}

/// Whether there can be a folder.
fn check_place(data_dir: &Path) -> Result<(), DataDirError> {
    let path = data_dir.to_owned();
    match std::fs::metadata(data_dir) {
        Ok(found) if !found.is_dir() => Err(DataDirError::NoFolder { path }),
        // Whoever may list it may use it, but for the right to write, which the lock needs.
        Ok(_) => std::fs::read_dir(data_dir)
            .map(drop)
            .map_err(|source| DataDirError::Unusable { path, source }),
        Err(error) if error.kind() == ErrorKind::NotFound => match std::fs::read_link(data_dir) {
            Ok(target) => Err(DataDirError::Dangling { path, target }),
            Err(_) => Ok(()),
        },
        Err(source) => Err(DataDirError::Unusable { path, source }),
    }
}

/// What is there of another program: etcd 3 and 2 (a member; a proxy's is taken over), and etcd 0.4.
fn found_of_etcd(data_dir: &Path) -> Option<String> {
    let alone = ["member/wal", "member/snap"];
    let together = ["log", "conf", "snapshot"];
    let exists = |name: &&str| data_dir.join(name).exists();
    match alone.into_iter().find(exists) {
        Some(found) => Some(found.to_owned()),
        None => together.iter().all(exists).then(|| together.join(", ")),
    }
}

/// As etcd does, in its words: what was there before keeps its rights.
fn warn_if_open(folder: &Path) {
    let Ok(found) = std::fs::metadata(folder) else {
        return;
    };
    let mode = found.permissions().mode() & 0o777;
    if mode != FOLDER_MODE {
        let error = format!(
            "directory {:?} exist, but the permission is \"d{}\". The recommended permission is \
             \"-{}\" to prevent possible unprivileged access to the data",
            folder.display().to_string(),
            letters(mode),
            letters(FOLDER_MODE)
        );
        tracing::warn!(error, "check file permission");
    }
}

/// A mode as `ls` shows it.
fn letters(mode: u32) -> String {
    let letter = |bit: u32| match mode & (1 << bit) {
        0 => '-',
        _ => ['x', 'w', 'r'][bit as usize % 3],
    };
    (0..9).rev().map(letter).collect()
}

/// Who the data-dir belongs to; `None` if no member has started there before.
pub(super) async fn identity(
    data_dir: &Path,
    folder: &Path,
) -> Result<Option<Identity>, DataDirError> {
    let path = data_dir.to_owned();
    let log = folder.join(LOG);
    let own = Identity::read(folder);
    // The copy is never believed alone: what is wrong with it does not matter.
    let copy = Identity::read(&log).ok().flatten();
    let copy = copy.map(|copy| copy.member());
    let found = FoundDataDir {
        identity: match &own {
            Ok(Some(own)) => StoredIdentity::Of {
                member: own.member(),
                has_started: own.started,
            },
            Ok(None) => StoredIdentity::Missing,
            Err(_) => StoredIdentity::Unreadable,
        },
        copy,
        has_log: has_log(&log),
        has_state: !is_empty(&folder.join(STORE)),
    };
    let lost = |part| DataDirError::Lost {
        path: path.clone(),
        part,
    };
    let fault = match (check_data_dir(&found), own) {
        (Ok(_), own) => return own.map_err(|problem| unreadable(problem, RESTORE.to_owned())),
        (Err(fault), own) => (fault, own),
    };
    Err(match fault {
        (DataDirFault::LogLost, _) => lost("raft log"),
        (DataDirFault::StateLost, _) => lost("applied state"),
        (DataDirFault::MixedUp, Ok(Some(own))) => DataDirError::MixedUp {
            path,
            own: own.member_id,
            cluster: own.cluster_id,
        },
        (_, own) => {
            let restore = restore(folder, copy, owner(&log).await);
            match own {
                Err(problem) => unreadable(problem, restore),
                Ok(_) => DataDirError::Nobodys { path, restore },
            }
        }
    })
}

fn unreadable(problem: IdentityError, restore: String) -> DataDirError {
    DataDirError::Identity { problem, restore }
}

/// A store that a first start began and did not end holds nothing, and may be unusable.
pub(super) fn clear_unfinished(folder: &Path, identity: &Identity) -> Result<(), DataDirError> {
    let path = folder.join(STORE);
    if identity.started || has_log(&folder.join(LOG)) || !path.exists() {
        return Ok(());
    }
    let removed = std::fs::remove_dir_all(&path);
    removed.map_err(|source| DataDirError::Unusable { path, source })
}

/// How the identity comes back, as far as what is left says.
fn restore(folder: &Path, copy: Option<MemberOf>, owner: Option<LogOwner>) -> String {
    let owner_of = owner.map(|owner| MemberOf {
        cluster_id: ClusterId(owner.cluster_id),
        member_id: MemberId(owner.member_id),
    });
    match (copy.filter(|copy| is_copy_usable(*copy, owner_of)), owner) {
        (Some(_), _) => format!(
            "there is a copy of it: cp {} {}",
            folder.join(LOG).join(FILE).display(),
            folder.join(FILE).display()
        ),
        (None, Some(owner)) => format!("the raft log is of {owner}: {RESTORE}"),
        (None, None) => RESTORE.to_owned(),
    }
}

/// Whether the folder holds a raft log, or part of one.
fn has_log(log: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(log) else {
        return false;
    };
    entries.flatten().any(|entry| entry.file_name() != FILE)
}

/// Whether the folder has nothing in it, or is not there.
fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).map_or(true, |mut entries| entries.next().is_none())
}

/// Whose the log in the folder is, as far as that can be read.
async fn owner(log: &Path) -> Option<LogOwner> {
    if !log.is_dir() {
        return None;
    }
    let disk = RealDisk::open(log).ok()?;
    Log::owner(&disk).await.ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn what_etcd_left_is_found() {
        let layouts: [&[&str]; 6] = [
            &["member/wal", "member/snap"],
            &["member/wal"],
            &["member/snap"],
            &["member/snap/0000000000000002-0000000000000005.snap"],
            &["log", "conf", "snapshot"],
            &["member/wal", "member/log"],
        ];
        for layout in layouts {
            let folder = tempfile::tempdir().unwrap();
            assert_eq!(found_of_etcd(folder.path()), None);
            for name in layout {
                fs::create_dir_all(folder.path().join(name)).unwrap();
            }
            let error = take(folder.path()).unwrap_err().to_string();
            assert!(error.contains("holds the data of etcd ("), "{error}");
            let gone = folder.path().join("member/lock");
            assert!(!gone.exists(), "nothing is written beside it");
        }
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("member/log")).unwrap();
        fs::create_dir_all(folder.path().join("snapshot")).unwrap();
        assert_eq!(found_of_etcd(folder.path()), None);
    }

    #[test]
    fn a_place_that_cannot_be_used_comes_with_advice() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        fs::write(at("file"), "").unwrap();
        std::os::unix::fs::symlink("/nonexistent/x", at("dangling")).unwrap();
        std::os::unix::fs::symlink(at("loop"), at("loop")).unwrap();
        for (name, what) in [
            ("file", "is not a directory: move what is there away"),
            ("dangling", "is a symbolic link to /nonexistent/x"),
            ("loop", "cannot be used: Too many levels of symbolic links"),
            ("file/below", "cannot be used: Not a directory"),
        ] {
            let error = take(&at(name)).unwrap_err().to_string();
            let start = format!("data-dir {} ", at(name).display());
            assert!(error.starts_with(&start) && error.contains(what), "{error}");
        }
    }

    #[test]
    fn modes_are_told_as_etcd_tells_them() {
        assert_eq!(letters(0o755), "rwxr-xr-x");
        assert_eq!(letters(0o700), "rwx------");
        assert_eq!(letters(0o612), "rw---x-w-");
    }
}
