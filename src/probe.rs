//! The page of the peer port that tells a member's time, which servers show and others read.

use serde::{Deserialize, Serialize};
use std::time::{Duration, SystemTime};

/// What the time of a member is asked by: etcd's path and form.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Probe {
    ok: bool,
    now: String,
}

impl Probe {
    pub const PATH: &str = "/raft/probing";

    /// The page, so long after the beginning of 1970.
    pub fn at(since_epoch: Duration) -> Probe {
        let now = SystemTime::UNIX_EPOCH + since_epoch;
        Probe {
            ok: true,
            now: humantime::format_rfc3339_nanos(now).to_string(),
        }
    }

    /// The time that it tells, since the beginning of 1970.
    pub fn since_epoch(&self) -> Option<Duration> {
        let now = humantime::parse_rfc3339(&self.now).ok()?;
        now.duration_since(SystemTime::UNIX_EPOCH).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_etcds_and_is_read_back() {
        let now = Duration::from_millis(1_795_260_884_928);
        let text = serde_json::to_string(&Probe::at(now)).expect("JSON");
        assert_eq!(
            text,
            r#"{"Ok":true,"Now":"2026-11-21T11:34:44.928000000Z"}"#
        );
        let read: Probe = serde_json::from_str(&text).expect("the page");
        assert_eq!(read.since_epoch(), Some(now));
    }
}
