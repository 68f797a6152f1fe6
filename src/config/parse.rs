//! From arguments and environment to one text for each flag that was given. The grammar and the
//! error texts are those of Go's flag package, which etcd's users know.

use super::flags::{self, ENV_PREFIX, Flag, Kind, Status};
use super::{Notice, UsageError, addresses};
use detcd_core::go::{self, parse_bool};
use std::collections::BTreeMap;

/// What was given, by the flags' names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Given {
    values: BTreeMap<&'static str, Value>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Value {
    text: String,
    source: Source,
}

/// Where a value came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Flag,
    Env,
    /// The line of the file of `--config-file`.
    File(u64),
    /// Another flag gives it.
    Other(&'static str),
}

impl Given {
    /// The text given for `name`, or its default. `name` must be in the table.
    pub fn text(&self, name: &str) -> &str {
        match self.values.get(name) {
            Some(value) => &value.text,
            None => flags::find(name).expect("a flag of the table").default,
        }
    }

    pub fn is_set(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// Where `name` was given; `None` for what has its default.
    pub fn source(&self, name: &str) -> Option<Source> {
        self.values.get(name).map(|value| value.source)
    }

    /// How an error message names where `name` was given.
    pub fn place(&self, flag: &Flag) -> String {
        match self.source(flag.name) {
            Some(Source::Env) => flag.env(),
            Some(Source::File(_)) => format!("{} of --config-file", flag.name),
            Some(Source::Flag | Source::Other(_)) | None => format!("flag -{}", flag.name),
        }
    }

    /// The flags that were given.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.values.keys().copied()
    }

    /// Takes a value in, unless it is none of the flag's.
    pub fn set_checked(
        &mut self,
        flag: &'static Flag,
        text: String,
        source: Source,
        place: &str,
    ) -> Result<(), String> {
        check_value(flag, &text, place)?;
        self.values.insert(flag.name, Value { text, source });
        Ok(())
    }

    /// What another flag says about `name`, which counts unless it was given itself.
    pub fn set_default(&mut self, name: &'static str, text: String, by: &'static str) {
        let source = Source::Other(by);
        self.values.entry(name).or_insert(Value { text, source });
    }
}

/// Reads arguments (without the program's name): `-x v`, `-x=v`, `--x v` and `--x=v` are equal. A
/// flag given twice counts once, the last time.
pub fn arguments(args: &[String]) -> Result<Given, UsageError> {
    let mut given = Given::default();
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        if arg == "--" {
            // It ends the flags; etcd takes nothing after them.
            return match rest.next() {
                Some(arg) => Err(UsageError::Verify(format!("'{arg}' is not a valid flag"))),
                None => Ok(given),
            };
        }
        let Some(body) = dashed(arg)? else {
            return Err(UsageError::Verify(format!("'{arg}' is not a valid flag")));
        };
        let (name, inline) = match body.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (body, None),
        };
        let flag = flags::find(name)
            .ok_or_else(|| UsageError::Syntax(format!("flag provided but not defined: -{name}")))?;
        let text = match (inline, flag.kind) {
            (Some(text), _) => text,
            (None, Kind::Bool) => "true".to_owned(),
            (None, _) => rest
                .next()
                .cloned()
                .ok_or_else(|| UsageError::Syntax(format!("flag needs an argument: -{name}")))?,
        };
        given
            .set_checked(flag, text, Source::Flag, &format!("flag -{name}"))
            .map_err(UsageError::Syntax)?;
    }
    Ok(given)
}

/// The part of a flag after its one or two dashes; `None` for what is no flag.
fn dashed(arg: &str) -> Result<Option<&str>, UsageError> {
    let Some(one) = arg.strip_prefix('-') else {
        return Ok(None);
    };
    if one.is_empty() {
        return Ok(None);
    }
    let body = one.strip_prefix('-').unwrap_or(one);
    if body.is_empty() || body.starts_with(['-', '=']) {
        return Err(UsageError::Syntax(format!("bad flag syntax: {arg}")));
    }
    Ok(Some(body))
}

