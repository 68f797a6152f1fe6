//! Unary gRPC calls straight over `h2`.
//!
//! The generator shares the machine with the servers that it measures. A call through tonic's
//! channel costs as much as a server spends on serving it (buffers, boxed bodies, a hop to
//! another task), and would hide a good part of any difference between servers.

use super::load::{BoxError, REQUEST_TIMEOUT};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use detcd_net::limits::CLIENT_DIAL_TIMEOUT;
use detcd_net::tls::TlsClient;
use detcd_net::{Address, BatchedStream, Dialer};
use detcd_wire::etcdserverpb as pb;
use h2::client::SendRequest;
use http::{HeaderMap, HeaderValue, Method, Request, Uri, header};
use prost::Message;
use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;

/// A byte that says "not compressed", and the length.
const PREFIX_BYTES: usize = 5;
/// Large enough that no answer of a load waits for the flow control.
const WINDOW_BYTES: u32 = 4 << 20;

/// An HTTP/2 connection: for any number of calls at a time.
#[derive(Clone)]
struct Connection {
    requests: SendRequest<Bytes>,
    authority: String,
    scheme: &'static str,
    /// That of the user on whose behalf calls are made.
    token: Option<HeaderValue>,
}

/// A method's address at one server.
#[derive(Clone)]
struct Path(Uri);

/// The methods that the loads call.
#[derive(Clone)]
pub struct Kv {
    connection: Connection,
    put: Path,
    range: Path,
    range_stream: Path,
    delete_range: Path,
    txn: Path,
}

/// The token that a member gives for a password.
pub async fn authenticate(
    endpoint: &str,
    tls: Option<&Arc<TlsClient>>,
    request: &pb::AuthenticateRequest,
) -> Result<HeaderValue, BoxError> {
    let mut connection = Connection::open(endpoint, tls).await?;
    let path = connection.path("/etcdserverpb.Auth/Authenticate")?;
    let response: pb::AuthenticateResponse = connection.call(&path, request).await?;
    Ok(HeaderValue::try_from(response.token)?)
}

/// gRPC's code of a method that the server does not know.
const UNIMPLEMENTED: &[u8] = b"12";

impl Kv {
    pub async fn open(
        endpoint: &str,
        tls: Option<&Arc<TlsClient>>,
        token: Option<&HeaderValue>,
    ) -> Result<Kv, BoxError> {
        let mut connection = Connection::open(endpoint, tls).await?;
        connection.token = token.cloned();
        Ok(Kv {
            put: connection.path("/etcdserverpb.KV/Put")?,
            range: connection.path("/etcdserverpb.KV/Range")?,
            range_stream: connection.path("/etcdserverpb.KV/RangeStream")?,
            delete_range: connection.path("/etcdserverpb.KV/DeleteRange")?,
            txn: connection.path("/etcdserverpb.KV/Txn")?,
            connection,
        })
    }

    pub async fn put(&mut self, request: &pb::PutRequest) -> Result<pb::PutResponse, BoxError> {
        self.connection.call(&self.put, request).await
    }

    pub async fn range(
        &mut self,
        request: &pb::RangeRequest,
    ) -> Result<pb::RangeResponse, BoxError> {
        self.connection.call(&self.range, request).await
    }

    /// Reads all chunks of a streamed range and gives how many keys were in them.
    pub async fn range_stream(&mut self, request: &pb::RangeRequest) -> Result<i64, BoxError> {
        let mut keys = 0;
        let each = |chunk: pb::RangeStreamResponse| {
            let range = chunk.range_response.unwrap_or_default();
            keys += range.kvs.len() as i64;
        };
        let call = self.connection.exchange(&self.range_stream, request, each);
        tokio::time::timeout(REQUEST_TIMEOUT, call).await??;
        Ok(keys)
    }

    /// Whether the server knows the method at all: etcd has had it since 3.7.
    pub async fn has_range_stream(&mut self) -> Result<bool, BoxError> {
        let nothing = pb::RangeRequest {
            key: Bytes::from_static(b"list/"),
            limit: 1,
            ..Default::default()
        };
        match self.range_stream(&nothing).await {
            Ok(_) => Ok(true),
            Err(error) => match error.downcast_ref::<Status>() {
                Some(status) if status.code == UNIMPLEMENTED => Ok(false),
                _ => Err(error),
            },
        }
    }

    pub async fn delete_range(
        &mut self,
        request: &pb::DeleteRangeRequest,
    ) -> Result<pb::DeleteRangeResponse, BoxError> {
        self.connection.call(&self.delete_range, request).await
    }

