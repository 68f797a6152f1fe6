//! The load: closed loops of clients over shared connections, latencies in a histogram each.

use super::Kind;
use super::report::Row;
use super::unary::{Kv, authenticate};
use super::v2::V2;
use detcd_net::limits::CLIENT_DIAL_TIMEOUT;
use detcd_net::tls::TlsClient;
use detcd_net::{Address, Connector, Dialer};
use detcd_wire::etcdserverpb as pb;
use hdrhistogram::Histogram;
use http::HeaderValue;
use pb::lease_client::LeaseClient;
use pb::watch_client::WatchClient;
use std::error::Error;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tonic::transport::{Channel, Endpoint};

/// Latencies are recorded in microseconds up to this.
const LATENCY_MAX_US: u64 = 60_000_000;
/// Keys of v2 that exist before the load.
const V2_KEYS: u64 = 1_000;
/// Load before the measurement, so that connections and caches are warm.
const WARM_UP: Duration = Duration::from_millis(500);
/// What the cases that list find is under this prefix.
const PREFIX: &[u8] = b"list/";
/// Where the prefix ends.
const PREFIX_END: &[u8] = b"list0";
/// A request that takes longer counts as failed.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Whatever ended the benchmark.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// One row of the benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Case {
    pub kind: Kind,
    pub clients: usize,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} x {}", self.kind, self.clients)
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub connections: usize,
    pub duration: Duration,
    pub value_bytes: usize,
    pub keys: u64,
    pub page: i64,
    /// The revision that the case past reads.
    pub past: i64,
}

/// A fast generator of keys; its quality does not matter, its cost does.
struct Xorshift(u64);

impl Xorshift {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// One client's stubs.
struct Client {
    kv: Kv,
    /// Of the loads that open streams.
    streams: Option<Channel>,
    token: Option<HeaderValue>,
    /// Of the loads of v2: a connection for requests, and one that waits.
    v2: Option<(V2, V2)>,
    number: u64,
    settings: Settings,
}

/// What is loaded.
pub struct Target {
    /// The endpoints' URLs.
    pub urls: Vec<String>,
    /// With what to speak to those of https.
    pub tls: Option<Arc<TlsClient>>,
    /// On whose behalf, if there are users.
    pub token: Option<HeaderValue>,
}

impl Target {
    pub fn plain(urls: &[String]) -> Target {
        Target {
            urls: urls.to_vec(),
            tls: None,
            token: None,
        }
    }

    /// Has a user's password checked: from now on calls are the user's.
    pub async fn log_in(&mut self, name: &str, password: &str) -> Result<(), BoxError> {
        let request = pb::AuthenticateRequest {
            name: name.to_owned(),
            password: password.to_owned(),
        };
        let token = authenticate(self.nth(0), self.tls.as_ref(), &request).await?;
        self.token = Some(token);
        Ok(())
    }

    /// The connection with this number.
    async fn open(&self, i: usize) -> Result<Kv, BoxError> {
        Kv::open(self.nth(i), self.tls.as_ref(), self.token.as_ref()).await
    }

