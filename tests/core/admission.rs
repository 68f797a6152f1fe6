//! How members get into their cluster, as transcripts (`tests/core/admission/*.txt`).
//!
//! Each transcript is a world of members with one letter each. A greeting is under way until the
//! transcript says what becomes of it:
//!
//! - `start a log=1 with=b,c`: a founder's process starts (`joins`: a newcomer's; `admitted`: its
//!   log holds a membership already). `restart a`: again, with the same disk; what it remembered of
//!   others is gone. `wipe a log=9`: again, with an empty disk.
//! - `deliver a b`: b gets a's greeting, and a gets the answer. `hear a b`: b gets it, and the
//!   answer stays under way; `return a b`: it arrives. `lose a b`: a gets no answer.
//!   `deliver a b log=1 confirms`: a copy of an older greeting arrives at b, whose answer nobody
//!   waits for.
//! - `tick a at=50`: time passes. `leader a`, `leaderless a`: a hears from a leader, or does not.
//! - `publish a`: a's name is to be published. `apply a publish=b`: a applies that b published, with
//!   the log number that b has now (`log=1`: with this one; `old-build`: with none).
//! - `applied a`: a's own publish is over, as its state shows. `failed a`: it was not applied.
//! - `remove a on=b,c`: these apply that a was removed.

mod transcript;

use detcd_core::api::{MemberId, Millis};
use detcd_core::membership::admission::{
    Admission, AdmissionConfig, Effect, Event, Facts, Greeting, GreetingReply, REMOVED, SenderFacts,
};
use std::collections::{BTreeMap, BTreeSet};
use transcript::Command;

#[test]
fn transcripts() {
    transcript::run("admission", || {
        let mut world = World::default();
        move |command: &Command| world.run(command)
    });
}

/// A member's process, its disk, and its applied state.
struct Process {
    admission: Admission,
    config: AdmissionConfig,
    deadline: Option<Millis>,
    /// Greetings under way, and their answers, if they are under way back.
    greetings: BTreeMap<char, (u64, Greeting)>,
    returning: BTreeMap<char, (u64, Option<GreetingReply>)>,
    publish: Option<u64>,
    state: State,
}

#[derive(Clone, Default)]
struct State {
    members: BTreeSet<char>,
    /// The published log numbers; `None` for one of an older build.
    published: BTreeMap<char, Option<u64>>,
    removed: BTreeSet<char>,
}

#[derive(Default)]
struct World {
    now: Millis,
    processes: BTreeMap<char, Process>,
}

impl World {
    fn run(&mut self, command: &Command) -> String {
        self.now = command.get("at").map_or(self.now, Millis);
        let who: char = command.word(0);
        match command.name.as_str() {
            "start" => {
                let config = AdmissionConfig {
                    log: command.need("log"),
                    others: command.list("with").into_iter().map(id).collect(),
                    joins: command.flag("joins"),
                    is_admitted: command.flag("admitted"),
                    election_timeout: Millis(1000),
                };
                let mut state = State::default();
                if config.is_admitted {
                    state.members = command.list("with").into_iter().chain([who]).collect();
                }
                self.start(who, config, state)
            }
            "restart" => {
                let process = self.process(who);
                let is_admitted = command.flag("admitted") || process.config.is_admitted;
                let config = AdmissionConfig {
                    is_admitted,
                    ..process.config.clone()
                };
                let state = process.state.clone();
                self.start(who, config, state)
            }
            "wipe" => {
                let config = AdmissionConfig {
                    log: command.need("log"),
                    is_admitted: false,
                    ..self.process(who).config.clone()
                };
                self.start(who, config, State::default())
            }
            "tick" => self.tell(who, Event::Tick),
            "leader" => self.tell(who, Event::Leader(true)),
            "leaderless" => self.tell(who, Event::Leader(false)),
            "publish" => self.tell(who, Event::Publish),
            "applied" => self.published(who, true),
            "failed" => self.published(who, false),
            "apply" => {
                let publisher: char = command.need("publish");
                let log = match command.flag("old-build") {
                    true => None,
                    false => Some(command.or("log", self.process(publisher).config.log)),
                };
                let state = &mut self.process(who).state;
                let known = state.published.entry(publisher).or_insert(log);
                *known = known.or(log);
                String::new()
            }
            "members" => {
                self.process(who).state.members = command.list("are").into_iter().collect();
                self.tell(who, Event::Applied)
            }
            "remove" => {
                let mut out = String::new();
                for on in command.list::<char>("on") {
                    self.process(on).state.removed.insert(who);
                    self.process(on).state.members.remove(&who);
                    out += &self.tell(on, Event::Applied);
                }
                out
            }
            _ => self.carry(who, command.word(1), command),
        }
    }

