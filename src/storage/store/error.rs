//! What goes wrong in the store, in an operator's words: what failed first, and what to do.
//!
//! fjall refuses everything after a failed write, and its own threads tell their errors to its log
//! only: so the first failure is remembered here, and comes with every refusal that it causes.

use crate::advice::{RESTORE, advice};
use ::fjall::{Error, LsmError};
use detcd_core::view::{Fault, Table};
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the store at {path} is in use by another process")]
    InUse { path: String },
    #[error(
        "the store at {path} has format {found}, this build reads format {ours}: use the version \
         of detcd that wrote it"
    )]
    Format { path: String, found: u64, ours: u64 },
    #[error("the store at {path} cannot be opened: {message}")]
    Failed { path: String, message: String },
    #[error(
        "the store at {path} is damaged: {what}; the applied state cannot be trusted: {RESTORE}"
    )]
    Damaged { path: String, what: String },
}

impl OpenError {
    pub(super) fn damaged(folder: &Path, what: &str) -> OpenError {
        let (path, what) = (folder.display().to_string(), what.to_owned());
        OpenError::Damaged { path, what }
    }

    pub(super) fn io(folder: &Path, file: &str, error: &io::Error) -> OpenError {
        let path = folder.display().to_string();
        let message = format!("{file}: {error}; {}", advice(error));
        OpenError::Failed { path, message }
    }

    pub(super) fn of(path: &Path, error: &Error) -> OpenError {
        let path = path.display().to_string();
        let first = failures().first.clone();
        let first = first.filter(|_| matches!(error, Error::Storage(_)));
        let first = first.map_or(String::new(), |first| format!(" ({first})"));
        match problem(error) {
            Problem::Locked => OpenError::InUse { path },
            Problem::Environment(message) => OpenError::Failed { path, message },
            Problem::Damage(what) => OpenError::Damaged {
                path,
                what: what + &first,
            },
        }
    }
}

/// What an error of fjall is about.
enum Problem {
    Locked,
    /// The disk or the system, with what to do.
    Environment(String),
    /// The files.
    Damage(String),
}

fn problem(error: &Error) -> Problem {
    let damage = |what: &str| Problem::Damage(what.to_owned());
    match error {
        Error::Locked => Problem::Locked,
        Error::Io(error) | Error::Storage(LsmError::Io(error)) => match error.kind() {
            ErrorKind::NotFound => damage("a file of it is missing"),
            ErrorKind::AlreadyExists => damage("its file \"version\" is missing"),
            ErrorKind::UnexpectedEof => damage("a file of it is cut short"),
            ErrorKind::InvalidData | ErrorKind::Other => damage(&error.to_string()),
            _ => Problem::Environment(format!("{error}; {}", advice(error))),
        },
        Error::InvalidVersion(None) => damage("its file \"version\" makes no sense"),
        Error::InvalidVersion(Some(version)) => damage(&format!("fjall's format {version:?}")),
        Error::Storage(error) => damage(&format!("a file of it makes no sense: {error:?}")),
        error => damage(&format!("a file of it makes no sense: {error:?}")),
    }
}

/// The fault that an error of fjall is.
pub(super) fn fault(doing: &str, error: &Error) -> Fault {
    let mut failures = failures();
    let what = match error {
        Error::Poisoned => "an earlier write failed, so nothing more is accepted".to_owned(),
        error => match problem(error) {
            Problem::Locked => "it is locked".to_owned(),
            Problem::Environment(what) => what,
            Problem::Damage(what) => {
                format!("{what}; the applied state cannot be trusted: {RESTORE}")
            }
        },
    };
    let first = failures.first.clone();
    if first.is_none() && !matches!(error, Error::Poisoned) {
        failures.first = Some(what.clone());
    }
    let first = first.filter(|first| *first != what);
    let first = first.map_or(String::new(), |first| {
        format!("; the first failure was: {first}")
    });
    let path = &failures.path;
    Fault(format!(
        "the store failed to {doing}: {path}: {what}{first}"
    ))
}

pub(super) fn read_fault(table: Table, error: &Error) -> Fault {
    fault(&format!("read the table {}", table.name()), error)
}

/// What failed first in this process, which has one store.
struct Failures {
    path: String,
    first: Option<String>,
}

static FAILURES: Mutex<Failures> = Mutex::new(Failures {
    path: String::new(),
    first: None,
});

fn failures() -> MutexGuard<'static, Failures> {
    FAILURES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on the failures of the store at `path` are remembered.
pub(super) fn watch(path: &Path) {
    static ONCE: Once = Once::new();
    // A log that was set before keeps what it hears to itself.
    ONCE.call_once(|| {
        if ::log::set_logger(&Listener).is_ok() {
            ::log::set_max_level(::log::LevelFilter::Error);
        }
    });
    *failures() = Failures {
        path: path.display().to_string(),
        first: None,
    };
}

/// Hears what fjall says to its log.
struct Listener;

impl ::log::Log for Listener {
    fn enabled(&self, metadata: &::log::Metadata<'_>) -> bool {
        metadata.level() == ::log::Level::Error
    }

    fn log(&self, record: &::log::Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let text = record.args().to_string();
        tracing::error!(source = record.target(), "{text}");
        failures().first.get_or_insert_with(|| in_words(&text));
    }

    fn flush(&self) {}
}

/// A line of fjall's log, with the system's error in the system's words and what to do about it.
fn in_words(text: &str) -> String {
    let code = text.split_once("code: ").and_then(|(_, rest)| {
        let digits = rest.split(|letter: char| !letter.is_ascii_digit()).next();
        digits?.parse().ok()
    });
    match code.map(io::Error::from_raw_os_error) {
        Some(error) => {
            let doing = text.split(": ").next().unwrap_or(text);
            format!("{doing}: {error}; {}", advice(&error))
        }
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_log_becomes_cause_and_advice() {
        let text = "Failed to create journal file at /d/1.jnl: Os { code: 24, kind: \
            Uncategorized, message: \"Too many open files\" }";
        assert_eq!(
            in_words(text),
            "Failed to create journal file at /d/1.jnl: Too many open files (os error 24); raise \
             the limit of open files (ulimit -n, LimitNOFILE=, fs.file-max), then start the member \
             again"
        );
        assert_eq!(in_words("a block is bad"), "a block is bad");
    }

    #[test]
    fn a_refusal_names_the_failure_that_caused_it() {
        watch(Path::new("/d/store"));
        let full = Error::Io(io::Error::from_raw_os_error(28));
        let first = fault("write a batch", &full).0;
        assert!(
            first.starts_with(
                "the store failed to write a batch: /d/store: No space left on device (os error \
                 28); make room"
            ),
            "{first}"
        );
        let later = fault("sync the journal", &Error::Poisoned).0;
        assert!(
            later.contains("nothing more is accepted; the first failure was: No space left")
                && later.contains("make room"),
            "{later}"
        );
    }

    #[test]
    fn damage_comes_with_cause_and_advice() {
        let of = |error| OpenError::of(Path::new("/d/store"), &error).to_string();
        let exists = Error::Io(io::Error::from_raw_os_error(17));
        for (error, what) in [
            (exists, "its file \"version\" is missing"),
            (
                Error::InvalidVersion(None),
                "its file \"version\" makes no sense",
            ),
            (
                Error::Storage(LsmError::Unrecoverable),
                "makes no sense: Unrecoverable",
            ),
        ] {
            let text = of(error);
            assert!(
                text.contains(what) && text.contains("member remove"),
                "{text}"
            );
        }
    }
}
