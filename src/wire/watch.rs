//! Watch requests, responses and events.

use crate::etcdserverpb as pb;
use crate::kv::key_and_end;
use crate::mvccpb;
use bytes::Bytes;
use detcd_core::api::{
    ChangeKind, KeyChange, KeyRange, WatchCreate, WatchId, WatchRequest, WatchResponse,
};
use detcd_core::error::Error;
use pb::watch_create_request::FilterType;
use pb::watch_request::RequestUnion;

/// What the client asks, or nothing for a request without content: etcd passes over those and
/// keeps the stream.
pub fn watch_request(request: pb::WatchRequest) -> Option<WatchRequest> {
    Some(match request.request_union? {
        RequestUnion::CreateRequest(create) => WatchRequest::Create(create.into()),
        RequestUnion::CancelRequest(cancel) => WatchRequest::Cancel(WatchId(cancel.watch_id)),
        RequestUnion::ProgressRequest(_) => WatchRequest::Progress,
    })
}

impl From<pb::WatchCreateRequest> for WatchCreate {
    /// An empty key stands for the first key there can be. Unknown filters filter nothing.
    fn from(create: pb::WatchCreateRequest) -> Self {
        let filtered = |filter: FilterType| create.filters.contains(&filter.into());
        let (no_put, no_delete) = (filtered(FilterType::Noput), filtered(FilterType::Nodelete));
        let key = if create.key.is_empty() {
            Bytes::from_static(&[0])
        } else {
            create.key
        };
        WatchCreate {
            id: WatchId(create.watch_id),
            range: KeyRange::of(key, create.range_end),
            start_revision: create.start_revision,
            progress_notify: create.progress_notify,
            no_put,
            no_delete,
            prev_kv: create.prev_kv,
            fragment: create.fragment,
        }
    }
}

impl From<WatchCreate> for pb::WatchCreateRequest {
    fn from(create: WatchCreate) -> Self {
        let (key, range_end) = key_and_end(create.range);
        let mut filters = Vec::new();
        if create.no_put {
            filters.push(FilterType::Noput.into());
        }
        if create.no_delete {
            filters.push(FilterType::Nodelete.into());
        }
        pb::WatchCreateRequest {
            key,
            range_end,
            start_revision: create.start_revision,
            progress_notify: create.progress_notify,
            filters,
            prev_kv: create.prev_kv,
            watch_id: create.id.0,
            fragment: create.fragment,
        }
    }
}

impl From<WatchRequest> for pb::WatchRequest {
    fn from(request: WatchRequest) -> Self {
        let union = match request {
            WatchRequest::Create(create) => RequestUnion::CreateRequest(create.into()),
            WatchRequest::Cancel(id) => {
                RequestUnion::CancelRequest(pb::WatchCancelRequest { watch_id: id.0 })
            }
            WatchRequest::Progress => RequestUnion::ProgressRequest(pb::WatchProgressRequest {}),
        };
        pb::WatchRequest {
            request_union: Some(union),
        }
    }
}

/// `response` as the client gets it. The revision in the header is the response's own, whatever
/// `header` says: in a progress notification it promises that all before it was sent.
pub fn watch_response(response: WatchResponse, header: pb::ResponseHeader) -> pb::WatchResponse {
    pb::WatchResponse {
        header: Some(pb::ResponseHeader {
            revision: response.revision,
            ..header
        }),
        watch_id: response.watch_id,
        created: response.created,
        canceled: response.canceled,
        compact_revision: response.compact_revision,
        cancel_reason: response.cancel_reason,
        fragment: response.fragment,
        events: response.events.into_iter().map(Into::into).collect(),
    }
}

impl TryFrom<pb::WatchResponse> for WatchResponse {
    type Error = Error;

    fn try_from(response: pb::WatchResponse) -> Result<Self, Error> {
        Ok(WatchResponse {
            watch_id: response.watch_id,
            revision: response.header.unwrap_or_default().revision,
            created: response.created,
            canceled: response.canceled,
            cancel_reason: response.cancel_reason,
            compact_revision: response.compact_revision,
            fragment: response.fragment,
            events: response
                .events
                .into_iter()
                .map(TryInto::try_into)
                .collect::<Result<_, _>>()?,
        })
    }
}

impl From<KeyChange> for mvccpb::Event {
    fn from(change: KeyChange) -> Self {
        let kind = match change.kind {
            ChangeKind::Put => mvccpb::event::EventType::Put,
            ChangeKind::Delete => mvccpb::event::EventType::Delete,
        };
        mvccpb::Event {
            r#type: kind.into(),
            kv: Some(change.kv.into()),
            prev_kv: change.prev_kv.map(Into::into),
        }
    }
}

impl TryFrom<mvccpb::Event> for KeyChange {
    type Error = Error;

    fn try_from(event: mvccpb::Event) -> Result<Self, Error> {
        let kind = match mvccpb::event::EventType::try_from(event.r#type) {
            Ok(mvccpb::event::EventType::Put) => ChangeKind::Put,
            Ok(mvccpb::event::EventType::Delete) => ChangeKind::Delete,
            Err(_) => return Err(Error::Malformed("an event that is neither put nor delete")),
        };
        Ok(KeyChange {
            kind,
            kv: event.kv.unwrap_or_default().into(),
            prev_kv: event.prev_kv.map(Into::into),
        })
    }
}
