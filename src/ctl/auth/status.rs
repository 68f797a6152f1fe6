//! `auth status`: whether clients have to say who they are.

use super::no_arguments;
use crate::ctl::client::{Client, Repeat};
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
    name: "status",
    usage: "auth status",
    about: "Prints whether clients have to say who they are",
    long: "",
    flags: &[],
    action: Action::Run(Verb::AuthStatus),
};

pub async fn run(context: &mut Context) -> Result<(), Failure> {
    no_arguments(context, "status")?;
    context.style()?;
    let mut client = Client::new(context)?;
    let response = client
        .call(Repeat::Read, async |service| {
            AuthClient::new(service)
                .auth_status(pb::AuthStatusRequest {})
                .await
        })
        .await?;
    context.show(&AuthStatus(response))
}

struct AuthStatus(pb::AuthStatusResponse);

impl Show for AuthStatus {
    fn simple(&self, _: Style, out: &mut Vec<u8>) {
        line!(out, "Authentication Status: {}", self.0.enabled);
        line!(out, "AuthRevision: {}", self.0.auth_revision);
    }

    fn has_fields(&self) -> bool {
        false
    }

    fn json(&self, _: Style) -> Json {
        with_header(&self.0.header)
            .with_some("enabled", self.0.enabled)
            .with_some("authRevision", self.0.auth_revision)
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.0.encode_to_vec())
    }
}
