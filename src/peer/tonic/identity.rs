//! Who speaks to whom, as the metadata of a request says it.

use crate::frame::{PROTOCOL_VERSION, check_protocol};
use ::tonic::Status;
use ::tonic::metadata::{MetadataMap, MetadataValue};

const CLUSTER: &str = "detcd-cluster-id";
const FROM: &str = "detcd-from";
const TO: &str = "detcd-to";
const PROTOCOL: &str = "detcd-protocol";
const KIND: &str = "detcd-kind";

/// A member among all clusters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) member: u64,
    pub(super) cluster: u64,
}

impl Identity {
    pub(super) fn write(self, to: u64, metadata: &mut MetadataMap) {
        for (key, value) in [(CLUSTER, self.cluster), (FROM, self.member), (TO, to)] {
            let value = MetadataValue::try_from(format!("{value:x}"));
            metadata.insert(key, value.expect("hexadecimal digits are a valid value"));
        }
        metadata.insert(PROTOCOL, MetadataValue::from(PROTOCOL_VERSION));
    }

    /// The sender, if the request is meant for this member.
    pub(super) fn check(self, metadata: &MetadataMap) -> Result<u64, Status> {
        let protocol = text(metadata, PROTOCOL)?;
        check_protocol(protocol, PROTOCOL_VERSION).map_err(Status::failed_precondition)?;
        let cluster = id(metadata, CLUSTER)?;
        let from = id(metadata, FROM)?;
        if cluster != self.cluster {
            return Err(Status::failed_precondition(format!(
                "cluster ID mismatch: member {from:x} is of cluster {cluster:x}, this one of {:x}",
                self.cluster
            )));
        }
        let to = id(metadata, TO)?;
        if to != self.member {
            return Err(Status::failed_precondition(format!(
                "member ID mismatch: the message is for {to:x}, this is {:x}",
                self.member
            )));
        }
        Ok(from)
    }
}

pub(super) fn write_kind(kind: u8, metadata: &mut MetadataMap) {
    metadata.insert(KIND, MetadataValue::from(u32::from(kind)));
}

pub(super) fn read_kind(metadata: &MetadataMap) -> Result<u8, Status> {
    let kind = text(metadata, KIND)?;
    kind.parse()
        .map_err(|_| Status::invalid_argument(format!("{KIND} is {kind:?}")))
}

fn id(metadata: &MetadataMap, key: &'static str) -> Result<u64, Status> {
    let value = text(metadata, key)?;
    u64::from_str_radix(value, 16)
        .map_err(|_| Status::invalid_argument(format!("{key} is {value:?}, no id")))
}

fn text<'a>(metadata: &'a MetadataMap, key: &'static str) -> Result<&'a str, Status> {
    let value = metadata.get(key);
    let value = value.ok_or_else(|| Status::invalid_argument(format!("{key} is missing")))?;
    value
        .to_str()
        .map_err(|_| Status::invalid_argument(format!("{key} is no text")))
}
