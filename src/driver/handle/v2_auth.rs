//! Users, roles and permissions of v2, as this member knows them.

use super::Handle;
use super::write::unreachable_reply;
use detcd_core::api::Reply;
use detcd_core::command::Command;
use detcd_core::error::Error;
use detcd_core::v2::auth::{self, Asked, Asker, AuthRefused, AuthReply, AuthWrite, Role, User};
use detcd_core::view::{Fault, View};

impl Handle {
    fn v2_auth<T>(&self, read: impl FnOnce(&dyn View) -> Result<T, Fault>) -> Result<T, Error> {
        let published = self.shared.engine.published();
        self.settle_fault(read(&*published.view))
    }

    /// Whether requests of v2 are judged.
    pub fn v2_auth_enabled(&self) -> Result<bool, Error> {
        self.v2_auth(auth::is_enabled)
    }

    pub fn v2_user(&self, name: &str) -> Result<Option<User>, Error> {
        self.v2_auth(|view| auth::user(view, name))
    }

    /// The names of all users.
    pub fn v2_users(&self) -> Result<Vec<String>, Error> {
        self.v2_auth(auth::users)
    }

    pub fn v2_role(&self, name: &str) -> Result<Option<Role>, Error> {
        self.v2_auth(|view| auth::role(view, name))
    }

    /// The names of all roles.
    pub fn v2_roles(&self) -> Result<Vec<String>, Error> {
        self.v2_auth(auth::roles)
    }

    /// Whether who asks may read or write the path, as far as this member knows.
    pub fn v2_may(&self, asked: &Asked, recursive: bool, writes: bool) -> Result<bool, Error> {
        self.v2_auth(|view| auth::may(view, asked, recursive, writes))
    }

    /// Whether who asks may change members, users and roles, as far as this member knows.
    pub fn v2_may_change(&self, asker: &Asker) -> Result<bool, Error> {
        self.v2_auth(|view| auth::may_change(view, asker))
    }

    /// Changes users, roles, or whether requests are judged.
    pub async fn v2_auth_write(
        &self,
        write: AuthWrite,
    ) -> Result<Result<AuthReply, AuthRefused>, Error> {
        match self.write(Command::V2Auth(write)).await? {
            (_, Reply::V2Auth(result)) => Ok(result),
            (_, other) => unreachable_reply("change of v2's users", &other),
        }
    }
}
