//! Users, roles and tokens; and who a call's client is.

use crate::tokens::TokenKind;
use crate::{Call, Credentials, Service, response_header};
use bytes::Bytes;
use detcd_core::api::KeyRange;
use detcd_core::auth::{AuthCommand, AuthInfo, AuthState, Judge};
use detcd_core::error::Error;
use detcd_driver::Identify;
use detcd_wire::etcdserverpb as pb;
use futures::future::BoxFuture;

/// What a client shows, and the member that it shows it to.
pub(crate) struct Client {
    pub service: Service,
    pub credentials: Credentials,
}

impl Client {
    fn tokens(&self) -> &TokenKind {
        &self.service.inner.options.tokens
    }
}

impl Identify for Client {
    fn ready(&self) -> Option<BoxFuture<'_, ()>> {
        let member = &self.service.inner.handle;
        self.tokens().ready(member, &self.credentials)
    }

    fn identify(&self, auth: &AuthState) -> Result<Option<AuthInfo>, Error> {
        let member = &self.service.inner.handle;
        self.tokens().identify(member, &self.credentials, auth)
    }

    fn may_fare_better(&self, _: &Error) -> bool {
        self.tokens().follows_users(&self.credentials)
    }
}

impl Call {
    pub(crate) async fn auth_enable(
        self,
        _: pb::AuthEnableRequest,
    ) -> Result<pb::AuthEnableResponse, Error> {
        let header = self.handle().auth_change(AuthCommand::Enable).await?;
        Ok(pb::AuthEnableResponse {
            header: response_header(header),
        })
    }

    pub(crate) async fn auth_disable(
        self,
        _: pb::AuthDisableRequest,
    ) -> Result<pb::AuthDisableResponse, Error> {
        let header = self.handle().auth_change(AuthCommand::Disable).await?;
        Ok(pb::AuthDisableResponse {
            header: response_header(header),
        })
    }

    pub(crate) async fn auth_status(
        self,
        _: pb::AuthStatusRequest,
    ) -> Result<pb::AuthStatusResponse, Error> {
        let member = &self.service.inner.handle;
        let (header, auth) = member.auth_state(anyone).await?;
        Ok(pb::AuthStatusResponse {
            header: response_header(header),
            enabled: auth.is_enabled(),
            auth_revision: auth.revision(),
        })
    }

    /// Checks the password here, and has the log tell every member of the token. If users or roles
    /// change in between the password is checked again: it may be another one.
    pub(crate) async fn authenticate(
        self,
        request: pb::AuthenticateRequest,
    ) -> Result<pb::AuthenticateResponse, Error> {
        let tokens = &self.service.inner.options.tokens;
        // Not on behalf of the client: the token that it shows may have ended, and it asks for another.
        let member = &self.service.inner.handle;
        loop {
            let (_, auth) = member.auth_state(anyone).await?;
            self.check_password(&auth, &request).await?;
            let authenticated =
                member.authenticated(request.name.clone(), tokens.prefix(), auth.revision());
            match authenticated.await {
                Err(Error::AuthOldRevision) => {}
                outcome => {
                    let (header, simple, revision) = outcome?;
                    let user = AuthInfo {
                        user: request.name,
                        revision,
                    };
                    return Ok(pb::AuthenticateResponse {
                        header: response_header(header),
                        token: tokens.issue(simple, &user)?,
                    });
                }
            }
        }
    }

    async fn check_password(
        &self,
        auth: &AuthState,
        request: &pb::AuthenticateRequest,
    ) -> Result<(), Error> {
        if !auth.is_enabled() {
            return Err(Error::AuthNotEnabled);
        }
        let user = auth.user(&request.name).ok_or(Error::AuthFailed)?;
        if user.no_password {
            return Err(Error::NoPasswordUser);
        }
        let passwords = self.service.passwords();
        let password = request.password.as_bytes();
        match passwords.matches(password, &user.password).await? {
            true => Ok(()),
            false => Err(Error::AuthFailed),
        }
    }

    pub(crate) async fn user_add(
        self,
        request: pb::AuthUserAddRequest,
    ) -> Result<pb::AuthUserAddResponse, Error> {
        let no_password = request.options.is_some_and(|it| it.no_password);
        let password = match no_password {
            true => Bytes::new(),
            false => self.hash_password(&request.password).await?,
        };
        let command = AuthCommand::UserAdd {
            name: request.name,
            password,
            no_password,
        };
        let header = self.handle().auth_change(command).await?;
        Ok(pb::AuthUserAddResponse {
            header: response_header(header),
        })
    }

    pub(crate) async fn user_get(
        self,
        request: pb::AuthUserGetRequest,
    ) -> Result<pb::AuthUserGetResponse, Error> {
        let may_see = |judge: &Judge<'_>| judge.is_self_or_admin(&request.name);
        let (header, auth) = self.handle().auth_state(may_see).await?;
        let user = auth.user(&request.name).ok_or(Error::UserNotFound)?;
        Ok(pb::AuthUserGetResponse {
            header: response_header(header),
            roles: user.roles.clone(),
        })
    }

