//! `/v2/keys` of detcd and of etcd 3.4.23: the same requests to both, and every status, header and
//! body compared. What clocks decide is normalised: the date, and how an expiration is written.

use crate::cluster::{Cluster, Node};
use crate::tools::{Tool, find};
use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

/// What a request that waits for an event to come is given.
const WAIT: Duration = Duration::from_millis(60);
/// What any other request is given.
pub const ANSWER_MAX: Duration = Duration::from_secs(40);
pub const FORM: &str = "application/x-www-form-urlencoded";

/// Method, path below `/v2/keys` with its query, and body.
const CASES: &[(&str, &str, &str)] = &[
    ("GET", "", ""),
    ("HEAD", "", ""),
    ("PUT", "/a", "value=1"),
    ("GET", "/a", ""),
    ("HEAD", "/a", ""),
    ("HEAD", "/zz", ""),
    // Paths.
    ("PUT", "//b", "value=1"),
    ("GET", "/b/../c?x=1", ""),
    ("PUT", "/b/./c", ""),
    ("GET", "/x%zz", ""),
    ("PUT", "/n/a%2Fb%2F", "value=1"),
    ("GET", "/n/a", ""),
    ("PUT", "/x%20y+z", "value=a+b%20c"),
    ("GET", "/x%20y+z", ""),
    (
        "PUT",
        "/%3Cb%3E%26%22%C3%A9%00%ff",
        "value=%3Ca%3E%26%22%5C%0A%09%01%7F%E2%80%A8%C3%A9%ff",
    ),
    ("GET", "/%3Cb%3E%26%22%C3%A9%00%ff", ""),
    // Forms.
    ("PUT", "/x", "value=%zz"),
    ("PUT", "/x", "value=%4"),
    ("PUT", "/x?a=1;b=2", "value=1"),
    ("PUT", "/x?value=query", "value=body"),
    ("PUT", "/x?value=query", ""),
    ("PUT", "/empty", ""),
    ("PUT", "/empty", ""),
    // Times-to-live.
    ("PUT", "/ttl", "ttl=500&value=x"),
    ("PUT", "/ttl", "ttl=700&refresh=true"),
    ("PUT", "/ttl", "ttl=700&refresh=true&prevExist=true"),
    ("GET", "/ttl", ""),
    ("GET", "/ttl?wait=true&waitIndex=4", ""),
    ("PUT", "/ttl", "ttl=&value=y"),
    ("PUT", "/ttl", "ttl=99999999999&value=y"),
    ("PUT", "/ttl", "ttl=99999999999999999999&value=y"),
    ("PUT", "/ttl", "ttl=-1&value=y"),
    ("PUT", "/ttl", "ttl=abc&value=y"),
    ("PUT", "/nope?refresh=true&ttl=5", ""),
    ("PUT", "/ttl?refresh=true", "value=1"),
    ("PUT", "/ttl?refresh=true", ""),
    // The root.
    ("PUT", "/", "value=y"),
    ("DELETE", "/", ""),
    ("DELETE", "?prevIndex=4", ""),
    ("DELETE", "?recursive=true", ""),
    ("POST", "/", "value=z"),
    ("PUT", "?prevIndex=4", "value=z"),
    ("PUT", "?prevExist=true", "value=z"),
    ("PUT", "?prevExist=false", "value=z"),
    // Directories.
    ("PUT", "/dir", "dir=true"),
    ("PUT", "/dir", "dir=true"),
    ("PUT", "/dir", "value=1"),
    ("PUT", "/dir?prevExist=true", "dir=true&ttl=1000"),
    ("PUT", "/dir?prevExist=true", "value=1"),
    ("GET", "/dir", ""),
    ("PUT", "/dir?prevIndex=1", "value=1"),
    ("PUT", "/dir/a/b", "value=1"),
    ("PUT", "/dir/a/b/c", "value=1"),
    ("POST", "/dir/a/b", "value=1"),
    ("GET", "/dir/a/b/c", ""),
    ("DELETE", "/dir/a/b/c", ""),
    ("GET", "/dir/zz/b/c", ""),
    ("GET", "/dir?recursive=true&sorted=true", ""),
    ("DELETE", "/dir", ""),
    ("DELETE", "/dir?dir=true", ""),
    ("PUT", "/a?dir=true", "value=3"),
    // Hidden nodes.
    ("PUT", "/dir/_h/x", "value=hidden"),
    ("PUT", "/dir/_h2", "value=hidden"),
    ("GET", "/dir?recursive=true&sorted=true", ""),
    ("GET", "/dir/_h", ""),
    ("GET", "/dir/_h2", ""),
    ("DELETE", "/dir?recursive=true", ""),
    ("DELETE", "/nodir?recursive=true", ""),
    // The history.
    ("GET", "/a?wait=true&waitIndex=1", ""),
    ("GET", "/dir?wait=true&waitIndex=16&recursive=true", ""),
    ("GET", "/dir/a/b?wait=true&waitIndex=20", ""),
    ("GET", "/a?wait=true&waitIndex=100000", ""),
    ("GET", "/a?wait=true", ""),
    ("GET", "/a?wait=true&quorum=true", ""),
    // In order.
    ("POST", "/q", "value=1"),
    ("POST", "/q", "dir=true"),
    ("POST", "/q/x/y", "value=5&ttl=1000"),
    ("POST", "/q?prevExist=false", "value=1"),
    ("GET", "/q?recursive=true&sorted=true", ""),
    ("GET", "/q?quorum=true&sorted=true", ""),
    ("GET", "/zz?quorum=true", ""),
    // Comparisons.
    ("PUT", "/c", "value=1"),
    ("PUT", "/c?prevExist=false", "value=q"),
    ("PUT", "/c?prevExist=true", "value=q"),
    ("PUT", "/d?prevExist=true", "value=q"),
    ("PUT", "/d?prevExist=true&prevIndex=9", "value=q"),
    ("PUT", "/c?prevValue=1", "value=r"),
    ("PUT", "/c?prevIndex=1", "value=r"),
    ("PUT", "/c?prevIndex=1&prevValue=%3Cx", "value=r"),
    ("PUT", "/c?prevValue=q", "value=r"),
    ("PUT", "/c?noValueOnSuccess=true", "value=s"),
    ("PUT", "/c?prevValue=s&noValueOnSuccess=true", "value=t"),
    ("PUT", "/e?prevExist=false&noValueOnSuccess=true", "value=t"),
    ("DELETE", "/c?prevValue=q", ""),
    ("DELETE", "/c?prevIndex=9&prevValue=q", ""),
    ("DELETE", "/q?prevIndex=9", ""),
    ("DELETE", "/c?prevValue=t&noValueOnSuccess=true", ""),
    ("DELETE", "/c", ""),
    // What is no value of a parameter.
    ("PUT", "/a", "prevValue=&value=1"),
    ("PUT", "/a?prevExist=x", "value=1"),
    ("PUT", "/a?refresh=q", ""),
    ("PUT", "/a?wait=true", ""),
    ("PUT", "/a?wait=q", ""),
    ("PUT", "/a?recursive=q", ""),
    ("PUT", "/a?sorted=q", ""),
    ("PUT", "/a?dir=q", ""),
    ("PUT", "/a?quorum=q", ""),
    ("PUT", "/a?stream=q", ""),
    ("PUT", "/a?noValueOnSuccess=q", ""),
    ("PUT", "/a?prevIndex=q", ""),
    ("PUT", "/a?prevIndex=", ""),
    ("PUT", "/a?waitIndex=q", ""),
    ("PUT", "/a?waitIndex=q&recursive=q", ""),
    // Methods.
    ("PATCH", "/a", "value=1"),
    ("OPTIONS", "/a", ""),
];