    pub async fn txn(&mut self, request: &pb::TxnRequest) -> Result<pb::TxnResponse, BoxError> {
        self.connection.call(&self.txn, request).await
    }
}

impl Connection {
    /// Connects to an endpoint such as `http://127.0.0.1:2379`.
    async fn open(endpoint: &str, tls: Option<&Arc<TlsClient>>) -> Result<Connection, BoxError> {
        let address = Address::of_url(endpoint)?;
        let dialer = Dialer::within(CLIENT_DIAL_TIMEOUT).with_tls(tls.cloned());
        let stream = dialer.dial(&address).await?;
        let (io, writes) = BatchedStream::new(stream, None);
        let (requests, connection) = h2::client::Builder::new()
            .initial_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .enable_push(false)
            .handshake(io)
            .await?;
        let mut connection = Box::pin(connection);
        // What ends the connection also ends the calls on it, with the error.
        tokio::spawn(poll_fn(move |context| {
            writes.poll(connection.as_mut(), context)
        }));
        Ok(Connection {
            requests,
            authority: address.authority().to_owned(),
            scheme: address.scheme(),
            token: None,
        })
    }

    /// The address of a method, such as `/etcdserverpb.KV/Put`.
    fn path(&self, method: &str) -> Result<Path, BoxError> {
        let uri = Uri::builder()
            .scheme(self.scheme)
            .authority(self.authority.as_str())
            .path_and_query(method);
        Ok(Path(uri.build()?))
    }

    /// Calls a method and gives its answer.
    async fn call<A: Message + Default>(
        &mut self,
        path: &Path,
        message: &impl Message,
    ) -> Result<A, BoxError> {
        let mut answer = None;
        let call = self.exchange(path, message, |message| answer = Some(message));
        tokio::time::timeout(REQUEST_TIMEOUT, call).await??;
        Ok(answer.ok_or("an answer without a message")?)
    }

    /// Calls a method and hands over each message of its answer.
    async fn exchange<A: Message + Default>(
        &mut self,
        path: &Path,
        message: &impl Message,
        mut each: impl FnMut(A),
    ) -> Result<(), BoxError> {
        let mut request = Request::new(());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = path.0.clone();
        let headers = request.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/grpc"),
        );
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        if let Some(token) = &self.token {
            headers.insert("token", token.clone());
        }
        let requests = &mut self.requests;
        poll_fn(|context| requests.poll_ready(context)).await?;
        let (response, mut body) = requests.send_request(request, false)?;
        body.send_data(framed(message), true)?;

        let response = response.await?;
        // A call that fails at once has its status among the headers.
        check_status(response.headers())?;
        let mut body = response.into_body();
        let mut answer = BytesMut::new();
        while let Some(data) = body.data().await {
            let data = data?;
            body.flow_control().release_capacity(data.len())?;
            answer.extend_from_slice(&data);
            while let Some(message) = next_message(&mut answer) {
                each(A::decode(message)?);
            }
        }
        let trailers = body.trailers().await?.ok_or("an answer without trailers")?;
        check_status(&trailers)
    }
}

/// Takes a message off what was received, once it is whole.
fn next_message(received: &mut BytesMut) -> Option<BytesMut> {
    let mut prefix = received.get(1..PREFIX_BYTES)?;
    let length = prefix.get_u32() as usize;
    if received.len() < PREFIX_BYTES + length {
        return None;
    }
    received.advance(PREFIX_BYTES);
    Some(received.split_to(length))
}

fn framed(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut out = BytesMut::with_capacity(PREFIX_BYTES + length);
    out.put_u8(0);
    out.put_u32(u32::try_from(length).expect("a load sends small messages"));
    message.encode(&mut out).expect("the buffer grows");
    out.freeze()
}

/// A status that is not "ok".
#[derive(Debug)]
struct Status {
    code: Vec<u8>,
    text: Vec<u8>,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |bytes| String::from_utf8_lossy(bytes);
        write!(f, "status {}: {}", text(&self.code), text(&self.text))
    }
}

impl std::error::Error for Status {}

/// Fails if there is a status and it is not "ok".
fn check_status(headers: &HeaderMap) -> Result<(), BoxError> {
    match headers.get("grpc-status") {
        None => Ok(()),
        Some(status) if status.as_bytes() == b"0" => Ok(()),
        Some(status) => {
            let text = headers.get("grpc-message").map(HeaderValue::as_bytes);
            Err(Box::new(Status {
                code: status.as_bytes().to_vec(),
                text: text.unwrap_or_default().to_vec(),
            }))
        }
    }
}
