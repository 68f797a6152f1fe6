//! The process of one run.

use crate::check::{Check, Violation};
use crate::explain;
use crate::history::{History, Operation};
use crate::judge;
use crate::observer;
use crate::planted;
use crate::report::{self, Head};
use crate::run::{self, Report};
use crate::run_record::{RunRecord, RunRecorder};
use crate::run_thread;
use crate::scenario::Scenario;
use crate::series::replay;
use crate::trace;
use crate::trace::lines::JsonLines;
use crate::verdict::{RunResult, Verdict};
use crate::workload::Workload;
use crate::workload::script::Script;
use detcd_out::{eprintln, print, println};
use std::any::Any;
use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What to run, and where to tell of it.
pub struct SingleRun<'a> {
    pub scenario: &'a Scenario,
    pub seed: u64,
    pub mutant: Option<&'a str>,
    /// Lets the process's number into the draws of the run, which no run may do: so `--twice` is
    /// seen to find it.
    pub leak: bool,
    pub trace: Option<&'a Path>,
    /// Where to write what each workload's clients did, as scripts.
    pub scripts: Option<&'a Path>,
    /// Where to write the page of the run.
    pub report: Option<&'a Path>,
    /// The scenario's file.
    pub path: &'a Path,
}

/// Runs and prints what was found.
///
/// A run has a thread of its own: the standard library seeds a thread's hash maps once, and the
/// engine can make that a function of the seed only where nobody was before it. Whatever reads the
/// scenario may have used a map by then.
pub fn run(single_run: SingleRun<'_>) -> Result<RunResult, String> {
    run_thread::run(|| run_here(single_run))
}

fn run_here(single_run: SingleRun<'_>) -> Result<RunResult, String> {
    if let Some(name) = single_run.mutant {
        planted::named(name)?.choose();
    }
    if let Some(path) = single_run.trace {
        let lines = JsonLines::create(path);
        trace::listen(lines.map_err(|error| format!("{}: {error}", path.display()))?);
    }
    let run_record = RunRecord::new(single_run.report.is_some());
    trace::listen(RunRecorder(run_record.clone()));
    let plan = single_run.scenario.resolve(single_run.seed);
    let leaked = if single_run.leak {
        u64::from(std::process::id())
    } else {
        0
    };
    let ran = std::panic::catch_unwind(AssertUnwindSafe(|| {
        run::run(&plan, single_run.seed ^ leaked)
    }));
    trace::finish().map_err(|error| format!("the trace of the run: {error}"))?;
    if let (Some(path), Ok(report)) = (single_run.scripts, &ran) {
        let json = serde_json::to_vec(&scripts(report)).expect("they are texts");
        std::fs::write(path, json).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    let run_record = &*run_record.borrow();
    let (result, violations, operations) = match ran {
        Ok(report) => (
            result_of(&plan, &report, run_record),
            report.violations,
            report.operations,
        ),
        Err(panic) => {
            let mut history = observer::history();
            judge::settings(&plan, &mut history.run_facts);
            let mut violations = observer::violations();
            violations.extend(judge::judge(&plan, &history, false));
            let result = crashed(&violations, &history, run_record);
            violations.push(broken(&*panic));
            (result, violations, history.operations)
        }
    };
    if let Some(path) = single_run.report {
        let own = single_run.scenario.expect().mutant.as_deref();
        let head = Head {
            scenario: &single_run.path.display().to_string(),
            seed: single_run.seed,
            mutant: single_run.mutant,
            verdict: result.verdict.to_string(),
            replay: replay::command(single_run.path, single_run.seed, own, single_run.mutant),
            plan: plan.to_string(),
            hash: result.hash,
            events: result.events,
            simulated: Duration::from_millis(result.simulated_ms),
            members: report::members(run_record, plan.cluster().size()),
        };
        let page = report::page(&head, &violations, &operations, run_record);
        std::fs::write(path, page).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(result)
}

/// Has a panic tell at once what was found until then. It may well end the process before anything
/// else is told: destructors find locks that it has poisoned, and panic in turn.
pub fn report_panics(result_path: PathBuf) {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        usual(panic);
        let violations = observer::violations_so_far();
        for violation in &violations {
            eprintln!("violated {violation}");
        }
        let json = serde_json::to_vec(&of_panic(&violations)).expect("it is plain data");
        // Who reads it takes a missing file for a run that died without a word.
        let _ = std::fs::write(&result_path, json);
    }));
}

