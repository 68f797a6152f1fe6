//! Workloads: what clients do, and what they write down of it. A file for each kind.

pub mod kv;
pub mod lease;
pub mod watch;

use crate::rng::Rng;
use crate::scenario::reader::{Problem, Reader};
use std::fmt;

#[derive(Clone, Debug)]
pub enum Workload {
    Kv(kv::Kv),
    Watch(watch::Watch),
    Lease(lease::Lease),
}

#[derive(Clone, Copy)]
enum Name {
    Kv,
    Watch,
    Lease,
}

const NAMES: [(&str, Name); 3] = [
    ("kv", Name::Kv),
    ("watch", Name::Watch),
    ("lease", Name::Lease),
];

impl Workload {
    pub fn read(reader: &Reader<'_>) -> Result<Workload, Problem> {
        reader.required_text("kind")?;
        let workload = match reader.choice("kind", &NAMES, Name::Kv)? {
            Name::Kv => Workload::Kv(kv::Kv::read(reader)?),
            Name::Watch => Workload::Watch(watch::Watch::read(reader)?),
            Name::Lease => Workload::Lease(lease::Lease::read(reader)?),
        };
        reader.done()?;
        Ok(workload)
    }

    pub fn resolve(&self, rng: &mut Rng) -> Workload {
        match self {
            Workload::Kv(kv) => Workload::Kv(kv.resolve(rng)),
            Workload::Watch(watch) => Workload::Watch(watch.resolve(rng)),
            Workload::Lease(lease) => Workload::Lease(lease.resolve(rng)),
        }
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Workload::Kv(kv) => write!(f, "{kv}"),
            Workload::Watch(watch) => write!(f, "{watch}"),
            Workload::Lease(lease) => write!(f, "{lease}"),
        }
    }
}
