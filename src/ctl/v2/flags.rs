//! Flags as etcdctl's v2 commands read them: Go's package `flag`, where `-x` and `--x` are one, and
//! the first word that is no flag ends them. Before a command is read its flags are moved to the
//! front of its words ([`reorder`]), so that they may stand anywhere.

use crate::ctl::command_line::Word;
use crate::ctl::go;
use std::collections::BTreeMap;
use std::time::Duration;

/// What a flag holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Switch,
    Text,
    Number,
    Duration,
    /// One value for each time that the flag is given.
    Texts,
}

#[derive(Clone, Copy, Debug)]
pub struct Flag {
    /// The name, and perhaps a second one.
    pub names: &'static [&'static str],
    pub kind: Kind,
    pub default: &'static str,
    /// What the help calls the value.
    pub value: &'static str,
    pub about: &'static str,
}

impl Flag {
    const fn new(names: &'static [&'static str], kind: Kind, about: &'static str) -> Flag {
        Flag {
            names,
            kind,
            default: "",
            value: "value",
            about,
        }
    }

    pub const fn switch(names: &'static [&'static str], about: &'static str) -> Flag {
        Flag {
            default: "false",
            ..Flag::new(names, Kind::Switch, about)
        }
    }

    pub const fn text(names: &'static [&'static str], about: &'static str) -> Flag {
        Flag::new(names, Kind::Text, about)
    }

    pub const fn texts(names: &'static [&'static str], about: &'static str) -> Flag {
        Flag::new(names, Kind::Texts, about)
    }

    pub const fn number(names: &'static [&'static str], about: &'static str) -> Flag {
        Flag {
            default: "0",
            ..Flag::new(names, Kind::Number, about)
        }
    }

    pub const fn duration(
        names: &'static [&'static str],
        default: &'static str,
        about: &'static str,
    ) -> Flag {
        Flag {
            default,
            ..Flag::new(names, Kind::Duration, about)
        }
    }

    fn name(&self) -> &'static str {
        self.names[0]
    }
}

pub const HELP: Flag = Flag::switch(&["help", "h"], "show help");

/// The values of flags.
#[derive(Clone, Debug, Default)]
pub struct Values {
    /// By the flag's first name; empty for one that was not given.
    values: BTreeMap<&'static str, Vec<Word>>,
    defaults: BTreeMap<&'static str, &'static str>,
    /// The names under which flags were given.
    given: Vec<String>,
}

impl Values {
    fn of(flags: &[&Flag]) -> Values {
        Values {
            values: BTreeMap::new(),
            defaults: flags
                .iter()
                .map(|flag| (flag.name(), flag.default))
                .collect(),
            given: Vec::new(),
        }
    }

    pub fn switch(&self, name: &str) -> bool {
        go::parse_bool(&self.text(name)).expect("checked when set")
    }

    pub fn number(&self, name: &str) -> i64 {
        go::parse_int(&self.text(name), 0).expect("checked when set")
    }

    /// A duration, and whether it is negative.
    pub fn duration(&self, name: &str) -> (Duration, bool) {
        duration(&self.text(name)).expect("checked when set")
    }

    pub fn text(&self, name: &str) -> String {
        String::from_utf8_lossy(&self.bytes(name)).into_owned()
    }

    pub fn bytes(&self, name: &str) -> Word {
        let default = self
            .defaults
            .get(name)
            .unwrap_or_else(|| panic!("the command has no flag --{name}"));
        match self.values.get(name).and_then(|values| values.last()) {
            Some(value) => value.clone(),
            None => default.as_bytes().to_vec(),
        }
    }

    pub fn texts(&self, name: &str) -> Vec<String> {
        let values = self.values.get(name).into_iter().flatten();
        values
            .map(|value| String::from_utf8_lossy(value).into_owned())
            .collect()
    }

