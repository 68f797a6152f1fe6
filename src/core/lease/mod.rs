//! Leases as one member keeps them.
//!
//! The replicated state knows which leases exist and for how long each was granted; time is the
//! leader's business alone ([`Keeper`]). What a grant needs before it is proposed is settled here
//! too, because apply has neither clock nor randomness.

mod keeper;

pub use keeper::{Keeper, Renewal};

use crate::api::{LeaseId, Millis};

/// The id that a grant of `id` is proposed with: the client's own, or one made of `random`.
pub fn settle_id(id: LeaseId, random: u64) -> LeaseId {
    match id {
        LeaseId::NONE => LeaseId(((random & i64::MAX as u64) as i64).max(1)),
        id => id,
    }
}

/// The time-to-live that a grant is proposed with, in seconds. A lease outlives an election and a
/// half, so that it can be kept alive across a change of the leader.
pub fn settle_ttl(ttl: i64, election_timeout: Millis) -> i64 {
    let ttl_min = (election_timeout.0 * 3 / 2).div_ceil(1000);
    ttl.max(i64::try_from(ttl_min).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_ttl_is_raised_as_etcd_raises_it() {
        let election_timeout = Millis(1000);
        assert_eq!(settle_ttl(1, election_timeout), 2);
        assert_eq!(settle_ttl(0, election_timeout), 2);
        assert_eq!(settle_ttl(-7, election_timeout), 2);
        assert_eq!(settle_ttl(2, election_timeout), 2);
        assert_eq!(settle_ttl(60, election_timeout), 60);
        assert_eq!(settle_ttl(1, Millis(50_000)), 75);
    }

    #[test]
    fn an_id_is_chosen_only_if_none_is_given_and_is_positive() {
        assert_eq!(settle_id(LeaseId(-5), 9), LeaseId(-5));
        assert_eq!(settle_id(LeaseId::NONE, 9), LeaseId(9));
        assert_eq!(settle_id(LeaseId::NONE, u64::MAX), LeaseId(i64::MAX));
        assert_eq!(settle_id(LeaseId::NONE, 1 << 63), LeaseId(1));
    }
}
