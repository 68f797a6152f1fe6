//! From a URL to a socket that listens, in the family and on the addresses that Go's listeners take.

use crate::config::url::Url;
use rustix::io::Errno;
use rustix::net::sockopt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _};
use std::time::Duration;
use thiserror::Error;
use tokio::net::{TcpListener, TcpSocket};

/// Connections that the kernel keeps before they are accepted.
const BACKLOG: u32 = 4096;
/// How often the kernel probes a connection on which nothing is said (as Go's listeners do).
const PROBE_PERIOD: Duration = Duration::from_secs(15);

#[derive(Debug, Error)]
pub enum BindError {
    #[error("listen tcp {address}: {problem}")]
    Bind { address: String, problem: String },
}

/// Listens on the address of `url`; port 0 takes a free one. Must run within the runtime.
pub(super) fn bind(url: &Url, reuse_port: bool) -> Result<TcpListener, BindError> {
    let failed = |problem: String| BindError::Bind {
        address: url.address.clone(),
        problem,
    };
    let address = resolve(url).ok_or_else(|| failed("no such host".to_owned()))?;
    listen_families(address, reuse_port).map_err(|error| {
        failed(match error.kind() {
            io::ErrorKind::AddrInUse => "bind: address already in use".to_owned(),
            io::ErrorKind::AddrNotAvailable => "bind: cannot assign requested address".to_owned(),
            io::ErrorKind::PermissionDenied => "bind: permission denied".to_owned(),
            _ => format!("bind: {error}"),
        })
    })
}

fn resolve(url: &Url) -> Option<SocketAddr> {
    let (host, port) = url.host_port();
    let port: u16 = port.parse().ok()?;
    let ip = match host {
        "localhost" => localhost(),
        host => host.parse().ok()?,
    };
    Some(SocketAddr::new(ip, port))
}

/// What the one name that may stand in a listener's URL means: IPv4 if it means that, too.
fn localhost() -> IpAddr {
    let found = ("localhost", 0).to_socket_addrs();
    let ips: Vec<IpAddr> = found.map_or_else(|_| Vec::new(), |all| all.map(|it| it.ip()).collect());
    let first = ips.iter().find(|ip| ip.is_ipv4()).or(ips.first());
    first.copied().unwrap_or(Ipv4Addr::LOCALHOST.into())
}

/// All addresses of one family are those of both: Go listens so on `0.0.0.0` and on `[::]`. Without
/// IPv6 on the machine there is only the other.
fn listen_families(address: SocketAddr, reuse_port: bool) -> io::Result<TcpListener> {
    if !address.ip().is_unspecified() {
        return listen(address, reuse_port);
    }
    let both = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), address.port());
    match listen(both, reuse_port) {
        Err(error) if address.is_ipv4() && lacks_ipv6(&error) => listen(address, reuse_port),
        listening => listening,
    }
}

fn lacks_ipv6(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL))
}

fn listen(address: SocketAddr, reuse_port: bool) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, false)?;
    }
    socket.set_reuseaddr(true)?;
    if reuse_port {
        socket.set_reuseport(true)?;
    }
    socket.bind(address)?;
    probe(&socket)?;
    socket.listen(BACKLOG)
}

/// Lets the kernel find out which clients have vanished without a word; connections inherit it.
fn probe(socket: &TcpSocket) -> io::Result<()> {
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, PROBE_PERIOD)?;
    sockopt::set_tcp_keepintvl(socket, PROBE_PERIOD)?;
    Ok(())
}
