//! Alarms.

use crate::etcdserverpb as pb;
use detcd_core::api::{Alarm, AlarmKind, AlarmRequest, MemberId};
use detcd_core::error::Error;

impl TryFrom<pb::AlarmRequest> for AlarmRequest {
    type Error = Error;

    /// A number that names no action or no kind is refused (etcd 3.5 crashes at such an action).
    fn try_from(request: pb::AlarmRequest) -> Result<Self, Error> {
        use pb::alarm_request::AlarmAction;
        let unknown = |_| Error::Malformed("etcdserver: invalid alarm request");
        let kind = match pb::AlarmType::try_from(request.alarm).map_err(unknown)? {
            pb::AlarmType::None => None,
            pb::AlarmType::Nospace => Some(AlarmKind::NoSpace),
            pb::AlarmType::Corrupt => Some(AlarmKind::Corrupt),
        };
        let action = AlarmAction::try_from(request.action).map_err(unknown)?;
        let alarm = kind.map(|kind| Alarm {
            member: MemberId(request.member_id),
            kind,
        });
        Ok(match (action, alarm) {
            (AlarmAction::Get, _) => AlarmRequest::List(kind),
            (AlarmAction::Activate, Some(alarm)) => AlarmRequest::Raise(alarm),
            (AlarmAction::Deactivate, Some(alarm)) => AlarmRequest::Disarm(alarm),
            (AlarmAction::Activate | AlarmAction::Deactivate, None) => AlarmRequest::Nothing,
        })
    }
}

impl From<Alarm> for pb::AlarmMember {
    fn from(alarm: Alarm) -> Self {
        let kind = match alarm.kind {
            AlarmKind::NoSpace => pb::AlarmType::Nospace,
            AlarmKind::Corrupt => pb::AlarmType::Corrupt,
        };
        pb::AlarmMember {
            member_id: alarm.member.0,
            alarm: kind.into(),
        }
    }
}

/// An alarm among the errors of a status, as Go prints the message.
pub fn alarm_text(alarm: &pb::AlarmMember) -> String {
    let mut text = String::new();
    if alarm.member_id != 0 {
        text += &format!("memberID:{} ", alarm.member_id);
    }
    match pb::AlarmType::try_from(alarm.alarm) {
        Ok(pb::AlarmType::None) => {}
        Ok(kind) => text += &format!("alarm:{} ", kind.as_str_name()),
        Err(_) => text += &format!("alarm:{} ", alarm.alarm),
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(action: i32, alarm: i32) -> Result<AlarmRequest, Error> {
        AlarmRequest::try_from(pb::AlarmRequest {
            action,
            member_id: 7,
            alarm,
        })
    }

    #[test]
    fn requests_are_understood_or_refused() {
        let corrupt = Alarm {
            member: MemberId(7),
            kind: AlarmKind::Corrupt,
        };
        assert_eq!(request(0, 0), Ok(AlarmRequest::List(None)));
        assert_eq!(
            request(0, 1),
            Ok(AlarmRequest::List(Some(AlarmKind::NoSpace)))
        );
        assert_eq!(request(1, 2), Ok(AlarmRequest::Raise(corrupt)));
        assert_eq!(request(2, 2), Ok(AlarmRequest::Disarm(corrupt)));
        assert_eq!(request(2, 0), Ok(AlarmRequest::Nothing));
        assert!(request(3, 0).is_err() && request(1, 9).is_err());
    }

    #[test]
    fn texts_are_those_of_go() {
        let text = |member_id, alarm| alarm_text(&pb::AlarmMember { member_id, alarm });
        assert_eq!(text(7, 1), "memberID:7 alarm:NOSPACE ");
        assert_eq!(text(0, 2), "alarm:CORRUPT ");
        assert_eq!(text(0, 0), "");
    }
}
