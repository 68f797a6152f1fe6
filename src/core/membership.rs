//! Changes of the membership: which are allowed, and the words of their refusals.
//!
//! The membership itself changes through raft, one change at a time; the leader asks here before
//! it proposes one. What clients are shown is the list of [`Member`]s: a member that was added as
//! a voter is shown as one from the start, though raft lets it vote only once it has caught up.

use crate::api::{Member, MemberId};
use crate::error::Error;
use crate::limits::{LEARNER_READY_PERCENT, LEARNERS_MAX};
use crate::url::{self, Url};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::fmt;

/// A change that a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The id and the URLs are settled where the request arrived; there is no name yet.
    Add(Member),
    Remove(MemberId),
    Update {
        id: MemberId,
        peer_urls: Vec<String>,
    },
    Promote(MemberId),
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::Add(member) if member.is_learner => write!(f, "add learner {}", member.id),
            Change::Add(member) => write!(f, "add member {}", member.id),
            Change::Remove(id) => write!(f, "remove member {id}"),
            Change::Update { id, .. } => write!(f, "update member {id}"),
            Change::Promote(id) => write!(f, "promote member {id}"),
        }
    }
}

/// What the leader knows when it judges a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The leader, which judges.
    pub leader: MemberId,
    /// The members as clients see them.
    pub members: Vec<Member>,
    /// Who votes in raft. A member that is shown as a voter is none before it has caught up.
    pub voters: BTreeSet<MemberId>,
    /// The members that were removed, ever.
    pub removed: BTreeSet<MemberId>,
    /// Who answered the leader a short while ago.
    pub active: BTreeSet<MemberId>,
    /// How much of the leader's log each member is known to have.
    pub matched: BTreeMap<MemberId, u64>,
    /// How much log the leader has.
    pub last_log_index: u64,
    /// Whether changes that would cost the quorum are refused (`--strict-reconfig-check`).
    pub strict: bool,
}

impl Standing {
    /// Judges a change, in etcd's order of questions.
    pub fn check(&self, change: &Change) -> Result<(), Error> {
        match change {
            Change::Add(member) => self.check_add(member),
            Change::Remove(id) => self.check_remove(*id),
            Change::Update { id, peer_urls } => {
                self.check_known(*id)?;
                self.check_urls(*id, peer_urls)
            }
            Change::Promote(id) => self.check_promote(*id),
        }
    }

    fn check_add(&self, member: &Member) -> Result<(), Error> {
        if self.strict {
            if !member.is_learner && !self.may_grow() {
                return Err(Error::MemberNotEnoughStarted);
            }
            if !self.shown_voters().all(|voter| self.is_active(voter.id)) {
                return Err(Error::Unhealthy);
            }
        }
        if self.removed.contains(&member.id) {
            return Err(Error::MemberNotFound);
        }
        if self.find(member.id).is_some() {
            return Err(Error::MemberExists);
        }
        self.check_urls(member.id, &member.peer_urls)?;
        let learners = self.members.iter().filter(|other| other.is_learner).count();
        if member.is_learner && learners >= LEARNERS_MAX {
            return Err(Error::TooManyLearners);
        }
        Ok(())
    }

    fn check_remove(&self, id: MemberId) -> Result<(), Error> {
        let is_learner = self.find(id).is_some_and(|member| member.is_learner);
        if self.strict && !is_learner {
            let rest = || self.shown_voters().filter(|voter| voter.id != id);
            let started = rest().filter(|voter| is_started(voter)).count();
            if started < quorum(rest().count()) {
                return Err(Error::MemberNotEnoughStarted);
            }
            // A member that is down is no part of the quorum that it might cost.
            let known_active = id == self.leader || (self.find(id).is_some() && self.is_active(id));
            let active = self.shown_voters().filter(|voter| self.is_active(voter.id));
            let voters = self.shown_voters().count();
            if known_active && active.count() - 1 < quorum(voters - 1) {
                return Err(Error::Unhealthy);
            }
            // Those were etcd's questions, and count newcomers that do not vote yet. Raft does not
            // count them, and a change that the rest cannot agree on would block every later one.
            let mut rest = self.voters.clone();
            if rest.remove(&id) && !rest.is_empty() && !self.can_agree(&rest) {
                return Err(Error::Unhealthy);
            }
        }
        self.check_known(id)?;
        if self.voters.iter().all(|voter| *voter == id) {
            // Nobody would be left to take the change back.
            return Err(Error::MemberNotEnoughStarted);
        }
        Ok(())
    }

