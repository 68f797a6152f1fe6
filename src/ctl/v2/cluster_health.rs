//! `cluster-health`: asks each member how it is.

use super::client::Client;
use super::commands::{Action, Command};
use super::context::Context;
use super::error::{RequestError, code};
use super::flags::Flag;
use super::http::{Request, Sender};
use super::members::{self, Member};
use super::url::Endpoint;
use super::watch::until_interrupted;
use crate::ctl::failure::{DEADLINE, Failure};
use detcd_rt as rt;
use serde_json::Value;
use std::time::Duration;

const PERIOD: Duration = Duration::from_secs(10);

pub const COMMAND: Command = Command {
    name: "cluster-health",
    args: " ",
    about: "check the health of the etcd cluster",
    long: "",
    flags: &[Flag::switch(
        &["forever", "f"],
        "forever check the health every 10 second until CTRL+C",
    )],
    action: Action::Run(|context| Box::pin(run(context))),
};

async fn run(context: &mut Context) -> Result<(), Failure> {
    match context.flags.switch("forever") {
        true => until_interrupted(checks(context)).await,
        false => checks(context).await,
    }
}

async fn checks(context: &mut Context) -> Result<(), Failure> {
    let mut client = Client::of_flags(context).await?;
    let members = match members::list(&mut client, context, None).await {
        Ok(members) => members,
        Err(error) => {
            context
                .terminal
                .say("cluster may be unhealthy: failed to list members")?;
            return Err(error.fail(code::SERVER_ERROR));
        }
    };
    loop {
        let is_healthy = check_all(context, client.sender(), &members).await?;
        match context.flags.switch("forever") {
            false if is_healthy => return Ok(()),
            false => return Err(Failure::silent(code::NOT_HEALTHY)),
            true => {
                context.terminal.say("\nnext check after 10 second...\n")?;
                rt::sleep(PERIOD).await;
            }
        }
    }
}

async fn check_all(
    context: &mut Context,
    sender: &Sender,
    members: &[Member],
) -> Result<bool, Failure> {
    let mut healthy = 0;
    for member in members {
        if check(context, sender, member).await? {
            healthy += 1;
        }
    }
    let verdict = match healthy {
        _ if healthy == members.len() => "healthy",
        0 => "unavailable",
        _ => "degraded",
    };
    context.terminal.say(&format!("cluster is {verdict}"))?;
    Ok(healthy == members.len())
}

/// Asks one member at its URLs until one answers.
async fn check(context: &mut Context, sender: &Sender, member: &Member) -> Result<bool, Failure> {
    let id = &member.id;
    if member.client_urls.is_empty() {
        context.terminal.say(&format!(
            "member {id} is unreachable: no available published client urls"
        ))?;
        return Ok(false);
    }
    for url in &member.client_urls {
        let (is_healthy, verdict) = match ask(sender, url, context.deadline()).await {
            Ok(true) => (true, "healthy: got healthy"),
            Ok(false) => (false, "unhealthy: got unhealthy"),
            Err(why) => {
                context.terminal.say(&format!(
                    "failed to check the health of member {id} on {url}: {why}"
                ))?;
                continue;
            }
        };
        context
            .terminal
            .say(&format!("member {id} is {verdict} result from {url}"))?;
        return Ok(is_healthy);
    }
    let urls = member.client_urls.join(" ");
    context.terminal.say(&format!(
        "member {id} is unreachable: [{urls}] are all unreachable"
    ))?;
    Ok(false)
}

/// What `/health` says, or why it says nothing.
async fn ask(sender: &Sender, url: &str, deadline: rt::Instant) -> Result<bool, String> {
    let wrong = |why: &str| format!("Get \"{url}/health\": {why}");
    let endpoint = Endpoint::parse(url).map_err(|why| wrong(&why))?;
    let request = Request::new("GET", "/health");
    // etcdctl waits for ever for a member that accepts and says nothing.
    let asked = rt::timeout_at(deadline, sender.send(&endpoint, &request, None));
    let response = match asked.await {
        Ok(asked) => asked.map_err(|error: RequestError| wrong(&error.to_string()))?,
        Err(_) => return Err(wrong(DEADLINE)),
    };
    let body: Value = serde_json::from_slice(&response.body).map_err(|error| error.to_string())?;
    Ok(matches!(&body["health"], Value::Bool(true)) || body["health"] == "true")
}
