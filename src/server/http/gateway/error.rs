//! Failures as the gateway tells them: the keys of etcd up to 3.5 and those of 3.6 and later, together.

use super::super::{JSON, respond};
use super::json::write;
use crate::server::listen::Reply;
use ::http::StatusCode;
use bytes::Bytes;
use detcd_service::Failure;
use serde::Serialize;
use tonic::Code;

#[derive(Serialize)]
struct Problem<'a> {
    error: &'a str,
    code: i32,
    message: &'a str,
    details: [(); 0],
}

#[derive(Serialize)]
struct Chunk<'a> {
    error: StreamProblem<'a>,
}

#[derive(Serialize)]
struct StreamProblem<'a> {
    grpc_code: i32,
    http_code: u16,
    message: &'a str,
    http_status: &'a str,
    code: i32,
    details: [(); 0],
}

/// The answer to a call that failed.
pub fn reply(failure: &Failure) -> Reply {
    let mut body = Vec::new();
    let problem = Problem {
        error: &failure.text,
        code: failure.code,
        message: &failure.text,
        details: [],
    };
    write::value(&problem, &mut body);
    respond(status(Code::from(failure.code)), JSON, body)
}

/// The last line of a stream that failed.
pub fn line(failure: &Failure) -> Bytes {
    let status = status(Code::from(failure.code));
    let mut line = Vec::new();
    let error = StreamProblem {
        grpc_code: failure.code,
        http_code: status.as_u16(),
        message: &failure.text,
        http_status: status.canonical_reason().unwrap_or_default(),
        code: failure.code,
        details: [],
    };
    write::value(&Chunk { error }, &mut line);
    line.into()
}

pub fn status(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        Code::Cancelled => StatusCode::REQUEST_TIMEOUT,
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => {
            StatusCode::BAD_REQUEST
        }
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// A failure of the gateway itself.
pub fn failure(code: Code, text: impl Into<String>) -> Failure {
    Failure {
        code: code as i32,
        text: text.into().into(),
    }
}