    fn check_promote(&self, id: MemberId) -> Result<(), Error> {
        let member = self.check_known(id)?;
        if !member.is_learner {
            return Err(Error::MemberNotLearner);
        }
        let matched = self.matched.get(&id).copied().unwrap_or(0);
        let is_lagging = matched * 100 < self.last_log_index * LEARNER_READY_PERCENT;
        // One that never started has nothing, however short the log is.
        if (matched == 0 || is_lagging) && !crate::mutant!(UnstartedPromoted) {
            return Err(Error::LearnerNotReady);
        }
        let started = self
            .shown_voters()
            .filter(|voter| is_started(voter))
            .count();
        if self.strict {
            if started + 1 < quorum(self.shown_voters().count() + 1) {
                return Err(Error::MemberNotEnoughStarted);
            }
            let mut more = self.voters.clone();
            more.insert(id);
            if !self.can_agree(&more) {
                return Err(Error::Unhealthy);
            }
        }
        Ok(())
    }

    fn check_known(&self, id: MemberId) -> Result<&Member, Error> {
        self.find(id).ok_or(Error::MemberNotFound)
    }

    /// No two members have a URL in common.
    fn check_urls(&self, id: MemberId, peer_urls: &[String]) -> Result<(), Error> {
        let mut others = self.members.iter().filter(|member| member.id != id);
        match others.any(|other| other.peer_urls.iter().any(|url| peer_urls.contains(url))) {
            true => Err(Error::PeerUrlExists),
            false => Ok(()),
        }
    }

    /// Whether enough voters have started for one more. A single member may always get a second:
    /// that is how a lost cluster is built up again.
    fn may_grow(&self) -> bool {
        let voters = self.shown_voters().count() + 1;
        let started = self
            .shown_voters()
            .filter(|voter| is_started(voter))
            .count();
        (started == 1 && voters == 2) || started >= quorum(voters)
    }

