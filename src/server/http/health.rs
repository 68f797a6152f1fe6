//! Whether the member is well: `/health` as clients know it, and the probes `/livez` and
//! `/readyz`, each a list of checks that can be asked for one by one.

use super::{Query, TEXT, not_found, problem, respond};
use crate::server::Context;
use crate::server::listen::Reply;
use ::http::StatusCode;
use bytes::Bytes;
use detcd_core::api::{AlarmKind, KeyRange, RangeRequest};
use detcd_core::error::Error;
use serde::Serialize;
use std::fmt::Write as _;
use std::time::Duration;

/// etcd's own probe reads a key of this name, so any key will do.
const PROBED_KEY: &[u8] = b"health";
/// What a probe's read may take. Whoever probes waits for seconds, and not as long as a request may
/// take.
const READ_TIME_MAX: Duration = Duration::from_secs(2);

#[derive(Serialize)]
struct Health {
    health: &'static str,
    reason: String,
}

/// One bad finding is a 503 with its reason.
pub(super) async fn health(context: &Context, query: Query<'_>) -> Reply {
    let serializable = query.values("serializable").any(|value| value == "true");
    let reason = match alarm(context, query) {
        Some(kind) => Some(format!("ALARM {kind}")),
        None => leader_and_read(context, serializable).await,
    };
    let well = reason.is_none();
    let counter = match well {
        true => &context.metrics.health_success,
        false => &context.metrics.health_failures,
    };
    counter.inc();
    let body = Health {
        health: if well { "true" } else { "false" },
        reason: reason.unwrap_or_default(),
    };
    let body = serde_json::to_string(&body).expect("two strings have a JSON form");
    match well {
        true => respond(StatusCode::OK, TEXT, body),
        false => problem(StatusCode::SERVICE_UNAVAILABLE, &body),
    }
}

/// The first alarm that is raised by any member and not excluded.
fn alarm(context: &Context, query: Query<'_>) -> Option<AlarmKind> {
    // Rows that cannot be read halt the member, and the read that follows fails.
    let alarms = context.handle.alarms_known().unwrap_or_default();
    let is_excluded =
        |kind: AlarmKind| query.values("exclude").any(|name| name == kind.to_string());
    alarms
        .iter()
        .map(|alarm| alarm.kind)
        .find(|kind| !is_excluded(*kind))
}

/// Why the member cannot serve reads, if it cannot.
async fn leader_and_read(context: &Context, serializable: bool) -> Option<String> {
    if no_leader(context) && !serializable {
        return Some("RAFT NO LEADER".to_owned());
    }
    let error = read(context, serializable).await.err()?;
    Some(format!(
        "RANGE ERROR:{}",
        detcd_wire::status::status(&error).1
    ))
}

#[derive(Clone, Copy)]
enum Check {
    SerializableRead,
    LinearizableRead,
    DataCorruption,
    NonLearner,
}

const LIVEZ: &[(&str, Check)] = &[("serializable_read", Check::SerializableRead)];

const READYZ: &[(&str, Check)] = &[
    ("data_corruption", Check::DataCorruption),
    ("serializable_read", Check::SerializableRead),
    ("linearizable_read", Check::LinearizableRead),
    ("non_learner", Check::NonLearner),
];

/// `/livez`, `/readyz`, or one check of them by its name.
pub(super) async fn probe(context: &Context, path: &str, query: Query<'_>) -> Reply {
    let (root, name) = match path[1..].split_once('/') {
        Some((root, name)) => (root, Some(name)),
        None => (&path[1..], None),
    };
    let all = if root == "livez" { LIVEZ } else { READYZ };
    let wanted = |check: &&(&str, Check)| match name {
        Some(name) => check.0 == name,
        None => !query.values("exclude").any(|excluded| excluded == check.0),
    };
    let checks: Vec<&(&str, Check)> = all.iter().filter(wanted).collect();
    if name.is_some() && checks.is_empty() {
        return not_found();
    }
    let mut lines = String::new();
    let mut well = true;
    for (name, check) in checks {
        let result = run(context, *check).await;
        context.metrics.checked(root, name, result.is_ok());
        // Writing to a string cannot fail.
        let _ = match result {
            Ok(()) => writeln!(lines, "[+]{name} ok"),
            Err(reason) => {
                well = false;
                writeln!(lines, "[-]{name} failed: {reason}")
            }
        };
    }
    match well {
        false => problem(StatusCode::SERVICE_UNAVAILABLE, lines.trim_end()),
        true if query.has("verbose") => respond(StatusCode::OK, TEXT, format!("{lines}ok\n")),
        true => respond(StatusCode::OK, TEXT, "ok\n"),
    }
}

async fn run(context: &Context, check: Check) -> Result<(), String> {
    let told = |error: Error| format!("RANGE ERROR: {}", detcd_wire::status::status(&error).1);
    match check {
        Check::SerializableRead => read(context, true).await.map_err(told),
        Check::LinearizableRead => read(context, false).await.map_err(told),
        Check::DataCorruption => data_corruption(context),
        Check::NonLearner => match context.handle.status().raft.is_learner {
            true => Err("learner member is not ready to serve linearizable requests".to_owned()),
            false => Ok(()),
        },
    }
}

fn data_corruption(context: &Context) -> Result<(), String> {
    // A member that finds its own data damaged halts, and soon nobody answers here.
    if let Some(reason) = &*context.handle.fatal().borrow() {
        return Err(reason.clone());
    }
    let alarms = context.handle.alarms_known().unwrap_or_default();
    match alarms.iter().any(|alarm| alarm.kind == AlarmKind::Corrupt) {
        true => Err("alarm activated: CORRUPT".to_owned()),
        false => Ok(()),
    }
}

fn no_leader(context: &Context) -> bool {
    context.handle.leader().borrow().is_none()
}

async fn read(context: &Context, serializable: bool) -> Result<(), Error> {
    if !serializable {
        let mut leader = context.handle.leader();
        tokio::select! {
            biased;
            confirmed = context.handle.confirm_read() => confirmed?,
            _ = leader.wait_for(Option::is_none) => return Err(Error::NoLeader),
            () = detcd_rt::sleep(READ_TIME_MAX) => return Err(Error::Timeout),
        }
    }
    let key = KeyRange::One(Bytes::from_static(PROBED_KEY));
    let request = RangeRequest {
        // What was to be confirmed is.
        serializable: true,
        limit: 1,
        keys_only: true,
        ..RangeRequest::of(key)
    };
    context.handle.range(request).await.map(|_| ())
}
