//! Source files as the rules see them: code without comments and the insides of strings.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Where the workspace is.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .canonicalize()
        .expect("the workspace")
}

/// A file of the workspace, by its path from the root.
pub fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[derive(Debug, PartialEq, Eq)]
pub struct Token {
    pub line: usize,
    /// An identifier or number, `::`, or one character of punctuation.
    pub text: String,
}

#[derive(Debug)]
pub struct Source {
    /// From the root, with forward slashes.
    pub path: String,
    pub lines: usize,
    pub tokens: Vec<Token>,
    /// Where a module of tests begins.
    tests_from: Option<usize>,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Source {
        let tokens = tokens(&code(text));
        const TESTS: [&str; 8] = ["#", "[", "cfg", "(", "test", ")", "]", "mod"];
        let tests_from = tokens
            .windows(TESTS.len())
            .find(|window| window.iter().map(|token| &token.text[..]).eq(TESTS))
            .map(|window| window[0].line);
        Source {
            path: path.into(),
            lines: text.lines().count(),
            tokens,
            tests_from,
        }
    }

    /// Whether the file is in one of these folders (or is one of these files).
    pub fn is_in(&self, places: &[&str]) -> bool {
        places.iter().any(|place| self.path.starts_with(place))
    }

    /// Whether the line belongs to tests: all of a file of tests, and a module of tests, which
    /// stands last in its file.
    pub fn is_test(&self, line: usize) -> bool {
        let is_file = self.is_in(&["tests/"])
            || self.path.contains("/tests/")
            || self.path.contains("/examples/")
            || self.path.ends_with("tests.rs");
        is_file || self.tests_from.is_some_and(|from| line >= from)
    }

    /// Every path of two or more segments, with groups expanded: `a::{b, c::d}` is `a::b` and
    /// `a::c::d`.
    pub fn paths(&self) -> Vec<(usize, String)> {
        let mut found = Vec::new();
        let mut at = 0;
        while at < self.tokens.len() {
            at = self.path_at(at, "", &mut found);
        }
        found
    }

    /// Reads the path that begins at `at`, if one does; returns where to go on.
    fn path_at(&self, mut at: usize, prefix: &str, found: &mut Vec<(usize, String)>) -> usize {
        let text = |at: usize| self.tokens.get(at).map_or("", |token| &token.text[..]);
        let line = self.tokens[at].line;
        if !is_word(text(at)) && text(at) != "*" {
            return at + 1;
        }
        let mut path = format!("{prefix}{}", text(at));
        at += 1;
        while text(at) == "::" {
            let next = text(at + 1);
            if is_word(next) || next == "*" {
                path = format!("{path}::{next}");
                at += 2;
            } else if next == "{" {
                at += 2;
                while at < self.tokens.len() && text(at) != "}" {
                    at = self.path_at(at, &format!("{path}::"), found);
                }
                return at + 1;
            } else {
                at += 1;
                break;
            }
        }
        if path.contains("::") {
            found.push((line, path));
        }
        at
    }
}

/// All Rust sources of the workspace, in order.
pub fn sources() -> Vec<Source> {
    let root = root();
    let mut paths = Vec::new();
    for folder in ["src", "sim", "ci", "tests"] {
        collect(&root.join(folder), &mut paths);
    }
    paths.sort();
    let from_root = |path: &PathBuf| path.strip_prefix(&root).unwrap().display().to_string();
    paths
        .iter()
        .map(from_root)
        .map(|path| Source::new(&path, &read(&path)))
        .collect()
}

/// A file as it stands, with its comments.
pub struct Text {
    /// From the root, with forward slashes.
    pub path: String,
    pub text: String,
}

impl Text {
    /// Whether the file is in one of these folders (or is one of these files).
    pub fn is_in(&self, places: &[&str]) -> bool {
        places.iter().any(|place| self.path.starts_with(place))
    }
}

/// Every file of the repository, by its path from the root.
pub fn files() -> BTreeSet<String> {
    let root = root();
    let mut paths = Vec::new();
    walk(&root, &mut paths);
    let from_root = |path: PathBuf| path.strip_prefix(&root).unwrap().display().to_string();
    paths.into_iter().map(from_root).collect()
}

