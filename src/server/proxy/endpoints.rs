//! The members that a proxy sends requests to: which, in which order, and which are left out for a
//! while because they did not answer.

use detcd_rt::Instant;
use std::time::Duration;

struct Endpoint {
    url: String,
    /// It did not answer: it is left out until then.
    failed_until: Option<Instant>,
}

impl Endpoint {
    fn is_available(&self, now: Instant) -> bool {
        self.failed_until.is_none_or(|until| until <= now)
    }
}

/// The client URLs of the members.
pub struct Endpoints {
    endpoints: Vec<Endpoint>,
    failure_wait: Duration,
    /// Requests so far: each begins with the next endpoint.
    turn: usize,
}

impl Endpoints {
    /// None yet. One that does not answer is left out for `failure_wait`.
    pub fn new(failure_wait: Duration) -> Endpoints {
        Endpoints {
            endpoints: Vec::new(),
            failure_wait,
            turn: 0,
        }
    }

    /// The members tell these URLs now. What has failed is tried again.
    pub fn replace(&mut self, urls: Vec<String>) {
        let endpoint = |url| Endpoint {
            url,
            failed_until: None,
        };
        self.endpoints = urls.into_iter().map(endpoint).collect();
    }

    pub fn available(&self, now: Instant) -> Vec<String> {
        let endpoints = self.endpoints.iter();
        let available = endpoints.filter(|endpoint| endpoint.is_available(now));
        available.map(|endpoint| endpoint.url.clone()).collect()
    }

    /// Where the next request goes: the first, and those to try if it fails.
    pub fn in_turn(&mut self, now: Instant) -> Vec<String> {
        let mut urls = self.available(now);
        if !urls.is_empty() {
            let first = self.turn % urls.len();
            urls.rotate_left(first);
            self.turn = self.turn.wrapping_add(1);
        }
        urls
    }

    /// The endpoint has not answered.
    pub fn failed(&mut self, url: &str, now: Instant) {
        let until = now + self.failure_wait;
        let failed = self.endpoints.iter_mut().filter(|it| it.url == url);
        failed.for_each(|it| it.failed_until = Some(until));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_go_to_each_in_turn_and_not_to_who_has_failed() {
        let now = Instant::now();
        let mut endpoints = Endpoints::new(Duration::from_secs(5));
        assert!(endpoints.in_turn(now).is_empty());
        endpoints.replace(["a", "b", "c"].map(str::to_owned).to_vec());
        assert_eq!(endpoints.in_turn(now), ["a", "b", "c"]);
        assert_eq!(endpoints.in_turn(now), ["b", "c", "a"]);
        endpoints.failed("c", now);
        assert_eq!(endpoints.in_turn(now), ["a", "b"]);
        assert_eq!(endpoints.available(now), ["a", "b"]);
        let later = now + Duration::from_secs(5);
        assert_eq!(endpoints.available(later), ["a", "b", "c"]);
        endpoints.failed("a", later);
        endpoints.replace(["a"].map(str::to_owned).to_vec());
        assert_eq!(
            endpoints.available(later),
            ["a"],
            "a refresh is a new chance"
        );
    }
}
