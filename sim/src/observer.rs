//! Listens to what the members' own code says in its log and trace events.
//!
//! Steps of raft (target `detcd::step`) become [`Step`]s for the invariants; all other events of
//! our code become lines of the run's trace. Nothing in `src` knows of this.

use crate::applied_revisions::AppliedRevisions;
use crate::check::Check;
use crate::check::Violation;
use crate::check::logs::Voters;
use crate::check::members::{self, Config};
use crate::check::steps::{Place, Step, Steps, What};
use crate::disk::DiskImage;
use crate::history::{History, HistoryRecorder, Revisions};
use crate::profile::{self, Part};
use crate::run_facts::RunFacts;
use crate::store::StoreImage;
use crate::store::tables::Tables;
use crate::time;
use crate::trace::{self, EngineNode, Value};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};
use std::time::Duration;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// What the observer knows of a run. One run has one thread.
struct Observed {
    /// Members by their node of the engine, counted from 0.
    members: BTreeMap<EngineNode, usize>,
    /// Members by raft's ids.
    ids: BTreeMap<u64, usize>,
    /// Where clients find members: whoever is replaced at its own address is another machine at the
    /// same place.
    places: BTreeMap<usize, usize>,
    disk_images: BTreeMap<usize, DiskImage>,
    /// Files with something written that is not known to be synced.
    unsynced: BTreeSet<(usize, u64)>,
    store_images: Vec<StoreImage>,
    steps: Steps,
    applied_revisions: AppliedRevisions,
    /// What the clients write down.
    recorder: HistoryRecorder,
    /// When each member's process started, and when one told that it leads.
    starts: BTreeMap<usize, Vec<Duration>>,
    elections: Vec<Duration>,
    leaders: Vec<(Duration, u64)>,
    leader_known: BTreeMap<usize, Vec<(Duration, bool)>>,
    /// Members that lead, and have yet to apply an entry of this term.
    elected: BTreeMap<usize, u64>,
    /// Who led last, as each member told.
    leading: BTreeMap<usize, bool>,
}

thread_local! {
    static OBSERVED: RefCell<Option<Observed>> = const { RefCell::new(None) };
}

/// Starts to listen, to the members and to what clients write into the history.
pub fn start(checks: &[Check], recorder: HistoryRecorder) {
    let observed = Observed {
        members: BTreeMap::new(),
        ids: BTreeMap::new(),
        places: BTreeMap::new(),
        disk_images: BTreeMap::new(),
        unsynced: BTreeSet::new(),
        store_images: Vec::new(),
        steps: Steps::new(checks),
        applied_revisions: AppliedRevisions::default(),
        recorder,
        starts: BTreeMap::new(),
        elections: Vec::new(),
        leaders: Vec::new(),
        leader_known: BTreeMap::new(),
        elected: BTreeMap::new(),
        leading: BTreeMap::new(),
    };
    OBSERVED.set(Some(observed));
    tracing::subscriber::set_global_default(Listener).expect("a process has one run");
}

/// Takes the store of the next member, to look into.
pub fn add_store_image(store_image: StoreImage) {
    with(|observed| observed.store_images.push(store_image));
}

/// What a member's store holds.
pub fn tables(member: usize) -> Tables {
    with(|observed| observed.store_images[member].tables())
}

/// Names the member that runs on a node of the engine, with its disk.
pub fn name_member(engine_node: EngineNode, member: usize, disk_image: DiskImage) {
    with(|observed| {
        observed.members.insert(engine_node, member);
        observed.disk_images.insert(member, disk_image);
    });
}

/// Says which id raft knows a member by, once that is settled.
pub fn name_id(id: u64, member: usize) {
    with(|observed| {
        let owner = *observed.ids.entry(id).or_insert(member);
        assert_eq!(owner, member, "an id is never given twice");
    });
}

/// Says where clients find a member.
pub fn name_place(member: usize, place: usize) {
    with(|observed| observed.places.insert(member, place));
}

/// A member's process starts.
pub fn started(member: usize) {
    with(|observed| {
        observed.starts.entry(member).or_default().push(time::now());
        observed.leader_known(member, false);
        observed.step(member, What::Started);
    });
}

/// A member's process is gone, and with it what it said of its role. Its disk has lost what it was
/// to lose by now.
pub fn died(member: usize) {
    with(|observed| {
        observed.leading.remove(&member);
        observed.leader_known(member, false);
        observed.ask_disks(|at| at == member);
        // What the system still has of a process that was only killed can yet be synced.
        let lost = observed.unsynced.iter().all(|(at, _)| *at != member);
        observed.step(member, What::Died { lost });
    });
}

