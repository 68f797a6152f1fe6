//! Watch streams: the client's requests go to the node as they come, its responses come as the
//! client takes them. The node decides everything in between.

use crate::{Call, CallError, response_header};
use detcd_core::error::Error;
use detcd_driver::{Watch, WatchSender};
use detcd_wire::etcdserverpb as pb;
use detcd_wire::watch::{watch_request, watch_response};
use futures::stream::{self, Stream, StreamExt as _};

impl Call {
    pub(crate) async fn watch(
        self,
        requests: impl Stream<Item = Result<pb::WatchRequest, CallError>> + Send + Unpin + 'static,
    ) -> Result<impl Stream<Item = Result<pb::WatchResponse, CallError>> + Send, Error> {
        let watch = self.handle().watch().await?;
        let reader = detcd_rt::spawn(read(requests, watch.sender()));
        self.service.counts().watch_streams.add(1);
        let open = Open {
            call: self,
            watch,
            reader,
            reads: true,
        };
        Ok(stream::unfold(Some(open), |open| async {
            let mut open = open?;
            let response = open.next().await;
            let rest = response.is_ok().then_some(open);
            Some((response, rest))
        }))
    }
}

/// Hands the client's requests on. Gives the error that ends the stream, or `None` for a client
/// that has only finished asking: it keeps its watchers.
async fn read(
    mut requests: impl Stream<Item = Result<pb::WatchRequest, CallError>> + Unpin,
    watch: WatchSender,
) -> Option<CallError> {
    while let Some(request) = requests.next().await {
        match request.map(watch_request) {
            Ok(Some(request)) => watch.send(request).await,
            Ok(None) => {}
            Err(error) => return Some(error),
        }
    }
    None
}

/// The sending half of a stream. Dropping it closes the stream at the node.
struct Open {
    call: Call,
    watch: Watch,
    reader: detcd_rt::JoinHandle<Option<CallError>>,
    /// Whether the reader has not ended yet.
    reads: bool,
}

impl Open {
    async fn next(&mut self) -> Result<pb::WatchResponse, CallError> {
        loop {
            tokio::select! {
                biased;
                end = &mut self.reader, if self.reads => {
                    self.reads = false;
                    if let Ok(Some(error)) = end {
                        return Err(error);
                    }
                }
                response = self.watch.recv() => {
                    let response = response.ok_or(Error::Stopped)??;
                    let header = self.call.handle().header(response.revision);
                    let header = response_header(header).unwrap_or_default();
                    return Ok(watch_response(response, header));
                }
            }
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.reader.abort();
        self.call.service.counts().watch_streams.subtract(1);
    }
}
