//! From JSON to a message, by its descriptor and etcd's rules, which are those of Go's jsonpb: fields
//! by either of their names, unknown ones ignored, the last of several of one name taken, numbers
//! with or without quotes.

use super::scan::whole;
use super::text::{Kind, elements, members, unquoted};
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use prost_reflect::{DynamicMessage, EnumDescriptor, FieldDescriptor, MessageDescriptor, Value};
use std::str::FromStr;

/// Messages that may lie in one another. A reply is a little deeper than its request, and all are
/// read with prost's limit of 100.
const MESSAGE_DEPTH_MAX: usize = 90;

const BASE64: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, BASE64);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, BASE64);

/// Reads the message that a well-formed value stands for.
pub fn message(descriptor: &MessageDescriptor, json: &[u8]) -> Result<DynamicMessage, String> {
    nested(descriptor, json, 1)
}

fn nested(
    descriptor: &MessageDescriptor,
    json: &[u8],
    depth: usize,
) -> Result<DynamicMessage, String> {
    if depth > MESSAGE_DEPTH_MAX {
        let name = descriptor.name();
        return Err(format!(
            "{name}: messages lie too deep in one another: nest fewer transactions"
        ));
    }
    let mut message = DynamicMessage::new(descriptor.clone());
    match Kind::of(json) {
        Kind::Null => return Ok(message),
        Kind::Object => {}
        _ => return Err(mismatch(json, "map[string]json.RawMessage")),
    }
    for (field, json) in known(descriptor, json) {
        message.set_field(&field, value(&field, json, depth)?);
    }
    Ok(message)
}

/// The fields that an object has, in the order of the descriptor.
fn known<'a>(descriptor: &MessageDescriptor, object: &'a [u8]) -> Vec<(FieldDescriptor, &'a [u8])> {
    // The second name goes before the first.
    let mut found: Vec<_> = descriptor
        .fields()
        .map(|field| (field, [None, None]))
        .collect();
    for (key, value) in members(object) {
        let key = unquoted(key);
        for (field, values) in &mut found {
            if field.json_name() == key {
                values[1] = Some(value);
            } else if field.name() == key {
                values[0] = Some(value);
            }
        }
    }
    let given = found
        .into_iter()
        .filter_map(|(field, [by_name, by_json_name])| {
            let value = by_json_name.or(by_name)?;
            (Kind::of(value) != Kind::Null).then_some((field, value))
        });
    given.collect()
}

fn value(field: &FieldDescriptor, json: &[u8], depth: usize) -> Result<Value, String> {
    if !field.is_list() {
        return single(field, json, depth);
    }
    match Kind::of(json) {
        Kind::Array => {}
        _ => return Err(mismatch(json, "[]json.RawMessage")),
    }
    let values = elements(json).map(|element| single(field, element, depth));
    Ok(Value::List(values.collect::<Result<_, _>>()?))
}

fn single(field: &FieldDescriptor, json: &[u8], depth: usize) -> Result<Value, String> {
    use prost_reflect::Kind as Type;
    Ok(match field.kind() {
        Type::Message(descriptor) => Value::Message(nested(&descriptor, json, depth + 1)?),
        Type::Enum(descriptor) => Value::EnumNumber(enum_number(&descriptor, json)?),
        Type::Bool => match Kind::of(json) {
            Kind::Null => Value::Bool(false),
            Kind::Bool => Value::Bool(json == b"true"),
            _ => return Err(mismatch(json, "bool")),
        },
        Type::String => match Kind::of(json) {
            Kind::Null => Value::String(String::new()),
            Kind::Text => Value::String(unquoted(json).into_owned()),
            _ => return Err(mismatch(json, "string")),
        },
        Type::Bytes => Value::Bytes(bytes(json)?.into()),
        Type::Int32 | Type::Sint32 | Type::Sfixed32 => Value::I32(number(bare(json), "int32")?),
        Type::Int64 | Type::Sint64 | Type::Sfixed64 => Value::I64(number(bare(json), "int64")?),
        Type::Uint32 | Type::Fixed32 => Value::U32(number(bare(json), "uint32")?),
        Type::Uint64 | Type::Fixed64 => Value::U64(number(bare(json), "uint64")?),
        Type::Float => Value::F32(number(bare(json), "float32")?),
        Type::Double => Value::F64(number(bare(json), "float64")?),
    })
}