/// Content types, each with the form `value=1`.
const CONTENT_TYPES: [&str; 8] = [
    "text/plain",
    "foo;;",
    "foo",
    "",
    "application/x-www-form-urlencoded; charset=utf-8",
    "multipart/form-data",
    "a b/c",
    "text/",
];

/// Headers that are compared; of some, only whether they are there.
pub const HEADERS: [&str; 11] = [
    "content-type",
    "allow",
    "location",
    "x-etcd-index",
    "x-etcd-cluster-id",
    "x-raft-index",
    "x-raft-term",
    "x-content-type-options",
    "access-control-allow-origin",
    "access-control-allow-methods",
    "access-control-allow-headers",
];
const OF_THE_MEMBER: [&str; 3] = ["x-etcd-cluster-id", "x-raft-index", "x-raft-term"];

/// What a client sees of a reply.
#[derive(Debug, PartialEq, Eq)]
pub struct Seen {
    pub status: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

/// A request as it is sent.
pub struct Sent<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub content_type: &'a str,
    pub body: &'a str,
}

impl Sent<'_> {
    pub fn ask(&self, port: u16) -> Seen {
        self.ask_as(port, "")
    }

    /// With an `Authorization` header, unless it is empty.
    pub fn ask_as(&self, port: u16, authorization: &str) -> Seen {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("a member that serves");
        let Sent {
            method,
            path,
            content_type,
            body,
        } = self;
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
        if !authorization.is_empty() {
            head += &format!("Authorization: {authorization}\r\n");
        }
        if !body.is_empty() {
            head += &format!("Content-Length: {}\r\n", body.len());
            if !content_type.is_empty() {
                head += &format!("Content-Type: {content_type}\r\n");
            }
        }
        let request = format!("{head}\r\n{body}");
        (&stream).write_all(request.as_bytes()).expect("a request");
        let timeout = match path.contains("wait=true") {
            true => WAIT,
            false => ANSWER_MAX,
        };
        let mut reader = BufReader::new(stream);
        let (status, headers) = read_head(&mut reader);
        reader
            .get_ref()
            .set_read_timeout(Some(timeout))
            .expect("a timeout");
        let body = read_body(&mut reader, headers.contains("transfer-encoding: chunked"));
        Seen {
            status,
            headers: HEADERS
                .into_iter()
                .filter_map(|name| shown(&headers, name))
                .collect(),
            body: normalized(&body),
        }
    }
}