    /// The endpoint of the connection with this number.
    fn nth(&self, i: usize) -> &str {
        &self.urls[i % self.urls.len()]
    }
}

/// Succeeds when the member serves a write.
pub async fn write_once(endpoint: &str) -> Result<(), BoxError> {
    put(
        &mut Kv::open(endpoint, None, None).await?,
        key(0),
        vec![b'x'; 8],
    )
    .await
}

/// Writes a first value to a part of the keys, so that reads find something, and every key under
/// the prefix if a case lists them. Gives the settings with what is known only now.
pub async fn prepare(
    target: &Target,
    cases: &[Case],
    mut settings: Settings,
) -> Result<Settings, BoxError> {
    let (keys, value_bytes) = (settings.keys, settings.value_bytes);
    fill(target, keys.min(10_000), value_bytes).await?;
    if cases.iter().any(|case| case.kind.lists()) {
        fill_with(target, 0..keys, value_bytes, listed_key).await?;
    }
    if cases.iter().any(|case| case.kind.is_v2()) {
        fill_v2(target, keys.min(V2_KEYS), value_bytes).await?;
    }
    if cases.iter().any(|case| case.kind == Kind::Past) {
        let mut kv = target.open(0).await?;
        let header = kv.range(&first_listed()).await?.header;
        settings.past = header.map_or(0, |header| header.revision);
        fill_with(target, 0..keys + keys / 2, value_bytes, listed_key).await?;
        let added = pb::DeleteRangeRequest {
            key: listed_key(keys).into(),
            range_end: PREFIX_END.into(),
            ..Default::default()
        };
        kv.delete_range(&added).await?;
    }
    Ok(settings)
}

async fn fill_v2(target: &Target, keys: u64, value_bytes: usize) -> Result<(), BoxError> {
    let mut v2 = V2::open(target.nth(0), target.tls.as_ref()).await?;
    for number in 0..keys {
        v2.set(&v2_key(number), &vec![b'x'; value_bytes]).await?;
    }
    Ok(())
}

fn v2_key(number: u64) -> String {
    format!("k{number:07}")
}

/// Writes `keys` distinct keys, many at a time.
pub async fn fill(target: &Target, keys: u64, value_bytes: usize) -> Result<(), BoxError> {
    fill_with(target, 0..keys, value_bytes, key).await
}

async fn fill_with(
    target: &Target,
    keys: Range<u64>,
    value_bytes: usize,
    key: fn(u64) -> Vec<u8>,
) -> Result<(), BoxError> {
    const WRITERS: u64 = 256;
    let connections = connections(target, 16).await?;
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let mut kv = connections[writer as usize % connections.len()].clone();
        let keys = keys.clone().skip(writer as usize).step_by(WRITERS as usize);
        writers.spawn(async move {
            for number in keys {
                put(&mut kv, key(number), vec![b'x'; value_bytes]).await?;
            }
            Ok::<(), BoxError>(())
        });
    }
    while let Some(writer) = writers.join_next().await {
        writer??;
    }
    Ok(())
}

/// Runs one case and gives its figures (the servers' CPU is the caller's to fill in).
pub async fn run(target: &Target, case: Case, settings: &Settings) -> Result<Row, BoxError> {
    let count = settings.connections.min(case.clients).max(1);
    let kvs = connections(target, count).await?;
    let mut row = Row::new(case, settings.duration);
    if case.kind == Kind::Stream && !kvs[0].clone().has_range_stream().await? {
        row.is_unknown = true;
        return Ok(row);
    }
    let streams = match case.kind {
        Kind::Watch | Kind::Lease => channels(target, count).await?,
        _ => Vec::new(),
    };
    let mut v2 = open_v2(target, case).await?;
    let (results, mut collected) = mpsc::unbounded_channel();
    let started = Instant::now();
    let measured_from = started + WARM_UP;
    let until = measured_from + settings.duration;
    for number in 0..case.clients {
        let client = Client {
            kv: kvs[number % count].clone(),
            streams: streams.get(number % count).cloned(),
            token: target.token.clone(),
            v2: v2.pop(),
            number: number as u64,
            settings: *settings,
        };
        let results = results.clone();
        tokio::spawn(async move {
            let result = client.run(case.kind, measured_from, until).await;
            // The collector waits for every client.
            let _ = results.send(result);
        });
    }
    drop(results);
    while let Some(result) = collected.recv().await {
        let (latencies, errors) = result?;
        row.latencies.add(&latencies)?;
        row.errors += errors;
    }
    Ok(row)
}

/// Two connections for each client of a load of v2; one of each pair waits.
async fn open_v2(target: &Target, case: Case) -> Result<Vec<(V2, V2)>, BoxError> {
    let mut opened = Vec::new();
    if !case.kind.is_v2() {
        return Ok(opened);
    }
    for number in 0..case.clients {
        let (url, tls) = (target.nth(number), target.tls.as_ref());
        opened.push((V2::open(url, tls).await?, V2::open(url, tls).await?));
    }
    Ok(opened)
}

