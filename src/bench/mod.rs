//! `detcd bench`: one load generator for any etcd endpoint, and a side-by-side with real etcd.
//!
//! With `--endpoints` it loads a cluster that runs already. With `--against ETCD` it starts a
//! fresh three-member loopback cluster of this binary and one of the other in turn, alternating,
//! loads each with the same cases, and prints both and their ratio. Servers and generator share
//! the machine, so ratios are what to read, not the absolute figures.

mod cluster;
mod load;
mod plot;
mod report;
mod unary;
mod v2;

use clap::{Parser, ValueEnum};
use detcd_net::tls::{ClientFiles, PairFiles, TlsClient};
use detcd_out::eprintln;
use load::{Case, Target};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// What to load, with what, and for how long.
#[derive(Parser, Debug)]
pub struct BenchArgs {
    /// Endpoints of a running cluster; without them, fresh three-member clusters are started.
    #[arg(long, value_delimiter = ',')]
    endpoints: Vec<String>,
    /// Authorities that endpoints with https are checked by; without it, those of the machine.
    #[arg(long, value_name = "PATH")]
    cacert: Option<PathBuf>,
    /// The certificate that is presented to endpoints.
    #[arg(long, value_name = "PATH", requires = "key")]
    cert: Option<PathBuf>,
    /// The key of the certificate.
    #[arg(long, value_name = "PATH", requires = "cert")]
    key: Option<PathBuf>,
    /// Believe every endpoint.
    #[arg(long)]
    insecure_skip_tls_verify: bool,
    /// The user on whose behalf the load is, of a running cluster with authentication (not of v2).
    #[arg(long, value_name = "NAME:PASSWORD", requires = "endpoints")]
    user: Option<String>,
    /// Another etcd binary to measure in the same run, alternating with this one.
    #[arg(long, value_name = "PATH")]
    against: Option<PathBuf>,
    /// Cases to run.
    #[arg(long, value_delimiter = ',', default_values = ["put", "range", "serializable", "mixed", "txn"])]
    case: Vec<Kind>,
    /// Concurrent clients, one run each.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 100, 1000])]
    clients: Vec<usize>,
    /// Connections at most; clients share them.
    #[arg(long, default_value_t = 100)]
    connections: usize,
    /// Seconds of measured load for each case and number of clients.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Times that each cluster is started and measured; the median is printed.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Bytes of a value. Keys have 8 bytes, those under a prefix 13.
    #[arg(long, default_value_t = 256)]
    value_bytes: usize,
    /// Distinct keys that the load touches. The cases that list (limit, count, pages, stream, past) find
    /// so many under their prefix, which are written first.
    #[arg(long, default_value_t = 100_000)]
    keys: u64,
    /// Keys of a page of the cases pages and past.
    #[arg(long, default_value_t = 500)]
    page: i64,
    /// Members of each cluster that is started.
    #[arg(long, default_value_t = 3)]
    members: usize,
    /// Draw the figures into this SVG file (not with --endpoints).
    #[arg(long, conflicts_with = "endpoints")]
    plot: Option<PathBuf>,
    /// Write this many keys at the end and print each member's memory.
    #[arg(long, default_value_t = 0)]
    fill: u64,
}

/// A kind of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    Put,
    /// Linearizable reads of one key.
    Range,
    /// Serializable reads of one key.
    Serializable,
    /// One put to four linearizable reads.
    Mixed,
    /// Compare-and-swap transactions.
    Txn,
    /// Puts to keys that watchers watch: an operation is an event delivered.
    Watch,
    /// Keepalives of one lease a client.
    Lease,
    /// The first key under a prefix, by a read with a limit of one.
    Limit,
    /// The number of keys under a prefix.
    Count,
    /// All keys under a prefix, page by page: an operation is the whole list.
    Pages,
    /// All keys under a prefix, by RangeStream: an operation is the whole list.
    Stream,
    /// The number of keys under a prefix and the first page of them, as they were before each was
    /// written again and half as many were added and deleted.
    Past,
    /// Sets of one key of the v2 API, over a connection for each client, as for all of its cases.
    V2Set,
    /// Reads of one key of the v2 API, by what the member has applied.
    V2Get,
    /// Linearizable reads of one key of the v2 API.
    V2QuorumGet,
    /// Sets of a key of the v2 API that is waited for: an operation is an event delivered.
    V2Wait,
}

impl Kind {
    /// Whether the load needs many keys under a prefix.
    fn lists(self) -> bool {
        match self {
            Kind::Limit | Kind::Count | Kind::Pages | Kind::Stream | Kind::Past => true,
            Kind::Put | Kind::Range | Kind::Serializable | Kind::Mixed | Kind::Txn => false,
            Kind::Watch | Kind::Lease => false,
            Kind::V2Set | Kind::V2Get | Kind::V2QuorumGet | Kind::V2Wait => false,
        }
    }

