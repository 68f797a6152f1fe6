//! Reads tables of TOML so that every mistake names its file, its line and what was meant.

use super::units::{Ratio, Span, parse_time};
use std::cell::RefCell;
use std::fmt;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// What is wrong with a scenario file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub file: String,
    pub line: usize,
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.message)
    }
}

impl std::error::Error for Problem {}

/// A scenario file's name and text.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    pub file: &'a str,
    pub text: &'a str,
}

impl Source<'_> {
    pub fn problem(&self, offset: usize, message: impl Into<String>) -> Problem {
        let before = &self.text[..offset.min(self.text.len())];
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        Problem {
            file: self.file.to_owned(),
            line,
            message: message.into(),
        }
    }
}

type Value<'a> = &'a Spanned<DeValue<'a>>;

/// A table whose keys are asked for by name. [`Reader::done`] complains about the others.
pub struct Reader<'a> {
    source: Source<'a>,
    name: String,
    offset: usize,
    table: &'a DeTable<'a>,
    known: RefCell<Vec<&'static str>>,
}

impl<'a> Reader<'a> {
    pub fn new(source: Source<'a>, name: &str, offset: usize, table: &'a DeTable<'a>) -> Self {
        Reader {
            source,
            name: name.to_owned(),
            offset,
            table,
            known: RefCell::default(),
        }
    }

    /// A problem with the table as a whole.
    pub fn problem(&self, message: impl Into<String>) -> Problem {
        self.source.problem(self.offset, message)
    }

    /// A problem with the value of `key`.
    pub fn problem_at(&self, key: &str, message: impl Into<String>) -> Problem {
        let offset = self
            .table
            .get(key)
            .map_or(self.offset, |value| value.span().start);
        self.source
            .problem(offset, format!("{key}: {}", message.into()))
    }

    pub fn has(&self, key: &'static str) -> bool {
        self.get(key).is_some()
    }