impl Client {
    async fn run(
        mut self,
        kind: Kind,
        measured_from: Instant,
        until: Instant,
    ) -> Result<(Histogram<u64>, u64), BoxError> {
        let mut latencies = Histogram::new_with_bounds(1, LATENCY_MAX_US, 3)?;
        let mut errors = 0;
        let mut random = Xorshift(0x9E37_79B9_7F4A_7C15 ^ (self.number + 1));
        let mut watcher = match kind {
            Kind::Watch => Some(self.open_watch().await?),
            _ => None,
        };
        let lease = match kind {
            Kind::Lease => self.grant().await?,
            _ => 0,
        };
        // The index from which on the next event is waited for.
        let mut v2_index = 1;
        if kind == Kind::V2Wait {
            v2_index = self.v2_begin().await?;
        }
        loop {
            let begin = Instant::now();
            if begin >= until {
                return Ok((latencies, errors));
            }
            let result = match kind {
                Kind::Put => self.put(random.next()).await,
                Kind::Range => self.get(random.next(), false).await,
                Kind::Serializable => self.get(random.next(), true).await,
                Kind::Mixed if random.next().is_multiple_of(5) => self.put(random.next()).await,
                Kind::Mixed => self.get(random.next(), false).await,
                Kind::Txn => self.swap(random.next()).await,
                Kind::Watch => match &mut watcher {
                    Some(events) => self.put_and_see(events).await,
                    None => unreachable!("a watch load opens its watch first"),
                },
                Kind::Lease => self.keep_alive(lease).await,
                Kind::Limit => self.list_one().await,
                Kind::Count => self.count().await,
                Kind::Pages => self.list_pages().await,
                Kind::Stream => self.list_stream().await,
                Kind::Past => self.list_past().await,
                Kind::V2Set => self.v2_set(random.next()).await,
                Kind::V2Get => self.v2_get(random.next(), false).await,
                Kind::V2QuorumGet => self.v2_get(random.next(), true).await,
                Kind::V2Wait => {
                    let seen = self.v2_set_and_see(v2_index).await;
                    seen.map(|index| v2_index = index + 1)
                }
            };
            if begin < measured_from {
                continue;
            }
            match result {
                Ok(()) => latencies.record((begin.elapsed().as_micros() as u64).max(1))?,
                Err(_) => errors += 1,
            }
        }
    }

    fn v2(&mut self) -> &mut (V2, V2) {
        self.v2
            .as_mut()
            .expect("a load of v2 opens its connections")
    }

    async fn v2_set(&mut self, number: u64) -> Result<(), BoxError> {
        let key = v2_key(number % self.settings.keys);
        let value = vec![b'y'; self.settings.value_bytes];
        self.v2().0.set(&key, &value).await?;
        Ok(())
    }

    async fn v2_get(&mut self, number: u64, quorum: bool) -> Result<(), BoxError> {
        let key = v2_key(number % self.settings.keys.min(V2_KEYS));
        self.v2().0.get(&key, quorum).await
    }

    /// A key of its own for each client that waits.
    fn v2_waited(&self) -> String {
        format!("waited{}", self.number)
    }

    /// Makes the key that is waited for, and gives the index of what comes next.
    async fn v2_begin(&mut self) -> Result<u64, BoxError> {
        let key = self.v2_waited();
        Ok(self.v2().0.set(&key, b"0").await? + 1)
    }

    /// Waits for a key and sets it, and gives the index of the event once it is there.
    async fn v2_set_and_see(&mut self, since: u64) -> Result<u64, BoxError> {
        let key = self.v2_waited();
        let value = vec![b'y'; self.settings.value_bytes];
        let (requests, waits) = self.v2();
        waits.wait(&key, since).await?;
        let index = requests.set(&key, &value).await?;
        tokio::time::timeout(REQUEST_TIMEOUT, waits.receive()).await??;
        Ok(index)
    }

