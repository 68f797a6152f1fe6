//! HTTP/2 requests with unusual pseudo-headers and header fields.

use crate::cluster::{Cluster, Node, WAIT_MAX};
use crate::tools::{Tool, find};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Command;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;

/// How a call ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// With a message and a status.
    Answered,
    /// With a status alone.
    Failed,
    /// The stream was reset with this code.
    Reset(u32),
    /// The connection was ended.
    Disconnected,
}

/// A client that sends what it is told to, right or wrong.
pub struct Raw {
    socket: TcpStream,
    ends: BTreeMap<u32, End>,
    messages: BTreeMap<u32, usize>,
}

impl Raw {
    pub async fn connect(node: &Node) -> Raw {
        let address = ("127.0.0.1", node.client_port);
        let mut socket = TcpStream::connect(address).await.expect("it listens");
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        let words = [&preface[..], &frame(SETTINGS, 0, 0, &[])].concat();
        socket.write_all(&words).await.expect("a connection");
        Raw {
            socket,
            ends: BTreeMap::new(),
            messages: BTreeMap::new(),
        }
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        // The other side may hang up in the middle, which its answer tells.
        let _ = self.socket.write_all(bytes).await;
    }

    /// Waits until the call on this stream has ended.
    pub async fn end(&mut self, stream: u32) -> End {
        let read = async {
            while !self.ends.contains_key(&stream) {
                if self.read().await.is_none() {
                    return End::Disconnected;
                }
            }
            self.ends[&stream].clone()
        };
        let end = tokio::time::timeout(WAIT_MAX, read).await;
        end.unwrap_or_else(|_| panic!("stream {stream} has no end"))
    }

    /// Takes note of the next frame, if one comes.
    async fn read(&mut self) -> Option<()> {
        let mut head = [0; 9];
        self.socket.read_exact(&mut head).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        self.socket.read_exact(&mut payload).await.ok()?;
        let (kind, flags) = (head[3], head[4]);
        let stream = u32::from_be_bytes(head[5..].try_into().unwrap());
        match kind {
            DATA if length > 0 => *self.messages.entry(stream).or_default() += 1,
            HEADERS if flags & END_STREAM != 0 => {
                let end = match self.messages.contains_key(&stream) {
                    true => End::Answered,
                    false => End::Failed,
                };
                self.ends.entry(stream).or_insert(end);
            }
            RST_STREAM => {
                let code = u32::from_be_bytes(payload[..4].try_into().unwrap());
                self.ends.entry(stream).or_insert(End::Reset(code));
            }
            GOAWAY => return None,
            _ => {}
        }
        Some(())
    }
}

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()[..]].concat();
    [head, payload.to_vec()].concat()
}

/// A field that HPACK's tables know nothing of, with `first` 0, or that goes into them, with 0x40.
pub fn field(first: u8, name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    for text in [name, value] {
        match text.len().checked_sub(127) {
            None => out.push(text.len() as u8),
            Some(mut rest) => {
                out.push(127);
                while rest >= 128 {
                    out.push(rest as u8 | 128);
                    rest >>= 7;
                }
                out.push(rest as u8);
            }
        }
        out.extend_from_slice(text);
    }
    out
}

/// The head of a stream's request.
pub fn headers(stream: u32, block: &[u8]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, block)
}

/// A whole message, and the end of the request.
pub fn message(stream: u32, bytes: &[u8]) -> Vec<u8> {
    frame(DATA, END_STREAM, stream, &prefixed(bytes))
}

pub fn prefixed(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
    [&[0][..], &length, bytes].concat()
}

/// A put of `x`.
pub const PUT: &[u8] = b"\x0a\x01x\x12\x011";

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

