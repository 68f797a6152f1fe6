//! `endpoint health`: whether a linearizable read through each endpoint succeeds, and no alarm is
//! raised. Endpoints are asked at once, and told in the order of their answers.

use super::endpoints;
use crate::ctl::client::{Client, Repeat};
use crate::ctl::commands::{Action, Command, Verb};
use crate::ctl::context::Context;
use crate::ctl::failure::Failure;
use crate::ctl::go;
use crate::ctl::output::json::Json;
use crate::ctl::output::table::Table;
use crate::ctl::output::{Format, Show, Style, line};
use bytes::Bytes;
use detcd_core::go::show_duration;
use detcd_rt as rt;
use detcd_wire::etcdserverpb as pb;
use detcd_wire::etcdserverpb::kv_client::KvClient;
use detcd_wire::etcdserverpb::maintenance_client::MaintenanceClient;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;

pub const COMMAND: Command = Command {
    name: "health",
    usage: "endpoint health",
    about: "Checks whether each endpoint answers a linearizable read",
    long: "",
    flags: &[],
    action: Action::Run(Verb::EndpointHealth),
};

pub async fn run(context: &mut Context) -> Result<(), Failure> {
    let style = context.style()?;
    let mut checks = FuturesUnordered::new();
    for endpoint in endpoints(context).await? {
        let client = Client::of(context, vec![endpoint.clone()])?;
        checks.push(check(endpoint, client));
    }
    let mut healths = Vec::new();
    while let Some(health) = checks.next().await {
        healths.push(health);
    }
    let healthy = healths.iter().all(|health| health.error.is_empty());
    if style.format == Format::Simple {
        for health in &healths {
            let Health {
                endpoint,
                took,
                error,
            } = health;
            if error.is_empty() {
                let line = format!(
                    "{endpoint} is healthy: successfully committed proposal: took = {took}"
                );
                context.terminal.say(&line)?;
            } else {
                let line = format!("{endpoint} is unhealthy: failed to commit proposal: {error}");
                context.terminal.complain(&line)?;
            }
        }
    } else {
        context.show(&HealthOutput(healths))?;
    }
    if healthy {
        Ok(())
    } else {
        Err(Failure::error("unhealthy cluster"))
    }
}

async fn check(endpoint: String, mut client: Client) -> Health {
    let start = rt::Instant::now();
    let error = probe(&mut client).await.err().unwrap_or_default();
    Health {
        endpoint,
        took: show_duration(start.elapsed()),
        error,
    }
}

async fn probe(client: &mut Client) -> Result<(), String> {
    let read = pb::RangeRequest {
        key: Bytes::from_static(b"health"),
        ..Default::default()
    };
    let answer = client
        .call(Repeat::Read, async |service| {
            KvClient::new(service).range(read.clone()).await
        })
        .await;
    match answer {
        // Who may not read the key has been answered all the same.
        Err(failure) if failure.message != "etcdserver: permission denied" => {
            return Err(failure.message);
        }
        _ => {}
    }
    let alarms = client
        .call(Repeat::Read, async |service| {
            MaintenanceClient::new(service)
                .alarm(pb::AlarmRequest::default())
                .await
        })
        .await
        .map_err(|_| "Unable to fetch the alarm list".to_owned())?;
    if alarms.alarms.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = alarms
        .alarms
        .iter()
        .map(|member| format!("{} ", member.alarm().as_str_name()))
        .collect();
    Err(format!("Active Alarm(s): {}", names.concat()))
}

pub struct Health {
    pub endpoint: String,
    pub took: String,
    /// Empty if the endpoint is healthy.
    pub error: String,
}

struct HealthOutput(Vec<Health>);

impl Show for HealthOutput {
    fn simple(&self, _: Style, _: &mut Vec<u8>) {
        unreachable!("the simple format goes to two streams");
    }

    fn fields(&self, out: &mut Vec<u8>) {
        for Health {
            endpoint,
            took,
            error,
        } in &self.0
        {
            line!(out, "\"Endpoint\" : {}", go::quote(endpoint.as_bytes()));
            line!(out, "\"Health\" : {}", error.is_empty());
            line!(out, "\"Took\" : {took}");
            line!(out, "\"Error\" : {error}");
            line!(out, "");
        }
    }

    fn json(&self, _: Style) -> Json {
        Json::list(
            &self.0,
            |Health {
                 endpoint,
                 took,
                 error,
             }| {
                Json::object()
                    .with("endpoint", &endpoint[..])
                    .with("health", error.is_empty())
                    .with("took", &took[..])
                    .with_some("error", &error[..])
            },
        )
    }

    fn table(&self) -> Option<Table> {
        let row = |health: &Health| {
            let healthy = health.error.is_empty().to_string();
            vec![
                health.endpoint.clone(),
                healthy,
                health.took.clone(),
                health.error.clone(),
            ]
        };
        Some(Table {
            headings: vec!["Endpoint", "Health", "Took", "Error"],
            rows: self.0.iter().map(row).collect(),
        })
    }
}
