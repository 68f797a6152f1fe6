//! Requests of the members API.

use super::client::{Client, Sending};
use super::context::Context;
use super::error::RequestError;
use super::event::INVALID_JSON;
use super::http::{Request, Response};
use super::url::{clean_path, escape_path};
use crate::config::url::Url;
use crate::ctl::output::json::Json;
use detcd_rt as rt;
use serde::Deserialize;
use serde::de::DeserializeOwned;

const PREFIX: &str = "/v2/members";

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[derive(Default)]
pub struct Member {
    pub id: String,
    pub name: String,
    #[serde(rename = "peerURLs")]
    pub peer_urls: Vec<String>,
    #[serde(rename = "clientURLs")]
    pub client_urls: Vec<String>,
}

#[derive(Deserialize)]
struct Members {
    #[serde(default)]
    members: Vec<Member>,
}

/// What is said of a request that is refused.
#[derive(Deserialize)]
pub struct Message {
    #[serde(default)]
    pub message: String,
}

pub async fn list(
    client: &mut Client,
    context: &mut Context,
    deadline: Option<rt::Instant>,
) -> Result<Vec<Member>, RequestError> {
    let sending = Sending {
        once: false,
        waits: false,
        deadline,
    };
    let request = Request::new("GET", PREFIX);
    let response = client.send(context, &request, sending).await?;
    expect(&response, &[200])?;
    decode::<Members>(&response).map(|all| all.members)
}

pub async fn leader(
    client: &mut Client,
    context: &mut Context,
    deadline: rt::Instant,
) -> Result<Member, RequestError> {
    let request = Request::new("GET", format!("{PREFIX}/leader"));
    let sending = Sending::until(deadline);
    let response = client.send(context, &request, sending).await?;
    expect(&response, &[200])?;
    decode(&response)
}

pub async fn add(
    client: &mut Client,
    context: &mut Context,
    url: &str,
    deadline: rt::Instant,
) -> Result<Member, RequestError> {
    let request = Request::new("POST", PREFIX).json(peer_urls(&[url.to_owned()])?);
    let sending = Sending::until(deadline);
    let response = client.send(context, &request, sending).await?;
    expect(&response, &[201, 409])?;
    refused_unless(201, &response)?;
    decode(&response)
}

pub async fn update(
    client: &mut Client,
    context: &mut Context,
    id: &str,
    urls: &[String],
    deadline: rt::Instant,
) -> Result<(), RequestError> {
    let request = Request::new("PUT", member_path(id)).json(peer_urls(urls)?);
    let sending = Sending::until(deadline);
    let response = client.send(context, &request, sending).await?;
    expect(&response, &[204, 404, 409])?;
    refused_unless(204, &response)
}

pub async fn remove(
    client: &mut Client,
    context: &mut Context,
    id: &str,
    deadline: rt::Instant,
) -> Result<(), RequestError> {
    let request = Request::new("DELETE", member_path(id));
    let sending = Sending::until(deadline);
    let response = client.send(context, &request, sending).await?;
    expect(&response, &[204, 410])
}

fn member_path(id: &str) -> String {
    let path = format!("{PREFIX}/{id}");
    let clean = clean_path(path.trim_end_matches('/').as_bytes());
    escape_path(&clean)
}

/// The body of a request that names where a member is reached.
fn peer_urls(urls: &[String]) -> Result<String, RequestError> {
    let mut parsed = Vec::new();
    for url in urls {
        let url = Url::parse(url).map_err(|error| RequestError::other(error.to_string()))?;
        parsed.push(url.as_str().to_owned());
    }
    parsed.sort();
    Ok(Json::object().with("peerURLs", &parsed[..]).to_string())
}

/// An error for any other status than these.
pub fn expect(response: &Response, wanted: &[u16]) -> Result<(), RequestError> {
    match wanted.contains(&response.status) {
        true => Ok(()),
        false => {
            let why = format!("unexpected status code {}", response.status);
            Err(RequestError::Other(why))
        }
    }
}

/// The server's own words for any other status than that.
fn refused_unless(status: u16, response: &Response) -> Result<(), RequestError> {
    if response.status == status {
        return Ok(());
    }
    let refusal: Message = decode(response)?;
    Err(RequestError::Other(refusal.message))
}

pub fn decode<T: DeserializeOwned>(response: &Response) -> Result<T, RequestError> {
    let text = String::from_utf8_lossy(&response.body);
    serde_json::from_str(&text).map_err(|_| RequestError::other(INVALID_JSON))
}