/// A number without the quotes around it.
fn bare(json: &[u8]) -> &[u8] {
    let inner = json.strip_prefix(b"\"");
    inner
        .and_then(|inner| inner.strip_suffix(b"\""))
        .unwrap_or(json)
}

fn number<N: FromStr + Default>(text: &[u8], kind: &str) -> Result<N, String> {
    // What stood in quotes is anything yet.
    let json = whole(text)?;
    match Kind::of(json) {
        Kind::Null => Ok(N::default()),
        Kind::Number => {
            let text = String::from_utf8_lossy(json);
            let wrong =
                |_| format!("json: cannot unmarshal number {text} into Go value of type {kind}");
            text.parse().map_err(wrong)
        }
        _ => Err(mismatch(json, kind)),
    }
}

/// An enum's value by its name or its number, which may be one that it does not have.
fn enum_number(descriptor: &EnumDescriptor, json: &[u8]) -> Result<i32, String> {
    if Kind::of(json) != Kind::Text {
        return number(json, "protoreflect.EnumNumber");
    }
    let name = bare(json);
    let value = std::str::from_utf8(name)
        .ok()
        .and_then(|name| descriptor.get_value_by_name(name));
    value.map(|value| value.number()).ok_or_else(|| {
        let shown = quoted(json);
        format!("unknown value {shown} for enum {}", descriptor.full_name())
    })
}

/// Bytes in base64, of either alphabet and with or without padding; or as an array of numbers.
fn bytes(json: &[u8]) -> Result<Vec<u8>, String> {
    match Kind::of(json) {
        Kind::Null => Ok(Vec::new()),
        Kind::Text => from_base64(&unquoted(json)),
        Kind::Array => {
            let numbers = elements(json).map(|element| number(element, "uint8"));
            numbers.collect()
        }
        _ => Err(mismatch(json, "[]uint8")),
    }
}

fn from_base64(text: &str) -> Result<Vec<u8>, String> {
    let engine = match text.contains(['-', '_']) {
        true => URL_SAFE,
        false => STANDARD,
    };
    let decoded = match text.contains(['\r', '\n']) {
        true => engine.decode(text.replace(['\r', '\n'], "")),
        false => engine.decode(text),
    };
    decoded.map_err(|error| match error {
        base64::DecodeError::InvalidByte(at, _) | base64::DecodeError::InvalidLastSymbol(at, _) => {
            format!("illegal base64 data at input byte {at}")
        }
        _ => {
            let at = text.len() / 4 * 4;
            format!("illegal base64 data at input byte {at}")
        }
    })
}

fn mismatch(json: &[u8], kind: &str) -> String {
    let found = Kind::of(json).name();
    format!("json: cannot unmarshal {found} into Go value of type {kind}")
}

