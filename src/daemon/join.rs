//! A member that was added to a running cluster finds its place there: it asks the members of
//! `--initial-cluster` who belongs to the cluster, and must be one of them.

use super::names::{Resolver, is_same};
use crate::config::url::{self, Url};
use crate::config::{Bootstrap, Config};
use detcd_core::api::{ClusterId, Member, MemberId};
use futures::StreamExt as _;
use http::{Request, StatusCode, header};
use hyper::body::{Body as _, Incoming};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::time::Duration;
use thiserror::Error;
use tokio::net::TcpStream;

/// How long one member may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(3);
/// A list of members is small; more is no list.
const BYTES_MAX: usize = 1024 * 1024;

/// Why a member cannot join, in etcd's words.
#[derive(Debug, Error)]
pub enum JoinError {
    #[error(
        "cannot fetch cluster info from peer urls: could not retrieve cluster information from \
         the given URLs"
    )]
    NobodyAnswers,
    #[error("error validating peerURLs {cluster}: member count is unequal")]
    Count { cluster: String },
    #[error(
        "error validating peerURLs {cluster}: PeerURLs: no match found for existing member \
         ({id}, [{urls}]), last resolver error ({why})"
    )]
    NoMatch {
        cluster: String,
        id: MemberId,
        urls: String,
        why: String,
    },
}

/// A running cluster, as one of its members tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub cluster_id: ClusterId,
    pub members: Vec<Member>,
}

/// Asks the other members of `--initial-cluster` one after the other, until one tells of a cluster
/// that this member was added to. A member that lags may not know of that yet. If there is no better
/// answer, the first one tells what is wrong with the flags.
pub async fn find(config: &Config, bootstrap: &Bootstrap) -> Result<(Found, MemberId), JoinError> {
    let others = bootstrap
        .members
        .iter()
        .filter(|(name, _)| **name != config.name);
    let mut objection = None;
    let mut resolver = Resolver::new();
    for url in others.flat_map(|(_, urls)| urls) {
        match detcd_rt::timeout(ANSWER_MAX, ask(url)).await {
            Ok(Ok(found)) => match own_id(config, bootstrap, &found, &mut resolver).await {
                Ok(id) => return Ok((found, id)),
                Err(error) => {
                    tracing::warn!(address = %url, %error, "a cluster response that does not fit");
                    objection.get_or_insert(error);
                }
            },
            Ok(Err(problem)) => {
                tracing::warn!(address = %url, problem, "failed to get cluster response");
            }
            Err(_) => tracing::warn!(address = %url, "no cluster response in time"),
        }
    }
    Err(objection.unwrap_or(JoinError::NobodyAnswers))
}

/// This member's id in the cluster that was found. Its flags must name the same members, by the
/// same URLs or by URLs that resolve to the same addresses.
async fn own_id(
    config: &Config,
    bootstrap: &Bootstrap,
    found: &Found,
    resolver: &mut Resolver,
) -> Result<MemberId, JoinError> {
    if found.members.len() != bootstrap.members.len() {
        return Err(JoinError::Count {
            cluster: render(found),
        });
    }
    let mut ids = BTreeMap::new();
    for member in &found.members {
        let named = name_of(member, bootstrap, &ids, resolver).await;
        let name = named.map_err(|why| JoinError::NoMatch {
            cluster: render(found),
            id: member.id,
            urls: member.peer_urls.join(" "),
            why,
        })?;
        ids.insert(name, member.id);
    }
    // As many members here as there, each of theirs named here, none twice: all are named.
    let own = ids.get(&config.name).copied();
    Ok(own.expect("a bootstrap has the local name, and every name was matched"))
}

/// The name that the flags give a member of the cluster, other than those `taken`; or how its URLs
/// differ from the last ones.
async fn name_of(
    member: &Member,
    bootstrap: &Bootstrap,
    taken: &BTreeMap<String, MemberId>,
    resolver: &mut Resolver,
) -> Result<String, String> {
    let urls = url::parse_all(&member.peer_urls).map_err(text)?;
    let named = || {
        bootstrap
            .members
            .iter()
            .filter(|(name, _)| !taken.contains_key(*name))
    };
    if let Some((name, _)) = named().find(|(_, own)| is_same(&urls, own)) {
        return Ok(name.clone());
    }
    let mut why = String::new();
    for (name, own) in named() {
        match resolver.check_same(&urls, own).await {
            Ok(()) => return Ok(name.clone()),
            Err(difference) => why = difference,
        }
    }
    Err(why)
}

/// A cluster as etcd prints it in these errors.
fn render(found: &Found) -> String {
    let members: Vec<String> = found
        .members
        .iter()
        .map(|member| {
            format!(
                "&{{ID:{} RaftAttributes:{{PeerURLs:[{}] IsLearner:{}}} Attributes:{{Name:{} \
                 ClientURLs:[{}]}}}}",
                member.id,
                member.peer_urls.join(" "),
                member.is_learner,
                member.name,
                member.client_urls.join(" ")
            )
        })
        .collect();
    format!(
        "{{ClusterID:{} Members:[{}] RemovedMemberIDs:[]}}",
        found.cluster_id,
        members.join(" ")
    )
}

