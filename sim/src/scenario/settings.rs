//! One declaration for each table of a scenario.
//!
//! [`settings!`] declares a struct and, in the same breath, everything that there is to know of its
//! table in a file: how each key is read, its default, what it may be, how the seed draws it, how
//! the plan prints it, and its line in the reference that `cargo sim schema` prints.
//!
//! ```text
//! settings! {
//!     /// Packets to and from some members take longer.
//!     pub struct Delay {
//!         /// Whose packets.
//!         target: Targets,                   // no default: the key must be given
//!         /// How much longer a packet takes; drawn for each.
//!         by_ms: Counts [1..=60_000],        // what a number must be within
//!         /// How likely a packet is late.
//!         probability: Ratio = 1.0,          // a default, as one would write it in a file
//!         /// A key that is a word of Rust's.
//!         whom as "for": Option<Time>,       // may be absent, without a default
//!     }
//!     verify = Delay::verify;                // optional: what one key says of another
//! }
//! ```
//!
//! The types say what belongs there: see [`super::units`] for numbers, times and ratios (those in
//! the singular are drawn for the plan, those in the plural stay ranges and are drawn each time),
//! [`super::target`] for members, [`super::choice`] for words, `Vec<T>` for lists, and another
//! `settings!` for a table within.
//!
//! **A new kind of fault** is its settings in the file of its subject under `fault/`, with a line of
//! that file's table or an `impl FaultKind`, and one line in the list at the head of `fault/mod.rs`.
//! **A new workload** is a file under `workload/` and a line there. Nothing else names them: reading, the plan, the
//! reference and the swarm follow from the list.

use super::reader::{Problem, Reader, Value};
use crate::rng::Rng;
use std::fmt::{self, Write as _};
use std::ops::RangeInclusive;

