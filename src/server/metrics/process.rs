//! What the kernel knows of this process, read when the page is asked for.

use prometheus::{Counter, IntGauge};
use rustix::process::{Resource, getrlimit};
use std::fs;

/// Gauges of the process. Where there is no `/proc`, they stay zero.
pub(super) struct Gauges {
    cpu_seconds: Counter,
    resident: IntGauge,
    virtual_bytes: IntGauge,
    virtual_max: IntGauge,
    started_at: IntGauge,
    open_fds: IntGauge,
    max_fds: IntGauge,
    fd_used: IntGauge,
    fd_limit: IntGauge,
}

impl Gauges {
    pub fn new(
        gauge: impl Fn(&str, &str) -> IntGauge,
        counter: impl Fn(&str, &str) -> Counter,
    ) -> Gauges {
        Gauges {
            cpu_seconds: counter("process_cpu_seconds_total", "CPU time used, in seconds."),
            resident: gauge("process_resident_memory_bytes", "Resident memory."),
            virtual_bytes: gauge("process_virtual_memory_bytes", "Virtual memory."),
            virtual_max: gauge(
                "process_virtual_memory_max_bytes",
                "Virtual memory allowed.",
            ),
            started_at: gauge(
                "process_start_time_seconds",
                "The Unix time of the process's start, in seconds.",
            ),
            open_fds: gauge("process_open_fds", "Open file descriptors."),
            max_fds: gauge("process_max_fds", "File descriptors allowed."),
            fd_used: gauge("os_fd_used", "Open file descriptors."),
            fd_limit: gauge("os_fd_limit", "File descriptors allowed."),
        }
    }

    pub fn look(&self) {
        if let Some(stat) = stat() {
            self.cpu_seconds.reset();
            self.cpu_seconds.inc_by(stat.cpu_seconds);
            self.resident.set(stat.resident_bytes);
            self.virtual_bytes.set(stat.virtual_bytes);
            let booted_at = booted_at().unwrap_or(0);
            self.started_at.set(booted_at + stat.started_after_boot);
        }
        self.virtual_max.set(limit(Resource::As));
        let open = fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as i64);
        let limit = limit(Resource::Nofile);
        for gauge in [&self.open_fds, &self.fd_used] {
            gauge.set(open);
        }
        for gauge in [&self.max_fds, &self.fd_limit] {
            gauge.set(limit);
        }
    }
}

/// What the kernel allows; the largest number if it sets no limit.
fn limit(resource: Resource) -> i64 {
    getrlimit(resource)
        .current
        .map_or(i64::MAX, |limit| i64::try_from(limit).unwrap_or(i64::MAX))
}

/// The Unix time at which the machine was started, in seconds.
fn booted_at() -> Option<i64> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("btime "))?;
    line.trim().parse().ok()
}

struct Stat {
    started_after_boot: i64,
    cpu_seconds: f64,
    resident_bytes: i64,
    virtual_bytes: i64,
}

fn stat() -> Option<Stat> {
    let text = fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the program stands in brackets and may hold anything; fields count after it.
    let fields: Vec<&str> = text[text.rfind(')')? + 1..].split_whitespace().collect();
    let field = |index: usize| fields.get(index)?.parse::<i64>().ok();
    let ticks = rustix::param::clock_ticks_per_second().max(1) as f64;
    let page = i64::try_from(rustix::param::page_size()).ok()?;
    Some(Stat {
        started_after_boot: field(19)? / ticks as i64,
        cpu_seconds: (field(11)? + field(12)?) as f64 / ticks,
        virtual_bytes: field(20)?,
        resident_bytes: field(21)? * page,
    })
}
