//! Plain words: names, comments and docs use the nouns of etcd, of Raft and of the field. A reader
//! whose English is plain must understand each at once, so metaphors are refused.

use crate::Violation;
use crate::source::Text;

/// A word that is refused wherever it stands, also within a name, and what to write instead.
const METAPHORS: &[(&str, &str)] = &[
    ("belonging", "membership, or admission of a member"),
    ("acquaintance", "a known log, or a known member"),
    ("farewell", "the reason of a shutdown"),
    ("forgetful", "a member that lost its data"),
    ("amnesia", "a member that lost its data"),
    ("hello", "the handshake"),
    ("sensing", "what is observed"),
    ("steward", "the task, by what it does"),
    ("keeper", "the lessor"),
    ("office", "the leader's part"),
    ("taste", "the kind of a choice"),
    ("seat", "the place, or the slot"),
    ("census", "the count"),
    ("patience", "the time-out or the deadline"),
    ("upkeep", "maintenance"),
    ("linger", "to wait, or to delay"),
    ("lingers", "to wait, or to delay"),
    ("lingering", "to wait, or to delay"),
    ("door", "admission, or who may import what"),
    ("chronicle", "the history"),
    ("evidence", "the facts of a history"),
    ("insight", "the view of a node"),
    ("ledger", "the record of what was acknowledged"),
    ("outlook", "the view of a node"),
    ("vault", "the synced state"),
    ("platter", "the simulated medium"),
    ("gatherer", "the buffered writer"),
];

/// Types that need the subject in their names.
const BARE_TYPES: &[&str] = &["Answer", "Change", "Standing"];

/// Where words are read by people.
const CHECKED: &[&str] = &[
    "README.md",
    "ci/",
    "docs/",
    "scenarios/",
    "sim/",
    "src/",
    "tests/",
];

/// Files that may name them: this one lists them, recorded words are etcd's own, the articles' inputs
/// stand as they were written, and two workloads draw from streams of random numbers of such names,
/// which scenarios were found with.
const EXEMPT: &[&str] = &[
    "tests/tidy/plain.rs",
    "tests/golden/",
    "tests/seeds/",
    "sim/src/workload/session.rs",
    "sim/src/workload/watch.rs",
];

pub fn violations(text: &Text) -> Vec<Violation> {
    if !text.is_in(CHECKED) || text.is_in(EXEMPT) {
        return Vec::new();
    }
    let lines = text.text.lines().zip(1..);
    let found = lines.flat_map(|(line, number)| {
        let words = words(line);
        let metaphors = words.iter().filter_map(|word| metaphor(word));
        let metaphors = metaphors.map(|(word, instead)| {
            format!("{word}: a metaphor: name the thing itself, such as {instead}")
        });
        let bare = bare_type(line).map(|name| {
            format!("{name}: a type of that name says nothing: put its subject before it")
        });
        let all: Vec<String> = metaphors.chain(bare).collect();
        all.into_iter().map(move |instead| (number, instead))
    });
    let found = found.map(|(line, instead)| Violation {
        path: text.path.clone(),
        line,
        instead,
    });
    found.collect()
}

/// The words of a line, in lower case: names in snake case and in camel case are taken apart.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut was_lower = false;
    for char in line.chars() {
        if !char.is_alphabetic() || (char.is_uppercase() && was_lower) {
            words.push(String::new());
        }
        if char.is_alphabetic() {
            words
                .last_mut()
                .expect("one at least")
                .extend(char.to_lowercase());
        }
        was_lower = char.is_lowercase();
    }
    words.retain(|word| !word.is_empty());
    words
}

fn metaphor(word: &str) -> Option<(&'static str, &'static str)> {
    let singular = word.strip_suffix('s').unwrap_or(word);
    let mut all = METAPHORS.iter();
    all.find(|(metaphor, _)| [word, singular].contains(metaphor))
        .copied()
}

/// The name of a type that a line declares, if it is one of [`BARE_TYPES`].
fn bare_type(line: &str) -> Option<&'static str> {
    let mut words = line.split(|char: char| !char.is_alphanumeric() && char != '_');
    words.find(|word| ["struct", "enum", "type", "trait"].contains(word))?;
    let name = words.next()?;
    BARE_TYPES.iter().find(|bare| **bare == name).copied()
}

#[test]
fn metaphors_are_found_within_names_and_comments() {
    let found = |path: &str, text: &str| {
        let text = Text {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        let found = violations(&text).into_iter();
        found
            .map(|violation| (violation.line, violation.instead))
            .map(|(line, instead)| format!("{line} {}", instead.split(':').next().unwrap_or("")))
            .collect::<Vec<_>>()
    };
    assert_eq!(found("ci/x.rs", "\nfn ask_steward() {}"), ["2 steward"]);
    assert_eq!(found("ci/x.rs", "struct LeaseKeepers;"), ["1 keeper"]);
    assert_eq!(found("ci/x.rs", "// It lingers."), ["1 linger"]);
    assert_eq!(found("ci/x.rs", "pub enum Answer {"), ["1 Answer"]);
    assert_eq!(found("ci/x.rs", "struct WatchAnswer;"), [""; 0]);
    assert_eq!(found("ci/x.rs", "// It is in doorstep."), [""; 0]);
    assert_eq!(found("target/x.rs", "// A steward."), [""; 0]);
}
