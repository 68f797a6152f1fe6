//! Users, roles and permissions: the same requests of the same clients to detcd and to etcd 3.5.1, and
//! every reply, code and text compared.

mod call;
mod cases;
mod generated;
mod others;
mod streams;

use crate::cluster::Cluster;
use crate::tools::{Tool, find};
use call::{Ask, Asked};
use std::time::Duration;

/// Hashes are not what these tests are about.
const FLAGS: [&str; 1] = ["--bcrypt-cost=4"];

/// What one answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// What users that do not exist, or have not said who they are, are told.
const NOBODY: &str = "InvalidArgument etcdserver: user name is empty";
const DENIED: &str = "PermissionDenied etcdserver: permission denied";
const INVALID: &str = "Unauthenticated etcdserver: invalid auth token";
/// An answer, whatever is in it.
const ANSWERED: &str = "answered";

/// A member of each, etcd's first.
struct Both {
    asked: [Asked; 2],
    differences: usize,
    asks: usize,
    _members: [Cluster; 2],
}

impl Both {
    /// `None` where etcd is not there.
    async fn start(test: &str) -> Option<Both> {
        let etcd = find(Tool::Etcd, test)?;
        let mut members = [Cluster::of(etcd, 1, &FLAGS), Cluster::new(1, &FLAGS)];
        members.iter_mut().for_each(|member| member.start(0));
        for member in &members {
            member.wait_healthy().await;
        }
        Some(Both {
            asked: [0, 1].map(|i| Asked::new(&members[i].nodes[0])),
            differences: 0,
            asks: 0,
            _members: members,
        })
    }

    async fn answers(&mut self, who: &str, ask: &Ask) -> [String; 2] {
        self.asks += 1;
        let mut answers = [String::new(), String::new()];
        for (asked, answer) in self.asked.iter_mut().zip(&mut answers) {
            let answered = tokio::time::timeout(ANSWER_MAX, asked.ask(who, ask.clone())).await;
            *answer = answered.unwrap_or_else(|_| "no answer".to_owned());
        }
        answers
    }

    /// Both say the same.
    async fn ask(&mut self, who: &str, ask: Ask) -> String {
        let [etcd, detcd] = self.answers(who, &ask).await;
        if etcd != detcd {
            self.tell(who, &ask, &etcd, &detcd);
        }
        detcd
    }

    /// They differ, and the documentation says so.
    async fn differ(&mut self, who: &str, ask: Ask, theirs: &str, ours: &str) {
        let [etcd, detcd] = self.answers(who, &ask).await;
        if !is(&etcd, theirs) || !is(&detcd, ours) {
            self.tell(who, &ask, &etcd, &detcd);
        }
    }

    fn tell(&mut self, who: &str, ask: &Ask, etcd: &str, detcd: &str) {
        self.differences += 1;
        eprintln!("{who:?} {ask:?}\n etcd  {etcd}\n detcd {detcd}");
    }

    async fn login(&mut self, who: &str, password: &str) {
        for asked in &mut self.asked {
            asked.login(who, password).await;
        }
    }

    fn keep(&mut self, who: &str, name: &str) {
        self.asked
            .iter_mut()
            .for_each(|asked| asked.keep(who, name));
    }

    fn end(self) {
        assert_eq!(self.differences, 0, "of {} requests", self.asks);
    }
}

/// What detcd tells whoever may not.
fn refused(who: &str) -> &'static str {
    match who {
        "" => NOBODY,
        "not a token" => INVALID,
        _ => DENIED,
    }
}

/// Whether this answer is meant: an error as it stands, or no error.
fn is(answer: &str, meant: &str) -> bool {
    match meant {
        ANSWERED => answer.contains("Response {"),
        error => answer == error,
    }
}
