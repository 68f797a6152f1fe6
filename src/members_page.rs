//! The page `/members` of the peer port, which servers show and starting members read.

use detcd_core::api::{Member, MemberId};
use serde::{Deserialize, Serialize};

/// A member as the page has always shown it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberEntry {
    id: u64,
    #[serde(rename = "peerURLs", default)]
    peer_urls: Vec<String>,
    #[serde(default)]
    name: String,
    #[serde(rename = "clientURLs", default, skip_serializing_if = "Vec::is_empty")]
    client_urls: Vec<String>,
    #[serde(
        rename = "isLearner",
        default,
        skip_serializing_if = "std::ops::Not::not"
    )]
    is_learner: bool,
}

impl From<Member> for MemberEntry {
    fn from(member: Member) -> MemberEntry {
        MemberEntry {
            id: member.id.0,
            peer_urls: member.peer_urls,
            name: member.name,
            client_urls: member.client_urls,
            is_learner: member.is_learner,
        }
    }
}

impl From<MemberEntry> for Member {
    fn from(entry: MemberEntry) -> Member {
        Member {
            id: MemberId(entry.id),
            name: entry.name,
            peer_urls: entry.peer_urls,
            client_urls: entry.client_urls,
            is_learner: entry.is_learner,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_have_etcds_names_and_are_read_back() {
        let member = Member {
            id: MemberId(7),
            name: "a".to_owned(),
            peer_urls: vec!["http://a:1".to_owned()],
            client_urls: Vec::new(),
            is_learner: false,
        };
        let text = serde_json::to_string(&MemberEntry::from(member.clone())).expect("JSON");
        assert_eq!(text, r#"{"id":7,"peerURLs":["http://a:1"],"name":"a"}"#);
        let read: MemberEntry = serde_json::from_str(&text).expect("an entry");
        assert_eq!(Member::from(read), member);
    }
}
