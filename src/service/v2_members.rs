//! Members as etcd's v2 API tells and changes them.

use crate::Service;
use detcd_core::api::{Member, MemberId};
use detcd_core::error::Error;

impl Service {
    /// The members that this one knows, by their ids. Nobody else is asked.
    pub async fn v2_members(&self) -> Result<Vec<Member>, Error> {
        let (_, members) = self.inner.handle.member_list(false).await?;
        Ok(members)
    }

    /// The member that leads, if this one knows of one.
    pub async fn v2_leader(&self) -> Result<Option<Member>, Error> {
        let leader = *self.inner.handle.leader().borrow();
        let members = self.v2_members().await?;
        let is_leader = |member: &Member| Some(member.id) == leader;
        Ok(members.into_iter().find(is_leader))
    }

    /// Adds a member, which gets no vote before it has caught up.
    pub async fn v2_member_add(&self, peer_urls: &[String]) -> Result<Member, Error> {
        let (_, member, _) = self.inner.handle.member_add(peer_urls, false).await?;
        self.catch_up().await;
        Ok(member)
    }

    pub async fn v2_member_update(&self, id: MemberId, peer_urls: &[String]) -> Result<(), Error> {
        self.inner.handle.member_update(id, peer_urls).await?;
        self.catch_up().await;
        Ok(())
    }

    pub async fn v2_member_remove(&self, id: MemberId) -> Result<(), Error> {
        self.inner.handle.member_remove(id).await?;
        Ok(())
    }

    /// Waits until this member has applied what was changed: clients list the members here next.
    async fn catch_up(&self) {
        // The change is made; a member that cannot confirm a read lists it later.
        let _ = self.inner.handle.member_list(true).await;
    }

    /// Whether a member of this id was removed. Its id never comes back.
    pub fn v2_is_removed(&self, id: MemberId) -> Result<bool, Error> {
        self.inner.handle.is_removed(id)
    }
}