    fn shown_voters(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| !member.is_learner)
    }

    fn find(&self, id: MemberId) -> Option<&Member> {
        self.members.iter().find(|member| member.id == id)
    }

    fn is_active(&self, id: MemberId) -> bool {
        id == self.leader || self.active.contains(&id)
    }

    /// Whether enough of these are there to agree on anything.
    fn can_agree(&self, voters: &BTreeSet<MemberId>) -> bool {
        let active = voters.iter().filter(|voter| self.is_active(**voter));
        active.count() >= quorum(voters.len())
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
pub fn check_forwarded(change: &Change) -> Result<(), Error> {
    let check_urls = |urls: &[String]| match peer_urls(urls)?.as_slice() == urls {
        true => Ok(()),
        false => Err(Error::MemberBadUrls),
    };
    match change {
        Change::Add(member) => {
            if member.id == MemberId(0) || is_started(member) || !member.client_urls.is_empty() {
                return Err(Error::Malformed("member"));
            }
            check_urls(&member.peer_urls)
        }
        Change::Update { peer_urls, .. } => check_urls(peer_urls),
        Change::Remove(_) | Change::Promote(_) => Ok(()),
    }
}

/// Whether a member has ever told its name, which it does once it runs.
pub fn is_started(member: &Member) -> bool {
    !member.name.is_empty()
}

/// Whether leadership may be handed to `id`, which must be among those who vote in raft: a leader
/// that hands over takes no writes meanwhile, and who does not vote would never relieve it.
pub fn check_transferee(voters: &[MemberId], id: MemberId) -> Result<(), Error> {
    match voters.contains(&id) {
        true => Ok(()),
        false => Err(Error::BadTransferee),
    }
}

fn quorum(voters: usize) -> usize {
    voters / 2 + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::vec;

    fn member(id: u64) -> Member {
        Member {
            id: MemberId(id),
            name: format!("m{id}"),
            peer_urls: vec![format!("http://m{id}:2380")],
            client_urls: vec![],
            is_learner: false,
        }
    }

    fn unstarted(id: u64) -> Member {
        Member {
            name: String::new(),
            ..member(id)
        }
    }

    fn learner(id: u64) -> Member {
        Member {
            is_learner: true,
            ..member(id)
        }
    }

    /// Member 1 leads, and all of `active` answer it. Who is shown as a voter votes.
    fn standing(members: Vec<Member>, active: &[u64]) -> Standing {
        let voters = members.iter().filter(|member| !member.is_learner);
        Standing {
            leader: MemberId(1),
            voters: voters.map(|member| member.id).collect(),
            members,
            removed: BTreeSet::from([MemberId(66)]),
            active: active.iter().map(|id| MemberId(*id)).collect(),
            matched: BTreeMap::from([(MemberId(4), 95)]),
            last_log_index: 100,
            strict: true,
        }
    }

    fn three() -> Vec<Member> {
        vec![member(1), member(2), member(3)]
    }

    #[test]
    fn a_healthy_cluster_grows() {
        let healthy = standing(three(), &[2, 3]);
        assert_eq!(healthy.check(&Change::Add(unstarted(4))), Ok(()));
        let unhealthy = standing(three(), &[2]);
        let refused = unhealthy.check(&Change::Add(unstarted(4)));
        assert_eq!(refused, Err(Error::Unhealthy));
        let lax = Standing {
            strict: false,
            ..unhealthy
        };
        assert_eq!(lax.check(&Change::Add(unstarted(4))), Ok(()));
    }

    #[test]
    fn who_has_not_started_counts_as_lost() {
        let alone = standing(vec![member(1)], &[]);
        assert_eq!(alone.check(&Change::Add(unstarted(2))), Ok(()));
        let growing = standing(vec![member(1), unstarted(2)], &[]);
        assert_eq!(
            growing.check(&Change::Add(unstarted(3))),
            Err(Error::MemberNotEnoughStarted)
        );
        let mut waiting = three();
        waiting.push(unstarted(4));
        let waiting = standing(waiting, &[2, 3]);
        assert_eq!(
            waiting.check(&Change::Add(unstarted(5))),
            Err(Error::Unhealthy)
        );
        assert_eq!(waiting.check(&Change::Remove(MemberId(4))), Ok(()));
    }

    #[test]
    fn ids_and_urls_are_used_once() {
        let healthy = standing(three(), &[2, 3]);
        let add = |member| healthy.check(&Change::Add(member));
        assert_eq!(add(member(2)), Err(Error::MemberExists));
        assert_eq!(add(unstarted(66)), Err(Error::MemberNotFound));
        let same_url = Member {
            peer_urls: member(3).peer_urls,
            ..unstarted(4)
        };
        assert_eq!(add(same_url), Err(Error::PeerUrlExists));
        let update = |id: u64, url: u64| {
            healthy.check(&Change::Update {
                id: MemberId(id),
                peer_urls: member(url).peer_urls,
            })
        };
        assert_eq!(update(2, 2), Ok(()));
        assert_eq!(update(2, 9), Ok(()));
        assert_eq!(update(2, 3), Err(Error::PeerUrlExists));
        assert_eq!(update(9, 9), Err(Error::MemberNotFound));
    }

    #[test]
    fn a_removal_leaves_a_quorum() {
        let healthy = standing(three(), &[2, 3]);
        for id in 1..=3 {
            assert_eq!(healthy.check(&Change::Remove(MemberId(id))), Ok(()));
        }
        let missing = healthy.check(&Change::Remove(MemberId(9)));
        assert_eq!(missing, Err(Error::MemberNotFound));
        let one_down = standing(three(), &[2]);
        assert_eq!(one_down.check(&Change::Remove(MemberId(3))), Ok(()));
        assert_eq!(
            one_down.check(&Change::Remove(MemberId(2))),
            Err(Error::Unhealthy)
        );
        assert_eq!(
            one_down.check(&Change::Remove(MemberId(1))),
            Err(Error::Unhealthy)
        );
        let last = standing(vec![member(1)], &[]);
        let refused = last.check(&Change::Remove(MemberId(1)));
        assert_eq!(refused, Err(Error::MemberNotEnoughStarted));
        let lax = Standing {
            strict: false,
            ..last
        };
        assert!(lax.check(&Change::Remove(MemberId(1))).is_err());
    }

    #[test]
    fn learners_are_few_and_ready() {
        let mut members = three();
        members.push(learner(4));
        let ready = standing(members, &[2, 3]);
        let more = ready.check(&Change::Add(learner(5)));
        assert_eq!(more, Err(Error::TooManyLearners));
        assert_eq!(ready.check(&Change::Promote(MemberId(4))), Ok(()));
        assert_eq!(ready.check(&Change::Remove(MemberId(4))), Ok(()));
        let voter = ready.check(&Change::Promote(MemberId(3)));
        assert_eq!(voter, Err(Error::MemberNotLearner));
        for matched in [BTreeMap::new(), BTreeMap::from([(MemberId(4), 89)])] {
            let lagging = Standing {
                matched,
                ..ready.clone()
            };
            let refused = lagging.check(&Change::Promote(MemberId(4)));
            assert_eq!(refused, Err(Error::LearnerNotReady));
        }
    }

    /// A newcomer that lags was counted among those who keep the quorum: the change that let it
    /// pass waited for a majority that was not there, for good.
    #[test]
    fn a_newcomer_that_does_not_vote_yet_keeps_no_quorum() {
        let mut members = three();
        members.push(member(4));
        let joining = Standing {
            voters: BTreeSet::from([1, 2, 3].map(MemberId)),
            ..standing(members, &[2, 4])
        };
        let remove = |id| joining.check(&Change::Remove(MemberId(id)));
        assert_eq!(remove(1), Err(Error::Unhealthy));
        assert_eq!(remove(2), Err(Error::Unhealthy));
        assert_eq!(remove(3), Ok(()), "the one that is down");
        assert_eq!(remove(4), Ok(()), "the newcomer itself");
        let lax = Standing {
            strict: false,
            ..joining.clone()
        };
        assert_eq!(lax.check(&Change::Remove(MemberId(2))), Ok(()));
        let caught_up = Standing {
            voters: BTreeSet::from([1, 2, 3, 4].map(MemberId)),
            ..joining
        };
        assert_eq!(caught_up.check(&Change::Remove(MemberId(2))), Ok(()));
    }

    #[test]
    fn the_only_voter_stays_whoever_is_about_to_join() {
        let joining = Standing {
            voters: BTreeSet::from([MemberId(1)]),
            strict: false,
            ..standing(vec![member(1), member(2)], &[2])
        };
        let refused = joining.check(&Change::Remove(MemberId(1)));
        assert_eq!(refused, Err(Error::MemberNotEnoughStarted));
        assert_eq!(joining.check(&Change::Remove(MemberId(2))), Ok(()));
    }

    #[test]
    fn a_learner_that_went_down_is_no_part_of_the_next_quorum() {
        let mut members = three();
        members.push(learner(4));
        let promote = Change::Promote(MemberId(4));
        let check = |active: &[u64]| standing(members.clone(), active).check(&promote);
        assert_eq!(check(&[2, 3]), Ok(()));
        assert_eq!(check(&[2, 4]), Ok(()));
        assert_eq!(check(&[2]), Err(Error::Unhealthy));
    }

    #[test]
    fn leadership_goes_to_who_votes() {
        let voters = [MemberId(1), MemberId(2)];
        assert_eq!(check_transferee(&voters, MemberId(2)), Ok(()));
        let newcomer = check_transferee(&voters, MemberId(4));
        assert_eq!(newcomer, Err(Error::BadTransferee));
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
            assert!(check_forwarded(&Change::Add(added)).is_err(), "{id} {url}");
        }
        let named = check_forwarded(&Change::Add(member(9)));
        assert_eq!(named, Err(Error::Malformed("member")));
        assert_eq!(check_forwarded(&Change::Add(unstarted(9))), Ok(()));
        let update = |urls: &[&str]| {
            let peer_urls = urls.iter().map(|url| String::from(*url)).collect();
            check_forwarded(&Change::Update {
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
            "unix://a:1",
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
