//! From a method and encoded messages to the function that answers, and back.

use crate::method::{Access, Effect, Method, Rpc};
use crate::{Call, CallError, Caller, Reply, Service};
use bytes::Bytes;
use detcd_core::error::Error;
use detcd_driver::Handle;
use futures::future::{self, BoxFuture, FutureExt as _};
use futures::stream::{self, BoxStream, Stream, StreamExt as _};
use prost::Message;

/// The encoded messages of a client's stream. An error of the transport ends it.
pub type Messages = BoxStream<'static, Result<Bytes, CallError>>;

/// What a stream answers. Nothing comes after an error.
pub type Replies = BoxStream<'static, Result<Reply, CallError>>;

/// So many election timeouts without a leader end a stream that requires one.
const ELECTIONS_WITHOUT_LEADER: u32 = 3;

type Unary = BoxFuture<'static, Result<Reply, CallError>>;

impl Service {
    /// Answers a call of one message and one reply.
    pub fn unary(&self, method: &'static Method, caller: Caller, message: Bytes) -> Unary {
        let call = match self.admit(method, caller) {
            Ok(call) => call,
            Err(error) => return fail(error),
        };
        match method.rpc {
            Rpc::Put => answer(call, message, Call::put, Reply::Put),
            Rpc::Range => answer(call, message, Call::range, Reply::Range),
            Rpc::Txn => answer(call, message, Call::txn, Reply::Txn),
            Rpc::DeleteRange => answer(call, message, Call::delete_range, Reply::DeleteRange),
            Rpc::Compact => answer(call, message, Call::compact, Reply::Compact),
            Rpc::LeaseGrant => answer(call, message, Call::lease_grant, Reply::LeaseGrant),
            Rpc::LeaseRevoke => answer(call, message, Call::lease_revoke, Reply::LeaseRevoke),
            Rpc::LeaseTimeToLive => {
                answer(call, message, Call::time_to_live, Reply::LeaseTimeToLive)
            }
            Rpc::LeaseLeases => answer(call, message, Call::leases, Reply::LeaseLeases),
            Rpc::MemberList => answer(call, message, Call::member_list, Reply::MemberList),
            Rpc::MemberAdd => answer(call, message, Call::member_add, Reply::MemberAdd),
            Rpc::MemberRemove => answer(call, message, Call::member_remove, Reply::MemberRemove),
            Rpc::MemberUpdate => answer(call, message, Call::member_update, Reply::MemberUpdate),
            Rpc::MemberPromote => answer(call, message, Call::member_promote, Reply::MemberPromote),
            Rpc::Status => answer(call, message, Call::status, Reply::Status),
            Rpc::Alarm => answer(call, message, Call::alarm, Reply::Alarm),
            Rpc::HashKv => answer(call, message, Call::hash_kv, Reply::HashKv),
            Rpc::MoveLeader => answer(call, message, Call::move_leader, Reply::MoveLeader),
            Rpc::Hash => answer(call, message, Call::hash, Reply::Hash),
            Rpc::Defragment => answer(call, message, Call::defragment, Reply::Defragment),
            Rpc::Downgrade => answer(call, message, Call::downgrade, Reply::Downgrade),
            Rpc::Lock => answer(call, message, Call::lock, Reply::Lock),
            Rpc::Unlock => answer(call, message, Call::unlock, Reply::Unlock),
            Rpc::Campaign => answer(call, message, Call::campaign, Reply::Campaign),
            Rpc::Proclaim => answer(call, message, Call::proclaim, Reply::Proclaim),
            Rpc::Leader => answer(call, message, Call::leader, Reply::Leader),
            Rpc::Resign => answer(call, message, Call::resign, Reply::Resign),
            Rpc::AuthEnable => answer(call, message, Call::auth_enable, Reply::AuthEnable),
            Rpc::AuthDisable => answer(call, message, Call::auth_disable, Reply::AuthDisable),
            Rpc::AuthStatus => answer(call, message, Call::auth_status, Reply::AuthStatus),
            Rpc::Authenticate => answer(call, message, Call::authenticate, Reply::Authenticate),
            Rpc::UserAdd => answer(call, message, Call::user_add, Reply::UserAdd),
            Rpc::UserGet => answer(call, message, Call::user_get, Reply::UserGet),
            Rpc::UserList => answer(call, message, Call::user_list, Reply::UserList),
            Rpc::UserDelete => answer(call, message, Call::user_delete, Reply::UserDelete),
            Rpc::UserChangePassword => {
                let reply = Reply::UserChangePassword;
                answer(call, message, Call::user_change_password, reply)
            }
            Rpc::UserGrantRole => {
                answer(call, message, Call::user_grant_role, Reply::UserGrantRole)
            }
            Rpc::UserRevokeRole => {
                answer(call, message, Call::user_revoke_role, Reply::UserRevokeRole)
            }
            Rpc::RoleAdd => answer(call, message, Call::role_add, Reply::RoleAdd),
            Rpc::RoleGet => answer(call, message, Call::role_get, Reply::RoleGet),
            Rpc::RoleList => answer(call, message, Call::role_list, Reply::RoleList),
            Rpc::RoleDelete => answer(call, message, Call::role_delete, Reply::RoleDelete),
            Rpc::RoleGrantPermission => {
                let reply = Reply::RoleGrantPermission;
                answer(call, message, Call::role_grant_permission, reply)
            }
            Rpc::RoleRevokePermission => {
                let reply = Reply::RoleRevokePermission;
                answer(call, message, Call::role_revoke_permission, reply)
            }
            _ => fail(CallError::Unsupported(method)),
        }
    }

