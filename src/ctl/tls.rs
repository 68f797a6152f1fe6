//! The v2 commands understand the flags of TLS, and refuse them in plain words, so that no command
//! runs less protected than asked for.

use super::failure::{Failure, code};

pub struct TlsFlags {
    /// Paths, empty if they are not given.
    pub cert: String,
    pub key: String,
    pub cacert: String,
    /// Whether another flag asks for TLS.
    pub is_wanted: bool,
    /// The flags to leave out, for the message.
    pub names: &'static str,
}

pub fn check(flags: &TlsFlags, endpoints: &[String]) -> Result<(), Failure> {
    let TlsFlags {
        cert, key, cacert, ..
    } = flags;
    if cert.is_empty() != key.is_empty() {
        let why = format!("KeyFile and CertFile must both be present[key: {key}, cert: {cert}]");
        return Err(Failure::args(why));
    }
    for path in [cert, key, cacert]
        .into_iter()
        .filter(|path| !path.is_empty())
    {
        if let Err(error) = std::fs::metadata(path) {
            let why = match error.kind() {
                std::io::ErrorKind::NotFound => "no such file or directory".to_owned(),
                _ => error.to_string(),
            };
            return Err(Failure::args(format!("open {path}: {why}")));
        }
    }
    let is_secure =
        |endpoint: &String| endpoint.starts_with("https://") || endpoint.starts_with("unixs:");
    let is_wanted = flags.is_wanted
        || !cert.is_empty()
        || !cacert.is_empty()
        || endpoints.iter().any(is_secure);
    if is_wanted {
        let why = format!(
            "the v2 commands of detcdctl do not speak TLS: leave out the flags {}, and use http:// \
             or unix:// endpoints",
            flags.names
        );
        return Err(Failure::new(code::BAD_FEATURE, why));
    }
    Ok(())
}
