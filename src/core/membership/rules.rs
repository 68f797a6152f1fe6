//! Which changes are allowed, in etcd's order of questions.

use super::MembershipChange;
use crate::api::{Member, MemberId};
use crate::error::Error;
use crate::limits::{LEARNER_READY_PERCENT, LEARNERS_MAX, VOTER_LAG_MAX};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;

/// What a member knows when it judges a change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterState {
    /// The member that judges: the leader, or without one the member that is asked.
    pub own_id: MemberId,
    /// The members as clients see them.
    pub members: Vec<Member>,
    /// Who votes in raft. A member that is shown as a voter is none before it has caught up.
    pub voters: BTreeSet<MemberId>,
    /// The members that were removed, ever.
    pub removed: BTreeSet<MemberId>,
    pub replication: Replication,
    /// Whether changes that would cost the quorum are refused (`--strict-reconfig-check`).
    pub strict: bool,
}

/// How far the others have come, as far as the leader knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replication {
    /// Who answered a short while ago.
    pub active: BTreeSet<MemberId>,
    /// How much of the leader's log each member is known to have.
    pub matched: BTreeMap<MemberId, u64>,
    /// How much log the leader has.
    pub last_log_index: u64,
}

impl Replication {
    /// Whether a member answers, and has nearly all of the log: it may vote, or lead at once.
    pub fn is_ready(&self, id: MemberId) -> bool {
        let has = self.matched.get(&id).copied();
        let has_caught_up = has.is_some_and(|has| has + VOTER_LAG_MAX >= self.last_log_index);
        has_caught_up && self.active.contains(&id)
    }
}

impl ClusterState {
    /// Judges a change, in etcd's order of questions.
    pub fn check(&self, change: &MembershipChange) -> Result<(), Error> {
        match change {
            MembershipChange::Add(member) => self.check_add(member),
            MembershipChange::Remove(id) => self.check_remove(*id),
            MembershipChange::Update { id, peer_urls } => {
                self.check_known(*id)?;
                self.check_urls(*id, peer_urls)
            }
            MembershipChange::Promote(id) => self.check_promote(*id),
        }
    }

    /// What etcd refuses though nobody leads: the member that is asked judges by its connections.
    pub fn check_without_leader(&self, change: &MembershipChange) -> Result<(), Error> {
        // A member that has yet to hear of its cluster knows nothing.
        if self.members.is_empty() {
            return Ok(());
        }
        match change {
            MembershipChange::Add(member) => self.check_add_quorum(member),
            MembershipChange::Remove(id) => self.check_remove_quorum(*id),
            MembershipChange::Update { .. } | MembershipChange::Promote(_) => Ok(()),
        }
    }

    /// The first member that was added as a voter, has caught up, and does not vote yet.
    pub fn next_voter(&self) -> Option<MemberId> {
        let mut waiting = self.shown_voters().map(|member| member.id);
        waiting.find(|id| !self.voters.contains(id) && self.replication.is_ready(*id))
    }

    fn check_add_quorum(&self, member: &Member) -> Result<(), Error> {
        if !self.strict {
            return Ok(());
        }
        if !member.is_learner && !self.may_grow() {
            return Err(Error::MemberNotEnoughStarted);
        }
        match self.shown_voters().all(|voter| self.is_active(voter.id)) {
            true => Ok(()),
            false => Err(Error::Unhealthy),
        }
    }

