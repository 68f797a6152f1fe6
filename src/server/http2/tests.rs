//! What a client sends, however it is compressed and cut, is what h2 reads, or what it is to read
//! in its place.

use super::hpack::{self, STATIC};
use super::huffman;
use super::normalizer::Normalizer;
use bytes::Bytes;
use http::{HeaderMap, Request};
use proptest::prelude::*;
use std::collections::VecDeque;
use std::io;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;
const TABLE_SIZE: usize = 4096;
const PAYLOAD_BYTES_MAX: usize = 16_000;

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// What a test leaves to chance: the bytes of a seed, over and over.
struct Chance<'a>(std::iter::Cycle<std::slice::Iter<'a, u8>>);

impl Chance<'_> {
    fn of(&mut self, choices: usize) -> usize {
        usize::from(*self.0.next().expect("a seed")) % choices
    }
}

/// Compresses header lists in any way that is allowed.
#[derive(Default)]
struct Encoder {
    table: VecDeque<(Vec<u8>, Vec<u8>)>,
}

impl Encoder {
    fn encode(&mut self, fields: &Fields, chance: &mut Chance<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        for (name, value) in fields {
            let fixed = STATIC
                .iter()
                .map(|(name, value)| (name.as_bytes(), value.as_bytes()));
            let all: Vec<(&[u8], &[u8])> = fixed
                .chain(
                    self.table
                        .iter()
                        .map(|(name, value)| (&name[..], &value[..])),
                )
                .collect();
            let whole = all.iter().position(|field| *field == (name, value));
            let named = all.iter().position(|field| field.0 == name);
            let way = chance.of(4);
            if let Some(index) = whole.filter(|_| way > 0) {
                integer(index + 1, 7, 0x80, &mut out);
                continue;
            }
            let (bits, first) = [(4, 0), (4, 0x10), (6, 0x40), (6, 0x40)][way];
            match named.filter(|_| chance.of(3) > 0) {
                Some(index) => integer(index + 1, bits, first, &mut out),
                None => {
                    out.push(first);
                    string(name, chance, &mut out);
                }
            }
            string(value, chance, &mut out);
            if bits == 6 {
                self.table.push_front((name.clone(), value.clone()));
                let size = |table: &VecDeque<(Vec<u8>, Vec<u8>)>| -> usize {
                    table.iter().map(|(n, v)| n.len() + v.len() + 32).sum()
                };
                while size(&self.table) > TABLE_SIZE {
                    self.table.pop_back();
                }
            }
        }
        out
    }
}

fn integer(value: usize, bits: u8, first: u8, out: &mut Vec<u8>) {
    let mut seven = Vec::new();
    let mask = (1 << bits) - 1;
    if value < mask {
        out.push(first | value as u8);
        return;
    }
    // What follows a full prefix is the same for every length of prefix.
    hpack::encode_integer(value - mask + 0x7f, &mut seven);
    seven[0] = first | mask as u8;
    out.extend(seven);
}

fn string(text: &[u8], chance: &mut Chance<'_>, out: &mut Vec<u8>) {
    let code = huffman::encode(text);
    let (text, flag) = match chance.of(2) {
        0 => (text, 0),
        _ => (&code[..], 0x80),
    };
    integer(text.len(), 7, flag, out);
    out.extend_from_slice(text);
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()[..]].concat();
    [head, payload.to_vec()].concat()
}

/// The frames of a header block, cut, padded and with a priority.
fn header_frames(stream: u32, block: &[u8], chance: &mut Chance<'_>) -> Vec<u8> {
    let mut pieces: Vec<&[u8]> = Vec::new();
    let mut rest = block;
    while chance.of(3) == 0 || rest.len() > PAYLOAD_BYTES_MAX {
        let (piece, others) = rest.split_at(chance.of(256).min(rest.len()));
        pieces.push(piece);
        rest = others;
    }
    pieces.push(rest);
    let last = pieces.len() - 1;
    let mut out = Vec::new();
    for (i, piece) in pieces.iter().enumerate() {
        let ends = if i == last { 0x4 } else { 0 };
        if i > 0 {
            out.extend(frame(CONTINUATION, ends, stream, piece));
            continue;
        }
        let (mut flags, mut payload) = (ends, Vec::new());
        let padding = chance.of(4);
        if padding > 0 {
            flags |= 0x8;
            payload.push(padding as u8);
        }
        if chance.of(4) == 0 {
            flags |= 0x20;
            payload.extend([0, 0, 0, 0, 7]);
        }
        payload.extend_from_slice(piece);
        payload.extend(vec![0; padding]);
        out.extend(frame(HEADERS, flags, stream, &payload));
    }
    out
}

