//! Who a client is: asked when a request needs to know, and not before.

use detcd_core::auth::{AuthInfo, AuthState};
use detcd_core::error::Error;
use futures::future::BoxFuture;

/// What a client shows of itself (a token, a certificate), and how it is checked.
pub trait Identify: Send + Sync + 'static {
    /// Waits until this member has applied what the client got its token by; `None` if it has.
    fn ready(&self) -> Option<BoxFuture<'_, ()>>;

    /// Who the client is, by the users of `auth`; `None` for one that shows nothing.
    fn identify(&self, auth: &AuthState) -> Result<Option<AuthInfo>, Error>;

    /// Whether a write that was refused so may fare better after another look at the client: its
    /// users and roles were others when it was applied.
    fn may_fare_better(&self, refused: &Error) -> bool;
}
