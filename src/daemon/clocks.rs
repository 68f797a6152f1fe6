//! Compares the clocks of the members: leases, tokens and logs of members whose clocks differ
//! mislead people. As etcd does it, by asking each other member for its time.

use crate::http_client::HttpClient;
use crate::probe::Probe;
use axum::body::Body;
use detcd_core::api::{Member, MemberId};
use detcd_core::go::show_duration;
use detcd_driver::Handle;
use detcd_rt::Instant;
use futures::future::join_all;
use http::Request;
use std::time::Duration;

/// How often clocks are compared, and how far apart they may be (etcd's values).
const PERIOD: Duration = Duration::from_secs(30);
const DRIFT_MAX: Duration = Duration::from_secs(1);
/// How long a member may take to tell its time. What takes longer says little about its clock.
const ANSWER_MAX: Duration = Duration::from_secs(3);
/// A time is short.
const BYTES_MAX: usize = 1024;

/// Compares the clocks as long as it is polled.
pub(super) async fn watch(handle: Handle) {
    let client = HttpClient::new(ANSWER_MAX);
    loop {
        detcd_rt::sleep(PERIOD).await;
        let Ok((header, members)) = handle.member_list(false).await else {
            continue;
        };
        let others = members
            .iter()
            .filter(|member| member.id != header.member_id);
        join_all(others.map(|member| compare(&client, member))).await;
    }
}

async fn compare(client: &HttpClient, member: &Member) {
    for url in &member.peer_urls {
        let asked = measure(client, url, own_clock);
        if let Ok(Some(measured)) = detcd_rt::timeout(ANSWER_MAX, asked).await {
            return tell(member.id, &measured);
        }
    }
}

/// How far the other clock is from this one, either way, and how long the answer took.
#[derive(Debug, PartialEq, Eq)]
struct Measured {
    drift: Duration,
    round_trip: Duration,
}

fn tell(id: MemberId, measured: &Measured) {
    if measured.drift > DRIFT_MAX {
        tracing::warn!(
            remote_peer_id = %id,
            clock_drift = show_duration(measured.drift),
            clock_drift_max = show_duration(DRIFT_MAX),
            rtt = show_duration(measured.round_trip),
            "prober found high clock drift"
        );
    }
}

/// Asks the member at this peer URL for its time; `None` if it does not tell it.
async fn measure(client: &HttpClient, url: &str, clock: impl Fn() -> Duration) -> Option<Measured> {
    let request = Request::get(Probe::PATH).body(Body::empty()).ok()?;
    let begun = Instant::now();
    let response = client.send(url, request).await.ok()?;
    let body = axum::body::to_bytes(Body::new(response.into_body()), BYTES_MAX);
    let probe: Probe = serde_json::from_slice(&body.await.ok()?).ok()?;
    let theirs = probe.since_epoch()?;
    let round_trip = begun.elapsed();
    // They have read their clock half a round trip ago.
    Some(Measured {
        drift: clock().abs_diff(theirs + round_trip / 2),
        round_trip,
    })
}

/// This member's time, since the beginning of 1970.
fn own_clock() -> Duration {
    Duration::from_millis(detcd_rt::wall_unix_ms())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    /// A peer port whose clock stands at `now`.
    async fn peer(now: Duration) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        detcd_rt::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            // The request is small, and comes in one piece.
            assert!(socket.read(&mut [0; 1024]).await.unwrap() > 0);
            let body = serde_json::to_string(&Probe::at(now)).unwrap();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            let reply = head + &body;
            socket.write_all(reply.as_bytes()).await.unwrap();
        });
        url
    }

    #[tokio::test]
    async fn the_difference_of_two_clocks_is_measured_either_way() {
        let now = Duration::from_secs(1_795_260_884);
        for ahead in [Duration::ZERO, Duration::from_millis(4_377)] {
            for theirs in [now + ahead, now - ahead] {
                let client = HttpClient::new(ANSWER_MAX);
                let url = peer(theirs).await;
                let measured = measure(&client, &url, || now)
                    .await
                    .expect("it tells its time");
                let off = measured.drift.abs_diff(ahead);
                assert!(off <= measured.round_trip, "{measured:?} for {ahead:?}");
            }
        }
    }

    #[tokio::test]
    async fn who_does_not_tell_its_time_is_passed_over() {
        let client = HttpClient::new(ANSWER_MAX);
        assert_eq!(
            measure(&client, "http://127.0.0.1:1", own_clock).await,
            None
        );
    }
}
