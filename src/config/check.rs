//! What `detcd config check` finds in a file itself: unknown keys, values that are none, and values
//! that contradict each other.

use super::file;
use super::parse::{Given, Source};
use super::{Config, Notice, UsageError, flags, resolve};

/// A file that was looked at.
pub struct CheckedFile {
    path: String,
    given: Given,
    /// Each with its place.
    pub problems: Vec<String>,
    /// What the file configures, unless there are problems.
    pub config: Option<(Box<Config>, Vec<Notice>)>,
}

/// Reads the file at `path` and tells all that is wrong with it.
pub fn check_file(path: &str) -> Result<CheckedFile, UsageError> {
    let file = file::open(path)?;
    let problems = file.problems.iter().map(|it| file::render(path, it));
    let mut checked = CheckedFile {
        path: path.to_owned(),
        problems: problems.collect(),
        given: file.given,
        config: None,
    };
    let mut notices = Vec::new();
    match resolve::resolve(&checked.given, &mut notices) {
        Ok(config) if checked.problems.is_empty() => {
            checked.config = Some((Box::new(config), notices));
        }
        Ok(_) => {}
        Err(error) => checked.problems.push(checked.placed(&error.to_string())),
    }
    Ok(checked)
}

impl CheckedFile {
    /// `text` with the line of the first key that it names.
    pub fn placed(&self, text: &str) -> String {
        let named = flags::all().filter_map(|flag| {
            let at = find_name(text, flag.name)?;
            Some((at, self.line(flag.name)?))
        });
        match named.min() {
            Some((_, line)) => format!("{}:{line}: {text}", self.path),
            None => format!("{}: {text}", self.path),
        }
    }

    /// `text`, which is about the key `name`.
    pub fn placed_at(&self, name: &str, text: &str) -> String {
        match self.line(name) {
            Some(line) => format!("{}:{line}: {text}", self.path),
            None => format!("{}: {text}", self.path),
        }
    }

    fn line(&self, name: &str) -> Option<u64> {
        match self.given.source(name)? {
            Source::File(line) => Some(line),
            _ => None,
        }
    }
}

/// Where `--name` or `"name"` stands in `text`.
fn find_name(text: &str, name: &str) -> Option<usize> {
    let is_end = |rest: &str| !rest.starts_with(|it: char| it == '-' || it.is_alphanumeric());
    let dashed = text
        .match_indices(&format!("--{name}"))
        .find_map(|(at, it)| is_end(&text[at + it.len()..]).then_some(at));
    dashed.or_else(|| text.find(&format!("\"{name}\"")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        std::fs::write(&path, text).unwrap();
        let path = path.to_str().unwrap();
        let checked = check_file(path).unwrap();
        let texts = checked.problems.iter();
        texts.map(|text| text.replace(path, "f")).collect()
    }

    #[test]
    fn all_mistakes_are_told_and_contradictions_with_the_line_of_their_key() {
        assert_eq!(
            problems("nmae: a\nheartbeat-interval: 900\nelection-timeout: x\n"),
            [
                "f:1: unknown key \"nmae\"; did you mean \"name\"?",
                "f:3: invalid value \"x\" for key \"election-timeout\": parse error",
                "f:2: --election-timeout[1000ms] should be at least as 5 times as \
                 --heartbeat-interval[900ms]",
            ]
        );
        assert_eq!(
            problems("name: a\nlisten-client-urls: http://127.0.0.1:1\n"),
            [
                "f:2: --advertise-client-urls is required when --listen-client-urls is set explicitly"
            ]
        );
        assert_eq!(problems("name: a\n"), [""; 0]);
    }
}
