//! `alarm`: what members complain of, and how an operator says that it is over.

pub mod disarm;
pub mod list;

use super::commands::{Action, Command};
use super::context::Context;
use super::failure::Failure;
use super::output::json::Json;
use super::output::messages::{header_fields, with_header};
use super::output::{Show, Style, line};
use detcd_wire::alarm::alarm_text;
use detcd_wire::etcdserverpb as pb;
use prost::Message as _;

pub const COMMAND: Command = Command {
    name: "alarm",
    usage: "alarm <subcommand>",
    about: "Commands about alarms",
    long: "",
    flags: &[],
    action: Action::Group(&[&disarm::COMMAND, &list::COMMAND]),
};

fn no_arguments(context: &Context, command: &str) -> Result<(), Failure> {
    match context.args.is_empty() {
        true => Ok(()),
        false => Err(Failure::args(format!(
            "{command} command accepts no arguments"
        ))),
    }
}

/// The alarms that are raised, or those that were disarmed.
struct AlarmOutput(pb::AlarmResponse);

impl Show for AlarmOutput {
    fn simple(&self, _: Style, out: &mut Vec<u8>) {
        for alarm in &self.0.alarms {
            line!(out, "{}", alarm_text(alarm));
        }
    }

    fn fields(&self, out: &mut Vec<u8>) {
        header_fields(&self.0.header, out);
        for alarm in &self.0.alarms {
            line!(out, "\"MemberID\" : {}", alarm.member_id);
            line!(out, "\"AlarmType\" : {}", alarm.alarm().as_str_name());
            line!(out, "");
        }
    }

    fn json(&self, _: Style) -> Json {
        with_header(&self.0.header).with_some(
            "alarms",
            Json::list(&self.0.alarms, |alarm| {
                Json::object()
                    .with_some("memberID", alarm.member_id)
                    .with_some("alarm", i64::from(alarm.alarm))
            }),
        )
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.0.encode_to_vec())
    }
}
