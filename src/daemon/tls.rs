//! TLS of a member: its files, which are opened before anything listens, and their ends, of which
//! the log tells in time.

use crate::config::url::Url;
use crate::config::{Config, PairPaths, PortTls};
use crate::server::TlsSides;
use detcd_net::tls::{
    ClientFiles, ClientRules, FilesReport, PairFiles, Security, SelfSigned, ServerFiles, TlsClient,
    TlsError, TlsServer, TlsSettings, TlsVersion, self_signed,
};
use detcd_net::{BindError, Listener};
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How often files are looked at, also if nobody connects.
const PERIOD: Duration = Duration::from_secs(60 * 60);
/// How long before its end a certificate is told of, and how often.
const AHEAD_SECONDS: i64 = 30 * 24 * 60 * 60;
const TELL_PERIODS: u32 = 24;

/// Opens the files of both ports. `data_dir` is where certificates are made.
pub(super) fn open(config: &Config) -> Result<TlsSides, TlsError> {
    let settings = settings(config);
    let client = side(
        config,
        &config.tls.client,
        &config.listen_client_urls,
        "client",
    )?;
    let peer = side(config, &config.tls.peer, &config.listen_peer_urls, "peer")?;
    let presented = [&config.tls.client.client_pair, &config.tls.peer.client_pair];
    let keys: BTreeSet<&Path> = [&client, &peer]
        .into_iter()
        .flatten()
        .map(|pair| pair.key.as_path())
        .chain(
            presented
                .into_iter()
                .flatten()
                .map(|pair| pair.key.as_path()),
        )
        .collect();
    keys.into_iter().for_each(warn_if_readable);
    let rules = |tls: &PortTls, checks_address| {
        tls.asks_clients().then(|| ClientRules {
            trusted_ca: tls.trusted_ca.clone(),
            revoked: tls.revoked.clone(),
            allowed_common_names: tls.allowed_common_names.clone(),
            allowed_hosts: tls.allowed_hosts.clone(),
            checks_address,
        })
    };
    let server = |pair: &Option<PairFiles>, clients| -> Result<_, TlsError> {
        let Some(pair) = pair.clone() else {
            return Ok(None);
        };
        let settings = settings.clone();
        let files = ServerFiles {
            pair,
            clients,
            settings,
        };
        TlsServer::open(files).map(Arc::new).map(Some)
    };
    let checks_address = !config.tls.skips_peer_addresses;
    Ok(TlsSides {
        clients: server(&client, rules(&config.tls.client, false))?,
        peers: server(&peer, rules(&config.tls.peer, checks_address))?,
        calls: calls(config, peer, settings)?,
    })
}

/// What a port listens with, if it needs anything.
fn side(
    config: &Config,
    tls: &PortTls,
    urls: &[Url],
    name: &str,
) -> Result<Option<PairFiles>, TlsError> {
    let listens = urls.iter().any(Url::is_tls);
    for url in urls.iter().filter(|url| !url.is_tls()) {
        if tls.pair.is_some() {
            tracing::warn!(
                %url,
                "scheme is http or unix while key and cert files are present; ignoring key and cert files"
            );
        }
        if tls.client_cert_auth {
            tracing::warn!(
                %url,
                "scheme is http or unix while --{}client-cert-auth is enabled; ignoring client cert auth for this URL",
                if name == "peer" { "peer-" } else { "" }
            );
        }
    }
    let pair = match &tls.pair {
        Some(PairPaths { cert, key }) => Some(PairFiles {
            cert: cert.clone(),
            key: key.clone(),
        }),
        None if tls.auto && listens => {
            let hosts = urls.iter().filter(|url| !url.is_unix());
            let mut hosts: Vec<String> = hosts.map(|url| url.host_port().0.to_owned()).collect();
            if urls.iter().any(Url::is_unix) {
                hosts.push("localhost".to_owned());
            }
            hosts.dedup();
            let years = config.tls.validity;
            let folder = config.data_dir.join("fixtures").join(name);
            let made = self_signed(&folder, &SelfSigned { hosts, years })?;
            tracing::info!(
                cert_file = %made.cert.display(),
                key_file = %made.key.display(),
                "{name} TLS with a certificate of its own"
            );
            Some(made)
        }
        None => None,
    };
    Ok(pair)
}

