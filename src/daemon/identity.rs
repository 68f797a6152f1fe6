//! Who a data-dir belongs to. Written once, before anything else is; every later start is by what
//! stands here, whatever the flags say about the cluster.

use detcd_core::api::{ClusterId, Member, MemberId};
use detcd_core::membership::identity::MemberOf;
use detcd_storage::advice;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// The file's name within the member's folder.
pub const FILE: &str = "identity.json";
/// The format of the file, and of the folder that it stands in.
const VERSION: u32 = 1;

/// A member and the cluster that it started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub cluster_id: ClusterId,
    pub member_id: MemberId,
    /// The name at the first start. A member may be renamed; this one is for people.
    pub name: String,
    /// Whether log and store have been there: from then on they must be.
    pub started: bool,
    /// The members that started the cluster, this one among them.
    /// For one that joined a cluster, the members that it found there.
    pub members: Vec<Member>,
    /// Whether this member was added to a cluster that there was already.
    pub joined: bool,
}

#[derive(Debug, Error)]
pub enum IdentityError {
    #[error("cannot read {path}: {source}; {}", advice(source))]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write {path}: {source}; {}", advice(source))]
    Write { path: PathBuf, source: io::Error },
    #[error("{path} makes no sense ({problem})")]
    Damaged { path: PathBuf, problem: String },
    #[error(
        "{path} has format {found}, this build reads format {VERSION}: use the version of detcd \
         that wrote it"
    )]
    Version { path: PathBuf, found: u32 },
}

impl Identity {
    /// What stands in `folder`, if a member has started there before.
    pub fn read(folder: &Path) -> Result<Option<Identity>, IdentityError> {
        let path = folder.join(FILE);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(IdentityError::Read { path, source }),
        };
        let damaged = |problem: String| IdentityError::Damaged {
            path: path.clone(),
            problem,
        };
        let head: Head =
            serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))?;
        if head.version != VERSION {
            return Err(IdentityError::Version {
                path,
                found: head.version,
            });
        }
        let stored: Stored =
            serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))?;
        stored.try_into().map(Some).map_err(damaged)
    }

    /// Writes the file. It is there whole or not at all, and durable when this returns. What is there
    /// already is only synced, as a process may have been killed before it could: a restart changes
    /// nothing, and on a busy disk each file that is written anew costs it a tenth of a second.
    pub fn write(&self, folder: &Path) -> Result<(), IdentityError> {
        let path = folder.join(FILE);
        let failed = |source| IdentityError::Write {
            path: path.clone(),
            source,
        };
        let text =
            serde_json::to_vec_pretty(&Stored::from(self)).map_err(|error| failed(error.into()))?;
        if fs::read(&path).is_ok_and(|there| there == text) {
            File::open(&path)
                .and_then(|file| file.sync_all())
                .map_err(failed)?;
        } else {
            let draft = folder.join(format!("{FILE}.new"));
            let mut file = File::create(&draft).map_err(failed)?;
            file.write_all(&text)
                .and_then(|()| file.sync_all())
                .map_err(failed)?;
            fs::rename(&draft, &path).map_err(failed)?;
        }
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(failed)
    }

    /// Whose identity it is.
    pub fn member(&self) -> MemberOf {
        MemberOf {
            cluster_id: self.cluster_id,
            member_id: self.member_id,
        }
    }
}

/// What every version of the file has.
#[derive(Deserialize)]
struct Head {
    version: u32,
}

/// The file. Ids are hexadecimal, as etcd prints them.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    cluster_id: String,
    member_id: String,
    name: String,
    started: bool,
    members: Vec<StoredMember>,
    /// The first versions of the file had members that founded their clusters only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    joined: bool,
    /// Of everything else; the first versions of the file had none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    checksum: Option<String>,
}

