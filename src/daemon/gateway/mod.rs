//! `detcd gateway start`: hands connections on to endpoints, whatever is said over them.

mod discover;
mod remotes;

use super::descriptors::raise_open_files;
use super::{DaemonError, Signals, notify};
use clap::Parser as _;
use detcd_core::go::{DurationError, parse_duration};
use detcd_net::limits::CLIENT_DIAL_TIMEOUT;
use detcd_net::{Address, BindError, ConnectionLimit, ConnectionPermit, Dialer, Listener, Stream};
use remotes::{Remote, Remotes};
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use thiserror::Error;

/// Descriptors that are no connection's.
const DESCRIPTORS_OWN: u64 = 64;

/// The flags, which are etcd's.
#[derive(Clone, Debug, clap::Args)]
pub struct GatewayArgs {
    /// Where to listen.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:23790")]
    listen_addr: String,
    /// The cluster's endpoints, separated by commas.
    #[arg(long, value_delimiter = ',', default_value = "127.0.0.1:2379")]
    endpoints: Vec<String>,
    /// The domain whose SRV records name the endpoints.
    #[arg(long, value_name = "DOMAIN", default_value = "")]
    discovery_srv: String,
    /// The end of the records' names.
    #[arg(long, value_name = "NAME", default_value = "")]
    discovery_srv_name: String,
    /// The DNS server to ask, instead of the system's.
    #[arg(long, value_name = "ADDRESS:PORT")]
    discovery_srv_server: Option<SocketAddr>,
    /// Take endpoints of SRV records whatever they speak.
    #[arg(long)]
    insecure_discovery: bool,
    /// The pause before an endpoint that failed is tried again.
    #[arg(long, value_name = "DURATION", default_value = "1m0s", value_parser = duration)]
    retry_delay: Duration,
    /// The authorities that endpoints of SRV records are held against.
    #[arg(long, value_name = "FILE")]
    trusted_ca_file: Option<PathBuf>,
}

#[derive(clap::Parser)]
struct Program {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// start the gateway
    Start(GatewayArgs),
}

/// Reads the process's arguments after the first; ends the process on `--help` and on arguments that
/// make no sense.
pub fn parse(program: &str) -> GatewayArgs {
    let args = std::env::args_os().skip(2);
    let args = std::iter::once(program.into()).chain(args);
    let Command::Start(args) = Program::parse_from(args).command;
    args
}

#[derive(Debug, Error)]
pub enum GatewayError {
    #[error("failed to validate listen address: {0}")]
    ListenAddress(String),
    #[error("failed to resolve listen host: {0}")]
    ListenHost(String),
    #[error("error parsing endpoint {0:?}")]
    Endpoint(String),
    #[error("failed to resolve endpoint host: {0}")]
    EndpointHost(String),
    #[error(
        "SRV or endpoint ({endpoint}->{own}) should not resolve to the gateway listen addr ({listen})"
    )]
    Loop {
        endpoint: String,
        own: String,
        listen: String,
    },
    #[error("no endpoints found")]
    NoEndpoints,
    #[error("{0}")]
    Discovery(String),
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error(transparent)]
    Daemon(#[from] DaemonError),
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(|error| match error {
        DurationError::Invalid => format!("invalid duration {text:?}"),
        DurationError::MissingUnit => format!("missing unit in duration {text:?}"),
        DurationError::UnknownUnit(unit) => format!("unknown unit {unit:?} in duration {text:?}"),
    })
}

/// Serves until a signal asks to stop.
pub async fn serve(args: GatewayArgs) -> Result<(), GatewayError> {
    let mut signals = Signals::listen()?;
    let mut remotes = discover::remotes(&args).await?;
    if remotes.is_empty() {
        remotes = named(&args.endpoints)?;
    }
    check_loops(&args.listen_addr, &remotes).await?;
    if remotes.is_empty() {
        return Err(GatewayError::NoEndpoints);
    }
    let listener = Listener::bind(&Address::tcp(&args.listen_addr), false)?;
    let endpoints: Vec<&str> = remotes.iter().map(|it| &it.address[..]).collect();
    tracing::info!(?endpoints, listen_address = %listener.address(), "ready to proxy client requests");
    let gateway = Arc::new(Gateway {
        remotes: Mutex::new(Remotes::new(remotes)),
        dialer: Dialer::within(CLIENT_DIAL_TIMEOUT),
        retry_delay: args.retry_delay,
    });
    let descriptors = raise_open_files().saturating_sub(DESCRIPTORS_OWN) / 2;
    let limit = ConnectionLimit::new(
        "clients",
        usize::try_from(descriptors).unwrap_or(usize::MAX),
    );
    notify::ready().await;
    tokio::select! {
        biased;
        name = signals.next() => {
            tracing::info!(signal = name, "received signal; shutting down");
        }
        () = gateway.clone().accept(listener, limit) => {}
        () = gateway.reactivate() => {}
    }
    notify::stopping().await;
    Ok(())
}

