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

/// The paths of files in a line. Patterns and placeholders (`*`, `NAME.toml`) are none.
fn cited(prose: &str) -> Vec<String> {
    let is_part = |char: char| char.is_alphanumeric() || "_./*{}-<>".contains(char);
    let words = prose.split(|char| !is_part(char));
    let words = words.map(|word| word.trim_start_matches(['.', '/']).trim_end_matches('.'));
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
