//! Whether the member is well: what `/health` and the probes `/livez` and `/readyz` are told.

use crate::Service;
use bytes::Bytes;
use detcd_core::api::{AlarmKind, KeyRange, RangeRequest};
use detcd_core::error::Error;
use std::fmt;
use std::time::Duration;

/// etcd's own probe reads a key of this name, so any key will do.
const PROBED_KEY: &[u8] = b"health";
/// What a probe's read may take. Whoever probes waits for seconds, and not as long as a request may
/// take.
const READ_TIME_MAX: Duration = Duration::from_secs(2);

/// What `/health` asks.
#[derive(Clone, Debug, Default)]
pub struct HealthRequest {
    /// It is enough that the member can read what it has.
    pub serializable: bool,
    /// Alarms that do not count, by their names.
    pub exclude: Vec<String>,
}

/// Why `/health` says that the member is not well, in etcd's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unhealthy {
    Alarm(AlarmKind),
    NoLeader,
    Read(Error),
}

/// A list of checks that can be asked for one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Whether the process is to be left alone.
    Live,
    /// Whether it is to be sent requests.
    Ready,
}

/// Which checks of a probe are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Checks {
    One(String),
    AllBut(Vec<String>),
}

/// One check of a probe, with the reason if it failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckResult {
    pub name: &'static str,
    pub result: Result<(), CheckFailure>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckFailure {
    Read(Error),
    /// The member stops, and why.
    Halted(String),
    CorruptAlarm,
    Learner,
}

#[derive(Clone, Copy)]
enum Check {
    SerializableRead,
    LinearizableRead,
    DataCorruption,
    NonLearner,
}

const LIVE: &[(&str, Check)] = &[("serializable_read", Check::SerializableRead)];

const READY: &[(&str, Check)] = &[
    ("data_corruption", Check::DataCorruption),
    ("serializable_read", Check::SerializableRead),
    ("linearizable_read", Check::LinearizableRead),
    ("non_learner", Check::NonLearner),
];

impl Probe {
    /// The name in paths and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Probe::Live => "livez",
            Probe::Ready => "readyz",
        }
    }

    fn checks(self) -> &'static [(&'static str, Check)] {
        match self {
            Probe::Live => LIVE,
            Probe::Ready => READY,
        }
    }
}

impl Checks {
    fn want(&self, name: &str) -> bool {
        match self {
            Checks::One(wanted) => wanted == name,
            Checks::AllBut(excluded) => !excluded.iter().any(|it| it == name),
        }
    }
}

impl Service {
    pub async fn health(&self, request: &HealthRequest) -> Result<(), Unhealthy> {
        if let Some(kind) = self.alarm_but(&request.exclude) {
            return Err(Unhealthy::Alarm(kind));
        }
        if !request.serializable && self.inner.handle.leader().borrow().is_none() {
            return Err(Unhealthy::NoLeader);
        }
        let read = self.probe_read(request.serializable).await;
        read.map_err(Unhealthy::Read)
    }

    /// The wanted checks of a probe, in order. `None` if it has no check of the wanted name.
    pub async fn probe(&self, probe: Probe, checks: &Checks) -> Option<Vec<CheckResult>> {
        let mut results = Vec::new();
        for (name, check) in probe.checks().iter().filter(|it| checks.want(it.0)) {
            let result = self.run_check(*check).await;
            results.push(CheckResult { name, result });
        }
        (!results.is_empty() || matches!(checks, Checks::AllBut(_))).then_some(results)
    }

    /// The first alarm that is raised by any member and not excluded.
    fn alarm_but(&self, excluded: &[String]) -> Option<AlarmKind> {
        let is_excluded = |kind: AlarmKind| excluded.iter().any(|name| *name == kind.to_string());
        // Rows that cannot be read halt the member, and the read that follows fails.
        let alarms = self.inner.handle.alarms_known().unwrap_or_default();
        let mut kinds = alarms.iter().map(|alarm| alarm.kind);
        kinds.find(|kind| !is_excluded(*kind))
    }

    async fn run_check(&self, check: Check) -> Result<(), CheckFailure> {
        match check {
            Check::SerializableRead => self.probe_read(true).await.map_err(CheckFailure::Read),
            Check::LinearizableRead => self.probe_read(false).await.map_err(CheckFailure::Read),
            Check::DataCorruption => self.data_corruption(),
            Check::NonLearner => match self.inner.handle.status().raft.is_learner {
                true => Err(CheckFailure::Learner),
                false => Ok(()),
            },
        }
    }

    fn data_corruption(&self) -> Result<(), CheckFailure> {
        let handle = &self.inner.handle;
        // A member that finds its own data damaged halts, and soon nobody answers here.
        if let Some(reason) = &*handle.fatal().borrow() {
            return Err(CheckFailure::Halted(reason.clone()));
        }
        let alarms = handle.alarms_known().unwrap_or_default();
        match alarms.iter().any(|alarm| alarm.kind == AlarmKind::Corrupt) {
            true => Err(CheckFailure::CorruptAlarm),
            false => Ok(()),
        }
    }

    async fn probe_read(&self, serializable: bool) -> Result<(), Error> {
        let handle = &self.inner.handle;
        if !serializable {
            let mut leader = handle.leader();
            tokio::select! {
                biased;
                confirmed = handle.confirm_read() => confirmed?,
                _ = leader.wait_for(Option::is_none) => return Err(Error::NoLeader),
                () = detcd_rt::sleep(READ_TIME_MAX) => return Err(Error::Timeout),
            }
        }
        let key = KeyRange::One(Bytes::from_static(PROBED_KEY));
        let request = RangeRequest {
            // What was to be confirmed is.
            serializable: true,
            limit: 1,
            keys_only: true,
            ..RangeRequest::of(key)
        };
        handle.range(request).await.map(|_| ())
    }
}

fn text(error: &Error) -> &'static str {
    detcd_wire::status::status(error).1
}

impl fmt::Display for Unhealthy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unhealthy::Alarm(kind) => write!(f, "ALARM {kind}"),
            Unhealthy::NoLeader => f.write_str("RAFT NO LEADER"),
            Unhealthy::Read(error) => write!(f, "RANGE ERROR:{}", text(error)),
        }
    }
}

impl fmt::Display for CheckFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CheckFailure::Read(error) => write!(f, "RANGE ERROR: {}", text(error)),
            CheckFailure::Halted(reason) => f.write_str(reason),
            CheckFailure::CorruptAlarm => f.write_str("alarm activated: CORRUPT"),
            CheckFailure::Learner => {
                f.write_str("learner member is not ready to serve linearizable requests")
            }
        }
    }
}
