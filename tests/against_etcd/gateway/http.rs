//! Requests of the gateway, and what of their replies is compared.

use crate::v2_keys::{read_body, read_head};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::time::Duration;

/// What any request is given.
const ANSWER_MAX: Duration = Duration::from_secs(30);
const HEADERS: &[&str] = &[
    "content-type",
    "location",
    "x-content-type-options",
    "grpc-metadata-content-type",
    "access-control-allow-origin",
    "access-control-allow-methods",
    "access-control-allow-headers",
];
/// What a member is called, and what a clock decides.
const OF_THE_MEMBER: &[&str] = &["cluster_id", "member_id", "raft_term", "hash"];

/// A request as it is sent.
#[derive(Clone, Copy, Debug)]
pub struct Sent<'a> {
    pub method: &'a str,
    pub path: &'a str,
    /// Lines that end with `\r\n`.
    pub headers: &'a str,
    pub body: &'a [u8],
}

impl<'a> Sent<'a> {
    pub fn post(path: &'a str, body: &'a str) -> Sent<'a> {
        Sent {
            method: "POST",
            path,
            headers: "",
            body: body.as_bytes(),
        }
    }
}

/// What of a reply is compared.
#[derive(Debug, PartialEq, Eq)]
pub struct Seen {
    pub status: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Sent<'_> {
    fn send(&self, port: u16) -> BufReader<TcpStream> {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("a member that serves");
        stream
            .set_read_timeout(Some(ANSWER_MAX))
            .expect("a timeout");
        let Sent {
            method,
            path,
            headers,
            body,
        } = self;
        let host = match headers.contains("Host:") {
            true => "",
            false => "Host: x\r\n",
        };
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\n{host}Connection: close\r\nContent-Length: {length}\r\n\
             {headers}\r\n"
        );
        let request = [head.as_bytes(), body].concat();
        // A member may answer before it has read everything.
        let _ = (&stream).write_all(&request);
        BufReader::new(stream)
    }

    /// The whole reply.
    pub fn ask(&self, port: u16) -> Seen {
        let mut reader = self.send(port);
        let (status, headers) = read_head(&mut reader);
        let body = read_body(&mut reader, headers.contains("transfer-encoding: chunked"));
        seen(&status, &headers, &body)
    }

    /// The reply up to so many lines of its body.
    pub fn ask_lines(&self, port: u16, count: usize) -> Seen {
        let mut reader = self.send(port);
        let (status, headers) = read_head(&mut reader);
        let mut lines = String::new();
        while lines.lines().filter(|line| line.starts_with('{')).count() < count {
            let read = reader.read_line(&mut lines);
            let read =
                read.unwrap_or_else(|error| panic!("{error}: {self:?} of {port}: {lines:?}"));
            assert!(read > 0, "only {lines:?} of {self:?}");
        }
        let values = lines.lines().filter(|line| line.starts_with('{'));
        let body: String = values.map(|line| format!("{line}\n")).collect();
        seen(&status, &headers, body.as_bytes())
    }
}

fn seen(status: &str, headers: &str, body: &[u8]) -> Seen {
    let header = |name: &&str| {
        let start = format!("{name}: ");
        let value = headers.lines().find_map(|line| line.strip_prefix(&start))?;
        Some(((*name).to_owned(), value.to_owned()))
    };
    Seen {
        status: status.to_owned(),
        headers: HEADERS.iter().filter_map(header).collect(),
        body: normalized(&String::from_utf8_lossy(body)),
    }
}

/// Without what etcd 3.6 has beside 3.5's, and without what is a member's own.
pub fn normalized(body: &str) -> String {
    let mut out = body.replace(",\"details\":[]", "");
    if let Some(at) = out.find(",\"http_status\":")
        && let Some(code) = out[at..].find(",\"code\":")
        && let Some(end) = out[at + code..].find('}')
    {
        out.replace_range(at + code..at + code + end, "");
    }
    for name in OF_THE_MEMBER {
        out = without_value(&out, name);
    }
    // Where in it base64 is wrong, is not compared.
    for place in ["input byte ", "TTL\":\""] {
        out = without_digits(&out, place);
    }
    out
}

fn without_value(text: &str, name: &str) -> String {
    let start = format!("\"{name}\":");
    let mut parts = text.split(&start[..]);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find([',', '}']).unwrap_or(part.len());
        out += &format!("{start}_{}", &part[end..]);
    }
    out
}

fn without_digits(text: &str, before: &str) -> String {
    let mut parts = text.split(before);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out += &format!(
            "{before}_{}",
            part.trim_start_matches(|it: char| it.is_ascii_digit())
        );
    }
    out
}
