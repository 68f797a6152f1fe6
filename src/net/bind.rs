//! From an address to a socket that listens: over TCP in the family and on the addresses that Go's
//! listeners take, and at a path.

use crate::address::{Address, AddressError, Place};
use crate::limits::BACKLOG;
use crate::stream::probe;
use rustix::fs::{FileType, Stat, lstat, unlink};
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use thiserror::Error;
use tokio::net::{TcpListener, TcpSocket, UnixListener, UnixSocket};

#[derive(Debug, Error)]
#[error("listen {network} {address}: {problem}")]
pub struct BindError {
    network: &'static str,
    address: String,
    problem: String,
}

const IN_USE: &str = "bind: address already in use";

impl BindError {
    /// Whether another socket has the address.
    pub fn is_in_use(&self) -> bool {
        self.problem == IN_USE
    }

    pub(crate) fn new(address: &Address, problem: String) -> BindError {
        let (network, address) = match &address.place {
            Place::Tcp(address) => ("tcp", address.clone()),
            Place::Unix(path) => ("unix", path.display().to_string()),
        };
        BindError {
            network,
            address,
            problem,
        }
    }

    pub(crate) fn of_url(url: &str, error: &AddressError) -> BindError {
        BindError {
            network: "tcp",
            address: url.to_owned(),
            problem: error.to_string(),
        }
    }

    pub(crate) fn of(address: &Address, error: &io::Error) -> BindError {
        let problem = match error.kind() {
            io::ErrorKind::AddrInUse => IN_USE.to_owned(),
            io::ErrorKind::AddrNotAvailable => "bind: cannot assign requested address".to_owned(),
            io::ErrorKind::PermissionDenied => "bind: permission denied".to_owned(),
            io::ErrorKind::NotFound => "bind: no such file or directory".to_owned(),
            _ => format!("bind: {error}"),
        };
        BindError::new(address, problem)
    }
}

/// Listens on `host:port`. `None` if the host has no address.
pub(crate) fn tcp(address: &str, reuse_port: bool) -> Option<io::Result<TcpListener>> {
    let (host, port) = address.rsplit_once(':')?;
    let port: u16 = port.parse().ok()?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let ip = match host {
        "localhost" => localhost(),
        host => host.parse().ok()?,
    };
    Some(listen_families(SocketAddr::new(ip, port), reuse_port))
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

/// Listens at a path. A socket file that nobody listens at is what a killed process left, and is
/// replaced, as etcd does; anything else that is there stays (etcd removes it).
pub(crate) fn unix(path: &Path) -> io::Result<(UnixListener, SocketFile)> {
    remove_stale(path)?;
    let socket = UnixSocket::new_stream()?;
    socket.bind(path)?;
    let found = lstat(path)?;
    let file = SocketFile {
        path: path.to_owned(),
        file: (found.st_dev, found.st_ino),
    };
    Ok((socket.listen(BACKLOG)?, file))
}

fn remove_stale(path: &Path) -> io::Result<()> {
    let found = match lstat(path) {
        Err(Errno::NOENT) => return Ok(()),
        found => found?,
    };
    let is_socket = FileType::from_raw_mode(found.st_mode) == FileType::Socket;
    if !is_socket || is_listened_at(path)? {
        return Err(io::ErrorKind::AddrInUse.into());
    }
    Ok(unlink(path)?)
}

/// Whether a process listens at the path. One that is busy or stopped does, too.
fn is_listened_at(path: &Path) -> io::Result<bool> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    match net::connect(&socket, &SocketAddrUnix::new(path)?) {
        Err(Errno::CONNREFUSED) => Ok(false),
        Err(Errno::ACCESS) => Err(io::ErrorKind::PermissionDenied.into()),
        _ => Ok(true),
    }
}

/// The file of a socket that this process listens at. Dropped, it removes the file, unless another
/// process has put its own in the place.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// The device and the inode.
    file: (u64, u64),
}

impl SocketFile {
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let is_own = |found: &Stat| (found.st_dev, found.st_ino) == self.file;
        if lstat(&self.path).is_ok_and(|found| is_own(&found)) {
            // What stays is replaced at the next start.
            let _ = unlink(&self.path);
        }
    }
}
