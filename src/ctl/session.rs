//! What `lock` and `elect` share: a lease that is kept alive, and what ends the command.

use super::client::{Client, Repeat};
use super::context::Context;
use super::failure::Failure;
use super::lease::keep_alive;
use detcd_rt as rt;
use detcd_wire::etcdserverpb as pb;
use pb::lease_client::LeaseClient;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tonic::{Response, Status};

/// Nobody waits longer for a turn.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
/// etcdctl says of such errors what the server says and no more.
const UNKNOWN: &str = "rpc error: code = Unknown desc = ";

/// A lease, and the connection for what is done with it.
pub struct Session {
    pub lease: i64,
    client: Client,
    renewing: Client,
}

impl Session {
    pub async fn open(context: &mut Context, ttl: i64) -> Result<Session, Failure> {
        let (mut client, renewing) = (Client::new(context)?, Client::new(context)?);
        let request = pb::LeaseGrantRequest { ttl, id: 0 };
        let granted = call(&mut client, async |service| {
            LeaseClient::new(service).lease_grant(request).await
        });
        Ok(Session {
            lease: granted.await?.id,
            client,
            renewing,
        })
    }

    /// Does something with the connection for as long as the lease lives.
    pub async fn hold<T>(
        &mut self,
        expired: &str,
        work: impl AsyncFnOnce(&mut Client) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        tokio::select! {
            biased;
            done = work(&mut self.client) => done,
            () = keep_alive::keep(&mut self.renewing, self.lease) => Err(Failure::error(expired)),
        }
    }

    /// Ends the lease, and with it what it holds. Without an answer it ends by itself.
    pub async fn close(mut self) {
        let request = pb::LeaseRevokeRequest { id: self.lease };
        let revoked = self.client.call(Repeat::Write, async |service| {
            LeaseClient::new(service).lease_revoke(request).await
        });
        let _ = revoked.await;
    }
}

/// Sends a request until it is answered. To ask twice for a turn does no more than to ask once.
pub async fn call<R>(
    client: &mut Client,
    send: impl AsyncFn(super::client::Service) -> Result<Response<R>, Status>,
) -> Result<R, Failure> {
    let answered = client.call_within(Repeat::Read, rt::Instant::now() + FOR_EVER, send);
    answered.await.map_err(|failure| {
        let message = failure.message.strip_prefix(UNKNOWN);
        let message = message.unwrap_or(&failure.message).to_owned();
        Failure { message, ..failure }
    })
}

/// The signals by which a person or a supervisor ends the command.
pub struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupts {
    /// From now on they do not end the process by themselves.
    pub fn listen() -> Result<Interrupts, Failure> {
        Ok(Interrupts {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    pub async fn recv(&mut self) {
        tokio::select! {
            biased;
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
