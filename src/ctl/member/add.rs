//! `member add`: lets a new member into the cluster.

use super::change::{PEER_URLS, member_json, peer_urls};
use crate::ctl::client::{Client, Repeat};
use crate::ctl::commands::{Action, Command, Verb};
use crate::ctl::context::Context;
use crate::ctl::failure::Failure;
use crate::ctl::flags::Flag;
use crate::ctl::go;
use crate::ctl::output::json::Json;
use crate::ctl::output::messages::with_header;
use crate::ctl::output::{Show, Style, line};
use detcd_wire::etcdserverpb as pb;
use detcd_wire::etcdserverpb::cluster_client::ClusterClient;
use prost::Message as _;

pub const COMMAND: Command = Command {
    name: "add",
    usage: "member add <memberName> [options]",
    about: "Lets a new member into the cluster",
    long: "Prints what the new member is to be started with.",
    flags: &[
        PEER_URLS,
        Flag::switch("learner", "the new member is to be a learner"),
    ],
    action: Action::Run(Verb::MemberAdd),
};

pub async fn run(context: &mut Context) -> Result<(), Failure> {
    let name = name(&context.texts())?;
    let (urls_text, peer_urls) = peer_urls(context)?;
    context.style()?;
    let request = pb::MemberAddRequest {
        peer_urls,
        is_learner: context.flags.switch("learner"),
    };
    let mut client = Client::new(context)?;
    let response = client
        .call(Repeat::Write, async |service| {
            ClusterClient::new(service)
                .member_add(request.clone())
                .await
        })
        .await?;
    context.show(&MemberAdded {
        name,
        urls_text,
        response,
    })
}

fn name(args: &[String]) -> Result<String, Failure> {
    match args {
        [] => Err(Failure::args("member name not provided")),
        [name] => Ok(name.clone()),
        more => {
            let urls = more
                .iter()
                .filter(|arg| arg.to_lowercase().starts_with("http"))
                .map(|url| format!(", did you mean --peer-urls={url}"));
            let hints: String = urls.collect();
            Err(Failure::args(format!("too many arguments{hints}")))
        }
    }
}

struct MemberAdded {
    name: String,
    urls_text: String,
    response: pb::MemberAddResponse,
}

impl Show for MemberAdded {
    /// Also the variables to start the new member with.
    fn simple(&self, _: Style, out: &mut Vec<u8>) {
        let added = self.response.member.clone().unwrap_or_default();
        let cluster = self.response.header.unwrap_or_default().cluster_id;
        line!(
            out,
            "Member {:16x} added to cluster {cluster:16x}",
            added.id
        );
        let members = self.response.members.iter();
        let cluster: Vec<String> = members
            .flat_map(|member| {
                let is_new = member.id == added.id;
                let name = if is_new { &self.name } else { &member.name };
                member
                    .peer_urls
                    .iter()
                    .map(move |url| format!("{name}={url}"))
            })
            .collect();
        let quote = |text: &str| go::quote(text.as_bytes());
        line!(out, "\nETCD_NAME={}", quote(&self.name));
        line!(out, "ETCD_INITIAL_CLUSTER={}", quote(&cluster.join(",")));
        line!(
            out,
            "ETCD_INITIAL_ADVERTISE_PEER_URLS={}",
            quote(&self.urls_text)
        );
        line!(out, "ETCD_INITIAL_CLUSTER_STATE=\"existing\"");
    }

    fn has_fields(&self) -> bool {
        false
    }

    fn json(&self, _: Style) -> Json {
        with_header(&self.response.header)
            .with_some("member", self.response.member.as_ref().map(member_json))
            .with_some("members", Json::list(&self.response.members, member_json))
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.response.encode_to_vec())
    }
}