    fn set(&mut self, flag: &Flag, name: &str, value: &[u8]) -> Result<(), String> {
        check(flag, name, value)?;
        self.given.push(name.to_owned());
        self.values
            .entry(flag.name())
            .or_default()
            .push(value.to_vec());
        Ok(())
    }

    /// A flag may be given under one of its names only.
    pub fn check_names(&self, flags: &[&Flag]) -> Result<(), String> {
        for flag in flags {
            let given: Vec<&str> = flag
                .names
                .iter()
                .copied()
                .filter(|name| self.given.iter().any(|given| given == name))
                .collect();
            if let [first, second, ..] = given[..] {
                return Err(format!(
                    "Cannot use two forms of the same flag: {second} {first}"
                ));
            }
        }
        Ok(())
    }
}

/// Reads the flags at the front of `words`: their values, and the words behind them.
pub fn parse(words: &[Word], flags: &[&Flag]) -> Result<(Values, Vec<Word>), String> {
    let mut values = Values::of(flags);
    let mut rest = words;
    while let Some((word, after)) = rest.split_first() {
        if word.len() < 2 || word[0] != b'-' {
            break;
        }
        rest = after;
        if word == b"--" {
            break;
        }
        let bare = word.strip_prefix(b"--").unwrap_or(&word[1..]);
        if matches!(bare.first(), Some(b'-' | b'=')) {
            let shown = String::from_utf8_lossy(word);
            return Err(format!("bad flag syntax: {shown}"));
        }
        let (name, value) = split_value(bare);
        let name = String::from_utf8_lossy(name);
        let Some(flag) = find(flags, &name) else {
            return Err(format!("flag provided but not defined: -{name}"));
        };
        match value {
            Some(value) => values.set(flag, &name, value)?,
            None if flag.kind == Kind::Switch => values.set(flag, &name, b"true")?,
            None => {
                let Some((value, after)) = rest.split_first() else {
                    return Err(format!("flag needs an argument: -{name}"));
                };
                values.set(flag, &name, value)?;
                rest = after;
            }
        }
    }
    Ok((values, rest.to_vec()))
}

/// Moves the flags of a command to the front of its words, as etcdctl does: with each goes the word
/// behind it, though it be a switch, unless that is a flag too. A `--` moves to the front of the
/// words that stay.
pub fn reorder(words: &[Word], flags: &[&Flag]) -> Vec<Word> {
    let (mut front, mut back) = (Vec::new(), Vec::new());
    let mut may_be_value = false;
    for (at, word) in words.iter().enumerate() {
        let is_flag = known(word, flags).is_some();
        if may_be_value && !is_flag {
            may_be_value = false;
            front.push(word.clone());
        } else if word == b"--" {
            back.insert(0, word.clone());
            back.extend_from_slice(&words[at + 1..]);
            break;
        } else if is_flag {
            may_be_value = !word.contains(&b'=');
            front.push(word.clone());
        } else {
            back.push(word.clone());
        }
    }
    front.append(&mut back);
    front
}

/// The flag that a word names, if it does.
pub fn known<'a>(word: &[u8], flags: &[&'a Flag]) -> Option<&'a Flag> {
    let bare = word.strip_prefix(b"-")?;
    let bare = bare.strip_prefix(b"-").unwrap_or(bare);
    let (name, _) = split_value(bare);
    find(flags, &String::from_utf8_lossy(name))
}

fn find<'a>(flags: &[&'a Flag], name: &str) -> Option<&'a Flag> {
    flags
        .iter()
        .find(|flag| flag.names.contains(&name))
        .copied()
}

fn split_value(bare: &[u8]) -> (&[u8], Option<&[u8]>) {
    match bare.iter().position(|byte| *byte == b'=') {
        Some(at) => (&bare[..at], Some(&bare[at + 1..])),
        None => (bare, None),
    }
}

