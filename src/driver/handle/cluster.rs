//! What a member tells of the membership.

use super::{Handle, Header};
use detcd_core::api::{Member, MemberId};
use detcd_core::error::Error;
use detcd_core::query;

impl Handle {
    /// The members by their ids. A member that has applied nothing yet lists those that it was
    /// started with: they are who is to be asked about the cluster.
    pub async fn member_list(&self, linearizable: bool) -> Result<(Header, Vec<Member>), Error> {
        let is_local = !linearizable || detcd_core::mutant!(MemberListLocal);
        let published = self.view_for(is_local).await?;
        let mut members = self.settle_fault(query::members(&*published.view))?;
        if members.is_empty() {
            members = self.shared.founders.clone();
            members.sort_unstable_by_key(|member| member.id);
        }
        Ok((self.header(published.at().revision), members))
    }
    /// Whether a member of this id was removed, as far as this one knows.
    pub fn is_removed(&self, id: MemberId) -> Result<bool, Error> {
        let published = self.shared.engine.published();
        let removed = self.settle_fault(query::removed(&*published.view))?;
        Ok(removed.contains(&id))
    }
}
