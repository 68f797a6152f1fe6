//! What comments and docs name as a file is there.

use crate::Violation;
use crate::source::Text;
use std::collections::BTreeSet;

/// Endings of the files that are cited.
const ENDINGS: &[&str] = &[".rs", ".md", ".toml", ".py", ".txt", ".yml", ".sh"];

/// Files that the commands of the docs write.
const WRITTEN_BY_COMMANDS: &[&str] = &["lost.toml", "small.toml"];

/// What is cited and not among `files`.
pub fn violations(text: &Text, files: &BTreeSet<String>) -> Vec<Violation> {
    let mut found = Vec::new();
    for (line, number) in text.text.lines().zip(1..) {
        let prose = match text.path.ends_with(".rs") {
            true => line.split_once("//").map_or("", |(_, comment)| comment),
            false => line,
        };
        for cited in cited(prose) {
            if !is_there(&cited, &text.path, files) {
                found.push(Violation {
                    path: text.path.clone(),
                    line: number,
                    instead: format!(
                        "{cited}: there is no such file here: cite what is, or say it"
                    ),
                });
            }
        }
    }
    found
}

/// What a document says to stand in a file, as `file.rs: name`, and does not.
pub fn missing_names(text: &Text, sources: &[Text]) -> Vec<Violation> {
    if !text.path.ends_with(".md") {
        return Vec::new();
    }
    // A span may go on in the next line.
    let spans = text.text.split('`').enumerate();
    let spans = spans.filter(|(at, _)| at % 2 == 1);
    let mut found = Vec::new();
    for (at, span) in spans {
        let joined = span.split_whitespace().collect::<Vec<&str>>().join(" ");
        let Some((file, name)) = joined.split_once(".rs: ") else {
            continue;
        };
        let name = name.rsplit("::").next().unwrap_or_default();
        let ending = format!("{file}.rs");
        let mut named = sources
            .iter()
            .filter(|source| source.path.ends_with(&ending));
        if !named.any(|source| declares(&source.text, name)) {
            let before: String = text.text.split('`').take(at).collect();
            found.push(Violation {
                path: text.path.clone(),
                line: 1 + before.matches('\n').count(),
                instead: format!("{joined}: there is no such function or type in that file"),
            });
        }
    }
    found
}

fn declares(source: &str, name: &str) -> bool {
    ["fn", "struct", "enum", "trait", "type"]
        .iter()
        .any(|kind| {
            let declaration = format!("{kind} {name}");
            source.match_indices(&declaration).any(|(at, _)| {
                let next = source[at + declaration.len()..].chars().next();
                !next.is_some_and(|char| char.is_alphanumeric() || char == '_')
            })
        })
}

/// The paths of files in a line. Patterns and placeholders (`*`, `NAME.toml`) are none.
fn cited(prose: &str) -> Vec<String> {
    let is_part = |char: char| char.is_alphanumeric() || "_./*{}-<>".contains(char);
    let words = prose.split(|char| !is_part(char));
    let words = words.map(|word| from_here(word).trim_end_matches('.'));
    let is_path = |word: &&str| {
        let ends = ENDINGS.iter().any(|ending| {
            word.strip_suffix(ending)
                .is_some_and(|stem| stem.ends_with(char::is_alphanumeric))
        });
        let name = word.rsplit('/').next().unwrap_or_default();
        let stem = name.split('.').next().unwrap_or_default();
        let is_placeholder = stem.len() > 1
            && !word.ends_with(".md")
            && stem.chars().all(|char| char.is_uppercase() || char == '_');
        ends && !is_placeholder && !word.contains(['*', '{', '}', '<', '>'])
    };
    // Addresses on the network are not ours.
    let is_address = |word: &&str| prose.contains(&format!("://{word}")) || word.contains(".com/");
    let paths = words.filter(is_path).filter(|word| !is_address(word));
    paths.map(str::to_owned).collect()
}

/// A path without the way up from its file.
fn from_here(mut path: &str) -> &str {
    while let Some(rest) = ["../", "./", "/"]
        .iter()
        .find_map(|up| path.strip_prefix(up))
    {
        path = rest;
    }
    path
}

/// Whether a path, from the root, from the file that cites it or of any folder, is of a file.
fn is_there(cited: &str, from: &str, files: &BTreeSet<String>) -> bool {
    let folder = from.rsplit_once('/').map_or("", |(folder, _)| folder);
    let beside = format!("{folder}/{cited}");
    let below = format!("/{cited}");
    files.contains(cited)
        || files.contains(&beside)
        || files.iter().any(|file| file.ends_with(&below))
        || WRITTEN_BY_COMMANDS.contains(&cited)
}

#[test]
fn files_that_are_not_there_are_found() {
    let files: BTreeSet<String> = ["docs/a.md", "src/core/mod.rs", ".cargo/config.toml"]
        .map(str::to_owned)
        .into();
    let found = |path: &str, line: &str| {
        let text = Text {
            path: path.to_owned(),
            text: line.to_owned(),
        };
        let found = violations(&text, &files).into_iter();
        found
            .map(|violation| violation.instead.split(':').next().unwrap_or("").to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        found("src/x.rs", "// See ../shared/STYLE.md."),
        ["shared/STYLE.md"]
    );
    assert_eq!(
        found("src/x.rs", "//! as in core/mod.rs and docs/a.md"),
        [""; 0]
    );
    assert_eq!(found("src/x.rs", "let x = \"b.md\";"), [""; 0]);
    assert_eq!(
        found("docs/a.md", "in `.cargo/config.toml`, `x.rs`"),
        ["x.rs"]
    );
    assert_eq!(
        found("docs/a.md", "`scenarios/NAME.toml`, `tests/*.txt`"),
        [""; 0]
    );
    assert_eq!(found("docs/a.md", "https://etcd.io/a/b.md"), [""; 0]);
}

#[test]
fn names_that_are_not_in_their_files_are_found() {
    let text = |path: &str, text: &str| Text {
        path: path.to_owned(),
        text: text.to_owned(),
    };
    let sources = [text(
        "src/driver/run.rs",
        "impl Loop { fn forward(&self) {} }",
    )];
    let found = |line: &str| missing_names(&text("docs/a.md", line), &sources).len();
    assert_eq!(
        found("`driver/run.rs: Loop::forward` and `run.rs: forward`"),
        0
    );
    assert_eq!(found("`driver/run.rs:\n  forward`"), 0);
    assert_eq!(
        found("`driver/run.rs: back`, `driver/other.rs: forward`"),
        2
    );
    assert_eq!(found("`driver/run.rs: forw`"), 1);
}
