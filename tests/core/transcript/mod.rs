//! Transcripts: tests as text. A file is a sequence of commands, each with everything that was
//! observed:
//!
//! ```text
//! # Prose says what the reader should look for.
//! command positional key=value key="with spaces"
//! optional input lines
//! ----
//! the whole output, up to the next empty line
//! ```
//!
//! `UPDATE=1 cargo test` rewrites the outputs; the diff is what gets reviewed. Files whose names
//! begin with `etcd-` were recorded from etcd itself: nothing but a new recording changes them.

use std::fmt::{Debug, Write as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// One command of a transcript.
#[allow(
    dead_code,
    reason = "each subject's runner uses the part that it needs"
)]
pub struct Command {
    pub name: String,
    /// The lines between the command line and `----`.
    pub input: String,
    /// `file:line`, for messages.
    pub at: String,
    words: Vec<String>,
    options: Vec<(String, String)>,
}

#[allow(
    dead_code,
    reason = "each subject's runner uses the part that it needs"
)]
impl Command {
    /// The value of `key=…`, if given.
    pub fn get<T: FromStr<Err: Debug>>(&self, key: &str) -> Option<T> {
        let (_, value) = self.options.iter().find(|(name, _)| name == key)?;
        Some(self.parse(value))
    }

    /// The value of `key=…`.
    pub fn need<T: FromStr<Err: Debug>>(&self, key: &str) -> T {
        self.get(key)
            .unwrap_or_else(|| panic!("{}: {key}=… is missing", self.at))
    }

    /// The value of `key=…`, or `default`.
    pub fn or<T: FromStr<Err: Debug>>(&self, key: &str, default: T) -> T {
        self.get(key).unwrap_or(default)
    }

    /// The comma-separated values of `key=…`; none if it is not given.
    pub fn list<T: FromStr<Err: Debug>>(&self, key: &str) -> Vec<T> {
        let values: String = self.or(key, String::new());
        values
            .split(',')
            .filter(|value| !value.is_empty())
            .map(|value| self.parse(value))
            .collect()
    }

    /// Whether the bare word `word` stands among the arguments.
    pub fn flag(&self, word: &str) -> bool {
        self.words.iter().any(|given| given == word)
    }

    /// The bare words, in order.
    pub fn words(&self) -> &[String] {
        &self.words
    }

    /// The bare word at `position`, parsed.
    pub fn word<T: FromStr<Err: Debug>>(&self, position: usize) -> T {
        let word = self.words.get(position);
        self.parse(word.unwrap_or_else(|| panic!("{}: argument {position} is missing", self.at)))
    }

    fn parse<T: FromStr<Err: Debug>>(&self, text: &str) -> T {
        text.parse()
            .unwrap_or_else(|error| panic!("{}: {text:?}: {error:?}", self.at))
    }
}

/// Runs every `*.txt` in `tests/core/<folder>`, each on a fresh runner from `start`, and compares
/// or rewrites the outputs. A runner turns a command into all that can be observed after it;
/// nothing observed is `ok`.
pub fn run<R: FnMut(&Command) -> String>(folder: &str, mut start: impl FnMut() -> R) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/core")
        .join(folder);
    let update = std::env::var_os("UPDATE").is_some();
    let files = transcripts(&root);
    assert!(!files.is_empty(), "no transcripts in {}", root.display());
    let mut differing = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).expect("a readable transcript");
        let name = format!(
            "tests/core/{folder}/{}",
            file.file_name().unwrap().to_string_lossy()
        );
        let rewritten = replay(&name, &text, start());
        if rewritten == text {
            continue;
        }
        let difference = first_difference(&name, &text, &rewritten);
        match (is_recorded(&file), update) {
            (false, true) => std::fs::write(&file, rewritten).expect("a writable transcript"),
            (false, false) => differing.push(format!(
                "{difference}\n  (UPDATE=1 rewrites it; review the diff)"
            )),
            (true, _) => differing.push(format!("{difference}\n  ({RECORDED})")),
        }
    }
    assert!(
        differing.is_empty(),
        "transcripts differ:\n{}",
        differing.join("\n")
    );
}

