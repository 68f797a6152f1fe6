//! The endpoints that a domain's SRV records name.

use super::remotes::Remote;
use super::{GatewayArgs, GatewayError};
use crate::srv::{SrvLookup, Target, service};
use detcd_net::limits::CLIENT_DIAL_TIMEOUT;
use detcd_net::tls::{ClientFiles, TlsClient};
use detcd_net::{Address, Dialer};
use std::sync::Arc;

/// What is asked for of a domain.
const SERVICE: &str = "etcd-client";

/// The endpoints of the flags' domain; none if there is no such flag.
pub(super) async fn remotes(args: &GatewayArgs) -> Result<Vec<Remote>, GatewayError> {
    let domain = &args.discovery_srv;
    if domain.is_empty() {
        return Ok(Vec::new());
    }
    let lookup = SrvLookup::new(args.discovery_srv_server).map_err(GatewayError::Discovery)?;
    let (mut found, mut problems) = (Vec::new(), Vec::new());
    for is_tls in [true, false] {
        let service = service(SERVICE, is_tls, &args.discovery_srv_name);
        match lookup.targets(&service, domain).await {
            Ok(targets) => found.extend(targets.into_iter().map(|target| (is_tls, target))),
            Err(problem) => problems.push(problem),
        }
    }
    if problems.len() == 2 {
        let why = format!("dns lookup errors: {}", problems.join(" and "));
        return Err(GatewayError::Discovery(why));
    }
    let endpoints: Vec<String> = found.iter().map(|(_, it)| it.authority()).collect();
    tracing::info!(
        srv_server = domain,
        ?endpoints,
        "discovered cluster from SRV"
    );
    if !args.insecure_discovery {
        found = validated(args, found).await?;
    }
    let remotes = found.into_iter().map(|(_, target)| Remote {
        address: target.authority(),
        priority: target.priority,
        weight: target.weight,
    });
    Ok(remotes.collect())
}

/// Those that speak TLS with a certificate that is believed.
async fn validated(
    args: &GatewayArgs,
    found: Vec<(bool, Target)>,
) -> Result<Vec<(bool, Target)>, GatewayError> {
    let tls = TlsClient::open(ClientFiles {
        trusted_ca: args.trusted_ca_file.clone(),
        ..ClientFiles::default()
    });
    let tls = tls.map_err(|error| GatewayError::Discovery(error.to_string()))?;
    let dialer = Dialer::within(CLIENT_DIAL_TIMEOUT).with_tls(Some(Arc::new(tls)));
    let mut kept = Vec::new();
    for (is_tls, target) in found {
        let endpoint = target.authority();
        let address = Address {
            is_tls: true,
            ..Address::tcp(&endpoint)
        };
        let problem = match is_tls {
            false => "it is insecure: take it with --insecure-discovery".to_owned(),
            true => match dialer.dial(&address).await {
                Ok(_) => {
                    kept.push((is_tls, target));
                    continue;
                }
                Err(error) => error.to_string(),
            },
        };
        tracing::warn!(endpoint, problem, "failed to validate discovered endpoints");
    }
    Ok(kept)
}
