//! `member list`: who belongs to the cluster.

use crate::ctl::client::{Client, Repeat};
use crate::ctl::commands::{Action, Command, Verb};
use crate::ctl::context::Context;
use crate::ctl::failure::Failure;
use crate::ctl::output::json::Json;
use crate::ctl::output::messages::{header_fields, with_header};
use crate::ctl::output::table::Table;
use crate::ctl::output::{Show, Style, line};
use detcd_wire::etcdserverpb as pb;
use detcd_wire::etcdserverpb::cluster_client::ClusterClient;
use prost::Message as _;

pub const COMMAND: Command = Command {
    name: "list",
    usage: "member list",
    about: "Prints every member of the cluster",
    long: "In the simple format a line holds, apart by commas: ID, status, name, peer addresses,\n\
           client addresses, whether the member is a learner.",
    flags: &[],
    action: Action::Run(Verb::MemberList),
};

pub async fn run(context: &mut Context) -> Result<(), Failure> {
    context.style()?;
    let mut client = Client::new(context)?;
    let response = fetch(&mut client).await?;
    context.show(&MemberList(response))
}

pub async fn fetch(client: &mut Client) -> Result<pb::MemberListResponse, Failure> {
    let request = pb::MemberListRequest { linearizable: true };
    client
        .call(Repeat::Read, async |service| {
            ClusterClient::new(service).member_list(request).await
        })
        .await
}

pub struct MemberList(pub pb::MemberListResponse);

impl MemberList {
    fn rows(&self) -> impl Iterator<Item = Vec<String>> {
        self.0.members.iter().map(|member| {
            // A member has no name until it has started and told it.
            let status = if member.name.is_empty() {
                "unstarted"
            } else {
                "started"
            };
            vec![
                format!("{:x}", member.id),
                status.to_owned(),
                member.name.clone(),
                member.peer_urls.join(","),
                member.client_urls.join(","),
                member.is_learner.to_string(),
            ]
        })
    }
}

impl Show for MemberList {
    fn simple(&self, _: Style, out: &mut Vec<u8>) {
        for row in self.rows() {
            line!(out, "{}", row.join(", "));
        }
    }

    fn fields(&self, out: &mut Vec<u8>) {
        header_fields(&self.0.header, out);
        for member in &self.0.members {
            line!(out, "\"ID\" : {}", member.id);
            line!(out, "\"Name\" : \"{}\"", member.name);
            for url in &member.peer_urls {
                line!(out, "\"PeerURL\" : \"{url}\"");
            }
            for url in &member.client_urls {
                line!(out, "\"ClientURL\" : \"{url}\"");
            }
            line!(out, "\"IsLearner\" : {}", member.is_learner);
            line!(out, "");
        }
    }

    fn json(&self, style: Style) -> Json {
        if style.hex {
            return self.hex_json();
        }
        with_header(&self.0.header).with_some(
            "members",
            Json::list(&self.0.members, |member| {
                Json::object()
                    .with_some("ID", member.id)
                    .with_some("name", &member.name[..])
                    .with_some("peerURLs", &member.peer_urls[..])
                    .with_some("clientURLs", &member.client_urls[..])
                    .with_some("isLearner", member.is_learner)
            }),
        )
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.0.encode_to_vec())
    }

    fn table(&self) -> Option<Table> {
        Some(Table {
            headings: vec![
                "ID",
                "Status",
                "Name",
                "Peer Addrs",
                "Client Addrs",
                "Is Learner",
            ],
            rows: self.rows().collect(),
        })
    }
}

impl MemberList {
    /// With `--hex`: ids as text in hexadecimal, always all fields of a member but for learners,
    /// and etcdctl's own spelling of one name.
    fn hex_json(&self) -> Json {
        let header = self.0.header.unwrap_or_default();
        let header = Json::object()
            .with("cluster_id", &format!("{:x}", header.cluster_id)[..])
            .with("member_id", &format!("{:x}", header.member_id)[..])
            .with_some("revision", header.revision)
            .with_some("raft_term", header.raft_term);
        Json::object().with("header", header).with(
            "members",
            Json::list(&self.0.members, |member| {
                Json::object()
                    .with("ID", &format!("{:x}", member.id)[..])
                    .with_some("name", &member.name[..])
                    .with_some("peerURLs", &member.peer_urls[..])
                    .with_some("clientURLS", &member.client_urls[..])
                    .with_some("isLearner", member.is_learner)
            }),
        )
    }
}
