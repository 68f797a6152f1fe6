//! Does what [`detcd_core::membership::admission`] decides: one task owns it.

mod transport;

pub(crate) use transport::RemovalListener;

use crate::handle::Handle;
use crate::shared::Shared;
use bytes::Bytes;
use detcd_core::api::{Member, MemberId, Millis};
use detcd_core::command::Command;
use detcd_core::error::Error;
use detcd_core::limits::GREETING_TIMEOUT;
use detcd_core::membership::admission::{
    Admission, AdmissionConfig, Effect, Event, Facts, Greeting, GreetingReply, MessageClass,
    REMOVED, SenderFacts, ShutdownReason, check_sender, is_behind_its_log,
};
use detcd_core::query;
use detcd_core::view::Fault;
use detcd_peer::Kind;
use futures::future::BoxFuture;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// What a member is told whose own log alone says that it was removed.
pub(crate) const UNCONFIRMED: &str = "this member's log says that it was removed, and no other \
    member has confirmed it yet: keep its data-dir until `member list`, asked of another member, \
    does not show it any more";

/// What reaches the task.
pub(crate) enum Input {
    Event(Event),
    Greeting {
        from: MemberId,
        greeting: Greeting,
        reply: oneshot::Sender<Result<Bytes, String>>,
    },
    Publish {
        name: String,
        client_urls: Vec<String>,
        published: oneshot::Sender<()>,
    },
}

pub(crate) type Inputs = mpsc::UnboundedSender<Input>;

/// Founds the cluster, on a member that may.
pub(crate) type Found = Box<dyn FnOnce() -> BoxFuture<'static, Result<(), String>> + Send>;

/// The task's own state.
pub(crate) struct AdmissionTask {
    handle: Handle,
    admission: Admission,
    /// The number of this member's raft log.
    log: u64,
    /// The last entry that was in the log when this member started; zero if it had none.
    started_with: u64,
    found: Option<Found>,
    /// What is to be published.
    publication: Option<Command>,
    published: Option<oneshot::Sender<()>>,
}

impl AdmissionTask {
    pub fn new(handle: Handle, config: AdmissionConfig, started_with: u64, found: Found) -> Self {
        AdmissionTask {
            handle,
            log: config.log,
            admission: Admission::new(config),
            started_with,
            found: Some(found),
            publication: None,
            published: None,
        }
    }

    /// A member that was admitted before takes part when this returns.
    pub fn begin(&mut self) {
        self.tell(Event::Tick);
    }

