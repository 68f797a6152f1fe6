//! Figures and how they are printed.

use super::load::Case;
use detcd_out::println;
use hdrhistogram::Histogram;
use std::time::Duration;

/// What one run of one case gave.
pub struct Row {
    pub case: Case,
    pub duration: Duration,
    /// Latencies in microseconds of the operations that succeeded.
    pub latencies: Histogram<u64>,
    pub errors: u64,
    /// The server does not know what the case calls.
    pub is_unknown: bool,
    /// Of all members together.
    pub server_cpu_seconds: Option<f64>,
}

impl Row {
    pub fn new(case: Case, duration: Duration) -> Row {
        let latencies = Histogram::new(3).expect("three significant digits are valid");
        Row {
            case,
            duration,
            latencies,
            errors: 0,
            is_unknown: false,
            server_cpu_seconds: None,
        }
    }

    fn figures(&self) -> Figures {
        let operations = self.latencies.len() as f64;
        let ms = |quantile| self.latencies.value_at_quantile(quantile) as f64 / 1000.0;
        Figures {
            per_second: operations / self.duration.as_secs_f64(),
            p50_ms: ms(0.5),
            p99_ms: ms(0.99),
            cpu_per_100k: self
                .server_cpu_seconds
                .map(|cpu| cpu / operations * 100_000.0),
            errors: self.errors as f64,
            is_unknown: self.is_unknown,
        }
    }
}

#[derive(Clone, Copy)]
struct Figures {
    per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    cpu_per_100k: Option<f64>,
    errors: f64,
    is_unknown: bool,
}

/// Everything measured of one binary.
pub struct Side {
    name: &'static str,
    /// In the order of the cases; each with one entry a round.
    cases: Vec<(Case, Vec<Figures>)>,
    memory_mib: Vec<f64>,
}

impl Side {
    pub fn new(name: &'static str) -> Side {
        Side {
            name,
            cases: Vec::new(),
            memory_mib: Vec::new(),
        }
    }

    pub fn add(&mut self, row: Row) {
        let figures = row.figures();
        match self.cases.iter_mut().find(|(case, _)| *case == row.case) {
            Some((_, rounds)) => rounds.push(figures),
            None => self.cases.push((row.case, vec![figures])),
        }
    }

    pub fn add_memory(&mut self, mib: f64) {
        self.memory_mib.push(mib);
    }
}

const HEADINGS: [&str; 7] = [
    "case",
    "server",
    "ops/s",
    "p50 ms",
    "p99 ms",
    "CPU s/100k",
    "errors",
];
const WIDTHS: [usize; 7] = [22, 8, 10, 9, 9, 10, 7];

/// The table of a run against one cluster.
pub fn print_one(rows: &[Row]) {
    print_line(&HEADINGS.map(str::to_owned));
    for row in rows {
        print_figures(row.case, "-", row.figures());
    }
}

/// The table of all sides; with two, a ratio (first to second) under each case.
pub fn print_sides(sides: &[Side]) {
    print_line(&HEADINGS.map(str::to_owned));
    let Some(first) = sides.first() else { return };
    for (i, (case, _)) in first.cases.iter().enumerate() {
        let medians: Vec<Figures> = sides.iter().map(|side| median(&side.cases[i].1)).collect();
        for (side, figures) in sides.iter().zip(&medians) {
            print_figures(*case, side.name, *figures);
        }
        let known = medians.iter().all(|figures| !figures.is_unknown);
        if let [ours, theirs] = medians[..]
            && known
        {
            print_ratio(*case, ours, theirs);
        }
    }
    for side in sides.iter().filter(|side| !side.memory_mib.is_empty()) {
        let mib = middle(side.memory_mib.clone());
        println!(
            "memory of the largest member of {}: {mib:.0} MiB",
            side.name
        );
    }
}

/// What is drawn of a case of one server.
pub struct Bar {
    pub per_second: f64,
    pub cpu_per_100k: Option<f64>,
}

/// The sides' medians, case by case.
pub fn bars(sides: &[Side]) -> Vec<(String, Vec<Bar>)> {
    let Some(first) = sides.first() else {
        return Vec::new();
    };
    let of_case = |i: usize, case: &Case| {
        let bars = sides.iter().map(|side| {
            let figures = median(&side.cases[i].1);
            Bar {
                per_second: figures.per_second,
                cpu_per_100k: figures.cpu_per_100k,
            }
        });
        (case.to_string(), bars.collect())
    };
    let cases = first.cases.iter().enumerate();
    cases.map(|(i, (case, _))| of_case(i, case)).collect()
}

fn print_figures(case: Case, name: &str, figures: Figures) {
    if figures.is_unknown {
        let (case, server) = (case.to_string(), name.to_owned());
        println!("{case:<22} {server:>8} does not have what this case calls");
        return;
    }
    print_line(&[
        case.to_string(),
        name.to_owned(),
        format!("{:.0}", figures.per_second),
        format!("{:.2}", figures.p50_ms),
        format!("{:.2}", figures.p99_ms),
        figures
            .cpu_per_100k
            .map_or("-".to_owned(), |cpu| format!("{cpu:.1}")),
        format!("{:.0}", figures.errors),
    ]);
}

fn print_ratio(case: Case, ours: Figures, theirs: Figures) {
    let cpu = ours
        .cpu_per_100k
        .zip(theirs.cpu_per_100k)
        .map(|(ours, theirs)| ours / theirs);
    print_line(&[
        case.to_string(),
        "ratio".to_owned(),
        format!("{:.2}x", ours.per_second / theirs.per_second),
        format!("{:.2}x", ours.p50_ms / theirs.p50_ms),
        format!("{:.2}x", ours.p99_ms / theirs.p99_ms),
        cpu.map_or("-".to_owned(), |ratio| format!("{ratio:.2}x")),
        String::new(),
    ]);
}

fn print_line(cells: &[String; 7]) {
    let mut line = format!("{:<width$}", cells[0], width = WIDTHS[0]);
    for (cell, width) in cells.iter().zip(WIDTHS).skip(1) {
        line.push_str(&format!(" {cell:>width$}"));
    }
    println!("{}", line.trim_end());
}

fn median(rounds: &[Figures]) -> Figures {
    let of = |get: fn(&Figures) -> f64| middle(rounds.iter().map(get).collect());
    let cpu: Option<Vec<f64>> = rounds.iter().map(|figures| figures.cpu_per_100k).collect();
    Figures {
        per_second: of(|figures| figures.per_second),
        p50_ms: of(|figures| figures.p50_ms),
        p99_ms: of(|figures| figures.p99_ms),
        cpu_per_100k: cpu.map(middle),
        errors: of(|figures| figures.errors),
        is_unknown: rounds.iter().any(|figures| figures.is_unknown),
    }
}

fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
