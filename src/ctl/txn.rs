//! `txn`: reads a transaction from the standard input and sends it. Three parts, each ended by an
//! empty line: conditions, operations if all of them hold, operations if not.
//!
//! ```text
//! part       = { line } empty-line
//! condition  = target "(" quoted-key ") " ("=" | "!=" | "<" | ">") " " quoted-value
//! target     = "c" | "create" | "m" | "mod" | "ver" | "version" | "val" | "value" | "lease"
//! operation  = ("get" | "put" | "del") with the flags and arguments of the command
//! ```

use super::client::{ANSWER_BYTES_MAX, Client, Repeat};
use super::command_line::{Word, split_words};
use super::commands::{Action, Command, Verb};
use super::context::Context;
use super::failure::{Failure, code};
use super::flags::{self, Flag};
use super::output::json::Json;
use super::output::messages::{header_fields, with_header};
use super::output::{Show, Style, line};
use super::{del, get, go, put};
use detcd_wire::etcdserverpb as pb;
use detcd_wire::etcdserverpb::kv_client::KvClient;
use pb::compare::{CompareResult, CompareTarget, TargetUnion};
use pb::request_op::Request;
use pb::response_op::Response;
use prost::Message as _;

pub const COMMAND: Command = Command {
    name: "txn",
    usage: "txn [options]",
    about: "Carries out a transaction read from the standard input",
    long: "The input has three parts, each ended by an empty line: conditions, the operations if\n\
           all conditions hold, the operations if not. For example:\n\
           \n\
           mod(\"key1\") > \"0\"\n\
           \n\
           put key1 \"overwrote-key1\"\n\
           \n\
           put key1 \"created-key1\"\n\
           get key1\n\
           \n\
           A condition is create(\"k\"), mod(\"k\"), version(\"k\"), value(\"k\") or lease(\"k\"),\n\
           then =, !=, < or >, then a quoted value. Operations are get, put and del with the flags\n\
           and arguments of the commands.",
    flags: &[Flag::switch("interactive", "prompt for each part").short('i')],
    action: Action::Run(Verb::Txn),
};

pub async fn run(context: &mut Context) -> Result<(), Failure> {
    if !context.args.is_empty() {
        return Err(Failure::args("txn command does not accept argument"));
    }
    context.style()?;
    prompt(context, "compares:")?;
    let mut compare = Vec::new();
    while let Some(line) = next_line(context)? {
        compare.push(condition(&line).map_err(invalid)?);
    }
    prompt(context, "success requests (get, put, del):")?;
    let success = operations(context)?;
    prompt(context, "failure requests (get, put, del):")?;
    let failure = operations(context)?;
    let request = pb::TxnRequest {
        compare,
        success,
        failure,
    };

    let repeat = if writes(&request) {
        Repeat::Write
    } else {
        Repeat::Read
    };
    let mut client = Client::new(context)?;
    let response = client
        .call(repeat, async |service| {
            let client = KvClient::new(service).max_decoding_message_size(ANSWER_BYTES_MAX);
            { client }.txn(request.clone()).await
        })
        .await?;
    context.show(&TxnOutput(response))
}

struct TxnOutput(pb::TxnResponse);

impl Show for TxnOutput {
    fn simple(&self, style: Style, out: &mut Vec<u8>) {
        line!(
            out,
            "{}",
            if self.0.succeeded {
                "SUCCESS"
            } else {
                "FAILURE"
            }
        );
        for op in &self.0.responses {
            line!(out, "");
            match &op.response {
                Some(Response::ResponseRange(range)) => answer_get(range).simple(style, out),
                Some(Response::ResponsePut(put)) => put::PutOutput(put.clone()).simple(style, out),
                Some(Response::ResponseDeleteRange(delete)) => {
                    del::DeleteOutput(delete.clone()).simple(style, out);
                }
                Some(Response::ResponseTxn(txn)) => TxnOutput(txn.clone()).simple(style, out),
                None => {}
            }
        }
    }