/// A text as Go's `%q` shows it.
fn quoted(text: &[u8]) -> String {
    let mut out = "\"".to_owned();
    for chunk in text.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '"' | '\\' => out.extend(['\\', character]),
                '\u{7f}' => out.push_str("\\u007f"),
                _ => out.push(character),
            }
        }
        let invalid = chunk.invalid().iter();
        out.extend(invalid.map(|byte| format!("\\x{byte:02x}")));
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::super::write;
    use super::*;
    use detcd_wire::etcdserverpb as pb;
    use pb::request_op::Request;
    use proptest::prelude::*;
    use prost::Message as _;
    use prost_reflect::DescriptorPool;
    use std::sync::LazyLock;

    fn descriptor(name: &str) -> MessageDescriptor {
        static POOL: LazyLock<DescriptorPool> =
            LazyLock::new(|| DescriptorPool::decode(detcd_wire::DESCRIPTORS).expect("descriptors"));
        POOL.get_message_by_name(name).expect("a message")
    }

    fn transaction(json: &str) -> Result<pb::TxnRequest, String> {
        let json = whole(json.as_bytes())?;
        let message = message(&descriptor("etcdserverpb.TxnRequest"), json)?;
        let bytes = message.encode_to_vec();
        Ok(pb::TxnRequest::decode(&bytes[..]).expect("a transaction"))
    }

    #[test]
    fn a_transaction_is_read() {
        let json = r#" {
            "compare": [{"key": "YQ", "target": 3, "value": "_-8", "result": "NOT_EQUAL"}, null],
            "success": [{"requestPut": {"key": "YQ==", "lease": "-5", "prev_kv": true}}],
            "failure": [{"request_range": {"key": [97], "sortOrder": "DESCEND"}}],
            "other": [{}]
        } "#;
        let put = pb::PutRequest {
            key: "a".into(),
            lease: -5,
            prev_kv: true,
            ..Default::default()
        };
        let range = pb::RangeRequest {
            key: "a".into(),
            sort_order: 2,
            ..Default::default()
        };
        let op = |request| pb::RequestOp {
            request: Some(request),
        };
        let compare = pb::Compare {
            key: "a".into(),
            target: 3,
            result: 3,
            target_union: Some(pb::compare::TargetUnion::Value(vec![0xff, 0xef].into())),
            ..Default::default()
        };
        let expected = pb::TxnRequest {
            compare: vec![compare, pb::Compare::default()],
            success: vec![op(Request::RequestPut(put))],
            failure: vec![op(Request::RequestRange(range))],
        };
        assert_eq!(transaction(json), Ok(expected));
    }

    #[test]
    fn what_cannot_be_read_is_told_as_go_tells_it() {
        for (json, expected) in [
            (
                "[]",
                "json: cannot unmarshal array into Go value of type map[string]json.RawMessage",
            ),
            (
                "{\"compare\":5}",
                "json: cannot unmarshal number into Go value of type []json.RawMessage",
            ),
            (
                "{\"compare\":[{\"version\":\"1.5\"}]}",
                "json: cannot unmarshal number 1.5 into Go value of type int64",
            ),
            (
                "{\"compare\":[{\"target\":\"X\\\"\"}]}",
                "unknown value \"\\\"X\\\\\\\"\\\"\" for enum etcdserverpb.Compare.CompareTarget",
            ),
        ] {
            assert_eq!(transaction(json), Err(expected.to_owned()), "{json}");
        }
        let nested = "{\"success\":[{\"request_txn\":".repeat(50) + "{}" + &"}]}".repeat(50);
        let error = transaction(&nested).expect_err("it is too deep");
        assert!(error.ends_with("nest fewer transactions"), "{error}");
    }

    /// A few bytes of what JSON is made of.
    fn garbage() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            prop::sample::select(
                &[
                    "{",
                    "}",
                    "[",
                    "]",
                    ",",
                    ":",
                    "\"",
                    "\\",
                    "\\u",
                    "d83d",
                    "null",
                    "true",
                    "1e5",
                    "-",
                    "\"key\"",
                    "\"compare\"",
                    "\"success\"",
                    "\"request_put\"",
                    "\"YQ==\"",
                    "{\"success\":[{\"request_txn\":",
                ][..]
            )
            .prop_map(|piece| piece.as_bytes().to_vec()),
            prop::collection::vec(any::<u8>(), 1..3),
        ];
        prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

        #[test]
        fn any_bytes_are_read_or_refused(bytes in garbage()) {
            let descriptor = descriptor("etcdserverpb.TxnRequest");
            // The reader walks through anything, though it is only given what is well-formed.
            let _ = message(&descriptor, &bytes);
            if let Ok(json) = whole(&bytes) {
                let _ = message(&descriptor, json);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_written_is_read_again(
            key: Vec<u8>, lease: i64, limit: i64, target in 0..5i32, name: String, id: u64,
        ) {
            let put = pb::PutRequest { key: key.clone().into(), lease, ..Default::default() };
            let member = pb::Member { id, name, peer_urls: vec![String::new()], ..Default::default() };
            let range = pb::RangeRequest { key: key.into(), limit, sort_target: target, ..Default::default() };
            for (name, bytes) in [
                ("PutRequest", put.encode_to_vec()),
                ("Member", member.encode_to_vec()),
                ("RangeRequest", range.encode_to_vec()),
            ] {
                let descriptor = descriptor(&format!("etcdserverpb.{name}"));
                let before = DynamicMessage::decode(descriptor.clone(), &bytes[..]).unwrap();
                let mut json = Vec::new();
                write::message(&before, &mut json);
                let after = message(&descriptor, whole(&json).unwrap());
                prop_assert_eq!(after.map(|it| it.encode_to_vec()), Ok(bytes));
            }
        }
    }
}
