//! Requests of etcd's v2 keys API over HTTP/1.1, one at a time on a connection.

use super::load::{BoxError, REQUEST_TIMEOUT};
use detcd_net::limits::CLIENT_DIAL_TIMEOUT;
use detcd_net::tls::{Alpn, TlsClient};
use detcd_net::{Address, Dialer, Stream};
use std::sync::Arc;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};

/// A connection of a client of v2.
pub struct V2 {
    stream: BufReader<Stream>,
    authority: String,
}

/// What is read of a head.
#[derive(Default)]
struct Head {
    is_success: bool,
    is_chunked: bool,
    length: usize,
}

impl V2 {
    pub async fn open(endpoint: &str, tls: Option<&Arc<TlsClient>>) -> Result<V2, BoxError> {
        let address = Address::of_url(endpoint)?;
        let dialer = Dialer::within(CLIENT_DIAL_TIMEOUT).with_tls(tls.cloned());
        let stream = dialer.speaking(Alpn::Http1).dial(&address).await?;
        Ok(V2 {
            stream: BufReader::new(stream),
            authority: address.authority().to_owned(),
        })
    }

    /// Sets a key, and gives the index of the change.
    pub async fn set(&mut self, key: &str, value: &[u8]) -> Result<u64, BoxError> {
        let set = async {
            self.send("PUT", key, "", value).await?;
            self.receive().await
        };
        modified(&tokio::time::timeout(REQUEST_TIMEOUT, set).await??)
    }

    pub async fn get(&mut self, key: &str, quorum: bool) -> Result<(), BoxError> {
        let query = if quorum { "?quorum=true" } else { "" };
        let get = async {
            self.send("GET", key, query, b"").await?;
            self.receive().await
        };
        tokio::time::timeout(REQUEST_TIMEOUT, get).await??;
        Ok(())
    }

    /// Asks for the first change of a key from an index on; [`V2::receive`] gives it.
    pub async fn wait(&mut self, key: &str, index: u64) -> Result<(), BoxError> {
        let query = format!("?wait=true&waitIndex={index}");
        self.send("GET", key, &query, b"").await
    }

    async fn send(
        &mut self,
        method: &str,
        key: &str,
        query: &str,
        value: &[u8],
    ) -> Result<(), BoxError> {
        let authority = &self.authority;
        let mut request =
            format!("{method} /v2/keys/{key}{query} HTTP/1.1\r\nHost: {authority}\r\n")
                .into_bytes();
        if method == "PUT" {
            let length = b"value=".len() + value.len();
            let kind = "application/x-www-form-urlencoded";
            let head = format!("Content-Type: {kind}\r\nContent-Length: {length}\r\n\r\nvalue=");
            request.extend_from_slice(head.as_bytes());
            request.extend_from_slice(value);
        } else {
            request.extend_from_slice(b"\r\n");
        }
        self.stream.get_mut().write_all(&request).await?;
        self.stream.get_mut().flush().await?;
        Ok(())
    }

    /// The body of the next reply.
    pub async fn receive(&mut self) -> Result<Vec<u8>, BoxError> {
        let head = self.head().await?;
        let mut body = Vec::new();
        if head.is_chunked {
            while self.chunk(&mut body).await? {}
        } else {
            body.resize(head.length, 0);
            self.stream.read_exact(&mut body).await?;
        }
        match head.is_success {
            true => Ok(body),
            false => Err(String::from_utf8_lossy(&body).into_owned().into()),
        }
    }

    async fn head(&mut self) -> Result<Head, BoxError> {
        let mut head = Head::default();
        let mut line = String::new();
        loop {
            let is_first = line.is_empty();
            line.clear();
            if self.stream.read_line(&mut line).await? == 0 {
                return Err("the server ended the connection".into());
            }
            let text = line.trim_end();
            if text.is_empty() {
                return Ok(head);
            }
            let (name, value) = text.split_once(':').unwrap_or((text, ""));
            match name {
                status if is_first => head.is_success = status.contains(" 20"),
                name if name.eq_ignore_ascii_case("content-length") => {
                    head.length = value.trim().parse()?;
                }
                name if name.eq_ignore_ascii_case("transfer-encoding") => head.is_chunked = true,
                _ => {}
            }
        }
    }

    /// Reads a chunk, and says whether another one follows.
    async fn chunk(&mut self, body: &mut Vec<u8>) -> Result<bool, BoxError> {
        let mut line = String::new();
        self.stream.read_line(&mut line).await?;
        let size = usize::from_str_radix(line.trim_end(), 16)?;
        let start = body.len();
        body.resize(start + size + b"\r\n".len(), 0);
        self.stream.read_exact(&mut body[start..]).await?;
        body.truncate(start + size);
        Ok(size > 0)
    }
}

/// The index in an event, which stands once in that of a set without a node before, and twice
/// otherwise: the node's is the first.
fn modified(event: &[u8]) -> Result<u64, BoxError> {
    let text = std::str::from_utf8(event)?;
    let (_, rest) = text
        .split_once("\"modifiedIndex\":")
        .ok_or("an event without an index")?;
    let end = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    Ok(rest[..end].parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_of_an_event_is_its_nodes() {
        let event = br#"{"action":"set","node":{"modifiedIndex":7,"createdIndex":7},"prevNode":{"modifiedIndex":5}}"#;
        assert_eq!(modified(event).unwrap(), 7);
        assert!(modified(b"{}").is_err());
    }
}