    fn fields(&self, out: &mut Vec<u8>) {
        header_fields(&self.0.header, out);
        line!(out, "\"Succeeded\" : {}", self.0.succeeded);
        for op in &self.0.responses {
            match &op.response {
                Some(Response::ResponseRange(range)) => answer_get(range).fields(out),
                Some(Response::ResponsePut(put)) => put::PutOutput(put.clone()).fields(out),
                Some(Response::ResponseDeleteRange(delete)) => {
                    del::DeleteOutput(delete.clone()).fields(out);
                }
                Some(Response::ResponseTxn(txn)) => TxnOutput(txn.clone()).fields(out),
                None => {}
            }
        }
    }

    fn json(&self, style: Style) -> Json {
        let responses = Json::list(&self.0.responses, |op| {
            let named = match &op.response {
                Some(Response::ResponseRange(range)) => {
                    Json::object().with("response_range", answer_get(range).json(style))
                }
                Some(Response::ResponsePut(put)) => {
                    Json::object().with("response_put", put::PutOutput(put.clone()).json(style))
                }
                Some(Response::ResponseDeleteRange(delete)) => Json::object().with(
                    "response_delete_range",
                    del::DeleteOutput(delete.clone()).json(style),
                ),
                Some(Response::ResponseTxn(txn)) => {
                    Json::object().with("response_txn", TxnOutput(txn.clone()).json(style))
                }
                None => Json::Null,
            };
            Json::object().with("Response", named)
        });
        with_header(&self.0.header)
            .with_some("succeeded", self.0.succeeded)
            .with_some("responses", responses)
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.0.encode_to_vec())
    }
}

fn answer_get(response: &pb::RangeResponse) -> get::GetOutput {
    get::GetOutput {
        response: response.clone(),
        values_only: false,
    }
}

fn writes(request: &pb::TxnRequest) -> bool {
    let mut ops = request.success.iter().chain(&request.failure);
    ops.any(|op| !matches!(op.request, Some(Request::RequestRange(_))))
}

fn prompt(context: &mut Context, line: &str) -> Result<(), Failure> {
    if context.flags.switch("interactive") {
        context.terminal.say(line)
    } else {
        Ok(())
    }
}

/// The next line of a part; nothing at its end.
fn next_line(context: &mut Context) -> Result<Option<String>, Failure> {
    let line = context.terminal.read_line()?;
    let line = line.trim();
    Ok((!line.is_empty()).then(|| line.to_owned()))
}

fn invalid(why: String) -> Failure {
    Failure::new(code::INVALID_INPUT, why)
}

fn operations(context: &mut Context) -> Result<Vec<pb::RequestOp>, Failure> {
    let mut operations = Vec::new();
    while let Some(line) = next_line(context)? {
        operations.push(operation(&line)?);
    }
    Ok(operations)
}

/// A line of the second or third part: a command, its name as short as one likes.
fn operation(line: &str) -> Result<pb::RequestOp, Failure> {
    let words: Vec<Word> = split_words(line);
    let [name, args @ ..] = &words[..] else {
        return Err(invalid(format!("invalid txn compare request: {line}")));
    };
    if args.is_empty() {
        return Err(invalid(format!("invalid txn compare request: {line}")));
    }
    let commands = [&get::COMMAND, &put::COMMAND, &del::COMMAND];
    let unknown = || invalid(format!("invalid txn request: {line}"));
    let command = commands
        .into_iter()
        .find(|command| command.name.as_bytes().starts_with(name))
        .ok_or_else(unknown)?;
    let (values, args) = flags::parse(args, command.flags).map_err(|_| unknown())?;
    let request = match command.action {
        Action::Run(Verb::Get) => Request::RequestRange(get::request(&values, &args)?),
        Action::Run(Verb::Put) => Request::RequestPut(put::operation(&values, &args)?),
        _ => Request::RequestDeleteRange(del::request(&values, &args)?),
    };
    Ok(pb::RequestOp {
        request: Some(request),
    })
}