/// What is handed on of `sent`, which arrives in pieces of any size.
fn normalized(sent: &[u8], chance: &mut Chance<'_>) -> io::Result<Vec<u8>> {
    let mut normalizer = Normalizer::default();
    let (mut out, mut rest) = (Vec::new(), sent);
    while !rest.is_empty() {
        let length = match chance.of(3) {
            0 => 1 + chance.of(12),
            1 => 1 + chance.of(250),
            _ => 4000,
        };
        let (arrived, others) = rest.split_at(length.min(rest.len()));
        rest = others;
        let passed = normalizer.take(arrived)?;
        out.extend_from_slice(&arrived[..passed]);
        while !normalizer.ready.is_empty() {
            out.append(&mut normalizer.ready);
            normalizer.go_on()?;
        }
    }
    Ok(out)
}

/// The requests that h2 reads.
fn read(bytes: Vec<u8>) -> Vec<Request<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.build().expect("a runtime");
    runtime.block_on(async {
        let (mut client, server) = tokio::io::duplex(1 << 20);
        let client = async move {
            let ping = frame(PING, 0, 0, b"was this");
            client.write_all(&[bytes, ping].concat()).await.unwrap();
            let mut answer = Vec::new();
            // Everything was read once the ping is answered, or h2 has ended the connection.
            let answered = |answer: &[u8]| answer.windows(8).any(|part| part == b"was this");
            while !answered(&answer) && client.read_buf(&mut answer).await.is_ok_and(|n| n > 0) {}
            client
        };
        let mut builder = h2::server::Builder::new();
        builder.max_header_list_size(16 << 20);
        let (found, mut requests) = futures::channel::mpsc::unbounded();
        let server = async move {
            let mut connection = builder.handshake::<_, Bytes>(server).await.unwrap();
            while let Some(Ok((request, _))) = connection.accept().await {
                found.unbounded_send(request.map(drop)).unwrap();
            }
        };
        let server = std::pin::pin!(server);
        let client = std::pin::pin!(client);
        match futures::future::select(server, client).await {
            futures::future::Either::Left(_) => {}
            futures::future::Either::Right((_client, server)) => {
                let _ = futures::FutureExt::now_or_never(server);
            }
        }
        std::iter::from_fn(|| requests.try_recv().ok()).collect()
    })
}

#[derive(Clone, Debug)]
struct Sent {
    pseudo: Vec<(&'static str, Vec<u8>)>,
    fields: Fields,
}

impl Sent {
    fn all(&self) -> Fields {
        let pseudo = self.pseudo.iter();
        let pseudo = pseudo.map(|(name, value)| (name.as_bytes().to_vec(), value.clone()));
        pseudo.chain(self.fields.clone()).collect()
    }

    fn part(&self, name: &str) -> Option<&[u8]> {
        let found = self.pseudo.iter().find(|(other, _)| *other == name);
        found.map(|(_, value)| &value[..])
    }

    /// The fields that a request is to have.
    fn expected(&self) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in &self.fields {
            if *name != b"connection" && *name != b"te" {
                let name = http::HeaderName::from_lowercase(name).unwrap();
                map.append(name, http::HeaderValue::from_bytes(value).unwrap());
            }
        }
        map
    }
}

/// A field that both h2 and etcd take.
fn honest_field() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let name = prop_oneof![
        Just("content-type"),
        Just("user-agent"),
        Just("x"),
        Just("grpc-timeout"),
        Just("accept-encoding"),
    ];
    let value = prop_oneof!["[ -~\u{e9}]{0,20}", "x{0,300}", Just("y".repeat(5000))];
    (name, value).prop_map(|(name, value)| (name.into(), value.into()))
}

fn honest() -> impl Strategy<Value = Sent> {
    let authority = prop_oneof![Just("127.0.0.1:2379"), Just("localhost"), Just("a,b")];
    let path = prop_oneof![Just("/etcdserverpb.KV/Put"), Just("/a?b"), Just("/")];
    let fields = proptest::collection::vec(honest_field(), 0..6);
    (authority, path, fields).prop_map(|(authority, path, fields)| Sent {
        pseudo: vec![
            (":method", b"POST".to_vec()),
            (":scheme", b"http".to_vec()),
            (":path", path.into()),
            (":authority", authority.into()),
        ],
        fields,
    })
}

