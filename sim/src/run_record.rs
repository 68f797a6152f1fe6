//! What is kept of a run for telling of it: the events that matter to a person, and with a report
//! the messages, too.
//!
//! A run record is a sink of the trace. It holds what is rare (faults, roles, restarts) as it is,
//! and what is frequent (positions in the log, messages) in a few numbers each.

use crate::trace::{Event, Sink};
use detcd_service::METHODS;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

/// Something that happened, as a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    pub at: Duration,
    pub node: String,
    /// The member that it is about, counted from 0.
    pub member: Option<usize>,
    pub kind: String,
    pub text: String,
}

/// A member's term and role from some time on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Role {
    pub at: Duration,
    pub member: usize,
    pub term: u64,
    pub is_leader: bool,
    /// Knows whom it follows.
    pub follows: bool,
}

/// How far a member's log is, from some time on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    pub at: Duration,
    pub last: u64,
    pub committed: u64,
    pub applied: u64,
}

/// A step of a member about one entry of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub at: Duration,
    pub member: usize,
    pub index: u64,
    pub term: u64,
    /// Appended, and not applied.
    pub is_append: bool,
}

/// A packet of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    pub sent: Duration,
    /// When it arrived, or was lost.
    pub ended: Duration,
    /// Hosts.
    pub from: u32,
    pub to: u32,
    /// Of [`RunRecord::labels`].
    pub label: usize,
    pub lost: bool,
}

/// A fault from its begin to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    pub from: Duration,
    pub to: Option<Duration>,
    pub name: String,
    pub settings: String,
}

/// What some links did to what went through them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkSpan {
    pub from: Duration,
    pub to: Option<Duration>,
    /// The mark of the fault.
    pub name: String,
    /// In a word.
    pub effect: String,
    /// Hosts, as in `1>2 2>1`.
    pub paths: String,
}

/// How a member's clock stands from some time on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    pub at: Duration,
    pub member: usize,
    pub rate_ppm: u64,
    /// How far it is ahead of true time.
    pub gained_us: i64,
    /// How far its wall clock is off, besides.
    pub wall_ms: i64,
}

#[derive(Debug, Default)]
pub struct RunRecord {
    pub notes: Vec<Note>,
    pub roles: Vec<Role>,
    pub positions: BTreeMap<usize, Vec<Position>>,
    pub entries: Vec<Entry>,
    /// By their number in the plan.
    pub faults: BTreeMap<u64, Span>,
    /// By their number in the network.
    pub links: BTreeMap<u64, LinkSpan>,
    pub clocks: Vec<Clock>,
    /// Packets, if they are wanted.
    pub messages: Option<Vec<Message>>,
    /// What kinds of packets there were.
    pub labels: Vec<String>,
    /// The labels of calls that are not answered yet.
    calls: BTreeMap<u64, usize>,
}

/// A run record that is being written.
pub type Shared = Rc<RefCell<RunRecord>>;

/// What the trace tells to a run record.
pub struct RunRecorder(pub Shared);

impl Sink for RunRecorder {
    fn event(&mut self, event: &Event<'_>) {
        self.0.borrow_mut().take(event);
    }
}

impl RunRecord {
    pub fn new(with_messages: bool) -> Shared {
        let messages = with_messages.then(Vec::new);
        Rc::new(RefCell::new(RunRecord {
            messages,
            ..RunRecord::default()
        }))
    }

    fn take(&mut self, event: &Event<'_>) {
        match event.kind {
            "raft.role" => self.take_role(event),
            "raft.appended" | "raft.applied" => self.take_entry(event),
            "raft.committed" => self.take_position(event, |at, index| at.committed = index),
            "raft.restored" => {
                self.take_position(event, |at, index| {
                    at.last = at.last.max(index);
                    (at.committed, at.applied) = (at.committed.max(index), index);
                });
                self.note(event);
            }
            "raft.truncated" => {
                self.take_position(event, |at, index| at.last = index);
                self.note(event);
            }
            "net.deliver" => self.take_message(event, false),
            "net.lost" => self.take_message(event, true),
            "begins" => self.begin_fault(event),
            "ends" => {
                let fault = event.number("fault").unwrap_or_default();
                if let Some(span) = self.faults.get_mut(&fault) {
                    span.to = Some(event.at);
                }
            }
            "link.begins" => self.begin_link(event),
            "link.ends" => {
                let link = event.number("link").unwrap_or_default();
                if let Some(span) = self.links.get_mut(&link) {
                    span.to = Some(event.at);
                }
            }
            "clock.change" => {
                self.take_clock(event);
                self.note(event);
            }
            // What the others tell already, or what comes by too often to be of interest.
            "draw"
            | "client.call"
            | "client.done"
            | "raft.published"
            | "raft.snapshot-built"
            | "raft.purged"
            | "net.stuck"
            | "leader.elected"
            | "leader.deposed"
            | "log.truncated"
            | "member.restarted" => {}
            kind if kind.starts_with("disk.") && kind != "disk.crash" => {}
            kind if kind.starts_with("store.") && kind != "store.crash" => {}
            _ => self.note(event),
        }
    }