pub fn read_head(reader: &mut BufReader<TcpStream>) -> (String, String) {
    let mut lines = String::new();
    while !lines.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut lines).expect("a head") > 0, "{lines}");
    }
    let (status, headers) = lines.split_once("\r\n").expect("a status");
    let lower = |line: &str| match line.split_once(": ") {
        Some((name, value)) => format!("{}: {value}\n", name.to_ascii_lowercase()),
        None => String::new(),
    };
    (status.to_owned(), headers.lines().map(lower).collect())
}

/// The body, or as much of it as came in time.
pub fn read_body(reader: &mut BufReader<TcpStream>, is_chunked: bool) -> Vec<u8> {
    let mut body = Vec::new();
    if !is_chunked {
        reader.read_to_end(&mut body).expect("a body");
        return body;
    }
    let mut chunk = || -> std::io::Result<bool> {
        let mut size = String::new();
        reader.read_line(&mut size)?;
        let size = u64::from_str_radix(size.trim(), 16).map_err(std::io::Error::other)?;
        reader.by_ref().take(size).read_to_end(&mut body)?;
        reader.read_line(&mut String::new())?;
        Ok(size > 0)
    };
    loop {
        match chunk() {
            Ok(true) => {}
            Ok(false) => return body,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                body.extend_from_slice(b"<more is awaited>");
                return body;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

pub fn shown(headers: &str, name: &str) -> Option<(String, String)> {
    let start = format!("{name}: ");
    let line = headers.lines().find_map(|line| line.strip_prefix(&start))?;
    let value = match OF_THE_MEMBER.contains(&name) {
        true => "there",
        false => line,
    };
    Some((name.to_owned(), value.to_owned()))
}

/// Each expiration's fraction of a second is left out, and its seconds, which the clock decides.
pub fn normalized(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let mut parts = text.split("\"expiration\":\"");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (time, rest) = part.split_once('"').expect("a time ends");
        assert!(
            time.starts_with("20") && time.ends_with('Z') && time.contains('T'),
            "{time}"
        );
        out += &format!("\"expiration\":\"{}\"{}", &time[..4], without_ttl(rest));
    }
    out
}

/// The seconds that are left differ by one between two members that were asked one after the other.
fn without_ttl(rest: &str) -> String {
    let Some(rest) = rest.strip_prefix(",\"ttl\":") else {
        return rest.to_owned();
    };
    let end = rest
        .find(|byte: char| !byte.is_ascii_digit())
        .unwrap_or(rest.len());
    let seconds: u64 = rest[..end].parse().expect("seconds");
    format!(
        ",\"ttl\":about {}{}",
        seconds.div_ceil(100) * 100,
        &rest[end..]
    )
}

fn keys(path: &str) -> String {
    format!("/v2/keys{path}")
}

/// The order of nodes is chance in etcd unless it is asked for.
fn assert_same(ports: (u16, u16), sent: &Sent<'_>) {
    let (etcd, detcd) = (sent.ask(ports.0), sent.ask(ports.1));
    let Sent {
        method, path, body, ..
    } = sent;
    assert_eq!(detcd, etcd, "{method} {path} {body}");
}

/// One member of each; `None` where etcd is not there.
pub async fn members(test: &str) -> Option<(Cluster, Cluster)> {
    let etcd = find(Tool::EtcdV2, test)?;
    let mut etcd = Cluster::of(etcd, 1, &["--enable-v2"]);
    let mut detcd = Cluster::new(1, &[]);
    for cluster in [&mut etcd, &mut detcd] {
        cluster.start(0);
        cluster.wait_healthy().await;
        await_index(&cluster.nodes[0]).await;
    }
    Some((etcd, detcd))
}

/// Until the member and its version count: etcd is healthy before.
pub async fn await_index(node: &Node) {
    let port = node.client_port;
    crate::cluster::eventually("the first index", || async move {
        let sent = Sent {
            method: "GET",
            path: "/v2/keys",
            content_type: "",
            body: "",
        };
        let index = ("x-etcd-index".to_owned(), "3".to_owned());
        sent.ask(port).headers.contains(&index).then_some(())
    })
    .await;
}

#[tokio::test]
async fn v2_requests_are_answered_as_etcd_answers_them() {
    let Some((etcd, detcd)) = members("v2_requests_are_answered_as_etcd_answers_them").await else {
        return;
    };
    let ports = (etcd.nodes[0].client_port, detcd.nodes[0].client_port);
    for (method, path, body) in CASES {
        let path = keys(path);
        let content_type = FORM;
        assert_same(
            ports,
            &Sent {
                method,
                path: &path,
                content_type,
                body,
            },
        );
    }
    for content_type in CONTENT_TYPES {
        let (method, path, body) = ("PUT", "/v2/keys/type", "value=1");
        assert_same(
            ports,
            &Sent {
                method,
                path,
                content_type,
                body,
            },
        );
    }
    for path in ["/v2/keysx", "/foo", "/v2//keys"] {
        let (method, content_type, body) = ("GET", "", "");
        assert_same(
            ports,
            &Sent {
                method,
                path,
                content_type,
                body,
            },
        );
    }
    // A thousand events later.
    for _ in 0..1000 {
        for port in [ports.0, ports.1] {
            let (method, content_type, body) = ("PUT", FORM, "value=1");
            Sent {
                method,
                path: "/v2/keys/many",
                content_type,
                body,
            }
            .ask(port);
        }
    }
    for path in [
        "/many?wait=true&waitIndex=8",
        "/many?wait=true&waitIndex=900",
    ] {
        let (method, path, content_type, body) = ("GET", &*keys(path), "", "");
        assert_same(
            ports,
            &Sent {
                method,
                path,
                content_type,
                body,
            },
        );
    }
}

#[tokio::test]
async fn v2_is_not_there_when_it_is_switched_off() {
    let test = "v2_is_not_there_when_it_is_switched_off";
    let Some(program) = find(Tool::EtcdV2, test) else {
        return;
    };
    let mut etcd = Cluster::of(program, 1, &[]);
    let mut detcd = Cluster::new(1, &["--enable-v2=false"]);
    for cluster in [&mut etcd, &mut detcd] {
        cluster.start(0);
        cluster.wait_healthy().await;
    }
    let ports = (etcd.nodes[0].client_port, detcd.nodes[0].client_port);
    for (method, path, body) in [("GET", "/v2/keys", ""), ("PUT", "/v2/keys/a", "value=1")] {
        let content_type = FORM;
        assert_same(
            ports,
            &Sent {
                method,
                path,
                content_type,
                body,
            },
        );
    }
}
