//! The house keeps its shape: who may import whom, which words are out of place where, and what
//! every manifest says. A violation is reported with its place and with what to do instead.

mod citations;
mod forged;
mod imports;
mod manifests;
mod plain;
mod rules;
mod source;
mod words;

use source::{Source, root, sources};

/// Something out of place.
#[derive(Debug, PartialEq, Eq)]
pub struct Violation {
    pub path: String,
    pub line: usize,
    pub instead: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.instead)
    }
}

/// Everything that is wrong with one file.
fn inspect(source: &Source) -> Vec<Violation> {
    let mut found = words::violations(source);
    found.extend(imports::violations(source));
    found.extend(rules::length(source));
    found.extend(rules::no_std(source));
    found.sort_by_key(|violation| violation.line);
    found
}

fn assert_none(found: &[Violation]) {
    let lines: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert!(found.is_empty(), "\n{}\n", lines.join("\n"));
}

#[test]
fn sources_are_tidy() {
    let sources = sources();
    assert!(sources.len() > 50, "only {} sources found", sources.len());
    let found: Vec<Violation> = sources.iter().flat_map(inspect).collect();
    assert_none(&found);
}

#[test]
fn manifests_are_tidy() {
    let found: Vec<Violation> = manifests::paths()
        .iter()
        .flat_map(|path| manifests::violations(path, &source::read(path)))
        .collect();
    assert_none(&found);
}

#[test]
fn words_are_plain() {
    let found: Vec<Violation> = source::texts().iter().flat_map(plain::violations).collect();
    assert_none(&found);
}

#[test]
fn cited_files_are_there() {
    let texts = source::texts();
    let files = source::files();
    let cited = texts.iter().filter(|text| !text.is_in(&["tests/tidy/"]));
    let found = cited.flat_map(|text| {
        let mut found = citations::violations(text, &files);
        found.extend(citations::missing_names(text, &texts));
        found
    });
    assert_none(&found.collect::<Vec<Violation>>());
}

#[test]
fn engines_are_pinned() {
    let read = |name: &str| std::fs::read_to_string(root().join(name)).expect("a readable file");
    assert_none(&manifests::unpinned(
        &read("Cargo.toml"),
        &read("Cargo.lock"),
    ));
}
