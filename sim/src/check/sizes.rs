//! The limit of a request's size: nothing larger is taken, and nothing smaller is refused for it.

use super::{Check, Finding, Violation};
use crate::history::{History, Operation, Outcome, Request};
use std::ops::RangeInclusive;

/// What a put may have besides its key and value.
const FRAME_BYTES_MAX: u64 = 512;

/// How a member says that a request is too large.
const TOO_LARGE: &str = "request is too large";

pub fn check(history: &History) -> Vec<Violation> {
    let operations = history.operations.iter();
    let findings = operations.filter_map(|operation| {
        let problem = problem(operation, &history.run_facts.request_bytes)?;
        Some(Finding::new(problem).operation(operation))
    });
    findings.map(|finding| finding.of(Check::Sizes)).collect()
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
    use crate::history::Reply;
    use crate::workload::ops;
    use bytes::Bytes;
    use detcd_core::api::PutReply;
    use std::time::Duration;

    fn is_wrong(bytes: usize, outcome: Outcome) -> bool {
        let key = Bytes::from_static(b"large");
        let history = History {
            operations: vec![Operation {
                client: 1,
                member: 0,
                called: Duration::ZERO,
                ended: Duration::from_secs(1),
                request: Request::Put(ops::put(&key, vec![b'.'; bytes])),
                outcome,
            }],
            ..History::default()
        };
        !check(&history).is_empty()
    }

    #[test]
    fn the_limit_is_where_it_is() {
        let taken = || Outcome::Done {
            revision: 2,
            reply: Reply::Put(PutReply::default()),
        };
        let refused = || Outcome::Refused(format!("etcdserver: {TOO_LARGE}"));
        assert!(!is_wrong(1_500_000, taken()));
        assert!(!is_wrong(1_600_000, refused()));
        assert!(!is_wrong(
            1_600_000,
            Outcome::Unknown("timed out".to_owned())
        ));
        assert!(is_wrong(1_572_865, taken()));
        assert!(is_wrong(1_500_000, refused()));
        assert!(is_wrong(10, refused()));
    }
}