    /// Runs until the member stops.
    pub async fn run(
        mut self,
        mut inputs: mpsc::UnboundedReceiver<Input>,
        mut stopped: watch::Receiver<bool>,
    ) {
        let mut leader = self.shared().leader.clone();
        let mut removed = self.shared().lifecycle.removed.subscribe();
        self.tell(Event::Leader(leader.borrow_and_update().is_some()));
        loop {
            let deadline = self.admission.deadline();
            tokio::select! {
                biased;
                _ = stopped.wait_for(|stopped| *stopped) => return,
                input = inputs.recv() => match input {
                    Some(input) => self.take(input),
                    None => return,
                },
                changed = leader.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let has_leader = leader.borrow_and_update().is_some();
                    self.tell(Event::Leader(has_leader));
                }
                changed = removed.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.tell(Event::Applied);
                }
                () = sleep_until(deadline) => self.tell(Event::Tick),
            }
        }
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Event(event) => self.tell(event),
            Input::Greeting {
                from,
                greeting,
                reply,
            } => {
                // Whoever hung up wants no reply.
                let _ = reply.send(self.answer(from, greeting));
            }
            Input::Publish {
                name,
                client_urls,
                published,
            } => {
                self.publication = Some(Command::MemberPublish {
                    id: self.shared().member_id(),
                    name,
                    client_urls,
                    log: Some(self.log),
                });
                self.published = Some(published);
                self.tell(Event::Publish);
            }
        }
    }

    fn tell(&mut self, event: Event) {
        match self.facts() {
            Ok(facts) => self.admission.handle(now(), event, &facts),
            Err(fault) => return self.shared().halt(&fault.to_string()),
        }
        while let Some(effect) = self.admission.poll() {
            self.execute(effect);
        }
        self.admission.check();
    }

    fn facts(&self) -> Result<Facts, Fault> {
        let published = self.shared().engine.published();
        let roster = &published.roster;
        let ids = roster.members.iter().map(|member| member.id);
        Ok(Facts {
            others: ids.filter(|id| *id != roster.own_id).collect(),
            is_removed: roster.is_removed(),
            published_log: query::member_log(&*published.view, self.shared().member_id())?,
        })
    }

    /// The ids of the other members, as a log shows them.
    fn others(&self) -> Vec<String> {
        let roster = &self.shared().engine.published().roster;
        let ids = roster.members.iter().map(|member| member.id);
        let others = ids.filter(|id| *id != roster.own_id && !roster.removed.contains(id));
        others.map(|id| id.to_string()).collect()
    }

    /// A member that has just started does not know whom it has seen before it has applied what is
    /// in its log: until then it says so.
    fn answer(&mut self, from: MemberId, greeting: Greeting) -> Result<Bytes, String> {
        let engine = &self.shared().engine;
        let published = engine.published();
        let last_log_index = engine.status().last_log_index;
        if is_behind_its_log(published.applied, self.started_with, last_log_index) {
            return Err("this member has yet to read its log to the end".to_owned());
        }
        let view = &*published.view;
        let text = |fault: Fault| fault.to_string();
        let members = query::members(view).map_err(text)?;
        let sender = members.iter().find(|member| member.id == from);
        let facts = SenderFacts {
            published_log: query::member_log(view, from).map_err(text)?,
            has_published: sender.is_some_and(|member: &Member| !member.client_urls.is_empty()),
        };
        Ok(self.admission.answer(from, greeting, facts).encode())
    }

    fn execute(&mut self, effect: Effect) {
        tracing::debug!(%effect, "admission");
        match effect {
            Effect::Greet {
                to,
                attempt,
                greeting,
            } => self.greet(to, attempt, greeting),
            Effect::TakePart { founds } => {
                self.shared().lifecycle.takes_part.send_replace(true);
                if founds {
                    self.found();
                }
            }
            Effect::Publish { attempt } => self.publish(attempt),
            Effect::TellPublished => {
                if let Some(published) = self.published.take() {
                    let _ = published.send(());
                }
            }
            Effect::WarnOfSilence { silent } => {
                let silent: Vec<String> = silent.iter().map(MemberId::to_string).collect();
                tracing::warn!(
                    silent = silent.join(" "),
                    "this member is new, and waits for more of the others to let it in: start them"
                );
            }
            Effect::WarnOfRemoval => tracing::error!(others = ?self.others(), "{REMOVED}"),
            Effect::ShutDown(reason) => {
                match reason {
                    ShutdownReason::Removed { is_confirmed: true } => {
                        tracing::warn!("the data-dir used by this member must be removed.");
                    }
                    ShutdownReason::Removed {
                        is_confirmed: false,
                    } => tracing::warn!("{UNCONFIRMED}"),
                    ShutdownReason::DiskLost => {}
                }
                self.shared().shut_down(reason);
            }
        }
    }

    fn greet(&self, to: MemberId, attempt: u64, greeting: Greeting) {
        let shared = self.shared();
        let timeout = Duration::from_millis(GREETING_TIMEOUT.0);
        let call = shared
            .transport
            .call(to.0, Kind::Greeting, greeting.encode(), timeout);
        let inputs = shared.admission.clone();
        detcd_rt::spawn(async move {
            let reply = call.await.ok();
            let event = Event::Answered {
                from: to,
                attempt,
                reply: reply.and_then(|bytes| GreetingReply::decode(&bytes).ok()),
            };
            let _ = inputs.send(Input::Event(event));
        });
    }

    fn found(&mut self) {
        let Some(found) = self.found.take() else {
            return;
        };
        let shared = self.handle.shared.clone();
        detcd_rt::spawn(async move {
            if let Err(error) = found().await {
                shared.halt(&error);
            }
        });
    }

    fn publish(&self, attempt: u64) {
        let Some(command) = self.publication.clone() else {
            return;
        };
        let handle = self.handle.clone();
        detcd_rt::spawn(async move {
            let principal = handle.auth_known().member_principal();
            let proposed = handle.propose(&principal, &command).await;
            if let Err(error) = &proposed {
                tracing::debug!(%error, "cannot publish the local member yet");
            }
            let event = Event::Published {
                attempt,
                is_applied: proposed.is_ok(),
            };
            let _ = handle.shared.admission.send(Input::Event(event));
        });
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.handle.shared
    }
}

impl Handle {
    /// Tells the cluster this member's name and client URLs, once it takes part and there is a
    /// leader. The only error is that the member stops.
    pub async fn publish(&self, name: String, client_urls: Vec<String>) -> Result<(), Error> {
        let (published, is_published) = oneshot::channel();
        let input = Input::Publish {
            name,
            client_urls,
            published,
        };
        let sent = self.shared.admission.send(input);
        sent.map_err(|_| Error::Stopped)?;
        is_published.await.map_err(|_| Error::Stopped)
    }
}

/// Answers another member's greeting.
pub(crate) async fn answer_greeting(
    shared: &Shared,
    from: MemberId,
    body: &Bytes,
) -> Result<Bytes, String> {
    let greeting = Greeting::decode(body).map_err(|error| error.to_string())?;
    let (reply, replied) = oneshot::channel();
    let input = Input::Greeting {
        from,
        greeting,
        reply,
    };
    let stops = "this member stops";
    shared.admission.send(input).map_err(|_| stops)?;
    replied.await.map_err(|_| stops)?
}

/// Whether only raft asks and answers messages of this kind.
pub(crate) fn is_raft(kind: Kind) -> bool {
    class(kind) != MessageClass::Other
}

/// Whether `from` may be answered at all; the text refuses it.
pub(crate) fn admit(shared: &Shared, from: u64, kind: Kind) -> Result<(), String> {
    let published = shared.engine.published();
    let roster = &published.roster;
    let takes_part = *shared.lifecycle.takes_part.borrow();
    let is_removed = |id| roster.removed.contains(&id);
    let checked = check_sender(
        MemberId(from),
        class(kind),
        takes_part,
        roster.own_id,
        is_removed,
    );
    checked.map_err(|refusal| refusal.to_string())
}

fn class(kind: Kind) -> MessageClass {
    match kind {
        Kind::AppendEntries | Kind::TransferLeader | Kind::Snapshot => MessageClass::OfLeader,
        Kind::Vote | Kind::PreVote => MessageClass::Vote,
        _ => MessageClass::Other,
    }
}

fn now() -> Millis {
    Millis(detcd_rt::now_ms())
}

async fn sleep_until(deadline: Option<Millis>) {
    match deadline {
        Some(deadline) => detcd_rt::sleep(Duration::from_millis((deadline - now()).0)).await,
        None => std::future::pending().await,
    }
}
