//! Watch streams: the client's requests go to the node as they come, its responses come as the
//! client takes them. The node decides everything in between.

use super::{fail, leader_lost, pb_header, stream_error, wants_leader};
use crate::server::Context;
use detcd_core::error::Error;
use detcd_driver::{Watch, WatchSender};
use detcd_wire::etcdserverpb as pb;
use detcd_wire::watch::{watch_request, watch_response};
use futures::stream::{self, BoxStream, StreamExt as _};
use prometheus::IntGauge;
use std::sync::Arc;
use tokio::sync::oneshot;
use tonic::{Request, Response, Status, Streaming};

const PATH: &str = "/etcdserverpb.Watch/Watch";

pub(super) struct Watching {
    context: Arc<Context>,
}

impl Watching {
    pub fn new(context: Arc<Context>) -> Watching {
        Watching { context }
    }
}

#[tonic::async_trait]
impl pb::watch_server::Watch for Watching {
    type WatchStream = BoxStream<'static, Result<pb::WatchResponse, Status>>;

    async fn watch(
        &self,
        request: Request<Streaming<pb::WatchRequest>>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let wants_leader = wants_leader(request.metadata().as_ref());
        let watch = self
            .context
            .handle
            .watch()
            .await
            .map_err(|error| fail(&error))?;
        let (end, ended) = oneshot::channel();
        let reader = detcd_rt::spawn(read(
            self.context.clone(),
            request.into_inner(),
            watch.sender(),
            wants_leader,
            end,
        ));
        let open = Open {
            gauge: counted(&self.context.metrics.watch_streams),
            context: self.context.clone(),
            watch,
            ended: Some(ended),
            reader,
        };
        Ok(Response::new(stream::unfold(open, Open::step).boxed()))
    }
}

/// Hands the client's requests on until the client goes away. Whatever ends the stream as a whole
/// is told through `end`; a client that has only finished asking keeps its watchers.
async fn read(
    context: Arc<Context>,
    mut requests: Streaming<pb::WatchRequest>,
    watch: WatchSender,
    wants_leader: bool,
    end: oneshot::Sender<Status>,
) {
    let lost = leader_lost(&context, wants_leader);
    let mut lost = std::pin::pin!(lost);
    let mut asking = true;
    let status = loop {
        tokio::select! {
            biased;
            () = lost.as_mut() => break fail(&Error::NoLeader),
            request = requests.message(), if asking => match request {
                Ok(Some(request)) => {
                    context.metrics.stream_messages(PATH, 1, 0);
                    if let Some(request) = watch_request(request) {
                        watch.send(request).await;
                    }
                }
                Ok(None) => asking = false,
                Err(status) => break stream_error(status),
            },
        }
    };
    // The client may be gone already.
    let _ = end.send(status);
}

/// The sending half of a stream. Dropping it closes the stream at the node.
struct Open {
    context: Arc<Context>,
    watch: Watch,
    /// Taken when it has told the end.
    ended: Option<oneshot::Receiver<Status>>,
    reader: detcd_rt::JoinHandle<()>,
    gauge: Gauge,
}

impl Open {
    async fn step(mut self) -> Option<(Result<pb::WatchResponse, Status>, Open)> {
        // Gone once the stream has ended with an error.
        let ended = self.ended.as_mut()?;
        let item = tokio::select! {
            biased;
            end = ended => Err(end.unwrap_or_else(|_| fail(&Error::Stopped))),
            response = self.watch.recv() => match response {
                Some(Ok(response)) => {
                    self.context.metrics.stream_messages(PATH, 0, 1);
                    let header = self.context.handle.header(response.revision);
                    Ok(watch_response(response, pb_header(header)))
                }
                Some(Err(error)) => Err(fail(&error)),
                None => Err(fail(&Error::Stopped)),
            },
        };
        if item.is_err() {
            self.ended = None;
        }
        Some((item, self))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.reader.abort();
        self.gauge.0.dec();
    }
}

struct Gauge(IntGauge);

fn counted(gauge: &IntGauge) -> Gauge {
    gauge.inc();
    Gauge(gauge.clone())
}
