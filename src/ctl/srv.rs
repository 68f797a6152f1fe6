//! `--discovery-srv`: the endpoints are those that a domain's SRV records name.

use super::commands::GLOBAL;
use super::context::{Context, Terminal};
use super::failure::Failure;
use crate::srv::{SrvLookup, service};

/// What is asked for of a domain.
const SERVICE: &str = "etcd-client";
/// The DNS server to ask, `ADDRESS:PORT`, instead of the system's.
pub const SERVER: &str = "DETCDCTL_DNS_SERVER";

/// Whose records are looked up, and what of them is taken.
pub struct Discovery<'a> {
    pub domain: &'a str,
    /// A suffix of the service's name; empty for none.
    pub name: &'a str,
    /// The variable that names another DNS server than the system's.
    pub server: Option<&'a str>,
    /// Whether endpoints without TLS are taken.
    pub takes_insecure: bool,
}

/// Puts the servers of the domain that the command names in the place of `--endpoints`.
pub async fn find(context: &mut Context) -> Result<(), Failure> {
    let discovery = Discovery {
        domain: context.flags.text("discovery-srv"),
        name: context.flags.text("discovery-srv-name"),
        server: context.variable(SERVER),
        takes_insecure: context.flags.switch("insecure-discovery"),
    };
    let (endpoints, ignored) = discovery.endpoints().await?;
    complain(&mut context.terminal, &ignored)?;
    // Without any, `--endpoints` counts, as in etcdctl.
    if !endpoints.is_empty() {
        let flag = GLOBAL.iter().find(|flag| flag.name == "endpoints");
        let flag = flag.expect("every command has it");
        let set = context.flags.preset(flag, &endpoints.join(","));
        set.map_err(Failure::error)?;
    }
    Ok(())
}

/// Tells which endpoints are not taken.
pub fn complain(terminal: &mut Terminal, ignored: &[String]) -> Result<(), Failure> {
    for endpoint in ignored {
        terminal.complain(&format!(
            "ignoring discovered insecure endpoint \"{endpoint}\""
        ))?;
    }
    Ok(())
}

impl Discovery<'_> {
    /// The endpoints that the records name, and those that are not taken. Without a domain there are
    /// none.
    pub async fn endpoints(&self) -> Result<(Vec<String>, Vec<String>), Failure> {
        if self.domain.is_empty() {
            return Ok((Vec::new(), Vec::new()));
        }
        let server = match self.server {
            None | Some("") => None,
            Some(text) => Some(text.parse().map_err(|_| {
                Failure::args(format!(
                    "invalid value \"{text}\" for {SERVER}: ADDRESS:PORT is wanted"
                ))
            })?),
        };
        let lookup = SrvLookup::new(server).map_err(Failure::error)?;
        let mut endpoints = Vec::new();
        let mut problems = Vec::new();
        for (is_tls, scheme) in [(true, "https"), (false, "http")] {
            let service = service(SERVICE, is_tls, self.name);
            match lookup.targets(&service, self.domain).await {
                Ok(targets) => {
                    let urls = targets
                        .iter()
                        .map(|it| format!("{scheme}://{}", it.authority()));
                    endpoints.extend(urls);
                }
                Err(problem) => problems.push(problem),
            }
        }
        if problems.len() == 2 {
            let why = format!("dns lookup errors: {}", problems.join(" and "));
            return Err(Failure::error(why));
        }
        let is_ignored =
            |endpoint: &String| !self.takes_insecure && endpoint.starts_with("http://");
        let (ignored, taken) = endpoints.into_iter().partition(is_ignored);
        Ok((taken, ignored))
    }
}
