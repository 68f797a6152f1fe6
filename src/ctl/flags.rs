//! Flags as etcdctl's users type them: anywhere on the line, `--name value` or `--name=value`,
//! short forms run together, `--` ends them. The words of every refusal are etcdctl's, because
//! scripts read them.

use super::command_line::Word;
use super::go;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What a flag holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Switch,
    Text,
    Number,
    Duration,
    /// Comma-separated; a repeated flag adds to it.
    List,
}

#[derive(Clone, Copy, Debug)]
pub struct Flag {
    pub name: &'static str,
    pub short: Option<char>,
    pub kind: Kind,
    pub default: &'static str,
    pub about: &'static str,
}

impl Flag {
    pub const fn switch(name: &'static str, about: &'static str) -> Flag {
        Flag {
            name,
            short: None,
            kind: Kind::Switch,
            default: "false",
            about,
        }
    }

    pub const fn text(name: &'static str, default: &'static str, about: &'static str) -> Flag {
        Flag {
            name,
            short: None,
            kind: Kind::Text,
            default,
            about,
        }
    }

    pub const fn number(name: &'static str, about: &'static str) -> Flag {
        Flag {
            name,
            short: None,
            kind: Kind::Number,
            default: "0",
            about,
        }
    }

    pub const fn duration(name: &'static str, default: &'static str, about: &'static str) -> Flag {
        Flag {
            name,
            short: None,
            kind: Kind::Duration,
            default,
            about,
        }
    }

    pub const fn short(self, short: char) -> Flag {
        Flag {
            short: Some(short),
            ..self
        }
    }
}

pub const HELP: Flag = Flag::switch("help", "show this help").short('h');

/// The values of a command's flags.
#[derive(Clone, Debug, Default)]
pub struct Values {
    values: BTreeMap<&'static str, String>,
    given: BTreeSet<&'static str>,
}

impl Values {
    /// Whether the flag stood on the command line.
    pub fn is_given(&self, name: &str) -> bool {
        self.given.contains(name)
    }

    pub fn switch(&self, name: &str) -> bool {
        go::parse_bool(self.text(name)).expect("checked when set")
    }

    pub fn text(&self, name: &str) -> &str {
        self.values
            .get(name)
            .unwrap_or_else(|| panic!("the command has no flag --{name}"))
    }

    pub fn number(&self, name: &str) -> i64 {
        go::parse_int(self.text(name), 0).expect("checked when set")
    }

    pub fn duration(&self, name: &str) -> Duration {
        go::parse_duration(self.text(name)).expect("checked when set")
    }

    pub fn list(&self, name: &str) -> Vec<String> {
        self.text(name)
            .split(',')
            .filter(|part| !part.is_empty())
            .map(str::to_owned)
            .collect()
    }

    /// Every flag at its default.
    pub fn defaults<'a>(flags: impl IntoIterator<Item = &'a Flag>) -> Values {
        let values = flags
            .into_iter()
            .map(|flag| (flag.name, flag.default.to_owned()))
            .collect();
        Values {
            values,
            given: BTreeSet::new(),
        }
    }

    /// Sets `flag` from outside the command line (a variable of the environment).
    pub fn preset(&mut self, flag: &Flag, value: &str) -> Result<(), String> {
        check(flag, value)?;
        self.values.insert(flag.name, value.to_owned());
        Ok(())
    }

    fn set(&mut self, flag: &Flag, value: &str) -> Result<(), String> {
        check(flag, value).map_err(|why| {
            let shown = match flag.short {
                Some(short) => format!("-{short}, --{}", flag.name),
                None => format!("--{}", flag.name),
            };
            format!(
                "invalid argument {} for \"{shown}\" flag: {why}",
                go::quote(value.as_bytes())
            )
        })?;
        let first = self.given.insert(flag.name);
        let slot = self
            .values
            .get_mut(flag.name)
            .expect("every flag has a default");
        if flag.kind == Kind::List && !first {
            slot.push(',');
            slot.push_str(value);
        } else {
            *slot = value.to_owned();
        }
        Ok(())
    }
}

