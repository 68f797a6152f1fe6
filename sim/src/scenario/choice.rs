//! Words, switches, texts, lists of values, and one of several values.

use super::reader::{Problem, Value};
use super::settings::{Draw, Initial, Limits, Setting, Written};

/// A closed set of words.
pub trait Choice: Copy + PartialEq + 'static {
    fn words() -> Vec<(&'static str, Self)>;

    fn word(self) -> &'static str {
        let words = Self::words();
        let word = words.iter().find(|(_, choice)| *choice == self);
        word.expect("every choice has a word").0
    }
}

impl<T: Choice> Setting for T {
    fn kind() -> String {
        let words: Vec<String> = T::words()
            .iter()
            .map(|(word, _)| format!("\"{word}\""))
            .collect();
        words.join(", ")
    }

    fn read(value: &Value<'_>, _: Option<Limits>) -> Result<T, Problem> {
        value.chosen(&T::words())
    }

    fn write(&self) -> Written {
        Written::Value(format!("\"{}\"", self.word()))
    }

    fn every() -> Vec<T> {
        T::words().into_iter().map(|(_, choice)| choice).collect()
    }
}

impl<T: Choice> Initial<T> for T {
    fn initial(from: T) -> T {
        from
    }
}

/// Declares an enum whose variants are words of scenario files.
macro_rules! choices {
    (
        $(#[doc = $doc:literal])*
        $vis:vis enum $name:ident {
            $($(#[doc = $word_doc:literal])* $variant:ident = $word:literal),* $(,)?
        }
    ) => {
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        $vis enum $name {
            $($(#[doc = $word_doc])* $variant,)*
        }

        impl $crate::scenario::choice::Choice for $name {
            fn words() -> Vec<(&'static str, Self)> {
                vec![$(($word, $name::$variant)),*]
            }
        }
    };
}
pub(crate) use choices;

/// One of several values: a file has one, or a list of which the plan draws one. For words, "any"
/// stands for all of them.
#[derive(Clone, Debug, PartialEq)]
pub struct OneOf<T>(Vec<T>);

impl<T: Setting> OneOf<T> {
    pub fn one(value: T) -> OneOf<T> {
        OneOf(vec![value])
    }

    /// The value in a plan.
    pub fn value(&self) -> &T {
        assert_eq!(self.0.len(), 1, "a plan has no choices");
        &self.0[0]
    }

    /// All that it may come to.
    pub fn all(&self) -> &[T] {
        &self.0
    }
}

impl<T: Setting, U> Initial<U> for OneOf<T>
where
    T: Initial<U>,
{
    fn initial(from: U) -> OneOf<T> {
        OneOf::one(T::initial(from))
    }
}

impl<T: Setting> Setting for OneOf<T> {
    fn kind() -> String {
        let any = if T::every().is_empty() {
            ""
        } else {
            ", or \"any\""
        };
        format!("{}, or a list to draw from{any}", T::kind())
    }

    fn limits() -> Option<Limits> {
        T::limits()
    }

    fn read(value: &Value<'_>, limits: Option<Limits>) -> Result<OneOf<T>, Problem> {
        if value.text() == Some("any") && !T::every().is_empty() {
            return Ok(OneOf(T::every()));
        }
        let Some(elements) = value.elements() else {
            return T::read(value, limits).map(OneOf::one);
        };
        if elements.is_empty() {
            return Err(value.problem("a list to draw from has something in it"));
        }
        let elements = elements.iter().map(|element| T::read(element, limits));
        elements.collect::<Result<_, _>>().map(OneOf)
    }

    fn draw(&self, draw: &Draw) -> OneOf<T> {
        let chosen = draw.rng().index(self.0.len());
        OneOf::one(self.0[chosen].draw(draw))
    }

    fn write(&self) -> Written {
        match &self.0[..] {
            [one] => one.write(),
            several => write_list(several),
        }
    }
}

impl<T: Setting> Setting for Vec<T> {
    fn kind() -> String {
        format!("list of: {}", T::kind())
    }

    fn limits() -> Option<Limits> {
        T::limits()
    }

    fn read(value: &Value<'_>, limits: Option<Limits>) -> Result<Vec<T>, Problem> {
        let elements = value
            .elements()
            .ok_or_else(|| value.problem("a list belongs here"))?;
        elements
            .iter()
            .map(|element| T::read(element, limits))
            .collect()
    }

    fn absent() -> Option<Vec<T>> {
        Some(Vec::new())
    }

    fn draw(&self, draw: &Draw) -> Vec<T> {
        let elements = self.iter().enumerate();
        elements
            .map(|(index, element)| element.draw(&draw.part(index)))
            .collect()
    }

    fn write(&self) -> Written {
        write_list(self)
    }
}

fn write_list<T: Setting>(list: &[T]) -> Written {
    let elements = list.iter().map(|element| match element.write() {
        Written::Value(value) => value,
        Written::Table(entries) => super::settings::inline(&entries),
        Written::Nothing => unreachable!("a list has no holes"),
    });
    let elements: Vec<String> = elements.collect();
    Written::Value(format!("[{}]", elements.join(", ")))
}

impl<T: Setting> Setting for Option<T> {
    fn kind() -> String {
        T::kind()
    }

    fn limits() -> Option<Limits> {
        T::limits()
    }

    fn read(value: &Value<'_>, limits: Option<Limits>) -> Result<Option<T>, Problem> {
        T::read(value, limits).map(Some)
    }

    fn absent() -> Option<Option<T>> {
        Some(None)
    }

    fn draw(&self, draw: &Draw) -> Option<T> {
        self.as_ref().map(|value| value.draw(draw))
    }

    fn write(&self) -> Written {
        self.as_ref()
            .map_or(Written::Nothing, |value| value.write())
    }

    fn table() -> Option<super::settings::TableDoc> {
        T::table()
    }
}

impl Setting for u64 {
    fn kind() -> String {
        "number".to_owned()
    }

    fn read(value: &Value<'_>, limits: Option<Limits>) -> Result<u64, Problem> {
        let wanted = || value.problem("a whole number belongs here");
        let number = value.integer().ok_or_else(wanted)?;
        match limits {
            Some(Limits { low, high }) if (number as f64) < low || (number as f64) > high => {
                Err(value.problem(format!("a whole number from {low} to {high} belongs here")))
            }
            _ => Ok(number),
        }
    }

    fn write(&self) -> Written {
        Written::Value(self.to_string())
    }
}

impl Initial<u64> for u64 {
    fn initial(from: u64) -> u64 {
        from
    }
}

impl Setting for bool {
    fn kind() -> String {
        "true or false".to_owned()
    }

    fn read(value: &Value<'_>, _: Option<Limits>) -> Result<bool, Problem> {
        let wanted = || value.problem("true or false belongs here");
        value.switch().ok_or_else(wanted)
    }

    fn write(&self) -> Written {
        Written::Value(self.to_string())
    }

    fn every() -> Vec<bool> {
        vec![false, true]
    }
}

impl Initial<bool> for bool {
    fn initial(from: bool) -> bool {
        from
    }
}

impl Setting for String {
    fn kind() -> String {
        "text".to_owned()
    }

    fn read(value: &Value<'_>, _: Option<Limits>) -> Result<String, Problem> {
        let wanted = || value.problem("a text belongs here");
        value.text().map(str::to_owned).ok_or_else(wanted)
    }

    fn write(&self) -> Written {
        // TOML and Rust escape quotes, backslashes and line ends alike.
        Written::Value(format!("{self:?}"))
    }
}

impl Initial<&'static str> for String {
    fn initial(from: &'static str) -> String {
        from.to_owned()
    }
}

/// How often each of some words is to be drawn, as `{ put = 5, get = 3 }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mix<T>(Vec<(T, u64)>);

impl<T: Choice> Mix<T> {
    pub fn pick(&self, rng: &mut crate::rng::Rng) -> T {
        let weights: Vec<u64> = self.0.iter().map(|(_, weight)| *weight).collect();
        self.0[rng.weighted(&weights)].0
    }
}

impl<T: Choice, const N: usize> Initial<[(T, u64); N]> for Mix<T> {
    fn initial(from: [(T, u64); N]) -> Mix<T> {
        Mix(from.to_vec())
    }
}

impl<T: Choice> Setting for Mix<T> {
    fn kind() -> String {
        format!("table of weights for: {}", T::kind())
    }

    fn read(value: &Value<'_>, _: Option<Limits>) -> Result<Mix<T>, Problem> {
        let reader = value.table()?;
        let mut mix = Vec::new();
        for (word, choice) in T::words() {
            if let Some(value) = reader.get(word) {
                mix.push((choice, u64::read(&value, None)?));
            }
        }
        reader.done()?;
        if mix.iter().all(|(_, weight)| *weight == 0) {
            return Err(value.problem("nothing here has a weight"));
        }
        Ok(Mix(mix))
    }

    fn write(&self) -> Written {
        let entries = self.0.iter();
        let entries = entries.map(|(choice, weight)| (choice.word(), weight.write()));
        Written::Value(super::settings::inline(&entries.collect()))
    }
}