/// A dead member's disk was emptied, or filled with an older copy.
pub fn robbed(member: usize) {
    with(|observed| observed.step(member, What::Robbed));
}

/// What the invariants found.
pub fn violations() -> Vec<Violation> {
    with(|observed| observed.steps.violations().to_vec())
}

/// The configurations that may count now, by the members' logs. None before the first start.
pub fn configs() -> Vec<Voters> {
    with(|observed| observed.steps.configs())
}

/// Whether the member's log goes as far as anybody knows of commits.
pub fn is_complete(member: usize) -> bool {
    with(|observed| observed.steps.is_complete(member))
}

/// What the invariants found, for whoever may ask in the middle of a step, or before the run: as far
/// as it can be told.
pub fn violations_so_far() -> Vec<Violation> {
    OBSERVED.with(|observed| match observed.try_borrow() {
        Ok(observed) => {
            let steps = observed.as_ref().map(|observed| &observed.steps);
            steps.map_or(Vec::new(), |steps| steps.violations().to_vec())
        }
        Err(_) => Vec::new(),
    })
}

/// When members started and led, by the places where clients find them.
pub fn run_facts() -> RunFacts {
    with(|observed| RunFacts {
        starts: observed.of_places(&observed.starts, |at| *at),
        elections: observed.elections.clone(),
        leaders: observed.leaders.clone(),
        leader_known: observed.of_places(&observed.leader_known, |(at, _)| *at),
        ids: observed.ids.keys().copied().collect(),
        ..RunFacts::default()
    })
}

/// The changes of every revision up to `last`, as members applied them.
pub fn revisions(last: i64) -> Revisions {
    with(|observed| observed.applied_revisions.until(last))
}

/// The history of a run that was cut short, as far as it goes: what clients wrote down, and the
/// revisions that members applied. Nobody tells what is left of them.
pub fn history() -> History {
    let mut history = with(|observed| observed.recorder.read());
    history.run_facts = RunFacts {
        hashes: history.run_facts.hashes,
        ..run_facts()
    };
    history.revisions = revisions(last_revision());
    history
}

/// The last revision that any member reached.
pub fn last_revision() -> i64 {
    with(|observed| observed.applied_revisions.last())
}

fn with<T>(act: impl FnOnce(&mut Observed) -> T) -> T {
    OBSERVED.with_borrow_mut(|observed| act(observed.as_mut().expect("a run was started")))
}

impl Observed {
    /// What is known of machines, in order of time, by the place where clients find their members.
    fn of_places<T: Copy>(
        &self,
        machines: &BTreeMap<usize, Vec<T>>,
        at: impl Fn(&T) -> Duration,
    ) -> BTreeMap<usize, Vec<T>> {
        let mut places: BTreeMap<usize, Vec<T>> = BTreeMap::new();
        for (machine, known) in machines {
            if let Some(place) = self.places.get(machine) {
                places.entry(*place).or_default().extend(known);
            }
        }
        for known in places.values_mut() {
            known.sort_by_key(&at);
        }
        places
    }

    fn step(&mut self, member: usize, what: What) {
        self.steps.step(&Step { member, what });
    }