/// Reads `args`: the flags' values, and what is left.
pub fn parse<'a>(
    args: &[Word],
    flags: impl IntoIterator<Item = &'a Flag>,
) -> Result<(Values, Vec<Word>), String> {
    let flags: Vec<&Flag> = flags.into_iter().collect();
    let mut values = Values::defaults(flags.iter().copied());
    let mut rest = Vec::new();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        if arg == b"--" {
            rest.extend(args.by_ref().cloned());
        } else if let Some(long) = arg.strip_prefix(b"--") {
            parse_long(
                &String::from_utf8_lossy(long),
                &flags,
                &mut args,
                &mut values,
            )?;
        } else if arg.len() > 1 && arg.starts_with(b"-") {
            let letters = String::from_utf8_lossy(&arg[1..]);
            parse_shorts(&letters, &flags, &mut args, &mut values)?;
        } else {
            rest.push(arg.clone());
        }
    }
    Ok((values, rest))
}

fn parse_long<'a>(
    long: &str,
    flags: &[&Flag],
    args: &mut impl Iterator<Item = &'a Word>,
    values: &mut Values,
) -> Result<(), String> {
    let (name, value) = match long.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (long, None),
    };
    let Some(flag) = flags.iter().find(|flag| flag.name == name) else {
        return Err(format!("unknown flag: --{name}"));
    };
    match value {
        Some(value) => values.set(flag, value),
        None if flag.kind == Kind::Switch => values.set(flag, "true"),
        None => match args.next() {
            Some(value) => values.set(flag, &String::from_utf8_lossy(value)),
            None => Err(format!("flag needs an argument: --{name}")),
        },
    }
}

/// `-iw json`: switches run together, the last may take a value.
fn parse_shorts<'a>(
    letters: &str,
    flags: &[&Flag],
    args: &mut impl Iterator<Item = &'a Word>,
    values: &mut Values,
) -> Result<(), String> {
    for (at, letter) in letters.char_indices() {
        let here = &letters[at..];
        let Some(flag) = flags.iter().find(|flag| flag.short == Some(letter)) else {
            let quoted = go::quote_char(letter);
            return Err(format!("unknown shorthand flag: {quoted} in -{here}"));
        };
        let after = &here[letter.len_utf8()..];
        if let Some(value) = after.strip_prefix('=') {
            return values.set(flag, value);
        } else if flag.kind == Kind::Switch {
            values.set(flag, "true")?;
        } else if !after.is_empty() {
            return values.set(flag, after);
        } else {
            let Some(value) = args.next() else {
                let quoted = go::quote_char(letter);
                return Err(format!("flag needs an argument: {quoted} in -{here}"));
            };
            return values.set(flag, &String::from_utf8_lossy(value));
        }
    }
    Ok(())
}

fn check(flag: &Flag, value: &str) -> Result<(), String> {
    match flag.kind {
        Kind::Switch => go::parse_bool(value).map(drop),
        Kind::Number => go::parse_int(value, 0).map(drop),
        Kind::Duration => go::parse_duration(value).map(drop),
        Kind::Text | Kind::List => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLAGS: [Flag; 4] = [
        Flag::switch("prefix", ""),
        Flag::number("limit", ""),
        Flag::text("write-out", "simple", "").short('w'),
        Flag::switch("interactive", "").short('i'),
    ];

    fn parse_line(line: &str) -> Result<(Values, Vec<Word>), String> {
        let args: Vec<Word> = line.split_whitespace().map(Word::from).collect();
        parse(&args, &FLAGS)
    }

    #[test]
    fn flags_stand_anywhere() {
        let (values, rest) = parse_line("k --limit 3 -w json z --prefix=false").unwrap();
        assert_eq!(rest, [b"k", b"z"]);
        assert_eq!(values.number("limit"), 3);
        assert_eq!(values.text("write-out"), "json");
        assert!(!values.switch("prefix"));
        assert!(values.is_given("prefix") && !values.is_given("interactive"));
        let (values, rest) = parse_line("-iwjson -- --prefix -").unwrap();
        assert!(values.switch("interactive"));
        assert_eq!(values.text("write-out"), "json");
        assert_eq!(rest, [&b"--prefix"[..], b"-"]);
    }

    #[test]
    fn refusals_read_as_etcdctl_writes_them() {
        let refusal = |line: &str| parse_line(line).unwrap_err();
        assert_eq!(refusal("--bogus"), "unknown flag: --bogus");
        assert_eq!(refusal("-k"), "unknown shorthand flag: 'k' in -k");
        assert_eq!(refusal("--limit"), "flag needs an argument: --limit");
        assert_eq!(refusal("-iw"), "flag needs an argument: 'w' in -w");
        assert_eq!(
            refusal("--limit=x"),
            "invalid argument \"x\" for \"--limit\" flag: strconv.ParseInt: parsing \"x\": invalid syntax"
        );
    }
}
