//! `role get`: what a role allows.

use super::name;
use crate::ctl::client::{ANSWER_BYTES_MAX, Client, Repeat};
use crate::ctl::commands::{Action, Command, Verb};
use crate::ctl::context::Context;
use crate::ctl::failure::Failure;
use crate::ctl::go;
use crate::ctl::keys::prefix_range;
use crate::ctl::output::json::Json;
use crate::ctl::output::messages::{header_fields, with_header};
use crate::ctl::output::{Show, Style, line};
use bytes::Bytes;
use detcd_wire::authpb::Permission;
use detcd_wire::authpb::permission::Type;
use detcd_wire::etcdserverpb as pb;
use detcd_wire::etcdserverpb::auth_client::AuthClient;
use prost::Message as _;

pub const COMMAND: Command = Command {
    name: "get",
    usage: "role get <role name>",
    about: "Prints what a role allows",
    long: "",
    flags: &[],
    action: Action::Run(Verb::RoleGet),
};

pub async fn run(context: &mut Context) -> Result<(), Failure> {
    let name = name(
        context,
        "role get command requires role name as its argument",
    )?;
    context.style()?;
    let mut client = Client::new(context)?;
    let role = fetch(&mut client, name).await?;
    context.show(&role)
}

/// A role and what it allows.
pub async fn fetch(client: &mut Client, name: String) -> Result<RoleGot, Failure> {
    let request = pb::AuthRoleGetRequest { role: name.clone() };
    let response = client
        .call(Repeat::Read, async |service| {
            let client = AuthClient::new(service).max_decoding_message_size(ANSWER_BYTES_MAX);
            { client }.role_get(request.clone()).await
        })
        .await?;
    Ok(RoleGot { name, response })
}

pub struct RoleGot {
    name: String,
    response: pb::AuthRoleGetResponse,
}

/// The role that may do everything without a permission that says so.
const ROOT: &str = "root";

impl Show for RoleGot {
    fn simple(&self, _: Style, out: &mut Vec<u8>) {
        let permissions = &self.response.perm;
        let is_root = self.name == ROOT && permissions.is_empty();
        line!(out, "Role {}", self.name);
        for (title, without) in [("KV Read:", Type::Write), ("KV Write:", Type::Read)] {
            line!(out, "{title}");
            if is_root {
                line!(out, "\t[, <open ended>");
            }
            for permission in permissions.iter().filter(|it| it.perm_type() != without) {
                keys_line(permission, out);
            }
        }
    }

    fn fields(&self, out: &mut Vec<u8>) {
        header_fields(&self.response.header, out);
        for permission in &self.response.perm {
            let name = permission.perm_type().as_str_name();
            line!(out, "\"PermType\" :  {name}");
            line!(out, "\"Key\" : {}", go::quote(&permission.key));
            line!(out, "\"RangeEnd\" : {}", go::quote(&permission.range_end));
        }
    }

    fn json(&self, _: Style) -> Json {
        let permissions = Json::list(&self.response.perm, |permission| {
            Json::object()
                .with_some("permType", i64::from(permission.perm_type))
                .with_some("key", Json::bytes(&permission.key))
                .with_some("range_end", Json::bytes(&permission.range_end))
        });
        with_header(&self.response.header).with_some("perm", permissions)
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.response.encode_to_vec())
    }
}

fn keys_line(permission: &Permission, out: &mut Vec<u8>) {
    let Permission { key, range_end, .. } = permission;
    out.push(b'\t');
    match &range_end[..] {
        [] => out.extend(key),
        [0] => out.extend([b"[", &key[..], b", <open ended>"].concat()),
        end => out.extend([b"[", &key[..], b", ", end, b")"].concat()),
    }
    let is_prefix = !key.is_empty() && !range_end.is_empty() && {
        let (_, end) = prefix_range(Bytes::copy_from_slice(key));
        end == *range_end
    };
    if is_prefix {
        out.extend([b" (prefix ", &key[..], b")"].concat());
    }
    out.push(b'\n');
}
