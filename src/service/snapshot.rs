//! The state as a file of etcd's backend, in messages as etcd sends them: the file, and at last its
//! checksum.

use crate::{Call, CallError};
use bytes::{Bytes, BytesMut};
use detcd_core::error::Error;
use detcd_core::limits::SNAPSHOT_MESSAGE_BYTES;
use detcd_driver::SnapshotFile;
use detcd_wire::etcdserverpb as pb;
use futures::stream::{self, Stream};
use sha2::{Digest as _, Sha256};

impl Call {
    pub(crate) async fn snapshot(
        self,
        _: pb::SnapshotRequest,
    ) -> Result<impl Stream<Item = Result<pb::SnapshotResponse, CallError>> + Send, Error> {
        let file = self.handle().snapshot().await?;
        let messages = Messages {
            remaining_bytes: file.bytes(),
            file,
            version: self.service.options().cluster_version(),
            waiting: BytesMut::new(),
            checksum: Some(Sha256::new()),
        };
        Ok(stream::try_unfold(messages, Messages::step))
    }
}

struct Messages {
    file: SnapshotFile,
    version: String,
    /// What was read and is not sent yet.
    waiting: BytesMut,
    /// Of the file, what is not sent yet.
    remaining_bytes: u64,
    /// Of what was sent; `None` once it was sent itself.
    checksum: Option<Sha256>,
}

impl Messages {
    async fn step(mut self) -> Result<Option<(pb::SnapshotResponse, Messages)>, CallError> {
        let Some(mut checksum) = self.checksum.take() else {
            return Ok(None);
        };
        while self.waiting.len() < SNAPSHOT_MESSAGE_BYTES {
            match self.file.next().await? {
                Some(bytes) => self.waiting.extend_from_slice(&bytes),
                None => break,
            }
        }
        let length = self.waiting.len().min(SNAPSHOT_MESSAGE_BYTES);
        let blob = match length {
            0 => Bytes::copy_from_slice(&checksum.finalize()),
            _ => {
                let blob = self.waiting.split_to(length).freeze();
                checksum.update(&blob);
                self.remaining_bytes -= length as u64;
                self.checksum = Some(checksum);
                blob
            }
        };
        let response = pb::SnapshotResponse {
            header: None,
            remaining_bytes: self.remaining_bytes,
            blob,
            version: self.version.clone(),
        };
        Ok(Some((response, self)))
    }
}