    /// Whether it is a load of the v2 API.
    fn is_v2(self) -> bool {
        matches!(
            self,
            Kind::V2Set | Kind::V2Get | Kind::V2QuorumGet | Kind::V2Wait
        )
    }
}

/// Runs the benchmark and prints its tables on standard output, progress on standard error.
pub async fn run(args: BenchArgs) -> Result<(), load::BoxError> {
    let cases = cases(&args);
    if !args.endpoints.is_empty() {
        let mut rows = Vec::new();
        let mut target = args.target()?;
        if let Some(user) = &args.user {
            let (name, password) = user.split_once(':').ok_or("--user is NAME:PASSWORD")?;
            if cases.iter().any(|case| case.kind.is_v2()) {
                return Err("--user is for cases of v3: v2 has users of its own".into());
            }
            target.log_in(name, password).await?;
        }
        let settings = load::prepare(&target, &cases, args.settings()).await?;
        for case in &cases {
            progress(&format!("{case}"));
            rows.push(load::run(&target, *case, &settings).await?);
        }
        report::print_one(&rows);
        return Ok(());
    }
    let mut contenders = vec![("detcd", std::env::current_exe()?)];
    if let Some(path) = &args.against {
        contenders.push(("etcd", path.clone()));
    }
    let mut sides: Vec<report::Side> = contenders
        .iter()
        .map(|(name, _)| report::Side::new(name))
        .collect();
    for round in 0..args.rounds {
        for (side, (name, binary)) in sides.iter_mut().zip(&contenders) {
            progress(&format!("round {} of {}: {name}", round + 1, args.rounds));
            measure(&args, &cases, binary, side).await?;
        }
    }
    report::print_sides(&sides);
    if let Some(path) = &args.plot {
        let servers: Vec<&str> = contenders.iter().map(|(name, _)| *name).collect();
        plot::draw(path, &servers, &report::bars(&sides))?;
        progress(&format!("drawn into {}", path.display()));
    }
    Ok(())
}

/// One fresh cluster, loaded with every case.
async fn measure(
    args: &BenchArgs,
    cases: &[Case],
    binary: &std::path::Path,
    side: &mut report::Side,
) -> Result<(), load::BoxError> {
    let v2 = cases.iter().any(|case| case.kind.is_v2());
    let cluster = cluster::Cluster::start(binary, args.members, v2).await?;
    let target = Target::plain(&cluster.endpoints);
    let settings = load::prepare(&target, cases, args.settings()).await?;
    for case in cases {
        progress(&format!("  {case}"));
        let before = cluster.cpu_seconds()?;
        let mut row = load::run(&target, *case, &settings).await?;
        row.server_cpu_seconds = Some(cluster.cpu_seconds()? - before);
        side.add(row);
    }
    if args.fill > 0 {
        progress(&format!("  fill {} keys", args.fill));
        load::fill(&target, args.fill, args.value_bytes).await?;
        side.add_memory(cluster.memory_mib()?);
    }
    Ok(())
}

impl BenchArgs {
    /// Parses the process's arguments after the subcommand; ends the process on `--help` and on
    /// arguments that make no sense.
    pub fn parse_from_program(program: &str) -> BenchArgs {
        let args = std::env::args_os().skip(2);
        BenchArgs::parse_from(std::iter::once(program.into()).chain(args))
    }

    /// The running cluster that is to be loaded.
    fn target(&self) -> Result<Target, load::BoxError> {
        let is_tls = |url: &String| url.starts_with("https:") || url.starts_with("unixs:");
        let tls = match self.endpoints.iter().any(is_tls) {
            false => None,
            true => {
                let pair = self.cert.clone().zip(self.key.clone());
                Some(Arc::new(TlsClient::open(ClientFiles {
                    pair: pair.map(|(cert, key)| PairFiles { cert, key }),
                    trusted_ca: self.cacert.clone(),
                    believes_all: self.insecure_skip_tls_verify,
                    ..ClientFiles::default()
                })?))
            }
        };
        Ok(Target {
            urls: self.endpoints.clone(),
            tls,
            token: None,
        })
    }

    fn settings(&self) -> load::Settings {
        load::Settings {
            connections: self.connections,
            duration: Duration::from_secs(self.seconds),
            value_bytes: self.value_bytes,
            keys: self.keys,
            page: self.page,
            past: 0,
        }
    }
}

fn cases(args: &BenchArgs) -> Vec<Case> {
    let pairs = args
        .case
        .iter()
        .flat_map(|kind| args.clients.iter().map(move |n| (*kind, *n)));
    pairs
        .map(|(kind, clients)| Case { kind, clients })
        .collect()
}

fn progress(text: &str) {
    eprintln!("bench: {text}");
}