    /// A step of raft, as the engine's room tells it.
    fn raft_step(&mut self, member: usize, said: &SaidStep) {
        let number = |name| said.number(name);
        let (index, term, hash) = (number("index"), number("term"), number("hash"));
        let node = number("candidate");
        match said.message.as_str() {
            "recovered" => {
                let (end, committed) = (number("end"), number("committed"));
                self.ask_disks(|at| at == member);
                self.step(member, What::Recovered { end, committed });
            }
            "vote" => self.step(member, What::Vote { term, node, hash }),
            "vote written" | "written" => self.written(member, said),
            "granted" => {
                self.ask_disks(|at| at == member);
                self.step(member, What::Granted { term, node });
            }
            "appended" => self.step(member, What::Appended { index, term, hash }),
            "configured" => {
                let voters = self.voters(said);
                self.step(member, What::Configured { index, voters });
            }
            "acked" => {
                self.ask_disks(|at| at == member);
                self.step(member, What::Acked { index, term });
            }
            "committed" => {
                self.ask_disks(|_| true);
                self.step(member, What::Committed { index, term });
            }
            "applied" => {
                self.settled(member, term);
                self.step(member, What::Applied { index, term, hash });
            }
            "published" => self.published(member, index, number("revision")),
            "restored" => {
                self.step(member, What::Restored { index });
                self.published(member, index, number("revision"));
                trace::mark("snapshot.installed");
            }
            "role" => self.role(member, term, number("is_leader") == 1),
            "leader known" => self.leader_known(member, number("leader") != 0),
            "truncated" => {
                self.step(member, What::Truncated { last: index });
                trace::mark("log.truncated");
            }
            "purged" => {
                self.step(member, What::Purged { through: index });
                trace::mark("log.purged");
            }
            "membership" => {
                let what = What::Membership {
                    index,
                    own: said.text("own").to_owned(),
                    config: Config::parse(term, said.text("voters"), said.text("learners")),
                    removed: members::set(said.text("removed")),
                    places: self
                        .ids
                        .iter()
                        .map(|(id, at)| (format!("{id:x}"), *at))
                        .collect(),
                };
                if said.text("voters").contains('|') {
                    trace::mark("membership.joint");
                }
                self.step(member, what);
            }
            "snapshot built" => trace::mark("snapshot.built"),
            other => panic!("the observer does not know the step `{other}`"),
        }
    }

    /// Something stands in a file of the member's disk.
    fn written(&mut self, member: usize, said: &SaidStep) {
        let place = self.place(member, said);
        let what = match said.message.as_str() {
            "written" => What::Written {
                first: said.number("first"),
                last: said.number("index"),
                term: said.number("term"),
                place,
            },
            _ => What::VoteWritten {
                hash: said.number("hash"),
                place,
            },
        };
        self.step(member, what);
    }

    fn role(&mut self, member: usize, term: u64, leads: bool) {
        let led = self.leading.insert(member, leads).unwrap_or(false);
        if leads {
            self.ask_disks(|at| at == member);
            let mut ids = self.ids.iter();
            let node = ids.find(|(_, at)| **at == member).map_or(0, |(id, _)| *id);
            let what = What::Leads { term, node };
            self.elections.push(time::now());
            self.leaders.push((time::now(), node));
            self.elected.insert(member, term);
            self.step(member, what);
            trace::mark("leader.elected");
        } else if led {
            trace::mark("leader.deposed");
        }
    }

    /// The member hears from a leader from now on, or does not.
    fn leader_known(&mut self, member: usize, is_known: bool) {
        let known = self.leader_known.entry(member).or_default();
        known.push((time::now(), is_known));
    }

    /// A leader whose first entry is applied begins its term.
    fn settled(&mut self, member: usize, term: u64) {
        if self.elected.get(&member) == Some(&term) {
            self.elected.remove(&member);
            self.elections.push(time::now());
        }
    }

    /// Where on the member's disk stands what it says it has just written.
    fn place(&mut self, member: usize, said: &SaidStep) -> Place {
        let name = said.text("file");
        let place = self.disk_images[&member].place(name);
        let (file, change) = place.expect("what was just written is in a file");
        self.unsynced.insert((member, file));
        Place { file, change }
    }

    /// Tells what the disks of these members have synced by now.
    fn ask_disks(&mut self, of: impl Fn(usize) -> bool) {
        let unsynced: Vec<(usize, u64)> = self.unsynced.iter().copied().collect();
        for (member, file) in unsynced.into_iter().filter(|(member, _)| of(*member)) {
            let (change, last) = self.disk_images[&member].synced(file);
            if change >= last {
                self.unsynced.remove(&(member, file));
            }
            let place = Place { file, change };
            self.step(member, What::Synced { place });
        }
    }

    fn voters(&self, said: &SaidStep) -> Voters {
        let id = |id: &str| u64::from_str_radix(id, 16).expect("ids are told in hexadecimal");
        let member = |text: &str| self.ids.get(&id(text)).copied().unwrap_or(usize::MAX);
        let groups = said.text("voters").split_whitespace();
        groups
            .map(|group| group.split(',').map(member).collect())
            .collect()
    }

    fn published(&mut self, member: usize, index: u64, revision: u64) {
        let tables = self.store_images[member].tables();
        let hash = tables.replicated_hash();
        self.step(member, What::State { index, hash });
        let revision = i64::try_from(revision).expect("revisions are positive");
        self.applied_revisions.take(&tables, revision);
        self.step(member, What::Revision { revision });
    }
}

