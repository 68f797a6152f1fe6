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

use crate::client::Client;
use crate::history::{Operation, Request};
use crate::scenario::reader::{Problem, Value};
use crate::scenario::settings::{Limits, Setting, Written, settings};
use crate::scenario::units::Time;
use crate::time;
use crate::workload::{ClientStarter, Work, job, ops};
use bytes::Bytes;
use detcd_core::api::CompactRequest;
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
    /// The revision of a compaction is counted from the newest one, which the client asks for first:
    /// so it means the same when there are fewer operations before it.
    pub from_newest: bool,
}

impl Script {
    /// The script of what was done.
    pub fn of<'a>(operations: impl Iterator<Item = &'a Operation>) -> Script {
        let operations: Vec<&Operation> = operations.collect();
        let lines = operations.iter().map(|operation| {
            let (request, from_newest) = match &operation.request {
                Request::Compact(compact) => counted(compact, newest(&operations, operation)),
                request => (request.clone(), false),
            };
            Line {
                at: Duration::from_micros(operation.called.as_micros() as u64),
                client: operation.client,
                member: operation.member,
                request,
                from_newest,
            }
        });
        let mut lines: Vec<Line> = lines.collect();
        lines.sort_by_key(|line| (line.at, line.client));
        Script {
            timeout: Time::ms(3000),
            ops: Lines(lines),
        }
    }
}

/// The newest revision that was told to anybody before this operation.
fn newest(operations: &[&Operation], before: &Operation) -> Option<i64> {
    let reported = operations.iter().filter(|one| one.ended <= before.called);
    reported
        .filter_map(|one| one.done())
        .map(|(revision, _)| revision)
        .max()
}

/// A compaction, its revision counted from the newest one if that is known.
fn counted(compact: &CompactRequest, newest: Option<i64>) -> (Request, bool) {
    let from = newest.filter(|_| compact.revision > 0);
    let compact = CompactRequest {
        revision: compact.revision - from.unwrap_or(0),
        ..*compact
    };
    (Request::Compact(compact), from.is_some())
}

impl Line {
    /// What the client asks for; `None` if it is not told what is newest.
    async fn request(self, client: &mut Client, timeout: Duration) -> Option<Request> {
        match self.request {
            Request::Compact(compact) if self.from_newest => {
                let newest = ops::read(client, &Bytes::from_static(b"newest"), timeout).await;
                client.go_to(self.member);
                let revision = newest?.0 + compact.revision;
                Some(Request::Compact(CompactRequest {
                    revision,
                    ..compact
                }))
            }
            request => Some(request),
        }
    }
}

impl Script {
    pub fn is_empty(&self) -> bool {
        self.ops.0.is_empty()
    }
}

impl Work for Script {
    fn start(&self, _name: &str, clients: &mut dyn ClientStarter) {
        let numbers: BTreeSet<u32> = self.ops.0.iter().map(|line| line.client).collect();
        let timeout = self.timeout.duration();
        for client in numbers {
            let lines = self.ops.0.iter().filter(|line| line.client == client);
            let lines: Vec<Line> = lines.cloned().collect();
            let run = job(async move |mut client: Client| {
                for line in lines {
                    time::sleep(line.at.saturating_sub(time::now())).await;
                    client.go_to(line.member);
                    if let Some(request) = line.request(&mut client, timeout).await {
                        client.execute(request, timeout).await;
                    }
                }
            });
            clients.start("c", run);
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
        let request = language::Shown {
            request: &self.request,
            from_newest: self.from_newest,
        };
        write!(f, " c{} m{} {request}", self.client, self.member + 1)
    }
}
