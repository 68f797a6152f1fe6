//! Generated requests of `/v2/keys` to detcd and to etcd 3.4.23: nested directories, comparisons,
//! times-to-live, waits and mistakes, and every reply compared.

use crate::v2_keys::{
    ANSWER_MAX, FORM, HEADERS, Seen, members, normalized, read_body, read_head, shown,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, FileFailurePersistence, TestRunner};
use std::cell::RefCell;
use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Generated requests in a run; `DETCD_V2_REQUESTS` asks for more: 10,000 take a minute or two.
const REQUESTS: u32 = 2_000;
const REQUESTS_PER_SEQUENCE: usize = 40;
/// A request of a sequence: its path within the sequence's own directory.
#[derive(Clone, Debug)]
struct Generated {
    method: &'static str,
    path: String,
    parameters: Vec<String>,
    /// An index, as so many before or after the last one that was seen.
    index: Option<(&'static str, i64)>,
}

impl Generated {
    fn path(&self, root: &str, index: u64) -> String {
        let mut query = self.parameters.clone();
        if let Some((name, distance)) = self.index {
            query.push(format!(
                "{name}={}",
                index.saturating_add_signed(distance).max(1)
            ));
        }
        format!("{root}{}?{}", self.path, query.join("&"))
    }

    fn waits(&self) -> bool {
        self.index.is_some_and(|(name, _)| name == "waitIndex")
    }
}

fn write_parameters() -> impl Strategy<Value = Vec<String>> {
    let of = |weight: f64, name: &'static str, values: &'static [&'static str]| {
        let value = prop::sample::select(values);
        let pair = value.prop_map(move |value| format!("{name}={value}"));
        prop::option::weighted(weight, pair)
    };
    (
        of(0.6, "value", &["1", "2", ""]),
        of(0.15, "dir", &["true", "true", "true", "q"]),
        of(0.2, "prevExist", &["true", "false", "true", "false", "q"]),
        of(0.15, "prevValue", &["1", "2", "1", "2", ""]),
        of(0.2, "ttl", &["", "1000", "2000", "1000", "x", "-1"]),
        of(0.1, "refresh", &["true"]),
        of(0.2, "recursive", &["true"]),
        of(0.05, "noValueOnSuccess", &["true"]),
    )
        .prop_map(|(a, b, c, d, e, f, g, h)| {
            [a, b, c, d, e, f, g, h].into_iter().flatten().collect()
        })
}

fn read_parameters() -> impl Strategy<Value = Vec<String>> {
    let flag = |text: &'static str| prop::option::of(Just(text.to_owned()));
    let flags = (flag("recursive=true"), flag("quorum=true"));
    flags.prop_map(|(recursive, quorum)| {
        // The order of nodes is chance in etcd unless it is asked for.
        let sorted = Some("sorted=true".to_owned());
        [recursive, quorum, sorted].into_iter().flatten().collect()
    })
}

fn generated() -> impl Strategy<Value = Generated> {
    let name = prop::sample::select(&["a", "b", "_h", "c", "B", "a0"][..]);
    let path = move || {
        prop::collection::vec(name.clone(), 0..5).prop_map(|names| {
            names
                .iter()
                .map(|name| format!("/{name}"))
                .collect::<String>()
        })
    };
    let writes = prop::sample::select(&["PUT", "PUT", "PUT", "POST", "DELETE"][..]);
    let prev_index = prop::option::weighted(0.15, -6i64..=1);
    let wait_index = prop::option::weighted(0.2, prop_oneof![9 => -300i64..=0, 1 => 1i64..=2]);
    prop_oneof![
        5 => (writes, path(), write_parameters(), prev_index).prop_map(
            |(method, path, parameters, index)| Generated {
                method,
                path,
                parameters,
                index: index.map(|index| ("prevIndex", index)),
            },
        ),
        2 => (path(), read_parameters(), wait_index).prop_map(|(path, mut parameters, index)| {
            parameters.extend(index.map(|_| "wait=true".to_owned()));
            Generated {
                method: "GET",
                path,
                parameters,
                index: index.map(|index| ("waitIndex", index)),
            }
        }),
    ]
}

/// A connection that stays for one request after the other.
struct Connection(BufReader<TcpStream>);

impl Connection {
    fn open(port: u16) -> Connection {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("a member that serves");
        stream.set_nodelay(true).expect("a socket");
        stream
            .set_read_timeout(Some(ANSWER_MAX))
            .expect("a timeout");
        Connection(BufReader::new(stream))
    }

