//! `role list`: every role.

use crate::ctl::client::{ANSWER_BYTES_MAX, Client, Repeat};
use crate::ctl::commands::{Action, Command, Verb};
use crate::ctl::context::Context;
use crate::ctl::failure::Failure;
use crate::ctl::go;
use crate::ctl::output::json::Json;
use crate::ctl::output::messages::{header_fields, with_header};
use crate::ctl::output::{Show, Style, line};
use detcd_wire::etcdserverpb as pb;
use detcd_wire::etcdserverpb::auth_client::AuthClient;
use prost::Message as _;

pub const COMMAND: Command = Command {
    name: "list",
    usage: "role list",
    about: "Prints every role",
    long: "",
    flags: &[],
    action: Action::Run(Verb::RoleList),
};

pub async fn run(context: &mut Context) -> Result<(), Failure> {
    if !context.args.is_empty() {
        return Err(Failure::args("role list command requires no arguments"));
    }
    context.style()?;
    let mut client = Client::new(context)?;
    let response = client
        .call(Repeat::Read, async |service| {
            let client = AuthClient::new(service).max_decoding_message_size(ANSWER_BYTES_MAX);
            { client }.role_list(pb::AuthRoleListRequest {}).await
        })
        .await?;
    context.show(&RoleList(response))
}

struct RoleList(pb::AuthRoleListResponse);

impl Show for RoleList {
    fn simple(&self, _: Style, out: &mut Vec<u8>) {
        for role in &self.0.roles {
            line!(out, "{role}");
        }
    }

    fn fields(&self, out: &mut Vec<u8>) {
        header_fields(&self.0.header, out);
        let roles = self.0.roles.iter();
        let roles = roles.map(|role| format!(" {}", go::quote(role.as_bytes())));
        line!(out, "\"Roles\" :{}", roles.collect::<String>());
    }

    fn json(&self, _: Style) -> Json {
        with_header(&self.0.header).with_some("roles", &self.0.roles[..])
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.0.encode_to_vec())
    }
}
