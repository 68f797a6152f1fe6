//! Who may be answered at all.

use crate::api::MemberId;
use core::fmt;

/// What a member answers to one that was removed (etcd's words).
pub const REMOVED: &str = "the member has been permanently removed from the cluster";

/// What a message is about, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageClass {
    /// Only a leader sends it.
    OfLeader,
    /// A vote, or the question before it.
    Vote,
    /// Nothing of raft's.
    Other,
}

/// Why a sender is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SenderRefusal {
    NotAdmitted,
    SenderRemoved,
    ReceiverRemoved,
}

/// Whether a message of member `from` may be answered by a member that does (or does not) take
/// part yet. `is_removed` says who was removed, by the receiver's applied state.
pub fn check_sender(
    from: MemberId,
    class: MessageClass,
    takes_part: bool,
    receiver: MemberId,
    is_removed: impl Fn(MemberId) -> bool,
) -> Result<(), SenderRefusal> {
    if class != MessageClass::Other && !takes_part {
        return Err(SenderRefusal::NotAdmitted);
    }
    // A leader that was removed tells the others so: what it sends as leader is still of use.
    let comes_back = crate::mutant!(RemovedComesBack);
    if class != MessageClass::OfLeader && is_removed(from) && !comes_back {
        return Err(SenderRefusal::SenderRemoved);
    }
    if class == MessageClass::Vote && is_removed(receiver) {
        return Err(SenderRefusal::ReceiverRemoved);
    }
    Ok(())
}

impl fmt::Display for SenderRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SenderRefusal::NotAdmitted => "this member has yet to be let in",
            SenderRefusal::SenderRemoved => REMOVED,
            SenderRefusal::ReceiverRemoved => "this member was removed, and votes no more",
        })
    }
}