/// A table of a scenario; declared by [`settings!`].
pub trait Settings: fmt::Debug {
    /// Reads the keys of the table, and leaves it to the caller to ask for [`Reader::done`]: a
    /// fault's table has keys that every fault has.
    fn read(reader: &Reader<'_>) -> Result<Self, Problem>
    where
        Self: Sized;

    /// Draws everything that is open.
    fn draw(&self, draw: &Draw) -> Self
    where
        Self: Sized;

    /// The keys, their values as a file has them, and what they are if they are not given.
    fn rows(&self) -> Vec<(&'static str, Written, Option<Written>)>;

    /// The keys and their values.
    fn entries(&self) -> Entries {
        let rows = self.rows().into_iter();
        rows.map(|(key, written, _)| (key, written)).collect()
    }

    /// The keys that are not as they are by default.
    fn said(&self) -> Entries {
        let rows = self.rows().into_iter();
        rows.filter(|(_, written, default)| Some(written) != default.as_ref())
            .map(|(key, written, _)| (key, written))
            .collect()
    }

    /// Its chapter of the reference.
    fn describe() -> TableDoc
    where
        Self: Sized;
}

/// The value of a key.
pub trait Setting: Clone + Sized {
    /// What belongs here, in words.
    fn kind() -> String;

    /// What numbers must be within if the declaration does not say it.
    fn limits() -> Option<Limits> {
        None
    }

    fn read(value: &Value<'_>, limits: Option<Limits>) -> Result<Self, Problem>;

    /// The value of a key that is not there and has no default; `None` if it must be there.
    fn absent() -> Option<Self> {
        None
    }

    fn draw(&self, _: &Draw) -> Self {
        self.clone()
    }

    fn write(&self) -> Written;

    /// All values that there are, if they can be told.
    fn every() -> Vec<Self> {
        Vec::new()
    }

    /// The table that belongs here, if it is one.
    fn table() -> Option<TableDoc> {
        None
    }
}

/// Makes a default of what a declaration has behind `=`.
pub trait Initial<T> {
    fn initial(from: T) -> Self;
}

/// A value as a file has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    Nothing,
    Value(String),
    Table(Entries),
}

/// Keys and values, in the order of the declaration.
pub type Entries = Vec<(&'static str, Written)>;

/// The range that numbers (times: their milliseconds) must be within.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    pub low: f64,
    pub high: f64,
}

impl From<RangeInclusive<u64>> for Limits {
    fn from(range: RangeInclusive<u64>) -> Limits {
        Limits {
            low: *range.start() as f64,
            high: *range.end() as f64,
        }
    }
}

impl From<RangeInclusive<f64>> for Limits {
    fn from(range: RangeInclusive<f64>) -> Limits {
        Limits {
            low: *range.start(),
            high: *range.end(),
        }
    }
}

/// Where the draws of a plan come from. Each key has a stream of its own, named by its place, so
/// that a key, a fault or a workload more does not shift what the others draw.
#[derive(Clone, Debug)]
pub struct Draw {
    seed: u64,
    place: String,
    /// Of the cluster that the plan is for.
    pub members: usize,
}

impl Draw {
    pub fn new(seed: u64, members: usize) -> Draw {
        Draw {
            seed,
            place: "plan".to_owned(),
            members,
        }
    }

    /// The draws of a part.
    pub fn part(&self, name: impl fmt::Display) -> Draw {
        Draw {
            seed: self.seed,
            place: format!("{}/{name}", self.place),
            members: self.members,
        }
    }

    pub fn rng(&self) -> Rng {
        Rng::of(self.seed, &self.place)
    }

    /// Draws that are the same wherever in the plan they are made.
    pub fn common(&self, name: &str) -> Rng {
        Rng::of(self.seed, &format!("plan/{name}"))
    }
}

/// A chapter of the reference: a table and its keys.
#[derive(Clone, Debug)]
pub struct TableDoc {
    pub doc: String,
    pub keys: Vec<KeyDoc>,
}

#[derive(Clone, Debug)]
pub struct KeyDoc {
    pub key: &'static str,
    pub kind: String,
    pub limits: Option<Limits>,
    /// `None`: there is none. Nothing: it may be absent.
    pub default: Option<Written>,
    pub doc: String,
    pub table: Option<TableDoc>,
}

impl TableDoc {
    pub fn new(doc: &[&str], keys: Vec<KeyDoc>) -> TableDoc {
        TableDoc {
            doc: prose(doc),
            keys,
        }
    }
}

impl KeyDoc {
    pub fn of<T: Setting>(
        key: &'static str,
        doc: &[&str],
        limits: Option<Limits>,
        default: Option<T>,
    ) -> KeyDoc {
        KeyDoc {
            key,
            kind: T::kind(),
            limits: limits.or(T::limits()),
            default: default_written(default),
            doc: prose(doc),
            table: T::table(),
        }
    }
}

/// What a key is if it is not given; the work of [`settings!`].
pub fn default_written<T: Setting>(default: Option<T>) -> Option<Written> {
    default.or(T::absent()).map(|default| default.write())
}

/// Lines of a doc comment as one line.
fn prose(lines: &[&str]) -> String {
    let lines: Vec<&str> = lines.iter().map(|line| line.trim()).collect();
    lines.join(" ")
}

/// Reads a key of a table; the work of [`settings!`].
pub fn read_key<T: Setting>(
    reader: &Reader<'_>,
    key: &'static str,
    limits: Option<Limits>,
    default: Option<T>,
) -> Result<T, Problem> {
    match reader.get(key) {
        Some(value) => T::read(&value, limits.or(T::limits())),
        None => default
            .or(T::absent())
            .ok_or_else(|| reader.problem(format!("{} needs a `{key}`", reader.name()))),
    }
}

/// Entries as the lines of a file: values first, and tables under headers of their own, within
/// `path` ("cluster").
pub fn toml(entries: &Entries, path: &str) -> String {
    let mut text = String::new();
    let mut tables = String::new();
    for (key, written) in entries {
        match written {
            Written::Nothing => {}
            Written::Value(value) => {
                writeln!(text, "{key} = {value}").expect("a string takes every write");
            }
            Written::Table(entries) => {
                let path = format!("{path}.{key}");
                let inner = toml(entries, &path);
                write!(tables, "\n[{path}]\n{inner}").expect("a string takes every write");
            }
        }
    }
    text + &tables
}

/// Entries on one line, as `{ a = 1, b = 2 }`.
pub fn inline(entries: &Entries) -> String {
    let entries = entries.iter().filter_map(|(key, written)| match written {
        Written::Nothing => None,
        Written::Value(value) => Some(format!("{key} = {value}")),
        Written::Table(entries) => Some(format!("{key} = {}", inline(entries))),
    });
    let entries: Vec<String> = entries.collect();
    format!("{{ {} }}", entries.join(", "))
}

/// Declares a table of a scenario: see the head of this file.
macro_rules! settings {
    (
        $(#[doc = $doc:literal])*
        $vis:vis struct $name:ident {
            $(
                $(#[doc = $field_doc:literal])*
                $field_vis:vis $field:ident $(as $key:literal)? : $type:ty
                    $([$($limits:tt)+])? $(= $default:expr)?
            ),* $(,)?
        }
        $(verify = $verify:path;)?
    ) => {
        $(#[doc = $doc])*
        #[derive(Clone, Debug, PartialEq)]
        $vis struct $name {
            $($(#[doc = $field_doc])* $field_vis $field: $type,)*
        }

        impl $crate::scenario::settings::Settings for $name {
            fn read(
                reader: &$crate::scenario::reader::Reader<'_>,
            ) -> Result<Self, $crate::scenario::reader::Problem> {
                let settings = $name {
                    $($field: $crate::scenario::settings::read_key::<$type>(
                        reader,
                        $crate::scenario::settings::key!($field $(as $key)?),
                        $crate::scenario::settings::limits!($($($limits)+)?),
                        $crate::scenario::settings::default!($type $(= $default)?),
                    )?,)*
                };
                $($verify(&settings, reader)?;)?
                Ok(settings)
            }

            fn draw(&self, draw: &$crate::scenario::settings::Draw) -> Self {
                $name {
                    $($field: $crate::scenario::settings::Setting::draw(
                        &self.$field,
                        &draw.part($crate::scenario::settings::key!($field $(as $key)?)),
                    ),)*
                }
            }

            fn rows(
                &self,
            ) -> Vec<(
                &'static str,
                $crate::scenario::settings::Written,
                Option<$crate::scenario::settings::Written>,
            )> {
                vec![$((
                    $crate::scenario::settings::key!($field $(as $key)?),
                    $crate::scenario::settings::Setting::write(&self.$field),
                    $crate::scenario::settings::default_written(
                        $crate::scenario::settings::default!($type $(= $default)?),
                    ),
                ),)*]
            }

            fn describe() -> $crate::scenario::settings::TableDoc {
                let keys = vec![$(
                    $crate::scenario::settings::KeyDoc::of::<$type>(
                        $crate::scenario::settings::key!($field $(as $key)?),
                        &[$($field_doc),*],
                        $crate::scenario::settings::limits!($($($limits)+)?),
                        $crate::scenario::settings::default!($type $(= $default)?),
                    ),
                )*];
                $crate::scenario::settings::TableDoc::new(&[$($doc),*], keys)
            }
        }

        impl $crate::scenario::settings::Setting for $name {
            fn kind() -> String {
                "table".to_owned()
            }

            fn read(
                value: &$crate::scenario::reader::Value<'_>,
                _: Option<$crate::scenario::settings::Limits>,
            ) -> Result<Self, $crate::scenario::reader::Problem> {
                let reader = value.table()?;
                let settings = <$name as $crate::scenario::settings::Settings>::read(&reader)?;
                reader.done()?;
                Ok(settings)
            }

            fn absent() -> Option<Self> {
                $crate::scenario::reader::Reader::of_nothing(|reader| {
                    <$name as $crate::scenario::settings::Settings>::read(reader).ok()
                })
            }

            fn draw(&self, draw: &$crate::scenario::settings::Draw) -> Self {
                <$name as $crate::scenario::settings::Settings>::draw(self, draw)
            }

            fn write(&self) -> $crate::scenario::settings::Written {
                $crate::scenario::settings::Written::Table(
                    <$name as $crate::scenario::settings::Settings>::entries(self),
                )
            }

            fn table() -> Option<$crate::scenario::settings::TableDoc> {
                Some(<$name as $crate::scenario::settings::Settings>::describe())
            }
        }
    };
}

macro_rules! key {
    ($field:ident) => {
        stringify!($field)
    };
    ($field:ident as $key:literal) => {
        $key
    };
}

macro_rules! limits {
    () => {
        None
    };
    ($($limits:tt)+) => {
        Some($crate::scenario::settings::Limits::from($($limits)+))
    };
}

macro_rules! default {
    ($type:ty) => {
        None::<$type>
    };
    ($type:ty = $default:expr) => {
        Some(<$type as $crate::scenario::settings::Initial<_>>::initial(
            $default,
        ))
    };
}

/// Declares the kinds of something that a scenario has many of, each with settings of its own:
/// an enum of them, how `kind = "..."` chooses, and the list for the reference.
macro_rules! kinds {
    (
        $(#[doc = $doc:literal])*
        $vis:vis enum $name:ident: $trait:ident {
            $($word:literal => $variant:ident($type:ty)),* $(,)?
        }
    ) => {
        $(#[doc = $doc])*
        #[derive(Clone, Debug, PartialEq)]
        $vis enum $name {
            $($variant($type),)*
        }

        impl $name {
            /// Every kind, as `kind = "..."` names it.
            $vis const NAMES: &'static [&'static str] = &[$($word),*];

            /// Reads the kind and its own settings.
            $vis fn read(
                reader: &$crate::scenario::reader::Reader<'_>,
            ) -> Result<Self, $crate::scenario::reader::Problem> {
                match reader.one_of("kind", Self::NAMES)? {
                    $($word => Ok($name::$variant(
                        <$type as $crate::scenario::settings::Settings>::read(reader)?,
                    )),)*
                    other => unreachable!("`{other}` is not among the names"),
                }
            }

            $vis fn draw(&self, draw: &$crate::scenario::settings::Draw) -> Self {
                match self {
                    $($name::$variant(of) => $name::$variant(
                        $crate::scenario::settings::Settings::draw(of, draw),
                    ),)*
                }
            }

            /// As `kind = "..."` has it.
            $vis fn name(&self) -> &'static str {
                match self {
                    $($name::$variant(_) => $word,)*
                }
            }

            /// What is common to all kinds.
            $vis fn inner(&self) -> &dyn $trait {
                match self {
                    $($name::$variant(of) => of,)*
                }
            }

            /// Each kind and its chapter of the reference.
            $vis fn describe() -> Vec<(&'static str, $crate::scenario::settings::TableDoc)> {
                vec![$((
                    $word,
                    <$type as $crate::scenario::settings::Settings>::describe(),
                ),)*]
            }
        }
    };
}

pub(crate) use {default, key, kinds, limits, settings};
