//! How etcd's messages travel between simulated clients and members, in place of gRPC's framing:
//! encoded messages, and at the end of a call a status. It knows no method but by its number, its
//! place in the service's table.

use crate::net::stream::{Stream, StreamSender};
use crate::net::{Head, Host, Incoming, Net, NetError, Port};
use crate::v2_calls::{self, V2_KEYS};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use detcd_core::limits::BCRYPT_COST_MIN;
use detcd_core::v2::Dialect;
use detcd_driver::Handle;
use detcd_service::{
    CallError, Caller, Failure, METHODS, Method, Replies, Reply, Service, ServiceOptions,
    Streaming, TokenKind,
};
use futures::StreamExt;
use prost::Message;
use std::time::Duration;

/// The version of etcd that simulated members say they are.
const ETCD_VERSION: &str = "3.7.0";

/// What travels back to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    Message(Bytes),
    /// Nothing follows. Replies of one message end without it.
    End(Result<(), Failure>),
}

impl Frame {
    pub fn encode(self) -> Bytes {
        let mut bytes = BytesMut::new();
        match self {
            Frame::Message(message) => {
                bytes.put_u8(0);
                bytes.extend_from_slice(&message);
            }
            Frame::End(Ok(())) => bytes.put_u8(1),
            Frame::End(Err(failure)) => {
                bytes.put_u8(2);
                bytes.put_i32_le(failure.code);
                bytes.extend_from_slice(failure.text.as_bytes());
            }
        }
        bytes.freeze()
    }

    pub fn decode(mut bytes: Bytes) -> Frame {
        match bytes.get_u8() {
            0 => Frame::Message(bytes),
            1 => Frame::End(Ok(())),
            2 => {
                let code = bytes.get_i32_le();
                let text = String::from_utf8_lossy(&bytes).into_owned().into();
                Frame::End(Err(Failure { code, text }))
            }
            tag => panic!("no frame begins with {tag}"),
        }
    }
}

impl From<Result<Reply, CallError>> for Frame {
    fn from(reply: Result<Reply, CallError>) -> Frame {
        match reply {
            Ok(reply) => {
                let mut message = BytesMut::with_capacity(reply.encoded_len());
                reply.encode(&mut message);
                Frame::Message(message.freeze())
            }
            Err(error) => Frame::End(Err(error.failure())),
        }
    }
}

/// A member's client port. Serves clients for as long as the process lives.
pub async fn serve(net: Net, host: Host, handle: Handle, options: ServiceOptions) {
    let service = Service::new(handle, options);
    let mut incoming = net.listen(host, Port::Client);
    while let Some(incoming) = incoming.recv().await {
        match incoming {
            Incoming::Call {
                head, body, reply, ..
            } if head.kind == V2_KEYS => {
                let answer = v2_calls::serve(service.clone(), body);
                detcd_rt::spawn(async move { reply.send(answer.await) });
            }
            Incoming::Call {
                head, body, reply, ..
            } => {
                let answer = service.unary(method(head), Caller::default(), body);
                detcd_rt::spawn(async move { reply.send(Frame::from(answer.await).encode()) });
            }
            Incoming::Open { head, stream, .. } if head.kind == V2_KEYS => {
                detcd_rt::spawn(v2_calls::serve_stream(service.clone(), stream));
            }
            Incoming::Open { head, stream, .. } => {
                detcd_rt::spawn(serve_stream(service.clone(), method(head), stream));
            }
        }
    }
}

/// What a simulated member's service is told.
pub fn options(quota_backend_bytes: Option<u64>, election_timeout: Duration) -> ServiceOptions {
    ServiceOptions {
        etcd_version: ETCD_VERSION.to_owned(),
        quota_backend_bytes,
        election_timeout,
        // Hashing takes no simulated time, only the machine's.
        bcrypt_cost: BCRYPT_COST_MIN,
        tokens: TokenKind::Simple,
        v2_dialect: Dialect::default(),
    }
}

fn method(head: Head) -> &'static Method {
    METHODS
        .get(usize::from(head.kind))
        .expect("clients call methods")
}

