//! To which endpoint the next connection goes. An endpoint that could not be reached is left out
//! until it can be.

/// An endpoint, with what its SRV record says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Remote {
    pub address: String,
    /// The smallest goes first.
    pub priority: u16,
    /// Its share among those of its priority.
    pub weight: u16,
}

/// In so many picks, one goes to an endpoint without weight although others have some.
const WEIGHTLESS_SHARE: u64 = 100;

pub(super) struct Remotes {
    remotes: Vec<(Remote, bool)>,
    turn: usize,
}

impl Remotes {
    /// All are active.
    pub fn new(remotes: Vec<Remote>) -> Remotes {
        Remotes {
            remotes: remotes.into_iter().map(|remote| (remote, true)).collect(),
            turn: 0,
        }
    }

    /// The endpoint of a connection; `None` if none is active.
    pub fn pick(&mut self, random: u64) -> Option<String> {
        let active = self.remotes.iter().filter(|(_, is_active)| *is_active);
        let active: Vec<&Remote> = active.map(|(remote, _)| remote).collect();
        let best = active.iter().map(|remote| remote.priority).min()?;
        let (weighted, weightless): (Vec<&Remote>, Vec<&Remote>) = active
            .into_iter()
            .filter(|remote| remote.priority == best)
            .partition(|remote| remote.weight > 0);
        let is_weightless_turn = !weightless.is_empty() && random.is_multiple_of(WEIGHTLESS_SHARE);
        if weighted.is_empty() || is_weightless_turn {
            let at = self.turn % weightless.len();
            self.turn = self.turn.wrapping_add(1);
            return Some(weightless[at].address.clone());
        }
        let all: u64 = weighted.iter().map(|remote| u64::from(remote.weight)).sum();
        let mut left = (random / WEIGHTLESS_SHARE) % all;
        for remote in &weighted {
            let weight = u64::from(remote.weight);
            if left < weight {
                return Some(remote.address.clone());
            }
            left -= weight;
        }
        None
    }

    pub fn set_active(&mut self, address: &str, is_active: bool) {
        for (remote, active) in &mut self.remotes {
            if remote.address == address {
                *active = is_active;
            }
        }
    }

    pub fn inactive(&self) -> Vec<String> {
        let inactive = self.remotes.iter().filter(|(_, is_active)| !is_active);
        inactive.map(|(remote, _)| remote.address.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remotes(all: &[(&str, u16, u16)]) -> Remotes {
        let remotes = all.iter().map(|(address, priority, weight)| Remote {
            address: (*address).to_owned(),
            priority: *priority,
            weight: *weight,
        });
        Remotes::new(remotes.collect())
    }

    fn picks(remotes: &mut Remotes, count: u64) -> Vec<String> {
        let picked = (0..count).map(|random| remotes.pick(random).expect("one is active"));
        picked.collect()
    }

    #[test]
    fn endpoints_without_weight_take_turns() {
        let mut remotes = remotes(&[("a", 0, 0), ("b", 0, 0), ("c", 1, 0)]);
        assert_eq!(picks(&mut remotes, 4), ["a", "b", "a", "b"]);
        remotes.set_active("a", false);
        assert_eq!(picks(&mut remotes, 2), ["b", "b"]);
        remotes.set_active("b", false);
        assert_eq!(picks(&mut remotes, 2), ["c", "c"]);
        remotes.set_active("c", false);
        assert_eq!(remotes.pick(0), None);
        assert_eq!(remotes.inactive(), ["a", "b", "c"]);
        remotes.set_active("b", true);
        assert_eq!(picks(&mut remotes, 1), ["b"]);
    }

    #[test]
    fn weights_are_shares() {
        let mut remotes = remotes(&[("a", 0, 1), ("b", 0, 3), ("c", 0, 0)]);
        let picked = picks(&mut remotes, 400);
        let count = |name: &str| picked.iter().filter(|it| *it == name).count();
        assert_eq!((count("a"), count("b"), count("c")), (99, 297, 4));
    }
}
