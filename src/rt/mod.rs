//! detcd-rt
