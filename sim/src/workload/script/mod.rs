//! Clients that do just what they are told: every operation with its time, its client and its
//! member, a line each.
//!
//! This is what other workloads become when a failing run is shrunk, and what a person writes who
//! knows exactly what should happen:
//!
//! ```text
//! ops = [
//!     "1500ms c1 m2 put k/1 first",
//!     "1530ms c2 m1 get k/1",
//! ]
//! ```

pub mod language;

use crate::history::{Operation, Request};
use crate::scenario::reader::{Problem, Value};
use crate::scenario::settings::{Limits, Setting, Written, settings};
use crate::scenario::units::Time;
use crate::time;
use crate::workload::{Stage, Work, job};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

settings! {
    /// Clients that do just what they are told.
    pub struct Script {
        /// What a client waits for an answer.
        timeout: Time = "3s",
        /// The operations, a line each: "1500ms c1 m2 put k/1 first".
        ops: Lines,
    }
}

/// Operations in the order of their times.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lines(Vec<Line>);

/// One operation of one client.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// When it is called, unless the client is not done with its last one.
    pub at: Duration,
    pub client: u32,
    /// Counted from 0. Beyond the last it starts again with the first.
    pub member: usize,
    pub request: Request,
}

impl Script {
    /// The script of what was done.
    pub fn of<'a>(operations: impl Iterator<Item = &'a Operation>) -> Script {
        let lines = operations.map(|operation| Line {
            at: Duration::from_micros(operation.called.as_micros() as u64),
            client: operation.client,
            member: operation.member,
            request: operation.request.clone(),
        });
        let mut lines: Vec<Line> = lines.collect();
        lines.sort_by_key(|line| (line.at, line.client));
        Script {
            timeout: Time::ms(3000),
            ops: Lines(lines),
        }
    }
}

impl Script {
    pub fn is_empty(&self) -> bool {
        self.ops.0.is_empty()
    }
}

impl Work for Script {
    fn start(&self, _name: &str, stage: &mut dyn Stage) {
        let clients: BTreeSet<u32> = self.ops.0.iter().map(|line| line.client).collect();
        let timeout = self.timeout.duration();
        for client in clients {
            let lines = self.ops.0.iter().filter(|line| line.client == client);
            let lines: Vec<Line> = lines.cloned().collect();
            let run = job(async move |mut client| {
                for line in lines {
                    time::sleep(line.at.saturating_sub(time::now())).await;
                    client.go_to(line.member);
                    client.execute(line.request, timeout).await;
                }
            });
            stage.start("c", run);
        }
    }
}

impl Setting for Lines {
    fn kind() -> String {
        "list of operations".to_owned()
    }

    fn read(value: &Value<'_>, _: Option<Limits>) -> Result<Lines, Problem> {
        let elements = value
            .elements()
            .ok_or_else(|| value.problem("a list of operations belongs here"))?;
        let mut lines = Vec::new();
        let mut last: BTreeMap<u32, Duration> = BTreeMap::new();
        for element in elements {
            let text = element
                .text()
                .ok_or_else(|| element.problem("an operation is a text"))?;
            let line = language::parse(text).map_err(|why| element.problem(why))?;
            let before = last.insert(line.client, line.at).unwrap_or_default();
            if before > line.at {
                let client = line.client;
                let why = format!("c{client} has a later operation before this one");
                return Err(element.problem(why));
            }
            lines.push(line);
        }
        Ok(Lines(lines))
    }

    fn write(&self) -> Written {
        let lines = self.0.iter().map(|line| {
            // A line has no control characters, which it escapes itself.
            let line = line.to_string().replace('\\', "\\\\").replace('"', "\\\"");
            format!("    \"{line}\",\n")
        });
        Written::Value(format!("[\n{}]", lines.collect::<String>()))
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (millis, micros) = (self.at.as_millis(), self.at.subsec_micros() % 1000);
        match micros {
            0 => write!(f, "{millis}ms")?,
            _ => write!(f, "{millis}.{micros:03}ms")?,
        }
        let request = language::Shown(&self.request);
        write!(f, " c{} m{} {request}", self.client, self.member + 1)
    }
}
