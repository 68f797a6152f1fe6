//! `user get`: a user's roles.

use super::arguments;
use crate::ctl::client::{ANSWER_BYTES_MAX, Client, Repeat};
use crate::ctl::commands::{Action, Command, Verb};
use crate::ctl::context::Context;
use crate::ctl::failure::Failure;
use crate::ctl::flags::Flag;
use crate::ctl::output::json::Json;
use crate::ctl::output::messages::with_header;
use crate::ctl::output::{Show, Style, line};
use crate::ctl::role::get::fetch as fetch_role;
use detcd_wire::etcdserverpb as pb;
use detcd_wire::etcdserverpb::auth_client::AuthClient;
use prost::Message as _;

pub const COMMAND: Command = Command {
    name: "get",
    usage: "user get <user name> [options]",
    about: "Prints a user's roles",
    long: "",
    flags: &[Flag::switch("detail", "also print what the roles allow")],
    action: Action::Run(Verb::UserGet),
};

pub async fn run(context: &mut Context) -> Result<(), Failure> {
    let [name] = arguments(
        context,
        "user get command requires user name as its argument",
    )?;
    context.style()?;
    let mut client = Client::new(context)?;
    let request = pb::AuthUserGetRequest { name: name.clone() };
    let response = client
        .call(Repeat::Read, async |service| {
            let client = AuthClient::new(service).max_decoding_message_size(ANSWER_BYTES_MAX);
            { client }.user_get(request.clone()).await
        })
        .await?;
    if !context.flags.switch("detail") {
        return context.show(&UserGot { name, response });
    }
    context.terminal.say(&format!("User: {name}"))?;
    for role in response.roles {
        context.terminal.say("")?;
        let role = fetch_role(&mut client, role).await?;
        context.show(&role)?;
    }
    Ok(())
}

struct UserGot {
    name: String,
    response: pb::AuthUserGetResponse,
}

impl Show for UserGot {
    fn simple(&self, _: Style, out: &mut Vec<u8>) {
        line!(out, "User: {}", self.name);
        let roles = self.response.roles.iter().map(|role| format!(" {role}"));
        line!(out, "Roles:{}", roles.collect::<String>());
    }

    fn has_fields(&self) -> bool {
        false
    }

    fn json(&self, _: Style) -> Json {
        with_header(&self.response.header).with_some("roles", &self.response.roles[..])
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.response.encode_to_vec())
    }
}
