//! From parameters to a request, in etcd's order: the first that is wrong is what the client is told.

use super::form::Form;
use bytes::Bytes;
use detcd_core::v2::{Code, Refused};
use detcd_service::{KeysMethod, KeysRequest};

/// The request, and whether nodes are left out of its reply.
pub(super) fn request(
    method: KeysMethod,
    path: Bytes,
    form: &Form,
) -> Result<(KeysRequest, bool), Refused> {
    let prev_index = number(form, "prevIndex", Code::IndexNotANumber)?.unwrap_or(0);
    let wait_index = number(form, "waitIndex", Code::IndexNotANumber)?.unwrap_or(0);
    let recursive = flag(form, "recursive")?;
    // Listings are always in order.
    flag(form, "sorted")?;
    let wait = flag(form, "wait")?;
    let dir = flag(form, "dir")?;
    let quorum = flag(form, "quorum")?;
    let stream = flag(form, "stream")?;
    if wait && method != KeysMethod::Get {
        let cause = "\"wait\" can only be used with GET requests";
        return Err(Refused::request(Code::InvalidField, cause));
    }
    let prev_value = form.value("prevValue");
    if form.get("prevValue").is_some() && prev_value.is_empty() {
        let cause = "\"prevValue\" cannot be empty";
        return Err(Refused::request(Code::PrevValueRequired, cause));
    }
    let no_value_on_success = flag(form, "noValueOnSuccess")?;
    let ttl = match form.value("ttl").is_empty() {
        true => None,
        false => number(form, "ttl", Code::TtlNotANumber)?,
    };
    let prev_exist = optional_flag(form, "prevExist", "invalid value for prevExist".to_owned())?;
    let refresh = optional_flag(form, "refresh", "invalid value for refresh".to_owned())?;
    let refresh = refresh.unwrap_or(false);
    let value = form.value("value");
    if refresh && !value.is_empty() {
        let cause = "A value was provided on a refresh";
        return Err(Refused::request(Code::RefreshValue, cause));
    }
    if refresh && ttl.is_none() {
        let cause = "No TTL value set";
        return Err(Refused::request(Code::RefreshTtlRequired, cause));
    }
    let request = KeysRequest {
        value,
        dir,
        prev_value,
        prev_index,
        prev_exist,
        ttl,
        refresh,
        recursive,
        wait,
        wait_index,
        stream,
        quorum,
        ..KeysRequest::new(method, path)
    };
    Ok((request, no_value_on_success))
}

fn number(form: &Form, name: &str, code: Code) -> Result<Option<u64>, Refused> {
    let Some(value) = form.get(name) else {
        return Ok(None);
    };
    // Go takes no sign.
    let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(value).ok().filter(|_| is_number);
    match text.and_then(|text| text.parse().ok()) {
        Some(number) => Ok(Some(number)),
        None => Err(Refused::request(code, invalid(name))),
    }
}

fn flag(form: &Form, name: &str) -> Result<bool, Refused> {
    Ok(optional_flag(form, name, invalid(name))?.unwrap_or(false))
}

fn optional_flag(form: &Form, name: &str, invalid: String) -> Result<Option<bool>, Refused> {
    let Some(value) = form.get(name) else {
        return Ok(None);
    };
    match &value[..] {
        b"1" | b"t" | b"T" | b"true" | b"TRUE" | b"True" => Ok(Some(true)),
        b"0" | b"f" | b"F" | b"false" | b"FALSE" | b"False" => Ok(Some(false)),
        _ => Err(Refused::request(Code::InvalidField, invalid)),
    }
}

fn invalid(name: &str) -> String {
    format!("invalid value for \"{name}\"")
}
