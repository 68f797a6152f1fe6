//! Who a member is: by its data-dir if it has started before, else by its flags.

use super::id::{cluster_id, member_id};
use crate::api::{ClusterId, Member, MemberId};
use crate::url::Url;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

/// A member and its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberOf {
    pub cluster_id: ClusterId,
    pub member_id: MemberId,
}

/// What the identity file of a data-dir says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoredIdentity {
    Missing,
    /// Damaged, or of another format.
    Unreadable,
    /// `has_started`: log and applied state have been there; from then on they must be.
    Of {
        member: MemberOf,
        has_started: bool,
    },
}

/// What is found in a data-dir.
#[derive(Clone, Copy, Debug)]
pub struct FoundDataDir {
    pub identity: StoredIdentity,
    /// The copy of the identity beside the log. It is never believed alone.
    pub copy: Option<MemberOf>,
    pub has_log: bool,
    pub has_state: bool,
}

/// Whether a member has started in a data-dir before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataDirUse {
    First,
    StartedBefore,
}

/// Why a member must not start with a data-dir.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataDirFault {
    /// It has promised what it cannot know any more.
    LogLost,
    StateLost,
    /// There is data, but nothing says whose it is.
    IdentityMissing,
    IdentityUnreadable,
    /// The identity and its copy are of two members.
    MixedUp,
}

/// Whether what belongs together is there.
pub fn check_data_dir(found: &FoundDataDir) -> Result<DataDirUse, DataDirFault> {
    let has_data = found.has_log || found.has_state || found.copy.is_some();
    match found.identity {
        StoredIdentity::Missing if has_data => Err(DataDirFault::IdentityMissing),
        StoredIdentity::Missing => Ok(DataDirUse::First),
        StoredIdentity::Unreadable => Err(DataDirFault::IdentityUnreadable),
        StoredIdentity::Of { member, .. } if found.copy.is_some_and(|copy| copy != member) => {
            Err(DataDirFault::MixedUp)
        }
        StoredIdentity::Of { has_started, .. } if has_started && !found.has_log => {
            Err(DataDirFault::LogLost)
        }
        StoredIdentity::Of { has_started, .. } if has_started && !found.has_state => {
            Err(DataDirFault::StateLost)
        }
        StoredIdentity::Of { .. } => Ok(DataDirUse::StartedBefore),
    }
}

/// Whether the copy of an identity may take the place of the identity: the log, as far as it says
/// whose it is, is of the same member.
pub fn is_copy_usable(copy: MemberOf, log_owner: Option<MemberOf>) -> bool {
    log_owner.is_none_or(|owner| owner == copy)
}

/// The members of a new cluster, with their ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Founding {
    pub own: MemberOf,
    pub members: Vec<Member>,
}

/// The ids of a new cluster, as etcd computes them. `None` if `own_name` is not among the members.
pub fn found(
    own_name: &str,
    members: &BTreeMap<String, Vec<Url>>,
    token: &str,
) -> Option<Founding> {
    let members: Vec<Member> = members
        .iter()
        .map(|(name, urls)| {
            let peer_urls: Vec<String> = urls.iter().map(Url::to_string).collect();
            Member {
                id: member_id(&peer_urls, token, None),
                name: name.clone(),
                peer_urls,
                ..Member::default()
            }
        })
        .collect();
    let ids: Vec<MemberId> = members.iter().map(|member| member.id).collect();
    let own = members.iter().find(|member| member.name == own_name)?;
    let own = MemberOf {
        cluster_id: cluster_id(&ids),
        member_id: own.id,
    };
    Some(Founding { own, members })
}

/// How the flags contradict a data-dir.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FlagsMismatch {
    /// The flags give the stored member this other name.
    OtherMember { owner: String },
    /// The stored cluster was not founded with this token.
    OtherCluster,
}

