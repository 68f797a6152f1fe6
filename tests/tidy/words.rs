//! Words that are out of place in a room.

use crate::Violation;
use crate::source::Source;

/// What a rule looks for.
enum Word {
    /// A path that begins with these segments.
    Path(&'static str),
    /// A call of this macro.
    Macro(&'static str),
    /// This identifier, wherever it stands.
    Name(&'static str),
    /// This attribute.
    Attribute(&'static str),
}

struct Rule {
    words: &'static [Word],
    /// Places where the words are out of place.
    rooms: &'static [&'static str],
    /// Places within these where they are not.
    but: &'static [&'static str],
    /// Whether the rule holds in tests only (`Some(true)`), outside of tests only, or everywhere.
    in_tests: Option<bool>,
    instead: &'static str,
}

use Word::{Attribute, Macro, Name, Path};

const EVERYWHERE: &[&str] = &["src/", "sim/", "ci/", "tests/"];
/// What runs inside a member, and so inside the simulator.
const MEMBER: &[&str] = &[
    "src/core/",
    "src/rt/",
    "src/wire/",
    "src/storage/",
    "src/peer/",
    "src/raft/",
    "src/driver/",
    "src/service/",
];
const SIMULATED: &[&str] = &[
    "src/core/",
    "src/wire/",
    "src/storage/",
    "src/peer/",
    "src/raft/",
    "src/driver/",
    "src/service/",
    "src/server/",
    "src/config/",
    "sim/",
];

const RULES: &[Rule] = &[
    Rule {
        words: &[Name("HashMap"), Name("HashSet"), Name("RandomState")],
        rooms: MEMBER,
        but: &[],
        in_tests: None,
        instead: "its order differs from run to run: use BTreeMap or BTreeSet",
    },
    Rule {
        words: &[Name("HashMap"), Name("HashSet"), Name("RandomState")],
        rooms: &["sim/"],
        but: &[
            // Asks only whether it has seen a state, millions of times.
            "sim/src/check/wing_gong/",
            // Tells of the keys themselves.
            "sim/src/run_thread.rs",
        ],
        in_tests: None,
        instead: "its order differs from run to run, and so would the trace: use BTreeMap or \
                  BTreeSet",
    },
    Rule {
        words: &[
            Path("std::time::Instant"),
            Path("std::time::SystemTime"),
            Path("std::time::UNIX_EPOCH"),
            Path("std::time::*"),
            Path("tokio::time"),
            Name("SystemTime"),
        ],
        rooms: SIMULATED,
        // Measure how long processes that simulate take, and simulate nothing themselves.
        but: &["sim/src/series/", "sim/src/bench/", "sim/src/shrink/"],
        in_tests: Some(false),
        instead: "a clock that the simulator does not own: take the time as an argument (core) or \
                  use detcd_rt's Instant, sleep and timeout",
    },
    Rule {
        words: &[
            Path("rand::thread_rng"),
            Name("OsRng"),
            Name("getrandom"),
            Path("rand::rng"),
            Path("rand::random"),
        ],
        rooms: EVERYWHERE,
        but: &["src/rt/"],
        in_tests: None,
        instead: "entropy that no seed repeats: take ids and seeds as arguments or use \
                  detcd_rt::random_u64",
    },
    Rule {
        words: &[
            Path("std::thread"),
            Path("tokio::spawn"),
            Path("tokio::task"),
        ],
        rooms: SIMULATED,
        but: &[
            "src/storage/store/fjall.rs",
            "src/storage/store/fjall/",
            // The real store's thread, which no simulation has.
            "src/storage/store/blocking.rs",
            // Starts the processes that simulate, and simulates nothing itself.
            "sim/src/series/",
            // The one thread of a run.
            "sim/src/run_thread.rs",
            // Looks at the simulation from outside, and touches nothing.
            "sim/src/bench/",
            "sim/src/shrink/",
        ],
        in_tests: Some(false),
        instead: "a thread or task that the simulator does not schedule: use detcd_rt::spawn or \
                  spawn_io",
    },
    Rule {
        words: &[Path("std::env"), Path("std::fs"), Path("std::net")],
        rooms: &[
            "src/core/",
            "src/wire/",
            "src/peer/",
            "src/raft/",
            "src/driver/",
            "src/service/",
        ],
        but: &["src/wire/build.rs", "src/peer/tonic/"],
        in_tests: Some(false),
        instead: "a look at the machine: files go through storage's Disk, connections through \
                  peer's Transport, settings come in as values",
    },
    Rule {
        words: &[Path("std::env")],
        rooms: &["src/storage/", "src/server/", "src/rt/"],
        but: &[],
        in_tests: Some(false),
        instead: "a setting from nowhere: settings come in as values, which config reads",
    },
    Rule {
        words: &[Name("madsim")],
        rooms: EVERYWHERE,
        but: &["src/rt/", "sim/"],
        in_tests: None,
        instead: "production and simulation are to run the same code: what differs is hidden in \
                  src/rt, behind one function for both",
    },
    Rule {
        words: &[
            Macro("println"),
            Macro("print"),
            Macro("eprintln"),
            Macro("eprint"),
        ],
        rooms: &[
            "src/core/",
            "src/rt/",
            "src/wire/",
            "src/storage/",
            "src/peer/",
            "src/raft/",
            "src/driver/",
            "src/service/",
            "src/server/",
            "src/config/",
        ],
        but: &["src/wire/build.rs"],
        in_tests: Some(false),
        instead: "a library does not own the terminal: use tracing, or return what is to be said",
    },
    Rule {
        words: &[Macro("tracing"), Path("tracing")],
        rooms: &["src/core/"],
        but: &[],
        in_tests: None,
        instead: "the core does not log: give an Effect or an Error that the driver can log",
    },
    Rule {
        words: &[Macro("todo"), Macro("unimplemented"), Macro("dbg")],
        rooms: EVERYWHERE,
        but: &[],
        in_tests: None,
        instead: "finish it, or leave it out and say so in the change's description",
    },
    Rule {
        words: &[Attribute("ignore")],
        rooms: EVERYWHERE,
        but: &[],
        in_tests: None,
        instead: "a test that does not run proves nothing: make it run or remove it",
    },
    Rule {
        words: &[
            Path("std::thread::sleep"),
            Path("thread::sleep"),
            Path("tokio::time::sleep"),
        ],
        rooms: EVERYWHERE,
        but: &["src/rt/"],
        in_tests: Some(true),
        instead: "a sleep is too short on one machine and too long on all others: wait for the \
                  condition, with a deadline",
    },
];

pub fn violations(source: &Source) -> Vec<Violation> {
    let paths = source.paths();
    let mut found = unbiased_selects(source);
    found.extend(panicking_prints(source, &paths));
    for rule in RULES {
        if !source.is_in(rule.rooms) || source.is_in(rule.but) {
            continue;
        }
        for word in rule.words {
            let is_in_place = |line| {
                rule.in_tests
                    .is_some_and(|tests| tests != source.is_test(line))
            };
            let lines = lines(source, &paths, word);
            let out_of_place = lines.into_iter().filter(|(line, _)| !is_in_place(*line));
            found.extend(out_of_place.map(|(line, what)| Violation {
                path: source.path.clone(),
                line,
                instead: format!("{what}: {}", rule.instead),
            }));
        }
    }
    found
}

fn lines(source: &Source, paths: &[(usize, String)], word: &Word) -> Vec<(usize, String)> {
    let follows = |texts: &[&str]| -> Vec<usize> {
        let tokens = source.tokens.windows(texts.len());
        tokens
            .filter(|window| {
                window
                    .iter()
                    .map(|token| &token.text[..])
                    .eq(texts.iter().copied())
            })
            .map(|window| window[0].line)
            .collect()
    };
    let (lines, what) = match word {
        Word::Name(name) => (follows(&[name]), (*name).to_string()),
        Word::Macro(name) => (follows(&[name, "!"]), format!("{name}!")),
        Word::Attribute(name) => (follows(&["#", "[", name]), format!("#[{name}]")),
        Word::Path(prefix) => {
            let is_below = |path: &str| {
                path.strip_prefix(prefix)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
            };
            let lines = paths
                .iter()
                .filter(|(_, path)| is_below(path))
                .map(|(line, _)| *line);
            (lines.collect(), (*prefix).to_string())
        }
    };
    lines.into_iter().map(|line| (line, what.clone())).collect()
}

/// What ends a program that nobody listens to any more with a panic.
fn panicking_prints(source: &Source, paths: &[(usize, String)]) -> Vec<Violation> {
    // The other rooms own no terminal at all.
    const PROGRAMS: &[&str] = &[
        "src/bin/",
        "src/bench/",
        "src/ctl/",
        "src/daemon/",
        "sim/src/",
        "ci/",
    ];
    if !source.is_in(PROGRAMS) {
        return Vec::new();
    }
    let printed = ["print", "println", "eprint", "eprintln"].into_iter();
    let printed = printed.filter(|name| {
        let ours = format!("detcd_out::{name}");
        !paths.iter().any(|(_, path)| *path == ours)
    });
    let printed = printed.flat_map(|name| lines(source, paths, &Macro(name)));
    let in_programs = printed.filter(|(line, _)| !source.is_test(*line));
    in_programs
        .map(|(line, what)| Violation {
            path: source.path.clone(),
            line,
            instead: format!("{what}: std's panics when nobody reads any more: use detcd_out's"),
        })
        .collect()
}

fn unbiased_selects(source: &Source) -> Vec<Violation> {
    let is_unbiased = |window: &[crate::source::Token]| {
        let texts: Vec<&str> = window.iter().map(|token| &token.text[..]).collect();
        matches!(texts[..], ["select", "!", "{" | "(", first] if first != "biased")
    };
    source
        .tokens
        .windows(4)
        .filter(|window| is_unbiased(window))
        .map(|window| Violation {
            path: source.path.clone(),
            line: window[0].line,
            instead: "select! without `biased;` draws its own random order: write `biased;` first \
                      and order the arms by what must not starve"
                .into(),
        })
        .collect()
}
