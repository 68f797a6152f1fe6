//! The log, in the shape that etcd's users read and their tools parse: one JSON object a line
//! (zap's), columns for people, or the lines of etcd before 3.5.

mod capnslog;

use crate::config::{LogConfig, LogFormat, LogOutput};
use crate::log_level;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};
use thiserror::Error;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt as _};

#[derive(Debug, Error)]
pub enum LogError {
    #[error("cannot open log file {path}: {source}")]
    Open { path: PathBuf, source: io::Error },
    #[error("a log is set up already")]
    Twice,
}

/// Sets up the log of the process.
pub fn start(config: &LogConfig) -> Result<(), LogError> {
    let outputs = config
        .outputs
        .iter()
        .map(Output::open)
        .collect::<Result<Vec<_>, _>>()?;
    let lines = Lines {
        format: config.format,
        outputs: Mutex::new(outputs),
    };
    let filter = log_level::filter(config.level);
    let subscriber = tracing_subscriber::registry().with(lines.with_filter(filter));
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LogError::Twice)
}

enum Output {
    Stderr,
    Stdout,
    File(File),
}

impl Output {
    fn open(output: &LogOutput) -> Result<Output, LogError> {
        Ok(match output {
            LogOutput::Stderr => Output::Stderr,
            LogOutput::Stdout => Output::Stdout,
            LogOutput::File(path) => {
                let opened = OpenOptions::new().create(true).append(true).open(path);
                let failed = |source| LogError::Open {
                    path: path.clone(),
                    source,
                };
                Output::File(opened.map_err(failed)?)
            }
        })
    }

    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        match self {
            Output::Stderr => io::stderr().lock().write_all(line),
            Output::Stdout => io::stdout().lock().write_all(line),
            Output::File(file) => file.write_all(line),
        }
    }
}

/// Writes each event as a line.
struct Lines {
    format: LogFormat,
    outputs: Mutex<Vec<Output>>,
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let meta = event.metadata();
        let mut fields = Fields::default();
        event.record(&mut fields);
        let caller = match (meta.file(), meta.line()) {
            (Some(file), Some(line)) => Some(format!("{}:{line}", short(file))),
            _ => None,
        };
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let entry = Entry {
            level: *meta.level(),
            target: meta.target(),
            since_epoch: now,
            caller,
            message: fields.message,
            fields: fields.rest,
        };
        let line = match self.format {
            LogFormat::Json => entry.json(),
            LogFormat::Console => entry.console(),
            LogFormat::Capnslog => capnslog::format(&entry),
            LogFormat::Capnslog02 => capnslog::format_02(&entry),
        };
        let mut outputs = self
            .outputs
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        for output in outputs.iter_mut() {
            // There is nowhere to tell that the log cannot be written.
            let _ = output.write(line.as_bytes());
        }
    }
}

struct Entry<'a> {
    level: Level,
    /// The module that says it.
    target: &'a str,
    since_epoch: Duration,
    caller: Option<String>,
    message: String,
    fields: Vec<(&'static str, serde_json::Value)>,
}

impl Entry<'_> {
    /// ISO 8601 in UTC, to the millisecond.
    fn time(&self) -> String {
        humantime::format_rfc3339_millis(SystemTime::UNIX_EPOCH + self.since_epoch).to_string()
    }

    /// The same to the microsecond.
    fn time_micros(&self) -> String {
        humantime::format_rfc3339_micros(SystemTime::UNIX_EPOCH + self.since_epoch).to_string()
    }

    /// A field as text, without quotes; empty if there is none.
    fn field(&self, name: &str) -> String {
        match self.fields.iter().find(|(field, _)| *field == name) {
            Some((_, serde_json::Value::String(text))) => text.clone(),
            Some((_, value)) => value.to_string(),
            None => String::new(),
        }
    }

    /// A field that is a list of texts.
    fn list(&self, name: &str) -> Vec<String> {
        let field = self.fields.iter().find(|(field, _)| *field == name);
        let values = field.and_then(|(_, value)| value.as_array());
        let texts = values.into_iter().flatten();
        texts
            .filter_map(|value| value.as_str().map(str::to_owned))
            .collect()
    }

    fn json(&self) -> String {
        let mut line = String::with_capacity(256);
        let string = |text: &str| serde_json::Value::from(text).to_string();
        // Writing to a string cannot fail.
        let _ = write!(
            line,
            "{{\"level\":\"{}\",\"ts\":\"{}\"",
            name(self.level),
            self.time()
        );
        if let Some(caller) = &self.caller {
            let _ = write!(line, ",\"caller\":{}", string(caller));
        }
        let _ = write!(line, ",\"msg\":{}", string(&self.message));
        for (name, value) in &self.fields {
            let _ = write!(line, ",{}:{value}", string(&name.replace('_', "-")));
        }
        line.push_str("}\n");
        line
    }

    fn console(&self) -> String {
        let mut line = format!("{}\t{}", self.time(), name(self.level));
        if let Some(caller) = &self.caller {
            let _ = write!(line, "\t{caller}");
        }
        let _ = write!(line, "\t{}", self.message);
        if !self.fields.is_empty() {
            let fields: serde_json::Map<String, serde_json::Value> = self
                .fields
                .iter()
                .map(|(name, value)| (name.replace('_', "-"), value.clone()))
                .collect();
            let _ = write!(line, "\t{}", serde_json::Value::Object(fields));
        }
        line.push('\n');
        line
    }
}