/// A request that etcd takes and h2 may not.
fn unusual() -> impl Strategy<Value = Sent> {
    let authority = proptest::option::of(prop_oneof![
        Just(b"127.0.0.1:2379/".to_vec()),
        Just(b"#initially=[http://127.0.0.1:2379]".to_vec()),
        Just(b"\xff\xfe".to_vec()),
        Just(b"".to_vec()),
        Just(b"a b".to_vec()),
        Just(b"localhost".to_vec()),
        Just(vec![b'/'; 5000]),
    ]);
    let scheme = proptest::option::of(prop_oneof![Just("http"), Just("ht tp")]);
    let path = prop_oneof![Just("etcdserverpb.KV/Put"), Just("/a#b"), Just("/c")];
    let connection = prop_oneof![
        Just(None),
        Just(Some(("connection", "close"))),
        Just(Some(("te", "gzip"))),
    ];
    (honest(), authority, scheme, path, connection).prop_map(
        |(mut sent, authority, scheme, path, connection)| {
            sent.pseudo = vec![(":method", b"POST".to_vec()), (":path", path.into())];
            let authority = authority.map(|value| (":authority", value));
            let scheme = scheme.map(|value| (":scheme", value.into()));
            sent.pseudo.extend(authority.into_iter().chain(scheme));
            let connection = connection.map(|(name, value)| (name.into(), value.into()));
            sent.fields.extend(connection);
            sent
        },
    )
}

/// A request whose stream is reset.
fn malformed() -> impl Strategy<Value = Sent> {
    let wrong = prop_oneof![
        Just(("a b", "c")),
        Just(("A", "b")),
        Just(("", "b")),
        Just(("a", "\u{1}")),
        Just((":foo", "b")),
        Just((":path", "/twice")),
    ];
    (honest(), wrong).prop_map(|(mut sent, (name, value))| {
        sent.fields.push((name.into(), value.into()));
        sent
    })
}

