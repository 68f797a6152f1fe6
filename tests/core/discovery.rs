//! How members find each other in a registry, as transcripts (`tests/core/discovery/*.txt`).
//!
//! - `join id=1 value=a=http://a:1`: a member begins its search; `look`: a proxy does.
//! - `size 3`: the registry answers the question for the size; `list index=7` with lines
//!   `ID VALUE CREATED`: who has registered; `created`: this member has;
//!   `change index=8 id=2 value=…`: somebody has; `change index=8`: something else has happened;
//!   `paused`: the pause is over.
//! - `fail size with=exists`: the question for the size fails so (`cleared`,
//!   `not-a-registry`, `unreachable`, `other`); the same for `list`, `create` and `change`.

mod transcript;

use detcd_core::api::MemberId;
use detcd_core::membership::discovery::{Discovery, Effect, Event, Registered, RegistryError};
use transcript::Command;

#[test]
fn transcripts() {
    transcript::run("discovery", || {
        let mut search = None;
        move |command: &Command| run(&mut search, command)
    });
}

fn run(search: &mut Option<Discovery>, command: &Command) -> String {
    let event = match &command.name[..] {
        "join" => {
            let id = MemberId(command.need("id"));
            *search = Some(Discovery::join(id, command.need("value")));
            None
        }
        "look" => {
            *search = Some(Discovery::look());
            None
        }
        "size" => Some(Event::Size(Ok(command.word(0)))),
        "list" => {
            let nodes = command.input.lines().map(|line| {
                let parts: Vec<&str> = line.split(' ').collect();
                Registered {
                    id: parts[0].to_owned(),
                    value: parts[1].to_owned(),
                    created_index: parts[2].parse().unwrap(),
                }
            });
            Some(Event::Listed(Ok((nodes.collect(), command.need("index")))))
        }
        "created" => Some(Event::Created(Ok(()))),
        "change" => {
            let index = command.need("index");
            let node = command.get("id").map(|id| Registered {
                id,
                value: command.need("value"),
                created_index: index,
            });
            Some(Event::Changed(Ok((node, index))))
        }
        "paused" => Some(Event::Paused),
        "fail" => Some(failure(command)),
        other => panic!("{}: no command {other}", command.at),
    };
    let search = search.as_mut().expect("a search");
    if let Some(event) = event {
        search.handle(event);
    }
    let mut lines = Vec::new();
    while let Some(effect) = search.poll() {
        lines.push(match effect {
            Effect::ReadSize => "read the size".to_owned(),
            Effect::List => "list".to_owned(),
            Effect::Create { id, value } => format!("create {id} {value}"),
            Effect::Wait { after } => format!("wait after {after}"),
            Effect::Pause { ms } => format!("pause {ms} ms"),
            Effect::Tell(notice) => format!("tell: {notice}"),
            Effect::Done(Ok(cluster)) => format!("done: {cluster}"),
            Effect::Done(Err(error)) => format!("failed: {error}"),
        });
    }
    lines.join("\n")
}

fn failure(command: &Command) -> Event {
    let error = match &command.need::<String>("with")[..] {
        "exists" => RegistryError::Exists,
        "cleared" => RegistryError::Cleared,
        "not-a-registry" => RegistryError::NotARegistry,
        "unreachable" => RegistryError::Unreachable("connection refused".to_owned()),
        other => RegistryError::Other(other.to_owned()),
    };
    match &command.word::<String>(0)[..] {
        "size" => Event::Size(Err(error)),
        "list" => Event::Listed(Err(error)),
        "create" => Event::Created(Err(error)),
        "change" => Event::Changed(Err(error)),
        other => panic!("{}: no question {other}", command.at),
    }
}
