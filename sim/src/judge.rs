//! What the histories of a run come to.

use crate::check::{Check, Clocks, Facts, JUDGES, Violation};
use crate::fault::Fault;
use crate::history::History;
use crate::profile::{self, Part};
use crate::run_facts::{RefusalReasons, RunFacts};
use crate::scenario::Scenario;

/// Checks of what clients write down only when they are done with it: who was interrupted in the
/// middle leaves traces in the store that nobody owns up to.
const OF_DONE_CLIENTS: [Check; 3] = [Check::Append, Check::MutualExclusion, Check::Election];

/// How much each check reports; the rest mostly follows from it.
const REPORTED_MAX: usize = 10;

/// Judges a history by all checks that the scenario wants: also one that ends early, as far as it
/// goes, so that a cluster that does not come back cannot hide what it did before.
pub fn judge(plan: &Scenario, history: &History, clients_are_done: bool) -> Vec<Violation> {
    // What clients of v2 do makes no revision.
    let has_revisions = !history.revisions.is_empty();
    let _part = profile::enter(Part::History);
    let facts = Facts::of(history, clocks(plan));
    let mut violations = Vec::new();
    let judges = JUDGES.iter();
    for (check, judge) in judges.filter(|(check, _)| has_revisions || *check == Check::V2) {
        if plan.wants(*check) && (clients_are_done || !OF_DONE_CLIENTS.contains(check)) {
            let found = judge(&facts).into_iter().take(REPORTED_MAX);
            violations.extend(found.map(|finding| finding.of(*check)));
        }
    }
    violations
}

/// What the checks have to know of the plan.
pub fn settings(plan: &Scenario, run_facts: &mut RunFacts) {
    run_facts.election_timeout = plan.cluster().election_ms.millis();
    let mut refusal_reasons = RefusalReasons {
        quota: plan.cluster().quota_bytes.value() > 0,
        txn_ops: plan.cluster().max_txn_ops.value(),
        joins: false,
    };
    plan.faults
        .iter()
        .for_each(|fault| fault.add_refusal_reasons(&mut refusal_reasons));
    run_facts.refusal_reasons = refusal_reasons;
    // At the member that takes the least, and at the one that takes most.
    let own = plan.cluster().max_request_bytes.value();
    let changed = plan.faults.iter().filter_map(Fault::request_bytes);
    run_facts.request_bytes = changed.fold(own..=own, |range, bytes| {
        bytes.min(*range.start())..=bytes.max(*range.end())
    });
}

/// What the plan does to the members' clocks.
fn clocks(plan: &Scenario) -> Clocks {
    let skewed = || plan.cluster().clock.rate.all();
    let slowest = skewed().fold(1.0, |slowest, rate| rate.low.min(slowest));
    let faults = plan.faults.iter().filter_map(|fault| fault.clock());
    let clocks = faults.chain(skewed().map(|rate| (rate.high, false)));
    let (fastest, jumped) = clocks.fold((1.0, false), |(fastest, jumped), (rate, jumps)| {
        (rate.max(fastest), jumped || jumps)
    });
    Clocks {
        fastest,
        slowest,
        jumped,
    }
}