/// The bytes of a connection with these requests, each with a message and maybe more.
fn connection(sent: &[Sent], chance: &mut Chance<'_>) -> Vec<u8> {
    let mut encoder = Encoder::default();
    let mut bytes = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
    for (i, request) in sent.iter().enumerate() {
        let stream = 2 * u32::try_from(i).unwrap() + 1;
        let block = encoder.encode(&request.all(), chance);
        bytes.extend(header_frames(stream, &block, chance));
        let message = vec![0; chance.of(256) * 20];
        bytes.extend(frame(DATA, 0, stream, &message));
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn honest_connections_are_handed_on_as_they_are(
        sent in proptest::collection::vec(honest(), 1..8),
        seed in proptest::collection::vec(any::<u8>(), 50..200),
    ) {
        let mut chance = Chance(seed.iter().cycle());
        // `a,b` is an authority that h2 does not take.
        let sent: Vec<Sent> = sent
            .into_iter()
            .filter(|sent| sent.part(":authority") != Some(b"a,b"))
            .collect();
        let bytes = connection(&sent, &mut chance);
        prop_assert!(normalized(&bytes, &mut chance).unwrap() == bytes);
        let requests = read(bytes);
        prop_assert_eq!(requests.len(), sent.len());
        for (request, sent) in requests.iter().zip(&sent) {
            prop_assert_eq!(request.headers(), &sent.expected());
        }
    }

    #[test]
    fn what_h2_reads_is_what_was_sent(
        sent in proptest::collection::vec(
            prop_oneof![honest(), unusual(), malformed()],
            1..10,
        ),
        seed in proptest::collection::vec(any::<u8>(), 50..200),
    ) {
        let mut chance = Chance(seed.iter().cycle());
        let bytes = connection(&sent, &mut chance);
        let requests = read(normalized(&bytes, &mut chance).unwrap());
        let is_wrong = |(name, value): &(Vec<u8>, Vec<u8>)| {
            super::field::Role::of(name, value) == super::field::Role::Malformed
                || name.starts_with(b":")
        };
        let kept: Vec<&Sent> = sent
            .iter()
            .filter(|sent| !sent.fields.iter().any(is_wrong))
            .collect();
        prop_assert_eq!(requests.len(), kept.len());
        for (request, sent) in requests.iter().zip(kept) {
            prop_assert_eq!(request.headers(), &sent.expected());
            let path = request.uri().path_and_query().unwrap().as_str();
            let expected = match sent.part(":path").unwrap() {
                b"etcdserverpb.KV/Put" => "/etcdserverpb.KV/Put",
                b"/a#b" => "/a%23b",
                other => std::str::from_utf8(other).unwrap(),
            };
            prop_assert_eq!(path, expected);
        }
    }

    /// Whatever arrives, nothing panics, and what is no HTTP/2 is handed on as it is.
    #[test]
    fn any_bytes_are_survived(
        tail in proptest::collection::vec(any::<u8>(), 0..400),
        heads in proptest::collection::vec((0..12_u8, any::<u8>(), 0..4_u32, 0..40_usize), 0..8),
        seed in proptest::collection::vec(any::<u8>(), 20..60),
    ) {
        let mut chance = Chance(seed.iter().cycle());
        prop_assert_eq!(&normalized(&tail, &mut chance).unwrap(), &tail);
        let mut bytes = PREFACE.to_vec();
        for (kind, flags, stream, length) in heads {
            let payload: Vec<u8> = (0..length).map(|_| chance.of(256) as u8).collect();
            bytes.extend(frame(kind, flags, stream, &payload));
        }
        bytes.extend(tail);
        // A block that cannot be decoded ends the connection.
        let _ = normalized(&bytes, &mut chance);
    }
}

/// The same bytes stand for other fields once the table has changed.
#[test]
fn a_repeated_block_is_looked_at_again_after_the_table_has_changed() {
    // POST, http, the path "/", and the newest entry of the table.
    let repeated = [0x83, 0x86, 0x84, 0x80 | 62];
    let inserts = |begin: &[u8], name: &[u8], value: &[u8]| {
        let mut block = begin.to_vec();
        integer(0, 6, 0x40, &mut block);
        for text in [name, value] {
            integer(text.len(), 7, 0, &mut block);
            block.extend_from_slice(text);
        }
        block
    };
    let mut normalizer = Normalizer::default();
    assert_eq!(normalizer.take(PREFACE).unwrap(), PREFACE.len());
    let mut passes = |stream: u32, block: &[u8]| {
        let sent = frame(HEADERS, 0x5, stream, block);
        normalizer.take(&sent).unwrap() == sent.len()
    };
    assert!(passes(1, &inserts(&[0x83, 0x86, 0x84], b"x", b"1")));
    assert!(passes(3, &repeated) && passes(5, &repeated));
    assert!(passes(7, &inserts(&[0x83, 0x86, 0x84], b"x", b"2")));
    assert!(passes(9, &repeated) && passes(11, &repeated));
    assert!(passes(13, &inserts(&[0x83, 0x86], b":path", b"/y")));
    assert!(!passes(15, &repeated), "it has two paths now");
}

/// A name that the table knows is not looked at again, but for the one whose role its value decides.
#[test]
fn a_known_name_with_another_value_is_judged_anew() {
    let head = [0x83, 0x86, 0x84];
    for (name, value, passes) in [
        (&b"te"[..], &b"gzip"[..], false),
        (b"te", b"trailers", true),
        (b"a", b"\x01", false),
        (b"a", b"b", true),
    ] {
        let mut normalizer = Normalizer::default();
        normalizer.take(PREFACE).unwrap();
        let mut block = head.to_vec();
        integer(0, 6, 0x40, &mut block);
        for text in [name, b"trailers"] {
            integer(text.len(), 7, 0, &mut block);
            block.extend_from_slice(text);
        }
        let first = frame(HEADERS, 0x5, 1, &block);
        assert_eq!(normalizer.take(&first).unwrap(), first.len());
        let mut block = head.to_vec();
        integer(62, 4, 0, &mut block);
        integer(value.len(), 7, 0, &mut block);
        block.extend_from_slice(value);
        let second = frame(HEADERS, 0x5, 3, &block);
        let passed = normalizer.take(&second).unwrap();
        assert_eq!(passed == second.len(), passes, "{name:?}: {value:?}");
    }
}

/// The bytes that h2's own client sends, which uses the dynamic table and the Huffman code.
#[tokio::test]
async fn the_bytes_of_h2s_client_are_handed_on_as_they_are() {
    let (client, mut server) = tokio::io::duplex(1 << 20);
    let (mut requests, connection) = h2::client::handshake(client).await.unwrap();
    let connection = detcd_rt::spawn(async move { connection.await.is_ok() });
    for i in 0..20 {
        let request = Request::post("http://127.0.0.1:2379/etcdserverpb.KV/Put")
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("number", i % 3)
            .body(())
            .unwrap();
        let (_, mut body) = requests.send_request(request, false).unwrap();
        body.send_data(Bytes::from(vec![7; i]), true).unwrap();
    }
    let mut sent = Vec::new();
    // A PING would be answered, but nobody reads or answers here: what there is was sent.
    while let Ok(Ok(1..)) = detcd_rt::timeout(
        std::time::Duration::from_millis(200),
        server.read_buf(&mut sent),
    )
    .await
    {}
    connection.abort();
    assert!(sent.len() > 500, "{}", sent.len());
    for seed in 0..50 {
        let seed = [seed, 3, 200, 17, 2, 90];
        let mut chance = Chance(seed.iter().cycle());
        assert!(normalized(&sent, &mut chance).unwrap() == sent);
    }
}
