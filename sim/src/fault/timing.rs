//! When a fault begins and ends, and how often.

use super::{Kind, Ongoing, World};
use crate::run_facts::RefusalReasons;
use crate::scenario::reader::{Problem, Reader, Value};
use crate::scenario::settings::{Draw, Limits, Setting, Settings, Written, settings, toml};
use crate::scenario::units::{Count, Time, parse_time, time};
use std::fmt;

/// A fault of a scenario, or (with everything drawn) of a plan.
#[derive(Clone, Debug)]
pub struct Fault {
    /// From the start of the run.
    pub at: Time,
    /// How long it lasts.
    pub lasts: Time,
    recurs: Option<Recurs>,
    pub kind: Kind,
}

/// What the file calls the time that a fault of a kind lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// `for`.
    For,
    /// `restart_after`: its members are down as long.
    RestartAfter,
    /// It happens in an instant, and nothing ends.
    Instant,
}

/// A fault that happens again and again; a plan has each time apart.
#[derive(Clone, Copy, Debug)]
struct Recurs {
    until: u64,
    how: Rate,
}

#[derive(Clone, Copy, Debug)]
enum Rate {
    /// With such pauses between the beginnings.
    Every(Time),
    /// So often, at moments that are drawn.
    Times(Count),
}

settings! {
    /// When a fault happens. With `at = "from..to"` it lasts from then to then, or it recurs in
    /// that time, with `every` or `times`.
    pub struct When {
        /// When it begins.
        at: At,
        /// How long it lasts.
        lasts as "for": Option<Time>,
        /// How long the members of a fault that stops them are down.
        restart_after: Option<Time>,
        /// It recurs, with such pauses between the beginnings.
        every: Option<Time> [1..=86_400_000],
        /// It recurs so often, at moments that are drawn.
        times: Option<Count> [1..=10_000],
    }
    verify = When::verify;
}

/// A moment, drawn from a range, or from when to when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Moment(Time),
    FromTo(u64, u64),
}

impl Setting for At {
    fn kind() -> String {
        "time, a pair to draw from, or \"from..to\"".to_owned()
    }

    fn read(value: &Value<'_>, limits: Option<Limits>) -> Result<At, Problem> {
        let ends = value.text().and_then(|text| text.split_once(".."));
        let Some((from, to)) = ends else {
            return Time::read(value, limits).map(At::Moment);
        };
        match (parse_time(from.trim()), parse_time(to.trim())) {
            (Some(from), Some(to)) if from < to => Ok(At::FromTo(from, to)),
            _ => Err(value.problem("\"5s..40s\" is from when to when")),
        }
    }

    fn write(&self) -> Written {
        match self {
            At::Moment(moment) => moment.write(),
            At::FromTo(from, to) => Written::Value(format!("\"{}..{}\"", time(*from), time(*to))),
        }
    }
}

impl When {
    fn verify(&self, reader: &Reader<'_>) -> Result<(), Problem> {
        reader.excludes("every", "times", "both say how often")?;
        reader.excludes("for", "restart_after", "both say how long")?;
        let recurs = self.every.is_some() || self.times.is_some();
        if recurs && matches!(self.at, At::Moment(_)) {
            let message = "a fault that recurs (`every`, `times`) needs at = \"from..to\"";
            return Err(reader.problem_at("at", message));
        }
        Ok(())
    }