/// Adds what the environment gives and no flag does. `variables` are all variables of the process.
pub fn environment(
    given: &mut Given,
    variables: &[(String, String)],
) -> Result<Vec<Notice>, UsageError> {
    let mut notices = Vec::new();
    let set: BTreeMap<&str, &str> = variables
        .iter()
        .filter(|(name, value)| name.starts_with(ENV_PREFIX) && !value.is_empty())
        .map(|(name, value)| (&name[..], &value[..]))
        .collect();
    let mut known = BTreeMap::new();
    for flag in flags::all().filter(|flag| flag.has_variable()) {
        known.insert(flag.env(), flag);
    }
    let strict = set
        .get("ETCD_STRICT_ENV")
        .is_some_and(|value| parse_bool(value) == Some(true))
        || given.text("strict-env") == "true";
    for (variable, value) in set {
        let plain = variable.replacen("ETCD_EXPERIMENTAL_", ENV_PREFIX, 1);
        let older = || known.get(&plain).filter(|flag| flag.was_experimental());
        let Some(flag) = known.get(variable).or_else(older) else {
            notices.push(Notice::UnknownVariable(format!("{variable}={value}")));
            continue;
        };
        if given.is_set(flag.name) {
            if strict {
                return Err(UsageError::Verify(format!(
                    "conflicting environment variable \"{variable}\" is shadowed by corresponding \
                     command-line flag (either unset environment variable or disable flag)"
                )));
            }
            notices.push(Notice::ShadowedVariable(variable.to_owned()));
            continue;
        }
        given
            .set_checked(flag, value.to_owned(), Source::Env, variable)
            .map_err(UsageError::Verify)?;
        notices.push(Notice::UsedVariable(variable.to_owned(), value.to_owned()));
    }
    Ok(notices)
}

/// Refuses values that ask for what detcd does not do.
pub fn check_supported(given: &Given) -> Result<(), UsageError> {
    for flag in flags::all().filter(|flag| flag.status == Status::DefaultOnly) {
        let text = given.text(flag.name);
        let is_default = match flag.kind {
            Kind::Bool => parse_bool(text) == parse_bool(flag.default),
            Kind::Duration => parse_duration_ms(text) == parse_duration_ms(flag.default),
            _ => text == flag.default,
        };
        if !is_default {
            return Err(UsageError::Verify(format!(
                "--{}={text:?} is not supported by this version of detcd; the only value it \
                 accepts is {:?}",
                flag.name, flag.default
            )));
        }
    }
    Ok(())
}

fn check_value(flag: &Flag, text: &str, place: &str) -> Result<(), String> {
    let problem = match flag.kind {
        Kind::Text => None,
        Kind::Bool if parse_bool(text).is_none() => {
            // Go words a bad boolean of the command line differently.
            return Err(match place.strip_prefix("flag ") {
                Some(name) => format!("invalid boolean value {text:?} for {name}: parse error"),
                None => format!("invalid value {text:?} for {place}: parse error"),
            });
        }
        Kind::Bool => None,
        Kind::Uint => text.parse::<u64>().err().map(|e| number_problem(e.kind())),
        Kind::Int => text.parse::<i64>().err().map(|e| number_problem(e.kind())),
        Kind::Duration => parse_duration_ms(text)
            .is_none()
            .then(|| "parse error".to_owned()),
        Kind::Address if text.is_empty() => None,
        Kind::Address if flag.name.ends_with("bind-addr") => {
            addresses::bind_problem(text).map(str::to_owned)
        }
        Kind::Address => addresses::problem(text).map(str::to_owned),
        Kind::Urls if text.is_empty() => None,
        Kind::Urls => super::url::parse_list(text)
            .err()
            .map(|error| error.to_string()),
        Kind::OneOf(words) => (!words.contains(&text)).then(|| "invalid value".to_owned()),
    };
    match problem {
        Some(problem) => Err(format!("invalid value {text:?} for {place}: {problem}")),
        None => Ok(()),
    }
}

fn number_problem(kind: &std::num::IntErrorKind) -> String {
    use std::num::IntErrorKind::{NegOverflow, PosOverflow};
    match kind {
        PosOverflow | NegOverflow => "value out of range".to_owned(),
        _ => "parse error".to_owned(),
    }
}

/// A duration as Go writes it, in milliseconds (what is finer is cut off).
pub fn parse_duration_ms(text: &str) -> Option<u64> {
    let duration = go::parse_duration(text).ok()?;
    u64::try_from(duration.as_millis()).ok()
}