    /// Answers a call of one message and any number of replies.
    pub fn server_stream(
        &self,
        method: &'static Method,
        caller: Caller,
        message: Bytes,
    ) -> BoxFuture<'static, Result<Replies, CallError>> {
        let call = match self.admit(method, caller) {
            Ok(call) => call,
            Err(error) => return fail(error),
        };
        let (access, handle) = (method.access, call.handle.clone());
        let replies: BoxFuture<'static, Result<Replies, CallError>> = match method.rpc {
            Rpc::RangeStream => async move {
                let request = Message::decode(message)?;
                let lost = call.leader_lost();
                let replies = call.range_stream(request).await?;
                Ok(until(lost, replies.map(|it| it.map(Reply::RangeStream))))
            }
            .boxed(),
            Rpc::Snapshot => async move {
                let request = Message::decode(message)?;
                let lost = call.leader_lost();
                let replies = call.snapshot(request).await?;
                Ok(until(lost, replies.map(|it| it.map(Reply::Snapshot))))
            }
            .boxed(),
            Rpc::Observe => async move {
                let request = Message::decode(message)?;
                let lost = call.leader_lost();
                let replies = call.observe(request);
                Ok(until(lost, replies.map(|it| it.map(Reply::Observe))))
            }
            .boxed(),
            _ => return fail(CallError::Unsupported(method)),
        };
        permitted(access, handle, replies)
    }

    /// Answers a call in which both sides send any number of messages at any time.
    pub fn bidi_stream(
        &self,
        method: &'static Method,
        caller: Caller,
        messages: Messages,
    ) -> BoxFuture<'static, Result<Replies, CallError>> {
        let call = match self.admit(method, caller) {
            Ok(call) => call,
            Err(error) => return fail(error),
        };
        let (access, handle) = (method.access, call.handle.clone());
        let replies: BoxFuture<'static, Result<Replies, CallError>> = match method.rpc {
            Rpc::Watch => async move {
                let lost = call.leader_lost();
                let replies = call.watch(decoded(messages)).await?;
                Ok(until(lost, replies.map(|it| it.map(Reply::Watch))))
            }
            .boxed(),
            Rpc::LeaseKeepAlive => {
                let lost = call.leader_lost();
                let replies = call.lease_keep_alive(decoded(messages));
                let replies = until(lost, replies.map(|it| it.map(Reply::LeaseKeepAlive)));
                future::ready(Ok(replies)).boxed()
            }
            _ => return fail(CallError::Unsupported(method)),
        };
        permitted(access, handle, replies)
    }
}

