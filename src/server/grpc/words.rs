//! Errors in the words of grpc-go, which etcd's clients match on.

use ::http::{HeaderMap, HeaderValue};
use detcd_service::{CallError, METHODS, Method};
use tonic::{Code, Status};

/// What a call of one reply is told.
pub(super) fn of_call(error: CallError) -> Status {
    match error {
        CallError::Malformed(why) => {
            Status::internal(format!("grpc: error unmarshalling request: {why}"))
        }
        error => status(&error),
    }
}

/// What a stream is told.
pub(super) fn of_stream(error: CallError) -> Status {
    match error {
        CallError::Malformed(why) => {
            let text = format!("grpc: failed to unmarshal the received message: {why}");
            Status::internal(text)
        }
        error => status(&error),
    }
}

fn status(error: &CallError) -> Status {
    let failure = error.failure();
    Status::new(Code::from(failure.code), failure.text)
}

/// Why tonic reads no more of a client's stream.
pub(super) fn of_broken_stream(status: Status) -> Status {
    match of_frames(status.code(), status.message()) {
        Some((code, text)) => Status::new(code, text),
        None => status,
    }
}

/// What grpc-go says of a path that is no method.
pub(super) fn of_unknown(path: &str) -> Status {
    let name = path.strip_prefix('/').unwrap_or(path);
    let Some((service, name)) = name.rsplit_once('/') else {
        return Status::unimplemented(format!("malformed method name: {path:?}"));
    };
    let is_known = |method: &Method| method.service == service;
    Status::unimplemented(match METHODS.iter().any(is_known) {
        true => format!("unknown method {name} for service {service}"),
        false => format!("unknown service {service}"),
    })
}

/// Rewrites what tonic says of frames that it cannot take, in the head of a response. Gives the
/// code.
pub(crate) fn reword(code: Code, headers: &mut HeaderMap) -> Code {
    let words = headers
        .get("grpc-message")
        .and_then(|value| value.to_str().ok())
        .and_then(|message| of_frames(code, &unescape(message)));
    let Some((code, text)) = words else {
        return code;
    };
    headers.insert("grpc-status", HeaderValue::from(code as i32));
    if let Ok(text) = HeaderValue::from_str(&text) {
        headers.insert("grpc-message", text);
    }
    code
}

/// tonic's words for frames that cannot be taken, as grpc-go's code and words; `None` for what is
/// not about frames.
fn of_frames(code: Code, text: &str) -> Option<(Code, String)> {
    match code {
        Code::OutOfRange => {
            let sizes = text.strip_prefix("Error, decoded message length too large: found ")?;
            let (found, limit) = sizes.split_once(" bytes, the limit is: ")?;
            let limit = limit.strip_suffix(" bytes")?;
            let words = format!("grpc: received message larger than max ({found} vs. {limit})");
            Some((Code::ResourceExhausted, words))
        }
        Code::ResourceExhausted => {
            let limit = text.strip_prefix("Error decompressing: size limit, of ")?;
            let (limit, _) = limit.split_once(" bytes")?;
            // How large it is once it is whole, nobody has found out.
            let words =
                format!("grpc: received message larger than max (more than {limit} vs. {limit})");
            Some((Code::ResourceExhausted, words))
        }
        Code::Unimplemented => {
            let encoding = text.strip_prefix("Content is compressed with `")?;
            let (encoding, _) = encoding.split_once('`')?;
            let words =
                format!("grpc: Decompressor is not installed for grpc-encoding {encoding:?}");
            Some((Code::Unimplemented, words))
        }
        Code::Internal if text.starts_with("Error decompressing: ") => {
            let why = text.trim_start_matches("Error decompressing: ");
            let why = why.trim_end_matches(", while sending request");
            Some((
                Code::Internal,
                format!("grpc: failed to decompress the received message {why}"),
            ))
        }
        Code::Internal
            if text.contains("compression flag") && text.contains("no grpc-encoding") =>
        {
            let words = "grpc: compressed flag set with identity or empty encoding";
            Some((Code::Internal, words.to_owned()))
        }
        _ => None,
    }
}

/// Undoes the percent escapes of gRPC's status messages.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let escaped = (byte == b'%')
            .then(|| tail.get(..2))
            .flatten()
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match escaped {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(byte);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_messages_are_unescaped() {
        assert_eq!(unescape("Error%2C a%20b 100% %zz"), "Error, a b 100% %zz");
    }
}