const RECORDED: &str = "recorded from etcd, which UPDATE=1 does not rewrite: mend the code";

/// Whether etcd itself wrote the outputs.
fn is_recorded(file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with("etcd-")
}

#[test]
fn recorded_transcripts_are_told_by_their_names() {
    assert!(is_recorded(Path::new("tests/core/kv/etcd-corners.txt")));
    assert!(!is_recorded(Path::new("tests/core/kv/history.txt")));
    assert!(!is_recorded(Path::new("tests/etcd-kv/history.txt")));
}

fn transcripts(root: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root).unwrap_or_else(|error| panic!("{root:?}: {error}"));
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    files.sort();
    files
}

/// The transcript as it would stand if every output were what the runner says now.
fn replay(name: &str, text: &str, mut runner: impl FnMut(&Command) -> String) -> String {
    let mut out = String::new();
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        writeln!(out, "{line}").unwrap();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let at = format!("{name}:{}", number + 1);
        let mut input = String::new();
        loop {
            let (_, line) = lines
                .next()
                .unwrap_or_else(|| panic!("{at}: no ---- after it"));
            writeln!(out, "{line}").unwrap();
            if line == "----" {
                break;
            }
            writeln!(input, "{line}").unwrap();
        }
        let output = runner(&parse(line, input, at.clone()));
        let output = if output.is_empty() {
            "ok"
        } else {
            output.trim_end_matches('\n')
        };
        assert!(
            !output.lines().any(str::is_empty),
            "{at}: an output with an empty line:\n{output}"
        );
        writeln!(out, "{output}").unwrap();
        // The old output ends at the next empty line, which is kept.
        match lines.by_ref().find(|(_, line)| line.is_empty()) {
            Some(_) => out.push('\n'),
            None => break,
        }
    }
    out
}

/// One command line, apart from any transcript.
pub fn parse(line: &str, input: String, at: String) -> Command {
    let mut tokens = tokens(line, &at).into_iter();
    let (name, _) = tokens.next().expect("a line that is not empty");
    let mut command = Command {
        name,
        input,
        at,
        words: Vec::new(),
        options: Vec::new(),
    };
    for (token, equals) in tokens {
        match equals {
            Some(at) => command
                .options
                .push((token[..at].into(), token[at + 1..].into())),
            None => command.words.push(token),
        }
    }
    command
}

/// Splits at blanks outside of double quotes; the second part is where a key ends.
fn tokens(line: &str, at: &str) -> Vec<(String, Option<usize>)> {
    let mut tokens = Vec::new();
    let (mut token, mut equals, mut quoted, mut started) = (String::new(), None, false, false);
    for char in line.chars() {
        match char {
            '"' => (quoted, started) = (!quoted, true),
            ' ' if !quoted => {
                if std::mem::take(&mut started) {
                    tokens.push((std::mem::take(&mut token), equals.take()));
                }
            }
            _ => {
                if char == '=' && !quoted && equals.is_none() {
                    equals = Some(token.len());
                }
                started = true;
                token.push(char);
            }
        }
    }
    assert!(!quoted, "{at}: a quote is not closed");
    if started {
        tokens.push((token, equals));
    }
    tokens
}

fn first_difference(name: &str, old: &str, new: &str) -> String {
    let (mut old, mut new) = (old.lines(), new.lines());
    for number in 1.. {
        match (old.next(), new.next()) {
            (Some(left), Some(right)) if left == right => {}
            (None, None) => break,
            (left, right) => {
                let (left, right) = (left.unwrap_or("<end>"), right.unwrap_or("<end>"));
                return format!("{name}:{number}\n  written: {left}\n  now:     {right}");
            }
        }
    }
    format!("{name}: differs in its last line break")
}
