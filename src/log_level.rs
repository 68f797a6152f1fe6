//! How much the process logs, which may be changed while it runs.

use crate::config::LogLevel;
use std::sync::OnceLock;
use tracing_subscriber::Registry;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::reload::{self, Handle};

static FILTER: OnceLock<Handle<Targets, Registry>> = OnceLock::new();

/// The filter of the process's log, which [`set`] changes from now on.
pub(crate) fn filter(level: LogLevel) -> reload::Layer<Targets, Registry> {
    let (filter, handle) = reload::Layer::new(targets(level));
    // The first log of a process is its log.
    let _ = FILTER.set(handle);
    filter
}

/// Without a log there is nothing to change.
pub(crate) fn set(level: LogLevel) {
    if let Some(filter) = FILTER.get() {
        // It fails only once the log is gone.
        let _ = filter.reload(targets(level));
    }
}

fn targets(level: LogLevel) -> Targets {
    let level = match level {
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Error => LevelFilter::ERROR,
    };
    // Libraries below say a lot at info that means nothing to an operator.
    let quiet = level.min(LevelFilter::WARN);
    let engine = match level >= LevelFilter::DEBUG {
        true => LevelFilter::INFO,
        false => LevelFilter::ERROR,
    };
    Targets::new()
        .with_default(quiet)
        .with_target("detcd", level)
        .with_target("openraft", engine)
}