async fn serve_stream(service: Service, method: &'static Method, mut stream: Stream) {
    let (caller, sender) = (Caller::default(), stream.sender());
    let opened = match method.streaming {
        Streaming::Bidi => service.bidi_stream(method, caller, messages(stream)).await,
        Streaming::Unary => {
            let Some(Ok(message)) = stream.recv().await else {
                return;
            };
            let reply = service.unary(method, caller, message);
            // A client that is gone is answered no more, and its call ends.
            let gone = async { while let Some(Ok(_)) = stream.recv().await {} };
            tokio::select! {
                biased;
                reply = reply => {
                    // A client that is gone meanwhile needs no answer.
                    let _ = sender.send(Frame::from(reply).encode()).await;
                }
                () = gone => {}
            }
            return;
        }
        Streaming::Server => {
            let Some(Ok(message)) = stream.recv().await else {
                return;
            };
            let opened = service.server_stream(method, caller, message).await;
            return answer(opened, &sender).await;
        }
    };
    answer(opened, &sender).await;
}

/// What a client sends until it goes away. A broken connection ends the call.
fn messages(stream: Stream) -> detcd_service::Messages {
    let messages = futures::stream::unfold(stream, |mut stream| async move {
        let message = stream.recv().await?;
        let message = message.map_err(|error| {
            CallError::Transport(Failure {
                code: 1,
                text: format!("{error:?}").into(),
            })
        });
        Some((message, stream))
    });
    messages.boxed()
}

async fn answer(opened: Result<Replies, CallError>, sender: &StreamSender) {
    let end = match opened {
        Err(error) => Err(error.failure()),
        Ok(mut replies) => loop {
            match replies.next().await {
                None => break Ok(()),
                Some(Err(error)) => break Err(error.failure()),
                Some(reply) => {
                    if sender.send(Frame::from(reply).encode()).await.is_err() {
                        return;
                    }
                }
            }
        },
    };
    // A client that is gone needs no end.
    let _ = sender.send(Frame::End(end).encode()).await;
}

/// A client's end of a streamed call.
pub struct StreamedCall {
    stream: Stream,
}

/// The sending half of one.
pub struct RequestSender(StreamSender);

impl RequestSender {
    pub async fn send(&self, message: &impl Message) -> Result<(), NetError> {
        self.0.send(message.encode_to_vec().into()).await
    }
}

/// Why a client's stream has no further message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broken {
    Failed(Failure),
    Net(NetError),
}

impl From<NetError> for Broken {
    fn from(error: NetError) -> Broken {
        Broken::Net(error)
    }
}

impl StreamedCall {
    pub fn new(stream: Stream) -> StreamedCall {
        StreamedCall { stream }
    }

    pub fn sender(&self) -> RequestSender {
        RequestSender(self.stream.sender())
    }

    pub async fn send(&self, message: &impl Message) -> Result<(), NetError> {
        self.sender().send(message).await
    }

    /// The next message; `None` once the server has said that there is no more.
    pub async fn recv<A: Message + Default>(&mut self) -> Result<Option<A>, Broken> {
        match self.stream.recv().await {
            // Whoever closes without a word has gone.
            None => Err(Broken::Net(NetError::Reset)),
            Some(Err(error)) => Err(Broken::Net(error)),
            Some(Ok(frame)) => match Frame::decode(frame) {
                Frame::Message(message) => Ok(Some(
                    A::decode(message).expect("a server encodes what it sends"),
                )),
                Frame::End(Ok(())) => Ok(None),
                Frame::End(Err(failure)) => Err(Broken::Failed(failure)),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_as_they_were() {
        let failure = Failure {
            code: 14,
            text: "gone".into(),
        };
        let frames = [
            Frame::Message(Bytes::from_static(b"body")),
            Frame::Message(Bytes::new()),
            Frame::End(Ok(())),
            Frame::End(Err(failure)),
        ];
        for frame in frames {
            assert_eq!(Frame::decode(frame.clone().encode()), frame);
        }
    }

    #[test]
    fn every_method_has_a_number() {
        assert!(METHODS.len() <= usize::from(V2_KEYS));
    }
}
