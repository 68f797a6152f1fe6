//! etcd's v2 keys API, free of any transport: (who asks, request) to an event, a watch or a refusal.

use crate::{Caller, Service};
use bytes::Bytes;
use detcd_core::error::Error;
use detcd_core::v2::auth::{Asked, Asker};
use detcd_core::v2::history::Interest;
use detcd_core::v2::{Code, Dialect, Event, Operation, Refused, UnixNanos, Write};
use detcd_driver::{V2Watch, V2WatchError};
use detcd_wire::status::status;
use std::sync::Arc;

/// What is done to a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeysMethod {
    Get,
    Head,
    Put,
    Post,
    Delete,
}

/// A request as the client made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeysRequest {
    pub method: KeysMethod,
    pub path: Bytes,
    /// The path as it was asked for, which is what permissions are of.
    pub asked_path: Bytes,
    pub value: Bytes,
    pub dir: bool,
    /// Empty for none.
    pub prev_value: Bytes,
    /// Zero for none.
    pub prev_index: u64,
    pub prev_exist: Option<bool>,
    /// Seconds.
    pub ttl: Option<u64>,
    pub refresh: bool,
    pub recursive: bool,
    pub wait: bool,
    /// The first index that is waited for; zero for the next one.
    pub wait_index: u64,
    pub stream: bool,
    pub quorum: bool,
}

impl KeysRequest {
    /// A request that asks for nothing but its method.
    pub fn new(method: KeysMethod, path: Bytes) -> KeysRequest {
        KeysRequest {
            method,
            asked_path: path.clone(),
            path,
            value: Bytes::new(),
            dir: false,
            prev_value: Bytes::new(),
            prev_index: 0,
            prev_exist: None,
            ttl: None,
            refresh: false,
            recursive: false,
            wait: false,
            wait_index: 0,
            stream: false,
            quorum: false,
        }
    }

    /// The write that it is, unless it is a read.
    fn write(&self) -> Option<Write> {
        let compares = self.prev_index > 0 || !self.prev_value.is_empty();
        let operation = match (self.method, self.prev_exist) {
            (KeysMethod::Get | KeysMethod::Head, _) => return None,
            (KeysMethod::Post, _) => Operation::CreateInOrder,
            (KeysMethod::Delete, _) if compares => Operation::CompareAndDelete,
            (KeysMethod::Delete, _) => Operation::Delete,
            (KeysMethod::Put, Some(false)) => Operation::Create,
            (KeysMethod::Put, _) if compares => Operation::CompareAndSwap,
            (KeysMethod::Put, Some(true)) => Operation::Update,
            (KeysMethod::Put, None) => Operation::Set,
        };
        Some(Write {
            operation,
            time: UnixNanos::default(),
            path: self.path.clone(),
            value: self.value.clone(),
            prev_value: self.prev_value.clone(),
            prev_index: self.prev_index,
            ttl: self.ttl,
            dir: self.dir,
            recursive: self.recursive,
            refresh: self.refresh,
            dialect: Dialect::default(),
            asked: None,
        })
    }
}

/// What a request comes to.
pub struct KeysReply {
    /// The index of the tree (X-Etcd-Index).
    pub index: u64,
    pub body: KeysBody,
}

pub enum KeysBody {
    Event(Arc<Event>),
    Watch(V2Watch),
}

impl Service {
    /// Serves a request of `/v2/keys`.
    pub async fn v2_keys(
        &self,
        caller: &Caller,
        request: KeysRequest,
    ) -> Result<KeysReply, Refused> {
        let handle = &self.inner.handle;
        if let Some(write) = request.write() {
            let event = self.v2_write(caller, write, request.asked_path).await?;
            return Ok(KeysReply {
                index: event.index(),
                body: KeysBody::Event(event),
            });
        }
        let KeysRequest {
            method,
            path,
            asked_path,
            recursive,
            ..
        } = request;
        let asked = Asked {
            asker: self.known_asker(caller).await?,
            path: asked_path,
        };
        let quorum = request.quorum && method == KeysMethod::Get;
        if request.wait && !quorum && method == KeysMethod::Get {
            let interest = Interest { path, recursive };
            let watch = handle.v2_watch(&asked, interest, request.stream, request.wait_index);
            let watch = watch.await.map_err(|error| match error {
                V2WatchError::Refused(refused) => refused,
                V2WatchError::Request(error) => refused(error),
            })?;
            return Ok(KeysReply {
                index: watch.index(),
                body: KeysBody::Watch(watch),
            });
        }
        let found = handle.v2_get(&asked, path, recursive, quorum).await;
        let (event, index) = found.map_err(refused)??;
        Ok(KeysReply {
            index,
            body: KeysBody::Event(Arc::new(event)),
        })
    }
}

impl Service {
    /// Who asks; whose credentials are nobody's is refused.
    async fn known_asker(&self, caller: &Caller) -> Result<Asker, Refused> {
        let asker = self.v2_asker(caller).await.map_err(refused)?;
        asker.ok_or_else(Refused::unauthorized)
    }

    /// Who asks for a write, if it may.
    async fn allowed(
        &self,
        caller: &Caller,
        asked_path: &Bytes,
        write: &Write,
    ) -> Result<Asked, Refused> {
        let asked = Asked {
            asker: self.known_asker(caller).await?,
            path: asked_path.clone(),
        };
        let may = self.inner.handle.v2_may(&asked, write.recursive, true);
        match may.map_err(refused)? {
            true => Ok(asked),
            false => Err(Refused::unauthorized()),
        }
    }

    /// Writes, if who asks may. It is judged again when the write is applied: one that is refused then
    /// is asked for once more if it turns out that somebody else asks, since users may have changed, or
    /// have become known here, meanwhile.
    async fn v2_write(
        &self,
        caller: &Caller,
        write: Write,
        asked_path: Bytes,
    ) -> Result<Arc<Event>, Refused> {
        let handle = &self.inner.handle;
        let mut refused_before: Option<Option<Asked>> = None;
        loop {
            let asked = match handle.v2_auth_enabled().map_err(refused)? {
                false => None,
                true => Some(self.allowed(caller, &asked_path, &write).await?),
            };
            let write = Write {
                asked: asked.clone(),
                dialect: self.options().v2_dialect,
                ..write.clone()
            };
            let written = handle.v2_write(write).await;
            if let Err(error) = &written
                && error.leaves_outcome_unknown()
            {
                self.counts().proposals_failed.add(1);
            }
            match written.map_err(refused)? {
                Err(refused)
                    if refused.code == Code::Unauthorized
                        && refused_before.as_ref() != Some(&asked) =>
                {
                    refused_before = Some(asked);
                }
                done => return done,
            }
        }
    }
}

/// An error of the member, as etcd tells it: all are one code, and the cause says which.
fn refused(error: Error) -> Refused {
    let (code, text) = match &error {
        Error::Malformed(what) => (Code::InvalidField, *what),
        // etcd waits for a leader until the time is over.
        Error::NoLeader => (Code::RaftInternal, status(&Error::Timeout).1),
        error => (Code::RaftInternal, status(error).1),
    };
    Refused::request(code, Bytes::from_static(text.as_bytes()))
}
