//! `elect`: campaigns and leads until it is interrupted, or tells who leads.

use super::client::Client;
use super::commands::{Action, Command, Verb};
use super::context::Context;
use super::failure::{Failure, status_text};
use super::flags::Flag;
use super::get::GetOutput;
use super::lock::read;
use super::session::{Interrupts, Session, call};
use detcd_wire::etcdserverpb as pb;
use detcd_wire::v3electionpb::election_client::ElectionClient;
use detcd_wire::v3electionpb::{CampaignRequest, LeaderRequest, ResignRequest};

pub const COMMAND: Command = Command {
    name: "elect",
    usage: "elect <election-name> [proposal]",
    about: "Takes part in an election, or observes it",
    long: "Leads until interrupted. With -l it prints whoever leads, and what is proclaimed.",
    flags: &[Flag::switch("listen", "observe, and do not take part").short('l')],
    action: Action::Run(Verb::Elect),
};

/// etcd's sessions live so long without their client.
const SESSION_TTL_SECONDS: i64 = 60;

pub async fn run(context: &mut Context) -> Result<(), Failure> {
    let args = context.args.clone();
    let listens = context.flags.switch("listen");
    context.style()?;
    match &args[..] {
        [_] if !listens => Err(Failure::args("no proposal argument but -l not set")),
        [name] => observe(context, name).await,
        [_, _] if listens => Err(Failure::args("proposal given but -l is set")),
        [name, proposal] => campaign(context, name, proposal).await,
        _ => Err(Failure::args(
            "elect takes one election name argument and an optional proposal argument",
        )),
    }
}

async fn campaign(context: &mut Context, name: &[u8], proposal: &[u8]) -> Result<(), Failure> {
    let mut interrupts = Interrupts::listen()?;
    let mut session = Session::open(context, SESSION_TTL_SECONDS).await?;
    let request = CampaignRequest {
        name: name.to_vec().into(),
        lease: session.lease,
        value: proposal.to_vec().into(),
    };
    let led = session.hold("elect: session expired", async |client| {
        let elected = call(client, async |service| {
            ElectionClient::new(service).campaign(request.clone()).await
        });
        let elected = tokio::select! {
            biased;
            elected = elected => elected?,
            () = interrupts.recv() => return Err(Failure::error("context canceled")),
        };
        let leader = elected.leader;
        let key = leader.clone().unwrap_or_default().key;
        let response = read(client, key).await?;
        context.show(&GetOutput {
            response,
            values_only: false,
        })?;
        interrupts.recv().await;
        let request = ResignRequest { leader };
        let resigned = call(client, async |service| {
            ElectionClient::new(service).resign(request.clone()).await
        });
        resigned.await.map(|_| ())
    });
    let led = led.await;
    session.close().await;
    led
}

async fn observe(context: &mut Context, name: &[u8]) -> Result<(), Failure> {
    let mut interrupts = Interrupts::listen()?;
    let mut client = Client::new(context)?;
    tokio::select! {
        biased;
        () = interrupts.recv() => Ok(()),
        lost = follow(context, &mut client, name) => Err(lost?),
    }
}

/// Prints who leads. Gives why no more is told.
async fn follow(
    context: &mut Context,
    client: &mut Client,
    name: &[u8],
) -> Result<Failure, Failure> {
    let request = LeaderRequest {
        name: name.to_vec().into(),
    };
    // etcd's answer begins with the first leader.
    let mut told = call(client, async |service| {
        ElectionClient::new(service).observe(request.clone()).await
    })
    .await?;
    loop {
        match told.message().await {
            Ok(Some(leader)) => context.show(&GetOutput {
                response: pb::RangeResponse {
                    header: leader.header,
                    kvs: leader.kv.into_iter().collect(),
                    ..Default::default()
                },
                values_only: false,
            })?,
            Ok(None) => return Ok(Failure::error("elect: observer lost")),
            Err(status) if status.message() == "election: observe closed early" => {
                return Ok(Failure::error("elect: observer lost"));
            }
            Err(status) => return Ok(Failure::error(status_text(&status))),
        }
    }
}
