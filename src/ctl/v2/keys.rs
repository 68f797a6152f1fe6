//! Requests of the keys API.

use super::client::{Client, Sending};
use super::context::Context;
use super::error::RequestError;
use super::event::{self, Event};
use super::http::Request;
use super::url::{clean_path, encode_pairs, escape_path};
use crate::ctl::command_line::Word;
use crate::ctl::failure::Failure;

const PREFIX: &[u8] = b"/v2/keys";

pub struct Keys(Client);

#[derive(Clone, Copy, Debug, Default)]
pub struct Get {
    pub recursive: bool,
    pub sorted: bool,
    pub quorum: bool,
}

/// A write; what is empty or zero is not sent.
#[derive(Clone, Debug, Default)]
pub struct Set {
    /// Empty for a directory.
    pub value: Word,
    pub dir: bool,
    pub ttl: i64,
    pub prev_exist: Option<bool>,
    pub prev_value: Word,
    pub prev_index: i64,
}

#[derive(Clone, Debug, Default)]
pub struct Delete {
    pub dir: bool,
    pub recursive: bool,
    pub prev_value: Word,
    pub prev_index: i64,
}

/// What a watch waits for.
#[derive(Clone, Debug)]
pub struct Wait {
    pub key: Word,
    pub recursive: bool,
    /// The first index that is of interest; zero for what comes next.
    pub index: u64,
}

impl Wait {
    pub fn new(key: Word, recursive: bool, after_index: i64) -> Wait {
        // As etcdctl has it, a negative index is one of the far future.
        let after_index = after_index.cast_unsigned();
        Wait {
            key,
            recursive,
            index: match after_index {
                0 => 0,
                after => after.wrapping_add(1),
            },
        }
    }
}

impl Keys {
    pub async fn open(context: &mut Context) -> Result<Keys, Failure> {
        Client::synced(context).await.map(Keys)
    }

    pub async fn get(
        &mut self,
        context: &mut Context,
        key: &[u8],
        get: Get,
    ) -> Result<Event, RequestError> {
        let mut request = Request::new("GET", path(key));
        request.query = encode_pairs(&[
            ("recursive", flag(get.recursive)),
            ("sorted", flag(get.sorted)),
            ("quorum", flag(get.quorum)),
        ]);
        self.ask(context, &request, false).await
    }

    pub async fn set(
        &mut self,
        context: &mut Context,
        key: &[u8],
        set: Set,
    ) -> Result<Event, RequestError> {
        let (mut query, mut form) = (Vec::new(), Vec::new());
        if set.dir {
            query.push(("dir", flag(true)));
        } else {
            conditions(&mut query, set.prev_value, set.prev_index);
            form.push(("value", set.value));
        }
        query.extend(set.prev_exist.map(|exists| ("prevExist", flag(exists))));
        form.extend(ttl(set.ttl));
        let mut request = Request::new("PUT", path(key)).form(encode_pairs(&form));
        request.query = encode_pairs(&query);
        let creates = set.prev_exist == Some(false);
        self.ask(context, &request, creates).await
    }

    pub async fn create_in_order(
        &mut self,
        context: &mut Context,
        dir: &[u8],
        value: Word,
        seconds: i64,
    ) -> Result<Event, RequestError> {
        let mut form = vec![("value", value)];
        form.extend(ttl(seconds));
        let request = Request::new("POST", path(dir)).form(encode_pairs(&form));
        self.ask(context, &request, false).await
    }

    pub async fn delete(
        &mut self,
        context: &mut Context,
        key: &[u8],
        delete: Delete,
    ) -> Result<Event, RequestError> {
        let mut query = Vec::new();
        conditions(&mut query, delete.prev_value, delete.prev_index);
        if delete.dir {
            query.push(("dir", flag(true)));
        }
        if delete.recursive {
            query.push(("recursive", flag(true)));
        }
        let mut request = Request::new("DELETE", path(key));
        request.content_type = Some("application/x-www-form-urlencoded");
        request.query = encode_pairs(&query);
        self.ask(context, &request, true).await
    }

    /// The next event, however long it takes.
    pub async fn next(
        &mut self,
        context: &mut Context,
        wait: &mut Wait,
    ) -> Result<Event, RequestError> {
        let sending = Sending {
            once: false,
            waits: true,
            deadline: None,
        };
        loop {
            let mut request = Request::new("GET", path(&wait.key));
            request.query = encode_pairs(&[
                ("wait", flag(true)),
                ("waitIndex", wait.index.to_string().into()),
                ("recursive", flag(wait.recursive)),
            ]);
            let response = self.0.send(context, &request, sending).await?;
            let is_ok = matches!(response.status, 200 | 201);
            // A server that stops ends the wait without an event.
            if is_ok && response.body.is_empty() {
                continue;
            }
            let event = event::read(&response)?;
            wait.index = event.node.modified_index + 1;
            return Ok(event);
        }
    }

    async fn ask(
        &mut self,
        context: &mut Context,
        request: &Request,
        once: bool,
    ) -> Result<Event, RequestError> {
        let sending = Sending {
            once,
            ..Sending::until(context.deadline())
        };
        let response = self.0.send(context, request, sending).await?;
        event::read(&response)
    }
}

fn conditions(query: &mut Vec<(&str, Word)>, value: Word, index: i64) {
    if !value.is_empty() {
        query.push(("prevValue", value));
    }
    if index != 0 {
        // As etcdctl has it, a negative index is a large one.
        query.push(("prevIndex", index.cast_unsigned().to_string().into()));
    }
}

fn ttl(seconds: i64) -> Option<(&'static str, Word)> {
    (seconds > 0).then(|| ("ttl", seconds.to_string().into()))
}

fn flag(on: bool) -> Word {
    on.to_string().into()
}

fn path(key: &[u8]) -> String {
    let slash: &[u8] = match key.first() {
        None | Some(b'/') => b"",
        Some(_) => b"/",
    };
    escape_path(&clean_path(&[PREFIX, slash, key].concat()))
}
