//! How fast the simulator is, and where the time goes: `cargo sim bench`.

mod history;
mod sampler;

use crate::check::{Clocks, Facts, linearizable, replay, serializable, watch, wing_gong};
use crate::profile::Part;
use crate::run;
use crate::run_thread;
use crate::scenario::Scenario;
use detcd_out::println;
use sampler::Sampler;
use std::time::{Duration, Instant};

/// A cluster under a steady load and no faults, with every check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Operations in a simulated second.
    pub rate: u64,
    pub simulated_s: u64,
}

impl Load {
    pub const ALL: [Load; 2] = [
        Load {
            rate: 100,
            simulated_s: 60,
        },
        Load {
            rate: 5,
            simulated_s: 600,
        },
    ];

    fn scenario(self) -> Scenario {
        let Load { rate, simulated_s } = self;
        let clients = rate.div_ceil(10);
        // An operation takes some milliseconds itself.
        let pause_ms = 1000 * clients / rate - 14;
        let text = format!(
            "budget = \"{}s\"\n\
             [cluster]\nmembers = 3\nelection_ms = 1000\n\
             [[workload]]\nkind = \"kv\"\nclients = {clients}\nkeys = 10\nops = {}\n\
             pause = \"{pause_ms}ms\"\n\
             [[workload]]\nkind = \"watch\"\nwatchers = 2\n",
            simulated_s * 2 + 60,
            rate * simulated_s,
        );
        let scenario = Scenario::parse("bench", &text);
        scenario.unwrap_or_else(|problem| panic!("the bench's own scenario: {problem}"))
    }

    /// Runs and prints; false if a check found something. To be called once in a process.
    pub fn run(self) -> bool {
        let plan = self.scenario().resolve(1);
        let sampler = Sampler::start();
        let began = Instant::now();
        let report = run_thread::run(|| run::run(&plan, 1));
        let took = began.elapsed();
        let shares = sampler.finish();
        let simulated = report.simulated.as_secs_f64();
        println!(
            "{} operations/s: {simulated:.0} s simulated ({:.1} operations/s, {} events) in {:.2} \
             s: {:.0} simulated seconds per second",
            self.rate,
            report.operations.len() as f64 / simulated,
            report.digest.events,
            took.as_secs_f64(),
            simulated / took.as_secs_f64(),
        );
        let per_event = took.as_nanos() / u128::from(report.digest.events.max(1));
        println!("  {per_event} ns an event; of the time");
        for part in Part::ALL {
            println!("  {:5.1} %  {}", shares.of(part) * 100.0, part.name());
        }
        for violation in &report.violations {
            println!("violated {violation}");
        }
        report.violations.is_empty() && report.failures.is_empty()
    }
}

/// Times the checks of a long history, and prints; false if one found something.
pub fn judge(operations: usize) -> bool {
    let history = history::of(operations);
    println!(
        "a history of {operations} operations and {} revisions",
        history.revisions.len()
    );
    let timed = |name: &str, check: &dyn Fn() -> usize| {
        let began = Instant::now();
        let found = check();
        let took: Duration = began.elapsed();
        println!("  {:7.0} ms  {name}", took.as_secs_f64() * 1000.0);
        found
    };
    // Each check is timed with an index of its own.
    let facts = || Facts::of(&history, Clocks::TRUE);
    let _part = crate::profile::enter(Part::History);
    let found = timed("replay in revision order", &|| {
        replay::check(&facts()).len()
    }) + timed("search (Wing and Gong)", &|| {
        let searched = wing_gong::check(&history);
        searched.unexplained.len() + searched.too_wide.len()
    }) + timed("both, and whether they agree", &|| {
        linearizable::check(&facts()).len()
    }) + timed("serializable reads", &|| {
        serializable::check(&facts()).len()
    }) + timed("watch", &|| watch::check(&history).len());
    found == 0
}