/// The endpoints of the flag, without their schemes.
fn named(endpoints: &[String]) -> Result<Vec<Remote>, GatewayError> {
    let endpoints = endpoints.iter().filter(|endpoint| !endpoint.is_empty());
    let remotes = endpoints.map(|endpoint| {
        let address = endpoint.split_once("://").map_or(&endpoint[..], |it| it.1);
        let address = address.split('/').next().unwrap_or_default();
        match address.rsplit_once(':') {
            Some((_, port)) if port.parse::<u16>().is_ok() => Ok(Remote {
                address: address.to_owned(),
                priority: 0,
                weight: 0,
            }),
            _ => Err(GatewayError::Endpoint(endpoint.clone())),
        }
    });
    remotes.collect()
}

/// Refuses endpoints that lead back here.
async fn check_loops(listen: &str, remotes: &[Remote]) -> Result<(), GatewayError> {
    let Some((host, port)) = listen.rsplit_once(':') else {
        return Err(GatewayError::ListenAddress(listen.to_owned()));
    };
    let own = addresses(host).await;
    let own = own.ok_or_else(|| GatewayError::ListenHost(host.to_owned()))?;
    for Remote { address, .. } in remotes {
        let (host, its_port) = address.rsplit_once(':').unwrap_or((address, ""));
        let found = addresses(host).await;
        let found = found.ok_or_else(|| GatewayError::EndpointHost(host.to_owned()))?;
        if its_port != port {
            continue;
        }
        if let Some(shared) = found.intersection(&own).next() {
            return Err(GatewayError::Loop {
                endpoint: address.clone(),
                own: format!("{shared}:{port}"),
                listen: listen.to_owned(),
            });
        }
    }
    Ok(())
}

async fn addresses(host: &str) -> Option<BTreeSet<IpAddr>> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() {
        return Some(BTreeSet::new());
    }
    let found = tokio::net::lookup_host((host, 0)).await.ok()?;
    Some(found.map(|address| address.ip()).collect())
}

struct Gateway {
    remotes: Mutex<Remotes>,
    dialer: Dialer,
    retry_delay: Duration,
}

impl Gateway {
    async fn accept(self: Arc<Self>, listener: Listener, limit: ConnectionLimit) {
        loop {
            let (stream, permit) = listener.accept(&limit).await;
            detcd_rt::spawn(self.clone().connection(stream, permit));
        }
    }

    /// Connects a client with the first endpoint that can be reached, and passes on what both say.
    async fn connection(self: Arc<Self>, mut client: Stream, _permit: ConnectionPermit) {
        loop {
            let picked = self.remotes().pick(detcd_rt::random_u64());
            let Some(address) = picked else {
                // The client is hung up on.
                return;
            };
            match self.dialer.dial(&Address::tcp(&address)).await {
                Ok(mut endpoint) => {
                    // Whoever ends a connection without a word has ended it.
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut endpoint).await;
                    return;
                }
                Err(error) => {
                    self.remotes().set_active(&address, false);
                    let interval = self.retry_delay;
                    tracing::warn!(address, ?interval, %error, "deactivated endpoint");
                }
            }
        }
    }

    /// Tries again and again the endpoints that could not be reached.
    async fn reactivate(&self) {
        loop {
            detcd_rt::sleep(self.retry_delay).await;
            let inactive = self.remotes().inactive();
            let tried = inactive.iter().map(|address| async move {
                match self.dialer.dial(&Address::tcp(address)).await {
                    Ok(_) => {
                        self.remotes().set_active(address, true);
                        tracing::info!(address, "activated");
                    }
                    Err(error) => tracing::warn!(
                        address,
                        %error,
                        "failed to activate endpoint (stay inactive for another interval)"
                    ),
                }
            });
            futures::future::join_all(tried).await;
        }
    }

    fn remotes(&self) -> MutexGuard<'_, Remotes> {
        self.remotes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
