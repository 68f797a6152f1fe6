//! `endpoint`: each endpoint by itself.

pub mod hashkv;
pub mod health;
pub mod status;

use super::client::Client;
use super::commands::{Action, Command};
use super::context::Context;
use super::failure::Failure;
use super::flags::Flag;
use super::member::list;

pub const COMMAND: Command = Command {
    name: "endpoint",
    usage: "endpoint <subcommand>",
    about: "Commands about single endpoints",
    long: "",
    flags: &[CLUSTER],
    action: Action::Group(&[&hashkv::COMMAND, &health::COMMAND, &status::COMMAND]),
};

pub const CLUSTER: Flag = Flag::switch(
    "cluster",
    "every endpoint of the cluster's member list instead of --endpoints",
);

/// The endpoints that the command is about.
pub async fn endpoints(context: &mut Context) -> Result<Vec<String>, Failure> {
    if !context.flags.switch("cluster") {
        return Ok(context.flags.list("endpoints"));
    }
    let mut client = Client::new(context)?;
    let response = list::fetch(&mut client).await.map_err(|error| {
        let why = format!("failed to fetch endpoints from etcd cluster member list: {error}");
        Failure::error(why)
    })?;
    Ok(response
        .members
        .into_iter()
        .flat_map(|member| member.client_urls)
        .collect())
}
