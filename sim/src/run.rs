//! One run: faults under load, then healing, then the verdict.

use crate::audit;
use crate::buggify;
use crate::catch_up;
use crate::check::hash_equal::{self, HashKv};
use crate::check::{Check, Finding, Violation, durable, rows};
use crate::client::Client;
use crate::clients::Clients;
use crate::cluster::{self, Cluster};
use crate::conditions;
use crate::fault::World;
use crate::history::{History, HistoryRecorder, Operation, Request, Revisions, Watched};
use crate::judge;
use crate::load::Load;
use crate::observer;
use crate::rng::Rng;
use crate::run_facts::RunFacts;
use crate::run_thread;
use crate::scenario::Scenario;
use crate::scenario::settings::Initial;
use crate::scenario::units::Times;
use crate::time;
use crate::timeline::Timeline;
use crate::timeouts::{self, CLOSER_MAX, CONVERGE_MAX, OPERATE_MAX, SERVE_MAX};
use crate::trace::{self, Digest};
use crate::workload;
use crate::workload::ops;
use crate::workload::watch::follow;
use bytes::Bytes;
use detcd_core::api::LeaseId;
use detcd_driver::MemberStatus;
use futures::future;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::time::Duration;
use tokio::sync::watch as tokio_watch;

/// How a run ended.
#[derive(Debug)]
pub struct Report {
    pub violations: Vec<Violation>,
    /// Members that stopped by themselves.
    pub failures: Vec<String>,
    pub digest: Digest,
    pub simulated: Duration,
    /// What clients did; the auditors' are the last.
    pub operations: Vec<Operation>,
    /// The numbers of each workload's clients.
    pub clients: Vec<RangeInclusive<u32>>,
    /// Events and marks, and how often each came by.
    pub counts: BTreeMap<String, u64>,
}

/// Runs a resolved scenario.
pub fn run(plan: &Scenario, seed: u64) -> Report {
    let engine_seed = Rng::of(seed, "engine").next_u64();
    let runtime = madsim::runtime::Runtime::with_seed_and_config(engine_seed, Default::default());
    runtime.block_on(async {
        trace::name_node(madsim::plugin::node(), "sim");
        Run::start(plan, seed).finish().await
    })
}

struct Run<'a> {
    plan: &'a Scenario,
    cluster: Cluster,
    clients: Clients,
    /// The numbers of each workload's clients.
    of_workloads: Vec<RangeInclusive<u32>>,
    violations: Vec<Violation>,
    /// Members wait here and there.
    buggified: bool,
    /// When the last fault was over.
    calm_since: Option<Duration>,
    /// Whether all clients with a job have done it.
    clients_are_done: bool,
}