pub fn put_head() -> Fields {
    let fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/etcdserverpb.KV/Put"),
        (":authority", "127.0.0.1:2379"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    fields
        .map(|(name, value)| (name.into(), value.into()))
        .to_vec()
}

pub fn block(fields: &Fields) -> Vec<u8> {
    let fields = fields.iter();
    fields
        .flat_map(|(name, value)| field(0, name, value))
        .collect()
}

/// The head of a put in which this field has another value, or is missing.
fn with(name: &str, value: Option<&[u8]>) -> Fields {
    let mut fields = put_head();
    let place = fields
        .iter()
        .position(|field| field.0 == name.as_bytes())
        .expect("a field of a put");
    match value {
        Some(value) => fields[place].1 = value.to_vec(),
        None => drop(fields.remove(place)),
    }
    fields
}

/// The head of a put with one more field.
fn and(name: &[u8], value: &[u8]) -> Fields {
    let mut fields = put_head();
    fields.push((name.to_vec(), value.to_vec()));
    fields
}

fn authorities() -> Vec<&'static [u8]> {
    vec![
        b"127.0.0.1:1/",
        b"127.0.0.1:1/x",
        b"127.0.0.1:1?a=b",
        b"#initially=[http://127.0.0.1:1]",
        b"etcd-endpoints://0xc0000/127.0.0.1:1",
        b"/tmp/socket",
        b"unix:///tmp/socket",
        b"localhost",
        b"a,b",
        b"a,b/c",
        b"http://a",
        b"",
        b" ",
        b"a b",
        b"a%20b",
        b"a%zz",
        b"\xff\xfe",
        "\u{e4}".as_bytes(),
        b"a@b",
        b"u@",
        b"a:b:c",
        b"[::1]:1",
        b"[::1",
        b"a\"b",
        b"a\x01b",
        b"a\x7f",
        b"a\tb",
    ]
}

fn requests() -> Vec<Fields> {
    let mut requests = vec![put_head()];
    let authorities = authorities().into_iter().map(Some).chain([None]);
    requests.extend(authorities.map(|value| with(":authority", value)));
    let schemes = [&b"ht tp"[..], b"ftp", b"1x", b"", b"\xff", &[b'a'; 100]];
    requests.extend(schemes.map(|value| with(":scheme", Some(value))));
    requests.push(with(":scheme", None));
    let paths: [&[u8]; 19] = [
        b"etcdserverpb.KV/Put",
        b"",
        b"/",
        b"//etcdserverpb.KV/Put",
        b"/etcdserverpb.KV/Put?x",
        b"/etcdserverpb.KV/Put#x",
        b"/etcdserverpb.KV/Put ",
        b"/etcdserverpb.KV/Put/",
        b"/etcdserverpb.KV/put",
        b"/a b/c",
        b"/etcdserverpb.KV",
        b"etcdserverpb.KV",
        b"*",
        "/\u{e4}/x".as_bytes(),
        b"/\xff/x",
        b"http://a/etcdserverpb.KV/Put",
        b"/a<b>/c",
        b"?/Put",
        b"/a%20b/c",
    ];
    requests.extend(paths.map(|value| with(":path", Some(value))));
    requests.push(with(":path", None));
    let methods = [&b"GET"[..], b"PUT", b"post", b"P OST", b"", b"CONNECT"];
    requests.extend(methods.map(|value| with(":method", Some(value))));
    requests.push(with(":method", None));
    let types = [&b"application/grpc+proto"[..], b"application/grpc;a"];
    requests.extend(types.map(|value| with("content-type", Some(value))));
    requests.push(with("te", None));
    requests.push(with("te", Some(b"gzip")));
    let fields: [(&[u8], &[u8]); 40] = [
        (b"connection", b"close"),
        (b"connection", b"a"),
        (b"keep-alive", b"x"),
        (b"proxy-connection", b"x"),
        (b"transfer-encoding", b"chunked"),
        (b"upgrade", b"h2c"),
        (b"te", b"gzip"),
        (b"te", b"trailers"),
        (b"host", b"x"),
        (b"host", b"a b"),
        (b"content-length", b"11"),
        (b"content-length", b"5"),
        (b"content-length", b"x"),
        (b"content-length", b"99"),
        (b"content-length", b"+11"),
        (b"a b", b"c"),
        (b" a", b"c"),
        (b"A", b"c"),
        (b"a\x01", b"c"),
        (b"a\n", b"c"),
        (b"a\"", b"c"),
        (b"a:", b"c"),
        (b"", b"c"),
        ("\u{e4}".as_bytes(), b"c"),
        (b"a", b"c\x01"),
        (b"a", b"c\n"),
        (b"a", b"c\0"),
        (b"a", b"\x7f"),
        (b"a", b"\xff"),
        (b"a", b" c "),
        (b"a", b"\t"),
        (b"connection", b"\x01"),
        (b":foo", b"x"),
        (b":", b"x"),
        (b":status", b"200"),
        (b":protocol", b"x"),
        (b":authority", b"two"),
        (b":path", b"/etcdserverpb.KV/Put"),
        (b"x-bin", b"!!"),
        (b"cookie", b"a=b"),
    ];
    requests.extend(fields.map(|(name, value)| and(name, value)));
    let mut late = put_head();
    late.rotate_left(1);
    requests.push(late);
    requests
}

