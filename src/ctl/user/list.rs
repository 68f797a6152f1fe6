//! `user list`: every user.

use super::arguments;
use crate::ctl::client::{ANSWER_BYTES_MAX, Client, Repeat};
use crate::ctl::commands::{Action, Command, Verb};
use crate::ctl::context::Context;
use crate::ctl::failure::Failure;
use crate::ctl::output::json::Json;
use crate::ctl::output::messages::with_header;
use crate::ctl::output::{Show, Style, line};
use detcd_wire::etcdserverpb as pb;
use detcd_wire::etcdserverpb::auth_client::AuthClient;
use prost::Message as _;

pub const COMMAND: Command = Command {
    name: "list",
    usage: "user list",
    about: "Prints every user",
    long: "",
    flags: &[],
    action: Action::Run(Verb::UserList),
};

pub async fn run(context: &mut Context) -> Result<(), Failure> {
    let [] = arguments(context, "user list command requires no arguments")?;
    context.style()?;
    let mut client = Client::new(context)?;
    let response = client
        .call(Repeat::Read, async |service| {
            let client = AuthClient::new(service).max_decoding_message_size(ANSWER_BYTES_MAX);
            { client }.user_list(pb::AuthUserListRequest {}).await
        })
        .await?;
    context.show(&UserList(response))
}

struct UserList(pb::AuthUserListResponse);

impl Show for UserList {
    fn simple(&self, _: Style, out: &mut Vec<u8>) {
        for user in &self.0.users {
            line!(out, "{user}");
        }
    }

    fn has_fields(&self) -> bool {
        false
    }

    fn json(&self, _: Style) -> Json {
        with_header(&self.0.header).with_some("users", &self.0.users[..])
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.0.encode_to_vec())
    }
}