impl Stored {
    /// The checksum of all the rest.
    fn computed(&self) -> String {
        let rest = serde_json::to_vec(&(
            &self.cluster_id,
            &self.member_id,
            &self.name,
            self.started,
            &self.members,
            self.joined,
        ));
        format!("{:08x}", crc32c::crc32c(&rest.expect("it has no maps")))
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredMember {
    id: String,
    name: String,
    peer_urls: Vec<String>,
}

impl From<&Identity> for Stored {
    fn from(identity: &Identity) -> Stored {
        let mut stored = Stored {
            version: VERSION,
            cluster_id: identity.cluster_id.to_string(),
            member_id: identity.member_id.to_string(),
            name: identity.name.clone(),
            started: identity.started,
            members: identity
                .members
                .iter()
                .map(|member| StoredMember {
                    id: member.id.to_string(),
                    name: member.name.clone(),
                    peer_urls: member.peer_urls.clone(),
                })
                .collect(),
            joined: identity.joined,
            checksum: None,
        };
        stored.checksum = Some(stored.computed());
        stored
    }
}

impl TryFrom<Stored> for Identity {
    type Error = String;

    fn try_from(stored: Stored) -> Result<Identity, String> {
        let computed = stored.computed();
        if stored.checksum.as_ref().is_some_and(|it| *it != computed) {
            return Err("its checksum is wrong".to_owned());
        }
        let members = stored
            .members
            .into_iter()
            .map(|member| {
                Ok(Member {
                    id: MemberId(hex(&member.id)?),
                    name: member.name,
                    peer_urls: member.peer_urls,
                    ..Member::default()
                })
            })
            .collect::<Result<Vec<Member>, String>>()?;
        let member_id = MemberId(hex(&stored.member_id)?);
        if !members.iter().any(|member| member.id == member_id) {
            return Err(format!("member {member_id} is not among its members"));
        }
        Ok(Identity {
            cluster_id: ClusterId(hex(&stored.cluster_id)?),
            member_id,
            name: stored.name,
            started: stored.started,
            members,
            joined: stored.joined,
        })
    }
}

fn hex(text: &str) -> Result<u64, String> {
    u64::from_str_radix(text, 16).map_err(|_| format!("{text:?} is no id"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt as _;

    fn identity() -> Identity {
        Identity {
            cluster_id: ClusterId(0x59dd43cb7c449c),
            member_id: MemberId(0x8c632555af4d958d),
            name: "n1".into(),
            started: true,
            members: vec![Member {
                id: MemberId(0x8c632555af4d958d),
                name: "n1".into(),
                peer_urls: vec!["http://192.168.10.10:2380".into()],
                ..Member::default()
            }],
            joined: false,
        }
    }

    const GOLDEN: &str = r#"{
  "version": 1,
  "cluster_id": "59dd43cb7c449c",
  "member_id": "8c632555af4d958d",
  "name": "n1",
  "started": true,
  "members": [
    {
      "id": "8c632555af4d958d",
      "name": "n1",
      "peer_urls": [
        "http://192.168.10.10:2380"
      ]
    }
  ],
  "checksum": "772f4a4b"
}"#;
    const FIRST: &str = r#"{
  "version": 1,
  "cluster_id": "59dd43cb7c449c",
  "member_id": "8c632555af4d958d",
  "name": "n1",
  "started": true,
  "members": [
    {
      "id": "8c632555af4d958d",
      "name": "n1",
      "peer_urls": [
        "http://192.168.10.10:2380"
      ]
    }
  ]
}"#;

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Identity::read(folder.path()).unwrap(), None);
        identity().write(folder.path()).unwrap();
        assert_eq!(
            fs::read_to_string(folder.path().join(FILE)).unwrap(),
            GOLDEN
        );
        assert_eq!(Identity::read(folder.path()).unwrap(), Some(identity()));
        let joined = Identity {
            joined: true,
            ..identity()
        };
        joined.write(folder.path()).unwrap();
        assert_eq!(Identity::read(folder.path()).unwrap(), Some(joined));
    }

    /// Each restart wrote the file three times.
    #[test]
    fn what_is_there_already_is_not_written_again() {
        let folder = tempfile::tempdir().unwrap();
        let inode = || fs::metadata(folder.path().join(FILE)).unwrap().ino();
        identity().write(folder.path()).unwrap();
        let first = inode();
        identity().write(folder.path()).unwrap();
        assert_eq!(inode(), first);
        // A file of before the checksum gets one.
        fs::write(folder.path().join(FILE), FIRST).unwrap();
        identity().write(folder.path()).unwrap();
        let text = fs::read_to_string(folder.path().join(FILE)).unwrap();
        assert_eq!(text, GOLDEN);
    }

    #[test]
    fn damage_and_other_formats_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let read = |text: &str| {
            fs::write(folder.path().join(FILE), text).unwrap();
            Identity::read(folder.path()).unwrap_err()
        };
        assert!(matches!(read("{"), IdentityError::Damaged { .. }));
        assert!(matches!(
            read(r#"{"version": 7}"#),
            IdentityError::Version { found: 7, .. }
        ));
        for text in [GOLDEN, FIRST] {
            let stranger = text.replace("\"member_id\": \"8c", "\"member_id\": \"9c");
            assert!(matches!(read(&stranger), IdentityError::Damaged { .. }));
        }
        let deep = format!("{{\"version\": 1, \"members\": {}", "[".repeat(300));
        let error = read(&deep).to_string();
        assert!(error.len() < 200, "{error}");
    }

    #[test]
    fn every_flipped_bit_is_noticed_or_does_not_matter() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        for bit in 0..GOLDEN.len() * 8 {
            let mut bytes = GOLDEN.as_bytes().to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, &bytes).unwrap();
            if let Ok(read) = Identity::read(folder.path()) {
                assert_eq!(read, Some(identity()), "bit {bit}");
            }
        }
    }

    #[test]
    fn files_of_before_the_checksum_are_read() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), FIRST).unwrap();
        assert_eq!(Identity::read(folder.path()).unwrap(), Some(identity()));
    }
}