impl<'a> Run<'a> {
    fn start(plan: &'a Scenario, seed: u64) -> Run<'a> {
        let recorder = HistoryRecorder::default();
        observer::start(&plan.checks(), recorder.clone());
        let net = cluster::network(plan.cluster(), seed);
        let mut cluster = Cluster::start(plan.cluster(), seed, net.clone(), recorder.clone());
        conditions::set(plan.cluster(), &mut cluster);
        let buggified = buggify::start(&plan.cluster().buggify, seed);
        madsim::task::spawn(run_thread::record_engine_draws());
        let (hosts, settings) = (cluster.hosts(), plan.head.clients.clone());
        let clients = Clients::new(
            net.clone(),
            recorder.clone(),
            seed,
            hosts.clone(),
            settings.clone(),
        );
        cluster.set_load(Load::new(net, hosts, recorder, settings, seed));
        Run {
            plan,
            clients,
            cluster,
            of_workloads: Vec::new(),
            violations: Vec::new(),
            buggified,
            calm_since: None,
            clients_are_done: false,
        }
    }

    /// Has every workload put there what it needs, one after the other, and starts the clients.
    /// False if the cluster does not even serve before the faults.
    async fn start_workloads(&mut self) -> bool {
        let names = workload::names(&self.plan.workloads);
        for (workload, name) in self.plan.workloads.iter().zip(&names) {
            let Some(setup) = workload.inner().setup(name) else {
                continue;
            };
            let (node, client) = self.clients.client("setup");
            let done = madsim::time::timeout(self.left(), node.spawn(setup(client))).await;
            let Ok(done) = done else {
                let what = format!("the workload {name} cannot be set up");
                self.fails(Check::Serves, what);
                return false;
            };
            done.expect("a client's panic ends the run");
        }
        for (workload, name) in self.plan.workloads.iter().zip(&names) {
            let first = self.clients.count() + 1;
            workload.inner().start(name, &mut self.clients);
            self.of_workloads.push(first..=self.clients.count());
        }
        let (node, client) = self.clients.steady_client("hashes");
        node.spawn(audit::sample_hashes(client, self.cluster.members()));
        true
    }

    async fn finish(mut self) -> Report {
        let mut audited = None;
        if self.start_workloads().await && self.run_faults().await {
            buggify::stop();
            self.cluster.heal();
            if self.settle_membership().await && self.recover().await {
                audited = self.audit().await;
            }
        }
        let history = match audited {
            Some(history) => history,
            None => self.partial_history().await,
        };
        self.violations.extend(observer::violations());
        let judged = judge::judge(self.plan, &history, self.clients_are_done);
        self.violations.extend(judged);
        let operations = self.clients.recorder().read().operations;
        Report {
            violations: self.violations,
            failures: self.cluster.failures(),
            digest: trace::digest(),
            simulated: time::now(),
            operations,
            clients: self.of_workloads,
            counts: trace::counts(),
        }
    }

    fn wants(&self, check: Check) -> bool {
        self.plan.wants(check)
    }

    /// Writes down what a check found.
    fn found(&mut self, check: Check, findings: impl IntoIterator<Item = Finding>) {
        let findings = findings.into_iter();
        self.violations
            .extend(findings.map(|finding| finding.of(check)));
    }

    fn fails(&mut self, check: Check, what: String) {
        self.found(check, [Finding::new(what)]);
    }

    /// Has an auditor, a client of its own, ask a member.
    async fn ask<T, F>(&mut self, member: usize, work: impl FnOnce(Client) -> F) -> T
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let (node, mut client) = self.clients.steady_client("audit");
        client.go_to(self.place(member));
        let asked = node.spawn(work(client)).await;
        asked.expect("an auditor's panic ends the run")
    }

    fn left(&self) -> Duration {
        self.plan.head.budget.duration().saturating_sub(time::now())
    }

    /// The faults, under load. False if the run cannot go on.
    async fn run_faults(&mut self) -> bool {
        let mut timeline = Timeline::new(&self.plan.faults);
        while let Some(at) = timeline.next() {
            time::sleep(at.saturating_sub(time::now())).await;
            if !self.cluster.failures().is_empty() {
                return false;
            }
            timeline.advance(time::now(), &mut self.cluster);
        }
        if !self.buggified {
            // What a fault has left behind, on a slow disk, is worked off by then.
            self.catch_up().await;
            self.calm_since = Some(time::now());
        }
        for work in self.clients.working() {
            match madsim::time::timeout(self.left(), work).await {
                Ok(done) => done.expect("a client's panic ends the run"),
                Err(_) => {
                    let budget = self.plan.head.budget.duration();
                    let what = format!("the clients are not done within {budget:?}");
                    self.fails(Check::Serves, what);
                    return false;
                }
            }
        }
        self.clients_are_done = true;
        self.cluster.failures().is_empty()
    }

    /// Once the last fault is over, whoever lags catches up with the others, though the clients go
    /// on.
    async fn catch_up(&mut self) {
        let lagging = catch_up::lagging_members(&self.cluster).await;
        if self.cluster.leader().is_none() || !self.wants(Check::Converged) {
            return;
        }
        for member in lagging {
            let (member, statuses) = (member + 1, self.statuses_text());
            let what = format!("member {member} lags, long after the last fault: {statuses}");
            self.fails(Check::Converged, what);
        }
    }

    /// The operators get done, and whoever was removed stops. False if the run cannot go on.
    async fn settle_membership(&mut self) -> bool {
        for operator in self.cluster.operators() {
            let done = madsim::time::timeout(OPERATE_MAX, operator).await;
            let Ok(done) = done else {
                let what = "an operator is not done long after healing".to_owned();
                self.fails(Check::Serves, what);
                return false;
            };
            done.expect("an operator's panic ends the run");
        }
        let until = time::now() + CONVERGE_MAX;
        let stopped = self.wait(until, |run| {
            run.cluster.leader().is_some() && run.cluster.removed_but_running().is_empty()
        });
        if !stopped.await && self.wants(Check::Members) {
            let still_running = self.cluster.removed_but_running();
            for member in still_running {
                let what = format!("member {} was removed, and has not stopped", member + 1);
                self.fails(Check::Members, what);
            }
        }
        self.cluster.failures().is_empty()
    }

