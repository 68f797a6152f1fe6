//! A member that was added to a running cluster asks the others who belongs to it. What it makes of
//! the answers is decided in [`detcd_core::membership::join`].

use super::names;
use crate::config::url::Url;
use crate::config::{Bootstrap, Config};
use crate::members_page::MemberEntry;
use detcd_core::api::{ClusterId, Member};
use detcd_core::membership::join::{Effect, Event, Join, JoinError, Joined, ToldCluster};
use detcd_net::tls::{Alpn, TlsClient};
use detcd_net::{Address, Dialer};
use futures::StreamExt as _;
use futures::future::{BoxFuture, FutureExt as _};
use futures::stream::FuturesUnordered;
use http::{Request, StatusCode, header};
use hyper::body::{Body as _, Incoming};
use hyper_util::rt::TokioIo;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// How long one member may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(3);
/// A list of members is small; more is no list.
const BYTES_MAX: usize = 1024 * 1024;

/// The cluster that this member was added to.
pub async fn find(
    config: &Config,
    bootstrap: &Bootstrap,
    tls: Option<&Arc<TlsClient>>,
) -> Result<Joined, JoinError> {
    let mut join = Join::new(config.name.clone(), bootstrap.members.clone());
    let deadline = names::deadline();
    let mut under_way: FuturesUnordered<BoxFuture<'_, Event>> = FuturesUnordered::new();
    loop {
        while let Some(effect) = join.poll() {
            match effect {
                Effect::Ask(url) => under_way.push(answer(url, tls).boxed()),
                Effect::Resolve(url) => under_way.push(
                    async move {
                        let address = names::resolve(&url, deadline).await;
                        Event::Resolved { url, address }
                    }
                    .boxed(),
                ),
                Effect::Warn { url, problem } => {
                    tracing::warn!(address = %url, problem, "failed to get cluster response");
                }
                Effect::Done(outcome) => return outcome,
            }
        }
        let event = under_way.next().await;
        join.handle(event.expect("it goes on until it is done"));
    }
}

async fn answer(url: Url, tls: Option<&Arc<TlsClient>>) -> Event {
    let answer = ask_in_time(&url, tls).await;
    Event::Answered { url, answer }
}

/// The cluster, as the member at this peer URL tells it.
pub(super) async fn ask_in_time(
    url: &Url,
    tls: Option<&Arc<TlsClient>>,
) -> Result<ToldCluster, String> {
    let asked = detcd_rt::timeout(ANSWER_MAX, ask(url, tls)).await;
    asked.unwrap_or_else(|_| Err("no cluster response in time".to_owned()))
}

async fn ask(url: &Url, tls: Option<&Arc<TlsClient>>) -> Result<ToldCluster, String> {
    let address = Address::of_url(url.as_str()).map_err(text)?;
    let dialer = Dialer::within(ANSWER_MAX).with_tls(tls.cloned());
    let stream = dialer.speaking(Alpn::Http1).dial(&address).await;
    let stream = TokioIo::new(stream.map_err(text)?);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream)
        .await
        .map_err(text)?;
    // It ends with its sender, at the end of this function.
    detcd_rt::spawn(async move { drop(connection.await) });
    let request = Request::get("/members")
        .header(header::HOST, address.authority())
        .body(String::new())
        .map_err(text)?;
    let response = sender.send_request(request).await.map_err(text)?;
    if response.status() != StatusCode::OK {
        return Err(format!("status {}", response.status()));
    }
    let cluster_id = response
        .headers()
        .get("x-etcd-cluster-id")
        .and_then(|id| u64::from_str_radix(id.to_str().ok()?, 16).ok())
        .ok_or("the answer names no cluster")?;
    let body = read(response.into_body()).await?;
    let members: Vec<MemberEntry> = serde_json::from_slice(&body).map_err(text)?;
    Ok(ToldCluster {
        cluster_id: ClusterId(cluster_id),
        members: members.into_iter().map(Member::from).collect(),
    })
}