    fn send(&self, method: &str, path: &str) {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM}\r\nContent-Length: \
             0\r\n\r\n"
        );
        self.0
            .get_ref()
            .write_all(head.as_bytes())
            .expect("a request");
    }

    /// Reads a reply. One that waits is `None` if nothing came of it within the time.
    fn receive(&mut self, wait: Option<Duration>) -> Option<Seen> {
        let (status, headers) = read_head(&mut self.0);
        let is_chunked = headers.contains("transfer-encoding: chunked");
        let body = match is_chunked {
            true => self.chunks(wait)?,
            false => {
                let length = headers
                    .lines()
                    .find_map(|line| line.strip_prefix("content-length: "));
                let length = length.map_or(0, |it| it.parse().expect("a number"));
                let mut body = vec![0; length];
                self.0.read_exact(&mut body).expect("a body");
                body
            }
        };
        Some(Seen {
            status,
            headers: HEADERS
                .into_iter()
                .filter_map(|name| shown(&headers, name))
                .collect(),
            body: normalized(&body),
        })
    }

    fn chunks(&mut self, wait: Option<Duration>) -> Option<Vec<u8>> {
        let socket = self.0.get_ref().try_clone().expect("a socket");
        if let Some(wait) = wait {
            socket.set_read_timeout(Some(wait)).expect("a timeout");
            if let Err(error) = self.0.fill_buf() {
                assert!(
                    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
                    "{error}"
                );
                return None;
            }
            socket
                .set_read_timeout(Some(ANSWER_MAX))
                .expect("a timeout");
        }
        Some(read_body(&mut self.0, true))
    }
}

/// Both members, and what to say to them next.
struct Pair {
    ports: (u16, u16),
    etcd: Connection,
    detcd: Connection,
    /// The last index that was seen.
    index: u64,
}

impl Pair {
    fn new(ports: (u16, u16)) -> Pair {
        Pair {
            ports,
            etcd: Connection::open(ports.0),
            detcd: Connection::open(ports.1),
            index: 3,
        }
    }

    /// What both say: etcd, and detcd.
    fn ask(&mut self, request: &Generated, path: &str) -> (Option<Seen>, Option<Seen>) {
        if request.waits() {
            return self.wait(request.method, path);
        }
        self.etcd.send(request.method, path);
        self.detcd.send(request.method, path);
        let seen = (self.etcd.receive(None), self.detcd.receive(None));
        let index = seen.0.iter().flat_map(|seen| &seen.headers);
        let mut index = index.filter(|(name, _)| name == "x-etcd-index");
        if let Some((_, index)) = index.next() {
            self.index = index.parse().expect("a number");
        }
        seen
    }

    /// Whether an event comes is certain only of one that came: if the other member gives one, it
    /// gets all the time that it needs.
    fn wait(&self, method: &str, path: &str) -> (Option<Seen>, Option<Seen>) {
        let ask = |port, wait| {
            let mut connection = Connection::open(port);
            connection.send(method, path);
            connection.receive(wait)
        };
        let short = Some(Duration::from_millis(5));
        let seen = (ask(self.ports.0, short), ask(self.ports.1, short));
        match (&seen.0, &seen.1) {
            (Some(_), None) => (seen.0, ask(self.ports.1, Some(ANSWER_MAX))),
            (None, Some(_)) => (ask(self.ports.0, Some(ANSWER_MAX)), seen.1),
            _ => seen,
        }
    }
}

/// Generated sequences, each in a directory of its own. What fails is kept in the
/// folder `proptest-regressions`.
#[tokio::test]
async fn generated_v2_requests_are_answered_as_etcd_answers_them() {
    let test = "generated_v2_requests_are_answered_as_etcd_answers_them";
    let Some((etcd, detcd)) = members(test).await else {
        return;
    };
    let ports = (etcd.nodes[0].client_port, detcd.nodes[0].client_port);
    let asked = std::env::var("DETCD_V2_REQUESTS").ok();
    let requests = asked.map_or(REQUESTS, |asked| asked.parse().expect("a number"));
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/proptest-regressions/against-etcd-v2.txt"
    );
    let mut runner = TestRunner::new(Config {
        cases: requests / (REQUESTS_PER_SEQUENCE as u32 / 2),
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(path))),
        ..Config::default()
    });
    let pair = RefCell::new(Pair::new(ports));
    let (directory, count) = (RefCell::new(0), RefCell::new(0));
    let sequence = prop::collection::vec(generated(), 1..REQUESTS_PER_SEQUENCE);
    let begun = Instant::now();
    let result = runner.run(&sequence, |requests| {
        *directory.borrow_mut() += 1;
        // None begins as another does: etcd takes such a one for one below.
        let root = format!("/v2/keys/g{:05}", directory.borrow());
        let mut pair = pair.borrow_mut();
        for request in &requests {
            *count.borrow_mut() += 1;
            let path = request.path(&root, pair.index);
            let (etcd, detcd) = pair.ask(request, &path);
            prop_assert_eq!(detcd, etcd, "{} {}", request.method, path);
        }
        Ok(())
    });
    eprintln!("{} requests in {:?}", count.borrow(), begun.elapsed());
    if let Err(error) = result {
        panic!("{error}");
    }
}