    async fn put(&mut self, number: u64) -> Result<(), BoxError> {
        let key = key(number % self.settings.keys);
        put(&mut self.kv, key, vec![b'y'; self.settings.value_bytes]).await
    }

    async fn get(&mut self, number: u64, serializable: bool) -> Result<(), BoxError> {
        let key = key(number % self.settings.keys.min(10_000)).into();
        let request = pb::RangeRequest {
            key,
            serializable,
            ..Default::default()
        };
        self.kv.range(&request).await?;
        Ok(())
    }

    /// Writes a key if it is at version 0 or else overwrites it: one compare, one write.
    async fn swap(&mut self, number: u64) -> Result<(), BoxError> {
        let key = bytes::Bytes::from(key(number % self.settings.keys));
        let put = pb::PutRequest {
            key: key.clone(),
            value: vec![b'z'; self.settings.value_bytes].into(),
            ..Default::default()
        };
        let op = pb::RequestOp {
            request: Some(pb::request_op::Request::RequestPut(put)),
        };
        let compare = pb::Compare {
            result: pb::compare::CompareResult::Greater as i32,
            target: pb::compare::CompareTarget::Version as i32,
            key,
            target_union: Some(pb::compare::TargetUnion::Version(0)),
            ..Default::default()
        };
        let txn = pb::TxnRequest {
            compare: vec![compare],
            success: vec![op.clone()],
            failure: vec![op],
        };
        self.kv.txn(&txn).await?;
        Ok(())
    }

    /// Reads the first key under the prefix.
    async fn list_one(&mut self) -> Result<(), BoxError> {
        let reply = self.kv.range(&first_listed()).await?;
        self.check_count(reply.count, 0)
    }

    async fn count(&mut self) -> Result<(), BoxError> {
        let count = pb::RangeRequest {
            count_only: true,
            ..listed()
        };
        let reply = self.kv.range(&count).await?;
        self.check_count(reply.count, 0)
    }

    /// Lists all keys under the prefix, each page behind the last key of the one before, and all
    /// as of the revision of the first, as Kubernetes does.
    async fn list_pages(&mut self) -> Result<(), BoxError> {
        let mut request = pb::RangeRequest {
            limit: self.settings.page,
            ..listed()
        };
        let mut seen = 0;
        loop {
            let reply = self.kv.range(&request).await?;
            self.check_count(reply.count, seen)?;
            seen += reply.kvs.len() as i64;
            let Some(last) = reply.kvs.last().filter(|_| reply.more) else {
                return self.check_count(seen, 0);
            };
            request.key = [&last.key[..], &[0]].concat().into();
            request.revision = reply.header.map_or(0, |header| header.revision);
        }
    }

    async fn list_stream(&mut self) -> Result<(), BoxError> {
        let listed = self.kv.range_stream(&listed()).await?;
        self.check_count(listed, 0)
    }

    /// Reads the first page as it once was.
    async fn list_past(&mut self) -> Result<(), BoxError> {
        let page = pb::RangeRequest {
            limit: self.settings.page,
            revision: self.settings.past,
            ..listed()
        };
        let reply = self.kv.range(&page).await?;
        self.check_count(reply.count, 0)
    }

    /// A server that answers fast but wrong is no match.
    fn check_count(&self, count: i64, seen: i64) -> Result<(), BoxError> {
        match self.settings.keys as i64 == count + seen {
            true => Ok(()),
            false => Err(format!("a count of {count}, {seen} keys into the list").into()),
        }
    }

    async fn open_watch(&mut self) -> Result<tonic::Streaming<pb::WatchResponse>, BoxError> {
        let create = pb::WatchCreateRequest {
            key: self.own_key().into(),
            ..Default::default()
        };
        let request = pb::WatchRequest {
            request_union: Some(pb::watch_request::RequestUnion::CreateRequest(create)),
        };
        let requests = tokio_stream::iter([request]);
        let requests = tokio_stream::StreamExt::chain(requests, tokio_stream::pending());
        let mut watch = WatchClient::new(self.channel()?);
        let mut responses = watch.watch(self.request(requests)?).await?.into_inner();
        let created = responses.message().await?.ok_or("the watch stream ended")?;
        if !created.created {
            return Err("the first response of a watch is not its creation".into());
        }
        Ok(responses)
    }