impl Call {
    /// Ends once the member has been without a leader for too long; `None` if the client does not
    /// mind.
    fn leader_lost(&self) -> Option<BoxFuture<'static, ()>> {
        if !self.requires_leader {
            return None;
        }
        let timeout = self.service.options().election_timeout * ELECTIONS_WITHOUT_LEADER;
        let mut leader = self.handle().leader();
        let lost = async move {
            // The sender goes with the member, and then every stream ends anyway.
            while leader.wait_for(Option::is_none).await.is_ok() {
                let found = leader.wait_for(Option::is_some);
                if detcd_rt::timeout(timeout, found).await.is_err() {
                    return;
                }
            }
        };
        Some(lost.boxed())
    }
}

/// Decodes the message and has `handler` answer it.
fn answer<M, R, E, F>(
    call: Call,
    message: Bytes,
    handler: impl FnOnce(Call, M) -> F,
    reply: impl FnOnce(R) -> Reply + Send + 'static,
) -> Unary
where
    M: Message + Default,
    E: Into<CallError> + Send + 'static,
    F: Future<Output = Result<R, E>> + Send + 'static,
{
    let message = match M::decode(message) {
        Ok(message) => message,
        Err(error) => return fail(error),
    };
    let changes = call.method.effect == Effect::Changes;
    let service = changes.then(|| call.service.clone());
    let (access, handle) = (call.method.access, call.handle.clone());
    let answered = handler(call, message);
    Box::pin(async move {
        check_access(access, &handle).await?;
        let answered = answered.await.map_err(Into::into);
        if let (Some(service), Err(error)) = (service, &answered)
            && error.leaves_outcome_unknown()
        {
            service.counts().proposals_failed.add(1);
        }
        answered.map(reply)
    })
}

/// The replies of a stream, for whoever may call.
fn permitted(
    access: Access,
    handle: Handle,
    replies: BoxFuture<'static, Result<Replies, CallError>>,
) -> BoxFuture<'static, Result<Replies, CallError>> {
    async move {
        check_access(access, &handle).await?;
        replies.await
    }
    .boxed()
}

/// Refuses whoever may not call at all. What the core judges is not looked at here.
async fn check_access(access: Access, handle: &Handle) -> Result<(), Error> {
    match access {
        Access::Anyone | Access::Judged => Ok(()),
        Access::User => handle.check_user().await,
        Access::Admin => handle.check_admin().await,
    }
}

fn fail<T: Send + 'static>(
    error: impl Into<CallError>,
) -> BoxFuture<'static, Result<T, CallError>> {
    future::ready(Err(error.into())).boxed()
}

fn decoded<M: Message + Default>(
    messages: Messages,
) -> impl Stream<Item = Result<M, CallError>> + Send + Unpin {
    messages.map(|message| Ok(M::decode(message?)?))
}

/// The replies, up to the first error or to the loss of the leader.
fn until(
    lost: Option<BoxFuture<'static, ()>>,
    replies: impl Stream<Item = Result<Reply, CallError>> + Send + 'static,
) -> Replies {
    let replies = replies.boxed();
    let Some(lost) = lost else {
        return replies;
    };
    let open = Some((lost, replies));
    stream::unfold(open, |open| async {
        let (mut lost, mut replies) = open?;
        let reply = tokio::select! {
            biased;
            () = &mut lost => Err(Error::NoLeader.into()),
            reply = replies.next() => reply?,
        };
        let open = reply.is_ok().then_some((lost, replies));
        Some((reply, open))
    })
    .boxed()
}
