//! `/v2/stats/self`, `/v2/stats/leader` and `/v2/stats/store`, in etcd's fields and their order.

use super::{JSON, only_get, respond};
use crate::server::Context;
use crate::server::listen::Reply;
use ::http::{Method, StatusCode};
use detcd_core::api::MemberId;
use detcd_core::go;
use detcd_driver::stats::{AppendLatency, AppendPace, Ends};
use std::fmt::Write as _;

const SELF: &str = "/v2/stats/self";
const LEADER: &str = "/v2/stats/leader";
const STORE: &str = "/v2/stats/store";
/// What etcd shows for the minimum of a follower that has not answered.
const NO_MINIMUM: f64 = (1_u64 << 63) as f64;

/// Whether the path is one of those that are served here.
pub(super) fn is_path(path: &str) -> bool {
    [SELF, LEADER, STORE].contains(&path)
}

pub(super) async fn serve(context: &Context, method: &Method, path: &str) -> Reply {
    if *method != Method::GET {
        return only_get();
    }
    let (status, body) = match path {
        SELF => (StatusCode::OK, own(context).await),
        LEADER => leader(context).await,
        _ => (StatusCode::OK, store(context)),
    };
    respond(status, JSON, body)
}

fn local(context: &Context) -> MemberId {
    context.handle.header_now().member_id
}

async fn own(context: &Context) -> String {
    let id = local(context);
    let members = context.service.v2_members().await.unwrap_or_default();
    let own = members.into_iter().find(|member| member.id == id);
    let name = serde_json::Value::from(own.map_or_else(String::new, |member| member.name));
    // One that has lost its quorum leads nobody.
    let state = match *context.handle.leader().borrow() == Some(id) {
        true => "StateLeader",
        false => "StateFollower",
    };
    let history = &context.leaders;
    let seen = history.seen();
    let leader = seen.leader.map_or_else(String::new, hex);
    let stats = context.handle.stats();
    let (received, sent) = (&stats.appends_received, &stats.appends_sent);
    format!(
        "{{\"name\":{name},\"id\":\"{}\",\"state\":\"{state}\",\"startTime\":\"{}\",\
         \"leaderInfo\":{{\"leader\":\"{leader}\",\"uptime\":\"{}\",\"startTime\":\"{}\"}},\
         \"recvAppendRequestCnt\":{}{}\"sendAppendRequestCnt\":{}{}",
        hex(id),
        super::keys::time(history.started),
        go::show_duration(seen.since_local.elapsed()),
        super::keys::time(seen.since),
        received.messages.get(),
        rates("recv", received) + ",",
        sent.messages.get(),
        rates("send", sent) + "}",
    )
}

/// What goes on now; nothing while nothing does.
fn rates(way: &str, pace: &AppendPace) -> String {
    pace.rates().map_or_else(String::new, |(messages, bytes)| {
        format!(",\"{way}PkgRate\":{messages},\"{way}BandwidthRate\":{bytes}")
    })
}

async fn leader(context: &Context) -> (StatusCode, String) {
    let id = local(context);
    if *context.handle.leader().borrow() != Some(id) {
        let why = "{\"message\":\"not current leader\"}".to_owned();
        return (StatusCode::FORBIDDEN, why);
    }
    let members = context.service.v2_members().await.unwrap_or_default();
    let peers = context.handle.stats().peers();
    let mut body = format!("{{\"leader\":\"{}\",\"followers\":{{", hex(id));
    let known = members.iter().filter_map(|member| {
        let peer = peers.get(&member.id.0)?;
        (member.id != id).then(|| (member.id, peer.append_latency.read()))
    });
    // Go writes the keys of a map in the order of their texts.
    let mut known: Vec<(String, AppendLatency)> =
        known.map(|(id, latency)| (hex(id), latency)).collect();
    known.sort_by(|(one, _), (other, _)| one.cmp(other));
    for (at, (id, latency)) in known.iter().enumerate() {
        let comma = if at == 0 { "" } else { "," };
        let AppendLatency {
            answered,
            failed,
            current,
            average,
            standard_deviation,
            minimum,
            maximum,
            ..
        } = latency;
        let minimum = minimum.unwrap_or(NO_MINIMUM);
        // Writing to a string cannot fail.
        let _ = write!(
            body,
            "{comma}\"{id}\":{{\"latency\":{{\"current\":{current},\"average\":{average},\
             \"standardDeviation\":{standard_deviation},\"minimum\":{minimum},\
             \"maximum\":{maximum}}},\"counts\":{{\"fail\":{failed},\"success\":{answered}}}}}",
        );
    }
    body.push_str("}}");
    (StatusCode::OK, body)
}

fn store(context: &Context) -> String {
    let stats = &context.handle.stats().v2;
    let kinds: [(&str, &Ends); 7] = [
        ("gets", &stats.gets),
        ("sets", &stats.sets),
        ("delete", &stats.deletes),
        ("update", &stats.updates),
        ("create", &stats.creates),
        ("compareAndSwap", &stats.compare_and_swaps),
        ("compareAndDelete", &stats.compare_and_deletes),
    ];
    let mut body = "{".to_owned();
    for (name, ends) in kinds {
        let (success, fail) = (ends.success.get(), ends.fail.get());
        let _ = write!(body, "\"{name}Success\":{success},\"{name}Fail\":{fail},");
    }
    let (expired, watchers) = (stats.expired.get(), stats.watchers.get());
    let _ = write!(body, "\"expireCount\":{expired},\"watchers\":{watchers}}}");
    body
}

fn hex(id: MemberId) -> String {
    format!("{:x}", id.0)
}
