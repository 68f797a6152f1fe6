//! Who asks. Every call carries it from the transport to the place where the driver is asked, which
//! is where permissions are to be judged; without authentication everybody may do everything.

use bytes::Bytes;

/// What came with a call beside its message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    pub credentials: Credentials,
    /// The client wants no answer from a member without a leader, and no stream that outlives one.
    pub requires_leader: bool,
}

/// How a client says who it is. A transport takes the first that it finds, in this order: a token,
/// a password, the common name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Credentials {
    #[default]
    None,
    /// As Authenticate gave it.
    Token(Bytes),
    /// HTTP's basic authentication.
    Password { user: String, password: String },
    /// That of the client's TLS certificate.
    CommonName(String),
}
