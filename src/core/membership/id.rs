//! The ids of members and clusters, computed as etcd does, so that a cluster keeps its ids
//! whichever of the two serves it.

use crate::api::{ClusterId, MemberId};
use alloc::string::String;
use alloc::vec::Vec;
use sha1::{Digest, Sha1};

/// The id of a member: a hash of its peer URLs, whatever their order, and of the cluster's token.
/// A member that is added to a running cluster is hashed with the time instead of a token
/// (`added_at`, unix seconds; the token is then empty).
pub fn member_id(peer_urls: &[String], token: &str, added_at: Option<u64>) -> MemberId {
    let mut urls: Vec<&str> = peer_urls.iter().map(String::as_str).collect();
    urls.sort_unstable();
    let mut sha = Sha1::new();
    for url in urls {
        sha.update(url.as_bytes());
    }
    sha.update(token.as_bytes());
    if let Some(seconds) = added_at {
        sha.update(alloc::format!("{seconds}").as_bytes());
    }
    MemberId(head(sha))
}

/// The id of a cluster: a hash of its first members' ids, whatever their order.
pub fn cluster_id(members: &[MemberId]) -> ClusterId {
    let mut ids: Vec<u64> = members.iter().map(|member| member.0).collect();
    ids.sort_unstable();
    let mut sha = Sha1::new();
    for id in ids {
        sha.update(id.to_be_bytes());
    }
    ClusterId(head(sha))
}

fn head(sha: Sha1) -> u64 {
    let hash = sha.finalize();
    hash.iter()
        .take(8)
        .fold(0, |id, byte| id << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::ToString;

    fn ids(urls: &[&str], token: &str) -> (Vec<String>, String) {
        let ids: Vec<MemberId> = urls
            .iter()
            .map(|url| member_id(&[url.to_string()], token, None))
            .collect();
        (
            ids.iter().map(|id| id.to_string()).collect(),
            cluster_id(&ids).to_string(),
        )
    }

    #[test]
    fn ids_are_those_of_the_articles() {
        let urls = [
            "http://10.0.1.10:2380",
            "http://10.0.1.11:2380",
            "http://10.0.1.12:2380",
        ];
        let (members, cluster) = ids(&urls, "etcd-cluster-1");
        assert_eq!(
            members,
            ["140fedbeeb74765d", "d5dc5f8d75d04e29", "8a0a11c6194fc77"]
        );
        assert_eq!(cluster, "acccc8912db0cd57");
        let urls = ["http://192.168.100.103:2380", "http://192.168.100.104:2380"];
        let (members, _) = ids(&urls, "etcd-cluster-test");
        assert_eq!(members, ["940f6e83e019a03f", "1b80a88a471eb4b8"]);
    }

    #[test]
    fn ids_are_etcds() {
        let (members, cluster) = ids(
            &[
                "http://192.168.10.10:2380",
                "http://192.168.10.20:2380",
                "http://192.168.10.30:2380",
            ],
            "etcd-cluster",
        );
        assert_eq!(
            members,
            ["8c632555af4d958d", "8ea0d0c11d6c5ba9", "36cdcac79ee8e410"]
        );
        assert_eq!(cluster, "59dd43cb7c449c");

        let (members, cluster) = ids(
            &[
                "https://192.168.10.10:2380",
                "https://192.168.10.20:2380",
                "https://192.168.10.30:2380",
            ],
            "etcd-cluster",
        );
        assert_eq!(
            members,
            ["245f0eaff21d8741", "be3fc3d5e1dfe2ce", "23599d5be7403bf7"]
        );
        assert_eq!(cluster, "6522ede9e3270627");

        let (members, cluster) = ids(&["http://localhost:2380"], "etcd-cluster");
        assert_eq!(members, ["8e9e05c52164694d"]);
        assert_eq!(cluster, "cdf818194e3a8c32");
    }

    #[test]
    fn the_order_of_urls_and_members_does_not_matter() {
        let urls = |order: [&str; 2]| order.map(String::from).to_vec();
        assert_eq!(
            member_id(&urls(["http://a:1", "http://b:1"]), "t", None),
            member_id(&urls(["http://b:1", "http://a:1"]), "t", None),
        );
        let (a, b) = (MemberId(1), MemberId(2));
        assert_eq!(cluster_id(&[a, b]), cluster_id(&[b, a]));
    }

    #[test]
    fn a_member_that_is_added_has_the_time_in_its_id() {
        let id = member_id(
            &["http://192.168.100.102:2380".to_string()],
            "",
            Some(1_455_620_797),
        );
        assert_eq!(format!("{id}"), "cdc1e5e338e27adc");
    }
}
