//! Where the other members are reached, by the memberships that this member knows.
//!
//! A member that starts for the first time knows only the members that it was started with. They
//! stay known until a membership has shown them: the log that it then reads begins with the members
//! of long ago.

use crate::api::{Member, MemberId};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// What is to be done to the transport's addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AddressEffect {
    Set {
        id: MemberId,
        peer_urls: Vec<String>,
    },
    Remove(MemberId),
}

/// The addresses that the transport has.
#[derive(Debug)]
pub struct PeerAddresses {
    own_id: MemberId,
    /// Those that this member was started with, and that no membership has shown yet.
    given: BTreeSet<MemberId>,
    known: BTreeMap<MemberId, Vec<String>>,
    /// By the membership that was committed last.
    committed: BTreeMap<MemberId, Vec<String>>,
    /// What each had before it moved.
    left: BTreeMap<MemberId, Vec<String>>,
}

impl PeerAddresses {
    pub fn new(own_id: MemberId) -> PeerAddresses {
        PeerAddresses {
            own_id,
            given: BTreeSet::new(),
            known: BTreeMap::new(),
            committed: BTreeMap::new(),
            left: BTreeMap::new(),
        }
    }

    /// A member starts with the membership that it has `applied`, or without one with the members
    /// that it was `given`.
    pub fn start(&mut self, given: &[Member], applied: &[Member]) -> Vec<AddressEffect> {
        if !applied.is_empty() {
            return self.follow(&[applied]);
        }
        let effects = self.follow(&[given]);
        self.given = self.known.keys().copied().collect();
        effects
    }

    /// Takes up the memberships that count now, the newest first: the one in the log, and the one
    /// that is committed. Who is only in the older one still has to hear that it was removed.
    ///
    /// A member with other URLs in each is reached at all of them. It moves once the change is
    /// committed, and the change may need its vote for that; but a change that this member does not
    /// know to be committed may be, and then the member has moved. And it may move only once it has
    /// heard that the change is committed: what it has left is tried last, until it moves again.
    pub fn follow(&mut self, memberships: &[&[Member]]) -> Vec<AddressEffect> {
        let mut wanted: BTreeMap<MemberId, Vec<String>> = BTreeMap::new();
        let members = memberships.iter().rev().copied().flatten();
        for member in members.filter(|member| member.id != self.own_id) {
            let urls = wanted.entry(member.id).or_default();
            for url in &member.peer_urls {
                if !urls.contains(url) {
                    urls.push(url.clone());
                }
            }
        }
        if memberships.iter().all(|members| members.is_empty()) {
            return Vec::new();
        }
        self.leave(memberships.last().copied().unwrap_or(&[]));
        for (id, urls) in &mut wanted {
            let left = self.left.get(id).into_iter().flatten();
            let left: Vec<String> = left.filter(|url| !urls.contains(url)).cloned().collect();
            urls.extend(left);
        }
        self.given.retain(|id| !wanted.contains_key(id));
        let stays = |id: &MemberId| wanted.contains_key(id) || self.given.contains(id);
        let gone = self.known.keys().filter(|id| !stays(id));
        let gone: Vec<MemberId> = gone.copied().collect();
        let mut effects = Vec::new();
        for (id, peer_urls) in wanted {
            if self.known.get(&id) != Some(&peer_urls) {
                self.known.insert(id, peer_urls.clone());
                effects.push(AddressEffect::Set { id, peer_urls });
            }
        }
        for id in gone {
            self.known.remove(&id);
            effects.push(AddressEffect::Remove(id));
        }
        effects
    }

    /// Takes up the committed membership: who has other URLs there than before has moved.
    fn leave(&mut self, committed: &[Member]) {
        let urls = committed
            .iter()
            .map(|member| (member.id, member.peer_urls.clone()));
        let before = core::mem::replace(&mut self.committed, urls.collect());
        let after = &self.committed;
        let moved = before
            .into_iter()
            .filter(|(id, urls)| after.get(id).is_some_and(|now| now != urls));
        self.left.extend(moved);
        self.left.retain(|id, _| after.contains_key(id));
    }
}

impl fmt::Display for AddressEffect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AddressEffect::Set { id, peer_urls } => {
                write!(f, "reach {id} at {}", peer_urls.join(","))
            }
            AddressEffect::Remove(id) => write!(f, "forget {id}"),
        }
    }
}