    /// The healed cluster comes back. False if it does not.
    async fn recover(&mut self) -> bool {
        let healed = time::now();
        let converged = healed + CONVERGE_MAX;
        // Whoever still reads its log, on a slow disk, cannot vote.
        let may_elect = self.wait(converged, Run::majority_serves).await;
        let elected = time::now() + timeouts::election_max(self.plan.cluster());
        let is_led = may_elect && self.wait(elected, Run::has_leader).await;
        if self.wants(Check::LeaderElected) && !is_led {
            let what = format!(
                "no leader {:?} after healing: {}",
                time::now() - healed,
                self.statuses_text()
            );
            self.fails(Check::LeaderElected, what);
        }
        if !self.converge(converged).await {
            let what = format!(
                "members differ {CONVERGE_MAX:?} after healing, and come no closer: {}",
                self.statuses_text()
            );
            self.fails(Check::Converged, what);
            return false;
        }
        self.cluster.failures().is_empty()
    }

    /// Waits for all to have applied the same. A member whose disk is slow may have much left of the
    /// time of the faults: it has more time for as long as it comes closer to the others.
    async fn converge(&self, until: Duration) -> bool {
        let (mut until, mut least) = (until, u64::MAX);
        while !self.wait(until, Run::agrees).await {
            let behind = self.entries_behind();
            if behind >= least || !self.cluster.failures().is_empty() {
                return false;
            }
            least = behind;
            until = time::now() + CLOSER_MAX;
        }
        true
    }

    /// How much the members have to apply that the one with the longest log has. One that does not
    /// serve has all of it to apply.
    fn entries_behind(&self) -> u64 {
        let statuses = self.serving();
        let raft = || statuses.iter().map(|status| &status.raft);
        let last = raft().map(|raft| raft.last_log_index).max().unwrap_or(0);
        let absent = self.cluster.living().len().saturating_sub(statuses.len()) as u64;
        raft().map(|raft| last - raft.applied).sum::<u64>() + absent * last
    }

