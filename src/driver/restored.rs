//! What a restored state lacks to be that of a member.

pub use detcd_raft::restored_rows;
