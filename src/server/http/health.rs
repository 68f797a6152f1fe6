//! `/health`, and the probes `/livez` and `/readyz`, as HTTP.

use super::{Query, TEXT, not_found, problem, respond};
use crate::server::Context;
use crate::server::listen::Reply;
use ::http::StatusCode;
use detcd_service::health::{Checks, HealthRequest, Probe};
use serde::Serialize;
use std::borrow::Cow;
use std::fmt::Write as _;

#[derive(Serialize)]
struct Health {
    health: &'static str,
    reason: String,
}

/// One bad finding is a 503 with its reason.
pub(super) async fn health(context: &Context, query: Query<'_>) -> Reply {
    let request = HealthRequest {
        serializable: query.values("serializable").any(|value| value == "true"),
        exclude: excluded(query),
    };
    let health = context.service.health(&request).await;
    let counter = match health {
        Ok(()) => &context.metrics.health_success,
        Err(_) => &context.metrics.health_failures,
    };
    counter.inc();
    let body = Health {
        health: if health.is_ok() { "true" } else { "false" },
        reason: health
            .as_ref()
            .err()
            .map_or_else(String::new, ToString::to_string),
    };
    let body = serde_json::to_string(&body).expect("two strings have a JSON form");
    match health {
        Ok(()) => respond(StatusCode::OK, TEXT, body),
        Err(_) => problem(StatusCode::SERVICE_UNAVAILABLE, &body),
    }
}

/// `/livez`, `/readyz`, or one check of them by its name.
pub(super) async fn probe(context: &Context, path: &str, query: Query<'_>) -> Reply {
    let (root, checks) = match path[1..].split_once('/') {
        Some((root, name)) => (root, Checks::One(name.to_owned())),
        None => (&path[1..], Checks::AllBut(excluded(query))),
    };
    let probe = match root == Probe::Live.name() {
        true => Probe::Live,
        false => Probe::Ready,
    };
    let Some(results) = context.service.probe(probe, &checks).await else {
        return not_found();
    };
    let mut lines = String::new();
    for check in &results {
        let name = check.name;
        context
            .metrics
            .checked(probe.name(), name, check.result.is_ok());
        // Writing to a string cannot fail.
        let _ = match &check.result {
            Ok(()) => writeln!(lines, "[+]{name} ok"),
            Err(reason) => writeln!(lines, "[-]{name} failed: {reason}"),
        };
    }
    match results.iter().all(|check| check.result.is_ok()) {
        false => problem(StatusCode::SERVICE_UNAVAILABLE, lines.trim_end()),
        true if query.has("verbose") => respond(StatusCode::OK, TEXT, format!("{lines}ok\n")),
        true => respond(StatusCode::OK, TEXT, "ok\n"),
    }
}

fn excluded(query: Query<'_>) -> Vec<String> {
    query.values("exclude").map(Cow::into_owned).collect()
}