    pub(crate) async fn user_list(
        self,
        _: pb::AuthUserListRequest,
    ) -> Result<pb::AuthUserListResponse, Error> {
        let (header, auth) = self.handle().auth_state(|judge| judge.admin()).await?;
        Ok(pb::AuthUserListResponse {
            header: response_header(header),
            users: auth.users().cloned().collect(),
        })
    }

    pub(crate) async fn user_delete(
        self,
        request: pb::AuthUserDeleteRequest,
    ) -> Result<pb::AuthUserDeleteResponse, Error> {
        let command = AuthCommand::UserDelete { name: request.name };
        let header = self.handle().auth_change(command).await?;
        Ok(pb::AuthUserDeleteResponse {
            header: response_header(header),
        })
    }

    pub(crate) async fn user_change_password(
        self,
        request: pb::AuthUserChangePasswordRequest,
    ) -> Result<pb::AuthUserChangePasswordResponse, Error> {
        let command = AuthCommand::UserChangePassword {
            password: self.hash_password(&request.password).await?,
            name: request.name,
        };
        let header = self.handle().auth_change(command).await?;
        Ok(pb::AuthUserChangePasswordResponse {
            header: response_header(header),
        })
    }

    /// Hashes a password for whoever may set one: hashes are dear.
    async fn hash_password(&self, password: &str) -> Result<Bytes, Error> {
        self.handle().check_admin().await?;
        self.service.passwords().hash(password.as_bytes()).await
    }

    pub(crate) async fn user_grant_role(
        self,
        request: pb::AuthUserGrantRoleRequest,
    ) -> Result<pb::AuthUserGrantRoleResponse, Error> {
        let command = AuthCommand::UserGrantRole {
            user: request.user,
            role: request.role,
        };
        let header = self.handle().auth_change(command).await?;
        Ok(pb::AuthUserGrantRoleResponse {
            header: response_header(header),
        })
    }

    pub(crate) async fn user_revoke_role(
        self,
        request: pb::AuthUserRevokeRoleRequest,
    ) -> Result<pb::AuthUserRevokeRoleResponse, Error> {
        let command = AuthCommand::UserRevokeRole {
            user: request.name,
            role: request.role,
        };
        let header = self.handle().auth_change(command).await?;
        Ok(pb::AuthUserRevokeRoleResponse {
            header: response_header(header),
        })
    }

    pub(crate) async fn role_add(
        self,
        request: pb::AuthRoleAddRequest,
    ) -> Result<pb::AuthRoleAddResponse, Error> {
        let command = AuthCommand::RoleAdd { name: request.name };
        let header = self.handle().auth_change(command).await?;
        Ok(pb::AuthRoleAddResponse {
            header: response_header(header),
        })
    }

    pub(crate) async fn role_get(
        self,
        request: pb::AuthRoleGetRequest,
    ) -> Result<pb::AuthRoleGetResponse, Error> {
        let may_see = |judge: &Judge<'_>| judge.has_role_or_is_admin(&request.role);
        let (header, auth) = self.handle().auth_state(may_see).await?;
        let role = auth.role(&request.role).ok_or(Error::RoleNotFound)?;
        Ok(pb::AuthRoleGetResponse {
            header: response_header(header),
            perm: role.permissions.iter().cloned().map(Into::into).collect(),
        })
    }

    pub(crate) async fn role_list(
        self,
        _: pb::AuthRoleListRequest,
    ) -> Result<pb::AuthRoleListResponse, Error> {
        let (header, auth) = self.handle().auth_state(|judge| judge.admin()).await?;
        Ok(pb::AuthRoleListResponse {
            header: response_header(header),
            roles: auth.roles().cloned().collect(),
        })
    }

    pub(crate) async fn role_delete(
        self,
        request: pb::AuthRoleDeleteRequest,
    ) -> Result<pb::AuthRoleDeleteResponse, Error> {
        let command = AuthCommand::RoleDelete { name: request.role };
        let header = self.handle().auth_change(command).await?;
        Ok(pb::AuthRoleDeleteResponse {
            header: response_header(header),
        })
    }

    pub(crate) async fn role_grant_permission(
        self,
        request: pb::AuthRoleGrantPermissionRequest,
    ) -> Result<pb::AuthRoleGrantPermissionResponse, Error> {
        let command = AuthCommand::RoleGrantPermission {
            role: request.name,
            permission: request.perm.map(TryInto::try_into).transpose()?,
        };
        let header = self.handle().auth_change(command).await?;
        Ok(pb::AuthRoleGrantPermissionResponse {
            header: response_header(header),
        })
    }

    pub(crate) async fn role_revoke_permission(
        self,
        request: pb::AuthRoleRevokePermissionRequest,
    ) -> Result<pb::AuthRoleRevokePermissionResponse, Error> {
        let command = AuthCommand::RoleRevokePermission {
            role: request.role,
            range: KeyRange::of(request.key, request.range_end),
        };
        let header = self.handle().auth_change(command).await?;
        Ok(pb::AuthRoleRevokePermissionResponse {
            header: response_header(header),
        })
    }
}

fn anyone(_: &Judge<'_>) -> Result<(), Error> {
    Ok(())
}
