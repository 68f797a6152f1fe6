//! Entries of a leader's log, and the memberships in them and in snapshots.

use super::Refusal;
use crate::payload;
use crate::types::{Command, Entry, LogId, Membership, Peer, term_of};
use detcd_core::proposal;
use openraft::EntryPayload;

/// Members of a cluster, learners among them.
pub(crate) const MEMBERS_MAX: usize = 256;
/// The peer URLs of a member.
pub(crate) const PEER_URLS_MAX: usize = 64;
/// The name and the URLs of a member, in bytes.
pub(crate) const MEMBER_BYTES_MAX: usize = 64 * 1024;

/// Whether an entry can be applied once it is committed.
pub(crate) fn check(entry: &Entry) -> Result<(), Refusal> {
    match &entry.payload {
        EntryPayload::Blank => Ok(()),
        EntryPayload::Normal(command) => check_command(&entry.log_id, command),
        EntryPayload::Membership(membership) => check_membership(membership),
    }
}

fn check_command(log_id: &LogId, command: &Command) -> Result<(), Refusal> {
    let proposal = payload::decode_proposal(command).map_err(proposal::Refusal::Unreadable);
    let checked = proposal.and_then(|proposal| proposal::command(&proposal.command).map(drop));
    checked.map_err(|problem| Refusal::Command {
        index: log_id.index(),
        term: term_of(log_id),
        problem,
    })
}

/// A membership has voters, who are members, and each member can be reached.
pub(crate) fn check_membership(membership: &Membership) -> Result<(), Refusal> {
    let refused = |problem: String| Err(Refusal::Membership(problem));
    let configs = membership.get_joint_config();
    if configs.is_empty() || configs.len() > 2 {
        return refused(format!("{} configs of voters", configs.len()));
    }
    if configs.iter().any(|voters| voters.is_empty()) {
        return refused("nobody votes".to_owned());
    }
    for voter in configs.iter().flatten() {
        if membership.get_node(voter).is_none() {
            return refused(format!("voter {voter:x} is no member"));
        }
    }
    let members = membership.nodes().count();
    if members > MEMBERS_MAX {
        return refused(format!("{members} members"));
    }
    for (id, peer) in membership.nodes() {
        if *id == 0 {
            return refused("a member without an id".to_owned());
        }
        if let Err(problem) = check_peer(peer) {
            return refused(format!("member {id:x} {problem}"));
        }
    }
    Ok(())
}

fn check_peer(peer: &Peer) -> Result<(), String> {
    let urls = &peer.peer_urls;
    if urls.is_empty() || urls.len() > PEER_URLS_MAX {
        return Err(format!("has {} peer URLs", urls.len()));
    }
    let bytes = peer.name.len() + urls.iter().map(String::len).sum::<usize>();
    if bytes > MEMBER_BYTES_MAX {
        return Err(format!("has a name and URLs of {bytes} bytes"));
    }
    match urls.iter().find(|url| !is_url(url)) {
        Some(url) => Err(format!("has the peer URL {url:?}")),
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
