//! Who may import whom (docs/architecture.md): crates that only some places name.

use crate::Violation;
use crate::source::Source;

struct Border {
    /// The crate or module, as code names it.
    name: &'static str,
    /// Who may name it.
    allowed: &'static [&'static str],
    instead: &'static str,
}

const BORDERS: &[Border] = &[
    Border {
        name: "openraft",
        allowed: &["src/raft/"],
        instead: "only src/raft names openraft: ask it through RaftNode",
    },
    Border {
        name: "openraft_rt",
        allowed: &["src/raft/"],
        instead: "only src/raft names openraft: ask it through RaftNode",
    },
    Border {
        name: "fjall",
        // The module's parent names the file, not the crate.
        allowed: &[
            "src/storage/store/error.rs",
            "src/storage/store/fjall.rs",
            "src/storage/store/fjall/",
            "src/storage/store/mod.rs",
        ],
        instead: "only src/storage/store/fjall.rs names fjall: use the Store trait",
    },
    Border {
        name: "lsm_tree",
        allowed: &["src/storage/store/fjall/"],
        instead: "only src/storage/store/fjall.rs names fjall: use the Store trait",
    },
    Border {
        name: "detcd_raft",
        // Not the driver's handles: what they show is core's, or the driver's own.
        allowed: &[
            "src/raft/",
            "src/driver/engine.rs",
            "src/driver/member.rs",
            "src/driver/reconfig.rs",
            "src/driver/restored.rs",
            "src/driver/meter.rs",
            "sim/",
        ],
        instead: "raft is the driver's business: use the driver's Handle",
    },
    Border {
        name: "detcd_storage",
        allowed: &[
            "src/storage/",
            "src/raft/",
            "src/driver/",
            "src/bin/",
            "src/lib.rs",
            "src/daemon/",
            "src/utl/",
            "sim/",
            "tests/",
        ],
        instead: "the server sees the driver's Handle, never the store: move what you need there",
    },
    Border {
        name: "detcd_driver",
        allowed: &[
            "src/driver/",
            "src/service/",
            "src/server/",
            "src/bin/",
            "src/lib.rs",
            "src/daemon/",
            "sim/",
            "tests/",
        ],
        instead: "only what stands above the driver may import it: move the shared part down",
    },
    Border {
        name: "detcd_service",
        // The program gives the service its kind of tokens.
        allowed: &[
            "src/service/",
            "src/server/",
            "src/daemon/",
            "sim/",
            "tests/",
        ],
        instead: "only what carries etcd's API to clients may import it: move the shared part down",
    },
    Border {
        name: "detcd_sim",
        allowed: &["sim/"],
        instead: "nothing imports the simulator: what both need moves into the library",
    },
    Border {
        name: "detcd_bench",
        allowed: &["src/bench/", "src/bin/detcd.rs"],
        instead: "the server does without the load generator: only the command `detcd bench` runs it",
    },
    Border {
        name: "detcd_ci",
        allowed: &["ci/"],
        instead: "nothing imports the gates",
    },
    Border {
        name: "crate::server",
        allowed: &[
            "src/server/",
            "src/bin/",
            "src/lib.rs",
            "src/daemon/",
            // `crate` is the simulator there, which has a server of its own.
            "sim/",
        ],
        instead: "the server is above this room: move the shared part down",
    },
];

/// What src/config may name besides itself: it turns words into one value, and knows nobody.
const CONFIG_MAY: &[&str] = &["detcd_core", "detcd_config"];

/// What src/service may not name: it is the same for every transport.
const TRANSPORTS: &[&str] = &["tonic", "hyper", "h2", "http", "http_body", "axum", "tower"];

pub fn violations(source: &Source) -> Vec<Violation> {
    let mut found = Vec::new();
    for (line, path) in source.paths() {
        let instead = BORDERS
            .iter()
            .find(|border| is_below(&path, border.name))
            .filter(|border| !source.is_in(border.allowed))
            .map(|border| border.instead)
            .or_else(|| config(source, &path))
            .or_else(|| service(source, &path));
        if let Some(instead) = instead {
            let instead = format!("{path}: {instead}");
            found.push(Violation {
                path: source.path.clone(),
                line,
                instead,
            });
        }
    }
    found
}

fn config(source: &Source, path: &str) -> Option<&'static str> {
    let first = path.split("::").next().expect("a path has segments");
    let stranger = first.starts_with("detcd_") && !CONFIG_MAY.contains(&first)
        || ["tonic", "axum", "tokio", "openraft", "hyper"].contains(&first)
        || first == "crate" && !is_below(path, "crate::config");
    (source.is_in(&["src/config/"]) && stranger)
        .then_some("config knows clap, serde and the core's types only: give it values")
}

fn service(source: &Source, path: &str) -> Option<&'static str> {
    let first = path.split("::").next().expect("a path has segments");
    (source.is_in(&["src/service/"]) && TRANSPORTS.contains(&first))
        .then_some("the service knows no transport: translate in the framing, src/server")
}

fn is_below(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}