/// Holds the flags against the member that founded its cluster with `founders`.
///
/// Flags that changed since the first start are no news: members come and go, and move, while the
/// flags of a service stay as they are, and etcd goes by its data-dir as well. But two members, or
/// members of two clusters, must never be mixed up.
pub fn check_flags(
    stored: MemberOf,
    founders: &[Member],
    own_name: &str,
    named: &BTreeMap<String, Vec<Url>>,
    token: &str,
) -> Result<(), FlagsMismatch> {
    let id_of = |urls: &[String]| member_id(urls, token, None);
    let owner = named.iter().find(|(_, urls)| {
        let urls: Vec<String> = urls.iter().map(Url::to_string).collect();
        id_of(&urls) == stored.member_id
    });
    if let Some((owner, _)) = owner
        && owner != own_name
    {
        let owner = owner.clone();
        return Err(FlagsMismatch::OtherMember { owner });
    }
    let ids: Vec<MemberId> = founders.iter().map(|it| id_of(&it.peer_urls)).collect();
    match cluster_id(&ids) == stored.cluster_id {
        true => Ok(()),
        false => Err(FlagsMismatch::OtherCluster),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMBER: MemberOf = MemberOf {
        cluster_id: ClusterId(1),
        member_id: MemberId(2),
    };
    const OTHER: MemberOf = MemberOf {
        cluster_id: ClusterId(1),
        member_id: MemberId(3),
    };

    /// Every combination of what can be found.
    #[test]
    fn a_data_dir_is_used_when_everything_that_belongs_together_is_there() {
        let found = |identity, copy, has_log, has_state| {
            check_data_dir(&FoundDataDir {
                identity,
                copy,
                has_log,
                has_state,
            })
        };
        for (copy, has_log, has_state) in [None, Some(MEMBER), Some(OTHER)]
            .into_iter()
            .flat_map(|copy| [false, true].map(|log| (copy, log)))
            .flat_map(|(copy, log)| [false, true].map(|state| (copy, log, state)))
        {
            let missing = match copy.is_some() || has_log || has_state {
                true => Err(DataDirFault::IdentityMissing),
                false => Ok(DataDirUse::First),
            };
            let of = |has_started| StoredIdentity::Of {
                member: MEMBER,
                has_started,
            };
            let unreadable = Err(DataDirFault::IdentityUnreadable);
            assert_eq!(
                found(StoredIdentity::Missing, copy, has_log, has_state),
                missing
            );
            assert_eq!(
                found(StoredIdentity::Unreadable, copy, has_log, has_state),
                unreadable
            );
            let (first, later) = match (copy == Some(OTHER), has_log, has_state) {
                (true, ..) => (Err(DataDirFault::MixedUp), Err(DataDirFault::MixedUp)),
                (_, false, _) => (Ok(DataDirUse::StartedBefore), Err(DataDirFault::LogLost)),
                (_, _, false) => (Ok(DataDirUse::StartedBefore), Err(DataDirFault::StateLost)),
                _ => (Ok(DataDirUse::StartedBefore), Ok(DataDirUse::StartedBefore)),
            };
            assert_eq!(found(of(false), copy, has_log, has_state), first);
            assert_eq!(found(of(true), copy, has_log, has_state), later);
        }
    }

    #[test]
    fn a_copy_is_used_when_the_log_is_of_the_same_member() {
        assert!(is_copy_usable(MEMBER, None));
        assert!(is_copy_usable(MEMBER, Some(MEMBER)));
        assert!(!is_copy_usable(MEMBER, Some(OTHER)));
    }

    #[test]
    fn flags_of_another_member_or_cluster_are_refused() {
        let url = |text: &str| Url::parse(text).unwrap();
        let named: BTreeMap<String, Vec<Url>> = [("a", "http://a:1"), ("b", "http://b:1")]
            .into_iter()
            .map(|(name, text)| (name.to_string(), Vec::from([url(text)])))
            .collect();
        let founding = found("a", &named, "t").unwrap();
        assert_eq!(found("c", &named, "t"), None);
        let check = |own_name: &str, named: &BTreeMap<String, Vec<Url>>, token: &str| {
            check_flags(founding.own, &founding.members, own_name, named, token)
        };
        assert_eq!(check("a", &named, "t"), Ok(()));
        let owner = "a".to_string();
        assert_eq!(
            check("b", &named, "t"),
            Err(FlagsMismatch::OtherMember { owner })
        );
        assert_eq!(check("a", &named, "u"), Err(FlagsMismatch::OtherCluster));
        // Members have come and gone since, and this one has moved.
        let moved = BTreeMap::from([("a".to_string(), Vec::from([url("http://c:1")]))]);
        assert_eq!(check("a", &moved, "t"), Ok(()));
    }
}
