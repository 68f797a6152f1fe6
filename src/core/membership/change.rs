//! The changes that clients ask for, and what makes one well-formed.

use super::is_started;
use crate::api::{Member, MemberId};
use crate::error::Error;
use crate::url::{self, Url};
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::fmt;

/// A change that a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MembershipChange {
    /// The id and the URLs are settled where the request arrived; there is no name yet.
    Add(Member),
    Remove(MemberId),
    Update {
        id: MemberId,
        peer_urls: Vec<String>,
    },
    Promote(MemberId),
}

impl MembershipChange {
    /// Whether it was made, as these members show it.
    pub fn is_seen(&self, members: &[Member]) -> bool {
        let find = |id: MemberId| members.iter().find(|member| member.id == id);
        match self {
            MembershipChange::Add(member) => find(member.id).is_some(),
            MembershipChange::Remove(id) => find(*id).is_none(),
            // Who is there no more was removed after it.
            MembershipChange::Update { id, peer_urls } => {
                find(*id).is_none_or(|member| member.peer_urls == *peer_urls)
            }
            MembershipChange::Promote(id) => find(*id).is_none_or(|member| !member.is_learner),
        }
    }
}

impl fmt::Display for MembershipChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MembershipChange::Add(member) if member.is_learner => {
                write!(f, "add learner {}", member.id)
            }
            MembershipChange::Add(member) => write!(f, "add member {}", member.id),
            MembershipChange::Remove(id) => write!(f, "remove member {id}"),
            MembershipChange::Update { id, .. } => write!(f, "update member {id}"),
            MembershipChange::Promote(id) => write!(f, "promote member {id}"),
        }
    }
}

/// A member's peer URLs as etcd takes them: some, sorted, and as Go prints them. Unlike etcd's, each
/// must be one that another member can connect to.
pub fn peer_urls(urls: &[String]) -> Result<Vec<String>, Error> {
    let urls = url::parse_all(urls).map_err(|_| Error::MemberBadUrls)?;
    match urls.iter().all(Url::is_reachable) {
        true => Ok(urls.iter().map(Url::to_string).collect()),
        false => Err(Error::MemberBadUrls),
    }
}

/// Whether a change that another member forwards is one that a client may ask for: its URLs are
/// settled, and a member that is added has told nothing of itself yet.
pub fn check_forwarded(change: &MembershipChange) -> Result<(), Error> {
    let check_urls = |urls: &[String]| match peer_urls(urls)?.as_slice() == urls {
        true => Ok(()),
        false => Err(Error::MemberBadUrls),
    };
    match change {
        MembershipChange::Add(member) => {
            if member.id == MemberId(0) || is_started(member) || !member.client_urls.is_empty() {
                return Err(Error::Malformed("member"));
            }
            check_urls(&member.peer_urls)
        }
        MembershipChange::Update { peer_urls, .. } => check_urls(peer_urls),
        MembershipChange::Remove(_) | MembershipChange::Promote(_) => Ok(()),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use alloc::format;
    use alloc::vec;

    pub(in crate::membership) fn member(id: u64) -> Member {
        Member {
            id: MemberId(id),
            name: format!("m{id}"),
            peer_urls: vec![format!("http://m{id}:2380")],
            client_urls: vec![],
            is_learner: false,
        }
    }

    pub(in crate::membership) fn unstarted(id: u64) -> Member {
        Member {
            name: String::new(),
            ..member(id)
        }
    }

    #[test]
    fn a_change_is_seen_in_the_members_after_it() {
        let (before, learner) = (vec![member(1), member(2)], member(3));
        let learner = Member {
            is_learner: true,
            ..learner
        };
        let with_learner = [&before[..], core::slice::from_ref(&learner)].concat();
        let add = MembershipChange::Add(learner);
        assert!(!add.is_seen(&before) && add.is_seen(&with_learner));
        let promote = MembershipChange::Promote(MemberId(3));
        let promoted = [&before[..], &[member(3)]].concat();
        assert!(!promote.is_seen(&with_learner) && promote.is_seen(&promoted));
        let remove = MembershipChange::Remove(MemberId(3));
        assert!(!remove.is_seen(&promoted) && remove.is_seen(&before));
        let update = MembershipChange::Update {
            id: MemberId(2),
            peer_urls: vec!["http://x:1".to_string()],
        };
        let moved = Member {
            peer_urls: vec!["http://x:1".to_string()],
            ..member(2)
        };
        assert!(!update.is_seen(&before) && update.is_seen(&[member(1), moved]));
    }

    #[test]
    fn a_forwarded_change_is_one_that_clients_may_ask_for() {
        let ids_and_urls = [(0, "http://a:1"), (9, "x y z"), (9, "http://a:1 ")];
        for (id, url) in ids_and_urls {
            let peer_urls = vec![String::from(url)];
            let id = MemberId(id);
            let added = Member {
                id,
                peer_urls: peer_urls.clone(),
                ..Member::default()
            };
            assert!(
                check_forwarded(&MembershipChange::Add(added)).is_err(),
                "{id} {url}"
            );
        }
        let named = check_forwarded(&MembershipChange::Add(member(9)));
        assert_eq!(named, Err(Error::Malformed("member")));
        assert_eq!(
            check_forwarded(&MembershipChange::Add(unstarted(9))),
            Ok(())
        );
        let update = |urls: &[&str]| {
            let peer_urls = urls.iter().map(|url| String::from(*url)).collect();
            check_forwarded(&MembershipChange::Update {
                id: MemberId(9),
                peer_urls,
            })
        };
        assert_eq!(update(&["http://a:1", "http://b:1"]), Ok(()));
        for bad in [&[][..], &["x"], &["http://b:1", "http://a:1"]] {
            assert_eq!(update(bad), Err(Error::MemberBadUrls));
        }
    }

    #[test]
    fn urls_have_a_scheme_a_host_and_a_port() {
        let parsed = |urls: &[&str]| {
            let urls: Vec<String> = urls.iter().map(|url| String::from(*url)).collect();
            peer_urls(&urls)
        };
        assert_eq!(
            parsed(&["http://b:1", "https://[::1]:2380"]).unwrap(),
            ["http://b:1", "https://[::1]:2380"]
        );
        assert_eq!(
            parsed(&["http://b:1", "http://a:1"]).unwrap()[0],
            "http://a:1"
        );
        assert_eq!(
            parsed(&["HTTP://b:1 ", " http://a:1"]).unwrap(),
            ["http://a:1", "http://b:1"]
        );
        let bad = [
            "",
            "a:1",
            "unix://",
            "ftp://a:1",
            "http://a",
            "http://:1",
            "http://a:1/x",
            "http://a:99999",
        ];
        for url in bad {
            assert_eq!(parsed(&[url]), Err(Error::MemberBadUrls), "{url}");
        }
        assert_eq!(parsed(&[]), Err(Error::MemberBadUrls));
    }
}
