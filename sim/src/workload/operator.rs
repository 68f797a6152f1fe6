//! Somebody who looks after the cluster: when an alarm is raised, makes room and disarms it.

use crate::client::{CallError, Client};
use crate::history::Request;
use crate::scenario::settings::settings;
use crate::scenario::units::{Time, Times};
use crate::workload::{ClientStarter, Until, Work};
use detcd_core::api::CompactRequest;
use detcd_service::Rpc;
use detcd_wire::etcdserverpb as pb;
use futures::FutureExt;
use pb::alarm_request::AlarmAction;
use std::time::Duration;

settings! {
    /// Somebody who answers alarms: compacts everything and disarms them.
    pub struct Operator {
        /// The time between two polls.
        every: Times = ("200ms", "2s"),
        /// What the operator waits for an answer.
        timeout: Time = "3s",
    }
}

impl Work for Operator {
    fn start(&self, _name: &str, clients: &mut dyn ClientStarter) {
        let operator = self.clone();
        let run = move |client, until| async move { operator.run(client, until).await }.boxed();
        clients.follow("o", Box::new(run));
    }
}

impl Operator {
    /// Looks again and again until the rest is over, and once more then.
    async fn run(&self, mut client: Client, mut until: Until) {
        let mut rng = client.rng("operator");
        loop {
            let pause = self.every.pick(&mut rng);
            let over = async { until.wait_for(Option::is_some).await.is_ok() };
            let is_over = detcd_rt::timeout(pause, over).await.is_ok();
            match self.clear_alarms(&mut client).await {
                Ok(()) if is_over => return,
                Ok(()) => {}
                Err(_) => client.recover().await,
            }
        }
    }

    async fn clear_alarms(&self, client: &mut Client) -> Result<(), CallError> {
        let found = self.alarm(client, pb::AlarmRequest::default()).await?;
        if found.alarms.is_empty() {
            return Ok(());
        }
        let revision = found.header.unwrap_or_default().revision;
        // If it fails, the members raise their alarms again and the operator looks again.
        let compact = CompactRequest {
            revision,
            physical: true,
        };
        client
            .attempt(Request::Compact(compact), self.timeout.duration())
            .await;
        for alarm in found.alarms {
            let disarm = pb::AlarmRequest {
                action: AlarmAction::Deactivate.into(),
                member_id: alarm.member_id,
                alarm: alarm.alarm,
            };
            self.alarm(client, disarm).await?;
        }
        Ok(())
    }

    async fn alarm(
        &self,
        client: &Client,
        request: pb::AlarmRequest,
    ) -> Result<pb::AlarmResponse, CallError> {
        let timeout: Duration = self.timeout.duration();
        client.call(Rpc::Alarm, &request, timeout).await
    }
}
