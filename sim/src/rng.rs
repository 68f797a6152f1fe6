//! Random draws of the simulator itself, apart from the engine's.
//!
//! Every part (plan, network, each disk, each workload) draws from a stream of its own, forked by
//! name from the run's seed, so that one more draw in one part does not shift all the others.

use std::ops::RangeInclusive;

/// A stream of draws (xoshiro256**, seeded by SplitMix64). The algorithm is written out here so
/// that a seed means the same run whatever version of a crate is built in.
#[derive(Clone, Debug)]
pub struct Rng {
    state: [u64; 4],
}

impl Rng {
    /// The stream named `part` of the run with this seed.
    pub fn of(seed: u64, part: &str) -> Rng {
        let mut mix = seed ^ fnv(part.as_bytes());
        let state = [(); 4].map(|()| split_mix(&mut mix));
        Rng { state }
    }

    /// A stream of its own, named `part`, that depends on where this one stands and does not move
    /// it.
    pub fn fork(&self, part: &str) -> Rng {
        let [a, b, c, d] = self.state;
        Rng::of(
            a ^ b.rotate_left(16) ^ c.rotate_left(32) ^ d.rotate_left(48),
            part,
        )
    }

    pub fn next_u64(&mut self) -> u64 {
        let [a, b, c, d] = self.state;
        let result = b.wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let shifted = b << 17;
        let (c, d) = (c ^ a, d ^ b);
        self.state = [a ^ d, b ^ c, c ^ shifted, d.rotate_left(45)];
        result
    }

    /// A number of the range, both ends included.
    pub fn range(&mut self, range: RangeInclusive<u64>) -> u64 {
        let (low, high) = range.into_inner();
        assert!(low <= high, "empty range {low}..={high}");
        let width = u128::from(high - low) + 1;
        let draw = (u128::from(self.next_u64()) * width) >> 64;
        low + u64::try_from(draw).expect("a draw is less than the width")
    }

    /// An index below `len`.
    pub fn index(&mut self, len: usize) -> usize {
        assert!(len > 0, "nothing to choose from");
        self.range(0..=len as u64 - 1) as usize
    }

    /// True with this probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        // 53 bits fill a double's mantissa; zero never fires and one always does.
        ((self.next_u64() >> 11) as f64) < probability * (1u64 << 53) as f64
    }

    /// A number between `low` and `high`.
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * ((self.next_u64() >> 11) as f64 / (1u64 << 53) as f64)
    }

    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.index(of.len())]
    }

    /// The index of a choice with these weights, of which at least one is positive.
    pub fn weighted(&mut self, weights: &[u64]) -> usize {
        let sum: u64 = weights.iter().sum();
        assert!(sum > 0, "no choice has a weight");
        let mut draw = self.range(0..=sum - 1);
        for (index, weight) in weights.iter().enumerate() {
            if draw < *weight {
                return index;
            }
            draw -= weight;
        }
        unreachable!("a draw is less than the sum of the weights")
    }
}

/// FNV-1a, for names and for the trace.
pub fn fnv(bytes: &[u8]) -> u64 {
    fnv_on(0xcbf2_9ce4_8422_2325, bytes)
}

/// Continues an FNV-1a hash.
pub fn fnv_on(mut hash: u64, bytes: &[u8]) -> u64 {
    for byte in bytes {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash
}

fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_fixed_by_seed_and_name() {
        let draws = |seed, part| {
            let mut rng = Rng::of(seed, part);
            [rng.next_u64(), rng.next_u64(), rng.next_u64()]
        };
        assert_eq!(draws(1, "net"), draws(1, "net"));
        assert_ne!(draws(1, "net"), draws(2, "net"));
        assert_ne!(draws(1, "net"), draws(1, "disk"));
    }

    #[test]
    fn draws_stay_in_their_ranges_and_reach_both_ends() {
        let mut rng = Rng::of(7, "test");
        let draws: Vec<u64> = (0..200).map(|_| rng.range(3..=6)).collect();
        assert!(draws.iter().all(|draw| (3..=6).contains(draw)));
        assert!((3..=6).all(|wanted| draws.contains(&wanted)));
        assert_eq!(rng.range(9..=9), 9);
        rng.range(0..=u64::MAX);
        assert!((0..100).all(|_| !rng.chance(0.0)) && (0..100).all(|_| rng.chance(1.0)));
        assert!((0..100).all(|_| rng.weighted(&[0, 3, 0]) == 1));
    }
}
