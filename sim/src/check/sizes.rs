//! The limit of a request's size: nothing larger is taken, and nothing smaller is refused for it.

use super::Finding;
use crate::history::{History, Operation, Outcome, Request};
use std::ops::RangeInclusive;

/// What a put may have besides its key and value.
const FRAME_BYTES_MAX: u64 = 512;

/// How a member says that a request is too large.
const TOO_LARGE: &str = "request is too large";

pub fn check(history: &History) -> Vec<Finding> {
    let operations = history.operations.iter();
    let findings = operations.filter_map(|operation| {
        let problem = problem(operation, &history.run_facts.request_bytes)?;
        Some(Finding::new(problem).operation(operation))
    });
    findings.collect()
}

fn problem(operation: &Operation, limits: &RangeInclusive<u64>) -> Option<&'static str> {
    let Request::Put(put) = &operation.request else {
        return None;
    };
    let bytes = (put.key.len() + put.value.len()) as u64;
    match &operation.outcome {
        Outcome::Done { .. } if bytes > *limits.end() => {
            Some("it was taken, and is larger than a request may be")
        }
        Outcome::Refused(why)
            if why.contains(TOO_LARGE) && bytes + FRAME_BYTES_MAX <= *limits.start() =>
        {
            Some("it was refused as too large, and is not")
        }
        Outcome::Done { .. } | Outcome::Refused(_) | Outcome::Failed(_) | Outcome::Unknown(_) => {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::forge::{NOTHING, did, history, refused, unknown};

    /// Whether a value of so many bytes may be put, or end like this.
    fn is_wrong(bytes: usize, outcome: Option<Outcome>) -> bool {
        let mut put = did(
            0.0,
            1.0,
            NOTHING,
            format!("put large {}", ".".repeat(bytes)),
        );
        put.outcome = outcome.unwrap_or(put.outcome);
        !check(&history(NOTHING, vec![put])).is_empty()
    }

    #[test]
    fn the_limit_is_where_it_is() {
        let too_large = || Some(refused(TOO_LARGE));
        assert!(!is_wrong(1_500_000, None));
        assert!(!is_wrong(1_600_000, too_large()));
        assert!(!is_wrong(1_600_000, Some(unknown())));
        assert!(is_wrong(1_572_865, None));
        assert!(is_wrong(1_500_000, too_large()));
        assert!(is_wrong(10, too_large()));
    }
}
