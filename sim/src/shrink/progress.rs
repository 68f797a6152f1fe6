//! How far a shrinking is: a bar of its time on a terminal, a line for each step elsewhere.

use detcd_out::eprintln;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::time::Duration;

pub struct Progress {
    /// `None` where nobody looks on.
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Of a shrinking that takes so long at most.
    pub fn new(budget: Duration) -> Progress {
        if !std::io::stderr().is_terminal() {
            return Progress { bar: None };
        }
        let target = ProgressDrawTarget::stderr();
        let bar = ProgressBar::with_draw_target(Some(budget.as_secs()), target);
        let style = "{bar:30} {pos} of {len} s at most, {prefix} runs; {wide_msg}";
        let style = ProgressStyle::with_template(style).expect("the template is right");
        bar.set_style(style);
        Progress { bar: Some(bar) }
    }

    /// So many runs were made by now.
    pub fn ran(&self, runs: usize) {
        if let Some(bar) = &self.bar {
            bar.set_position(bar.elapsed().as_secs());
            bar.set_prefix(runs.to_string());
        }
    }

    /// Something was left out, or got smaller.
    pub fn step(&self, runs: usize, line: &str) {
        match &self.bar {
            Some(bar) => bar.set_message(line.to_owned()),
            None => eprintln!("{runs:>5} runs: {line}"),
        }
    }

    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
