//! Lists of members tell of the members there are:
//! - every member was there from the start, or somebody asked for it;
//! - who was told to be a member is in every later linearizable list, until somebody asks for the
//!   removal;
//! - whose removal was answered is in no later linearizable list;
//! - who was added is in every later list, be it the member's own, of the process that said so.

use super::{Finding, headers};
use crate::cluster_calls::{Asked, ClusterCall, Told};
use crate::history::History;
use detcd_wire::etcdserverpb as pb;
use std::collections::BTreeMap;
use std::time::Duration;

pub fn check(history: &History) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (call, ended, told) in history.cluster_answers() {
        let Told::Members(members) = told else {
            continue;
        };
        let what = stranger(history, members, ended).or_else(|| match call.asked {
            Asked::MemberList { linearizable: true } => not_current(history, call, ended, members),
            Asked::MemberList { .. } => not_its_own(history, call, ended, members),
            _ => None,
        });
        if let Some(what) = what {
            findings.push(Finding::new(what).member(call.member).time(ended));
        }
    }
    findings
}

/// A member that nobody asked for.
fn stranger(history: &History, members: &[pb::Member], ended: Duration) -> Option<String> {
    let asked_for = |member: &&pb::Member| {
        let calls = history.cluster_calls.iter().filter(|it| it.called <= ended);
        let mut urls = calls.filter_map(|call| match &call.asked {
            Asked::Add { peer_urls } | Asked::Update { peer_urls } => Some(peer_urls),
            _ => None,
        });
        history.run_facts.ids.contains(&member.id) || urls.any(|it| *it == member.peer_urls)
    };
    let stranger = members.iter().find(|member| !asked_for(member))?;
    let (id, urls) = (stranger.id, &stranger.peer_urls);
    Some(format!(
        "{id:x} at {urls:?} is listed, for which nobody asked"
    ))
}

/// A member too many or too few.
fn not_current(
    history: &History,
    call: &ClusterCall,
    ended: Duration,
    members: &[pb::Member],
) -> Option<String> {
    let is_listed = |id: u64| members.iter().any(|member| member.id == id);
    let removals = || {
        history
            .cluster_calls
            .iter()
            .filter_map(|it| match it.asked {
                Asked::Remove { id } => Some((id, it)),
                _ => None,
            })
    };
    let answered = |it: &ClusterCall| it.told.as_ref().map(|(ended, _)| *ended);
    for (id, removal) in removals() {
        let removed = answered(removal).filter(|removed| *removed <= call.called);
        if let Some(removed) = removed.filter(|_| is_listed(id)) {
            return Some(format!("{id:x} was removed at {removed:?}, and is listed"));
        }
    }
    for (id, known) in known_before(history, call.called) {
        let is_removed = removals().any(|(removed, it)| removed == id && it.called <= ended);
        if !is_listed(id) && !is_removed {
            return Some(format!(
                "{id:x} is not listed, which was a member at {known:?}"
            ));
        }
    }
    None
}

/// A member too few in the list of a process that has said that it was added.
fn not_its_own(
    history: &History,
    call: &ClusterCall,
    ended: Duration,
    members: &[pb::Member],
) -> Option<String> {
    for (change, added, told) in history.cluster_answers() {
        let Asked::Add { peer_urls } = &change.asked else {
            continue;
        };
        let Told::Members(then) = told else { continue };
        let life = headers::life(history, call.member, change.called, ended);
        if change.member != call.member || added > call.called || life.is_none() {
            continue;
        }
        let Some(new) = then.iter().find(|it| it.peer_urls == *peer_urls) else {
            continue;
        };
        let is_removed = history
            .cluster_calls
            .iter()
            .any(|it| it.asked == Asked::Remove { id: new.id } && it.called <= ended);
        if !is_removed && !members.iter().any(|member| member.id == new.id) {
            let id = new.id;
            return Some(format!("{id:x} is not listed, which it added at {added:?}"));
        }
    }
    None
}

/// Who was told to be a member by then, and when for the first time.
fn known_before(history: &History, moment: Duration) -> BTreeMap<u64, Duration> {
    let mut known = BTreeMap::new();
    for (_, ended, told) in history.cluster_answers() {
        if let Told::Members(members) = told
            && ended <= moment
        {
            for member in members {
                known.entry(member.id).or_insert(ended);
            }
        }
    }
    known
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: u64) -> pb::Member {
        pb::Member {
            id,
            peer_urls: vec![format!("http://m{id}")],
            ..Default::default()
        }
    }

    /// A call that takes a second, and what was told.
    fn call(at: u64, asked: Asked, told: Option<&[u64]>) -> ClusterCall {
        let told = told.map(|ids| {
            let members = ids.iter().map(|id| member(*id)).collect();
            (Duration::from_secs(at + 1), Told::Members(members))
        });
        ClusterCall {
            member: 0,
            called: Duration::from_secs(at),
            told,
            asked,
        }
    }

    fn list(at: u64, linearizable: bool, ids: &[u64]) -> ClusterCall {
        call(at, Asked::MemberList { linearizable }, Some(ids))
    }

    fn is_right(calls: &[ClusterCall]) -> bool {
        let mut history = History::default();
        history.run_facts.ids = [1, 2, 3].into();
        history.cluster_calls = calls.to_vec();
        let found = check(&history);
        println!("{found:#?}");
        found.is_empty()
    }

    fn add() -> Asked {
        Asked::Add {
            peer_urls: vec!["http://m4".to_owned()],
        }
    }

    #[test]
    fn members_come_and_go() {
        let lists = [
            list(1, true, &[1, 2, 3]),
            call(3, add(), Some(&[1, 2, 3, 4])),
            list(5, true, &[1, 2, 3, 4]),
            call(7, Asked::Remove { id: 1 }, Some(&[2, 3, 4])),
            // Another member, which lags, tells so.
            ClusterCall {
                member: 1,
                ..list(9, false, &[1, 2, 3])
            },
            list(11, true, &[2, 3, 4]),
        ];
        assert!(is_right(&lists));
        // Nobody knows what became of it.
        let removal = call(3, Asked::Remove { id: 1 }, None);
        let before = list(1, true, &[1, 2, 3]);
        for after in [&[2, 3][..], &[1, 2, 3]] {
            let lists = [before.clone(), removal.clone(), list(5, true, after)];
            assert!(is_right(&lists));
        }
    }

    #[test]
    fn forged_lists_are_found() {
        let before = list(1, true, &[1, 2, 3]);
        let strangers = [before.clone(), list(3, false, &[1, 2, 3, 4])];
        assert!(!is_right(&strangers), "nobody asked for it");
        let added = [
            call(3, add(), Some(&[1, 2, 3, 4])),
            list(5, true, &[1, 2, 3]),
        ];
        assert!(!is_right(&added), "it was added");
        let added = [
            call(3, add(), Some(&[1, 2, 3, 4])),
            list(5, false, &[1, 2, 3]),
        ];
        assert!(!is_right(&added), "the member that is asked has added it");
        let elsewhere = [
            added[0].clone(),
            ClusterCall {
                member: 1,
                ..added[1].clone()
            },
        ];
        assert!(is_right(&elsewhere), "another member may lag");
        let missing = [before.clone(), list(3, true, &[1, 2])];
        assert!(!is_right(&missing), "nobody removed it");
        let removal = call(3, Asked::Remove { id: 1 }, Some(&[2, 3]));
        let back = [before, removal, list(5, true, &[1, 2, 3])];
        assert!(!is_right(&back), "it was removed");
    }
}
