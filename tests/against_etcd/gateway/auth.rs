//! Tokens in headers, over WebSockets too, and names of certificates, which are no users here.

use super::http::{Seen, Sent, normalized};
use super::websockets::{next, open};
use super::{Both, members};
use crate::certificates::{Authority, Certificates};
use crate::cluster::{Cluster, Node, WAIT_MAX, eventually};
use crate::tools::{Tool, find};
use detcd_net::tls::{Alpn, ClientFiles, PairFiles, TlsClient};
use detcd_net::{Address, Dialer};
use futures::SinkExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_tungstenite::tungstenite::Message;

/// Root, and alice with `a/`: paths and bodies.
const PREPARED: [(&str, &str); 8] = [
    ("/v3/auth/user/add", r#"{"name":"root","password":"pw"}"#),
    ("/v3/auth/role/add", r#"{"name":"root"}"#),
    ("/v3/auth/user/grant", r#"{"user":"root","role":"root"}"#),
    ("/v3/auth/user/add", r#"{"name":"alice","password":"pw"}"#),
    ("/v3/auth/role/add", r#"{"name":"r"}"#),
    (
        "/v3/auth/role/grant",
        r#"{"name":"r","perm":{"permType":"READWRITE","key":"YS8=","range_end":"YTA="}}"#,
    ),
    ("/v3/auth/user/grant", r#"{"user":"alice","role":"r"}"#),
    ("/v3/auth/enable", "{}"),
];

/// Keys: `a/1` is alice's, `b` is not.
const ASKED: [(&str, &str); 13] = [
    ("/v3/kv/put", r#"{"key":"YS8x","value":"MQ=="}"#),
    ("/v3/kv/put", r#"{"key":"Yg==","value":"MQ=="}"#),
    ("/v3/kv/range", r#"{"key":"YS8x"}"#),
    ("/v3/kv/range", r#"{"key":"Yg=="}"#),
    ("/v3/kv/deleterange", r#"{"key":"Yg=="}"#),
    (
        "/v3/kv/txn",
        r#"{"success":[{"requestRange":{"key":"Yg=="}}]}"#,
    ),
    ("/v3/auth/user/list", "{}"),
    ("/v3/auth/user/get", r#"{"name":"alice"}"#),
    ("/v3/auth/role/get", r#"{"role":"r"}"#),
    ("/v3/auth/role/get", r#"{"role":"root"}"#),
    (
        "/v3/auth/authenticate",
        r#"{"name":"alice","password":"no"}"#,
    ),
    (
        "/v3/auth/authenticate",
        r#"{"name":"nobody","password":"pw"}"#,
    ),
    ("/v3/lease/leases", "nonsense"),
];

/// The token of a user.
fn token(port: u16, name: &str) -> String {
    let body = format!(r#"{{"name":"{name}","password":"pw"}}"#);
    let seen = Sent::post("/v3/auth/authenticate", &body).ask(port);
    let (_, rest) = seen.body.split_once(r#""token":""#).expect("a token");
    rest.split('"').next().expect("its end").to_owned()
}

fn with(sent: &Sent<'_>, header: &str, port: u16) -> Seen {
    Sent {
        headers: header,
        ..*sent
    }
    .ask(port)
}

#[tokio::test]
async fn tokens_of_the_gateway_are_worth_what_etcds_are() {
    let test = "tokens_of_the_gateway_are_worth_what_etcds_are";
    let Some(members) = members(test, &["--bcrypt-cost=4"]).await else {
        return;
    };
    let mut both = Both::of(&members);
    for (path, body) in PREPARED {
        both.ask(Sent::post(path, body));
    }
    let ports = both.ports;
    let tokens = ["root", "alice"].map(|name| ports.map(|port| token(port, name)));
    for (path, body) in ASKED {
        let sent = Sent::post(path, body);
        both.ask(sent);
        for header in [
            "Authorization: none\r\n",
            "Authorization: \r\n",
            "Authorization: Basic cm9vdDpwdw==\r\n",
            "token: none\r\n",
            "Grpc-Metadata-Token: none\r\n",
        ] {
            both.compare(&sent, |port| with(&sent, header, port));
        }
        for of in &tokens {
            for name in [
                "Authorization",
                "Grpc-Metadata-Token",
                "Grpc-Metadata-Authorization",
            ] {
                both.compare(&sent, |port| {
                    let at = ports
                        .iter()
                        .position(|it| *it == port)
                        .expect("one of both");
                    with(&sent, &format!("{name}: {}\r\n", of[at]), port)
                });
            }
        }
    }
    // Over a WebSocket etcd 3.5.1 makes `Bearer TOKEN` of it, which it does not know; later ones do.
    let reason = "etcdserver: permission denied";
    for (key, who, is_refused) in [("YS8x", 1, false), ("Yg==", 1, true), ("Yg==", 0, false)] {
        let create = format!(r#"{{"create_request":{{"key":"{key}"}}}}"#);
        for (at, is_refused) in [(0, true), (1, is_refused)] {
            let protocol = format!("Bearer, {}", tokens[who][at]);
            let opened = open(ports[at], "/v3/watch", Some(&protocol)).await;
            let (mut socket, _) = opened.expect("a socket");
            socket.send(Message::text(&create)).await.expect("sent");
            let told = next(&mut socket).await.expect("an answer");
            assert_eq!(told.contains(reason), is_refused, "{key} {who}: {told}");
        }
    }
}

/// A request over TLS with the certificate of `name`: the head's first line, and the body.
async fn over_tls(
    node: &Node,
    certificates: &Certificates,
    name: &str,
    path: &str,
) -> Option<String> {
    let files = ClientFiles {
        trusted_ca: Some(certificates.path("ca.pem").into()),
        pair: Some(PairFiles {
            cert: certificates.path(&format!("{name}.pem")).into(),
            key: certificates.path(&format!("{name}.key")).into(),
        }),
        ..ClientFiles::default()
    };
    let tls = Arc::new(TlsClient::open(files).expect("good files"));
    let dialer = Dialer::within(WAIT_MAX).with_tls(Some(tls));
    let address = Address::of_url(&node.client_url()).expect("a URL");
    let mut stream = dialer.speaking(Alpn::Http1).dial(&address).await.ok()?;
    let body = r#"{"key":"YQ=="}"#;
    let length = body.len();
    // Of whom accepts nothing, etcd's gateway believes its own certificate to be the client's.
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nAccept: */*\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.expect("sent");
    stream.flush().await.expect("sent");
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.expect("a reply");
    let (head, body) = reply.split_once("\r\n\r\n").expect("a head");
    let status = head.lines().next().expect("a status");
    Some(format!("{status} {}", normalized(body)))
}

/// What a member answers to clients with certificates, before and while there are users.
async fn certified(program: PathBuf, certificates: &Certificates) -> Vec<String> {
    let mut flags = certificates.mutual("member");
    flags.push("--bcrypt-cost=4".to_owned());
    let flags: Vec<&str> = flags.iter().map(|flag| &flag[..]).collect();
    let mut cluster = Cluster::of(program, 1, &flags);
    cluster.nodes[0].scheme = "https";
    cluster.start(0);
    let node = &cluster.nodes[0];
    eventually("a read over TLS", || async {
        let seen = over_tls(node, certificates, "root", "/v3/kv/range").await?;
        seen.starts_with("HTTP/1.1 200").then_some(())
    })
    .await;
    let mut lines = Vec::new();
    for line in [
        "",
        "user add root --no-password",
        "role add root",
        "user grant-role root root",
        "auth enable",
    ] {
        if !line.is_empty() {
            let output = Command::new(env!("CARGO_BIN_EXE_detcdctl"))
                .arg(format!("--endpoints={}", node.client_url()))
                .args(certificates.client("root"))
                .args(line.split(' '))
                .output()
                .expect("detcdctl starts");
            assert!(output.status.success(), "{line}: {output:?}");
        }
        for name in ["root", "nameless"] {
            for path in [
                "/v3/kv/range",
                "/v3beta/kv/range",
                "/v3",
                "/v3/nothing",
                "/version",
            ] {
                let seen = over_tls(node, certificates, name, path).await;
                // Versions are the programs' own.
                let seen = seen.map(|it| match path {
                    "/version" => it.chars().take(12).collect(),
                    _ => it,
                });
                lines.push(format!("{line}: {name} {path}: {seen:?}"));
            }
        }
    }
    lines
}

#[tokio::test]
async fn names_of_certificates_are_refused_by_the_gateway_as_by_etcds() {
    let test = "names_of_certificates_are_refused_by_the_gateway_as_by_etcds";
    let Some(etcd) = find(Tool::Etcd, test) else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let certificates = Certificates::in_folder(folder.path());
    let authority = Authority::new("authority");
    certificates.write("ca.pem", &authority.pem);
    for name in ["root", "member"] {
        certificates.sign(name, &authority);
    }
    certificates.sign_with("nameless", &authority, |it| {
        it.distinguished_name = rcgen::DistinguishedName::new();
    });
    let theirs = certified(etcd, &certificates).await;
    let ours = certified(env!("CARGO_BIN_EXE_detcd").into(), &certificates).await;
    assert!(
        ours.iter()
            .any(|line| line.contains("CommonName of client"))
    );
    assert_eq!(ours.join("\n"), theirs.join("\n"));
}
