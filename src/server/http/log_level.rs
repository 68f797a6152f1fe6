//! `/config/local/log`: how much the member logs, from now on.

use super::members::Refusal;
use super::{go_json, nothing, problem};
use crate::config::LogLevel;
use crate::log_level;
use crate::server::listen::Reply;
use ::http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use serde::Deserialize;

pub(super) const PATH: &str = "/config/local/log";
/// What a body that names a level may have.
const BODY_BYTES_MAX: usize = 4 * 1024;

/// What a body asks for.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Wanted {
    level: Option<String>,
}

pub(super) async fn serve(request: Request<Incoming>) -> Reply {
    if *request.method() != Method::PUT {
        let mut reply = problem(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
        let put = HeaderValue::from_static("PUT");
        reply.headers_mut().insert(header::ALLOW, put);
        return reply;
    }
    let body = Limited::new(request.into_body(), BODY_BYTES_MAX).collect();
    let body = body.await.map(|body| body.to_bytes()).unwrap_or_default();
    let bad = |why: String| Refusal(StatusCode::BAD_REQUEST, why).reply();
    let Some(wanted) = go_json::read::<Wanted>(&body) else {
        return bad("Invalid json body".to_owned());
    };
    let name = wanted.level.unwrap_or_default();
    let Some(level) = level(&name) else {
        return bad(format!("Invalid log level {name}"));
    };
    tracing::info!(level = name, "the log level is changed");
    log_level::set(level);
    nothing(StatusCode::NO_CONTENT)
}

/// The levels of etcd's log.
fn level(name: &str) -> Option<LogLevel> {
    match &name.to_uppercase()[..] {
        "CRITICAL" | "C" | "ERROR" | "0" | "E" => Some(LogLevel::Error),
        "WARNING" | "1" | "W" | "NOTICE" | "2" | "N" => Some(LogLevel::Warn),
        "INFO" | "3" | "I" => Some(LogLevel::Info),
        "DEBUG" | "4" | "D" | "TRACE" | "5" | "T" => Some(LogLevel::Debug),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_etcds() {
        assert_eq!(level("debug"), Some(LogLevel::Debug));
        assert_eq!(level("FOO"), None);
    }
}
