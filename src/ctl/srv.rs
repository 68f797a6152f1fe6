//! `--discovery-srv`: the endpoints are those that a domain's SRV records name.

use super::commands::GLOBAL;
use super::context::Context;
use super::failure::Failure;
use crate::srv::{SrvLookup, service};

/// What is asked for of a domain.
const SERVICE: &str = "etcd-client";
/// The DNS server to ask, `ADDRESS:PORT`, instead of the system's.
const SERVER: &str = "DETCDCTL_DNS_SERVER";

/// Puts the servers of the domain that the command names in the place of `--endpoints`.
pub async fn find(context: &mut Context) -> Result<(), Failure> {
    let domain = context.flags.text("discovery-srv").to_owned();
    if domain.is_empty() {
        return Ok(());
    }
    let server = match context.variable(SERVER) {
        None | Some("") => None,
        Some(text) => Some(text.parse().map_err(|_| {
            Failure::args(format!(
                "invalid value \"{text}\" for {SERVER}: ADDRESS:PORT is wanted"
            ))
        })?),
    };
    let lookup = SrvLookup::new(server).map_err(Failure::error)?;
    let name = context.flags.text("discovery-srv-name").to_owned();
    let mut endpoints = Vec::new();
    let mut problems = Vec::new();
    for (is_tls, scheme) in [(true, "https"), (false, "http")] {
        let service = service(SERVICE, is_tls, &name);
        match lookup.targets(&service, &domain).await {
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
    if !context.flags.switch("insecure-discovery") {
        for endpoint in endpoints.extract_if(.., |endpoint| endpoint.starts_with("http://")) {
            let line = format!("ignoring discovered insecure endpoint \"{endpoint}\"");
            context.terminal.complain(&line)?;
        }
    }
    // Without any, `--endpoints` counts, as in etcdctl.
    if !endpoints.is_empty() {
        let flag = GLOBAL.iter().find(|flag| flag.name == "endpoints");
        let flag = flag.expect("every command has it");
        let set = context.flags.preset(flag, &endpoints.join(","));
        set.map_err(Failure::error)?;
    }
    Ok(())
}