    fn check_add(&self, member: &Member) -> Result<(), Error> {
        self.check_add_quorum(member)?;
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

    /// etcd's questions, which count newcomers that do not vote yet.
    fn check_remove_quorum(&self, id: MemberId) -> Result<(), Error> {
        let is_learner = self.find(id).is_some_and(|member| member.is_learner);
        if !self.strict || is_learner {
            return Ok(());
        }
        let rest = || self.shown_voters().filter(|voter| voter.id != id);
        let started = rest().filter(|voter| is_started(voter)).count();
        if started < quorum(rest().count()) {
            return Err(Error::MemberNotEnoughStarted);
        }
        // A member that is down is no part of the quorum that it might cost.
        let is_there = id == self.own_id || (self.find(id).is_some() && self.is_active(id));
        let active = self.shown_voters().filter(|voter| self.is_active(voter.id));
        let voters = self.shown_voters().count();
        match is_there && active.count() - 1 < quorum(voters - 1) {
            true => Err(Error::Unhealthy),
            false => Ok(()),
        }
    }

    fn check_remove(&self, id: MemberId) -> Result<(), Error> {
        self.check_remove_quorum(id)?;
        let is_learner = self.find(id).is_some_and(|member| member.is_learner);
        if self.strict && !is_learner {
            // Raft does not count newcomers, and a change that the rest cannot agree on would block
            // every later one.
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
        let matched = self.replication.matched.get(&id).copied().unwrap_or(0);
        let is_lagging = matched * 100 < self.replication.last_log_index * LEARNER_READY_PERCENT;
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
        id == self.own_id || self.replication.active.contains(&id)
    }

    /// Whether enough of these are there to agree on anything.
    fn can_agree(&self, voters: &BTreeSet<MemberId>) -> bool {
        let active = voters.iter().filter(|voter| self.is_active(**voter));
        active.count() >= quorum(voters.len())
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
    use crate::membership::change::tests::{member, unstarted};
    use alloc::vec;

    fn learner(id: u64) -> Member {
        Member {
            is_learner: true,
            ..member(id)
        }
    }

    /// Member 1 leads, and all of `active` answer it. Who is shown as a voter votes.
    fn state(members: Vec<Member>, active: &[u64]) -> ClusterState {
        let voters = members.iter().filter(|member| !member.is_learner);
        ClusterState {
            own_id: MemberId(1),
            voters: voters.map(|member| member.id).collect(),
            members,
            removed: BTreeSet::from([MemberId(66)]),
            replication: Replication {
                active: active.iter().map(|id| MemberId(*id)).collect(),
                matched: BTreeMap::from([(MemberId(4), 95)]),
                last_log_index: 100,
            },
            strict: true,
        }
    }

    fn three() -> Vec<Member> {
        vec![member(1), member(2), member(3)]
    }

    #[test]
    fn a_healthy_cluster_grows() {
        let healthy = state(three(), &[2, 3]);
        assert_eq!(healthy.check(&MembershipChange::Add(unstarted(4))), Ok(()));
        let unhealthy = state(three(), &[2]);
        let refused = unhealthy.check(&MembershipChange::Add(unstarted(4)));
        assert_eq!(refused, Err(Error::Unhealthy));
        let lax = ClusterState {
            strict: false,
            ..unhealthy
        };
        assert_eq!(lax.check(&MembershipChange::Add(unstarted(4))), Ok(()));
    }

    #[test]
    fn who_has_not_started_counts_as_lost() {
        let alone = state(vec![member(1)], &[]);
        assert_eq!(alone.check(&MembershipChange::Add(unstarted(2))), Ok(()));
        let growing = state(vec![member(1), unstarted(2)], &[]);
        assert_eq!(
            growing.check(&MembershipChange::Add(unstarted(3))),
            Err(Error::MemberNotEnoughStarted)
        );
        let mut waiting = three();
        waiting.push(unstarted(4));
        let waiting = state(waiting, &[2, 3]);
        assert_eq!(
            waiting.check(&MembershipChange::Add(unstarted(5))),
            Err(Error::Unhealthy)
        );
        assert_eq!(
            waiting.check(&MembershipChange::Remove(MemberId(4))),
            Ok(())
        );
    }

    #[test]
    fn ids_and_urls_are_used_once() {
        let healthy = state(three(), &[2, 3]);
        let add = |member| healthy.check(&MembershipChange::Add(member));
        assert_eq!(add(member(2)), Err(Error::MemberExists));
        assert_eq!(add(unstarted(66)), Err(Error::MemberNotFound));
        let same_url = Member {
            peer_urls: member(3).peer_urls,
            ..unstarted(4)
        };
        assert_eq!(add(same_url), Err(Error::PeerUrlExists));
        let update = |id: u64, url: u64| {
            healthy.check(&MembershipChange::Update {
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
        let healthy = state(three(), &[2, 3]);
        for id in 1..=3 {
            assert_eq!(
                healthy.check(&MembershipChange::Remove(MemberId(id))),
                Ok(())
            );
        }
        let missing = healthy.check(&MembershipChange::Remove(MemberId(9)));
        assert_eq!(missing, Err(Error::MemberNotFound));
        let one_down = state(three(), &[2]);
        assert_eq!(
            one_down.check(&MembershipChange::Remove(MemberId(3))),
            Ok(())
        );
        assert_eq!(
            one_down.check(&MembershipChange::Remove(MemberId(2))),
            Err(Error::Unhealthy)
        );
        assert_eq!(
            one_down.check(&MembershipChange::Remove(MemberId(1))),
            Err(Error::Unhealthy)
        );
        let last = state(vec![member(1)], &[]);
        let refused = last.check(&MembershipChange::Remove(MemberId(1)));
        assert_eq!(refused, Err(Error::MemberNotEnoughStarted));
        let lax = ClusterState {
            strict: false,
            ..last
        };
        assert!(lax.check(&MembershipChange::Remove(MemberId(1))).is_err());
    }

    #[test]
    fn learners_are_few_and_ready() {
        let mut members = three();
        members.push(learner(4));
        let ready = state(members, &[2, 3]);
        let more = ready.check(&MembershipChange::Add(learner(5)));
        assert_eq!(more, Err(Error::TooManyLearners));
        assert_eq!(ready.check(&MembershipChange::Promote(MemberId(4))), Ok(()));
        assert_eq!(ready.check(&MembershipChange::Remove(MemberId(4))), Ok(()));
        let voter = ready.check(&MembershipChange::Promote(MemberId(3)));
        assert_eq!(voter, Err(Error::MemberNotLearner));
        for matched in [BTreeMap::new(), BTreeMap::from([(MemberId(4), 89)])] {
            let mut lagging = ready.clone();
            lagging.replication.matched = matched;
            let refused = lagging.check(&MembershipChange::Promote(MemberId(4)));
            assert_eq!(refused, Err(Error::LearnerNotReady));
        }
    }

    /// A newcomer that lags was counted among those who keep the quorum: the change that let it
    /// pass waited for a majority that was not there, for good.
    #[test]
    fn a_newcomer_that_does_not_vote_yet_keeps_no_quorum() {
        let mut members = three();
        members.push(member(4));
        let joining = ClusterState {
            voters: BTreeSet::from([1, 2, 3].map(MemberId)),
            ..state(members, &[2, 4])
        };
        let remove = |id| joining.check(&MembershipChange::Remove(MemberId(id)));
        assert_eq!(remove(1), Err(Error::Unhealthy));
        assert_eq!(remove(2), Err(Error::Unhealthy));
        assert_eq!(remove(3), Ok(()), "the one that is down");
        assert_eq!(remove(4), Ok(()), "the newcomer itself");
        let lax = ClusterState {
            strict: false,
            ..joining.clone()
        };
        assert_eq!(lax.check(&MembershipChange::Remove(MemberId(2))), Ok(()));
        let caught_up = ClusterState {
            voters: BTreeSet::from([1, 2, 3, 4].map(MemberId)),
            ..joining
        };
        assert_eq!(
            caught_up.check(&MembershipChange::Remove(MemberId(2))),
            Ok(())
        );
    }

    #[test]
    fn the_only_voter_stays_whoever_is_about_to_join() {
        let joining = ClusterState {
            voters: BTreeSet::from([MemberId(1)]),
            strict: false,
            ..state(vec![member(1), member(2)], &[2])
        };
        let refused = joining.check(&MembershipChange::Remove(MemberId(1)));
        assert_eq!(refused, Err(Error::MemberNotEnoughStarted));
        assert_eq!(
            joining.check(&MembershipChange::Remove(MemberId(2))),
            Ok(())
        );
    }

    #[test]
    fn a_learner_that_went_down_is_no_part_of_the_next_quorum() {
        let mut members = three();
        members.push(learner(4));
        let promote = MembershipChange::Promote(MemberId(4));
        let check = |active: &[u64]| state(members.clone(), active).check(&promote);
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
}