    fn note(&mut self, event: &Event<'_>) {
        // What a reading of a clock says is kept in numbers, and whom a note is about beside it.
        const SILENT: [&str; 5] = ["hash", "member", "rate_ppm", "gained_us", "wall_ms"];
        let fields = event.fields.iter();
        let fields = fields.filter(|(name, _)| !SILENT.contains(name));
        let texts = fields.map(|(name, value)| match *name {
            "what" => value.to_string(),
            name => format!("{name} {value}"),
        });
        let member = event.number("member").map(|member| member as usize);
        self.notes.push(Note {
            at: event.at,
            node: event.node.to_owned(),
            member: member.or(member_of(event.node)),
            kind: event.kind.to_owned(),
            text: texts.collect::<Vec<String>>().join(", "),
        });
    }

    fn take_role(&mut self, event: &Event<'_>) {
        if let Some(member) = member_of(event.node) {
            self.roles.push(Role {
                at: event.at,
                member,
                term: event.number("term").unwrap_or_default(),
                is_leader: event.number("is_leader") == Some(1),
                follows: event.number("leader").is_some_and(|leader| leader != 0),
            });
        }
    }

    fn take_entry(&mut self, event: &Event<'_>) {
        let Some(member) = member_of(event.node) else {
            return;
        };
        let is_append = event.kind == "raft.appended";
        self.entries.push(Entry {
            at: event.at,
            member,
            index: event.number("index").unwrap_or_default(),
            term: event.number("term").unwrap_or_default(),
            is_append,
        });
        self.take_position(event, |position, index| match is_append {
            true => position.last = index,
            false => position.applied = index,
        });
    }

    fn take_position(&mut self, event: &Event<'_>, change: impl Fn(&mut Position, u64)) {
        let (Some(member), Some(index)) = (member_of(event.node), event.number("index")) else {
            return;
        };
        let positions = self.positions.entry(member).or_default();
        let mut position = positions.last().copied().unwrap_or_default();
        change(&mut position, index);
        match positions.last_mut() {
            // Within one millisecond nobody sees a difference.
            Some(last) if last.at.as_millis() == event.at.as_millis() => {
                *last = Position {
                    at: last.at,
                    ..position
                }
            }
            _ => positions.push(Position {
                at: event.at,
                ..position
            }),
        }
    }

    fn begin_fault(&mut self, event: &Event<'_>) {
        let span = Span {
            from: event.at,
            to: None,
            name: event.text("name").unwrap_or_default(),
            settings: event.text("settings").unwrap_or_default(),
        };
        let fault = event.number("fault").unwrap_or_default();
        self.faults.insert(fault, span);
    }

    fn begin_link(&mut self, event: &Event<'_>) {
        let text = |name| event.text(name).unwrap_or_default();
        let span = LinkSpan {
            from: event.at,
            to: None,
            name: text("name"),
            effect: text("effect"),
            paths: text("paths"),
        };
        let link = event.number("link").unwrap_or_default();
        self.links.insert(link, span);
    }

    fn take_clock(&mut self, event: &Event<'_>) {
        self.clocks.push(Clock {
            at: event.at,
            member: event.number("member").unwrap_or_default() as usize,
            rate_ppm: event.number("rate_ppm").unwrap_or_default(),
            gained_us: event.signed("gained_us").unwrap_or_default(),
            wall_ms: event.signed("wall_ms").unwrap_or_default(),
        });
    }

    fn take_message(&mut self, event: &Event<'_>, lost: bool) {
        if self.messages.is_none() {
            return;
        }
        let number = event.number("number").unwrap_or_default();
        let what = event.text("what").unwrap_or_default();
        let label = match what.as_str() {
            "request" => {
                let label = self.label(&request_label(event));
                self.calls.insert(number, label);
                label
            }
            "answer" => match self.calls.get(&number) {
                Some(call) => {
                    let label = format!("answer to {}", self.labels[*call]);
                    self.label(&label)
                }
                None => self.label("answer"),
            },
            other => self.label(other),
        };
        let host = |name| event.number(name).unwrap_or_default() as u32;
        let message = Message {
            sent: Duration::from_nanos(event.number("sent").unwrap_or_default()),
            ended: event.at,
            from: host("from"),
            to: host("to"),
            label,
            lost,
        };
        if let Some(messages) = &mut self.messages {
            messages.push(message);
        }
    }

