//! `/config/local/log`: how much the member logs, from now on.

use super::members::Refusal;
use super::{nothing, problem};
use crate::config::LogLevel;
use crate::log_level;
use crate::server::listen::Reply;
use ::http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use serde_json::{Deserializer, Value};

pub(super) const PATH: &str = "/config/local/log";
/// What a body that names a level may have.
const BODY_BYTES_MAX: usize = 4 * 1024;

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
    let Some(name) = name(&body) else {
        return bad("Invalid json body".to_owned());
    };
    let Some(level) = level(&name) else {
        return bad(format!("Invalid log level {name}"));
    };
    tracing::info!(level = name, "the log level is changed");
    log_level::set(level);
    nothing(StatusCode::NO_CONTENT)
}

/// The level that is asked for, as Go reads it: the first value, whatever follows, and names in
/// letters of any size.
fn name(body: &[u8]) -> Option<String> {
    let mut values = Deserializer::from_slice(body).into_iter::<Value>();
    let fields = match values.next()?.ok()? {
        Value::Null => return Some(String::new()),
        Value::Object(fields) => fields,
        _ => return None,
    };
    let mut level = String::new();
    for (field, value) in fields {
        match value {
            _ if !field.eq_ignore_ascii_case("level") => {}
            Value::String(text) => level = text,
            Value::Null => {}
            _ => return None,
        }
    }
    Some(level)
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
    fn levels_are_read_as_go_does() {
        let read = |body: &str| name(body.as_bytes());
        assert_eq!(read("{\"Level\":\"DEBUG\"} x").as_deref(), Some("DEBUG"));
        assert_eq!(read("{\"level\":\"i\",\"x\":1}").as_deref(), Some("i"));
        assert_eq!(read("null").as_deref(), Some(""));
        for body in ["", "x", "[]", "{\"level\":1}"] {
            assert_eq!(read(body), None, "{body}");
        }
        assert_eq!(level("debug"), Some(LogLevel::Debug));
        assert_eq!(level("FOO"), None);
    }
}
