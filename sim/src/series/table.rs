//! The summary of a series: a line for each scenario.

use super::{Done, Named};
use crate::verdict::Verdict;
use std::fmt;
use std::time::Duration;

pub struct Table {
    rows: Vec<Row>,
    sum: Row,
}

#[derive(Default)]
struct Row {
    name: String,
    runs: usize,
    passed: usize,
    failed: usize,
    /// How many of the runs with a planted bug caught it.
    caught: Option<(usize, usize)>,
    simulated: Duration,
    took: Duration,
    operations: usize,
    worst: Option<Verdict>,
}

impl Table {
    pub fn of(scenarios: &[Named], done: &[Done]) -> Table {
        let mut sum = Row {
            name: "all".to_owned(),
            ..Row::default()
        };
        let rows = scenarios.iter().enumerate().map(|(index, named)| {
            let mut row = Row {
                name: named.path.display().to_string(),
                ..Row::default()
            };
            for done in done.iter().filter(|done| done.job.scenario == index) {
                row.add(named, done);
                sum.add(named, done);
            }
            row
        });
        Table {
            rows: rows.collect(),
            sum,
        }
    }
}

impl Row {
    fn add(&mut self, named: &Named, done: &Done) {
        let Done { job, result, .. } = done;
        self.runs += 1;
        self.failed += usize::from(done.failed);
        if job.mutant.is_some() {
            let (caught, of) = self.caught.unwrap_or_default();
            let by_this = result.is_caught_by(&named.scenario.expect().caught_by);
            self.caught = Some((caught + usize::from(by_this), of + 1));
        } else {
            self.passed += usize::from(!done.failed);
            self.worst = self.worst.max(Some(result.verdict));
        }
        self.simulated += Duration::from_millis(result.simulated_ms);
        self.took += done.took;
        self.operations += result.operations;
    }

    fn cells(&self) -> [String; 8] {
        let speed = self.simulated.as_secs_f64() / self.took.as_secs_f64().max(1e-3);
        let caught = self.caught.map(|(caught, of)| format!("{caught}/{of}"));
        let worst = self.worst.map(|verdict| verdict.to_string());
        [
            self.name.clone(),
            self.runs.to_string(),
            self.passed.to_string(),
            self.failed.to_string(),
            caught.unwrap_or_default(),
            self.operations.to_string(),
            format!("{:.0} s ({speed:.0}x)", self.simulated.as_secs_f64()),
            worst.unwrap_or_default(),
        ]
    }
}

const TITLES: [&str; 8] = [
    "scenario",
    "runs",
    "passed",
    "failed",
    "caught",
    "operations",
    "simulated",
    "worst",
];

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines: Vec<[String; 8]> = vec![TITLES.map(str::to_owned)];
        lines.extend(self.rows.iter().map(Row::cells));
        if self.rows.len() > 1 {
            lines.push(self.sum.cells());
        }
        let width = |column: usize| {
            let widths = lines.iter().map(|line| line[column].chars().count());
            widths.max().unwrap_or(0)
        };
        for line in &lines {
            let cells = line.iter().enumerate().map(|(column, cell)| {
                let width = width(column);
                // Words to the left, numbers to the right.
                match column {
                    0 | 7 => format!("{cell:<width$}"),
                    _ => format!("{cell:>width$}"),
                }
            });
            let cells: Vec<String> = cells.collect();
            writeln!(f, "{}", cells.join("  ").trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;
    use crate::series::Job;
    use crate::verdict::RunResult;

    #[test]
    fn a_line_for_each_scenario_and_their_sum() {
        let scenario = "[[workload]]\nkind = \"kv\"";
        let named = |path: &str| {
            let scenario = Scenario::parse(path, scenario).expect("it is right");
            Named::new(path.into(), scenario)
        };
        let done = |scenario, seed, verdict, failed| Done {
            job: Job::clean(scenario, seed),
            result: RunResult {
                simulated_ms: 20_000,
                operations: 100,
                ..RunResult::nothing(verdict)
            },
            output: String::new(),
            took: Duration::from_millis(500),
            failed,
        };
        let runs = [
            done(0, 1, Verdict::Pass, false),
            done(0, 2, Verdict::NotLive, true),
            done(1, 1, Verdict::Pass, false),
        ];
        let table = Table::of(&[named("a.toml"), named("long-name.toml")], &runs);
        let expected = "\
scenario        runs  passed  failed  caught  operations   simulated  worst
a.toml             2       1       1                 200  40 s (40x)  NOT LIVE
long-name.toml     1       1       0                 100  20 s (40x)  pass
all                3       2       1                 300  60 s (40x)  NOT LIVE
";
        assert_eq!(table.to_string(), expected);
    }
}
