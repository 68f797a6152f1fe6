//! detcd-raft
