//! `endpoint status`: how each endpoint's member is doing.

use super::endpoints;
use crate::ctl::client::{Client, Repeat};
use crate::ctl::commands::{Action, Command, Verb};
use crate::ctl::context::Context;
use crate::ctl::failure::{Failure, code};
use crate::ctl::go;
use crate::ctl::output::json::Json;
use crate::ctl::output::messages::{header_fields, with_header};
use crate::ctl::output::table::Table;
use crate::ctl::output::{Show, Style, line};
use detcd_wire::etcdserverpb as pb;
use detcd_wire::etcdserverpb::maintenance_client::MaintenanceClient;

pub const COMMAND: Command = Command {
    name: "status",
    usage: "endpoint status",
    about: "Prints how the member behind each endpoint is doing",
    long: "In the simple format a line holds, apart by commas: endpoint, ID, version, size of the\n\
           store, whether it leads, whether it is a learner, raft term, raft index, raft applied\n\
           index, errors.",
    flags: &[],
    action: Action::Run(Verb::EndpointStatus),
};

pub async fn run(context: &mut Context) -> Result<(), Failure> {
    context.style()?;
    let mut statuses = Vec::new();
    let mut failed = false;
    for endpoint in endpoints(context).await? {
        let mut client = Client::of(context, vec![endpoint.clone()])?;
        let answer = client
            .call(Repeat::Read, async |service| {
                MaintenanceClient::new(service)
                    .status(pb::StatusRequest {})
                    .await
            })
            .await;
        match answer {
            Ok(status) => statuses.push((endpoint, status)),
            Err(why) => {
                failed = true;
                let line = format!("Failed to get the status of endpoint {endpoint} ({why})");
                context.terminal.complain(&line)?;
            }
        }
    }
    context.show(&StatusOutput(statuses))?;
    if failed {
        Err(Failure::silent(code::ERROR))
    } else {
        Ok(())
    }
}

pub struct StatusOutput(pub Vec<(String, pb::StatusResponse)>);

impl StatusOutput {
    fn rows(&self) -> impl Iterator<Item = Vec<String>> {
        self.0.iter().map(|(endpoint, status)| {
            let member = status.header.unwrap_or_default().member_id;
            vec![
                endpoint.clone(),
                format!("{member:x}"),
                status.version.clone(),
                go::show_bytes(status.db_size.unsigned_abs()),
                (status.leader == member).to_string(),
                status.is_learner.to_string(),
                status.raft_term.to_string(),
                status.raft_index.to_string(),
                status.raft_applied_index.to_string(),
                status.errors.join(", "),
            ]
        })
    }
}

impl Show for StatusOutput {
    fn simple(&self, _: Style, out: &mut Vec<u8>) {
        for row in self.rows() {
            line!(out, "{}", row.join(", "));
        }
    }

    fn fields(&self, out: &mut Vec<u8>) {
        for (endpoint, status) in &self.0 {
            header_fields(&status.header, out);
            line!(
                out,
                "\"Version\" : {}",
                go::quote(status.version.as_bytes())
            );
            line!(out, "\"DBSize\" : {}", status.db_size);
            line!(out, "\"Leader\" : {}", status.leader);
            line!(out, "\"IsLearner\" : {}", status.is_learner);
            line!(out, "\"RaftIndex\" : {}", status.raft_index);
            line!(out, "\"RaftTerm\" : {}", status.raft_term);
            line!(out, "\"RaftAppliedIndex\" : {}", status.raft_applied_index);
            line!(out, "\"Errors\" : [{}]", status.errors.join(" "));
            line!(out, "\"Endpoint\" : {}", go::quote(endpoint.as_bytes()));
            line!(out, "");
        }
    }

    fn json(&self, _: Style) -> Json {
        Json::list(&self.0, |(endpoint, status)| {
            let downgrade = status.downgrade_info.as_ref().map(|info| {
                Json::object()
                    .with_some("enabled", info.enabled)
                    .with_some("targetVersion", &info.target_version[..])
            });
            let status = with_header(&status.header)
                .with_some("version", &status.version[..])
                .with_some("dbSize", status.db_size)
                .with_some("leader", status.leader)
                .with_some("raftIndex", status.raft_index)
                .with_some("raftTerm", status.raft_term)
                .with_some("raftAppliedIndex", status.raft_applied_index)
                .with_some("errors", &status.errors[..])
                .with_some("dbSizeInUse", status.db_size_in_use)
                .with_some("isLearner", status.is_learner)
                .with_some("storageVersion", &status.storage_version[..])
                .with_some("dbSizeQuota", status.db_size_quota)
                .with_some("downgradeInfo", downgrade);
            Json::object()
                .with("Endpoint", &endpoint[..])
                .with("Status", status)
        })
    }

    fn table(&self) -> Option<Table> {
        Some(Table {
            headings: vec![
                "Endpoint",
                "ID",
                "Version",
                "DB Size",
                "Is Leader",
                "Is Learner",
                "Raft Term",
                "Raft Index",
                "Raft Applied Index",
                "Errors",
            ],
            rows: self.rows().collect(),
        })
    }
}