struct Listener;

const STEP: &str = "detcd::step";

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let target = metadata.target();
        // Not only events: `enabled!`, which guards what is dear to tell, asks with a hint.
        !metadata.is_span()
            && (target == STEP || (target.starts_with("detcd") && *metadata.level() <= Level::INFO))
    }

    fn event(&self, event: &Event<'_>) {
        if event.metadata().target() == STEP {
            let mut said = SaidStep::default();
            event.record(&mut said);
            hear_step(&said);
            return;
        }
        let mut said = Said::default();
        event.record(&mut said);
        let level = event.metadata().level();
        trace::event(
            "log",
            format_args!("{level} {}{}", said.message, said.fields),
        );
        if said.message.contains("torn tail") {
            trace::mark("log.torn");
        }
        match said.message.as_str() {
            "alarm raised" => trace::mark("alarm.raised"),
            "alarm disarmed" => trace::mark("alarm.disarmed"),
            _ => {}
        }
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// A step of raft goes into the trace as an event of its own kind, and to the invariants.
fn hear_step(said: &SaidStep) {
    let mut fields = [("", Value::Number(0)); STEP_FIELDS_MAX];
    let fields = &mut fields[..said.numbers.len() + said.texts.len()];
    let (numbers, texts) = fields.split_at_mut(said.numbers.len());
    for (field, (name, number)) in numbers.iter_mut().zip(&said.numbers) {
        *field = (name, Value::Number(*number));
    }
    for (field, (name, text)) in texts.iter_mut().zip(&said.texts) {
        *field = (name, Value::Text(text));
    }
    trace::record(said.kind(), fields);
    let _part = profile::enter(Part::Steps);
    with(|observed| {
        let member = trace::engine_node().and_then(|node| observed.members.get(&node).copied());
        if let Some(member) = member {
            observed.raft_step(member, said);
        }
    });
}

/// No step has more fields.
const STEP_FIELDS_MAX: usize = 8;

/// The content of a step: a message and numbers.
#[derive(Default)]
struct SaidStep {
    message: String,
    numbers: Vec<(&'static str, u64)>,
    texts: Vec<(&'static str, String)>,
}

impl SaidStep {
    fn text(&self, wanted: &str) -> &str {
        let found = self.texts.iter().find(|(name, _)| *name == wanted);
        found.map_or("", |(_, text)| text)
    }

    fn number(&self, wanted: &str) -> u64 {
        let found = self.numbers.iter().find(|(name, _)| *name == wanted);
        found.map_or(0, |(_, number)| *number)
    }

    /// The kind of the event in the trace.
    fn kind(&self) -> &'static str {
        const KINDS: [(&str, &str); 18] = [
            ("membership", "raft.membership"),
            ("recovered", "raft.recovered"),
            ("vote", "raft.vote"),
            ("vote written", "raft.vote-written"),
            ("granted", "raft.granted"),
            ("configured", "raft.configured"),
            ("written", "raft.written"),
            ("acked", "raft.acked"),
            ("appended", "raft.appended"),
            ("committed", "raft.committed"),
            ("applied", "raft.applied"),
            ("published", "raft.published"),
            ("restored", "raft.restored"),
            ("role", "raft.role"),
            ("leader known", "raft.leader-known"),
            ("truncated", "raft.truncated"),
            ("purged", "raft.purged"),
            ("snapshot built", "raft.snapshot-built"),
        ];
        let kind = KINDS.iter().find(|(message, _)| *message == self.message);
        let (_, kind) = kind.unwrap_or_else(|| panic!("no step is called `{}`", self.message));
        kind
    }
}

impl Visit for SaidStep {
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.numbers.push((field.name(), value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        let value = u64::try_from(value).expect("no step has a negative number");
        self.numbers.push((field.name(), value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.numbers.push((field.name(), u64::from(value)));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.texts.push((field.name(), value.to_owned()));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        assert_eq!(
            field.name(),
            "message",
            "a step has numbers, texts and a name"
        );
        write!(self.message, "{value:?}").expect("a string takes every write");
    }
}

/// The content of a log event.
#[derive(Default)]
struct Said {
    message: String,
    fields: String,
}

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let written = if field.name() == "message" {
            write!(self.message, "{value:?}")
        } else {
            write!(self.fields, " {}={value:?}", field.name())
        };
        written.expect("a string takes every write");
    }
}