fn name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG | Level::TRACE => "debug",
    }
}

/// The folder and the file: what zap calls the short caller.
fn short(file: &str) -> &str {
    let mut slashes = file.rmatch_indices('/').map(|(at, _)| at);
    match slashes.nth(1) {
        Some(at) => &file[at + 1..],
        None => file,
    }
}

/// The fields of an event; its message apart.
#[derive(Default)]
struct Fields {
    message: String,
    rest: Vec<(&'static str, serde_json::Value)>,
}

impl Fields {
    fn add(&mut self, field: &Field, value: serde_json::Value) {
        self.rest.push((field.name(), value));
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let text = format!("{value:?}");
        match field.name() {
            "message" => self.message = text,
            // Lists of strings and numbers look the same to Rust and to JSON.
            _ if text.starts_with('[') => {
                let list = serde_json::from_str(&text).unwrap_or_else(|_| text.into());
                self.add(field, list);
            }
            _ => self.add(field, text.into()),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.message = value.to_owned(),
            _ => self.add(field, value.into()),
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value.into());
    }
}

#[cfg(test)]
fn entry_for_tests<'a>(
    level: Level,
    target: &'a str,
    message: &str,
    fields: Vec<(&'static str, serde_json::Value)>,
) -> Entry<'a> {
    Entry {
        level,
        target,
        since_epoch: Duration::from_micros(1_795_260_884_928_123),
        caller: None,
        message: message.to_owned(),
        fields,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_zaps_shape() {
        let fields = vec![("member_id", "8e9e05c52164694d".into()), ("n", 3.into())];
        let entry = Entry {
            caller: Some("daemon/mod.rs:7".into()),
            ..entry_for_tests(Level::INFO, "detcd", "say \"hi\"", fields)
        };
        assert_eq!(
            entry.json(),
            "{\"level\":\"info\",\"ts\":\"2026-11-21T11:34:44.928Z\",\"caller\":\"daemon/mod.rs:7\",\
             \"msg\":\"say \\\"hi\\\"\",\"member-id\":\"8e9e05c52164694d\",\"n\":3}\n"
        );
        assert_eq!(
            entry.console(),
            "2026-11-21T11:34:44.928Z\tinfo\tdaemon/mod.rs:7\tsay \"hi\"\t\
             {\"member-id\":\"8e9e05c52164694d\",\"n\":3}\n"
        );
    }

    #[test]
    fn timestamps_have_zaps_form() {
        let shown = |seconds| {
            let entry = Entry {
                since_epoch: Duration::new(seconds, 999_999),
                ..entry_for_tests(Level::INFO, "detcd", "", Vec::new())
            };
            entry.time()
        };
        assert_eq!(shown(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(shown(951_782_400), "2000-02-29T00:00:00.000Z");
        assert_eq!(shown(4_107_542_399), "2100-02-28T23:59:59.000Z");
    }

    #[test]
    fn callers_are_short() {
        assert_eq!(short("src/server/http/mod.rs"), "http/mod.rs");
        assert_eq!(short("main.rs"), "main.rs");
    }
}
