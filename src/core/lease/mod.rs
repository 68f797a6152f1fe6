//! Leases as one member keeps them.
//!
//! The replicated state knows which leases exist and for how long each was granted; time is the
//! leader's business alone ([`Lessor`]). What a grant needs before it is proposed is settled here
//! too, because apply has neither clock nor randomness.

mod lessor;

pub use lessor::{Lessor, Renewal};

use crate::api::{LeaseId, Millis};

/// The id that a grant of `id` is proposed with: the client's own, or one made of `random`.
pub fn settle_id(id: LeaseId, random: u64) -> LeaseId {
    match id {
        LeaseId::NONE => LeaseId(((random & i64::MAX as u64) as i64).max(1)),
        id => id,
    }
}

/// The shortest time-to-live in seconds: a lease outlives an election and a half, so that it can
/// be kept alive across a change of the leader.
pub fn ttl_min(election_timeout: Millis) -> i64 {
    let seconds = election_timeout.0.saturating_mul(3).div_ceil(2000);
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_ttl_is_etcds() {
        assert_eq!(ttl_min(Millis(1000)), 2);
        assert_eq!(ttl_min(Millis(100)), 1);
        assert_eq!(ttl_min(Millis(2000)), 3);
        assert_eq!(ttl_min(Millis(50_000)), 75);
    }

    #[test]
    fn an_id_is_chosen_only_if_none_is_given_and_is_positive() {
        assert_eq!(settle_id(LeaseId(-5), 9), LeaseId(-5));
        assert_eq!(settle_id(LeaseId::NONE, 9), LeaseId(9));
        assert_eq!(settle_id(LeaseId::NONE, u64::MAX), LeaseId(i64::MAX));
        assert_eq!(settle_id(LeaseId::NONE, 1 << 63), LeaseId(1));
    }
}