    /// What becomes of a greeting.
    fn carry(&mut self, from: char, to: char, command: &Command) -> String {
        match command.name.as_str() {
            "deliver" if command.get::<u64>("log").is_some() => {
                let greeting = Greeting {
                    log: command.need("log"),
                    confirms: command.flag("confirms"),
                };
                let answer = self.answer(to, from, greeting);
                format!("{to} -> nobody: {answer}\n", answer = shown(&answer))
            }
            "deliver" => {
                let heard = self.hear(from, to);
                heard + &self.come_back(from, to)
            }
            "hear" => self.hear(from, to),
            "return" => self.come_back(from, to),
            "lose" => {
                let (attempt, _) = self.take_greeting(from, to, command);
                let from_id = id(to);
                let event = Event::Answered {
                    from: from_id,
                    attempt,
                    reply: None,
                };
                self.tell(from, event)
            }
            name => panic!("{}: {name} is no command", command.at),
        }
    }

    fn take_greeting(&mut self, from: char, to: char, command: &Command) -> (u64, Greeting) {
        let taken = self.process(from).greetings.remove(&to);
        taken.unwrap_or_else(|| panic!("{}: no greeting from {from} to {to}", command.at))
    }

    fn hear(&mut self, from: char, to: char) -> String {
        let (attempt, greeting) = self
            .process(from)
            .greetings
            .remove(&to)
            .expect("a greeting");
        let answer = self.answer(to, from, greeting);
        let said = format!("{to} -> {from}: {}\n", shown(&answer));
        let reply = answer.ok();
        self.process(from).returning.insert(to, (attempt, reply));
        said
    }

    fn come_back(&mut self, from: char, to: char) -> String {
        let (attempt, reply) = self.process(from).returning.remove(&to).expect("an answer");
        let mut out = String::new();
        if reply.is_none() {
            out += &self.tell(from, Event::ToldRemoved);
        }
        let event = Event::Answered {
            from: id(to),
            attempt,
            reply,
        };
        out + &self.tell(from, event)
    }

    fn answer(
        &mut self,
        to: char,
        from: char,
        greeting: Greeting,
    ) -> Result<GreetingReply, &'static str> {
        let process = self.process(to);
        if process.state.removed.contains(&from) {
            return Err(REMOVED);
        }
        let published = process.state.published.get(&from);
        let facts = SenderFacts {
            published_log: published.copied().flatten(),
            has_published: published.is_some(),
        };
        Ok(process.admission.answer(id(from), greeting, facts))
    }

    fn published(&mut self, who: char, is_applied: bool) -> String {
        let attempt = self.process(who).publish.take().expect("a publish");
        let event = Event::Published {
            attempt,
            is_applied,
        };
        self.tell(who, event)
    }

    fn start(&mut self, who: char, config: AdmissionConfig, state: State) -> String {
        let process = Process {
            admission: Admission::new(config.clone()),
            config,
            deadline: None,
            greetings: BTreeMap::new(),
            returning: BTreeMap::new(),
            publish: None,
            state,
        };
        self.processes.insert(who, process);
        self.tell(who, Event::Tick)
    }

    fn tell(&mut self, who: char, event: Event) -> String {
        let now = self.now;
        let process = self.process(who);
        let state = &process.state;
        let others = state.members.iter().filter(|member| **member != who);
        let facts = Facts {
            others: others.map(|member| id(*member)).collect(),
            is_removed: state.removed.contains(&who),
            published_log: state.published.get(&who).copied().flatten(),
        };
        process.admission.handle(now, event, &facts);
        process.admission.check();
        let mut out = String::new();
        while let Some(effect) = process.admission.poll() {
            out += &format!("{who}: {effect}\n");
            match effect {
                Effect::Greet {
                    to,
                    attempt,
                    greeting,
                } => {
                    process.greetings.insert(letter(to), (attempt, greeting));
                }
                Effect::Publish { attempt } => process.publish = Some(attempt),
                _ => {}
            }
        }
        let deadline = process.admission.deadline();
        if deadline != process.deadline {
            process.deadline = deadline;
            out += &match deadline {
                Some(Millis(ms)) => format!("{who}: wake at {ms}\n"),
                None => format!("{who}: sleep\n"),
            };
        }
        out
    }

    fn process(&mut self, who: char) -> &mut Process {
        self.processes
            .get_mut(&who)
            .unwrap_or_else(|| panic!("{who} was not started"))
    }
}

fn shown(answer: &Result<GreetingReply, &'static str>) -> String {
    match answer {
        Ok(reply) => reply.to_string(),
        Err(refusal) => format!("refused: {refusal}"),
    }
}

/// Members are shown in hexadecimal, so that letters up to f are their own ids.
fn id(letter: char) -> MemberId {
    MemberId(u64::from(
        letter.to_digit(16).expect("a letter from a to f"),
    ))
}

fn letter(id: MemberId) -> char {
    char::from_digit(u32::try_from(id.0).expect("a letter"), 16).expect("a letter from a to f")
}
