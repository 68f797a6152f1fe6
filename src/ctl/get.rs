//! `get`: reads a key or a range of keys.

use super::client::{ANSWER_BYTES_MAX, Client, Repeat};
use super::command_line::Word;
use super::commands::{Action, Command, Verb};
use super::context::Context;
use super::failure::{Failure, code};
use super::flags::{Flag, Values};
use super::keys;
use super::output::json::Json;
use super::output::messages::{
    bytes_line, header_fields, kv_fields, kv_json, kv_simple, with_header,
};
use super::output::{Format, Show, Style, line};
use detcd_wire::etcdserverpb as pb;
use detcd_wire::etcdserverpb::kv_client::KvClient;
use pb::range_request::{SortOrder, SortTarget};
use prost::Message as _;

pub const COMMAND: Command = Command {
    name: "get",
    usage: "get [options] <key> [range_end]",
    about: "Reads a key or a range of keys",
    long: "",
    flags: &[
        Flag::text("consistency", "l", "linearizable (l) or serializable (s)"),
        Flag::switch("count-only", "print only how many keys there are"),
        Flag::switch("from-key", "every key from the given one on, in byte order"),
        Flag::switch("keys-only", "print only the keys"),
        Flag::number("limit", "print at most so many keys"),
        Flag::number(
            "max-create-rev",
            "only keys created at this revision or before",
        ),
        Flag::number(
            "max-mod-rev",
            "only keys last changed at this revision or before",
        ),
        Flag::number(
            "min-create-rev",
            "only keys created at this revision or after",
        ),
        Flag::number(
            "min-mod-rev",
            "only keys last changed at this revision or after",
        ),
        Flag::text(
            "order",
            "",
            "order of the keys: ASCEND or DESCEND (ASCEND if not given)",
        ),
        Flag::switch("prefix", "every key that starts with the given one"),
        Flag::switch(
            "print-value-only",
            "print only the values (simple format only)",
        ),
        Flag::number("rev", "read as of this revision"),
        Flag::text(
            "sort-by",
            "",
            "what is ordered: CREATE, KEY, MODIFY, VALUE or VERSION",
        ),
    ],
    action: Action::Run(Verb::Get),
};

pub async fn run(context: &mut Context) -> Result<(), Failure> {
    let request = request(&context.flags, &context.args)?;
    let format = context.style()?.format;
    let mut client = Client::new(context)?;
    let response = client
        .call(Repeat::Read, async |service| {
            let client = KvClient::new(service).max_decoding_message_size(ANSWER_BYTES_MAX);
            { client }.range(request.clone()).await
        })
        .await?;
    if context.flags.switch("count-only") && format != Format::Fields {
        return Err(Failure::args(
            "--count-only is only for `--write-out=fields`",
        ));
    }
    let values_only = context.flags.switch("print-value-only");
    if values_only && format != Format::Simple {
        return Err(Failure::args(
            "print-value-only is only for `--write-out=simple`",
        ));
    }
    context.show(&GetOutput {
        response,
        values_only,
    })
}

/// The request that flags and arguments mean; also for the operations of `txn`.
pub fn request(flags: &Values, args: &[Word]) -> Result<pb::RangeRequest, Failure> {
    if flags.switch("keys-only") && flags.switch("count-only") {
        let why = "`--keys-only` and `--count-only` cannot be set at the same time, choose one";
        return Err(Failure::args(why));
    }
    let usage = "get command needs one argument as key and an optional argument as range_end";
    let (key, range_end) = keys::key_and_end(flags, args, usage)?;
    let serializable = match flags.text("consistency") {
        "l" => false,
        "s" => true,
        other => return Err(bad(format!("unknown consistency flag \"{other}\""))),
    };
    let order = flags.text("order");
    let target = flags.text("sort-by");
    let sort_order = match &order.to_uppercase()[..] {
        "" => SortOrder::None,
        "ASCEND" => SortOrder::Ascend,
        "DESCEND" => SortOrder::Descend,
        _ => return Err(bad(format!("bad sort order {order}"))),
    };
    let sort_target = match &target.to_uppercase()[..] {
        "" | "KEY" => SortTarget::Key,
        "CREATE" => SortTarget::Create,
        "MODIFY" => SortTarget::Mod,
        "VALUE" => SortTarget::Value,
        "VERSION" => SortTarget::Version,
        _ => return Err(bad(format!("bad sort target {target}"))),
    };
    // Keys come in ascending order by themselves; asking for it would make the server sort.
    let sort_order = match (sort_target, sort_order) {
        (SortTarget::Key, SortOrder::Ascend) => SortOrder::None,
        (_, order) => order,
    };
    Ok(pb::RangeRequest {
        key,
        range_end,
        limit: flags.number("limit"),
        revision: flags.number("rev"),
        sort_order: sort_order.into(),
        sort_target: sort_target.into(),
        serializable,
        keys_only: flags.switch("keys-only"),
        count_only: flags.switch("count-only"),
        min_mod_revision: flags.number("min-mod-rev"),
        max_mod_revision: flags.number("max-mod-rev"),
        min_create_revision: flags.number("min-create-rev"),
        max_create_revision: flags.number("max-create-rev"),
    })
}

pub struct GetOutput {
    pub response: pb::RangeResponse,
    pub values_only: bool,
}

impl Show for GetOutput {
    fn simple(&self, style: Style, out: &mut Vec<u8>) {
        for kv in &self.response.kvs {
            if self.values_only {
                bytes_line(style, &kv.value, out);
            } else {
                kv_simple(style, kv, out);
            }
        }
    }

    fn fields(&self, out: &mut Vec<u8>) {
        header_fields(&self.response.header, out);
        for kv in &self.response.kvs {
            kv_fields("", kv, out);
        }
        line!(out, "\"More\" : {}", self.response.more);
        line!(out, "\"Count\" : {}", self.response.count);
    }

    fn json(&self, _: Style) -> Json {
        with_header(&self.response.header)
            .with_some("kvs", Json::list(&self.response.kvs, kv_json))
            .with_some("more", self.response.more)
            .with_some("count", self.response.count)
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.response.encode_to_vec())
    }
}

fn bad(why: String) -> Failure {
    Failure::new(code::BAD_FEATURE, why)
}