/// A member on the page `/members`.
#[derive(Deserialize)]
struct Row {
    id: u64,
    #[serde(rename = "peerURLs", default)]
    peer_urls: Vec<String>,
    #[serde(default)]
    name: String,
    #[serde(rename = "clientURLs", default)]
    client_urls: Vec<String>,
    #[serde(rename = "isLearner", default)]
    is_learner: bool,
}

async fn ask(url: &Url) -> Result<Found, String> {
    let socket = TcpStream::connect(&url.address).await.map_err(text)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket))
        .await
        .map_err(text)?;
    // It ends with its sender, at the end of this function.
    detcd_rt::spawn(async move { drop(connection.await) });
    let request = Request::get("/members")
        .header(header::HOST, &url.address)
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
    let rows: Vec<Row> = serde_json::from_slice(&body).map_err(text)?;
    let members = rows.into_iter().map(|row| Member {
        id: MemberId(row.id),
        name: row.name,
        peer_urls: row.peer_urls,
        client_urls: row.client_urls,
        is_learner: row.is_learner,
    });
    Ok(Found {
        cluster_id: ClusterId(cluster_id),
        members: members.collect(),
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

    fn member(id: u64, url: &str) -> Member {
        Member {
            id: MemberId(id),
            peer_urls: vec![url.to_owned()],
            ..Member::default()
        }
    }

    fn found(members: &[Member]) -> Found {
        Found {
            cluster_id: ClusterId(0xc),
            members: members.to_vec(),
        }
    }

    async fn id_in(cluster: &str, members: &[Member]) -> Result<MemberId, String> {
        let config = config(cluster);
        let bootstrap = config.bootstrap().unwrap();
        let mut resolver = Resolver::new();
        own_id(&config, &bootstrap, &found(members), &mut resolver)
            .await
            .map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn the_id_is_the_one_that_the_cluster_gave() {
        let members = [member(0xa, "http://a:1"), member(0xb, "http://b:1")];
        let id = id_in("n1=http://a:1,n2=http://b:1", &members).await;
        assert_eq!(id, Ok(MemberId(0xb)));
    }

    #[tokio::test]
    async fn the_flags_must_name_the_members_that_there_are() {
        let urls = ["http://127.0.0.1:1", "http://127.0.0.1:3"];
        let members = [member(0xa, urls[0]), member(0xb, urls[1])];
        let cluster = "n1=http://127.0.0.1:1,n2=http://127.0.0.1:2";
        let few = id_in(cluster, &members[..1]).await.unwrap_err();
        assert_eq!(
            few,
            "error validating peerURLs {ClusterID:c Members:[&{ID:a \
             RaftAttributes:{PeerURLs:[http://127.0.0.1:1] IsLearner:false} Attributes:{Name: \
             ClientURLs:[]}}] RemovedMemberIDs:[]}: member count is unequal"
        );
        let other = id_in(cluster, &members).await.unwrap_err();
        assert!(
            other.ends_with(
                "PeerURLs: no match found for existing member (b, [http://127.0.0.1:3]), last \
                 resolver error (\"http://127.0.0.1:3\"(resolved from \"http://127.0.0.1:3\") != \
                 \"http://127.0.0.1:2\"(resolved from \"http://127.0.0.1:2\"))"
            ),
            "{other}"
        );
    }

    /// Answers one request with `rows`, the page `/members`.
    async fn answer(listener: TcpListener, rows: String) {
        let (mut socket, _) = listener.accept().await.unwrap();
        // The request is small, and comes in one piece.
        assert!(socket.read(&mut [0; 1024]).await.unwrap() > 0);
        let reply = format!(
            "HTTP/1.1 200 OK\r\nX-Etcd-Cluster-ID: c\r\nContent-Length: {}\r\n\r\n{rows}",
            rows.len()
        );
        socket.write_all(reply.as_bytes()).await.unwrap();
    }

    /// What is found if one after the other answers with `first` and `second`, where `A` stands for
    /// their own URLs.
    async fn find_by(first: &str, second: &str) -> Result<(Found, MemberId), JoinError> {
        let one = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut urls = [&one, &other].map(|it| format!("http://{}", it.local_addr().unwrap()));
        urls.sort();
        let own = format!("\"{}\",\"{}\"", urls[0], urls[1]);
        let config = config(&format!("n1={},n1={},n2=http://b:1", urls[0], urls[1]));
        let is_first = |it: &TcpListener| urls[0].ends_with(&it.local_addr().unwrap().to_string());
        let (one, other) = match is_first(&one) {
            true => (one, other),
            false => (other, one),
        };
        detcd_rt::spawn(answer(one, first.replace('A', &own)));
        detcd_rt::spawn(answer(other, second.replace('A', &own)));
        find(&config, &config.bootstrap().unwrap()).await
    }

    const LAGS: &str = r#"[{"id":10,"peerURLs":[A]}]"#;
    const KNOWS: &str = r#"[{"id":10,"peerURLs":[A]},{"id":11,"peerURLs":["http://b:1"]}]"#;

    #[tokio::test]
    async fn a_member_that_does_not_know_of_this_one_yet_is_passed_over() {
        for lags in ["[]", LAGS] {
            let (found, id) = find_by(lags, KNOWS).await.unwrap();
            assert_eq!((found.members.len(), id), (2, MemberId(11)));
        }
        let objection = find_by(LAGS, "[]").await.unwrap_err().to_string();
        assert!(
            objection.contains("ID:a") && objection.ends_with("member count is unequal"),
            "{objection}"
        );
    }
}