/// A panic as something that must not be.
fn broken(panic: &(dyn Any + Send)) -> Violation {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or(panic.downcast_ref::<&str>().copied());
    let what = format!(
        "a panic ended the run: {}",
        text.unwrap_or("without a text")
    );
    Violation::new(Check::Alive, what)
}

fn result_of(plan: &Scenario, report: &Report, run_record: &RunRecord) -> RunResult {
    let reached = |mark: &&String| report.counts.contains_key(*mark);
    let missing: Vec<String> = plan
        .expect()
        .reached
        .iter()
        .filter(|mark| !reached(mark))
        .cloned()
        .collect();
    print!(
        "{}",
        explain::explain(&report.violations, &report.operations, run_record)
    );
    for failure in &report.failures {
        println!("stopped by itself: {failure}");
    }
    let verdict = Verdict::of(&report.violations, !report.failures.is_empty(), &missing);
    // A run that was cut short did not have the time to get everywhere.
    if matches!(verdict, Verdict::Pass | Verdict::Usage | Verdict::Unsafe) {
        for mark in &missing {
            println!("never reached: {mark}");
        }
    }
    let marks: Vec<String> = report
        .counts
        .iter()
        .filter(|(name, _)| is_mark(name))
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    println!("marks: {}", marks.join(", "));
    let mut found_by = finders(&report.violations);
    if !report.failures.is_empty() {
        found_by.insert(Check::Alive.to_string());
    }
    RunResult {
        verdict,
        hash: report.digest.hash,
        events: report.digest.events,
        simulated_ms: report.simulated.as_millis() as u64,
        operations: report.operations.len(),
        unknown: unknown(&report.operations),
        found_by: found_by.into_iter().collect(),
    }
}

/// Each workload's operations as the table of a script; `None` for one that did none.
fn scripts(report: &Report) -> Vec<Option<String>> {
    let of = |clients: &RangeInclusive<u32>| {
        let operations = report.operations.iter();
        let theirs = operations.filter(|operation| clients.contains(&operation.client));
        let script = Script::of(theirs);
        (!script.is_empty()).then(|| Workload::Script(script).to_string())
    };
    report.clients.iter().map(of).collect()
}

fn is_mark(name: &str) -> bool {
    const SUBJECTS: [&str; 7] = [
        "leader.",
        "member.",
        "peer.",
        "log.",
        "snapshot.",
        "fault.",
        "alarm.",
    ];
    SUBJECTS.iter().any(|subject| name.starts_with(subject))
}

/// The checks that found these.
fn finders(violations: &[Violation]) -> BTreeSet<String> {
    let checks = violations.iter().map(|violation| violation.check);
    checks.map(|check| check.to_string()).collect()
}

/// A panic of a node's code ended the run; the message is printed by then.
fn crashed(violations: &[Violation], history: &History, run_record: &RunRecord) -> RunResult {
    let digest = trace::digest();
    print!(
        "{}",
        explain::explain(violations, &history.operations, run_record)
    );
    RunResult {
        hash: digest.hash,
        events: digest.events,
        operations: history.operations.len(),
        unknown: unknown(&history.operations),
        ..of_panic(violations)
    }
}

/// What a run comes to that a panic ended.
fn of_panic(violations: &[Violation]) -> RunResult {
    let mut found_by = finders(violations);
    found_by.insert(Check::Alive.to_string());
    RunResult {
        found_by: found_by.into_iter().collect(),
        ..RunResult::nothing(Verdict::of(violations, true, &[]))
    }
}

/// How many operations are not known to have ended.
fn unknown(operations: &[Operation]) -> usize {
    let open = operations.iter().filter(|one| one.returned().is_none());
    open.count()
}
