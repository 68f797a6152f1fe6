//! Tells the system's manager (systemd, by `NOTIFY_SOCKET`) that the member serves, and that it
//! stops. Without the variable nobody is told.

use sd_notify::NotifyState;
use std::time::Duration;

/// A manager that takes nothing holds up nobody for longer.
const SEND_MAX: Duration = Duration::from_secs(1);

/// The member serves.
pub(super) async fn ready() {
    tell(NotifyState::Ready).await;
}

/// The member has begun to stop.
pub(super) async fn stopping() {
    tell(NotifyState::Stopping).await;
}

async fn tell(state: NotifyState<'static>) {
    if std::env::var_os("NOTIFY_SOCKET").is_none_or(|path| path.is_empty()) {
        return;
    }
    let shown = state.to_string();
    let sending = detcd_rt::spawn_blocking(move || sd_notify::notify(&[state]));
    let problem = match detcd_rt::timeout(SEND_MAX, sending).await {
        Ok(Ok(Ok(()))) => {
            tracing::info!(state = shown, "successfully notified init daemon");
            return;
        }
        Ok(Ok(Err(error))) => error.to_string(),
        Ok(Err(_)) | Err(_) => "it takes nothing".to_owned(),
    };
    tracing::error!(state = shown, error = problem, "failed to notify systemd");
}
