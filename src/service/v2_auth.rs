//! etcd's v2 authentication, free of any transport: who asks is settled here, before the log, and
//! what may be done is judged in core.

use crate::{Caller, Credentials, Service};
use bytes::Bytes;
use detcd_core::error::Error;
use detcd_core::v2::auth::{Asker, AuthChange, AuthRefused, AuthReply, AuthWrite, Role, User};

/// Why a request about users and roles comes to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum V2AuthError {
    Refused(AuthRefused),
    Request(Error),
}

impl From<AuthRefused> for V2AuthError {
    fn from(refused: AuthRefused) -> V2AuthError {
        V2AuthError::Refused(refused)
    }
}

impl From<Error> for V2AuthError {
    fn from(error: Error) -> V2AuthError {
        V2AuthError::Request(error)
    }
}

/// A user as a client wants it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct V2UserRequest {
    pub name: String,
    /// Empty for none.
    pub password: String,
    pub roles: Option<Vec<String>>,
    pub grant: Vec<String>,
    pub revoke: Vec<String>,
}

impl Service {
    /// Who the credentials are of; `None` if they are nobody's. Nobody is asked for any while requests
    /// are not judged.
    pub(crate) async fn v2_asker(&self, caller: &Caller) -> Result<Option<Asker>, Error> {
        let handle = &self.inner.handle;
        if !handle.v2_auth_enabled()? {
            return Ok(Some(Asker::Guest));
        }
        let asker = |user: User| Asker::User {
            name: user.name,
            hash_index: user.hash_index,
        };
        match &caller.credentials {
            Credentials::None => Ok(Some(Asker::Guest)),
            // A certificate that is no user's is a guest's.
            Credentials::CommonName(name) => {
                let user = handle.v2_user(name)?;
                Ok(Some(user.map_or(Asker::Guest, asker)))
            }
            Credentials::Password { user, password } => {
                let Some(user) = handle.v2_user(user)? else {
                    return Ok(None);
                };
                let matches = self.passwords().matches(password.as_bytes(), &user.hash);
                Ok(matches.await?.then(|| asker(user)))
            }
            Credentials::Token(_) => Ok(None),
        }
    }

    /// Who asks, if it may change members, users and roles.
    pub async fn v2_admit_change(&self, caller: &Caller) -> Result<Asker, V2AuthError> {
        let asker = self.v2_asker(caller).await?;
        match asker {
            Some(asker) if self.inner.handle.v2_may_change(&asker)? => Ok(asker),
            _ => Err(AuthRefused::InsufficientCredentials.into()),
        }
    }

    /// Makes a user, or changes one.
    pub async fn v2_put_user(
        &self,
        asker: Asker,
        request: V2UserRequest,
    ) -> Result<AuthReply, V2AuthError> {
        let V2UserRequest {
            name,
            password,
            roles,
            grant,
            revoke,
        } = request;
        let hash: Option<Bytes> = match password.is_empty() {
            true => None,
            false => Some(self.passwords().hash(password.as_bytes()).await?),
        };
        let change = AuthChange::PutUser {
            name,
            hash,
            roles,
            grant,
            revoke,
        };
        self.v2_auth_change(asker, change).await
    }

    pub async fn v2_auth_change(
        &self,
        asker: Asker,
        change: AuthChange,
    ) -> Result<AuthReply, V2AuthError> {
        let write = AuthWrite { asker, change };
        let written = self.inner.handle.v2_auth_write(write).await;
        if let Err(error) = &written
            && error.leaves_outcome_unknown()
        {
            self.counts().proposals_failed.add(1);
        }
        Ok(written??)
    }

    /// Whether requests of v2 are judged.
    pub fn v2_auth_enabled(&self) -> Result<bool, Error> {
        self.inner.handle.v2_auth_enabled()
    }

    /// A user, and those of its roles that there are.
    pub fn v2_user(&self, name: &str) -> Result<Option<(User, Vec<Role>)>, Error> {
        let handle = &self.inner.handle;
        let Some(user) = handle.v2_user(name)? else {
            return Ok(None);
        };
        let mut roles = Vec::new();
        for name in user.role_names() {
            roles.extend(handle.v2_role(name)?);
        }
        Ok(Some((user, roles)))
    }

    /// All users, in the order of their names.
    pub fn v2_users(&self) -> Result<Vec<(User, Vec<Role>)>, Error> {
        let mut users = Vec::new();
        for name in self.inner.handle.v2_users()? {
            users.extend(self.v2_user(&name)?);
        }
        Ok(users)
    }

    pub fn v2_role(&self, name: &str) -> Result<Option<Role>, Error> {
        self.inner.handle.v2_role(name)
    }

    /// All roles, in the order of their names.
    pub fn v2_roles(&self) -> Result<Vec<Role>, Error> {
        let mut roles = Vec::new();
        for name in self.inner.handle.v2_roles()? {
            roles.extend(self.v2_role(&name)?);
        }
        Ok(roles)
    }
}