    fn label(&mut self, label: &str) -> usize {
        let known = self.labels.iter().position(|known| known == label);
        known.unwrap_or_else(|| {
            self.labels.push(label.to_owned());
            self.labels.len() - 1
        })
    }
}

fn request_label(event: &Event<'_>) -> String {
    let number = event.number("method").unwrap_or_default() as u8;
    let is_peer = event.text("port").as_deref() == Some("peer");
    let name = match is_peer {
        true => detcd_peer::Kind::from_tag(number).map(|kind| format!("{kind:?}")),
        false => METHODS
            .get(usize::from(number))
            .map(|method| format!("{:?}", method.rpc)),
    };
    name.unwrap_or_else(|| format!("request {number}"))
}

/// The member, from 0, whose node has this name.
pub fn member_of(node: &str) -> Option<usize> {
    let number: usize = node.strip_prefix('m')?.parse().ok()?;
    number.checked_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::Value;
    use detcd_service::Rpc;

    fn take_event(
        run_record: &mut RunRecord,
        at: u64,
        node: &str,
        kind: &str,
        fields: &[(&'static str, Value<'_>)],
    ) {
        run_record.take(&Event {
            at: Duration::from_millis(at),
            node,
            kind,
            fields,
        });
    }

    #[test]
    fn what_is_frequent_is_kept_in_numbers() {
        let mut run_record = RunRecord::default();
        let index = |index| [("index", Value::Number(index)), ("term", Value::Number(1))];
        take_event(&mut run_record, 1, "m2", "raft.appended", &index(5));
        take_event(&mut run_record, 1, "m2", "raft.appended", &index(6));
        take_event(&mut run_record, 2, "m2", "raft.committed", &index(6));
        take_event(&mut run_record, 3, "m2", "raft.truncated", &index(4));
        let positions: Vec<(u64, u64)> = run_record.positions[&1]
            .iter()
            .map(|position| (position.last, position.committed))
            .collect();
        assert_eq!(positions, [(6, 0), (6, 6), (4, 6)]);
        assert_eq!((run_record.entries.len(), run_record.notes.len()), (2, 1));
    }

    #[test]
    fn answers_are_named_after_their_requests_and_faults_have_an_end() {
        let mut run_record = RunRecord {
            messages: Some(Vec::new()),
            ..RunRecord::default()
        };
        let packet = |what| {
            let numbers = [
                ("number", 9),
                ("from", 1),
                ("to", 2),
                ("sent", 1000),
                ("method", Rpc::Put as u64),
            ];
            let mut fields = vec![("what", Value::Text(what)), ("port", Value::Text("client"))];
            fields.extend(numbers.map(|(name, number)| (name, Value::Number(number))));
            fields
        };
        take_event(&mut run_record, 1, "net", "net.deliver", &packet("request"));
        take_event(&mut run_record, 2, "net", "net.lost", &packet("answer"));
        assert_eq!(run_record.labels, ["Put", "answer to Put"]);
        let messages = run_record.messages.as_ref().expect("they are wanted");
        assert!(!messages[0].lost && messages[1].lost);
        let fault = [("fault", Value::Number(3)), ("name", Value::Text("loss"))];
        take_event(&mut run_record, 5, "sim", "begins", &fault);
        take_event(&mut run_record, 9, "sim", "ends", &fault);
        assert_eq!(run_record.faults[&3].to, Some(Duration::from_millis(9)));
    }

    #[test]
    fn links_and_clocks_are_kept_as_they_were() {
        let mut run_record = RunRecord::default();
        let link = [
            ("link", Value::Number(2)),
            ("effect", Value::Text("cut")),
            ("paths", Value::Text("1>2")),
        ];
        take_event(&mut run_record, 5, "sim", "link.begins", &link);
        take_event(&mut run_record, 8, "sim", "link.ends", &link[..1]);
        let span = &run_record.links[&2];
        assert_eq!((span.effect.as_str(), span.paths.as_str()), ("cut", "1>2"));
        assert_eq!(span.to, Some(Duration::from_millis(8)));
        let clock = [
            ("member", Value::Number(1)),
            ("what", Value::Text("Heal")),
            ("rate_ppm", Value::Number(1_000_000)),
            ("gained_us", Value::Signed(-7)),
        ];
        take_event(&mut run_record, 9, "sim", "clock.change", &clock);
        let [clock] = run_record.clocks[..] else {
            panic!("one change, one reading");
        };
        assert_eq!((clock.member, clock.gained_us), (1, -7));
        assert_eq!(run_record.notes[0].text, "Heal");
    }
}
