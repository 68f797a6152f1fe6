//! Reads tables of TOML so that every mistake names its file, its line and what was meant.

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

/// A table whose keys are asked for by name. [`Reader::done`] complains about the others.
pub struct Reader<'a> {
    source: Source<'a>,
    name: String,
    offset: usize,
    table: &'a DeTable<'a>,
    known: RefCell<Vec<&'static str>>,
}

/// The value of a key, or an element of a list under it.
pub struct Value<'a> {
    source: Source<'a>,
    /// The table's name and the key.
    path: (String, &'static str),
    value: &'a Spanned<DeValue<'a>>,
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

    /// Reads a table that is not there, for its defaults.
    pub fn of_nothing<T>(read: impl FnOnce(&Reader<'_>) -> T) -> T {
        let source = Source { file: "", text: "" };
        read(&Reader::new(source, "", 0, &DeTable::new()))
    }

    /// The table's place in the file, such as "cluster.network".
    pub fn name(&self) -> &str {
        match &self.name[..] {
            "" => "a scenario",
            name => name,
        }
    }

    /// A problem with the table as a whole.
    pub fn problem(&self, message: impl Into<String>) -> Problem {
        self.source.problem(self.offset, message)
    }

    /// A problem with the value of `key`.
    pub fn problem_at(&self, key: &str, message: impl Into<String>) -> Problem {
        let offset = self.table.get(key).map(|value| value.span().start);
        let message = format!("{key}: {}", message.into());
        self.source.problem(offset.unwrap_or(self.offset), message)
    }

    /// Fails if the file has both keys, at the later one.
    pub fn excludes(&self, one: &str, other: &str, why: &str) -> Result<(), Problem> {
        let at = |key: &str| self.table.get(key).map(|value| value.span().start);
        match (at(one), at(other)) {
            (Some(a), Some(b)) => {
                let message = format!("`{one}` and `{other}` contradict each other: {why}");
                Err(self.source.problem(a.max(b), message))
            }
            _ => Ok(()),
        }
    }

    /// Whether the file has the key.
    pub fn has(&self, key: &str) -> bool {
        self.table.get(key).is_some()
    }

    /// The value of a key, which is known from now on.
    pub fn get(&self, key: &'static str) -> Option<Value<'a>> {
        self.known.borrow_mut().push(key);
        Some(Value {
            source: self.source,
            path: (self.name.clone(), key),
            value: self.table.get(key)?,
        })
    }

    /// One of these words, which must be there.
    pub fn one_of(
        &self,
        key: &'static str,
        words: &'static [&'static str],
    ) -> Result<&'static str, Problem> {
        let missing = || self.problem(format!("{} needs a `{key}`", self.name()));
        let value = self.get(key).ok_or_else(missing)?;
        let words: Vec<(&str, &'static str)> = words.iter().map(|word| (*word, *word)).collect();
        value.chosen(&words)
    }

    /// Fails if the table has a key that nobody asked for.
    pub fn done(&self) -> Result<(), Problem> {
        let known = self.known.borrow();
        for key in self.table.keys() {
            let name: &str = key.get_ref();
            if !known.contains(&name) {
                let hint = nearest(name, known.iter().copied());
                let message = format!("{} has no key `{name}`{hint}", self.name());
                return Err(self.source.problem(key.span().start, message));
            }
        }
        Ok(())
    }

    /// The tables of an array of tables.
    pub fn tables(&self, key: &'static str) -> Result<Vec<Reader<'a>>, Problem> {
        let Some(value) = self.get(key) else {
            return Ok(Vec::new());
        };
        let wrong = || value.problem(format!("tables headed [[{key}]] belong here"));
        let elements = value.elements().ok_or_else(wrong)?;
        let tables = elements.iter().map(|element| element.table());
        tables.collect::<Result<_, _>>().map_err(|_| wrong())
    }
}

impl<'a> Value<'a> {
    pub fn problem(&self, message: impl Into<String>) -> Problem {
        let message = format!("{}: {}", self.path.1, message.into());
        self.source.problem(self.value.span().start, message)
    }

    pub fn text(&self) -> Option<&'a str> {
        self.value.get_ref().as_str()
    }

    pub fn switch(&self) -> Option<bool> {
        self.value.get_ref().as_bool()
    }

    pub fn integer(&self) -> Option<u64> {
        self.value.get_ref().as_integer()?.as_str().parse().ok()
    }

    pub fn float(&self) -> Option<f64> {
        let value = self.value.get_ref();
        let text = value.as_float().map(|float| float.as_str());
        text.or_else(|| value.as_integer().map(|integer| integer.as_str()))?
            .parse()
            .ok()
    }

    /// The elements of a list.
    pub fn elements(&self) -> Option<Vec<Value<'a>>> {
        let elements = self.value.get_ref().as_array()?.iter();
        let elements = elements.map(|value| Value {
            source: self.source,
            path: self.path.clone(),
            value,
        });
        Some(elements.collect())
    }

    /// The table that it is.
    pub fn table(&self) -> Result<Reader<'a>, Problem> {
        let table = self.value.get_ref().as_table();
        let table = table.ok_or_else(|| self.problem("a table belongs here"))?;
        let name = match &self.path {
            (outer, key) if outer.is_empty() => (*key).to_owned(),
            (outer, key) => format!("{outer}.{key}"),
        };
        let offset = self.value.span().start;
        Ok(Reader::new(self.source, &name, offset, table))
    }

    /// One of these words.
    pub fn chosen<T: Copy>(&self, words: &[(&str, T)]) -> Result<T, Problem> {
        let text = self.text().ok_or_else(|| {
            let words: Vec<String> = words
                .iter()
                .map(|(word, _)| format!("\"{word}\""))
                .collect();
            self.problem(format!("one of {} belongs here", words.join(", ")))
        })?;
        match words.iter().find(|(word, _)| *word == text) {
            Some((_, choice)) => Ok(*choice),
            None => {
                let hint = nearest(text, words.iter().map(|(word, _)| *word));
                Err(self.problem(format!("`{text}` is not known here{hint}")))
            }
        }
    }
}

/// ": did you mean …?", if one of the known words is near.
pub fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> String {
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
