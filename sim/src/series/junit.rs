//! A series as JUnit XML, which CI services show: a suite for each scenario, a case for each seed.

use super::{Done, Named};
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use std::path::Path;
use std::time::Duration;

/// Writes the report.
pub fn write(path: &Path, scenarios: &[Named], done: &[Done]) -> Result<(), String> {
    let xml = report(scenarios, done);
    std::fs::write(path, xml).map_err(|error| format!("{}: {error}", path.display()))
}

fn report(scenarios: &[Named], done: &[Done]) -> String {
    let mut report = Report::new("detcd simulator");
    let mut took = Duration::ZERO;
    for (index, named) in scenarios.iter().enumerate() {
        let mut suite = TestSuite::new(named.path.display().to_string());
        let mut suite_took = Duration::ZERO;
        for done in done.iter().filter(|done| done.job.scenario == index) {
            suite.add_test_case(case(named, done));
            suite_took += done.took;
        }
        suite.set_time(suite_took);
        took += suite_took;
        report.add_test_suite(suite);
    }
    report.set_time(took);
    report.to_string().expect("a report is plain text")
}

fn case(named: &Named, done: &Done) -> TestCase {
    let status = if done.failed {
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
        let replay = done.job.replay(named);
        status
            .set_type(done.result.verdict.to_string())
            .set_message(done.findings().lines().next().unwrap_or_default())
            .set_description(format!("{}\nreplay: {replay}\n", done.findings()));
        status
    } else {
        TestCaseStatus::success()
    };
    let planted = match &done.job.mutant {
        Some(mutant) => format!(" with {mutant}"),
        None => String::new(),
    };
    let mut case = TestCase::new(format!("seed {}{planted}", done.job.seed), status);
    case.set_classname(named.path.display().to_string())
        .set_time(done.took);
    case
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;
    use crate::series::Job;
    use crate::verdict::{RunResult, Verdict};

    #[test]
    fn a_failure_says_what_was_found_and_how_to_see_it_again() {
        let scenario = "[[workload]]\nkind = \"kv\"";
        let scenario = Scenario::parse("a.toml", scenario).expect("it is right");
        let named = Named::new("a.toml".into(), scenario);
        let done = |seed, verdict, output: &str| Done {
            job: Job::clean(0, seed),
            result: RunResult::nothing(verdict),
            output: output.to_owned(),
            took: Duration::from_millis(250),
            failed: verdict != Verdict::Pass,
        };
        let runs = [
            done(1, Verdict::Pass, ""),
            done(
                2,
                Verdict::Unsafe,
                "the plan\nviolated durable: <lost> & gone\n",
            ),
        ];
        let xml = report(&[named], &runs);
        let wanted = [
            "tests=\"2\" skipped=\"0\" failures=\"1\"",
            "<testcase name=\"seed 1\" classname=\"a.toml\" time=\"0.250\"",
            "message=\"violated durable: &lt;lost&gt; &amp; gone\" type=\"SAFETY VIOLATED\"",
            "replay: cargo sim run a.toml --seed 2",
        ];
        for wanted in wanted {
            assert!(xml.contains(wanted), "no {wanted} in\n{xml}");
        }
    }
}
