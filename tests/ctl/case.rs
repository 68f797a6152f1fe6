//! The file format of the recordings. A line says by its first word what it holds:
//!
//! ```text
//! # a comment, kept
//! ! put k v            run before the next case while recording, to prepare the store
//! raise 7 NOSPACE      raise an alarm for a member before the next case, as no command can
//! $ get k -w json      a command line; ETCDCTL_NAME=value words may stand before it
//! hold                 the command does not end by itself: it is stopped once it has printed
//! in some text         a line of the standard input
//! call /package.Service/Method
//!   request 0a016b     messages in hexadecimal
//!   response 0a05
//!   end 11 etcdserver: mvcc: required revision has been compacted
//! out OK               what was printed; \xNN and \\ are escapes, a \ at the end of the line
//! err Error: ...       stands for a newline that is not there
//! exit 0
//! ```

use crate::call::{Call, Step};
use bytes::Bytes;
use std::fmt::{self, Write as _};

#[derive(Debug, Default)]
pub struct Script {
    pub cases: Vec<Case>,
}

#[derive(Clone, Debug, Default)]
pub struct Case {
    /// Comments and preparations before it.
    pub before: Vec<Before>,
    pub line: String,
    pub hold: bool,
    pub input: Vec<String>,
    pub calls: Vec<Call>,
    pub seen: Seen,
}

#[derive(Clone, Debug)]
pub enum Before {
    Comment(String),
    Prepare(String),
    /// A member's id and the kind of its alarm.
    Raise(u64, String),
}

/// What a user sees of a command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    pub out: Vec<u8>,
    pub err: Vec<u8>,
    /// Nothing for a command that was stopped.
    pub code: Option<i32>,
}

impl Case {
    /// The variables and the words of the command line.
    pub fn words(&self) -> (Vec<(String, String)>, Vec<Vec<u8>>) {
        let words = split(&self.line);
        let variables: Vec<(String, String)> = words
            .iter()
            .map_while(|word| {
                let text = str::from_utf8(word)
                    .ok()
                    .filter(|text| text.starts_with("ETCDCTL_"))?;
                text.split_once('=')
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
            })
            .collect();
        let words = words[variables.len()..].to_vec();
        (variables, words)
    }

    pub fn input_bytes(&self) -> Vec<u8> {
        self.input
            .iter()
            .flat_map(|line| format!("{line}\n").into_bytes())
            .collect()
    }
}

impl Script {
    pub fn parse(text: &str) -> Result<Script, String> {
        let mut script = Script::default();
        let mut before = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let (word, rest) = match line.trim_start().split_once(' ') {
                Some((word, rest)) => (word, rest),
                None => (line.trim_start(), ""),
            };
            match word {
                "" => continue,
                "#" => before.push(Before::Comment(rest.to_owned())),
                "raise" => before.push(
                    rest.split_once(' ')
                        .and_then(|(member, kind)| Some((member.parse().ok()?, kind.to_owned())))
                        .map(|(member, kind)| Before::Raise(member, kind))
                        .ok_or_else(|| format!("line {}: {line}", at + 1))?,
                ),
                "!" => before.push(Before::Prepare(rest.to_owned())),
                "$" => script.cases.push(Case {
                    before: std::mem::take(&mut before),
                    line: rest.to_owned(),
                    ..Case::default()
                }),
                _ => {
                    let case = script
                        .cases
                        .last_mut()
                        .ok_or("a file begins with a command")?;
                    take(case, word, rest).ok_or_else(|| format!("line {}: {line}", at + 1))?;
                }
            }
        }
        Ok(script)
    }
}

