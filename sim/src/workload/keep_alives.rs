//! Keepalives as clients send them: on one stream, for as long as it lasts.

use crate::client::{CallError, Client};
use crate::framing::{Broken, StreamedCall};
use crate::history::KeepAlive;
use crate::net::NetError;
use crate::time;
use detcd_core::api::LeaseId;
use detcd_service::Rpc;
use detcd_wire::etcdserverpb as pb;
use futures::future;
use std::time::Duration;

/// A client's stream of keepalives. A failure ends it, and the next keepalive opens another.
#[derive(Default)]
pub struct KeepAlives {
    /// The member that it goes to.
    open: Option<(usize, StreamedCall)>,
}

impl KeepAlives {
    /// Keeps one lease alive.
    pub async fn renew(
        &mut self,
        client: &Client,
        id: LeaseId,
        timeout: Duration,
    ) -> Result<KeepAlive, CallError> {
        let (mut renewed, ended) = self.renew_all(client, &[id], timeout).await;
        ended?;
        Ok(renewed.pop().expect("one was asked for"))
    }

    /// Keeps leases alive, all at once. Gives the answers in the order of the leases, as far as they
    /// came in time.
    pub async fn renew_all(
        &mut self,
        client: &Client,
        ids: &[LeaseId],
        timeout: Duration,
    ) -> (Vec<KeepAlive>, Result<(), CallError>) {
        let mut renewed = Vec::new();
        let (member, mut call) = match self.open.take() {
            Some((member, call)) if member == client.member() => (member, call),
            _ => (client.member(), client.open(Rpc::LeaseKeepAlive)),
        };
        let exchanged = exchange(&mut call, ids, &mut renewed);
        let ended = match detcd_rt::timeout(timeout, exchanged).await {
            Ok(exchanged) => exchanged.map_err(CallError::from),
            Err(_) => Err(CallError::TimedOut),
        };
        if ended.is_ok() {
            self.open = Some((member, call));
        }
        (renewed, ended)
    }
}

/// Sends and receives at the same time: neither side takes what it has no room for.
async fn exchange(
    call: &mut StreamedCall,
    ids: &[LeaseId],
    renewed: &mut Vec<KeepAlive>,
) -> Result<(), Broken> {
    let (called, sender) = (time::now(), call.sender());
    let send = async {
        for id in ids {
            sender.send(&pb::LeaseKeepAliveRequest { id: id.0 }).await?;
        }
        Ok::<(), Broken>(())
    };
    let receive = async {
        for id in ids {
            let response = call.recv::<pb::LeaseKeepAliveResponse>().await?;
            let response = response.ok_or(Broken::Net(NetError::Reset))?;
            assert_eq!(response.id, id.0, "answers come in the order of requests");
            renewed.push(KeepAlive {
                called,
                ended: time::now(),
                ttl: response.ttl,
            });
        }
        Ok(())
    };
    future::try_join(send, receive).await.map(|_| ())
}