fn check(flag: &Flag, name: &str, value: &[u8]) -> Result<(), String> {
    let text = String::from_utf8_lossy(value);
    let invalid = |why: &str| {
        let quoted = go::quote(value);
        Err(match flag.kind {
            Kind::Switch => format!("invalid boolean value {quoted} for -{name}: {why}"),
            _ => format!("invalid value {quoted} for flag -{name}: {why}"),
        })
    };
    match flag.kind {
        Kind::Switch if go::parse_bool(&text).is_err() => invalid("parse error"),
        Kind::Number => match go::parse_int(&text, 0) {
            Err(why) if why.ends_with("out of range") => invalid("value out of range"),
            Err(_) => invalid("parse error"),
            Ok(_) => Ok(()),
        },
        Kind::Duration if duration(&text).is_none() => invalid("parse error"),
        _ => Ok(()),
    }
}

/// Go's durations have a sign.
fn duration(text: &str) -> Option<(Duration, bool)> {
    let (unsigned, is_negative) = match text.strip_prefix('-') {
        Some(unsigned) if !unsigned.starts_with(['-', '+']) => (unsigned, true),
        _ => (text, false),
    };
    let duration = go::parse_duration(unsigned).ok()?;
    Some((duration, is_negative))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLAGS: [Flag; 4] = [
        Flag::switch(&["recursive", "r"], ""),
        Flag::number(&["ttl"], ""),
        Flag::texts(&["roles"], ""),
        Flag::duration(&["timeout"], "2s", ""),
    ];

    fn words(line: &str) -> Vec<Word> {
        line.split_whitespace().map(Word::from).collect()
    }

    fn flags() -> Vec<&'static Flag> {
        FLAGS.iter().collect()
    }

    fn refusal(line: &str) -> String {
        parse(&words(line), &flags()).unwrap_err()
    }

    #[test]
    fn the_first_word_that_is_no_flag_ends_them() {
        let line = "-r --ttl=0x10 -roles a --roles b key --ttl 5";
        let (values, rest) = parse(&words(line), &flags()).unwrap();
        assert!(values.switch("recursive"));
        assert_eq!(values.number("ttl"), 16);
        assert_eq!(values.texts("roles"), ["a", "b"]);
        assert_eq!(values.duration("timeout"), (Duration::from_secs(2), false));
        assert_eq!(rest, words("key --ttl 5"));
        assert_eq!(parse(&words("-- -r"), &flags()).unwrap().1, words("-r"));
        assert_eq!(parse(&words("- -r"), &flags()).unwrap().1, words("- -r"));
    }

    #[test]
    fn refusals_read_as_gos() {
        for (line, why) in [
            ("--bogus", "flag provided but not defined: -bogus"),
            ("--ttl", "flag needs an argument: -ttl"),
            ("--ttl x", "invalid value \"x\" for flag -ttl: parse error"),
            (
                "--ttl 99999999999999999999",
                "invalid value \"99999999999999999999\" for flag -ttl: value out of range",
            ),
            ("-r=x", "invalid boolean value \"x\" for -r: parse error"),
            (
                "--timeout 5",
                "invalid value \"5\" for flag -timeout: parse error",
            ),
            ("---r", "bad flag syntax: ---r"),
            ("--=r", "bad flag syntax: --=r"),
        ] {
            assert_eq!(refusal(line), why, "{line}");
        }
        let (values, _) = parse(&words("-r --recursive"), &flags()).unwrap();
        assert_eq!(
            values.check_names(&flags()).unwrap_err(),
            "Cannot use two forms of the same flag: r recursive"
        );
    }

    #[test]
    fn flags_move_to_the_front_with_the_word_behind_them() {
        let moved = |line| reorder(&words(line), &flags());
        assert_eq!(moved("k --ttl 5 v"), words("--ttl 5 k v"));
        assert_eq!(moved("a -r b"), words("-r b a"));
        assert_eq!(moved("k -v"), words("k -v"));
        assert_eq!(moved("k v -- -r"), words("-- k v -r"));
        assert_eq!(moved("-r -- k"), words("-r -- k"));
        assert_eq!(moved("k --ttl=5 v"), words("--ttl=5 k v"));
    }
}
