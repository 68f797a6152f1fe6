//! The names by which a member may be called. A page in a browser can have its own name resolve to a
//! member's address, but it calls the member by that name.

use super::problem;
use crate::server::http2::OverTls;
use crate::server::listen::Reply;
use ::http::{HeaderValue, Request, StatusCode, header};

/// The refusal of a request without TLS for a host that is not `allowed`; if none is, all are.
pub(super) fn refused<B>(allowed: &[String], request: &Request<B>) -> Option<Reply> {
    if allowed.is_empty() || request.extensions().get::<OverTls>().is_some() {
        return None;
    }
    let host = match request.uri().authority() {
        Some(authority) => authority.as_str().as_bytes(),
        None => {
            let host = request.headers().get(header::HOST);
            host.map(HeaderValue::as_bytes).unwrap_or_default()
        }
    };
    let host = String::from_utf8_lossy(host);
    let host = without_port(&host);
    if allowed.iter().any(|allowed| allowed == host) {
        return None;
    }
    tracing::warn!(
        host,
        "rejecting HTTP request to prevent DNS rebinding attacks"
    );
    Some(problem(StatusCode::MISDIRECTED_REQUEST, &refusal(host)))
}

/// The name alone, as Go splits it off: what is not of the form is a name.
fn without_port(host: &str) -> &str {
    let bracketed = host
        .strip_prefix('[')
        .and_then(|rest| rest.split_once("]:"));
    if let Some((name, _)) = bracketed {
        return name;
    }
    match host.split_once(':') {
        Some((name, port)) if !port.contains(':') && !name.contains(['[', ']']) => name,
        _ => host,
    }
}

/// etcd's words.
fn refusal(host: &str) -> String {
    format!(
        "\n\
         etcd received your request, but the Host header was unrecognized.\n\
         \n\
         To fix this, choose one of the following options:\n\
         - Enable TLS, then any HTTPS request will be allowed.\n\
         - Add the hostname you want to use to the whitelist in settings.\n  \
         - e.g. etcd --host-whitelist {host:?}\n\
         \n\
         This requirement has been added to help prevent \"DNS Rebinding\" attacks \
         (CVE-2018-5702).\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_allowed(allowed: &[&str], uri: &str, host: &str, over_tls: bool) -> bool {
        let allowed: Vec<String> = allowed.iter().map(|host| host.to_string()).collect();
        let request = Request::get(uri).header("host", host);
        let mut request = request.body(()).expect("a request");
        if over_tls {
            request.extensions_mut().insert(OverTls);
        }
        refused(&allowed, &request).is_none()
    }

    #[test]
    fn only_allowed_hosts_are_called_without_tls() {
        assert!(is_allowed(&[], "/", "any", false));
        let allowed = ["a", "::1"];
        for host in ["a", "a:2379", "[::1]:2379", "::1"] {
            assert!(is_allowed(&allowed, "/", host, false), "{host}");
        }
        for host in ["", "A", "b", "a.b", "[::1]", "a:1:2"] {
            assert!(!is_allowed(&allowed, "/", host, false), "{host}");
            assert!(is_allowed(&allowed, "/", host, true), "{host}");
        }
        assert!(!is_allowed(&allowed, "http://b/", "a", false));
        assert!(is_allowed(&allowed, "http://a:80/", "b", false));
    }
}
