//! The JSON gateway of detcd and of etcd 3.5.1: the same HTTP requests to both, and every status,
//! header that matters and body compared.

mod auth;
mod cases;
mod generated;
mod http;
mod websockets;

use crate::cluster::Cluster;
use crate::tools::{Tool, find};
use http::{Seen, Sent};

/// One member of each; `None` where etcd is not there.
async fn members(test: &str, flags: &[&str]) -> Option<[Cluster; 2]> {
    let etcd = find(Tool::Etcd, test)?;
    let mut etcd = Cluster::of(etcd, 1, flags);
    let mut detcd = Cluster::new(1, flags);
    for cluster in [&mut etcd, &mut detcd] {
        cluster.start(0);
        cluster.wait_healthy().await;
    }
    Some([etcd, detcd])
}

/// Asks both, and tells of every difference.
struct Both {
    ports: [u16; 2],
    differences: usize,
}

impl Both {
    fn of(members: &[Cluster; 2]) -> Both {
        Both {
            ports: [0, 1].map(|i| members[i].nodes[0].client_port),
            differences: 0,
        }
    }

    fn ask(&mut self, sent: Sent<'_>) {
        self.compare(&sent, |port| sent.ask(port));
    }

    fn ask_lines(&mut self, sent: Sent<'_>, count: usize) {
        self.compare(&sent, |port| sent.ask_lines(port, count));
    }

    fn compare(&mut self, sent: &Sent<'_>, ask: impl Fn(u16) -> Seen) {
        let [etcd, detcd] = self.ports.map(ask);
        if etcd != detcd {
            self.differences += 1;
            let Sent { method, path, .. } = sent;
            let body = String::from_utf8_lossy(sent.body);
            let body: String = body.chars().take(200).collect();
            eprintln!(
                "{method} {path} {}{body}\n etcd  {etcd:?}\n detcd {detcd:?}",
                sent.headers
            );
        }
    }
}

impl Drop for Both {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.differences, 0);
        }
    }
}

#[tokio::test]
async fn gateway_requests_are_answered_as_etcd_answers_them() {
    let test = "gateway_requests_are_answered_as_etcd_answers_them";
    let Some(members) = members(test, &[]).await else {
        return;
    };
    let mut both = Both::of(&members);
    for (path, body) in cases::POSTED {
        both.ask(Sent::post(path, body));
    }
    for (method, path, headers, body) in cases::SENT {
        let body = body.as_bytes();
        both.ask(Sent {
            method,
            path,
            headers,
            body,
        });
    }
    for (lines, path, body) in cases::STREAMS {
        both.ask_lines(Sent::post(path, body), *lines);
    }
    // Too large in different ways.
    for bytes in [1_600_000, 2_200_000] {
        let value = "eHh4".repeat(bytes / 3);
        let body = format!("{{\"key\":\"Zm8=\",\"value\":\"{value}\"}}");
        both.ask(Sent::post("/v3/kv/put", &body));
    }
    let deep = format!("{{\"x\":{}", "[".repeat(10_001));
    both.ask(Sent::post("/v3/kv/put", &deep));
    // Gateway calls are gRPC calls to whoever counts.
    let count = "grpc_server_handled_total{grpc_code=\"OK\",grpc_method=\"Put\"";
    both.compare(&Sent::post("/metrics", ""), |port| {
        let page = Sent {
            method: "GET",
            ..Sent::post("/metrics", "")
        };
        let mut seen = page.ask(port);
        let lines = seen.body.lines().filter(|line| line.starts_with(count));
        seen.body = lines.collect();
        seen
    });
}

#[tokio::test]
async fn what_newer_gateways_take_is_taken() {
    let detcd = Cluster::started(1, &[]).await;
    let port = detcd.nodes[0].client_port;
    let put = |body: &str| Sent::post("/v3/kv/put", body).ask(port);
    // As etcd 3.6 takes base64: of URLs, and without padding.
    for (key, value) in [("_-8=", "_-8"), ("YQ", "YWI")] {
        let body = format!("{{\"key\":\"{key}\",\"value\":\"{value}\"}}");
        let seen = put(&body);
        assert_eq!(seen.status, "HTTP/1.1 200 OK", "{seen:?}");
    }
    let seen = Sent::post("/v3/kv/range", "{\"key\":\"/+8\"}").ask(port);
    assert!(seen.body.contains("\"value\":\"/+8=\""), "{seen:?}");
    let nest = |depth: usize| {
        let open = "{\"success\":[{\"request_txn\":".repeat(depth);
        format!("{open}{{}}{}", "}]}".repeat(depth))
    };
    let seen = Sent::post("/v3/kv/txn", &nest(40)).ask(port);
    assert_eq!(seen.status, "HTTP/1.1 200 OK", "{seen:?}");
    let seen = Sent::post("/v3/kv/txn", &nest(60)).ask(port);
    assert_eq!(seen.status, "HTTP/1.1 400 Bad Request", "{seen:?}");
    assert!(seen.body.contains("nest fewer transactions"), "{seen:?}");
}

#[tokio::test]
async fn hosts_and_origins_are_checked_as_etcd_checks_them() {
    let test = "hosts_and_origins_are_checked_as_etcd_checks_them";
    // By the first name the members are asked whether they are healthy.
    let flags = [
        "--host-whitelist=x,a,b.c",
        "--cors=http://x:1,http://y:80",
        "--enable-grpc-gateway=false",
    ];
    let Some(members) = members(test, &flags).await else {
        return;
    };
    let mut both = Both::of(&members);
    for host in [
        "a",
        "a:99",
        "A",
        "b.c",
        "d",
        "127.0.0.1:1",
        "[::1]:5",
        "::1",
        "[::1]",
    ] {
        for origin in ["", "Origin: http://x:1\r\n", "Origin: http://y\r\n"] {
            let headers = format!("Host: {host}\r\n{origin}");
            for (method, path) in [
                ("GET", "/health"),
                ("OPTIONS", "/health"),
                ("POST", "/v3/kv/range"),
                ("POST", "/v3beta/kv/range"),
                ("GET", "/v3"),
            ] {
                both.ask(Sent {
                    method,
                    path,
                    headers: &headers,
                    body: b"",
                });
            }
        }
    }
}
