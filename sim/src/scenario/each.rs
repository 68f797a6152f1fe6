//! A setting that may differ from member to member.

use super::reader::{Problem, Value};
use super::settings::{Draw, Initial, Limits, Setting, Written, inline};

/// One value for all members, a range from which each member draws its own, or a table of values
/// by member, as `{ m1 = 1.0, m3 = 0.9 }`.
#[derive(Clone, Debug, PartialEq)]
pub enum EachMember<T> {
    Same(T),
    Own(Vec<(&'static str, T)>),
}

/// More than a cluster starts with, for those that join later.
const NAMES: [&str; 16] = [
    "m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "m9", "m10", "m11", "m12", "m13", "m14", "m15",
    "m16",
];

impl<T> EachMember<T> {
    /// The value of a member, counted from 0; a table need not name all.
    pub fn of(&self, member: usize) -> Option<&T> {
        match self {
            EachMember::Same(value) => Some(value),
            EachMember::Own(values) => {
                let name = NAMES.get(member)?;
                let own = values.iter().find(|(of, _)| of == name);
                own.map(|(_, value)| value)
            }
        }
    }

    /// All that is said.
    pub fn all(&self) -> impl Iterator<Item = &T> {
        let (same, own) = match self {
            EachMember::Same(value) => (Some(value), &[][..]),
            EachMember::Own(values) => (None, &values[..]),
        };
        same.into_iter().chain(own.iter().map(|(_, value)| value))
    }
}

impl<T: Setting, U> Initial<U> for EachMember<T>
where
    T: Initial<U>,
{
    fn initial(from: U) -> EachMember<T> {
        EachMember::Same(T::initial(from))
    }
}

impl<T: Setting + PartialEq> Setting for EachMember<T> {
    fn kind() -> String {
        format!(
            "{} for each member, or a table of them by member, as {{ m1 = ... }}",
            T::kind()
        )
    }

    fn limits() -> Option<Limits> {
        T::limits()
    }

    fn read(value: &Value<'_>, limits: Option<Limits>) -> Result<EachMember<T>, Problem> {
        let Ok(reader) = value.table() else {
            return T::read(value, limits).map(EachMember::Same);
        };
        let mut own = Vec::new();
        for name in NAMES {
            if let Some(value) = reader.get(name) {
                own.push((name, T::read(&value, limits)?));
            }
        }
        reader.done()?;
        Ok(EachMember::Own(own))
    }

    fn draw(&self, draw: &Draw) -> EachMember<T> {
        match self {
            EachMember::Same(value) if value.draw(draw) == *value => self.clone(),
            EachMember::Same(value) => {
                let own = NAMES
                    .iter()
                    .map(|name| (*name, value.draw(&draw.part(name))));
                EachMember::Own(own.take(draw.members).collect())
            }
            EachMember::Own(own) => {
                let own = own.iter();
                let own = own.map(|(name, value)| (*name, value.draw(&draw.part(name))));
                EachMember::Own(own.collect())
            }
        }
    }

    fn write(&self) -> Written {
        match self {
            EachMember::Same(value) => value.write(),
            EachMember::Own(own) => {
                let entries = own.iter().map(|(name, value)| (*name, value.write()));
                Written::Value(inline(&entries.collect()))
            }
        }
    }
}
