//! `del`: deletes a key or a range of keys.

use super::client::{ANSWER_BYTES_MAX, Client, Repeat};
use super::command_line::Word;
use super::commands::{Action, Command, Verb};
use super::context::Context;
use super::failure::Failure;
use super::flags::{Flag, Values};
use super::keys;
use super::output::json::Json;
use super::output::messages::{header_fields, kv_fields, kv_json, kv_simple, with_header};
use super::output::{Show, Style, line};
use detcd_wire::etcdserverpb as pb;
use detcd_wire::etcdserverpb::kv_client::KvClient;
use prost::Message as _;

pub const COMMAND: Command = Command {
    name: "del",
    usage: "del [options] <key> [range_end]",
    about: "Deletes a key or the keys of [key, range_end)",
    long: "",
    flags: &[
        Flag::switch("from-key", "every key from the given one on, in byte order"),
        Flag::switch("prefix", "every key that starts with the given one"),
        Flag::switch("prev-kv", "also print the deleted keys and values"),
    ],
    action: Action::Run(Verb::Del),
};

pub async fn run(context: &mut Context) -> Result<(), Failure> {
    let request = request(&context.flags, &context.args)?;
    context.style()?;
    let mut client = Client::new(context)?;
    let response = client
        .call(Repeat::Write, async |service| {
            let client = KvClient::new(service).max_decoding_message_size(ANSWER_BYTES_MAX);
            { client }.delete_range(request.clone()).await
        })
        .await?;
    context.show(&DeleteOutput(response))
}

/// The request that flags and arguments mean; also for the operations of `txn`.
pub fn request(flags: &Values, args: &[Word]) -> Result<pb::DeleteRangeRequest, Failure> {
    let usage = "del command needs one argument as key and an optional argument as range_end";
    if args.len() > 2 {
        return Err(Failure::args(usage));
    }
    let (key, range_end) = keys::key_and_end(flags, args, usage)?;
    Ok(pb::DeleteRangeRequest {
        key,
        range_end,
        prev_kv: flags.switch("prev-kv"),
    })
}

pub struct DeleteOutput(pub pb::DeleteRangeResponse);

impl Show for DeleteOutput {
    fn simple(&self, style: Style, out: &mut Vec<u8>) {
        line!(out, "{}", self.0.deleted);
        for kv in &self.0.prev_kvs {
            kv_simple(style, kv, out);
        }
    }

    fn fields(&self, out: &mut Vec<u8>) {
        header_fields(&self.0.header, out);
        line!(out, "\"Deleted\" : {}", self.0.deleted);
        for kv in &self.0.prev_kvs {
            kv_fields("Prev", kv, out);
        }
    }

    fn json(&self, _: Style) -> Json {
        with_header(&self.0.header)
            .with_some("deleted", self.0.deleted)
            .with_some("prev_kvs", Json::list(&self.0.prev_kvs, kv_json))
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.0.encode_to_vec())
    }
}
