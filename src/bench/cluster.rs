//! Fresh members on loopback, for the time of a measurement.

use super::load::BoxError;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const READY_WITHIN: Duration = Duration::from_secs(30);

/// A running cluster; its processes are killed and its folder removed when it is dropped.
pub struct Cluster {
    pub endpoints: Vec<String>,
    children: Vec<Child>,
    folder: PathBuf,
}

impl Cluster {
    /// Starts so many members of `binary` with etcd's flags, and with v2 if that is wanted, and waits until each serves a write.
    pub async fn start(binary: &Path, members: usize, v2: bool) -> Result<Cluster, BoxError> {
        let folder = std::env::temp_dir().join(format!("detcd-bench-{}", std::process::id()));
        // Left over from an interrupted run of the same process id.
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder)?;
        let ports = free_ports(2 * members)?;
        let (clients, peers) = ports.split_at(members);
        let initial: Vec<String> = (0..members)
            .map(|i| format!("m{i}=http://127.0.0.1:{}", peers[i]))
            .collect();
        let mut cluster = Cluster {
            endpoints: Vec::new(),
            children: Vec::new(),
            folder,
        };
        for i in 0..members {
            let client = format!("http://127.0.0.1:{}", clients[i]);
            let peer = format!("http://127.0.0.1:{}", peers[i]);
            let log = fs::File::create(cluster.folder.join(format!("m{i}.log")))?;
            let child = Command::new(binary)
                .args(["--name", &format!("m{i}")])
                .arg("--data-dir")
                .arg(cluster.folder.join(format!("m{i}.etcd")))
                .args([
                    "--listen-client-urls",
                    &client,
                    "--advertise-client-urls",
                    &client,
                ])
                .args([
                    "--listen-peer-urls",
                    &peer,
                    "--initial-advertise-peer-urls",
                    &peer,
                ])
                .args(["--initial-cluster", &initial.join(",")])
                .args(["--initial-cluster-token", "bench", "--log-level", "error"])
                .args(v2.then_some("--enable-v2"))
                .env("GOMAXPROCS", "2")
                .stdin(Stdio::null())
                .stdout(log.try_clone()?)
                .stderr(log)
                .spawn()
                .map_err(|error| format!("cannot start {}: {error}", binary.display()))?;
            cluster.children.push(child);
            cluster.endpoints.push(client);
        }
        cluster.wait_ready().await?;
        Ok(cluster)
    }

    async fn wait_ready(&mut self) -> Result<(), BoxError> {
        let started = Instant::now();
        for (i, endpoint) in self.endpoints.clone().iter().enumerate() {
            while let Err(error) = super::load::write_once(endpoint).await {
                if let Some(status) = self.children[i].try_wait()? {
                    let log = fs::read_to_string(self.folder.join(format!("m{i}.log")))?;
                    return Err(format!("member {i} ended with {status}:\n{log}").into());
                }
                if started.elapsed() > READY_WITHIN {
                    return Err(format!("{endpoint} is not ready: {error}").into());
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        Ok(())
    }

    /// User and system time of all members so far.
    pub fn cpu_seconds(&self) -> Result<f64, BoxError> {
        let hertz = rustix::param::clock_ticks_per_second() as f64;
        let mut ticks = 0;
        for child in &self.children {
            let stat = fs::read_to_string(format!("/proc/{}/stat", child.id()))?;
            // The command name, in parentheses, may hold spaces; utime and stime are the 12th and
            // 13th fields after it.
            let rest = stat
                .rsplit_once(')')
                .ok_or("/proc stat without a command name")?
                .1;
            let fields: Vec<&str> = rest.split_whitespace().collect();
            ticks += fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
        }
        Ok(ticks as f64 / hertz)
    }

    /// Resident memory of the largest member, in MiB.
    pub fn memory_mib(&self) -> Result<f64, BoxError> {
        let mut largest: f64 = 0.0;
        for child in &self.children {
            let status = fs::read_to_string(format!("/proc/{}/status", child.id()))?;
            let line = status.lines().find(|line| line.starts_with("VmRSS:"));
            let kib: f64 = line
                .and_then(|line| line.split_whitespace().nth(1))
                .ok_or("no VmRSS in /proc status")?
                .parse()?;
            largest = largest.max(kib / 1024.0);
        }
        Ok(largest)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for child in &mut self.children {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Ports that were free a moment ago: all are bound together so that they differ.
fn free_ports(n: usize) -> std::io::Result<Vec<u16>> {
    let listeners: Vec<TcpListener> = (0..n)
        .map(|_| TcpListener::bind("127.0.0.1:0"))
        .collect::<Result<_, _>>()?;
    listeners
        .iter()
        .map(|listener| Ok(listener.local_addr()?.port()))
        .collect()
}