fn take(case: &mut Case, word: &str, rest: &str) -> Option<()> {
    match word {
        "hold" => case.hold = true,
        "in" => case.input.push(rest.to_owned()),
        "call" => case.calls.push(Call {
            path: rest.to_owned(),
            steps: Vec::new(),
        }),
        "request" => case
            .calls
            .last_mut()?
            .steps
            .push(Step::Request(from_hex(rest)?)),
        "response" => case
            .calls
            .last_mut()?
            .steps
            .push(Step::Response(from_hex(rest)?)),
        "end" => {
            let (code, text) = rest.split_once(' ').unwrap_or((rest, ""));
            case.calls
                .last_mut()?
                .steps
                .push(Step::End(code.parse().ok()?, text.to_owned()));
        }
        "out" => case.seen.out.extend(unescape_line(rest)?),
        "err" => case.seen.err.extend(unescape_line(rest)?),
        "exit" => case.seen.code = Some(rest.parse().ok()?),
        _ => return None,
    }
    Some(())
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for case in &self.cases {
            for before in &case.before {
                match before {
                    Before::Comment(text) => writeln!(f, "# {text}")?,
                    Before::Prepare(line) => writeln!(f, "! {line}")?,
                    Before::Raise(member, kind) => writeln!(f, "raise {member} {kind}")?,
                }
            }
            writeln!(f, "{case}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "$ {}", self.line)?;
        if self.hold {
            writeln!(f, "hold")?;
        }
        for line in &self.input {
            writeln!(f, "{}", format!("in {line}").trim_end())?;
        }
        for call in &self.calls {
            write!(f, "{call}")?;
        }
        write!(f, "{}", self.seen)
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "call {}", self.path)?;
        for step in &self.steps {
            match step {
                Step::Request(bytes) => writeln!(f, "  request {}", hex(bytes))?,
                Step::Response(bytes) => writeln!(f, "  response {}", hex(bytes))?,
                Step::End(code, text) => writeln!(f, "  end {code} {text}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, bytes) in [("out", &self.out), ("err", &self.err)] {
            for line in bytes.split_inclusive(|byte| *byte == b'\n') {
                writeln!(
                    f,
                    "{}",
                    format!("{name} {}", escape_line(line)).trim_end_matches(' ')
                )?;
            }
        }
        match self.code {
            Some(code) => writeln!(f, "exit {code}"),
            None => Ok(()),
        }
    }
}

/// Words apart by spaces; double quotes hold them together, with the escapes of [`unescape`].
pub fn split(line: &str) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    let mut rest = line.trim();
    while !rest.is_empty() {
        let (word, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').expect("quotes are closed"),
            None => rest.split_once(' ').unwrap_or((rest, "")),
        };
        words.push(unescape(word).expect("escapes are whole"));
        rest = after.trim_start();
    }
    words
}

fn escape_line(line: &[u8]) -> String {
    match line.strip_suffix(b"\n") {
        Some(line) => escape(line),
        None => escape(line) + "\\",
    }
}

fn unescape_line(line: &str) -> Option<Vec<u8>> {
    // An escaped backslash at the end is no missing newline.
    let backslashes = line.bytes().rev().take_while(|byte| *byte == b'\\').count();
    if backslashes % 2 == 1 {
        return unescape(&line[..line.len() - 1]);
    }
    let mut bytes = unescape(line)?;
    bytes.push(b'\n');
    Some(bytes)
}

fn escape(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\\' => text.push_str("\\\\"),
                '\t' => text.push('\t'),
                _ if character.is_control() => {
                    escape_bytes(character.to_string().as_bytes(), &mut text)
                }
                _ => text.push(character),
            }
        }
        escape_bytes(chunk.invalid(), &mut text);
    }
    // The end of a line is trimmed; a space there must be seen.
    match text.strip_suffix(' ') {
        Some(trimmed) => format!("{trimmed}\\x20"),
        None => text,
    }
}

fn escape_bytes(bytes: &[u8], text: &mut String) {
    for byte in bytes {
        write!(text, "\\x{byte:02x}").expect("a String takes everything");
    }
}

fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'\\' {
            bytes.push(*first);
        } else if let Some(after) = rest.strip_prefix(b"\\") {
            bytes.push(b'\\');
            rest = after;
        } else {
            let digits = str::from_utf8(rest.strip_prefix(b"x")?.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &rest[3..];
        }
    }
    Some(bytes)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Option<Bytes> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok())
        .collect::<Option<Vec<u8>>>()
        .map(Bytes::from)
}

#[test]
fn what_is_written_is_read() {
    let case = Case {
        line: "ETCDCTL_HEX=true put \"a b\" \\xff".to_owned(),
        hold: true,
        input: vec!["x".to_owned(), String::new()],
        calls: vec![Call {
            path: "/a.B/C".to_owned(),
            steps: vec![
                Step::Request(Bytes::from_static(b"\x01\xff")),
                Step::Response(Bytes::new()),
                Step::End(3, "no, no".to_owned()),
            ],
        }],
        seen: Seen {
            out: b"a \xff\\\n\n \nend\\".to_vec(),
            err: Vec::new(),
            code: Some(3),
        },
        ..Case::default()
    };
    let script = Script::parse(
        &Script {
            cases: vec![case.clone()],
        }
        .to_string(),
    )
    .unwrap();
    let [read] = &script.cases[..] else {
        panic!("one case: {script:?}")
    };
    assert_eq!(read.to_string(), case.to_string());
    assert_eq!(read.seen, case.seen);
    assert_eq!(read.calls, case.calls);
    let (variables, words) = read.words();
    assert_eq!(variables, [("ETCDCTL_HEX".to_owned(), "true".to_owned())]);
    assert_eq!(words, [&b"put"[..], b"a b", b"\xff"]);
}