/// detcd, and etcd where it is there, each serving alone.
async fn both(test: &str) -> Vec<Cluster> {
    let mut programs = vec![env!("CARGO_BIN_EXE_detcd").into()];
    programs.extend(find(Tool::Etcd, test));
    let mut clusters = Vec::new();
    for program in programs {
        let mut cluster = Cluster::of(program, 1, &[]);
        cluster.start(0);
        clusters.push(cluster);
    }
    for cluster in &clusters {
        cluster.wait_healthy().await;
    }
    clusters
}

/// How a call with this head ends, and one after it on the same connection.
async fn ends(node: &Node, head: &Fields) -> (End, End) {
    let mut raw = Raw::connect(node).await;
    let first = [headers(1, &block(head)), message(1, PUT)];
    let second = [headers(3, &block(&put_head())), message(3, PUT)];
    raw.send(&[first.concat(), second.concat()].concat()).await;
    (raw.end(1).await, raw.end(3).await)
}

#[tokio::test]
async fn a_request_ends_as_with_etcd_whatever_its_head_has() {
    let clusters = both("a_request_ends_as_with_etcd_whatever_its_head_has").await;
    let mut different = Vec::new();
    for head in requests() {
        let mut found = Vec::new();
        for cluster in &clusters {
            found.push(ends(&cluster.nodes[0], &head).await);
        }
        let others = found.iter().all(|(_, after)| *after == End::Answered);
        if !others || found.iter().any(|end| *end != found[0]) {
            let text = |text: &[u8]| text.escape_ascii().to_string();
            let head = head.iter().map(|(n, v)| (text(n), text(v)));
            different.push((head.collect::<Vec<_>>(), found));
        }
    }
    assert!(different.is_empty(), "{different:#?}");
}

/// As Go's client sends them: the first puts its fields into the table, the others name them there.
#[tokio::test]
async fn an_authority_that_stands_in_the_table_is_taken_again_and_again() {
    const CALLS: u32 = 40;
    for cluster in both("an_authority_that_stands_in_the_table_is_taken_again_and_again").await {
        let mut raw = Raw::connect(&cluster.nodes[0]).await;
        let mut words = Vec::new();
        let head = with(":authority", Some(b"127.0.0.1:1/"));
        for call in 0..CALLS {
            let stream = 2 * call + 1;
            let block: Vec<u8> = match call {
                0 => head
                    .iter()
                    .flat_map(|(name, value)| field(0x40, name, value))
                    .collect(),
                // The newest of the six entries of the table is 62.
                _ => (62..68).rev().map(|index| 0x80 | index).collect(),
            };
            words.extend(headers(stream, &block));
            words.extend(message(stream, PUT));
        }
        raw.send(&words).await;
        for call in 0..CALLS {
            assert_eq!(raw.end(2 * call + 1).await, End::Answered, "{call}");
        }
    }
}

