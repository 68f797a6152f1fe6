//! What the commands share that change users, roles and authentication: one request, and a line that
//! says that it was done.

use super::client::{Client, Repeat, Service};
use super::context::Context;
use super::failure::Failure;
use super::output::json::Json;
use super::output::messages::{header_fields, with_header};
use super::output::{Show, Style, line};
use detcd_wire::etcdserverpb as pb;
use detcd_wire::etcdserverpb::auth_client::AuthClient;
use detcd_wire::header::Headed;
use prost::Message;
use tonic::{Response, Status};

/// Sends one request, and says what was done.
pub async fn change<R: Headed + Message>(
    context: &mut Context,
    done: String,
    send: impl AsyncFn(AuthClient<Service>) -> Result<Response<R>, Status>,
) -> Result<(), Failure> {
    context.style()?;
    let mut client = Client::new(context)?;
    let response = client
        .call(Repeat::Write, async |service| {
            send(AuthClient::new(service)).await
        })
        .await?;
    context.show(&AuthChanged {
        done,
        header: response.header().copied(),
        bytes: response.encode_to_vec(),
    })
}

/// A change that was made: its answer holds a header and nothing else.
struct AuthChanged {
    /// What people read.
    done: String,
    header: Option<pb::ResponseHeader>,
    bytes: Vec<u8>,
}

impl Show for AuthChanged {
    fn simple(&self, _: Style, out: &mut Vec<u8>) {
        line!(out, "{}", self.done);
    }

    fn fields(&self, out: &mut Vec<u8>) {
        header_fields(&self.header, out);
    }

    fn json(&self, _: Style) -> Json {
        with_header(&self.header)
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.bytes.clone())
    }
}
