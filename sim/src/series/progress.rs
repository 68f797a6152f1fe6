//! How far a series is: a bar on a terminal, nothing elsewhere.

use super::Done;
use detcd_out::println;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;

pub struct Progress {
    bar: ProgressBar,
    failed: u64,
    /// A line for each run, also for those that end well.
    verbose: bool,
}

impl Progress {
    pub fn new(runs: usize, verbose: bool) -> Progress {
        let visible = runs > 1 && std::io::stderr().is_terminal();
        let target = match visible {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target(Some(runs as u64), target);
        let style = "{bar:40} {pos} of {len} runs, {msg}; {elapsed}, {eta} to go";
        let style = ProgressStyle::with_template(style).expect("the template is right");
        bar.set_style(style);
        bar.set_message("0 failed");
        Progress {
            bar,
            failed: 0,
            verbose,
        }
    }

    /// A run ended; `line` says how.
    pub fn done(&mut self, done: &Done, line: &str, replay: impl FnOnce() -> String) {
        if done.failed {
            self.failed += 1;
            self.bar.set_message(format!("{} failed", self.failed));
            let findings = done.findings();
            let findings = findings.trim_end().replace('\n', "\n    ");
            self.print(&format!("{line}\n    {findings}\n    replay: {}", replay()));
        } else if self.verbose {
            self.print(line);
        }
        self.bar.inc(1);
    }

    pub fn finish(self) {
        self.bar.finish_and_clear();
    }

    /// Prints above the bar.
    fn print(&self, text: &str) {
        self.bar.suspend(|| println!("{text}"));
    }
}
