//! Parameters as Go's `ParseForm` reads them: those of the body, if it is a form, before those of
//! the query; and its words for what cannot be read.

use bytes::Bytes;
use detcd_core::percent;

const FORM: &str = "application/x-www-form-urlencoded";

/// The parameters of a request, in order.
#[derive(Debug, Default)]
pub(super) struct Form(Vec<(Vec<u8>, Bytes)>);

impl Form {
    /// `body` is that of a method that has one, with its content type.
    pub fn parse(body: Option<(&[u8], &[u8])>, query: &str) -> Result<Form, String> {
        let mut form = Form::default();
        let in_body = match body {
            Some((kind, body)) => form.add_body(kind, body),
            None => Ok(()),
        };
        let in_query = form.add(query.as_bytes());
        in_body.and(in_query).map(|()| form)
    }

    /// The first value of `name`; a name without a value has an empty one.
    pub fn get(&self, name: &str) -> Option<&Bytes> {
        let mut pairs = self.0.iter();
        let found = pairs.find(|(key, _)| key == name.as_bytes());
        found.map(|(_, value)| value)
    }

    /// The first value of `name`, empty if there is none.
    pub fn value(&self, name: &str) -> Bytes {
        self.get(name).cloned().unwrap_or_default()
    }

    fn add_body(&mut self, kind: &[u8], body: &[u8]) -> Result<(), String> {
        if kind.is_empty() {
            return Ok(());
        }
        let (media, parameters) = media_type(kind)?;
        let added = match media == FORM {
            true => self.add(body),
            false => Ok(()),
        };
        parameters.and(added)
    }

    fn add(&mut self, query: &[u8]) -> Result<(), String> {
        let mut result = Ok(());
        for pair in query.split(|byte| *byte == b'&') {
            match read_pair(pair) {
                Ok(Some(pair)) => self.0.push(pair),
                Ok(None) => {}
                Err(error) => result = result.and(Err(error)),
            }
        }
        result
    }
}

fn read_pair(pair: &[u8]) -> Result<Option<(Vec<u8>, Bytes)>, String> {
    if pair.contains(&b';') {
        return Err("invalid semicolon separator in query".to_owned());
    }
    if pair.is_empty() {
        return Ok(None);
    }
    let at = pair.iter().position(|byte| *byte == b'=');
    let (key, value) = match at {
        Some(at) => (&pair[..at], &pair[at + 1..]),
        None => (pair, &[][..]),
    };
    Ok(Some((unescape(key)?, unescape(value)?.into())))
}

/// Undoes the escapes of a query.
fn unescape(text: &[u8]) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        let escape = &rest[..rest.len().min(3)];
        rest = after;
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let escaped = percent::escaped(after);
                rest = after.get(2..).unwrap_or_default();
                escaped.ok_or_else(|| {
                    let escape = String::from_utf8_lossy(escape);
                    format!("invalid URL escape {}", go_quoted(&escape))
                })?
            }
            byte => *byte,
        });
    }
    Ok(bytes)
}

/// As Go's `%q`, as far as three characters of a query need it.
fn go_quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// The media type of a header, and whether its parameters can be read.
fn media_type(header: &[u8]) -> Result<(String, Result<(), String>), String> {
    let header = String::from_utf8_lossy(header);
    let (media, parameters) = match header.find(';') {
        Some(at) => header.split_at(at),
        None => (&header[..], ""),
    };
    let media = media.trim().to_ascii_lowercase();
    let problem = match media.split_once('/') {
        _ if media.is_empty() => Some("mime: no media type"),
        None if is_token(&media) => None,
        None => Some("mime: expected slash after first token"),
        Some((first, _)) if !is_token(first) => Some("mime: expected slash after first token"),
        Some((_, "")) => Some("mime: expected token after slash"),
        Some((_, second)) if is_token(second) => None,
        Some(_) => Some("mime: unexpected content after media subtype"),
    };
    match problem {
        Some(problem) => Err(problem.to_owned()),
        None => Ok((media, are_parameters(parameters))),
    }
}

fn are_parameters(mut rest: &str) -> Result<(), String> {
    loop {
        rest = rest.trim_start();
        if rest.is_empty() || rest.trim() == ";" {
            return Ok(());
        }
        let after = rest.strip_prefix(';').and_then(parameter);
        rest = after.ok_or_else(|| "mime: invalid media parameter".to_owned())?;
    }
}

/// What follows a parameter.
fn parameter(text: &str) -> Option<&str> {
    let (name, value) = text.trim_start().split_once('=')?;
    if !is_token(name.trim_end()) {
        return None;
    }
    let value = value.trim_start();
    if let Some(quoted) = value.strip_prefix('"') {
        return quoted.split_once('"').map(|(_, rest)| rest);
    }
    let end = value.find([';', ' ', '\t']).unwrap_or(value.len());
    is_token(&value[..end]).then(|| &value[end..])
}

fn is_token(text: &str) -> bool {
    let is_special = |byte| b"()<>@,;:\\\"/[]?=".contains(&byte);
    let mut bytes = text.bytes();
    !text.is_empty() && bytes.all(|byte| byte.is_ascii_graphic() && !is_special(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(kind: &str, body: &str, query: &str) -> Result<Form, String> {
        Form::parse(Some((kind.as_bytes(), body.as_bytes())), query)
    }

    #[test]
    fn a_form_comes_before_the_query() {
        let form = parse(FORM, "value=a+b%26&dir", "value=c&ttl=5&&x=%ff").unwrap();
        assert_eq!(form.value("value"), "a b&");
        assert_eq!(form.get("dir"), Some(&Bytes::new()));
        assert_eq!(form.value("ttl"), "5");
        assert_eq!(form.value("x"), &b"\xff"[..]);
        assert_eq!(form.get("none"), None);
    }

    #[test]
    fn only_a_form_is_read() {
        for kind in ["", "text/plain", "multipart/form-data; boundary=x", "foo"] {
            let form = parse(kind, "value=a", "").unwrap();
            assert_eq!(form.get("value"), None, "{kind}");
        }
        for kind in [
            "Application/X-WWW-Form-URLEncoded; charset=utf-8",
            "application/x-www-form-urlencoded;",
        ] {
            assert_eq!(parse(kind, "value=a", "").unwrap().value("value"), "a");
        }
    }

    #[test]
    fn errors_have_gos_words() {
        let errors = [
            (FORM, "value=%zz", "invalid URL escape \"%zz\""),
            (FORM, "value=%4", "invalid URL escape \"%4\""),
            (FORM, "a;b=1&c=%", "invalid semicolon separator in query"),
            ("foo;;", "", "mime: invalid media parameter"),
            ("a b/c", "", "mime: expected slash after first token"),
            ("a/b c", "", "mime: unexpected content after media subtype"),
            ("text/", "", "mime: expected token after slash"),
            (" ;a=b", "", "mime: no media type"),
        ];
        for (kind, body, error) in errors {
            assert_eq!(parse(kind, body, "").unwrap_err(), error);
        }
    }
}