#[tokio::test]
async fn a_path_that_is_no_method_is_refused_in_etcds_words() {
    for cluster in both("a_path_that_is_no_method_is_refused_in_etcds_words").await {
        let mut grpc = tonic::client::Grpc::new(cluster.nodes[0].channel());
        for (path, words) in [
            (
                "/etcdserverpb.KV/Put?x",
                "unknown method Put?x for service etcdserverpb.KV",
            ),
            (
                "/etcdserverpb.KV/put",
                "unknown method put for service etcdserverpb.KV",
            ),
            ("//x/Put", "unknown service /x"),
        ] {
            grpc.ready().await.expect("it serves");
            let codec = tonic_prost::ProstCodec::<(), ()>::default();
            let path = http::uri::PathAndQuery::from_static(path);
            let request = tonic::Request::new(());
            let refused = grpc.unary(request, path.clone(), codec).await.unwrap_err();
            assert_eq!(refused.code(), tonic::Code::Unimplemented, "{path}");
            assert_eq!(refused.message(), words, "{path}");
        }
    }
}

#[tokio::test]
async fn a_second_header_block_resets_its_stream_alone() {
    for cluster in both("a_second_header_block_resets_its_stream_alone").await {
        let mut raw = Raw::connect(&cluster.nodes[0]).await;
        let head = block(&put_head());
        let begun = [headers(1, &head), frame(DATA, 0, 1, &prefixed(PUT)[..6])];
        let trailers = frame(HEADERS, END_HEADERS | END_STREAM, 1, &field(0, b"a", b"b"));
        let next = [headers(3, &head), message(3, PUT)];
        raw.send(&[begun.concat(), trailers, next.concat()].concat())
            .await;
        assert_eq!(raw.end(1).await, End::Reset(1));
        assert_eq!(raw.end(3).await, End::Answered);
    }
}

/// etcd answers a call as soon as it has its message.
#[tokio::test]
async fn a_call_is_answered_before_its_client_says_that_it_has_ended() {
    for cluster in both("a_call_is_answered_before_its_client_says_that_it_has_ended").await {
        let mut raw = Raw::connect(&cluster.nodes[0]).await;
        let head = headers(1, &block(&put_head()));
        raw.send(&[head, frame(DATA, 0, 1, &prefixed(PUT))].concat())
            .await;
        assert_eq!(raw.end(1).await, End::Answered);
    }
}

#[tokio::test]
async fn etcdctl_takes_endpoints_with_a_path_or_a_query() {
    let test = "etcdctl_takes_endpoints_with_a_path_or_a_query";
    let beside_etcd = find(Tool::Etcd, test).map(|etcd| etcd.with_file_name("etcdctl"));
    let programs: Vec<_> = [find(Tool::Etcdctl, test), beside_etcd]
        .into_iter()
        .flatten()
        .collect();
    for cluster in both(test).await {
        let url = cluster.nodes[0].client_url();
        for program in &programs {
            for more in ["/", "/x", "?a=b"] {
                let endpoint = format!("{url}{more}");
                for line in ["put x 1", "get x"] {
                    let mut command = Command::new(program);
                    command
                        .env("ETCDCTL_API", "3")
                        .args(["--endpoints", &endpoint])
                        .args(line.split(' '))
                        .kill_on_drop(true);
                    let output = tokio::time::timeout(Duration::from_secs(20), command.output());
                    let output = output.await.expect("an end").expect("a program");
                    let words = String::from_utf8_lossy(&output.stderr);
                    let program = program.display();
                    assert!(
                        output.status.success(),
                        "{program} {endpoint} {line}: {words}"
                    );
                }
            }
        }
    }
}