    /// Waits for a condition; false if it does not come true in time.
    async fn wait(&self, until: Duration, condition: impl Fn(&Run<'a>) -> bool) -> bool {
        loop {
            if condition(self) {
                return true;
            }
            if time::now() > until || !self.cluster.failures().is_empty() {
                return false;
            }
            time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// What the members say that belong to the cluster and serve.
    fn serving(&self) -> Vec<MemberStatus> {
        let statuses = self.cluster.statuses();
        let living = self.cluster.living().into_iter();
        living
            .filter_map(|member| statuses[member].clone())
            .collect()
    }

    fn majority_serves(&self) -> bool {
        self.serving().len() * 2 > self.cluster.living().len()
    }

    /// One member leads, and all who serve know it.
    fn has_leader(&self) -> bool {
        let statuses = self.serving();
        let Some(leads) = statuses.iter().find(|status| status.raft.is_leader) else {
            return false;
        };
        let knows = |status: &MemberStatus| {
            (status.raft.term, status.raft.leader) == (leads.raft.term, leads.raft.leader)
        };
        self.majority_serves() && statuses.iter().all(knows)
    }

    /// All members serve and have applied all there is.
    fn agrees(&self) -> bool {
        let statuses = self.serving();
        let last = statuses
            .first()
            .map_or(0, |status| status.raft.last_log_index);
        let mut raft = statuses.iter().map(|status| &status.raft);
        statuses.len() == self.cluster.living().len()
            && self.has_leader()
            && raft.all(|raft| (raft.last_log_index, raft.applied) == (last, last))
    }

    /// What each member says of itself.
    fn statuses_text(&self) -> String {
        let statuses = self.cluster.statuses().into_iter().enumerate();
        let reported = statuses.map(|(index, status)| match status {
            None => format!("member {} does not serve", index + 1),
            Some(status) => {
                let raft = status.raft;
                let leader = raft
                    .leader
                    .map_or("nobody".to_owned(), |leader| leader.to_string());
                format!(
                    "member {} in term {} follows {leader}, log {}, committed {}, applied {}",
                    index + 1,
                    raft.term,
                    raft.last_log_index,
                    raft.committed,
                    raft.applied
                )
            }
        });
        reported.collect::<Vec<_>>().join("; ")
    }

    /// Has every member serve, and collects what it holds. `None` if one does not answer.
    async fn audit(&mut self) -> Option<History> {
        let members = self.cluster.serving();
        let began = time::now();
        let mut revisions: Vec<i64> = Vec::new();
        for member in members.iter().copied() {
            match self.serve(member).await {
                Some(revision) => revisions.push(revision),
                None if self.cluster.is_lost(member) => {}
                None => {
                    let what = format!("member {} does not serve after healing", member + 1);
                    self.fails(Check::Serves, what);
                    return None;
                }
            }
        }
        let last = revisions.into_iter().max().unwrap_or(1);
        // What was written to be served has not been applied everywhere yet.
        if !self.wait(time::now() + CONVERGE_MAX, Run::agrees).await {
            let what = format!(
                "members differ long after healing: {}",
                self.statuses_text()
            );
            self.fails(Check::Converged, what);
            return None;
        }
        let compacted = self.compare_hashes(last).await;
        let revisions = observer::revisions(last);
        for member in members {
            let Some(reported) = self.read_revisions(member, compacted + 1, last).await else {
                if self.cluster.is_lost(member) {
                    continue;
                }
                let what = format!("member {} does not report its history", member + 1);
                self.fails(Check::Serves, what);
                return None;
            };
            if self.wants(Check::Durable) {
                let changed = durable::retold(member, &reported, &revisions, compacted + 1);
                self.found(Check::Durable, changed);
            }
        }
        let mut run_facts = observer::run_facts();
        self.compare_keys(&mut run_facts, last).await;
        self.finish_followers(last).await;
        let mut history = self.clients.recorder().read();
        history.run_facts = RunFacts {
            calm_since: self.calm_since,
            hashes: history.run_facts.hashes,
            ..run_facts
        };
        judge::settings(self.plan, &mut history.run_facts);
        history
            .watchers
            .iter_mut()
            .for_each(|seen| seen.forget_after(last));
        // Those that follow the store read on: they may see leases end after the last revision.
        history.operations.retain(|operation| {
            let revision = operation.done().map_or(0, |(revision, _)| revision);
            operation.request.is_write() || operation.ended < began || revision <= last
        });
        history.revisions = revisions;
        if self.wants(Check::Compaction) {
            self.compact_each().await;
        }
        Some(history)
    }

    /// What is known of a run that was cut short.
    async fn partial_history(&mut self) -> History {
        let last = observer::last_revision();
        if self.clients_are_done {
            let followers = future::join_all(self.clients.end_at(last));
            // Those that find nobody to follow have nothing to report.
            let _ = madsim::time::timeout(CONVERGE_MAX, followers).await;
        }
        let mut history = observer::history();
        judge::settings(self.plan, &mut history.run_facts);
        if observer::last_revision() > last {
            // What came meanwhile they need not have seen.
            (history.watchers, history.informers) = Default::default();
        }
        history
            .watchers
            .iter_mut()
            .for_each(|seen| seen.forget_after(last));
        history
    }

    /// Where clients find a member.
    fn place(&self, member: usize) -> usize {
        let place = self.cluster.hosts().position(self.cluster.host(member));
        place.expect("who belongs to the cluster was told to the clients")
    }

    /// A write and a linearizable read at one member; gives the revision that it shows.
    async fn serve(&mut self, member: usize) -> Option<i64> {
        let deadline = time::now() + SERVE_MAX;
        let work = async move |mut client: Client| {
            let member = client.member();
            let key = Bytes::from(format!("audit/{}", client.name()));
            let timeout = Duration::from_secs(3);
            while time::now() < deadline {
                let put = ops::put(&key, format!("{:?}", time::now()));
                client.go_to(member);
                let put = client.execute(Request::Put(put), timeout).await;
                client.go_to(member);
                let get = ops::read(&mut client, &key, timeout).await;
                if let (Some(_), Some((revision, _))) = (put, get) {
                    return Some(revision);
                }
            }
            None
        };
        self.ask(member, work).await
    }

    /// Compares what all members hold, and gives the revision that the history begins with.
    async fn compare_hashes(&mut self, revision: i64) -> i64 {
        let mut hashes: Vec<HashKv> = Vec::new();
        for member in self.cluster.living() {
            let ask =
                async move |client: Client| audit::hash(&client, member, revision, SERVE_MAX).await;
            match self.ask(member, ask).await {
                Some(hash) => hashes.push(hash),
                None if self.cluster.is_lost(member) => {}
                None => {
                    let what = format!("member {} does not report its hash", member + 1);
                    self.fails(Check::Serves, what);
                }
            }
        }
        if self.wants(Check::HashEqual) {
            self.found(Check::HashEqual, hash_equal::settled(&hashes));
        }
        let compacted = hashes.iter().map(|hash| hash.compact_revision);
        let compacted = compacted.max().unwrap_or(0).max(0);
        let recorder = self.clients.recorder();
        recorder.note(|history| history.run_facts.hashes.extend(hashes));
        compacted
    }

    /// Has every member compact everything: its rows go, and the same ones stay as elsewhere.
    async fn compact_each(&mut self) {
        let mut reported = Vec::new();
        for member in self.cluster.serving() {
            let compacted = self.ask(member, audit::compact).await;
            if !self.cluster.is_lost(member) {
                reported.push((member, compacted));
            }
        }
        self.found(Check::Compaction, rows::compacted(&reported).await);
    }

    /// Asks every member for all keys at the last revision, and the cluster for their leases.
    async fn compare_keys(&mut self, run_facts: &mut RunFacts, last: i64) {
        for member in self.cluster.serving() {
            let keys = async move |client: Client| audit::keys(&client, last).await;
            let Some(reported) = self.ask(member, keys).await else {
                if self.cluster.is_lost(member) {
                    continue;
                }
                let what = format!("member {} does not report its keys", member + 1);
                self.fails(Check::Serves, what);
                continue;
            };
            match &run_facts.keys {
                Some(first) if *first != reported => {
                    let what = format!("member {} has other keys than another", member + 1);
                    let finding = Finding::new(what).member(member).revision(last);
                    self.found(Check::HashEqual, [finding]);
                }
                _ => run_facts.keys = Some(reported),
            }
        }
        let keys = run_facts.keys.iter().flat_map(BTreeMap::values);
        let mut leases: BTreeSet<LeaseId> = keys.map(|kv| kv.lease).collect();
        leases.remove(&LeaseId::NONE);
        for id in leases {
            let (node, client) = self.clients.steady_client("audit");
            let reported = node.spawn(async move { audit::lease(&client, id, last).await });
            let Some(reported) = reported.await.expect("an auditor's panic ends the run") else {
                // Leases end while they are asked for: what was told so far says nothing then.
                run_facts.leases.clear();
                return;
            };
            run_facts.leases.push(reported);
        }
    }

    /// The changes that a member holds, from revision `start` on, by watching.
    async fn read_revisions(&mut self, member: usize, start: i64, last: i64) -> Option<Revisions> {
        let (_, until) = tokio_watch::channel(Some(last));
        let watch = async move |client: Client| {
            let seen = Watched::new(client.name(), ops::prefix(""), start);
            follow(client, seen, Times::initial("5s"), until).await
        };
        let seen = madsim::time::timeout(SERVE_MAX, self.ask(member, watch)).await;
        let mut seen = seen.ok()?;
        seen.forget_after(last);
        let mut revisions = Revisions::new();
        for change in seen.responses.into_iter().flat_map(|(_, events)| events) {
            let changes = revisions.entry(change.kv.mod_revision).or_default();
            changes.push(change);
        }
        Some(revisions)
    }

    /// Those that follow the store end at its last revision.
    async fn finish_followers(&mut self, last: i64) {
        for follower in self.clients.end_at(last) {
            match madsim::time::timeout(CONVERGE_MAX, follower).await {
                Ok(done) => done.expect("a client's panic ends the run"),
                Err(_) => {
                    let what = format!("a watcher did not get to revision {last}");
                    self.fails(Check::Watch, what);
                }
            }
        }
    }
}