    fn get(&self, key: &'static str) -> Option<Value<'a>> {
        self.known.borrow_mut().push(key);
        self.table.get(key)
    }

    /// Fails if the table has a key that nobody asked for.
    pub fn done(&self) -> Result<(), Problem> {
        let known = self.known.borrow();
        for key in self.table.keys() {
            let name: &str = key.get_ref();
            if !known.contains(&name) {
                let place = if self.name.is_empty() {
                    "a scenario"
                } else {
                    &self.name
                };
                let hint = nearest(name, known.iter().copied());
                let message = format!("{place} has no key `{name}`{hint}");
                return Err(self.source.problem(key.span().start, message));
            }
        }
        Ok(())
    }

    /// Whole numbers: one, or a pair that is a range.
    pub fn numbers(&self, key: &'static str, default: Span) -> Result<Span, Problem> {
        self.span(key, default, "a whole number, or a pair of them", |value| {
            value.as_integer()?.as_str().parse().ok()
        })
    }

    /// One whole number.
    pub fn number(&self, key: &'static str, default: u64) -> Result<u64, Problem> {
        match self.get(key) {
            None => Ok(default),
            Some(value) => {
                integer(value).ok_or_else(|| self.problem_at(key, "a whole number belongs here"))
            }
        }
    }

    /// Times as "5s" or "200ms": one, or a pair that is a range. In milliseconds.
    pub fn times(&self, key: &'static str, default: Span) -> Result<Span, Problem> {
        self.span(
            key,
            default,
            "a time such as \"5s\" or \"200ms\", or a pair of them",
            |value| parse_time(value.as_str()?),
        )
    }

    fn span(
        &self,
        key: &'static str,
        default: Span,
        wanted: &str,
        parse: impl Fn(&DeValue<'a>) -> Option<u64>,
    ) -> Result<Span, Problem> {
        let Some(value) = self.get(key) else {
            return Ok(default);
        };
        let (low, high) = match value.get_ref().as_array() {
            None => (parse(value.get_ref()), parse(value.get_ref())),
            Some(pair) if pair.len() == 2 => {
                let mut ends = pair.iter().map(|end| parse(end.get_ref()));
                (ends.next().flatten(), ends.next().flatten())
            }
            Some(_) => (None, None),
        };
        match (low, high) {
            (Some(low), Some(high)) if low <= high => Ok(Span { low, high }),
            (Some(_), Some(_)) => Err(self.problem_at(key, "the range is upside down")),
            _ => Err(self.problem_at(key, format!("{wanted} belongs here"))),
        }
    }

    /// Fractions: one, or a pair that is a range; within `[min, max]`.
    pub fn ratios(
        &self,
        key: &'static str,
        default: Ratio,
        (min, max): (f64, f64),
    ) -> Result<Ratio, Problem> {
        let Some(value) = self.get(key) else {
            return Ok(default);
        };
        let ends: Vec<Option<f64>> = match value.get_ref().as_array() {
            None => vec![fraction(value), fraction(value)],
            Some(pair) => pair.iter().map(fraction).collect(),
        };
        match ends[..] {
            [Some(low), Some(high)] if min <= low && low <= high && high <= max => {
                Ok(Ratio { low, high })
            }
            _ => {
                let message = format!("a number from {min} to {max}, or a pair, belongs here");
                Err(self.problem_at(key, message))
            }
        }
    }

    pub fn text(&self, key: &'static str) -> Result<Option<&'a str>, Problem> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        match value.get_ref().as_str() {
            Some(text) => Ok(Some(text)),
            None => Err(self.problem_at(key, "a text belongs here")),
        }
    }

    pub fn required_text(&self, key: &'static str) -> Result<&'a str, Problem> {
        let text = self.text(key)?;
        text.ok_or_else(|| self.problem(format!("{} needs a `{key}`", self.name)))
    }

    /// One of these words.
    pub fn choice<T: Clone>(
        &self,
        key: &'static str,
        choices: &[(&'static str, T)],
        default: T,
    ) -> Result<T, Problem> {
        match self.text(key)? {
            None => Ok(default),
            Some(word) => self.chosen(key, word, choices),
        }
    }

    fn chosen<T: Clone>(
        &self,
        key: &'static str,
        word: &str,
        choices: &[(&'static str, T)],
    ) -> Result<T, Problem> {
        match choices.iter().find(|(name, _)| *name == word) {
            Some((_, choice)) => Ok(choice.clone()),
            None => {
                let hint = nearest(word, choices.iter().map(|(name, _)| *name));
                Err(self.problem_at(key, format!("`{word}` is not known here{hint}")))
            }
        }
    }

    /// A list of these words.
    pub fn choices<T: Clone>(
        &self,
        key: &'static str,
        choices: &[(&'static str, T)],
    ) -> Result<Option<Vec<T>>, Problem> {
        let Some(words) = self.texts(key)? else {
            return Ok(None);
        };
        words
            .into_iter()
            .map(|word| self.chosen(key, word, choices))
            .collect::<Result<_, _>>()
            .map(Some)
    }

    /// A list of texts.
    pub fn texts(&self, key: &'static str) -> Result<Option<Vec<&'a str>>, Problem> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        let texts = value.get_ref().as_array().and_then(|array| {
            array
                .iter()
                .map(|text| text.get_ref().as_str())
                .collect::<Option<Vec<_>>>()
        });
        texts
            .map(Some)
            .ok_or_else(|| self.problem_at(key, "a list of texts belongs here"))
    }

    /// A list of lists of texts.
    pub fn text_lists(&self, key: &'static str) -> Result<Vec<Vec<&'a str>>, Problem> {
        let lists = self.get(key).and_then(|value| {
            let outer = value.get_ref().as_array()?.iter();
            outer
                .map(|inner| {
                    let inner = inner.get_ref().as_array()?.iter();
                    inner
                        .map(|text| text.get_ref().as_str())
                        .collect::<Option<Vec<_>>>()
                })
                .collect::<Option<Vec<_>>>()
        });
        lists.ok_or_else(|| self.problem_at(key, "a list of lists of texts belongs here"))
    }

    /// The table under `key`.
    pub fn table(&self, key: &'static str) -> Result<Option<Reader<'a>>, Problem> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        match value.get_ref().as_table() {
            Some(table) => Ok(Some(self.inner(key, value.span().start, table))),
            None => Err(self.problem_at(key, "a table belongs here")),
        }
    }

    /// The tables of an array of tables.
    pub fn tables(&self, key: &'static str) -> Result<Vec<Reader<'a>>, Problem> {
        let Some(value) = self.get(key) else {
            return Ok(Vec::new());
        };
        let wrong = || self.problem_at(key, format!("tables headed [[{key}]] belong here"));
        let array = value.get_ref().as_array().ok_or_else(wrong)?;
        array
            .iter()
            .map(|entry| {
                let table = entry.get_ref().as_table().ok_or_else(wrong)?;
                Ok(self.inner(key, entry.span().start, table))
            })
            .collect()
    }

    /// The keys and whole numbers of a table of weights.
    pub fn weights(
        &self,
        key: &'static str,
        names: &[&'static str],
        default: &[u64],
    ) -> Result<Vec<u64>, Problem> {
        let Some(table) = self.table(key)? else {
            return Ok(default.to_vec());
        };
        let weights: Vec<u64> = names
            .iter()
            .map(|name| table.number(name, 0))
            .collect::<Result<_, _>>()?;
        table.done()?;
        if weights.iter().all(|weight| *weight == 0) {
            return Err(self.problem_at(key, "no operation has a weight"));
        }
        Ok(weights)
    }

    fn inner(&self, key: &str, offset: usize, table: &'a DeTable<'a>) -> Reader<'a> {
        let name = if self.name.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.name)
        };
        Reader::new(self.source, &name, offset, table)
    }
}

fn integer(value: Value<'_>) -> Option<u64> {
    value.get_ref().as_integer()?.as_str().parse().ok()
}

fn fraction(value: Value<'_>) -> Option<f64> {
    let value = value.get_ref();
    let text = value.as_float().map(|float| float.as_str());
    text.or_else(|| value.as_integer().map(|integer| integer.as_str()))?
        .parse()
        .ok()
}

/// ": did you mean …?", if one of the known words is near.
fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> String {
    let near = known.map(|known| (distance(word, known), known)).min();
    match near {
        Some((distance, known)) if distance <= word.len().max(known.len()) / 2 => {
            format!("; did you mean `{known}`?")
        }
        _ => String::new(),
    }
}

/// Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, in_a) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, in_b) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(in_a != *in_b);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