async fn read(mut body: Incoming) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut frames = futures::stream::poll_fn(|context| Pin::new(&mut body).poll_frame(context));
    while let Some(frame) = frames.next().await {
        if let Ok(data) = frame.map_err(text)?.into_data() {
            bytes.extend_from_slice(&data);
        }
        if bytes.len() > BYTES_MAX {
            return Err("the answer is too long".to_owned());
        }
    }
    Ok(bytes)
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Request as Asked};
    use detcd_core::api::MemberId;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    fn config(cluster: &str) -> Config {
        let args = format!(
            "--name n2 --initial-cluster-state existing --initial-cluster {cluster} \
             --initial-advertise-peer-urls http://b:1"
        );
        let args: Vec<String> = args.split_whitespace().map(str::to_owned).collect();
        match config::read(&args, &[]) {
            Ok(Asked::Serve(config, _)) => *config,
            other => panic!("{other:?}"),
        }
    }

    /// Answers one request with `rows`, the page `/members`.
    async fn answer_with(listener: TcpListener, rows: String) {
        let (mut socket, _) = listener.accept().await.unwrap();
        // The request is small, and comes in one piece.
        assert!(socket.read(&mut [0; 1024]).await.unwrap() > 0);
        let reply = format!(
            "HTTP/1.1 200 OK\r\nX-Etcd-Cluster-ID: c\r\nContent-Length: {}\r\n\r\n{rows}",
            rows.len()
        );
        socket.write_all(reply.as_bytes()).await.unwrap();
    }

    /// What is found if these members answer so, where `A` stands for their own URLs; `None` accepts
    /// a connection and says nothing.
    async fn find_by(answers: [Option<&str>; 2]) -> Result<Joined, JoinError> {
        let one = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let urls = [&one, &other].map(|it| format!("http://{}", it.local_addr().unwrap()));
        let own = format!("\"{}\",\"{}\"", urls[0], urls[1]);
        let config = config(&format!("n1={},n1={},n2=http://b:1", urls[0], urls[1]));
        for (listener, rows) in [one, other].into_iter().zip(answers) {
            let rows = rows.map(|rows| rows.replace('A', &own));
            detcd_rt::spawn(async move {
                match rows {
                    Some(rows) => answer_with(listener, rows).await,
                    None => {
                        let _silent = listener.accept().await.unwrap();
                        std::future::pending().await
                    }
                }
            });
        }
        find(&config, &config.bootstrap().unwrap(), None).await
    }

    const LAGS: &str = r#"[{"id":10,"peerURLs":[A]}]"#;
    const KNOWS: &str = r#"[{"id":10,"peerURLs":[A]},{"id":11,"peerURLs":["http://b:1"]}]"#;

    #[tokio::test]
    async fn a_member_that_does_not_know_of_this_one_yet_is_passed_over() {
        for lags in ["[]", LAGS] {
            let joined = find_by([Some(lags), Some(KNOWS)]).await.unwrap();
            assert_eq!(joined.cluster.members.len(), 2);
            assert_eq!(joined.member_id, MemberId(11));
        }
        let objection = find_by([Some(LAGS), Some(LAGS)]).await.unwrap_err();
        let objection = objection.to_string();
        assert!(
            objection.contains("ID:a") && objection.ends_with("member count is unequal"),
            "{objection}"
        );
    }

    /// Members were asked one after the other, with three seconds for each.
    #[tokio::test]
    async fn a_silent_member_delays_nobody() {
        for answers in [[None, Some(KNOWS)], [Some(KNOWS), None]] {
            let found = detcd_rt::timeout(ANSWER_MAX / 2, find_by(answers)).await;
            let joined = found.expect("the other one is not waited for").unwrap();
            assert_eq!(joined.member_id, MemberId(11));
        }
    }
}