/// With what other members are called; `None` if nothing is said of TLS.
fn calls(
    config: &Config,
    own: Option<PairFiles>,
    settings: TlsSettings,
) -> Result<Option<Arc<TlsClient>>, TlsError> {
    let tls = &config.tls.peer;
    let mut schemes = ["=https:", "=unixs:"].into_iter();
    if !tls.is_set() && !schemes.any(|scheme| config.initial_cluster.contains(scheme)) {
        return Ok(None);
    }
    let presented = tls.client_pair.as_ref().map(|pair| PairFiles {
        cert: pair.cert.clone(),
        key: pair.key.clone(),
    });
    let files = ClientFiles {
        pair: presented.or(own),
        trusted_ca: tls.trusted_ca.clone(),
        // Certificates that members make by themselves have no authority.
        believes_all: tls.auto,
        allowed_common_names: tls.allowed_common_names.clone(),
        allowed_hosts: tls.allowed_hosts.clone(),
        settings,
    };
    TlsClient::open(files).map(Arc::new).map(Some)
}

fn settings(config: &Config) -> TlsSettings {
    let tls = &config.tls;
    let version = |is_1_2: bool| {
        if is_1_2 {
            TlsVersion::V1_2
        } else {
            TlsVersion::V1_3
        }
    };
    TlsSettings {
        min: version(tls.has_1_2),
        max: version(!tls.has_1_3),
        cipher_suites: tls.cipher_suites.clone(),
    }
}

fn warn_if_readable(key: &Path) {
    let Ok(found) = std::fs::metadata(key) else {
        return;
    };
    let mode = found.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        tracing::warn!(
            key_file = %key.display(),
            mode = format!("{mode:03o}"),
            "others than its owner may use the file of the private key: let nobody else read it \
             (chmod 600)"
        );
    }
}

/// Listens at each address once. One that is listed with http and with https serves both.
pub(super) fn bind(
    urls: &[Url],
    reuse_port: bool,
    tls: Option<&Arc<TlsServer>>,
) -> Result<Vec<Listener>, BindError> {
    let mut listeners = Vec::new();
    for (at, url) in urls.iter().enumerate() {
        let same = |other: &&Url| {
            (other.is_unix(), &other.address) == (url.is_unix(), &url.address)
                && other.is_tls() != url.is_tls()
        };
        if urls[..at].iter().any(|other| same(&other)) {
            continue;
        }
        let has_other = urls[at..].iter().any(|other| same(&other));
        let security = match tls {
            Some(tls) if has_other => Security::Either(tls.clone()),
            Some(tls) if url.is_tls() => Security::Tls(tls.clone()),
            _ => Security::Plain,
        };
        let listener = Listener::bind_url(url.as_str(), reuse_port)?;
        listeners.push(listener.with_security(security));
    }
    Ok(listeners)
}

/// Tells of certificates that end soon, once a day.
pub(super) async fn watch(sides: TlsSides) {
    if sides.is_empty() {
        return;
    }
    for period in 0_u32.. {
        let reports = sides.reports();
        if period % TELL_PERIODS == 0 {
            reports.iter().for_each(tell);
        }
        detcd_rt::sleep(PERIOD).await;
    }
}

fn tell(report: &FilesReport) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |now| i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
    for expiry in &report.expiries {
        let left = expiry.not_after - now;
        if left > AHEAD_SECONDS {
            continue;
        }
        let (file, days) = (expiry.path.display(), left / (24 * 60 * 60));
        match left > 0 {
            true => tracing::warn!(%file, days, "a certificate of the file ends soon: renew it"),
            false => tracing::warn!(%file, "a certificate of the file has ended: renew it"),
        }
    }
}