/// What people read: sources, docs, manifests and scripts; not what was recorded, and not the
/// changelog, which tells of what was.
pub fn texts() -> Vec<Text> {
    const ENDINGS: &[&str] = &[".rs", ".md", ".toml", ".py", ".yml", ".ci/run", ".ci/tools"];
    let is_text = |path: &String| {
        let is_ours = !path.starts_with("tests/golden/") && path != "CHANGELOG.md";
        is_ours && ENDINGS.iter().any(|ending| path.ends_with(ending))
    };
    let paths = files().into_iter().filter(is_text);
    paths
        .map(|path| Text {
            text: read(&path),
            path,
        })
        .collect()
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    let mut all = Vec::new();
    walk(folder, &mut all);
    let is_rust = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "rs");
    paths.extend(all.into_iter().filter(is_rust));
}

/// All files below a folder but what is built and what git keeps.
fn walk(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a readable folder") {
        let path = entry.expect("a readable folder").path();
        if !path.is_dir() {
            paths.push(path);
        } else if !path.ends_with("target") && !path.ends_with(".git") {
            walk(&path, paths);
        }
    }
}

pub fn is_word(text: &str) -> bool {
    text.starts_with(|char: char| char.is_alphanumeric() || char == '_')
}

/// The text with comments, and what strings and characters hold, replaced by blanks.
fn code(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::new();
    let mut at = 0;
    while at < chars.len() {
        let end = skipped(&chars, at);
        if end == at {
            out.push(chars[at]);
            at += 1;
            continue;
        }
        // Lines are kept, so that places stay right.
        out.extend(
            chars[at..end]
                .iter()
                .map(|char| if *char == '\n' { '\n' } else { ' ' }),
        );
        at = end;
    }
    out
}

/// Where what is not code, and begins at `at`, ends; `at` if code is there.
fn skipped(chars: &[char], at: usize) -> usize {
    let get = |at: usize| chars.get(at).copied().unwrap_or('\0');
    let is_in_word = at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_');
    match (get(at), get(at + 1)) {
        ('/', '/') => find(chars, at, "\n"),
        ('/', '*') => block_comment(chars, at),
        ('r', '"' | '#') if !is_in_word => raw_string(chars, at + 1).unwrap_or(at),
        ('"', _) => string(chars, at),
        // A character; a lifetime has no second quote there.
        ('\'', '\\') => (at + 3..chars.len())
            .find(|at| chars[*at] == '\'')
            .map_or(at, |at| at + 1),
        ('\'', _) if get(at + 2) == '\'' => at + 3,
        _ => at,
    }
}

fn find(chars: &[char], from: usize, what: &str) -> usize {
    let what: Vec<char> = what.chars().collect();
    (from..chars.len())
        .find(|at| chars[*at..].starts_with(&what))
        .unwrap_or(chars.len())
}

fn block_comment(chars: &[char], from: usize) -> usize {
    let (mut at, mut depth) = (from, 0);
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => (at, depth) = (at + 2, depth + 1),
            ('*', Some('/')) => (at, depth) = (at + 2, depth - 1),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn string(chars: &[char], from: usize) -> usize {
    let mut at = from + 1;
    while at < chars.len() && chars[at] != '"' {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

/// The end of a raw string whose hashes or quote stand at `from`; `None` if it is a raw identifier.
fn raw_string(chars: &[char], from: usize) -> Option<usize> {
    let hashes = chars[from..]
        .iter()
        .take_while(|char| **char == '#')
        .count();
    (chars.get(from + hashes) == Some(&'"')).then(|| {
        let end: String = std::iter::once('"')
            .chain(std::iter::repeat_n('#', hashes))
            .collect();
        find(chars, from + hashes + 1, &end) + end.len()
    })
}

fn tokens(code: &str) -> Vec<Token> {
    let mut tokens: Vec<Token> = Vec::new();
    for (number, line) in code.lines().enumerate() {
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next() {
            let len = if is_word(rest) {
                rest.find(|char: char| !char.is_alphanumeric() && char != '_')
                    .unwrap_or(rest.len())
            } else if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            tokens.push(Token {
                line: number + 1,
                text: rest[..len].into(),
            });
            rest = rest[len..].trim_start();
        }
    }
    tokens
}