/// A line of the first part.
fn condition(line: &str) -> Result<pb::Compare, String> {
    let Some((target, rest)) = line.split_once('(') else {
        return Err(format!("malformed comparison: {line}"));
    };
    let (key, op, value, complete) = scan_condition(rest);
    if !complete {
        let (key, value) = (go::quote(&key), go::quote(&value));
        return Err(format!(
            "malformed comparison: {line}; got {target}({key}) {op} {value}"
        ));
    }
    let result = match op {
        "=" => CompareResult::Equal,
        "!=" => CompareResult::NotEqual,
        "<" => CompareResult::Less,
        ">" => CompareResult::Greater,
        _ => {
            return Err(format!(
                "malformed comparison: {line} (unknown operator {op})"
            ));
        }
    };
    let number = |base: u32| {
        str::from_utf8(&value)
            .ok()
            .and_then(|text| go::parse_int(text, base).ok())
            .ok_or_else(|| format!("invalid txn compare request: {line}"))
    };
    let (target, union) = match target {
        "ver" | "version" => (CompareTarget::Version, TargetUnion::Version(number(10)?)),
        "c" | "create" => (
            CompareTarget::Create,
            TargetUnion::CreateRevision(number(10)?),
        ),
        "m" | "mod" => (CompareTarget::Mod, TargetUnion::ModRevision(number(10)?)),
        "lease" => (CompareTarget::Lease, TargetUnion::Lease(number(16)?)),
        "val" | "value" => (CompareTarget::Value, TargetUnion::Value(value.into())),
        _ => {
            return Err(format!(
                "malformed comparison: {line} (unknown target {target})"
            ));
        }
    };
    Ok(pb::Compare {
        result: result.into(),
        target: target.into(),
        key: key.into(),
        target_union: Some(union),
        range_end: Default::default(),
    })
}

/// Reads `"key") op "value"` as far as it goes: what was found, and whether that was all.
fn scan_condition(text: &str) -> (Vec<u8>, &str, Vec<u8>, bool) {
    let Some((key, rest)) = go::unquote_prefix(text.trim_start()) else {
        return (Vec::new(), "", Vec::new(), false);
    };
    let Some(rest) = rest
        .strip_prefix(") ")
        .map(str::trim_start)
        .filter(|rest| !rest.is_empty())
    else {
        return (key, "", Vec::new(), false);
    };
    let (op, rest) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    match go::unquote_prefix(rest.trim_start()) {
        Some((value, _)) => (key, op, value, true),
        None => (key, op, Vec::new(), false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions() {
        let compare = condition(r#"value("k e") != "a\x41""#).unwrap();
        assert_eq!(&compare.key[..], b"k e");
        assert_eq!(compare.result(), CompareResult::NotEqual);
        assert_eq!(
            compare.target_union,
            Some(TargetUnion::Value((&b"aA"[..]).into()))
        );
        let compare = condition(r#"lease("k") = "1f""#).unwrap();
        assert_eq!(compare.target_union, Some(TargetUnion::Lease(31)));
    }

    /// Captured from etcdctl 3.5.1.
    #[test]
    fn refused_conditions() {
        let cases = [
            ("bogus", "malformed comparison: bogus"),
            (
                "m(\"k\") > 0",
                "malformed comparison: m(\"k\") > 0; got m(\"k\") > \"\"",
            ),
            (
                "c(k) = 0",
                "malformed comparison: c(k) = 0; got c(\"\")  \"\"",
            ),
            (
                "mod(\"k\")>\"0\"",
                "malformed comparison: mod(\"k\")>\"0\"; got mod(\"k\")  \"\"",
            ),
            (
                "mod(\"k\") > \"x\"",
                "invalid txn compare request: mod(\"k\") > \"x\"",
            ),
            (
                "foo(\"k\") = \"0\"",
                "malformed comparison: foo(\"k\") = \"0\" (unknown target foo)",
            ),
            (
                "value(\"k\")",
                "malformed comparison: value(\"k\"); got value(\"k\")  \"\"",
            ),
        ];
        for (line, why) in cases {
            assert_eq!(condition(line).unwrap_err(), why);
        }
    }
}
