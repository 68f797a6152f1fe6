//! `detcd config check`: what a member could do with a configuration file on this machine.

use super::proxy::{self, DirUse};
use super::{tls, token_kind};
use crate::config::url::Url;
use crate::config::{CheckedFile, Config, Notice, ProxyMode, UsageError, check_file};

/// What was found.
pub struct CheckReport {
    /// With any of these, no member starts.
    pub problems: Vec<String>,
    pub warnings: Vec<String>,
}

/// Checks the file at `path`: its keys and values, the files that it names, and its addresses.
/// Writes nothing. Called in a runtime, which sockets need.
pub fn check(path: &str) -> Result<CheckReport, UsageError> {
    let mut checked = check_file(path)?;
    let mut report = CheckReport {
        problems: std::mem::take(&mut checked.problems),
        warnings: Vec::new(),
    };
    let Some((config, notices)) = checked.config.take() else {
        return Ok(report);
    };
    for notice in notices {
        match notice {
            Notice::Advice(text) => report.warnings.push(checked.placed(&text)),
            Notice::DroppedFlag(name) => {
                let text = "is no longer supported, and nothing comes of it";
                report
                    .warnings
                    .push(checked.placed_at(name, &format!("{name} {text}")));
            }
            _ => {}
        }
    }
    check_parts(&config, &checked, &mut report);
    check_addresses(&config, &checked, &mut report);
    Ok(report)
}

fn check_parts(config: &Config, checked: &CheckedFile, report: &mut CheckReport) {
    let bootstrap = match starts_cluster(config) {
        true => config.bootstrap().map(|_| ()),
        false => Ok(()),
    };
    // A certificate that is to be made would be written.
    let makes_certificate = config.tls.client.auto || config.tls.peer.auto;
    let files = match makes_certificate {
        true => Ok(()),
        false => tls::open(config).map(|_| ()),
    };
    let problems = [
        bootstrap.err().map(|error| error.to_string()),
        config
            .check_listeners()
            .err()
            .map(|error| error.to_string()),
        files.err().map(|error| error.to_string()),
        token_kind(config).err().map(|error| error.to_string()),
        proxy::dir_use(&config.data_dir)
            .err()
            .map(|error| error.to_string()),
    ];
    let placed = problems.into_iter().flatten();
    report
        .problems
        .extend(placed.map(|text| checked.placed(&text)));
}

/// Whether the next start would make a cluster of `initial-cluster`.
fn starts_cluster(config: &Config) -> bool {
    let is_empty = matches!(proxy::dir_use(&config.data_dir), Ok(DirUse::Empty));
    let finds_others = config.discovery.is_some() || config.dns.is_some() || config.peers.is_some();
    is_empty && !finds_others && config.proxy.mode == ProxyMode::Off
}

fn check_addresses(config: &Config, checked: &CheckedFile, report: &mut CheckReport) {
    let ports: [(&str, &[Url]); 2] = [
        ("listen-client-urls", &config.listen_client_urls),
        ("listen-peer-urls", &config.listen_peer_urls),
    ];
    // Bound together: an address that both ports want is told.
    let mut bound = Vec::new();
    for (name, urls) in ports {
        for url in urls {
            match tls::bind(std::slice::from_ref(url), config.socket_reuse_port, None) {
                Ok(listeners) => bound.extend(listeners),
                Err(error) => {
                    let text = checked.placed_at(name, &error.to_string());
                    // The member of this very file may be running.
                    match error.is_in_use() {
                        true => report.warnings.push(text),
                        false => report.problems.push(text),
                    }
                }
            }
        }
    }
}
