//! What the commands that change the membership share.

use crate::config::url::Url;
use crate::ctl::context::Context;
use crate::ctl::failure::Failure;
use crate::ctl::flags::Flag;
use crate::ctl::go;
use crate::ctl::output::json::Json;
use crate::ctl::output::messages::with_header;
use crate::ctl::output::{Show, Style, line};
use detcd_wire::etcdserverpb as pb;

pub const PEER_URLS: Flag = Flag::text(
    "peer-urls",
    "",
    "the URLs on which the member talks to others, apart by commas",
);

/// The one argument of most of these commands: a member's id.
pub fn member_id(context: &Context) -> Result<u64, Failure> {
    let [id] = &context.texts()[..] else {
        return Err(Failure::args("member ID is not provided"));
    };
    go::parse_uint(id, 16)
        .map_err(|why| Failure::args(format!("bad member ID arg ({why}), expecting ID in Hex")))
}

/// `--peer-urls`: its text, and the URLs in it, which are checked before anybody is asked.
pub fn peer_urls(context: &Context) -> Result<(String, Vec<String>), Failure> {
    let text = context.flags.text("peer-urls").to_owned();
    if text.is_empty() {
        return Err(Failure::args("member peer urls not provided"));
    }
    let urls: Vec<String> = text.split(',').map(str::to_owned).collect();
    for url in &urls {
        Url::parse(url).map_err(|error| Failure::error(error.to_string()))?;
    }
    Ok((text, urls))
}

/// The answer to a change: a line of what was done, or the members after it.
pub struct MembersChanged {
    pub id: u64,
    pub done: &'static str,
    pub header: Option<pb::ResponseHeader>,
    pub members: Vec<pb::Member>,
    pub bytes: Vec<u8>,
}

impl Show for MembersChanged {
    fn simple(&self, _: Style, out: &mut Vec<u8>) {
        let cluster = self.header.unwrap_or_default().cluster_id;
        line!(
            out,
            "Member {:16x} {} cluster {cluster:16x}",
            self.id,
            self.done
        );
    }

    fn has_fields(&self) -> bool {
        false
    }

    fn json(&self, _: Style) -> Json {
        with_header(&self.header).with_some("members", Json::list(&self.members, member_json))
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.bytes.clone())
    }
}

pub fn member_json(member: &pb::Member) -> Json {
    Json::object()
        .with_some("ID", member.id)
        .with_some("name", &member.name[..])
        .with_some("peerURLs", &member.peer_urls[..])
        .with_some("clientURLs", &member.client_urls[..])
        .with_some("isLearner", member.is_learner)
}