    /// Writes the own key and waits for the event.
    async fn put_and_see(
        &mut self,
        events: &mut tonic::Streaming<pb::WatchResponse>,
    ) -> Result<(), BoxError> {
        let key = self.own_key();
        put(&mut self.kv, key, vec![b'w'; self.settings.value_bytes]).await?;
        while events
            .message()
            .await?
            .ok_or("the watch stream ended")?
            .events
            .is_empty()
        {}
        Ok(())
    }

    async fn grant(&mut self) -> Result<i64, BoxError> {
        let mut lease = LeaseClient::new(self.channel()?);
        let granted = lease
            .lease_grant(self.request(pb::LeaseGrantRequest { ttl: 600, id: 0 })?)
            .await?;
        Ok(granted.into_inner().id)
    }

    async fn keep_alive(&mut self, id: i64) -> Result<(), BoxError> {
        let requests = tokio_stream::iter([pb::LeaseKeepAliveRequest { id }]);
        let mut lease = LeaseClient::new(self.channel()?);
        let mut responses = lease
            .lease_keep_alive(self.request(requests)?)
            .await?
            .into_inner();
        responses
            .message()
            .await?
            .ok_or("the keepalive stream ended")?;
        Ok(())
    }

    /// With the token, if there is one.
    fn request<T>(&self, message: T) -> Result<tonic::Request<T>, BoxError> {
        let mut request = tonic::Request::new(message);
        if let Some(token) = &self.token {
            let token = token.as_bytes().try_into()?;
            request.metadata_mut().insert("token", token);
        }
        Ok(request)
    }

    fn channel(&self) -> Result<Channel, BoxError> {
        let channel = self.streams.clone();
        Ok(channel.ok_or("this load opens no streams")?)
    }

    fn own_key(&self) -> Vec<u8> {
        format!("w{:07}", self.number).into_bytes()
    }
}

async fn put(kv: &mut Kv, key: Vec<u8>, value: Vec<u8>) -> Result<(), BoxError> {
    let request = pb::PutRequest {
        key: key.into(),
        value: value.into(),
        ..Default::default()
    };
    kv.put(&request).await?;
    Ok(())
}

/// Everything under the prefix.
fn listed() -> pb::RangeRequest {
    pb::RangeRequest {
        key: PREFIX.into(),
        range_end: PREFIX_END.into(),
        ..Default::default()
    }
}

fn first_listed() -> pb::RangeRequest {
    pb::RangeRequest {
        limit: 1,
        ..listed()
    }
}

fn listed_key(number: u64) -> Vec<u8> {
    [PREFIX, &key(number)].concat()
}

/// Eight bytes for every number below 10^8.
fn key(number: u64) -> Vec<u8> {
    format!("{number:08}").into_bytes()
}

async fn connections(target: &Target, n: usize) -> Result<Vec<Kv>, BoxError> {
    let mut connections = Vec::with_capacity(n);
    for i in 0..n {
        connections.push(target.open(i).await?);
    }
    Ok(connections)
}

async fn channels(target: &Target, n: usize) -> Result<Vec<Channel>, BoxError> {
    let mut channels = Vec::with_capacity(n);
    for i in 0..n {
        let address = Address::of_url(target.nth(i))?;
        let endpoint = Endpoint::from_shared(format!("http://{}", address.authority()))?;
        let endpoint = endpoint.timeout(REQUEST_TIMEOUT);
        let dialer = Dialer::within(CLIENT_DIAL_TIMEOUT).with_tls(target.tls.clone());
        let connector = Connector::new(dialer, address);
        channels.push(endpoint.connect_with_connector(connector).await?);
    }
    Ok(channels)
}
