//! Members on small disks of their own, which can be filled up.

use crate::cluster::Cluster;
use crate::tools;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// What a full disk is made of: a member on a small disk of its own, in a mount namespace. When
/// the member ends, the disk gets room and the member starts again.
const SMALL_DISK: &str = r#"
mount -t tmpfs -o size="$DISK_SIZE" tmpfs "$0" || exit 90
"$@" && exit 91
rm "$0/ballast" || exit 92
exec "$@"
"#;

/// Runs `SMALL_DISK` with `data_dir` on it; killed with all that it started when it is dropped.
pub struct Confined {
    child: std::process::Child,
    data_dir: PathBuf,
}

impl Confined {
    /// The first member of `cluster` on a disk of `size`; nothing where `test` may be left out and
    /// this machine has no such disks.
    pub fn spawn(cluster: &Cluster, size: &str, test: &str) -> Option<Confined> {
        if !tools::has_small_disks() {
            let reason =
                "unshare cannot mount a disk of its own: allow unprivileged user namespaces";
            tools::missing(test, reason);
            return None;
        }
        let node = &cluster.nodes[0];
        fs::create_dir_all(&node.data_dir).expect("a folder");
        let child = Command::new("unshare")
            .args(tools::UNSHARE)
            .env("DISK_SIZE", size)
            .args(["sh", "-c", SMALL_DISK])
            .arg(&node.data_dir)
            .arg(node.program())
            .args(cluster.flags(0))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(node.open_log())
            .spawn()
            .expect("unshare starts");
        Some(Confined {
            child,
            data_dir: node.data_dir.clone(),
        })
    }

    /// The folder of the small disk: the way into another process's mounts.
    fn folder(&self) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.child.id()));
        root.join(self.data_dir.strip_prefix("/").expect("an absolute path"))
    }

    /// Leaves no more than `rest` bytes on the disk.
    pub fn fill_up(&self, rest: u64) {
        let folder = self.folder();
        let disk = rustix::fs::statvfs(&folder).expect("the small disk");
        let free = disk.f_bavail * disk.f_frsize;
        let mut ballast = File::create(folder.join("ballast")).expect("a file");
        let block = vec![0; 1 << 16];
        for _ in 0..free.saturating_sub(rest) / block.len() as u64 {
            ballast.write_all(&block).expect("room that was free");
        }
    }

    /// Frees what [`Confined::fill_up`] took.
    pub fn free(&self) {
        fs::remove_file(self.folder().join("ballast")).expect("the disk was filled");
    }
}

impl Drop for Confined {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