    /// The fault of this kind.
    fn fault(self, kind: Kind, reader: &Reader<'_>) -> Result<Fault, Problem> {
        let key = match kind.inner().length() {
            Length::For => "for",
            Length::RestartAfter => "restart_after",
            Length::Instant => "",
        };
        let name = kind.name();
        for stranger in ["for", "restart_after"] {
            if stranger != key && reader.has(stranger) {
                let hint = match key {
                    "" => "it has no length".to_owned(),
                    key => format!("how long it lasts is its `{key}`"),
                };
                let message = format!("a fault of kind {name} has no `{stranger}`: {hint}");
                return Err(reader.problem_at(stranger, message));
            }
        }
        let recurs = self.every.map(Rate::Every).or(self.times.map(Rate::Times));
        let lasts = self.lasts.or(self.restart_after);
        let missing = format!("this fault needs a `{key}`");
        let (at, lasts, recurs) = match (self.at, recurs, lasts) {
            (At::Moment(at), _, Some(lasts)) => (at, lasts, None),
            (At::Moment(at), _, None) if key.is_empty() => (at, Time::ms(0), None),
            (At::Moment(_), _, None) => return Err(reader.problem(missing)),
            (At::FromTo(from, until), Some(how), lasts) => {
                if lasts.is_none() && !key.is_empty() {
                    return Err(reader.problem(missing));
                }
                let lasts = lasts.unwrap_or(Time::ms(0));
                (Time::ms(from), lasts, Some(Recurs { until, how }))
            }
            (At::FromTo(..), None, Some(_)) => {
                let why = "with at = \"from..to\" a fault lasts as long, unless it recurs";
                reader.excludes("at", key, why)?;
                unreachable!("the file has both")
            }
            (At::FromTo(..), None, None) if key.is_empty() => {
                let message = "this fault happens in an instant: at = [\"5s\", \"9s\"] is some \
                               moment between, and with \"5s..9s\" goes `every` or `times`";
                return Err(reader.problem_at("at", message));
            }
            (At::FromTo(from, to), None, None) => (Time::ms(from), Time::ms(to - from), None),
        };
        Ok(Fault {
            at,
            lasts,
            recurs,
            kind,
        })
    }
}

impl Fault {
    pub fn read(reader: &Reader<'_>) -> Result<Fault, Problem> {
        let kind = Kind::read(reader)?;
        let when = <When as Settings>::read(reader)?;
        reader.done()?;
        when.fault(kind, reader)
    }

    /// The fault's occurrences, each with everything drawn.
    pub fn resolve(&self, draw: &Draw) -> Vec<Fault> {
        let moments = self.moments(&draw.part("at"));
        let occurrences = moments.into_iter().enumerate().map(|(number, at)| {
            let draw = match number {
                0 => draw.clone(),
                _ => draw.part(number),
            };
            Fault {
                at: Time::ms(at),
                lasts: self.lasts.draw(&draw.part("lasts")),
                recurs: None,
                kind: self.kind.draw(&draw),
            }
        });
        occurrences.collect()
    }

    fn moments(&self, draw: &Draw) -> Vec<u64> {
        let mut rng = draw.rng();
        let first = self.at.0.draw(&mut rng).value();
        let Some(Recurs { until, how }) = self.recurs else {
            return vec![first];
        };
        match how {
            Rate::Every(every) => {
                let mut moments = vec![first];
                let mut at = first + every.0.draw(&mut rng).value();
                while at <= until {
                    moments.push(at);
                    at += every.0.draw(&mut rng).value();
                }
                moments
            }
            Rate::Times(times) => {
                let times = times.0.draw(&mut rng).value();
                let mut moments: Vec<u64> = (0..times).map(|_| rng.range(first..=until)).collect();
                moments.sort_unstable();
                moments
            }
        }
    }

    /// See [`super::FaultKind::clock`].
    pub fn clock(&self) -> Option<(f64, bool)> {
        self.kind.inner().clock()
    }

    /// See [`super::FaultKind::request_bytes`].
    pub fn request_bytes(&self) -> Option<u64> {
        self.kind.inner().request_bytes()
    }

    /// See [`super::FaultKind::widen`].
    pub fn add_refusal_reasons(&self, refusal_reasons: &mut RefusalReasons) {
        self.kind.inner().add_refusal_reasons(refusal_reasons);
    }

    /// See [`super::FaultKind::begin`].
    pub fn begin(&self, world: &mut dyn World) -> Ongoing {
        self.kind.inner().begin(world)
    }

    fn when(&self) -> When {
        let at = match self.recurs {
            None => At::Moment(self.at),
            Some(Recurs { until, .. }) => At::FromTo(self.at.0.low, until),
        };
        let (every, times) = match self.recurs.map(|recurs| recurs.how) {
            None => (None, None),
            Some(Rate::Every(every)) => (Some(every), None),
            Some(Rate::Times(times)) => (None, Some(times)),
        };
        let length = self.kind.inner().length();
        let lasts = |wanted: Length| (length == wanted).then_some(self.lasts);
        When {
            at,
            lasts: lasts(Length::For),
            restart_after: lasts(Length::RestartAfter),
            every,
            times,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "kind = \"{}\"", self.kind.name())?;
        f.write_str(&toml(&self.when().entries(), "fault"))?;
        f.write_str(&toml(&self.kind.inner().entries(), "fault"))
    }
}
