//! `lease grant`: makes a lease.

use super::{id_and_ttl_fields, id_and_ttl_json};
use crate::ctl::client::{Client, Repeat};
use crate::ctl::commands::{Action, Command, Verb};
use crate::ctl::context::Context;
use crate::ctl::failure::Failure;
use crate::ctl::go;
use crate::ctl::output::json::Json;
use crate::ctl::output::{Show, Style, line};
use detcd_wire::etcdserverpb as pb;
use detcd_wire::etcdserverpb::lease_client::LeaseClient;
use prost::Message as _;

pub const COMMAND: Command = Command {
    name: "grant",
    usage: "lease grant <ttl>",
    about: "Makes a lease that lives for <ttl> seconds unless it is kept alive",
    long: "",
    flags: &[],
    action: Action::Run(Verb::LeaseGrant),
};

pub async fn run(context: &mut Context) -> Result<(), Failure> {
    let [ttl] = &context.texts()[..] else {
        return Err(Failure::args("lease grant command needs TTL argument"));
    };
    let ttl = go::parse_int(ttl, 10).map_err(|why| Failure::args(format!("bad TTL ({why})")))?;
    context.style()?;
    let mut client = Client::new(context)?;
    let response = client
        .call(Repeat::Write, async |service| {
            LeaseClient::new(service)
                .lease_grant(pb::LeaseGrantRequest { ttl, id: 0 })
                .await
        })
        .await
        .map_err(|error| Failure::error(format!("failed to grant lease ({error})")))?;
    context.show(&LeaseGranted(response))
}

pub struct LeaseGranted(pub pb::LeaseGrantResponse);

impl Show for LeaseGranted {
    fn simple(&self, _: Style, out: &mut Vec<u8>) {
        line!(
            out,
            "lease {:016x} granted with TTL({}s)",
            self.0.id,
            self.0.ttl
        );
    }

    fn fields(&self, out: &mut Vec<u8>) {
        id_and_ttl_fields(&self.0.header, self.0.id, self.0.ttl, out);
    }

    fn json(&self, _: Style) -> Json {
        id_and_ttl_json(&self.0.header, self.0.id, self.0.ttl).with("Error", &self.0.error[..])
    }

    /// etcdctl writes the header alone for leases.
    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.0.header.unwrap_or_default().encode_to_vec())
    }
}
