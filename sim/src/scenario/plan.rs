//! A plan in a few lines: the cluster, the work, and the faults in the order of their time.

use super::Scenario;
use super::settings::{Entries, Settings, Written, inline};
use super::units::time;
use std::fmt::{self, Write as _};

/// What a seed made of a scenario, for people; the whole plan is the scenario's own text.
pub struct Timeline<'a> {
    pub plan: &'a Scenario,
    pub seed: u64,
}

impl fmt::Display for Timeline<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Timeline { plan, seed } = self;
        let budget = time(plan.head.budget.value());
        writeln!(f, "the plan of seed {seed}, within {budget}:")?;
        let size = plan.cluster().size();
        let cluster = without(plan.cluster().said(), "members");
        line(f, "cluster", &format!("members = {size}"), &cluster)?;
        for workload in &plan.workloads {
            line(f, "load", workload.name(), &workload.inner().said())?;
        }
        let mut faults: Vec<_> = plan.faults.iter().collect();
        faults.sort_by_key(|fault| fault.at.value());
        for fault in faults {
            let at = time(fault.at.value());
            let kind = match fault.lasts.value() {
                0 => fault.kind.name().to_owned(),
                lasts => format!("{} for {}", fault.kind.name(), time(lasts)),
            };
            line(f, &at, &kind, &fault.kind.inner().said())?;
        }
        Ok(())
    }
}

fn without(mut entries: Entries, key: &str) -> Entries {
    entries.retain(|(name, _)| *name != key);
    entries
}

fn line(f: &mut fmt::Formatter<'_>, title: &str, kind: &str, entries: &Entries) -> fmt::Result {
    let mut said = String::new();
    for (key, written) in entries {
        match written {
            Written::Nothing => {}
            Written::Value(value) => write!(said, ", {key} = {value}")?,
            Written::Table(entries) => write!(said, ", {key} = {}", inline(entries))?,
        }
    }
    writeln!(f, "  {title:<9} {kind}{said}")
}
