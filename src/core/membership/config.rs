//! A membership as raft has it, and whether it makes sense.

use crate::api::{Member, MemberId};
use crate::limits::{MEMBER_BYTES_MAX, MEMBER_PEER_URLS_MAX, MEMBERS_MAX};
use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;
use thiserror::Error;

/// Who votes, and who belongs to the cluster at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RaftMembership {
    /// One set of voters; of a joint membership two, each of which must agree.
    pub voters: Vec<BTreeSet<MemberId>>,
    /// Voters and raft's learners, without what members publish themselves.
    pub members: Vec<Member>,
}

/// Why a membership cannot be one of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BadMembership {
    #[error("{0} sets of voters")]
    Sets(usize),
    #[error("nobody votes")]
    NobodyVotes,
    #[error("voter {0} is no member")]
    UnknownVoter(MemberId),
    #[error("{0} members")]
    Members(usize),
    #[error("a member without an id")]
    NoId,
    #[error("member {0} has {1} peer URLs")]
    PeerUrls(MemberId, usize),
    #[error("member {0} has a name and URLs of {1} bytes")]
    Size(MemberId, usize),
    #[error("member {0} has the peer URL {1:?}")]
    PeerUrl(MemberId, String),
}

impl RaftMembership {
    /// Whether a membership has voters, who are members, and each member can be reached.
    pub fn check(&self) -> Result<(), BadMembership> {
        let sets = self.voters.len();
        if sets == 0 || sets > 2 {
            return Err(BadMembership::Sets(sets));
        }
        if self.voters.iter().any(BTreeSet::is_empty) {
            return Err(BadMembership::NobodyVotes);
        }
        let members = self.members.len();
        if members > MEMBERS_MAX {
            return Err(BadMembership::Members(members));
        }
        let ids: BTreeSet<MemberId> = self.members.iter().map(|member| member.id).collect();
        if let Some(unknown) = self.voters.iter().flatten().find(|id| !ids.contains(id)) {
            return Err(BadMembership::UnknownVoter(*unknown));
        }
        self.members.iter().try_for_each(check_member)
    }
}

fn check_member(member: &Member) -> Result<(), BadMembership> {
    let (id, urls) = (member.id, &member.peer_urls);
    if id == MemberId(0) {
        return Err(BadMembership::NoId);
    }
    if urls.is_empty() || urls.len() > MEMBER_PEER_URLS_MAX {
        return Err(BadMembership::PeerUrls(id, urls.len()));
    }
    let bytes = member.name.len() + urls.iter().map(String::len).sum::<usize>();
    if bytes > MEMBER_BYTES_MAX {
        return Err(BadMembership::Size(id, bytes));
    }
    match urls.iter().find(|url| !is_url(url)) {
        Some(url) => Err(BadMembership::PeerUrl(id, url.clone())),
        None => Ok(()),
    }
}

/// Whether this may be a peer URL. Flags take more kinds of URLs than the calls that add members.
fn is_url(url: &str) -> bool {
    let Some((scheme, rest)) = url.split_once("://") else {
        return false;
    };
    let is_known = ["http", "https", "unix", "unixs"]
        .iter()
        .any(|known| scheme.eq_ignore_ascii_case(known));
    let is_plain = |c: char| !c.is_whitespace() && !c.is_control();
    is_known && !rest.is_empty() && rest.chars().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::vec;

    fn membership(
        sets: &[&[u64]],
        ids: core::ops::RangeInclusive<u64>,
        url: &str,
    ) -> RaftMembership {
        let set = |ids: &&[u64]| ids.iter().copied().map(MemberId).collect();
        RaftMembership {
            voters: sets.iter().map(set).collect(),
            members: ids
                .map(|id| Member {
                    id: MemberId(id),
                    name: format!("m{id}"),
                    peer_urls: vec![String::from(url)],
                    ..Member::default()
                })
                .collect(),
        }
    }

    #[test]
    fn a_membership_has_voters_who_are_members() {
        let check = |sets: &[&[u64]], ids| membership(sets, ids, "http://a:1").check();
        assert_eq!(check(&[&[1, 2, 3]], 1..=3), Ok(()));
        assert_eq!(check(&[&[1]], 1..=3), Ok(()), "learners");
        assert_eq!(check(&[&[1, 2], &[2, 3]], 1..=3), Ok(()), "joint");
        assert_eq!(check(&[], 1..=3), Err(BadMembership::Sets(0)));
        let three: [&[u64]; 3] = [&[1], &[2], &[3]];
        assert_eq!(check(&three, 1..=3), Err(BadMembership::Sets(3)));
        assert_eq!(check(&[&[1], &[]], 1..=3), Err(BadMembership::NobodyVotes));
        let unknown = Err(BadMembership::UnknownVoter(MemberId(4)));
        assert_eq!(check(&[&[1, 4]], 1..=3), unknown);
        assert_eq!(check(&[&[1]], 0..=3), Err(BadMembership::NoId));
        assert_eq!(check(&[&[1]], 1..=256), Ok(()));
        assert_eq!(check(&[&[1]], 1..=257), Err(BadMembership::Members(257)));
    }

    #[test]
    fn a_member_can_be_reached() {
        let check = |url: &str| membership(&[&[1]], 1..=1, url).check();
        for url in ["http://a:1", "HTTPS://[::1]:2", "unix://a:1", "unixs://x"] {
            assert_eq!(check(url), Ok(()), "{url}");
        }
        for url in [
            "",
            "a:1",
            "ftp://a:1",
            "http://",
            "http://a b:1",
            "http://a\n:1",
        ] {
            assert!(check(url).is_err(), "{url:?}");
        }
        let mut one = membership(&[&[1]], 1..=1, "http://a:1");
        one.members[0].name = "n".repeat(MEMBER_BYTES_MAX);
        assert!(matches!(one.check(), Err(BadMembership::Size(..))));
        one.members[0].name.clear();
        one.members[0].peer_urls.clear();
        assert_eq!(one.check(), Err(BadMembership::PeerUrls(MemberId(1), 0)));
        one.members[0].peer_urls = vec![String::from("http://a:1"); MEMBER_PEER_URLS_MAX + 1];
        assert!(matches!(one.check(), Err(BadMembership::PeerUrls(..))));
    }
}
