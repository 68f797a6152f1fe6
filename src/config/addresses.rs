//! The addresses of etcd 0.2 to 0.4, which give the URLs of today's flags. Whoever uses one of these
//! flags gets the ports of then, 4001 and 7001.

use super::UsageError;
use super::parse::Given;

/// One of the two ports of a member.
struct Port {
    address: &'static str,
    bind: &'static str,
    advertise_urls: &'static str,
    listen_urls: &'static str,
}

const PORTS: [Port; 2] = [
    Port {
        address: "addr",
        bind: "bind-addr",
        advertise_urls: "advertise-client-urls",
        listen_urls: "listen-client-urls",
    },
    Port {
        address: "peer-addr",
        bind: "peer-bind-addr",
        advertise_urls: "initial-advertise-peer-urls",
        listen_urls: "listen-peer-urls",
    },
];

/// Whether a flag of then was given.
pub(super) fn is_used(given: &Given) -> bool {
    let addresses = PORTS.iter().flat_map(|port| [port.address, port.bind]);
    let mut flags = addresses.chain(["peers", "peers-file", "force"]);
    flags.any(|name| given.is_set(name))
}

/// `given` with the addresses turned into URLs.
pub(super) fn translate(given: &Given) -> Result<Given, UsageError> {
    let mut given = given.clone();
    if !is_used(&given) {
        return Ok(given);
    }
    for port in &PORTS {
        let pairs = [
            (port.advertise_urls, port.address),
            (port.listen_urls, port.bind),
        ];
        for (urls, address) in pairs {
            if given.is_set(urls) && given.is_set(address) {
                return Err(UsageError::Verify(format!(
                    "Set only one of flags {urls:?} and {address:?}"
                )));
            }
        }
        let address = given.text(port.address).to_owned();
        let bind = match given.text(port.bind) {
            "" => address.clone(),
            bind if split(bind).is_some() => bind.to_owned(),
            host => {
                let (_, port) = split(&address).expect("checked when it was parsed");
                format!("{host}:{port}")
            }
        };
        given.set_default(
            port.advertise_urls,
            format!("http://{address}"),
            port.address,
        );
        let by = match given.text(port.bind) {
            "" => port.address,
            _ => port.bind,
        };
        given.set_default(port.listen_urls, format!("http://{bind}"), by);
    }
    Ok(given)
}

/// What is wrong with an address, in etcd 2's words.
pub(super) fn problem(text: &str) -> Option<&'static str> {
    match split(text) {
        Some((_, port)) if port.parse::<u16>().is_err() => {
            Some("bad port in address specification")
        }
        Some(("", _)) | None => Some("bad format in address specification"),
        Some(_) => None,
    }
}

/// As [`problem`], where a host alone will do.
pub(super) fn bind_problem(text: &str) -> Option<&'static str> {
    match split(text) {
        None if !text.is_empty() => None,
        _ => problem(text),
    }
}

/// Host and port. The colons of an IPv6 address stand in brackets.
fn split(text: &str) -> Option<(&str, &str)> {
    let (host, port) = text.rsplit_once(':')?;
    (!host.contains(':') || host.ends_with(']')).then_some((host, port))
}
