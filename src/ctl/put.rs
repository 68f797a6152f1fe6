//! `put`: writes a key.

use super::client::{Client, Repeat};
use super::command_line::Word;
use super::commands::{Action, Command, Verb};
use super::context::Context;
use super::failure::Failure;
use super::flags::{Flag, Values};
use super::go;
use super::keys;
use super::output::json::Json;
use super::output::messages::{header_fields, kv_fields, kv_json, kv_simple, with_header};
use super::output::{Show, Style, line};
use bytes::Bytes;
use detcd_wire::etcdserverpb as pb;
use detcd_wire::etcdserverpb::kv_client::KvClient;
use prost::Message as _;

pub const COMMAND: Command = Command {
    name: "put",
    usage: "put [options] <key> <value> (<value> can also be given from stdin)",
    about: "Writes a key",
    long: "Without a value on the command line, the whole standard input is the value:\n\
           $ cat file | put <key>\n\
           \n\
           A value that begins with '-' reads as a flag; '--' ends the flags:\n\
           $ put <key> -- <value>\n\
           $ put -- <key> <value>",
    flags: &[
        Flag::switch("ignore-lease", "keep the lease that the key has"),
        Flag::switch("ignore-value", "keep the value that the key has"),
        Flag::text("lease", "0", "lease (in hexadecimal) to attach to the key"),
        Flag::switch("prev-kv", "also print the key and value from before"),
    ],
    action: Action::Run(Verb::Put),
};

pub async fn run(context: &mut Context) -> Result<(), Failure> {
    check(&context.flags, &context.args)?;
    let value = match context.flags.switch("ignore-value") {
        true => Bytes::new(),
        false => keys::argument_or_input(context, 1, USAGE)?,
    };
    let request = request(&context.flags, &context.args, value)?;
    context.style()?;
    let mut client = Client::new(context)?;
    let response = client
        .call(Repeat::Write, async |service| {
            KvClient::new(service).put(request.clone()).await
        })
        .await?;
    context.show(&PutOutput(response))
}

/// The request of a `put` within `txn`, where no value comes from the standard input.
pub fn operation(flags: &Values, args: &[Word]) -> Result<pb::PutRequest, Failure> {
    check(flags, args)?;
    let ignored = flags.switch("ignore-value");
    let value = match args.get(1) {
        Some(value) => Bytes::from(value.clone()),
        None if ignored => Bytes::new(),
        None => return Err(Failure::args(USAGE)),
    };
    request(flags, args, value)
}

pub struct PutOutput(pub pb::PutResponse);

impl Show for PutOutput {
    fn simple(&self, style: Style, out: &mut Vec<u8>) {
        line!(out, "OK");
        if let Some(kv) = &self.0.prev_kv {
            kv_simple(style, kv, out);
        }
    }

    fn fields(&self, out: &mut Vec<u8>) {
        header_fields(&self.0.header, out);
        if let Some(kv) = &self.0.prev_kv {
            kv_fields("Prev", kv, out);
        }
    }

    fn json(&self, _: Style) -> Json {
        with_header(&self.0.header).with_some("prev_kv", self.0.prev_kv.as_ref().map(kv_json))
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.0.encode_to_vec())
    }
}

const USAGE: &str = "put command needs 1 argument and input from stdin or 2 arguments";

fn check(flags: &Values, args: &[Word]) -> Result<(), Failure> {
    if args.is_empty() {
        return Err(Failure::args(USAGE));
    }
    if flags.switch("ignore-value") && args.len() > 1 {
        let why = "put command needs only 1 argument when 'ignore-value' is set";
        return Err(Failure::args(why));
    }
    Ok(())
}

fn request(flags: &Values, args: &[Word], value: Bytes) -> Result<pb::PutRequest, Failure> {
    let lease = go::parse_int(flags.text("lease"), 16)
        .map_err(|why| Failure::args(format!("bad lease ID ({why}), expecting ID in Hex")))?;
    Ok(pb::PutRequest {
        key: Bytes::from(args[0].clone()),
        value,
        lease,
        prev_kv: flags.switch("prev-kv"),
        ignore_value: flags.switch("ignore-value"),
        ignore_lease: flags.switch("ignore-lease"),
    })
}
