//! JSON as Go reads it: the first value of a body, whatever follows, and names of fields in letters of
//! any size.

use serde::de::DeserializeOwned;
use serde_json::{Deserializer, Map, Value};

/// `None` for what is no such value.
pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Option<T> {
    let value = Deserializer::from_slice(body).into_iter::<Value>().next()?;
    // Null leaves every field as it was.
    let value = match value.ok()? {
        Value::Null => Value::Object(Map::new()),
        value @ Value::Object(_) => lower(value),
        _ => return None,
    };
    serde_json::from_value(value).ok()
}

fn lower(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.into_iter();
            let fields = fields.map(|(name, value)| (name.to_lowercase(), lower(value)));
            Value::Object(fields.collect::<Map<String, Value>>())
        }
        value => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize, PartialEq)]
    struct Level {
        #[serde(default)]
        level: Option<String>,
    }

    #[test]
    fn bodies_are_read_as_go_does() {
        let read = |body: &str| read::<Level>(body.as_bytes()).map(|it| it.level);
        let level = |name: &str| Some(Some(name.to_owned()));
        assert_eq!(read("{\"Level\":\"DEBUG\"} x"), level("DEBUG"));
        assert_eq!(read("{\"level\":\"i\",\"x\":1}"), level("i"));
        assert_eq!(read("{\"level\":null}"), Some(None));
        for body in ["", "x", "1", "[]", "{\"level\":1}"] {
            assert_eq!(read(body), None, "{body}");
        }
    }
}
