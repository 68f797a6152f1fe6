//! What a check found: in words for people, and in parts for whoever shows what happened around
//! it.

use super::Check;
use crate::history::Operation;
use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub check: Check,
    /// In plain words, the operations concerned included, each in a line of its own.
    pub what: String,
    pub about: About,
}

/// What a finding is about. Everything that is known is there; nothing need be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// Counted from 0.
    pub members: BTreeSet<usize>,
    /// When it happened, or between when and when.
    pub times: BTreeSet<Duration>,
    /// Of log entries.
    pub indexes: BTreeSet<u64>,
    pub terms: BTreeSet<u64>,
    pub revisions: BTreeSet<i64>,
    /// Clients other than those of the operations, by name.
    pub clients: BTreeSet<String>,
    pub operations: Vec<Operation>,
}

/// A violation of a check that the context names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Finding {
    pub what: String,
    /// Boxed, because every step of every check gives a result.
    pub about: Box<About>,
}

impl Finding {
    pub fn new(what: impl Into<String>) -> Finding {
        Finding {
            what: what.into(),
            about: Box::default(),
        }
    }

    pub fn of(self, check: Check) -> Violation {
        let Finding { what, about } = self;
        Violation {
            check,
            what,
            about: *about,
        }
    }

    /// The same, with these words before its own.
    pub fn after(&self, words: &str) -> Finding {
        let what = format!("{words}{}", self.what);
        let about = self.about.clone();
        Finding { what, about }
    }

    pub fn member(mut self, member: usize) -> Finding {
        self.about.members.insert(member);
        self
    }

    pub fn time(mut self, time: Duration) -> Finding {
        self.about.times.insert(time);
        self
    }

    pub fn index(mut self, index: u64) -> Finding {
        self.about.indexes.insert(index);
        self
    }

    pub fn term(mut self, term: u64) -> Finding {
        self.about.terms.insert(term);
        self
    }

    pub fn revision(mut self, revision: i64) -> Finding {
        self.about.revisions.insert(revision);
        self
    }

    pub fn client(mut self, name: &str) -> Finding {
        self.about.clients.insert(name.to_owned());
        self
    }

    /// The operation also tells its member and its time. It is told in a line of its own.
    pub fn operation(mut self, operation: &Operation) -> Finding {
        self.what.push_str(&format!("\n    {operation}"));
        self.about.operations.push(operation.clone());
        let finding = match operation.done() {
            Some((revision, _)) => self.revision(revision),
            None => self,
        };
        finding
            .member(operation.member)
            .time(operation.called)
            .time(operation.ended)
    }
}

impl Violation {
    pub fn new(check: Check, what: impl Into<String>) -> Violation {
        Finding::new(what).of(check)
    }

    /// Whether it is the cluster's coming back that failed, and not its safety.
    pub fn is_liveness(&self) -> bool {
        // Members that agree on everything applied and differ in content (`hash-equal`) are unsafe.
        let of_liveness = [Check::LeaderElected, Check::Converged, Check::Serves];
        of_liveness.contains(&self.check)
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.check, self.what)
    }
}
